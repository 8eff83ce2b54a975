//! Ctrl-C, `kill` and a terminal that closes: the first ends the mount in order, the second ends it at once.

use std::io;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use wharf_fuse::Handle;
use wharf_fuse::mount::{self, Mode};

use crate::commands::unmount::patiently;
use crate::show::quoted;

/// What the thread that receives signals shares with the one that mounts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    asked: bool,
    /// More than once.
    hurried: bool,
    volume: Option<Handle>,
}

/// Receives signals from now on.
pub(crate) fn watch() -> io::Result<Ending> {
    let ending = Ending::default();
    let mut wanted = vec![SIGINT, SIGTERM, SIGHUP];
    // As `nohup` wants it.
    wanted.retain(|signal| *signal != SIGHUP || !ignored(SIGHUP));
    let mut signals = Signals::new(wanted)?;
    let received = ending.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for _signal in signals.forever() {
            received.receive();
        }
    })?;
    Ok(ending)
}

impl Ending {
    /// Says what is to be ended by a signal. True if one came before: then it is for the caller to end it.
    #[must_use]
    pub(crate) fn mounted(&self, volume: Handle) -> bool {
        let mut state = self.lock();
        state.volume = Some(volume);
        state.asked
    }

    /// Whether the mount was ended at once, and may have lost something.
    pub(crate) fn hurried(&self) -> bool {
        self.lock().hurried
    }

    fn receive(&self) {
        let (again, volume) = {
            let mut state = self.lock();
            state.hurried = state.asked;
            state.asked = true;
            (state.hurried, state.volume.clone())
        };
        match (again, volume) {
            (true, volume) => end_at_once(volume),
            (false, None) => tell("it ends as soon as it is mounted; a second signal ends it at once"),
            (false, Some(volume)) => {
                // Not here: the second signal has to be heard meanwhile.
                let ending = thread::Builder::new().name("unmount".into()).spawn(move || end(&volume));
                if let Err(error) = ending {
                    tell(&format!("there is no thread to unmount with ({error}); try again"));
                    self.lock().asked = false;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unmounts cleanly; if somebody keeps it busy, from sight, and for them in the time that the limits give.
pub(crate) fn end(volume: &Handle) {
    let Err(error) = patiently(|| volume.unmount(Mode::Clean)) else { return };
    tell(&waiting(volume, &error));
    if let Err(error) = volume.unmount(Mode::Lazy) {
        tell(&error.to_string());
    }
}

fn waiting(volume: &Handle, error: &mount::Error) -> String {
    let point = quoted(volume.point());
    let why = match error {
        mount::Error::Busy { holders, .. } if holders.is_empty() => "somebody uses it".to_owned(),
        mount::Error::Busy { holders, .. } => {
            let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
            format!("it is used by {}", holders.join(", "))
        }
        other => other.to_string(),
    };
    let seconds = volume.limits().drain().as_secs_f32();
    format!(
        "{point} is out of sight but {why}: ends with them, or in {seconds:.0} s; a second signal ends it at once"
    )
}

fn end_at_once(volume: Option<Handle>) -> ! {
    // By the volume itself: its place and its numbers may be another mount's by now.
    if let Some(Err(error)) = volume.map(|volume| volume.abort()) {
        tell(&error.to_string());
    }
    process::exit(1)
}

fn tell(sentence: &str) {
    eprintln!("wharf: {sentence}");
}

/// Whether this process was started with the signal ignored.
fn ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}
