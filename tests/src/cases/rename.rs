//! Renaming: one step, never two names and never none; and what the flags of `renameat2(2)` add.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use rustix::{
    fs::{CWD, OFlags, RenameFlags},
    io::{Errno, Result},
};

use super::{Case, case};
use crate::dir::{Dir, must_fail, read_at, size, write_at};

pub(super) const CASES: &[Case] = &[
    case!(a_renamed_file_is_the_same_file),
    case!(a_rename_replaces_a_file),
    case!(a_replaced_file_stays_readable_while_open),
    case!(a_renamed_file_stays_writable_while_open),
    case!(a_rename_onto_itself_does_nothing),
    case!(a_rename_onto_another_link_of_the_file_does_nothing, LINKS),
    case!(a_directory_replaces_an_empty_directory),
    case!(a_directory_does_not_replace_a_full_one),
    case!(a_directory_does_not_replace_a_file),
    case!(a_file_does_not_replace_a_directory),
    case!(a_directory_does_not_move_into_itself),
    case!(a_missing_file_cannot_be_renamed),
    case!(dot_and_dot_dot_cannot_be_renamed),
    case!(a_rename_moves_across_directories),
    case!(a_moved_directory_brings_what_is_in_it),
    case!(a_moved_directory_moves_the_link_count_of_its_parents, LINKS),
    case!(an_open_directory_can_be_renamed),
    case!(a_renamed_symlink_is_still_the_link, SYMLINKS),
    case!(a_chain_of_renames_keeps_the_bytes),
    case!(a_rename_to_another_file_system_is_refused),
    case!(noreplace_leaves_what_is_there, RENAME_NOREPLACE),
    case!(exchange_swaps_two_files, RENAME_EXCHANGE),
    case!(exchange_swaps_a_file_and_a_directory, RENAME_EXCHANGE),
    case!(exchange_swaps_across_directories, RENAME_EXCHANGE | LINKS),
    case!(exchange_needs_both, RENAME_EXCHANGE),
    case!(exchange_and_noreplace_contradict_each_other, RENAME_EXCHANGE | RENAME_NOREPLACE),
    case!(whiteout_leaves_a_device_behind, RENAME_WHITEOUT),
];

fn rename(dir: &Dir, from: &str, to: &str) -> Result<()> {
    rustix::fs::rename(dir.path(from), dir.path(to))
}

fn rename_with(dir: &Dir, from: &str, to: &str, flags: RenameFlags) -> Result<()> {
    rustix::fs::renameat_with(CWD, dir.path(from), CWD, dir.path(to), flags)
}

fn a_renamed_file_is_the_same_file(dir: &Dir) {
    dir.file("old", "bytes");
    let before = dir.stat("old");
    dir.rename("old", "new");
    let after = dir.stat("new");
    assert_eq!((before.ino(), before.len(), before.mode()), (after.ino(), after.len(), after.mode()));
    assert_eq!(dir.bytes("new"), b"bytes");
    assert!(!dir.has("old"));
}

fn a_rename_replaces_a_file(dir: &Dir) {
    dir.file("new", "the one that goes");
    dir.file("old", "the one that stays");
    let kept = dir.stat("old").ino();
    dir.rename("old", "new");
    assert_eq!(dir.stat("new").ino(), kept);
    assert_eq!(dir.bytes("new"), b"the one that stays");
    assert_eq!(dir.names().len(), 1);
}

fn a_replaced_file_stays_readable_while_open(dir: &Dir) {
    dir.file("target", "old bytes");
    let open = dir.open("target", OFlags::RDWR);
    dir.file("next", "new bytes!");
    dir.rename("next", "target");
    assert_eq!(read_at(&open, 0, 9), b"old bytes");
    write_at(&open, 0, b"OLD");
    assert_eq!(read_at(&open, 0, 9), b"OLD bytes");
    assert_eq!(open.metadata().expect("fstat").nlink(), 0);
    assert_eq!(dir.bytes("target"), b"new bytes!");
}

fn a_renamed_file_stays_writable_while_open(dir: &Dir) {
    let open = dir.create("old");
    write_at(&open, 0, b"before ");
    dir.sub("below");
    dir.rename("old", "below/new");
    write_at(&open, 7, b"after");
    assert_eq!(dir.bytes("below/new"), b"before after");
    rustix::fs::ftruncate(&open, 6).expect("to cut");
    assert_eq!(dir.stat("below/new").len(), 6);
}

