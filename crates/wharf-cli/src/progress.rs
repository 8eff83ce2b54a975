//! How far long work has come: one line that is written over on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wharf_drivers::progress::{Progress, Step, Unit};

use crate::show::plain;
use crate::sizes;

/// Work that is done sooner than this is not spoken of.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two states of the line on a terminal.
const TERMINAL_PERIOD: Duration = Duration::from_millis(100);
/// Between two lines elsewhere.
const LINES_PERIOD: Duration = Duration::from_secs(5);

/// Says on standard error how far work has come.
#[derive(Debug)]
pub(crate) struct Told {
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When there is something to say again; `None` before work has begun.
    next: Option<Instant>,
    /// There is a line that is not ended.
    open: bool,
}

impl Told {
    pub(crate) fn new() -> Told {
        let state = State { next: None, open: false };
        Told { terminal: io::stderr().is_terminal(), state: Mutex::new(state) }
    }
}

impl Progress for Told {
    fn at(&self, step: Step<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now < *state.next.get_or_insert(now + PATIENCE) {
            return;
        }
        state.next = Some(now + if self.terminal { TERMINAL_PERIOD } else { LINES_PERIOD });
        state.open = self.terminal;
        say(&line(step, self.terminal));
    }

    fn done(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.next = None;
        if std::mem::take(&mut state.open) {
            say("\r\x1b[K");
        }
    }
}

/// That nobody sees it is no reason to stop working.
fn say(text: &str) {
    let mut errors = io::stderr().lock();
    let _ = errors.write_all(text.as_bytes()).and_then(|()| errors.flush());
}

fn line(step: Step<'_>, terminal: bool) -> String {
    let amount = |number| match step.unit {
        Unit::Bytes => sizes::rounded(number),
        Unit::Items => number.to_string(),
    };
    let doing = plain(step.doing);
    let done = amount(step.done);
    let text = match step.total {
        Some(total) => {
            let percent = u128::from(step.done) * 100 / u128::from(total.max(1));
            format!("{doing}: {done} of {} ({}%)", amount(total), percent.min(100))
        }
        None => format!("{doing}: {done}"),
    };
    if terminal { format!("\r{text}\x1b[K") } else { format!("wharf: {text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_sees_one_line_and_others_whole_ones() {
        let step = Step { doing: "reading the index", done: 3, total: Some(4), unit: Unit::Items };
        assert_eq!(line(step, true), "\rreading the index: 3 of 4 (75%)\x1b[K");
        assert_eq!(line(step, false), "wharf: reading the index: 3 of 4 (75%)\n");
        let step = Step { doing: "bringing\nback", done: 3 << 20, total: None, unit: Unit::Bytes };
        assert_eq!(line(step, false), "wharf: bringing\\nback: 3.0 MiB\n");
    }
}
