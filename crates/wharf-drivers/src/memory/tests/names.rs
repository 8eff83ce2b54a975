//! Names: made, linked, moved and removed, with what that does to counts, times and space.

use std::sync::Arc;

use wharf::error::Kind as ErrorKind;
use wharf::op::RenameHow;
use wharf::{Kind, Time};

use super::{ROOT, fails, name, names_of, small, volume};
use crate::memory::inode::Inode;
use crate::memory::names::Make;

/// Makes the times of a node old, so that a change shows.
fn age(inode: &Inode) {
    let mut state = inode.state_mut();
    let long_ago = Time { seconds: 1000, nanoseconds: 0 };
    (state.accessed, state.modified, state.changed) = (long_ago, long_ago, long_ago);
}

/// Which of mtime and ctime have moved since `age`.
fn moved(inode: &Inode) -> (bool, bool) {
    let state = inode.state();
    (state.modified.seconds > 1000, state.changed.seconds > 1000)
}

#[test]
fn a_name_is_found_where_it_was_made() {
    let volume = volume();
    let file = volume.file("a");
    assert!(Arc::ptr_eq(&volume.get("a").unwrap(), &file));
    fails(volume.get("b"), ErrorKind::NotFound);
    fails(volume.make_in(volume.top(), "a", Kind::Directory), ErrorKind::Exists);
    fails(volume.find(&file, name("x")), ErrorKind::NotADirectory);
    fails(volume.make_in(&file, "x", Kind::File), ErrorKind::NotADirectory);
}

#[test]
fn a_name_has_255_bytes_at_the_most() {
    let volume = volume();
    let (long, too_long) = ("n".repeat(255), "n".repeat(256));
    volume.file(&long);
    fails(volume.get(&too_long), ErrorKind::NameTooLong);
    fails(volume.make_in(volume.top(), &too_long, Kind::File), ErrorKind::NameTooLong);
    fails(volume.move_top(&long, &too_long), ErrorKind::NameTooLong);
    fails(volume.unlink(volume.top(), name(&too_long)), ErrorKind::NameTooLong);
    fails(volume.rmdir(volume.top(), name(&too_long)), ErrorKind::NameTooLong);
    fails(volume.link(&volume.get(&long).unwrap(), volume.top(), name(&too_long)), ErrorKind::NameTooLong);
}

#[test]
fn directories_count_what_leads_to_them() {
    let volume = volume();
    assert_eq!(volume.top().links(), 2);
    let (a, b) = (volume.dir("a"), volume.dir("b"));
    let below = volume.make_in(&a, "below", Kind::Directory).unwrap();
    assert_eq!((volume.top().links(), a.links(), b.links(), below.links()), (4, 3, 2, 2));
    volume.move_between((&a, "below"), (&b, "below"), RenameHow::Replace).unwrap();
    assert_eq!((a.links(), b.links()), (2, 3));
    volume.rmdir(&b, name("below")).unwrap();
    assert_eq!((b.links(), below.links()), (2, 0));
}

#[test]
fn what_is_no_directory_goes_with_its_last_name() {
    let volume = volume();
    let file = volume.file("a");
    volume.link(&file, volume.top(), name("b")).unwrap();
    assert_eq!(file.links(), 2);
    fails(volume.link(&file, volume.top(), name("b")), ErrorKind::Exists);
    fails(volume.link(volume.top(), volume.top(), name("c")), ErrorKind::NotPermitted);
    volume.unlink(volume.top(), name("a")).unwrap();
    volume.unlink(volume.top(), name("b")).unwrap();
    assert_eq!(file.links(), 0);
    fails(volume.link(&file, volume.top(), name("c")), ErrorKind::NotFound);
    file.put(0, b"still there").unwrap();
    assert_eq!(file.bytes(), b"still there");
    assert_eq!(volume.inodes_used(), 2);
    drop(file);
    assert_eq!((volume.inodes_used(), volume.bytes_used()), (1, 0));
}