fn a_rename_onto_itself_does_nothing(dir: &Dir) {
    dir.file("file", "bytes");
    dir.rename("file", "file");
    assert_eq!(dir.bytes("file"), b"bytes");
    dir.sub("directory");
    dir.rename("directory", "directory");
    assert!(dir.has("directory"));
}

fn a_rename_onto_another_link_of_the_file_does_nothing(dir: &Dir) {
    dir.file("one", "bytes");
    dir.link("one", "two");
    dir.rename("one", "two");
    assert!(dir.has("one") && dir.has("two"));
    assert_eq!(dir.stat("one").nlink(), 2);
}

fn a_directory_replaces_an_empty_directory(dir: &Dir) {
    dir.sub("full").file("file", "");
    dir.sub("empty");
    dir.rename("full", "empty");
    assert!(dir.has("empty/file"));
    assert!(!dir.has("full"));
}

fn a_directory_does_not_replace_a_full_one(dir: &Dir) {
    dir.sub("one").file("file", "");
    dir.sub("two").file("other", "");
    must_fail(rename(dir, "one", "two"), Errno::NOTEMPTY);
    assert!(dir.has("one/file") && dir.has("two/other"));
}

fn a_directory_does_not_replace_a_file(dir: &Dir) {
    dir.sub("directory");
    dir.file("file", "bytes");
    must_fail(rename(dir, "directory", "file"), Errno::NOTDIR);
    assert_eq!(dir.bytes("file"), b"bytes");
}

fn a_file_does_not_replace_a_directory(dir: &Dir) {
    dir.sub("directory");
    dir.file("file", "bytes");
    must_fail(rename(dir, "file", "directory"), Errno::ISDIR);
    assert!(dir.has("file"));
}

fn a_directory_does_not_move_into_itself(dir: &Dir) {
    dir.sub("outer").sub("inner");
    must_fail(rename(dir, "outer", "outer/inner/outer"), Errno::INVAL);
    must_fail(rename(dir, "outer/inner", "outer"), Errno::NOTEMPTY);
}

fn a_missing_file_cannot_be_renamed(dir: &Dir) {
    must_fail(rename(dir, "missing", "new"), Errno::NOENT);
    dir.file("file", "");
    must_fail(rename(dir, "file", "missing/new"), Errno::NOENT);
    must_fail(rename(dir, "file", "file/new"), Errno::NOTDIR);
    assert!(dir.has("file"));
}

fn dot_and_dot_dot_cannot_be_renamed(dir: &Dir) {
    dir.sub("directory");
    must_fail(rename(dir, "directory/.", "new"), Errno::BUSY);
    must_fail(rename(dir, "directory/..", "new"), Errno::BUSY);
}

fn a_rename_moves_across_directories(dir: &Dir) {
    let (one, two) = (dir.sub("one"), dir.sub("two"));
    one.file("file", "bytes");
    dir.rename("one/file", "two/file");
    assert!(one.names().is_empty());
    assert_eq!(two.bytes("file"), b"bytes");
}

fn a_moved_directory_brings_what_is_in_it(dir: &Dir) {
    dir.sub("one").sub("deep").file("file", "bytes");
    dir.sub("two");
    assert!(dir.has("one/deep/file"));
    dir.rename("one", "two/moved");
    assert!(!dir.has("one/deep/file"));
    assert_eq!(dir.bytes("two/moved/deep/file"), b"bytes");
    dir.file("two/moved/deep/file", "changed");
    dir.rename("two/moved", "back");
    assert_eq!(dir.bytes("back/deep/file"), b"changed");
}

fn a_moved_directory_moves_the_link_count_of_its_parents(dir: &Dir) {
    dir.sub("one").sub("child");
    dir.sub("two");
    assert_eq!((dir.stat("one").nlink(), dir.stat("two").nlink()), (3, 2));
    dir.rename("one/child", "two/child");
    assert_eq!((dir.stat("one").nlink(), dir.stat("two").nlink()), (2, 3));
}

fn an_open_directory_can_be_renamed(dir: &Dir) {
    dir.sub("old").file("file", "bytes");
    let open = dir.open("old", OFlags::RDONLY | OFlags::DIRECTORY);
    dir.rename("old", "new");
    let file = rustix::fs::openat(&open, "file", OFlags::RDONLY, rustix::fs::Mode::empty());
    assert_eq!(size(&file.expect("to open below the open directory").into()), 5);
    rustix::fs::mkdirat(&open, "more", rustix::fs::Mode::from(0o755)).expect("mkdirat");
    assert!(dir.has("new/more"));
}

