//! Directories: every entry once, whatever else happens meanwhile; and what may be made and removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::unix::fs::MetadataExt,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, seek},
    io::Errno,
};

use super::{Case, case};
use crate::{
    dir::{Dir, must_fail},
    sys,
};

pub(super) const CASES: &[Case] = &[
    case!(a_directory_lists_what_is_in_it),
    case!(ten_thousand_entries_are_listed_once_each),
    case!(a_small_buffer_lists_all_entries_once),
    case!(a_place_in_a_listing_can_be_found_again),
    case!(rewinding_shows_what_is_new),
    case!(two_listings_do_not_disturb_each_other),
    case!(what_stays_is_listed_once_while_others_go),
    case!(removing_while_listing_leaves_nothing),
    case!(what_was_there_is_listed_once_while_others_come),
    case!(listed_types_and_inodes_are_those_of_stat, SYMLINKS | SPECIAL),
    case!(a_new_directory_is_empty),
    case!(a_directory_is_made_once),
    case!(only_an_empty_directory_is_removed),
    case!(files_and_directories_are_removed_by_their_own_calls),
    case!(dot_cannot_be_removed),
    case!(the_link_count_of_a_directory_counts_its_children, LINKS),
    case!(a_removed_directory_takes_no_new_entries),
    case!(the_working_directory_may_be_removed),
    case!(a_hundred_levels_work),
    case!(a_directory_can_be_synced),
    case!(a_name_can_be_used_again_at_once),
    case!(the_times_of_a_directory_tell_of_its_entries, TIMES_FINE),
];

fn open(dir: &Dir) -> File {
    dir.open(".", OFlags::RDONLY | OFlags::DIRECTORY)
}

/// The names from where the listing is to its end, in pieces of `bytes`, without `.` and `..`.
fn rest(listing: &File, bytes: usize) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let entries = sys::read_entries(listing, bytes).expect("getdents");
        if entries.is_empty() {
            return names;
        }
        names.extend(entries.into_iter().map(|entry| entry.name).filter(|name| name != "." && name != ".."));
    }
}

/// Panics if a name comes twice.
#[track_caller]
fn once_each(names: Vec<String>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for name in names {
        assert!(!seen.contains(&name), "{name} was listed twice");
        seen.insert(name);
    }
    seen
}

fn fill(dir: &Dir, count: usize) -> BTreeSet<String> {
    let names: BTreeSet<String> = (0..count).map(|number| format!("entry-{number}")).collect();
    for name in &names {
        // Entries are what counts here, and links are cheaper than files, where there are any.
        if rustix::fs::link(dir.path("entry-0"), dir.path(name)).is_err() {
            dir.create(name);
        }
    }
    names
}

fn a_directory_lists_what_is_in_it(dir: &Dir) {
    dir.file("file", "");
    dir.sub("directory");
    let names: BTreeSet<String> =
        sys::read_entries(open(dir), 4096).expect("getdents").into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, [".", "..", "directory", "file"].map(String::from).into());
    dir.unlink("file");
    assert_eq!(once_each(rest(&open(dir), 4096)), ["directory"].map(String::from).into());
}

fn ten_thousand_entries_are_listed_once_each(dir: &Dir) {
    let mut names = fill(dir, 8000);
    // Some are files of their own, for those who remember each file they showed.
    for name in (0..2000).map(|number| format!("file-{number}")) {
        dir.create(&name);
        names.insert(name);
    }
    assert_eq!(once_each(rest(&open(dir), 32 << 10)), names);
    assert_eq!(dir.names().len(), 10_000);
}

fn a_small_buffer_lists_all_entries_once(dir: &Dir) {
    let names = fill(dir, 300);
    for bytes in [64, 100, 300] {
        assert_eq!(once_each(rest(&open(dir), bytes)), names);
    }
}

fn a_place_in_a_listing_can_be_found_again(dir: &Dir) {
    fill(dir, 500);
    let listing = open(dir);
    let mut places = Vec::new();
    loop {
        let entries = sys::read_entries(&listing, 200).expect("getdents");
        if entries.is_empty() {
            break;
        }
        places.extend(entries.into_iter().map(|entry| (entry.name, entry.next)));
    }
    // What follows a place is the same every time, whatever order the places are asked in.
    for at in [250, 3, 499, 0, 400, 1] {
        let (_, next) = places[at];
        seek(&listing, SeekFrom::Start(next)).expect("seekdir");
        let entries = sys::read_entries(&listing, 200).expect("getdents");
        assert_eq!(entries.first().map(|entry| &entry.name), places.get(at + 1).map(|(name, _)| name));
    }
}

fn rewinding_shows_what_is_new(dir: &Dir) {
    fill(dir, 10);
    let listing = open(dir);
    assert_eq!(rest(&listing, 4096).len(), 10);
    dir.file("late", "");
    dir.unlink("entry-3");
    seek(&listing, SeekFrom::Start(0)).expect("rewinddir");
    let names = once_each(rest(&listing, 4096));
    assert!(names.contains("late") && !names.contains("entry-3"));
    assert_eq!(names.len(), 10);
}

