//! Who is known: lookup counts, forgetting, handles, and ids that are known no longer.

use wharf::session::{Operation, Reply};
use wharf::testing::{Ask, Volume};
use wharf::{Capabilities, Errno, HandleId, NodeId, op};

use crate::script::{Order, Script, ScriptFs};

fn volume() -> (Script, Volume<ScriptFs>) {
    let script = Script::default();
    let volume = Volume::new(ScriptFs::new(&script, Capabilities::WRITE));
    (script, volume)
}

/// A lookup as a value, for requests whose reply matters.
fn lookup(name: &str) -> Ask {
    let ask = Ask::new("lookup", NodeId::ROOT, |parts| {
        Ok(Operation::Lookup { op: op::Lookup { name: parts.name()? } })
    });
    ask.string(name)
}

#[test]
fn a_node_is_kept_until_every_lookup_is_given_back() {
    let (script, mut volume) = volume();
    let node = volume.walk("deaf").unwrap();
    assert_eq!(volume.walk("deaf").unwrap(), node);
    assert_eq!(volume.lookups(node), 2);
    assert_eq!(script.said(), ["node 11 dropped"], "the second value is not needed: the first is kept");
    volume.forget(node, 1);
    assert!(volume.getattr(node, None).is_ok());
    volume.forget(node, 1);
    assert_eq!(script.said(), ["node 11 dropped"]);
    assert_eq!(volume.counts(), (0, 0));
}

#[test]
fn many_nodes_are_forgotten_at_once() {
    let (_script, mut volume) = volume();
    for name in ["deaf", "keen", "quick", "deaf"] {
        volume.walk(name).unwrap();
    }
    assert_eq!(volume.counts(), (3, 0));
    volume.forget_all();
    assert_eq!(volume.counts(), (0, 0));
}

#[test]
fn a_name_that_is_not_there_counts_nothing() {
    let (_script, mut volume) = volume();
    assert_eq!(volume.walk("nowhere").unwrap_err(), Errno::ENOENT);
    assert_eq!(volume.counts(), (0, 0));
}

#[test]
fn a_forgotten_id_is_stale_even_when_its_place_is_taken() {
    let (_script, mut volume) = volume();
    let old = volume.walk("deaf").unwrap();
    volume.forget_all();
    assert_eq!(volume.getattr(old, None), Err(Errno::ESTALE));
    let new = volume.walk("deaf").unwrap();
    assert_ne!(old, new);
    assert_eq!(volume.getattr(old, None), Err(Errno::ESTALE));
}

#[test]
fn a_reply_that_was_not_delivered_counts_nothing() {
    let (_script, mut volume) = volume();
    let reply = volume.call(&lookup("deaf")).unwrap();
    volume.undo(&reply);
    assert_eq!(volume.counts(), (0, 0));
    // Only what it counted itself is taken back.
    let node = volume.walk("deaf").unwrap();
    let reply = volume.call(&lookup("deaf")).unwrap();
    volume.undo(&reply);
    assert!(volume.getattr(node, None).is_ok());
    volume.forget_all();
    assert_eq!(volume.counts(), (0, 0));
}

#[test]
fn what_is_created_is_counted_and_open() {
    let (script, mut volume) = volume();
    let open = volume.create("new").unwrap();
    assert_eq!((volume.counts(), volume.files_open()), ((1, 1), 1));
    volume.close(open).unwrap();
    assert_eq!(script.said(), ["quick released", "file 99 dropped"]);
    assert_eq!(volume.read_at(open, 0, 10), Err(Errno::EBADF), "the handle is closed");
    volume.forget_all();
    assert_eq!((volume.counts(), volume.files_open()), ((0, 0), 0));
}

#[test]
fn a_listing_of_whole_entries_counts_each_once() {
    let (_script, mut volume) = volume();
    let seen = volume.list_entries("", true).unwrap();
    assert_eq!(seen.iter().filter(|seen| seen.node.is_some()).count(), 4);
    assert_eq!(volume.counts(), (4, 0));
    volume.list_entries("", false).unwrap();
    assert_eq!(volume.counts(), (4, 0), "plain names count nothing");
    volume.forget_all();
    assert_eq!(volume.counts(), (0, 0));
}

#[test]
fn a_listing_that_fails_part_of_the_way_gives_what_it_has() {
    let (script, mut volume) = volume();
    script.order(2, Order::Finish);
    let seen = volume.list_entries("", true).unwrap();
    let names: Vec<_> = seen.iter().map(|seen| String::from_utf8_lossy(&seen.name).into_owned()).collect();
    assert_eq!(names, [".", "..", "keen", "deaf", "holder", "quick"]);
    volume.forget_all();
    assert_eq!(volume.counts(), (0, 0), "no lookup is counted that nobody was told of");
}

#[test]
fn a_handle_of_another_sort_is_refused() {
    let (_script, mut volume) = volume();
    let open = volume.open("quick", op::OpenFlags::empty()).unwrap();
    assert_eq!(volume.list_part(open, 0, false).unwrap_err(), Errno::EBADF);
    let wrong = wharf::testing::Open { handle: HandleId(u64::MAX), ..open };
    assert_eq!(volume.read_at(wrong, 0, 10).unwrap_err(), Errno::EBADF);
    assert!(volume.getattr(wrong.node, Some(wrong.handle)).is_ok(), "the node is enough for attributes");
}

#[test]
fn the_read_tells_the_size_that_there_is_room_for() {
    let (_script, mut volume) = volume();
    let open = volume.open("quick", op::OpenFlags::empty()).unwrap();
    assert_eq!(volume.read_at(open, 0, 3).unwrap(), b"qui");
    assert_eq!(volume.read_at(open, 0, u32::MAX).unwrap(), b"quick");
}

#[test]
fn an_undelivered_open_file_is_released_at_the_end() {
    let (script, mut volume) = volume();
    let node = volume.walk("quick").unwrap();
    let op = op::Open { flags: op::OpenFlags::empty(), kill_privileges: false };
    let reply = volume.call(&Ask::new("open", node, move |_| Ok(Operation::Open { op }))).unwrap();
    assert!(matches!(reply, Reply::Opened(_)));
    volume.undo(&reply);
    script.said();
    assert_eq!(volume.unmount(), 0);
    assert_eq!(script.said(), ["quick released", "file 13 dropped", "node 13 dropped", "shutdown"]);
}
