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

/// A moment to the minute, of the same length whenever it is.
pub(crate) fn date(seconds: i64) -> String {
    instant_as((seconds, 0), "%Y-%m-%d %H:%M")
}

/// A moment as exactly as it is known.
pub(crate) fn instant(time: (i64, u32)) -> String {
    instant_as(time, "%Y-%m-%d %H:%M:%S.%9f %:z")
}

fn instant_as((seconds, nanoseconds): (i64, u32), form: &str) -> String {
    match Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or(0)) {
        Ok(then) => then.to_zoned(TimeZone::system()).strftime(form).to_string(),
        Err(_) => format!("{seconds} s"),
    }
}

/// Kind and permissions as `ls -l` has them.
pub(crate) fn mode(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o100_000 => '-',
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o020_000 => 'c',
        0o060_000 => 'b',
        _ => '?',
    };
    let mut shown = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        shown.push(if bits & 4 != 0 { 'r' } else { '-' });
        shown.push(if bits & 2 != 0 { 'w' } else { '-' });
        shown.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, false) => letter.to_ascii_uppercase(),
            (true, true) => letter,
        });
    }
    shown
}

fn said(then: &Zoned, now: &Zoned) -> String {
    let form = if then.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    then.strftime(form).to_string()
}

/// Prints to standard output. That nobody reads on is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// The same of what need not be letters.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => Ok(()),
    }
}

/// Why standard output does not take what is printed.
pub(crate) fn unwritten(error: &io::Error) -> Failure {
    Failure::Operation(format!("standard output cannot be written ({error}); send it elsewhere"))
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
    fn modes_are_shown_as_ls_does() {
        for (number, shown) in [
            (0o100_644, "-rw-r--r--"),
            (0o041_777, "drwxrwxrwt"),
            (0o104_755, "-rwsr-xr-x"),
            (0o106_600, "-rwS--S---"),
            (0o120_777, "lrwxrwxrwx"),
            (0, "?---------"),
        ] {
            assert_eq!(mode(number), shown);
        }
    }

    #[test]
    fn a_moment_that_no_calendar_has_is_told_too() {
        assert_eq!(instant((i64::MAX, 0)), format!("{} s", i64::MAX));
        assert!(instant((0, 5)).contains(".000000005 "));
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
