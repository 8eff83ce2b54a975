//! The kernel's table of mounts: which of them are Wharf's, and where.
//!
//! Read from `/proc/self/mountinfo` and nowhere else, because asking a mount about itself waits for its
//! server, and that server may be the thing that is broken.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::Error;

/// What marks a FUSE mount as Wharf's: its type is `fuse.wharf-` and the driver.
pub(super) const SUBTYPE_PREFIX: &str = "wharf-";

/// One Wharf mount, as the kernel's table shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where it is.
    pub point: PathBuf,
    /// What it shows: the first column of `/proc/mounts`.
    pub source: OsString,
    /// What serves it.
    pub driver: String,
    /// The user who mounted it.
    pub owner_uid: u32,
    /// It refuses changes.
    pub read_only: bool,
    /// Others than its owner may use it.
    pub allow_other: bool,
    /// The kernel's number of the connection, as in `/sys/fs/fuse/connections`.
    pub connection: u32,
}

/// All Wharf mounts that this process can see. Asks no file system anything.
pub fn list() -> Result<Vec<Mounted>, Error> {
    Ok(read()?.iter().filter(|entry| entry.root == Path::new("/")).filter_map(Entry::wharf).collect())
}

/// One line of the table, of whatever kind of mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) device: (u32, u32),
    root: PathBuf,
    pub(super) point: PathBuf,
    options: OsString,
    pub(super) kind: OsString,
    pub(super) source: OsString,
    super_options: OsString,
}

impl Entry {
    /// The number under `/sys/fs/fuse/connections`: the kernel's own form of the device number.
    pub(super) fn connection(&self) -> u32 {
        self.device.0 << 20 | self.device.1
    }

    pub(super) fn is_fuse(&self) -> bool {
        self.kind == "fuse" || self.kind == "fuseblk" || self.kind.as_bytes().starts_with(b"fuse.")
    }

    /// This mount for people, if it is Wharf's.
    pub(super) fn wharf(&self) -> Option<Mounted> {
        let driver = self.kind.to_str()?.strip_prefix("fuse.")?.strip_prefix(SUBTYPE_PREFIX)?;
        let has = |options: &OsStr, word: &str| words(options).any(|other| other == word.as_bytes());
        let owner_uid = words(&self.super_options)
            .find_map(|word| std::str::from_utf8(word.strip_prefix(b"user_id=")?).ok()?.parse().ok());
        Some(Mounted {
            point: self.point.clone(),
            source: self.source.clone(),
            driver: driver.to_owned(),
            owner_uid: owner_uid.unwrap_or(0),
            read_only: has(&self.options, "ro") || has(&self.super_options, "ro"),
            allow_other: has(&self.super_options, "allow_other"),
            connection: self.connection(),
        })
    }
}

fn words(options: &OsStr) -> impl Iterator<Item = &[u8]> {
    options.as_bytes().split(|&byte| byte == b',')
}

pub(super) fn read() -> Result<Vec<Entry>, Error> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read(table).map_err(|cause| Error::NoProc { path: table.to_owned(), cause })?;
    Ok(parse(&text))
}

/// What one sees at `point`: of several mounts there, the one that no other covers.
pub(super) fn topmost<'a>(table: &'a [Entry], point: &Path) -> Option<&'a Entry> {
    let here = |entry: &&Entry| entry.point == point;
    let covered = |entry: &Entry| table.iter().filter(here).any(|other| other.parent == entry.id);
    table.iter().filter(here).rfind(|entry| !covered(entry))
}

/// A line that is not understood is skipped: the table is the kernel's, but newer kernels may add to it.
fn parse(text: &[u8]) -> Vec<Entry> {
    text.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Entry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
    let device = (device.0.parse().ok()?, device.1.parse().ok()?);
    let root = unescape(fields.next()?).into();
    let point = unescape(fields.next()?).into();
    let options = unescape(fields.next()?);
    // Any number of optional fields, closed by a lone dash.
    fields.find(|field| field == b"-")?;
    let kind = unescape(fields.next()?);
    let source = unescape(fields.next()?);
    let super_options = unescape(fields.next()?);
    Some(Entry { id, parent, device, root, point, options, kind, source, super_options })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The kernel writes blanks, newlines, backslashes and `#` as a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = br"21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw
40 21 0:39 / /mnt/my\040photos ro,nosuid,nodev shared:7 master:2 - fuse.wharf-zip zip:a\134b\011c ro,user_id=1000,group_id=1000,allow_other
41 21 0:40 / /mnt/x rw - fuse.sshfs host: rw,user_id=0
42 21 0:41 / /srv/m rw - fuse.wharf-mirror mirror:/srv/data rw,user_id=0,group_id=0
43 42 0:42 / /srv/m rw - tmpfs none rw
44 21 0:41 /sub /bound rw - fuse.wharf-mirror mirror:/srv/data rw,user_id=0,group_id=0
this is no line
45 21 0:43
";

    #[test]
    fn a_mount_is_read_with_its_escapes_undone() {
        let table = parse(TABLE);
        assert_eq!(table.len(), 6, "lines that are not understood are skipped");
        let zip = table[1].wharf().expect("a Wharf mount");
        assert_eq!(
            zip,
            Mounted {
                point: "/mnt/my photos".into(),
                source: "zip:a\\b\tc".into(),
                driver: "zip".into(),
                owner_uid: 1000,
                read_only: true,
                allow_other: true,
                connection: 39,
            }
        );
    }

    #[test]
    fn other_peoples_mounts_are_not_ours() {
        let table = parse(TABLE);
        assert!(table[2].is_fuse() && table[2].wharf().is_none());
        assert!(!table[0].is_fuse());
    }

    #[test]
    fn the_topmost_mount_is_the_one_that_nothing_covers() {
        let table = parse(TABLE);
        assert_eq!(topmost(&table, Path::new("/srv/m")).map(|entry| entry.id), Some(43));
        assert_eq!(topmost(&table, Path::new("/mnt/x")).map(|entry| entry.id), Some(41));
        assert_eq!(topmost(&table, Path::new("/none")), None);
    }

    #[test]
    fn a_backslash_that_escapes_nothing_stays() {
        for text in [r"a\", r"a\04", r"a\9zz", r"\8", r"\777"] {
            assert_eq!(unescape(text.as_bytes()), text);
        }
    }
}