fn two_listings_do_not_disturb_each_other(dir: &Dir) {
    let names = fill(dir, 400);
    let (one, two) = (open(dir), open(dir));
    let (mut from_one, mut from_two) = (Vec::new(), Vec::new());
    loop {
        let mut some = sys::read_entries(&one, 300).expect("getdents");
        let more = sys::read_entries(&two, 700).expect("getdents");
        if some.is_empty() && more.is_empty() {
            break;
        }
        from_one.extend(some.drain(..).map(|entry| entry.name));
        from_two.extend(more.into_iter().map(|entry| entry.name));
    }
    for listed in [from_one, from_two] {
        let listed: BTreeSet<String> =
            once_each(listed).into_iter().filter(|name| !name.starts_with('.')).collect();
        assert_eq!(listed, names);
    }
}

fn what_stays_is_listed_once_while_others_go(dir: &Dir) {
    fill(dir, 2000);
    let listing = open(dir);
    let mut seen = Vec::new();
    let mut gone = 0;
    loop {
        let entries = sys::read_entries(&listing, 1000).expect("getdents");
        if entries.is_empty() {
            break;
        }
        seen.extend(entries.into_iter().map(|entry| entry.name).filter(|name| name.starts_with('e')));
        // All odd ones go, from both ends.
        for number in [2 * gone + 1, 1999 - 2 * gone] {
            if gone < 500 {
                dir.unlink(format!("entry-{number}"));
            }
        }
        gone += 1;
    }
    let seen = once_each(seen);
    for number in (0..2000).step_by(2) {
        assert!(seen.contains(&format!("entry-{number}")), "entry-{number} was missed");
    }
}

fn removing_while_listing_leaves_nothing(dir: &Dir) {
    // What rm -r does.
    fill(dir, 3000);
    let listing = open(dir);
    let mut removed = 0;
    loop {
        let entries = sys::read_entries(&listing, 4096).expect("getdents");
        if entries.is_empty() {
            break;
        }
        for entry in entries.iter().filter(|entry| entry.name.starts_with('e')) {
            dir.unlink(&entry.name);
            removed += 1;
        }
    }
    assert_eq!(removed, 3000);
    assert!(dir.names().is_empty());
}

fn what_was_there_is_listed_once_while_others_come(dir: &Dir) {
    let names = fill(dir, 1000);
    let listing = open(dir);
    let mut seen = Vec::new();
    let mut rounds = 0;
    loop {
        let entries = sys::read_entries(&listing, 1000).expect("getdents");
        if entries.is_empty() {
            break;
        }
        seen.extend(entries.into_iter().map(|entry| entry.name));
        if rounds < 500 {
            dir.file(format!("late-{rounds}"), "");
        }
        rounds += 1;
        assert!(rounds < 10_000, "the listing does not end");
    }
    assert!(once_each(seen).is_superset(&names));
}

fn listed_types_and_inodes_are_those_of_stat(dir: &Dir) {
    dir.file("file", "");
    dir.sub("directory");
    dir.symlink("file", "link");
    rustix::fs::mknodat(rustix::fs::CWD, dir.path("fifo"), FileType::Fifo, Mode::from(0o644), 0)
        .expect("mkfifo");
    let want: BTreeMap<&str, FileType> = [
        ("file", FileType::RegularFile),
        ("directory", FileType::Directory),
        ("link", FileType::Symlink),
        ("fifo", FileType::Fifo),
        (".", FileType::Directory),
        ("..", FileType::Directory),
    ]
    .into();
    let entries = sys::read_entries(open(dir), 4096).expect("getdents");
    assert_eq!(entries.len(), want.len());
    for entry in entries {
        assert_eq!(entry.kind, want[&*entry.name], "the type of {}", entry.name);
        if entry.name != ".." {
            assert_eq!(entry.inode, dir.stat(&entry.name).ino(), "the inode of {}", entry.name);
        }
    }
}

fn a_new_directory_is_empty(dir: &Dir) {
    let new = dir.sub("new");
    assert!(new.names().is_empty());
    assert!(dir.stat("new").is_dir());
    assert_eq!(dir.mode("new"), 0o755);
}

fn a_directory_is_made_once(dir: &Dir) {
    let make = |name: &str| rustix::fs::mkdir(dir.path(name), Mode::from(0o755));
    make("new").expect("mkdir");
    must_fail(make("new"), Errno::EXIST);
    dir.file("file", "");
    must_fail(make("file"), Errno::EXIST);
    must_fail(make("missing/new"), Errno::NOENT);
    must_fail(make("file/new"), Errno::NOTDIR);
}

fn only_an_empty_directory_is_removed(dir: &Dir) {
    let full = dir.sub("full");
    full.file("file", "");
    must_fail(rustix::fs::rmdir(dir.path("full")), Errno::NOTEMPTY);
    full.unlink("file");
    dir.rmdir("full");
    assert!(!dir.has("full"));
}