#[test]
fn removing_minds_the_kind() {
    let volume = volume();
    volume.file("file");
    let dir = volume.dir("dir");
    volume.make_in(&dir, "x", Kind::File).unwrap();
    fails(volume.unlink(volume.top(), name("dir")), ErrorKind::IsADirectory);
    fails(volume.rmdir(volume.top(), name("file")), ErrorKind::NotADirectory);
    fails(volume.rmdir(volume.top(), name("dir")), ErrorKind::NotEmpty);
    fails(volume.rmdir(volume.top(), name("none")), ErrorKind::NotFound);
    volume.unlink(&dir, name("x")).unwrap();
    volume.rmdir(volume.top(), name("dir")).unwrap();
    fails(volume.make_in(&dir, "x", Kind::File), ErrorKind::NotFound);
}

#[test]
fn a_file_without_a_name_gets_one_if_it_may() {
    let volume = volume();
    let make = Make::new(Kind::File, 0o600, 0);
    let (open, attributes) = volume.make_unnamed(&ROOT, volume.top(), &make, true).unwrap();
    let (closed, _) = volume.make_unnamed(&ROOT, volume.top(), &make, false).unwrap();
    assert_eq!(attributes.links, 0);
    assert_eq!(volume.link(&open, volume.top(), name("a")).unwrap().links, 1);
    fails(volume.link(&closed, volume.top(), name("b")), ErrorKind::NotFound);
    volume.unlink(volume.top(), name("a")).unwrap();
    fails(volume.link(&open, volume.top(), name("a")), ErrorKind::NotFound);
}

#[test]
fn a_rename_replaces_like_with_like() {
    let volume = volume();
    let (file, other) = (volume.file("file"), volume.file("other"));
    let (dir, full) = (volume.dir("dir"), volume.dir("full"));
    volume.make_in(&full, "x", Kind::File).unwrap();
    fails(volume.move_top("file", "dir"), ErrorKind::IsADirectory);
    fails(volume.move_top("dir", "file"), ErrorKind::NotADirectory);
    fails(volume.move_top("dir", "full"), ErrorKind::NotEmpty);
    fails(volume.move_top("none", "file"), ErrorKind::NotFound);
    volume.move_top("full", "dir").unwrap();
    assert_eq!((dir.links(), full.links(), volume.top().links()), (0, 2, 3));
    volume.move_top("file", "other").unwrap();
    assert_eq!((other.links(), file.links()), (0, 1));
    assert!(Arc::ptr_eq(&volume.get("other").unwrap(), &file));
    assert_eq!(names_of(volume.top()), ["other", "dir"]);
}

#[test]
fn a_rename_between_names_of_one_file_does_nothing() {
    let volume = volume();
    let file = volume.file("a");
    volume.link(&file, volume.top(), name("b")).unwrap();
    volume.move_top("a", "b").unwrap();
    volume.move_top("a", "a").unwrap();
    assert_eq!((names_of(volume.top()), file.links()), (vec!["a".into(), "b".into()], 2));
}

#[test]
fn no_directory_moves_into_itself_or_over_what_it_is_in() {
    let volume = volume();
    let a = volume.dir("a");
    let b = volume.make_in(&a, "b", Kind::Directory).unwrap();
    let c = volume.make_in(&b, "c", Kind::Directory).unwrap();
    let top = volume.top();
    for (into, how) in [(&a, RenameHow::Replace), (&c, RenameHow::Replace), (&c, RenameHow::Exchange)] {
        fails(volume.move_between((top, "a"), (into, "x"), how), ErrorKind::Invalid);
    }
    fails(volume.move_between((&b, "c"), (top, "a"), RenameHow::Replace), ErrorKind::NotEmpty);
    fails(volume.move_between((&a, "b"), (top, "a"), RenameHow::Replace), ErrorKind::NotEmpty);
    fails(volume.move_between((&b, "c"), (top, "a"), RenameHow::Exchange), ErrorKind::Invalid);
    // Where a directory is follows its moves.
    volume.move_between((&b, "c"), (top, "c"), RenameHow::Replace).unwrap();
    volume.move_between((top, "a"), (&c, "a"), RenameHow::Replace).unwrap();
    fails(volume.move_between((top, "c"), (&b, "c"), RenameHow::Replace), ErrorKind::Invalid);
}

