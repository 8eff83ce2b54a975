//! Hard links and symbolic links.

use std::{
    ffi::OsStr,
    os::{
        fd::AsRawFd,
        unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, lchown},
        },
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, OFlags},
    io::Errno,
};

use super::{Case, case};
use crate::dir::{Dir, must_fail, write_at};

pub(super) const CASES: &[Case] = &[
    case!(a_link_is_the_same_file, LINKS),
    case!(a_link_count_goes_up_and_down, LINKS),
    case!(what_one_name_changes_the_other_shows, LINKS),
    case!(a_link_does_not_replace, LINKS),
    case!(a_directory_has_no_links, LINKS),
    case!(a_missing_file_cannot_be_linked, LINKS),
    case!(a_link_moves_ctime, LINKS),
    case!(a_file_has_a_thousand_links, LINKS),
    case!(links_in_other_directories_survive_their_origin, LINKS),
    case!(an_open_file_is_linked_through_proc, LINKS),
    case!(an_unlinked_file_cannot_be_linked_again, LINKS),
    case!(a_link_to_a_symlink_is_the_symlink, LINKS | SYMLINKS),
    case!(a_target_is_kept_byte_for_byte, SYMLINKS),
    case!(a_target_may_have_4095_bytes, SYMLINKS),
    case!(a_target_of_4096_bytes_is_too_long, SYMLINKS),
    case!(an_empty_target_is_refused, SYMLINKS),
    case!(a_symlink_does_not_replace, SYMLINKS),
    case!(the_size_of_a_symlink_is_that_of_its_target, SYMLINKS),
    case!(relative_targets_start_where_the_link_is, SYMLINKS),
    case!(absolute_targets_start_at_the_root, SYMLINKS),
    case!(a_link_to_a_directory_is_a_way_into_it, SYMLINKS),
    case!(forty_links_are_followed_and_no_more, SYMLINKS),
    case!(a_link_to_itself_is_a_loop, SYMLINKS),
    case!(only_links_can_be_read_as_links, SYMLINKS),
    case!(a_link_made_anew_has_its_new_target, SYMLINKS),
    case!(unlinking_a_symlink_keeps_its_target, SYMLINKS),
    case!(the_owner_of_a_symlink_is_its_own, SYMLINKS | PERMISSIONS),
];

fn a_link_is_the_same_file(dir: &Dir) {
    dir.file("one", "bytes");
    dir.link("one", "two");
    assert_eq!(dir.stat("one").ino(), dir.stat("two").ino());
    assert_eq!(dir.bytes("two"), b"bytes");
}

fn a_link_count_goes_up_and_down(dir: &Dir) {
    dir.file("one", "");
    assert_eq!(dir.stat("one").nlink(), 1);
    dir.link("one", "two");
    dir.link("two", "three");
    assert_eq!(dir.stat("one").nlink(), 3);
    dir.unlink("one");
    assert_eq!(dir.stat("three").nlink(), 2);
    dir.file("other", "");
    dir.rename("other", "two");
    assert_eq!(dir.stat("three").nlink(), 1);
}

fn what_one_name_changes_the_other_shows(dir: &Dir) {
    dir.file("one", "bytes");
    dir.sub("below");
    dir.link("one", "below/two");
    // Asked before, so that whatever caches attributes by name is caught.
    assert_eq!(dir.mode("one"), 0o644);
    dir.chmod("below/two", 0o600);
    assert_eq!(dir.mode("one"), 0o600);
    let file = dir.open("one", OFlags::RDWR);
    write_at(&file, 5, b" and more");
    assert_eq!(dir.stat("below/two").len(), 14);
    assert_eq!(dir.bytes("below/two"), b"bytes and more");
    rustix::fs::ftruncate(&file, 2).expect("to cut");
    assert_eq!(dir.stat("below/two").len(), 2);
}

fn a_link_does_not_replace(dir: &Dir) {
    dir.file("one", "one");
    dir.file("two", "two");
    must_fail(rustix::fs::link(dir.path("one"), dir.path("two")), Errno::EXIST);
    must_fail(rustix::fs::link(dir.path("one"), dir.path("one")), Errno::EXIST);
    assert_eq!(dir.stat("one").nlink(), 1);
}

fn a_directory_has_no_links(dir: &Dir) {
    dir.sub("directory");
    must_fail(rustix::fs::link(dir.path("directory"), dir.path("other")), Errno::PERM);
}