fn a_renamed_symlink_is_still_the_link(dir: &Dir) {
    dir.file("file", "bytes");
    dir.symlink("file", "link");
    dir.rename("link", "moved");
    assert!(dir.stat("moved").is_symlink());
    assert_eq!(dir.bytes("moved"), b"bytes");
    // A link is replaced itself, not what it points to.
    dir.file("other", "other");
    dir.rename("other", "moved");
    assert!(dir.stat("moved").is_file());
    assert_eq!(dir.bytes("file"), b"bytes");
}

fn a_chain_of_renames_keeps_the_bytes(dir: &Dir) {
    dir.file("n0", "bytes");
    for step in 0..300 {
        dir.rename(format!("n{step}"), format!("n{}", step + 1));
    }
    assert_eq!(dir.bytes("n300"), b"bytes");
    assert_eq!(dir.names().len(), 1);
}

fn a_rename_to_another_file_system_is_refused(dir: &Dir) {
    dir.file("file", "bytes");
    must_fail(rustix::fs::rename(dir.path("file"), "/dev/wharf-tests"), Errno::XDEV);
    must_fail(rustix::fs::link(dir.path("file"), "/dev/wharf-tests"), Errno::XDEV);
    assert!(dir.has("file"));
}

fn noreplace_leaves_what_is_there(dir: &Dir) {
    dir.file("one", "one");
    dir.file("two", "two");
    must_fail(rename_with(dir, "one", "two", RenameFlags::NOREPLACE), Errno::EXIST);
    assert_eq!(dir.bytes("two"), b"two");
    rename_with(dir, "one", "three", RenameFlags::NOREPLACE).expect("to a free name");
    assert_eq!(dir.bytes("three"), b"one");
}

fn exchange_swaps_two_files(dir: &Dir) {
    dir.file("one", "one");
    dir.file("two", "two, longer");
    let (first, second) = (dir.stat("one").ino(), dir.stat("two").ino());
    rename_with(dir, "one", "two", RenameFlags::EXCHANGE).expect("to exchange");
    assert_eq!((dir.stat("one").ino(), dir.stat("two").ino()), (second, first));
    assert_eq!(dir.bytes("one"), b"two, longer");
    assert_eq!(dir.bytes("two"), b"one");
}

fn exchange_swaps_a_file_and_a_directory(dir: &Dir) {
    dir.file("file", "bytes");
    dir.sub("directory").file("below", "");
    rename_with(dir, "file", "directory", RenameFlags::EXCHANGE).expect("to exchange");
    assert_eq!(dir.bytes("directory"), b"bytes");
    assert!(dir.has("file/below"));
}

fn exchange_swaps_across_directories(dir: &Dir) {
    let (one, two) = (dir.sub("one"), dir.sub("two"));
    one.sub("child").file("below", "");
    two.file("file", "bytes");
    rename_with(dir, "one/child", "two/file", RenameFlags::EXCHANGE).expect("to exchange");
    assert_eq!(one.bytes("child"), b"bytes");
    assert!(two.has("file/below"));
    assert_eq!((dir.stat("one").nlink(), dir.stat("two").nlink()), (2, 3));
    assert_eq!(dir.stat("two/file/..").ino(), dir.stat("two").ino());
}

fn exchange_needs_both(dir: &Dir) {
    dir.file("one", "one");
    must_fail(rename_with(dir, "one", "missing", RenameFlags::EXCHANGE), Errno::NOENT);
    must_fail(rename_with(dir, "missing", "one", RenameFlags::EXCHANGE), Errno::NOENT);
    assert_eq!(dir.bytes("one"), b"one");
}

fn exchange_and_noreplace_contradict_each_other(dir: &Dir) {
    dir.file("one", "one");
    dir.file("two", "two");
    must_fail(rename_with(dir, "one", "two", RenameFlags::EXCHANGE | RenameFlags::NOREPLACE), Errno::INVAL);
}

fn whiteout_leaves_a_device_behind(dir: &Dir) {
    dir.file("one", "bytes");
    rename_with(dir, "one", "two", RenameFlags::WHITEOUT).expect("to rename with a whiteout");
    assert_eq!(dir.bytes("two"), b"bytes");
    let left = dir.stat("one");
    assert!(left.file_type().is_char_device());
    assert_eq!(left.rdev(), 0);
}