#[test]
fn the_flags_of_a_rename_do_what_they_say() {
    let volume = volume();
    let (top, dir) = (volume.top(), volume.dir("dir"));
    let (file, sub) = (volume.file("file"), volume.make_in(&dir, "sub", Kind::Directory).unwrap());
    let go = |from, to, how| volume.move_between((top, from), (&dir, to), how);
    fails(go("file", "sub", RenameHow::NoReplace), ErrorKind::Exists);
    fails(go("file", "sub", RenameHow::NoReplaceWhiteout), ErrorKind::Exists);
    fails(go("file", "none", RenameHow::Exchange), ErrorKind::NotFound);
    go("file", "sub", RenameHow::Exchange).unwrap();
    assert!(Arc::ptr_eq(&volume.get("file").unwrap(), &sub));
    assert!(Arc::ptr_eq(&volume.find(&dir, name("sub")).unwrap(), &file));
    assert_eq!((top.links(), dir.links()), (4, 2));
    fails(volume.move_between((top, "dir"), (&sub, "x"), RenameHow::Exchange), ErrorKind::NotFound);

    go("file", "moved", RenameHow::ReplaceWhiteout).unwrap();
    let whiteout = volume.get("file").unwrap().attributes();
    assert_eq!((whiteout.kind, whiteout.device, whiteout.permissions), (Kind::CharDevice, 0, 0));
    assert_eq!((top.links(), dir.links()), (3, 3));
    go("file", "new", RenameHow::NoReplace).unwrap();
    assert_eq!(names_of(&dir), ["sub", "moved", "new"]);
}

#[test]
fn a_change_of_names_moves_the_times_it_should() {
    let volume = volume();
    let (top, dir, file) = (volume.top(), volume.dir("dir"), volume.file("a"));
    let changed_by = |change: &dyn Fn()| {
        [top, &dir, &file].into_iter().for_each(|inode| age(inode));
        change();
        (moved(top), moved(&dir), moved(&file))
    };
    let (no, both, changed) = ((false, false), (true, true), (false, true));
    let link = || assert_eq!(volume.link(&file, &dir, name("b")).unwrap().links, 2);
    assert_eq!(changed_by(&link), (no, both, changed));
    let unlink = || volume.unlink(&dir, name("b")).unwrap();
    assert_eq!(changed_by(&unlink), (no, both, changed));
    let across = || volume.move_between((top, "a"), (&dir, "a"), RenameHow::Replace).unwrap();
    assert_eq!(changed_by(&across), (both, both, changed));
    let within = || volume.move_between((&dir, "a"), (&dir, "c"), RenameHow::Replace).unwrap();
    assert_eq!(changed_by(&within), (no, both, changed));
    let make = || drop(volume.make_in(&dir, "sub", Kind::Directory).unwrap());
    assert_eq!(changed_by(&make), (no, both, no));
    let rmdir = || volume.rmdir(&dir, name("sub")).unwrap();
    assert_eq!(changed_by(&rmdir), (no, both, no));
    let exchange = || volume.move_between((&dir, "c"), (top, "dir2"), RenameHow::Exchange).unwrap();
    volume.dir("dir2");
    assert_eq!(changed_by(&exchange), (both, both, changed));
}

#[test]
fn entries_that_stay_are_listed_exactly_once() {
    let volume = volume();
    let top = volume.top();
    for number in 0..1000 {
        volume.file(&format!("{number}"));
    }
    let mut seen = Vec::new();
    let end = top.state().directory().unwrap().end();
    let mut cursor = 0;
    loop {
        let batch: Vec<_> = {
            let state = top.state();
            let entries = state.directory().unwrap().list(cursor, end).take(7);
            entries
                .map(|(cursor, listed)| (cursor, String::from_utf8_lossy(&listed.name).into_owned()))
                .collect()
        };
        let Some((last, _)) = batch.last() else { break };
        cursor = *last;
        seen.extend(batch.into_iter().map(|(_, name)| name));
        // The last one seen, so that its cursor is of nothing; one not seen yet; and some that are new.
        let gone = seen.last().unwrap().clone();
        if gone.parse::<u32>().is_ok_and(|number| number % 2 == 1) {
            volume.unlink(top, name(&gone)).unwrap();
        }
        volume.file(&format!("new {cursor}"));
        let _ = volume.move_top(&format!("{}", cursor + 20), &format!("renamed {cursor}"));
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "nothing is seen twice");
    let stayed = names_of(top).into_iter().filter(|name| name.parse::<u32>().is_ok());
    stayed.for_each(|name| assert!(once.binary_search(&name).is_ok(), "{name} was missed"));
}

