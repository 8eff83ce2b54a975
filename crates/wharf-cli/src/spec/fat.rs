//! `fat:IMAGE[@OFFSET|#PARTITION]`: which volume, and how it is served.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sizes;

use super::Setting;

const TAKES: &str = "it takes write, uid=NUMBER, gid=NUMBER, umask=OCTAL and time-offset=±HH:MM";

/// Where on the disc the volume is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Part {
    /// The disc is the volume.
    #[default]
    Whole,
    /// From this byte on.
    Offset(u64),
    /// In the partition of this number.
    Partition(u32),
}

/// A FAT volume on a device or in an image. `None` leaves a value to the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fat {
    pub(crate) disc: PathBuf,
    pub(crate) part: Part,
    pub(crate) write: bool,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) umask: Option<u16>,
    pub(crate) minutes_east: Option<i16>,
}

impl Fat {
    pub(super) fn parse(typed: &OsStr) -> Result<Fat, String> {
        let bytes = typed.as_bytes();
        if bytes.is_empty() {
            return Err("fat: needs a device or an image, as in fat:card.img or fat:/dev/sdb#1".into());
        }
        // A file of just that name is meant as it is written.
        let mark = bytes.iter().rposition(|byte| matches!(byte, b'@' | b'#'));
        let number = |at: usize| std::str::from_utf8(&bytes[at + 1..]).unwrap_or_default();
        let (disc, part) = match mark {
            Some(at) if bytes[at] == b'#' && is_number(number(at)) => {
                let number = number(at).parse().ok().filter(|number| *number > 0);
                let number = number.ok_or("fat: counts partitions from 1, as in fat:card.img#1")?;
                (&bytes[..at], Part::Partition(number))
            }
            Some(at) if bytes[at] == b'@' && number(at).starts_with(|first: char| first.is_ascii_digit()) => {
                (&bytes[..at], Part::Offset(sizes::bytes(number(at))?))
            }
            _ => (bytes, Part::Whole),
        };
        Ok(Fat { disc: OsStr::from_bytes(disc).into(), part, ..Fat::default() })
    }

    pub(super) fn set(&mut self, Setting { name, value }: &Setting) -> Result<(), String> {
        let id = || value.parse().map_err(|_| format!("fat: {name}= is a number, as in {name}=1000"));
        match name.as_str() {
            "write" if value.is_empty() => self.write = true,
            "uid" => self.uid = Some(id()?),
            "gid" => self.gid = Some(id()?),
            "umask" => {
                let umask = u16::from_str_radix(value, 8).ok().filter(|umask| *umask <= 0o777);
                self.umask = Some(umask.ok_or("fat: umask= is octal, as in umask=022")?);
            }
            "time-offset" => self.minutes_east = Some(minutes(value)?),
            _ => return Err(format!("fat: takes no `{name}`; {TAKES}")),
        }
        Ok(())
    }

    pub(super) fn absolute(self, working_directory: &Path) -> Fat {
        let disc = working_directory.join(&self.disc);
        let disc = std::path::absolute(&disc).unwrap_or(disc);
        Fat { disc, ..self }
    }

    pub(super) fn show(&self) -> OsString {
        let mut text = self.disc.clone().into_os_string();
        match self.part {
            Part::Whole => {}
            Part::Offset(offset) => text.push(format!("@{offset}")),
            Part::Partition(number) => text.push(format!("#{number}")),
        }
        text
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Minutes of `+HH:MM`.
fn minutes(value: &str) -> Result<i16, String> {
    let read = || {
        let (sign, rest) = match value.as_bytes().first()? {
            b'+' => (1, &value[1..]),
            b'-' => (-1, &value[1..]),
            _ => (1, value),
        };
        let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
        let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
        ((0..=15).contains(&hours) && (0..60).contains(&minutes)).then_some(sign * (hours * 60 + minutes))
    };
    read()
        .ok_or_else(|| "fat: time-offset= is hours and minutes ahead of UTC, as in time-offset=+02:00".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Fat {
        Fat::parse(OsStr::new(text)).expect(text)
    }

    #[test]
    fn a_volume_is_all_of_a_disc_or_a_part() {
        for (typed, disc, part) in [
            ("card.img", "card.img", Part::Whole),
            ("/dev/sdb#1", "/dev/sdb", Part::Partition(1)),
            ("card.img@1M", "card.img", Part::Offset(1 << 20)),
            ("me@home.img", "me@home.img", Part::Whole),
            ("a#b#2", "a#b", Part::Partition(2)),
        ] {
            let fat = parse(typed);
            assert_eq!((fat.disc, fat.part), (PathBuf::from(disc), part), "{typed}");
        }
        assert!(Fat::parse(OsStr::new("card.img#0")).is_err());
        assert_eq!(parse("card.img@1M").absolute(Path::new("/home")).show(), "/home/card.img@1048576");
    }

    #[test]
    fn settings_say_how_it_is_served() {
        let mut fat = parse("card.img");
        let mut set = |typed: &str| fat.set(&Setting::parse(OsStr::new(typed)).expect("a setting"));
        for typed in ["write", "uid=1000", "gid=100", "umask=077", "time-offset=-09:30"] {
            set(typed).expect(typed);
        }
        for (typed, way_out) in [
            ("colour=red", TAKES),
            ("write=no", TAKES),
            ("uid=me", "uid=1000"),
            ("umask=999", "umask=022"),
            ("time-offset=noon", "+02:00"),
        ] {
            assert!(set(typed).expect_err(typed).contains(way_out), "{typed}");
        }
        assert!(fat.write);
        assert_eq!((fat.uid, fat.gid, fat.umask), (Some(1000), Some(100), Some(0o77)));
        assert_eq!(fat.minutes_east, Some(-570));
    }
}
