//! The tree as it was made: what is listed, what is found, and what is said of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt,
};

use rustix::{
    fs::{Access, AtFlags, CWD, FileType, OFlags, SeekFrom, StatVfsMountFlags, accessat, seek},
    io::Errno,
};

use super::{CHANGED, Case, FILES, LINKS, MANY, case, contents, tree};
use crate::{
    child::{ANNA, as_user},
    dir::{Dir, must_fail, read_at, same_bytes},
    needs::Needs,
    sys,
};

pub(super) const CASES: &[Case] = &[
    case!(reading all_that_was_put_there_is_shown_and_nothing_else),
    case!(reading the_links_are_shown_too, SYMLINKS),
    case!(reading a_listing_shows_every_entry_once_with_any_buffer),
    case!(reading a_place_in_a_listing_can_be_found_again),
    case!(reading a_listing_can_begin_again),
    case!(reading two_listings_do_not_disturb_each_other),
    case!(reading listed_types_and_inodes_are_those_of_stat),
    case!(reading every_file_has_a_number_of_its_own_and_keeps_it),
    case!(reading times_are_those_that_were_set_and_reading_moves_none),
    case!(reading modes_are_those_that_were_set, MODES),
    case!(reading what_is_not_there_is_not_found),
    case!(reading a_file_is_no_directory_and_a_directory_no_file),
    case!(reading dots_lead_where_they_should),
    case!(reading a_working_directory_knows_its_way),
    case!(reading links_tell_their_targets_and_lead_there, SYMLINKS),
    case!(reading links_that_lead_nowhere_fail, SYMLINKS),
    case!(reading access_says_what_may_be_done),
    case!(reading what_is_locked_is_locked_for_others, PERMISSIONS),
    case!(reading the_space_says_that_nothing_can_be_written),
];

fn shown(dir: &Dir, have: Needs) {
    let links = |name: &String| LINKS.iter().any(|(link, _)| link.rsplit('/').next() == Some(name));
    for (path, want) in tree(have) {
        let mut got: BTreeSet<String> =
            dir_in(dir, &path).names().into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
        if !have.contains(Needs::SYMLINKS) {
            got.retain(|name| !links(name));
        }
        assert_eq!(got, want, "in «{path}»");
    }
}

fn dir_in(dir: &Dir, path: &str) -> Dir {
    Dir::at(dir.path(path))
}

fn all_that_was_put_there_is_shown_and_nothing_else(dir: &Dir) {
    shown(dir, Needs::empty());
}

fn the_links_are_shown_too(dir: &Dir) {
    shown(dir, Needs::SYMLINKS);
}

fn listing(dir: &Dir) -> std::fs::File {
    dir.open("many", OFlags::RDONLY | OFlags::DIRECTORY)
}

/// The names from where the listing is to its end, in pieces of `bytes`, without `.` and `..`.
fn rest(listing: &std::fs::File, bytes: usize) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let entries = sys::read_entries(listing, bytes).expect("getdents");
        if entries.is_empty() {
            return names;
        }
        names.extend(entries.into_iter().map(|entry| entry.name).filter(|name| name != "." && name != ".."));
    }
}

