//! Whatever would change something is refused, and nothing has changed.

use rustix::{
    fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid, XattrFlags},
    io::{Errno, Result},
};

use super::{Case, case, contents};
use crate::{
    dir::{Dir, must_fail, same_bytes},
    sys,
};

pub(super) const CASES: &[Case] = &[
    case!(reading every_change_of_names_is_refused),
    case!(reading every_change_of_a_file_is_refused),
    case!(reading opening_to_write_is_refused_and_to_read_is_not),
    case!(reading a_descriptor_for_reading_changes_nothing),
];

/// Panics unless each fails because nothing can be changed here.
fn refused<const N: usize>(changes: [(&str, Result<()>); N]) {
    for (what, result) in changes {
        assert!(result == Err(Errno::ROFS), "{what}: {result:?} where «{}» was due", Errno::ROFS);
    }
}

fn every_change_of_names_is_refused(dir: &Dir) {
    use rustix::fs::{link, mkdir, mknodat, rename, renameat_with, rmdir, symlink, unlink};
    let (short, fresh, nothing) = (dir.path("short"), dir.path("fresh"), dir.path("nothing"));
    let node = |kind| mknodat(CWD, &fresh, kind, Mode::from(0o644), 0);
    let moved = |flags| renameat_with(CWD, &short, CWD, dir.path("one"), flags);
    refused([
        ("mkdir", mkdir(&fresh, Mode::from(0o755))),
        ("mknod", node(FileType::RegularFile)),
        ("mkfifo", node(FileType::Fifo)),
        ("symlink", symlink("short", &fresh)),
        ("link", link(&short, &fresh)),
        ("unlink", unlink(&short)),
        ("rmdir", rmdir(&nothing)),
        ("rename", rename(&short, &fresh)),
        ("rename over another", rename(&short, dir.path("one"))),
        ("rename of a directory", rename(&nothing, dir.path("many/fresh"))),
        ("exchange", moved(RenameFlags::EXCHANGE)),
    ]);
    assert!(!dir.has("fresh"));
    same_bytes(&dir.bytes("short"), &contents("short"));
}

fn every_change_of_a_file_is_refused(dir: &Dir) {
    use rustix::fs::{chmod, chownat, removexattr, setxattr, utimensat};
    let short = dir.path("short");
    let now = Timespec { tv_sec: 1, tv_nsec: 0 };
    let times = Timestamps { last_access: now, last_modification: now };
    let before = dir.stat("short");
    refused([
        ("truncate", sys::truncate(&short, 10)),
        ("truncate to what it is", sys::truncate(&short, 5000)),
        ("chmod", chmod(&short, Mode::from(0o600))),
        ("chown", chownat(CWD, &short, Some(Uid::from_raw(1)), Some(Gid::from_raw(1)), AtFlags::empty())),
        ("utimens", utimensat(CWD, &short, &times, AtFlags::empty())),
        ("setxattr", setxattr(&short, "user.x", b"x", XattrFlags::empty())),
        ("removexattr", removexattr(&short, "user.x")),
    ]);
    let after = dir.stat("short");
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
}

fn opening_to_write_is_refused_and_to_read_is_not(dir: &Dir) {
    for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::WRONLY | OFlags::APPEND, OFlags::RDWR | OFlags::TRUNC]
    {
        must_fail(dir.try_open("short", flags), Errno::ROFS);
    }
    must_fail(dir.try_open("fresh", OFlags::RDWR | OFlags::CREATE), Errno::ROFS);
    must_fail(dir.try_open("fresh", OFlags::RDONLY | OFlags::CREATE), Errno::ROFS);
    must_fail(dir.try_open("short", OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL), Errno::EXIST);
    must_fail(dir.try_open(".", OFlags::RDWR | OFlags::TMPFILE), Errno::ROFS);
    dir.open("short", OFlags::RDONLY | OFlags::CREATE);
    same_bytes(&dir.bytes("short"), &contents("short"));
    assert!(!dir.has("fresh"));
}

fn a_descriptor_for_reading_changes_nothing(dir: &Dir) {
    let file = dir.open("short", OFlags::RDONLY);
    must_fail(rustix::io::pwrite(&file, b"x", 0), Errno::BADF);
    must_fail(rustix::fs::ftruncate(&file, 10), Errno::INVAL);
    must_fail(rustix::fs::fchmod(&file, Mode::from(0o600)), Errno::ROFS);
    let attribute = rustix::fs::fsetxattr(&file, "user.x", b"x", XattrFlags::empty());
    must_fail(attribute, Errno::ROFS);
    // There is nothing to be synced, and that is no error.
    rustix::fs::fsync(&file).expect("fsync");
    rustix::fs::fdatasync(&file).expect("fdatasync");
    same_bytes(&dir.bytes("short"), &contents("short"));
}
