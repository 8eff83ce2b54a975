//! Directories that clients have mapped: listed without a request, and never when they have changed.

use std::sync::atomic::Ordering;

use wharf::Limits;
use wharf::notice::Notice;
use wharf_direct::client::{Node, Snapshot, Volume};

use crate::fs::{Files, Served};

fn names_of(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("name {number:05}")).collect()
}

fn files(count: usize) -> Files {
    let names = names_of(count);
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), b"1234".to_vec())).collect();
    Files { keeps: true, ..Files::with(&files) }
}

/// A client, and the root, whose number is known once its attributes have been asked for.
fn come(served: &Served) -> (Volume, Node) {
    let client = served.client();
    let (root, _) = client.walk("".as_ref()).unwrap();
    (client, root)
}

fn given(client: &Volume, root: &Node) -> Snapshot {
    client.snapshot(root).unwrap().expect("a snapshot is given")
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.entries().map(|line| String::from_utf8(line.unwrap().name).unwrap()).collect()
}

#[test]
fn a_snapshot_is_listed_again_and_again_without_a_request() {
    let files = files(5000);
    let served = Served::new(&files);
    let (client, root) = come(&served);
    let snapshot = given(&client, &root);
    let told = files.told.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert!(snapshot.is_current());
        assert_eq!(names(&snapshot), names_of(5000));
    }
    assert_eq!(
        names(&given(&served.client(), &root_of(&served))),
        names_of(5000),
        "another client has the same"
    );
    assert_eq!(files.told.load(Ordering::SeqCst), told, "nobody was asked");
    let lines: Vec<_> = snapshot.entries().map(Result::unwrap).collect();
    let listed = client.list(&root, b"").unwrap();
    let known = |line: &wharf_direct::client::Listed| (line.name.clone(), line.inode, line.kind);
    assert!(lines.iter().map(known).eq(listed.iter().map(known)), "the same as by requests");
}

fn root_of(served: &Served) -> Node {
    come(served).1
}

#[test]
fn whoever_changed_a_directory_finds_every_snapshot_of_it_over() {
    let mut served = Served::new(&files(3));
    let (client, root) = come(&served);
    let before = given(&client, &root);
    let open = served.volume.create("new").unwrap();
    assert!(!before.is_current(), "a name more");
    assert!(before.entries().any(|line| line.is_err()), "it says so to whoever reads it, too");
    let with = given(&client, &root);
    assert_eq!(names(&with).len(), 4);
    served.volume.write_at(open, 0, b"bytes").unwrap();
    assert!(with.is_current(), "names are as they were");
    served.volume.unlink("new").unwrap();
    assert!(!with.is_current(), "a name less");
    let without = given(&client, &root);
    served.volume.unlink("new").unwrap_err();
    assert!(!without.is_current(), "what failed may have changed something");
    for notice in [
        Notice::EntryGone { parent: 1, name: "x".into() },
        Notice::EntryExpired { parent: 1, name: "x".into() },
        Notice::Deleted { parent: 1, child: 2, name: "x".into() },
        Notice::Contents { inode: 1, range: 0..u64::MAX },
        Notice::Epoch,
    ] {
        let before = given(&client, &root);
        assert!(before.is_current());
        drop(served.volume.notifier().send(notice.clone()));
        assert!(!before.is_current(), "{notice:?}");
    }
    let stays = given(&client, &root);
    drop(served.volume.notifier().send(Notice::EntryGone { parent: 7, name: "x".into() }));
    drop(served.volume.notifier().contents(2));
    assert!(stays.is_current(), "nothing of it changed");
}

#[test]
fn what_changes_while_it_is_listed_becomes_no_snapshot() {
    let files = files(3);
    let served = Served::new(&files);
    let (client, root) = come(&served);
    *files.meanwhile.lock().unwrap() = Some(Box::new(|cx| drop(cx.notifier().entry_gone(1, "x".as_ref()))));
    assert!(client.snapshot(&root).unwrap().is_none());
    assert!(client.snapshot(&root).unwrap().is_some(), "later there is one");
}