fn files_and_directories_are_removed_by_their_own_calls(dir: &Dir) {
    dir.file("file", "");
    dir.sub("directory");
    must_fail(rustix::fs::rmdir(dir.path("file")), Errno::NOTDIR);
    must_fail(rustix::fs::unlink(dir.path("directory")), Errno::ISDIR);
    assert!(dir.has("file") && dir.has("directory"));
}

fn dot_cannot_be_removed(dir: &Dir) {
    dir.sub("directory");
    must_fail(rustix::fs::rmdir(dir.path("directory/.")), Errno::INVAL);
    must_fail(rustix::fs::rmdir(dir.path("directory/..")), Errno::NOTEMPTY);
}

fn the_link_count_of_a_directory_counts_its_children(dir: &Dir) {
    let parent = dir.sub("parent");
    assert_eq!(dir.stat("parent").nlink(), 2);
    for name in ["one", "two", "three"] {
        parent.sub(name);
    }
    parent.file("file", "");
    assert_eq!(dir.stat("parent").nlink(), 5);
    parent.rmdir("two");
    assert_eq!(dir.stat("parent").nlink(), 4);
}

fn a_removed_directory_takes_no_new_entries(dir: &Dir) {
    let gone = dir.sub("gone");
    let listing = open(&gone);
    dir.rmdir("gone");
    assert_eq!(listing.metadata().expect("fstat").nlink(), 0);
    let made = rustix::fs::openat(&listing, "new", OFlags::CREATE | OFlags::WRONLY, Mode::from(0o644));
    must_fail(made, Errno::NOENT);
    must_fail(rustix::fs::mkdirat(&listing, "new", Mode::from(0o755)), Errno::NOENT);
    // Some list nothing, some say that it is gone; none may list what was there.
    if let Ok(entries) = sys::read_entries(&listing, 4096) {
        assert!(entries.iter().all(|entry| entry.name == "." || entry.name == ".."));
    }
}

fn the_working_directory_may_be_removed(dir: &Dir) {
    let gone = dir.sub("gone");
    rustix::process::chdir(gone.path(".")).expect("chdir");
    dir.rmdir("gone");
    must_fail(rustix::process::getcwd(Vec::new()), Errno::NOENT);
    must_fail(rustix::fs::open("new", OFlags::CREATE | OFlags::WRONLY, Mode::from(0o644)), Errno::NOENT);
    assert_eq!(rustix::fs::stat(".").expect("stat of what is gone").st_nlink, 0);
    rustix::process::chdir("..").expect("to leave");
    assert_eq!(rustix::fs::stat(".").expect("stat").st_ino, dir.stat(".").ino());
}

fn a_hundred_levels_work(dir: &Dir) {
    let mut deepest = dir.clone();
    for level in 0..100 {
        deepest = deepest.sub(format!("level{level}"));
    }
    deepest.file("file", "deep");
    assert_eq!(deepest.bytes("file"), b"deep");
    let up = deepest.path("../".repeat(100));
    assert_eq!(std::fs::metadata(up).expect("stat through a hundred ..").ino(), dir.stat(".").ino());
}

fn a_directory_can_be_synced(dir: &Dir) {
    dir.file("file", "");
    let listing = open(dir);
    rustix::fs::fsync(&listing).expect("fsync of a directory");
    rustix::fs::fdatasync(&listing).expect("fdatasync of a directory");
}

fn a_name_can_be_used_again_at_once(dir: &Dir) {
    for round in 0..100 {
        let bytes = round.to_string();
        dir.file("name", &bytes);
        assert_eq!(dir.bytes("name"), bytes.as_bytes());
        dir.unlink("name");
        dir.sub("name").file("below", "");
        assert!(dir.has("name/below"));
        dir.unlink("name/below");
        dir.rmdir("name");
    }
    must_fail(rustix::fs::unlinkat(open(dir), "name", AtFlags::REMOVEDIR), Errno::NOENT);
}

fn the_times_of_a_directory_tell_of_its_entries(dir: &Dir) {
    let below = dir.sub("below");
    let times = || {
        let stat = dir.stat("below");
        ((stat.mtime(), stat.mtime_nsec()), (stat.ctime(), stat.ctime_nsec()))
    };
    let steps: [(&str, &dyn Fn()); 5] = [
        ("making a file", &|| below.file("file", "")),
        ("renaming it", &|| below.rename("file", "other")),
        ("removing it", &|| below.unlink("other")),
        ("making a directory", &|| drop(below.sub("directory"))),
        ("removing it", &|| below.rmdir("directory")),
    ];
    for (what, step) in steps {
        let before = times();
        std::thread::sleep(std::time::Duration::from_millis(12));
        step();
        let after = times();
        assert!(
            after.0 > before.0 && after.1 > before.1,
            "{what} left mtime or ctime of the directory alone"
        );
    }
    // Writing to what is in it is no change of the directory.
    below.file("file", "");
    let before = times();
    std::thread::sleep(std::time::Duration::from_millis(12));
    below.file("file", "bytes");
    assert_eq!(times(), before);
}