fn a_missing_file_cannot_be_linked(dir: &Dir) {
    must_fail(rustix::fs::link(dir.path("missing"), dir.path("new")), Errno::NOENT);
}

fn a_link_moves_ctime(dir: &Dir) {
    dir.file("one", "");
    let ctime = || (dir.stat("one").ctime(), dir.stat("one").ctime_nsec());
    let before = ctime();
    std::thread::sleep(std::time::Duration::from_millis(20));
    dir.link("one", "two");
    let between = ctime();
    assert!(between > before, "link left ctime alone");
    std::thread::sleep(std::time::Duration::from_millis(20));
    dir.unlink("two");
    assert!(ctime() > between, "unlink left ctime alone");
}

fn a_file_has_a_thousand_links(dir: &Dir) {
    dir.file("file", "bytes");
    for number in 0..999 {
        dir.link("file", format!("link{number}"));
    }
    assert_eq!(dir.stat("link500").nlink(), 1000);
    assert_eq!(dir.names().len(), 1000);
    for number in 0..999 {
        dir.unlink(format!("link{number}"));
    }
    assert_eq!(dir.stat("file").nlink(), 1);
}

fn links_in_other_directories_survive_their_origin(dir: &Dir) {
    dir.sub("one").file("file", "bytes");
    dir.sub("two");
    dir.link("one/file", "two/file");
    dir.unlink("one/file");
    dir.rmdir("one");
    assert_eq!(dir.bytes("two/file"), b"bytes");
    assert_eq!(dir.stat("two/file").nlink(), 1);
}

fn an_open_file_is_linked_through_proc(dir: &Dir) {
    dir.file("one", "bytes");
    let file = dir.open("one", OFlags::RDONLY);
    let through = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, through, CWD, dir.path("two"), AtFlags::SYMLINK_FOLLOW).expect("linkat");
    assert_eq!(dir.stat("two").ino(), dir.stat("one").ino());
}

fn an_unlinked_file_cannot_be_linked_again(dir: &Dir) {
    let file = dir.create("one");
    dir.unlink("one");
    let through = format!("/proc/self/fd/{}", file.as_raw_fd());
    let linked = rustix::fs::linkat(CWD, through, CWD, dir.path("two"), AtFlags::SYMLINK_FOLLOW);
    must_fail(linked, Errno::NOENT);
}

fn a_link_to_a_symlink_is_the_symlink(dir: &Dir) {
    dir.symlink("target", "one");
    dir.link("one", "two");
    assert!(dir.stat("two").is_symlink());
    assert_eq!(dir.stat("two").ino(), dir.stat("one").ino());
    dir.file("target", "bytes");
    rustix::fs::linkat(CWD, dir.path("one"), CWD, dir.path("three"), AtFlags::SYMLINK_FOLLOW)
        .expect("linkat");
    assert_eq!(dir.stat("three").ino(), dir.stat("target").ino());
}

#[track_caller]
fn target(dir: &Dir, name: &str) -> Vec<u8> {
    rustix::fs::readlink(dir.path(name), Vec::new()).expect("readlink").into_bytes()
}

fn a_target_is_kept_byte_for_byte(dir: &Dir) {
    for (number, bytes) in [&b"\xff\xfe\n"[..], b"a//b/./../c/", b".", b"/", b" "].into_iter().enumerate() {
        let name = format!("link{number}");
        dir.symlink(OsStr::from_bytes(bytes), &name);
        assert_eq!(target(dir, &name), bytes);
    }
}

fn a_target_may_have_4095_bytes(dir: &Dir) {
    for length in [59, 60, 61, 255, 256, 1000, 4095] {
        let long = "t".repeat(length);
        let name = format!("link{length}");
        dir.symlink(&long, &name);
        assert_eq!(target(dir, &name), long.as_bytes());
    }
}

fn a_target_of_4096_bytes_is_too_long(dir: &Dir) {
    must_fail(rustix::fs::symlink("t".repeat(4096), dir.path("link")), Errno::NAMETOOLONG);
    assert!(!dir.has("link"));
}

fn an_empty_target_is_refused(dir: &Dir) {
    must_fail(rustix::fs::symlink("", dir.path("link")), Errno::NOENT);
}

fn a_symlink_does_not_replace(dir: &Dir) {
    dir.file("file", "");
    must_fail(rustix::fs::symlink("target", dir.path("file")), Errno::EXIST);
    dir.symlink("nothing", "dangling");
    must_fail(rustix::fs::symlink("target", dir.path("dangling")), Errno::EXIST);
}