fn many() -> Vec<String> {
    let mut names: Vec<String> = (0..MANY).map(|at| format!("entry-{at}")).collect();
    names.sort();
    names
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn a_listing_shows_every_entry_once_with_any_buffer(dir: &Dir) {
    for bytes in [64, 100, 300, 4096, 65_536] {
        assert_eq!(sorted(rest(&listing(dir), bytes)), many(), "with {bytes} bytes");
    }
    assert_eq!(rest(&dir.open("nothing", OFlags::RDONLY | OFlags::DIRECTORY), 4096), [""; 0]);
}

fn a_place_in_a_listing_can_be_found_again(dir: &Dir) {
    let listing = listing(dir);
    let mut places = Vec::new();
    loop {
        let entries = sys::read_entries(&listing, 200).expect("getdents");
        if entries.is_empty() {
            break;
        }
        places.extend(entries.into_iter().map(|entry| (entry.name, entry.next)));
    }
    for at in [250, 3, MANY + 1, 0, 200, 1] {
        let (_, next) = places[at];
        seek(&listing, SeekFrom::Start(next)).expect("seekdir");
        let entries = sys::read_entries(&listing, 200).expect("getdents");
        assert_eq!(entries.first().map(|entry| &entry.name), places.get(at + 1).map(|(name, _)| name));
    }
}

fn a_listing_can_begin_again(dir: &Dir) {
    let listing = listing(dir);
    for bytes in [4096, 100, 65_536] {
        sys::read_entries(&listing, 500).expect("getdents");
        seek(&listing, SeekFrom::Start(0)).expect("rewinddir");
        assert_eq!(sorted(rest(&listing, bytes)), many());
        assert!(rest(&listing, bytes).is_empty(), "after the end");
        seek(&listing, SeekFrom::Start(0)).expect("rewinddir");
    }
}

fn two_listings_do_not_disturb_each_other(dir: &Dir) {
    let listings = [listing(dir), listing(dir)];
    let mut names = [Vec::new(), Vec::new()];
    loop {
        let counts = [0, 1].map(|which: usize| {
            let entries = sys::read_entries(&listings[which], [200, 333][which]).expect("getdents");
            let count = entries.len();
            names[which]
                .extend(entries.into_iter().map(|entry| entry.name).filter(|name| !name.starts_with('.')));
            count
        });
        if counts == [0, 0] {
            break;
        }
    }
    names.into_iter().for_each(|names| assert_eq!(sorted(names), many()));
}

fn listed_types_and_inodes_are_those_of_stat(dir: &Dir) {
    for path in ["", "many", "below", "below/this"] {
        let below = dir_in(dir, path);
        for entry in
            sys::read_entries(below.open(".", OFlags::RDONLY | OFlags::DIRECTORY), 1 << 16).expect("getdents")
        {
            if entry.name == ".." {
                continue;
            }
            let about = below.stat(&entry.name);
            assert_eq!(entry.inode, about.ino(), "{path}/{}", entry.name);
            assert_eq!(entry.kind, FileType::from_raw_mode(about.mode()), "{path}/{}", entry.name);
        }
    }
}

fn every_file_has_a_number_of_its_own_and_keeps_it(dir: &Dir) {
    let mut numbers = BTreeMap::new();
    let many = (0..MANY).map(|at| format!("many/entry-{at}"));
    for name in FILES.iter().map(|(name, _)| (*name).to_owned()).chain(many) {
        let number = dir.stat(&name).ino();
        let open = dir.open(&name, OFlags::RDONLY);
        let about = open.metadata().expect("fstat");
        assert_eq!((about.ino(), about.len()), (number, dir.stat(&name).len()), "{name}");
        assert_eq!(dir.stat(&name).ino(), number, "{name}");
        if let Some(other) = numbers.insert(number, name.clone()) {
            panic!("{name} and {other} have one number");
        }
    }
}

fn times_are_those_that_were_set_and_reading_moves_none(dir: &Dir) {
    for (name, _) in FILES {
        let before = dir.stat(name);
        assert_eq!(before.mtime(), CHANGED as i64, "{name}");
        dir.bytes(name);
        let after = dir.stat(name);
        assert_eq!((after.mtime(), after.ctime()), (before.mtime(), before.ctime()), "{name}");
    }
}

fn modes_are_those_that_were_set(dir: &Dir) {
    for (name, mode) in
        [("program", 0o755), ("locked", 0o600), ("short", 0o644), ("nothing", 0o711), ("many", 0o755)]
    {
        assert_eq!(dir.mode(name), mode, "{name}");
    }
}

fn what_is_not_there_is_not_found(dir: &Dir) {
    for name in [
        "nowhere at all",
        "many/entry-",
        "many/entry-300",
        "nothing/x",
        "below/this/there/is/two",
        "no/where",
    ] {
        // Twice: what is not there may be remembered.
        for _ in 0..2 {
            must_fail(rustix::fs::lstat(dir.path(name)), Errno::NOENT);
            must_fail(dir.try_open(name, OFlags::RDONLY), Errno::NOENT);
        }
    }
    must_fail(rustix::fs::lstat(dir.path("short/x")), Errno::NOTDIR);
    must_fail(dir.try_open("many/entry-1/x", OFlags::RDONLY), Errno::NOTDIR);
    must_fail(rustix::fs::lstat(dir.path("x".repeat(256))), Errno::NAMETOOLONG);
    must_fail(rustix::fs::lstat(dir.path("x".repeat(255))), Errno::NOENT);
}

fn a_file_is_no_directory_and_a_directory_no_file(dir: &Dir) {
    must_fail(dir.try_open("short", OFlags::RDONLY | OFlags::DIRECTORY), Errno::NOTDIR);
    must_fail(sys::read_entries(dir.open("short", OFlags::RDONLY), 4096), Errno::NOTDIR);
    must_fail(rustix::fs::stat(dir.path("short/")), Errno::NOTDIR);
    let many = dir.open("many", OFlags::RDONLY);
    must_fail(rustix::io::pread(&many, &mut [0; 10], 0), Errno::ISDIR);
    must_fail(dir.try_open("many", OFlags::RDWR), Errno::ISDIR);
}

fn dots_lead_where_they_should(dir: &Dir) {
    same_bytes(&dir.bytes("below/this/../this/./there//is/one"), &contents("below/this/there/is/one"));
    let up = dir_in(dir, "below/this").stat("..");
    assert_eq!(up.ino(), dir.stat("below").ino());
    let here = dir_in(dir, "below").stat(".");
    assert_eq!(here.ino(), dir.stat("below").ino());
}

fn a_working_directory_knows_its_way(dir: &Dir) {
    std::env::set_current_dir(dir.path("below/this/there")).expect("chdir");
    let here = std::env::current_dir().expect("getcwd");
    assert!(here.ends_with("below/this/there"), "{}", here.display());
    let one = std::fs::read("is/one").expect("to read by a short path");
    same_bytes(&one, &contents("below/this/there/is/one"));
    let short = std::fs::read("../../../short").expect("to read by a path that leads up");
    same_bytes(&short, &contents("short"));
}

fn links_tell_their_targets_and_lead_there(dir: &Dir) {
    for (name, target) in LINKS {
        let told = std::fs::read_link(dir.path(name)).expect("readlink");
        assert_eq!(told.to_str(), Some(*target));
        let about = dir.stat(name);
        assert!(about.is_symlink(), "{name}");
        assert_eq!(about.len(), target.len() as u64, "{name}");
        // With too little room a target is cut off.
        let mut room = [0u8; 2];
        let count = rustix::fs::readlinkat_raw(CWD, dir.path(name), &mut room).expect("readlink");
        assert_eq!(room[..count], target.as_bytes()[..2]);
    }
    same_bytes(&dir.bytes("link"), &contents("short"));
    same_bytes(&dir.bytes("below/up"), &contents("one"));
    assert_eq!(dir.bytes("link to many/entry-7"), b"7");
    assert_eq!(dir_in(dir, "link to many").names().len(), MANY);
    must_fail(rustix::fs::readlink(dir.path("short"), Vec::new()), Errno::INVAL);
}

fn links_that_lead_nowhere_fail(dir: &Dir) {
    must_fail(dir.try_open("dangling", OFlags::RDONLY), Errno::NOENT);
    must_fail(rustix::fs::stat(dir.path("dangling")), Errno::NOENT);
    must_fail(dir.try_open("circle", OFlags::RDONLY), Errno::LOOP);
    must_fail(dir.try_open("link", OFlags::RDONLY | OFlags::NOFOLLOW), Errno::LOOP);
    must_fail(dir.try_open("dangling/x", OFlags::RDONLY), Errno::NOENT);
}

fn access_says_what_may_be_done(dir: &Dir) {
    let access = |name: &str, what| accessat(CWD, dir.path(name), what, AtFlags::empty());
    for name in ["short", "many", "below/this/there/is/one"] {
        access(name, Access::EXISTS).expect("it is there");
        access(name, Access::READ_OK).expect("it may be read");
        must_fail(access(name, Access::WRITE_OK), Errno::ROFS);
    }
    access("many", Access::EXEC_OK).expect("it may be searched");
    must_fail(access("nowhere at all", Access::EXISTS), Errno::NOENT);
}

fn what_is_locked_is_locked_for_others(dir: &Dir) {
    as_user(ANNA, dir, || {
        same_bytes(&dir.bytes("short"), &contents("short"));
        must_fail(dir.try_open("locked", OFlags::RDONLY), Errno::ACCESS);
        let access = |name: &str, what| accessat(CWD, dir.path(name), what, AtFlags::empty());
        must_fail(access("locked", Access::READ_OK), Errno::ACCESS);
        access("program", Access::EXEC_OK).expect("it may be run");
        must_fail(access("short", Access::EXEC_OK), Errno::ACCESS);
        // May be gone through, not listed.
        must_fail(dir.try_open("nothing", OFlags::RDONLY | OFlags::DIRECTORY), Errno::ACCESS);
        must_fail(rustix::fs::lstat(dir.path("nothing/x")), Errno::NOENT);
    });
    // Not for root, who reads what is in the cache by now.
    let locked = dir.open("locked", OFlags::RDONLY);
    same_bytes(&read_at(&locked, 0, 40), &contents("locked"));
}

fn the_space_says_that_nothing_can_be_written(dir: &Dir) {
    let space = rustix::fs::statvfs(dir.path("short")).expect("statvfs");
    assert!(space.f_flag.contains(StatVfsMountFlags::RDONLY), "{:?}", space.f_flag);
    assert!(space.f_bsize > 0 && space.f_namemax >= 255, "{} {}", space.f_bsize, space.f_namemax);
    assert_eq!(space.f_fsid, rustix::fs::statvfs(dir.path("many")).expect("statvfs").f_fsid);
}