#[test]
fn a_hundred_thousand_entries_are_found_and_removed_quickly() {
    let volume = super::Memory::new(super::Options { inodes_max: 200_000, ..super::Options::new(1 << 30) });
    for number in 0..100_000 {
        volume.file(&format!("file {number}"));
    }
    assert!(volume.get("file 77777").is_ok());
    for number in 0..100_000 {
        volume.unlink(volume.top(), name(&format!("file {number}"))).unwrap();
    }
    assert_eq!((volume.bytes_used(), volume.inodes_used()), (0, 1));
}

#[test]
fn both_limits_hold_and_are_given_back() {
    let volume = small(1 << 20, 3);
    let used = volume.bytes_used();
    volume.file("a");
    volume.dir("b");
    volume
        .make(&ROOT, volume.top(), name("c"), &Make { target: b"there", ..Make::new(Kind::Symlink, 0, 0) })
        .unwrap();
    assert_eq!(volume.bytes_used(), used + 3 * 97 + 5);
    fails(volume.make_in(volume.top(), "d", Kind::File), ErrorKind::NoSpace);
    let whiteout = volume.move_between((volume.top(), "a"), (volume.top(), "x"), RenameHow::ReplaceWhiteout);
    fails(whiteout, ErrorKind::NoSpace);
    volume.link(&volume.get("a").unwrap(), volume.top(), name("another name is no inode")).unwrap();
    volume.unlink(volume.top(), name("c")).unwrap();
    volume.file("d");

    let volume = small(4096 + 2 * 97, 10);
    let file = volume.file("a");
    volume.file("b");
    file.put(0, b"one block").unwrap();
    fails(volume.make_in(volume.top(), "c", Kind::Directory), ErrorKind::NoSpace);
    assert_eq!((volume.top().links(), volume.inodes_used()), (2, 3));
    fails(volume.link(&file, volume.top(), name("c")), ErrorKind::NoSpace);
    fails(volume.move_top("a", "longer"), ErrorKind::NoSpace);
    volume.move_top("a", "c").unwrap();
    volume.move_top("c", "b").unwrap();
    assert_eq!((names_of(volume.top()), file.links()), (vec!["b".into()], 1));
    drop(file);
    volume.unlink(volume.top(), name("b")).unwrap();
    assert_eq!((volume.bytes_used(), volume.inodes_used()), (0, 1));
}

#[test]
fn a_deep_tree_ends_without_a_deep_stack() {
    let volume = super::Memory::new(super::Options { inodes_max: 200_000, ..super::Options::new(1 << 30) });
    let mut at = volume.dir("deep");
    for _ in 0..100_000 {
        at = volume.make_in(&at, "d", Kind::Directory).unwrap();
    }
    drop(at);
    let space = volume.space.clone();
    drop(volume);
    assert_eq!(space.statfs().files_free, 200_000);
    assert_eq!(space.free(), 1 << 30);
}

#[test]
fn a_directory_takes_no_more_links_than_can_be_counted() {
    let volume = volume();
    let (dir, file) = (volume.dir("dir"), volume.file("file"));
    let moving = volume.dir("moving");
    dir.state_mut().links = crate::memory::LINKS_MAX;
    file.state_mut().links = crate::memory::LINKS_MAX;
    fails(volume.make_in(&dir, "x", Kind::Directory), ErrorKind::TooManyLinks);
    fails(
        volume.move_between((volume.top(), "moving"), (&dir, "x"), RenameHow::Replace),
        ErrorKind::TooManyLinks,
    );
    fails(volume.link(&file, volume.top(), name("x")), ErrorKind::TooManyLinks);
    volume.make_in(&dir, "x", Kind::File).unwrap();
    let exchange = volume.move_between((volume.top(), "moving"), (&dir, "x"), RenameHow::Exchange);
    fails(exchange, ErrorKind::TooManyLinks);
    assert_eq!(moving.links(), 2);
}
