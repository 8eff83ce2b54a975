//! Names: which bytes they may hold, how long they may be, and that lookups tell them apart.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{Case, case};
use crate::dir::{Dir, must_fail};

pub(super) const CASES: &[Case] = &[
    case!(a_name_may_have_255_bytes, NAMES_BYTES),
    case!(a_name_of_256_bytes_is_too_long, NAMES_BYTES),
    case!(a_name_may_be_any_bytes, NAMES_BYTES),
    case!(names_that_differ_only_in_case_are_two_names, NAMES_BYTES),
    case!(names_that_look_alike_are_two_names, NAMES_BYTES),
    case!(dots_at_the_ends_of_names_are_kept, NAMES_BYTES),
    case!(a_path_of_4095_bytes_works),
    case!(a_path_of_4096_bytes_is_too_long),
    case!(a_missing_name_is_seen_once_it_is_made),
    case!(a_file_in_the_middle_of_a_path_is_not_a_directory),
    case!(a_slash_after_a_file_is_not_a_directory),
    case!(a_slash_after_a_directory_is_ignored),
    case!(the_parent_of_a_directory_is_dot_dot),
    case!(the_empty_path_is_nothing),
];

fn a_name_may_have_255_bytes(dir: &Dir) {
    let name = "n".repeat(255);
    dir.file(&name, "long");
    assert_eq!(dir.bytes(&name), b"long");
    assert!(dir.names().contains(OsStr::new(&name)));
    let other = "m".repeat(255);
    dir.rename(&name, &other);
    assert!(!dir.has(&name));
    dir.unlink(&other);
}

fn a_name_of_256_bytes_is_too_long(dir: &Dir) {
    let name = "n".repeat(256);
    must_fail(dir.try_open(&name, OFlags::RDWR | OFlags::CREATE), Errno::NAMETOOLONG);
    must_fail(rustix::fs::mkdir(dir.path(&name), Mode::from(0o755)), Errno::NAMETOOLONG);
    must_fail(rustix::fs::lstat(dir.path(&name)).map(drop), Errno::NAMETOOLONG);
    dir.file("short", "");
    must_fail(rustix::fs::rename(dir.path("short"), dir.path(&name)), Errno::NAMETOOLONG);
    assert!(dir.has("short"));
}

fn a_name_may_be_any_bytes(dir: &Dir) {
    let every_byte = (1..=255_u8).filter(|byte| *byte != b'/');
    let (first, second): (Vec<u8>, Vec<u8>) = every_byte.partition(|byte| *byte < 128);
    for name in
        [first, second, b"\xff\xfe".to_vec(), b" ".to_vec(), b"\n".to_vec(), "\u{e9}".as_bytes().to_vec()]
    {
        let name = OsString::from_vec(name);
        dir.file(&name, name.as_bytes());
        assert_eq!(dir.bytes(&name), name.as_bytes());
        assert!(dir.names().contains(&name), "{name:?} is not listed");
        dir.unlink(&name);
    }
}

fn names_that_differ_only_in_case_are_two_names(dir: &Dir) {
    dir.file("readme", "small");
    assert!(!dir.has("README"));
    dir.file("README", "large");
    assert_eq!(dir.bytes("readme"), b"small");
    assert_eq!(dir.names().len(), 2);
}

fn names_that_look_alike_are_two_names(dir: &Dir) {
    // The same letter, composed and decomposed: the kernel normalises nothing.
    dir.file("\u{e9}", "composed");
    dir.file("e\u{301}", "decomposed");
    assert_eq!(dir.bytes("\u{e9}"), b"composed");
    assert_eq!(dir.names().len(), 2);
}

fn dots_at_the_ends_of_names_are_kept(dir: &Dir) {
    for name in ["...", ".hidden", "end.", "end..", " end "] {
        dir.file(name, name);
    }
    assert_eq!(dir.names().len(), 5);
    assert_eq!(dir.bytes("end."), b"end.");
    assert!(!dir.has("end"));
}

/// Makes directories until the path of a file in the last one has `length` bytes; answers that file's path.
fn deep_path(dir: &Dir, length: usize) -> OsString {
    let mut path = dir.path("").into_os_string().into_vec();
    while path.len() + 250 < length {
        let step = (length - path.len() - 200).clamp(1, 200);
        path.extend(std::iter::repeat_n(b'd', step));
        rustix::fs::mkdir(OsStr::from_bytes(&path), Mode::from(0o755)).expect("a deep directory");
        path.push(b'/');
    }
    path.extend(std::iter::repeat_n(b'f', length - path.len()));
    OsString::from_vec(path)
}

fn a_path_of_4095_bytes_works(dir: &Dir) {
    let path = deep_path(dir, 4095);
    std::fs::write(&path, "deep").expect("a file with a path of 4095 bytes");
    assert_eq!(std::fs::read(&path).expect("to read it"), b"deep");
}

fn a_path_of_4096_bytes_is_too_long(dir: &Dir) {
    let path = deep_path(dir, 4096);
    must_fail(rustix::fs::lstat(&*path).map(drop), Errno::NAMETOOLONG);
}

fn a_missing_name_is_seen_once_it_is_made(dir: &Dir) {
    // Asked twice, so that a cached absence must be taken back.
    for _ in 0..2 {
        assert!(!dir.has("late"));
    }
    dir.file("late", "here");
    assert!(dir.has("late"));
    dir.unlink("late");
    assert!(!dir.has("late"));
    dir.file("other", "");
    dir.rename("other", "late");
    assert!(dir.has("late"));
    assert!(!dir.has("other"));
}

fn a_file_in_the_middle_of_a_path_is_not_a_directory(dir: &Dir) {
    dir.file("file", "");
    must_fail(rustix::fs::lstat(dir.path("file/below")).map(drop), Errno::NOTDIR);
    must_fail(dir.try_open("file/below", OFlags::RDWR | OFlags::CREATE), Errno::NOTDIR);
}

fn a_slash_after_a_file_is_not_a_directory(dir: &Dir) {
    dir.file("file", "");
    must_fail(rustix::fs::lstat(dir.path("file/")).map(drop), Errno::NOTDIR);
    must_fail(dir.try_open("new/", OFlags::RDWR | OFlags::CREATE), Errno::ISDIR);
}

fn a_slash_after_a_directory_is_ignored(dir: &Dir) {
    rustix::fs::mkdir(dir.path("new/"), Mode::from(0o755)).expect("mkdir with a slash at the end");
    assert!(dir.stat("new/").is_dir());
    dir.rmdir("new/");
}

fn the_parent_of_a_directory_is_dot_dot(dir: &Dir) {
    use std::os::unix::fs::MetadataExt;
    let below = dir.sub("below").sub("deeper");
    assert_eq!(below.stat("../..").ino(), dir.stat(".").ino());
    dir.sub("elsewhere");
    dir.rename("below/deeper", "elsewhere/moved");
    assert_eq!(dir.stat("elsewhere/moved/..").ino(), dir.stat("elsewhere").ino());
}

fn the_empty_path_is_nothing(_: &Dir) {
    must_fail(rustix::fs::lstat("").map(drop), Errno::NOENT);
}
