//! Names and times as a terminal should see them.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::Path;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::failure::Failure;

/// A name without what would move the cursor or begin a line.
pub(crate) fn plain(name: impl AsRef<OsStr>) -> String {
    let mut shown = String::new();
    for letter in name.as_ref().to_string_lossy().chars() {
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// A path that a shell reads as one word.
pub(crate) fn quoted(path: &Path) -> String {
    let shown = plain(path);
    let harmless = |letter: char| letter.is_alphanumeric() || "/._-+,:=@%~".contains(letter);
    if !shown.is_empty() && shown.chars().all(harmless) {
        shown
    } else {
        format!("'{}'", shown.replace('\'', r"'\''"))
    }
}

/// A moment as somebody here and now would say it: the time, with the date if that is another.
pub(crate) fn moment(seconds: i64) -> String {
    let Ok(then) = Timestamp::from_second(seconds) else { return "an unknown time".into() };
    said(&then.to_zoned(TimeZone::system()), &Zoned::now())
}

fn said(then: &Zoned, now: &Zoned) -> String {
    let form = if then.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    then.strftime(form).to_string()
}

/// Prints to standard output. That nobody reads on is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Operation(format!("standard output cannot be written ({error}); send it elsewhere")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_write_on_the_terminal() {
        assert_eq!(plain("a\nb\x1b[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(plain("größe"), "größe");
    }

    #[test]
    fn a_path_with_blanks_is_one_word_for_a_shell() {
        assert_eq!(quoted(Path::new("/mnt/data")), "/mnt/data");
        assert_eq!(quoted(Path::new("/mnt/my data")), "'/mnt/my data'");
        assert_eq!(quoted(Path::new("/mnt/it's")), r"'/mnt/it'\''s'");
        assert_eq!(quoted(Path::new("/mnt/$HOME")), "'/mnt/$HOME'");
    }

    #[test]
    fn the_date_is_said_when_it_is_not_today() {
        let now: Zoned = "2026-11-21T23:00:00+00:00[+00:00]".parse().expect("a time");
        for (then, words) in [
            ("2026-11-21T10:42:59+00:00[+00:00]", "10:42"),
            ("2026-11-20T23:30:00+00:00[+00:00]", "2026-11-20 23:30"),
            ("2025-11-21T10:42:00+00:00[+00:00]", "2025-11-21 10:42"),
        ] {
            assert_eq!(said(&then.parse().expect(then), &now), words);
        }
    }
}