fn the_size_of_a_symlink_is_that_of_its_target(dir: &Dir) {
    dir.symlink("0123456789", "link");
    let stat = dir.stat("link");
    assert_eq!((stat.len(), stat.mode() & 0o777, stat.nlink()), (10, 0o777, 1));
}

fn relative_targets_start_where_the_link_is(dir: &Dir) {
    dir.file("file", "outer");
    let below = dir.sub("below");
    below.file("file", "inner");
    below.symlink("file", "near");
    below.symlink("../file", "far");
    assert_eq!(below.bytes("near"), b"inner");
    assert_eq!(below.bytes("far"), b"outer");
}

fn absolute_targets_start_at_the_root(dir: &Dir) {
    dir.file("file", "bytes");
    dir.symlink(dir.path("file"), "link");
    assert_eq!(dir.bytes("link"), b"bytes");
    dir.symlink("/proc/self/stat", "outside");
    assert!(!dir.bytes("outside").is_empty());
}

fn a_link_to_a_directory_is_a_way_into_it(dir: &Dir) {
    dir.sub("directory").file("file", "bytes");
    dir.symlink("directory", "link");
    assert_eq!(dir.bytes("link/file"), b"bytes");
    dir.file("link/new", "");
    assert!(dir.has("directory/new"));
    must_fail(rustix::fs::rmdir(dir.path("link")), Errno::NOTDIR);
    assert!(dir.stat("link/").is_dir());
}

fn forty_links_are_followed_and_no_more(dir: &Dir) {
    dir.file("l0", "bytes");
    for number in 1..=41 {
        dir.symlink(format!("l{}", number - 1), format!("l{number}"));
    }
    assert_eq!(dir.bytes("l40"), b"bytes");
    must_fail(rustix::fs::stat(dir.path("l41")).map(drop), Errno::LOOP);
}

fn a_link_to_itself_is_a_loop(dir: &Dir) {
    dir.symlink("self", "self");
    dir.symlink("two", "one");
    dir.symlink("one", "two");
    must_fail(rustix::fs::stat(dir.path("self")).map(drop), Errno::LOOP);
    must_fail(dir.try_open("one", OFlags::RDWR | OFlags::CREATE), Errno::LOOP);
    must_fail(rustix::fs::stat(dir.path("one/below")).map(drop), Errno::LOOP);
}

fn only_links_can_be_read_as_links(dir: &Dir) {
    dir.file("file", "");
    must_fail(rustix::fs::readlink(dir.path("file"), Vec::new()), Errno::INVAL);
    must_fail(rustix::fs::readlink(dir.path("missing"), Vec::new()), Errno::NOENT);
}

fn a_link_made_anew_has_its_new_target(dir: &Dir) {
    dir.file("first", "first");
    dir.file("second", "second");
    for round in 0..10 {
        let name = if round % 2 == 0 { "first" } else { "second" };
        dir.symlink(name, "link");
        assert_eq!(target(dir, "link"), name.as_bytes());
        assert_eq!(dir.bytes("link"), name.as_bytes());
        dir.unlink("link");
    }
    // Replaced in one step, as deployments do it.
    dir.symlink("first", "current");
    assert_eq!(dir.bytes("current"), b"first");
    dir.symlink("second", "next");
    dir.rename("next", "current");
    assert_eq!(dir.bytes("current"), b"second");
}

fn unlinking_a_symlink_keeps_its_target(dir: &Dir) {
    dir.file("file", "bytes");
    dir.symlink("file", "link");
    dir.unlink("link");
    assert!(dir.has("file") && !dir.has("link"));
}

fn the_owner_of_a_symlink_is_its_own(dir: &Dir) {
    dir.file("file", "");
    dir.symlink("file", "link");
    lchown(dir.path("link"), Some(61_001), Some(62_001)).expect("lchown");
    assert_eq!((dir.stat("link").uid(), dir.stat("link").gid()), (61_001, 62_001));
    assert_eq!(dir.stat("file").uid(), 0);
    std::os::unix::fs::chown(dir.path("link"), Some(61_002), None).expect("chown through the link");
    assert_eq!((dir.stat("link").uid(), dir.stat("file").uid()), (61_001, 61_002));
    assert_eq!(Path::new("file"), std::fs::read_link(dir.path("link")).expect("readlink"));
}