#[test]
fn what_entries_are_like_is_in_it_only_where_nobody_can_write() {
    let written = Served::new(&files(3));
    let (client, root) = come(&written);
    let snapshot = given(&client, &root);
    assert!(!snapshot.is_whole() && snapshot.entries().all(|line| line.unwrap().about.is_none()));
    let read = Served::new(&Files { read_only: true, ..files(3) });
    let (client, root) = come(&read);
    let snapshot = given(&client, &root);
    assert!(snapshot.is_whole());
    assert!(snapshot.entries().all(|line| line.unwrap().about.unwrap().size == 4));
    drop(read.volume.notifier().attributes(2));
    assert!(!snapshot.is_current(), "what one of them is like has changed");
    let snapshot = given(&client, &root);
    drop(read.volume.notifier().contents(3));
    assert!(!snapshot.is_current(), "a size has");
}

#[test]
fn who_lists_a_directory_again_asks_nobody_until_it_changes() {
    let files = files(2000);
    let mut served = Served::new(&files);
    let (client, root) = come(&served);
    let listed = || {
        let before = files.told.load(Ordering::SeqCst);
        let count = client.list(&root, b"").unwrap().len();
        (count, files.told.load(Ordering::SeqCst) > before)
    };
    assert_eq!(listed(), (2000, true), "by requests");
    assert_eq!(listed(), (2000, true), "for a snapshot");
    assert_eq!(listed(), (2000, false), "of it");
    assert_eq!(client.list(&root, b"*99").unwrap().len(), 20, "a pattern is for the host");
    served.volume.create("new").unwrap();
    assert_eq!(listed(), (2001, true), "by requests");
    assert_eq!(listed(), (2001, true), "for another");
    assert_eq!(listed(), (2001, false), "of it");
    assert!(client.list_whole(&root, b"").unwrap()[0].about.is_some(), "asked for");
}

#[test]
fn one_listing_serves_all_who_ask_for_a_snapshot() {
    let files = files(5000);
    let served = Served::new(&files);
    let clients: Vec<_> = (0..8).map(|_| come(&served)).collect();
    std::thread::scope(|scope| {
        for (client, root) in &clients {
            scope.spawn(|| assert_eq!(given(client, root).entries().count(), 5000));
        }
    });
    // One more at the end of each part, which had no room for it.
    let told = files.told.load(Ordering::SeqCst);
    assert!((5000..5100).contains(&told), "{told} names for 8 clients");
    assert_eq!(served.server.usage().snapshots, 1);
}

#[test]
fn there_is_none_where_changes_may_go_unheard_or_there_is_no_room() {
    let unheard = Served::new(&Files { keeps: false, ..files(3) });
    let (client, root) = come(&unheard);
    assert!(client.snapshot(&root).unwrap().is_none());
    assert_eq!(unheard.server.usage().snapshots, 0);
    let limits = Limits { sections_bytes_max: 1 << 20, ..Limits::default() };
    let narrow = Served::with(&files(4000), limits);
    let (client, root) = come(&narrow);
    assert!(client.snapshot(&root).unwrap().is_none(), "an eighth of a MiB is too little");
    assert_eq!(narrow.server.usage().snapshots_bytes, 0, "what was listed for it is given back");
    (0..3).for_each(|_| assert_eq!(client.list(&root, b"").unwrap().len(), 4000));
}

#[test]
fn a_snapshot_is_over_when_the_host_has_gone() {
    let served = Served::new(&files(3));
    let (client, root) = come(&served);
    let snapshot = given(&client, &root);
    served.server.end();
    assert!(!snapshot.is_current());
    assert_eq!(served.server.usage().snapshots_bytes, 0);
    let again = Served::new(&files(3));
    let (client, root) = come(&again);
    let open = client.open(&client.lookup(&root, b"name 00000").unwrap().0, false).unwrap();
    assert!(open.is_direct() && given(&client, &root).is_current());
}
