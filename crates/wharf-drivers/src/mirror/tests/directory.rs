//! Listings and their cursors.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;

use wharf::Kind;

use super::*;
use crate::mirror::directory::OpenDirectory;

/// Lists at most `count` entries from the cursor on: their names, and where to go on.
fn some(m: &Mirrored, directory: &OpenDirectory, mut cursor: u64, count: usize) -> (Vec<String>, u64) {
    let mut names = Vec::new();
    let mut after = cursor;
    while let Some(wanted) = directory.give(cursor, false, |listed| {
        if names.len() == count {
            return ControlFlow::Break(());
        }
        names.push(text(listed.name).to_owned());
        after = listed.cursor;
        ControlFlow::Continue(())
    }) {
        cursor = wanted.cursor();
        if !m.tree.get_wanted(directory, wanted).unwrap() {
            break;
        }
    }
    directory.pause();
    (names, after)
}

fn many(count: usize) -> (Mirrored, OpenDirectory) {
    let m = mirrored();
    (0..count).for_each(|index| m.write(&format!("file{index:04}"), ""));
    let directory = m.tree.open_directory(&me(), m.root()).unwrap();
    (m, directory)
}

#[test]
fn everything_is_listed_once_however_it_is_cut() {
    let (m, directory) = many(700);
    for piece in [1, 7, 90, 5000] {
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            let (names, after) = some(&m, &directory, cursor, piece);
            if names.is_empty() {
                break;
            }
            seen.extend(names);
            cursor = after;
        }
        assert_eq!(seen.len(), 700, "in pieces of {piece}");
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 700);
    }
}

#[test]
fn a_cursor_stays_good_while_others_make_and_remove() {
    let (m, directory) = many(900);
    let (first, cursor) = some(&m, &directory, 0, 300);
    let stay: BTreeSet<_> = (0..900).filter(|index| index % 3 == 0).map(|i| format!("file{i:04}")).collect();
    for index in (0..900).filter(|index| index % 3 != 0) {
        fs::remove_file(m.path(&format!("file{index:04}"))).unwrap();
        m.write(&format!("later{index:04}"), "");
    }
    // A second reader of the same descriptor went elsewhere meanwhile.
    some(&m, &directory, 0, 5);
    let (rest, _) = some(&m, &directory, cursor, usize::MAX);
    let seen: Vec<_> = first.iter().chain(&rest).filter(|name| stay.contains(*name)).collect();
    assert_eq!(seen.len(), stay.len(), "what stayed is seen exactly once");
}

#[test]
fn a_listing_begun_again_shows_what_was_made_since() {
    let (m, directory) = many(3);
    assert_eq!(some(&m, &directory, 0, 10).0.len(), 3);
    m.write("new", "");
    assert_eq!(some(&m, &directory, 0, 10).0.len(), 4);
}

#[test]
fn whole_entries_come_with_their_nodes_and_the_vanished_without() {
    let (m, directory) = many(100);
    m.make_directory("sub");
    assert!(m.tree.get_wanted(&directory, directory.give(0, true, |_| unreachable!()).unwrap()).unwrap());
    fs::remove_file(m.path("file0050")).unwrap();
    let (mut whole, mut gone, mut cursor) = (0, 0, 0);
    while let Some(wanted) = directory.give(cursor, true, |listed| {
        match listed.whole {
            Some((node, attributes)) => {
                assert_eq!((listed.inode, listed.kind), (attributes.inode, attributes.kind));
                assert_eq!(listed.kind == Kind::Directory, listed.name == c"sub");
                assert_eq!(node.0.number, listed.inode);
                whole += 1;
            }
            None => gone += 1,
        }
        ControlFlow::Continue(())
    }) {
        cursor = wanted.cursor();
        if !m.tree.get_wanted(&directory, wanted).unwrap() {
            break;
        }
    }
    assert_eq!((whole, gone), (100, 1));
}

#[test]
fn an_empty_and_a_removed_directory_list_nothing() {
    let m = mirrored();
    let empty = m.make_directory("empty");
    let directory = m.tree.open_directory(&me(), &empty.0).unwrap();
    assert_eq!(some(&m, &directory, 0, 10).0.len(), 0);
    m.tree.remove(&me(), m.root(), c"empty", true).unwrap();
    let wanted = directory.give(0, false, |_| ControlFlow::Continue(())).unwrap();
    // ext4 lists nothing; others say ENOENT.
    assert!(!m.tree.get_wanted(&directory, wanted).unwrap_or(false));
}

#[test]
fn who_may_list_need_not_be_allowed_to_search() {
    needs_root("to act as others");
    let m = mirrored();
    let (node, _) = m.tree.make_directory(&me(), m.root(), c"d", mode(0o744)).unwrap();
    assert!(m.tree.open_directory(&stranger(), &node.0).is_ok());
    let (node, _) = m.tree.make_directory(&me(), m.root(), c"e", mode(0o711)).unwrap();
    assert_eq!(m.tree.open_directory(&stranger(), &node.0).unwrap_err(), rustix::io::Errno::ACCESS);
}
