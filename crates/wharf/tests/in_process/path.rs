//! Paths instead of nodes: right after unlink and rename, also while files are open.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::time::Duration;

use wharf::blocking::{self, Pool, PoolLimits};
use wharf::op::{self, OpenFlags, RenameHow};
use wharf::path::{Adapter, serve};
use wharf::session::Operation;
use wharf::testing::{Ask, Volume};
use wharf::{Errno, NodeId};

use crate::paths::{Gate, Paths};

const LONG: Duration = Duration::from_secs(60);

type Served = Volume<blocking::Adapter<Adapter<Paths>>>;

fn volume(numbered: bool) -> (Paths, Served) {
    let paths = Paths { state: Arc::default(), numbered };
    let pool = Pool::new(PoolLimits { threads_max: 4, ..PoolLimits::default() });
    (paths.clone(), Volume::new(serve(paths, pool)))
}

fn both(test: fn(Paths, Served)) {
    for numbered in [false, true] {
        let (paths, volume) = volume(numbered);
        test(paths, volume);
    }
}

#[test]
fn names_that_nobody_wants_are_left_out_however_many_there_are() {
    both(|paths, mut volume| {
        for number in 0..9000 {
            paths.add(&format!("{number:04}"));
        }
        for whole in [false, true] {
            let mut named = |pattern: &str| -> Vec<String> {
                let seen = volume.list_described("", whole, pattern).unwrap();
                seen.into_iter().map(|seen| String::from_utf8(seen.name).unwrap()).collect()
            };
            assert_eq!(named("8[89]99"), ["8899", "8999"], "behind all others");
            assert_eq!(named("*000").len(), 9);
            assert_eq!(named("none*"), Vec::<String>::new());
            assert_eq!(named("").len(), 9002, "with the two that every directory has");
        }
        volume.forget_all();
    });
}

#[test]
fn files_and_directories_are_made_listed_and_removed() {
    both(|_, mut volume| {
        volume.mkdir("d").unwrap();
        volume.write("d/b", b"bytes").unwrap();
        volume.write("d/a", b"").unwrap();
        assert_eq!(volume.read("d/b").unwrap(), b"bytes");
        assert_eq!(volume.stat("d/b").unwrap().size, 5);
        assert_eq!(volume.list("d").unwrap(), ["a", "b"]);
        volume.unlink("d/a").unwrap();
        volume.unlink("d/b").unwrap();
        volume.rmdir("d").unwrap();
        assert_eq!(volume.stat("d"), Err(Errno::ENOENT));
        volume.forget_all();
        assert_eq!(volume.counts(), (0, 0));
    });
}

#[test]
fn an_open_file_survives_the_rename_of_a_directory_above_it() {
    both(|_, mut volume| {
        volume.mkdir("a").unwrap();
        volume.mkdir("a/b").unwrap();
        let open = volume.create("a/b/file").unwrap();
        volume.rename("a", "moved", RenameHow::Replace).unwrap();
        volume.write_at(open, 0, b"xyz").unwrap();
        assert_eq!(volume.getattr(open.node, None).unwrap().size, 3, "asked by its path of now");
        assert_eq!(volume.read("moved/b/file").unwrap(), b"xyz");
        assert_eq!(volume.walk("moved/b/file").unwrap(), open.node);
        volume.close(open).unwrap();
    });
}

#[test]
fn an_unlinked_file_lives_as_long_as_it_is_open() {
    both(|_, mut volume| {
        let open = volume.create("file").unwrap();
        volume.write_at(open, 0, b"xyz").unwrap();
        volume.unlink("file").unwrap();
        assert_eq!(volume.read_at(open, 0, 10).unwrap(), b"xyz");
        assert_eq!(volume.getattr(open.node, None).unwrap().size, 3, "the kernel asks without a handle");
        let other = volume.create("file").unwrap();
        assert_ne!(other.node, open.node, "the name is another file's now");
        assert_eq!(volume.read_at(open, 0, 10).unwrap(), b"xyz");
        volume.close(open).unwrap();
        assert_eq!(volume.getattr(open.node, None).unwrap().links, 0, "what is known of it");
        assert_eq!(volume.open_node(open.node, OpenFlags::empty()), Err(Errno::ENOENT));
        volume.close(other).unwrap();
    });
}

#[test]
fn a_replaced_file_lives_as_long_as_it_is_open() {
    both(|_, mut volume| {
        volume.write("new", b"new").unwrap();
        let old = volume.create("file").unwrap();
        volume.write_at(old, 0, b"old").unwrap();
        volume.rename("new", "file", RenameHow::Replace).unwrap();
        assert_eq!(volume.read("file").unwrap(), b"new");
        assert_eq!(volume.read_at(old, 0, 10).unwrap(), b"old");
        assert_eq!(volume.getattr(old.node, None).unwrap().size, 3);
        volume.close(old).unwrap();
    });
}

#[test]
fn exchanged_names_exchange_what_is_below() {
    both(|_, mut volume| {
        volume.mkdir("a").unwrap();
        volume.mkdir("b").unwrap();
        volume.write("a/file", b"from a").unwrap();
        let (a, file) = (volume.walk("a").unwrap(), volume.walk("a/file").unwrap());
        volume.rename("a", "b", RenameHow::Exchange).unwrap();
        assert_eq!(volume.walk("b").unwrap(), a);
        assert_eq!(volume.walk("b/file").unwrap(), file);
        assert_eq!(volume.getattr(file, None).unwrap().size, 6);
        assert_eq!(volume.list("a").unwrap(), [""; 0]);
    });
}

#[test]
fn hard_links_are_one_node_where_numbers_are_given() {
    let (_, mut volume) = volume(true);
    volume.write("a", b"bytes").unwrap();
    let node = volume.link("a", "b").unwrap();
    assert_eq!(volume.walk("a").unwrap(), node);
    volume.forget_all();
    assert_eq!(volume.walk("b").unwrap(), volume.walk("a").unwrap(), "also when they are found one by one");
    volume.unlink("a").unwrap();
    assert_eq!(volume.read("b").unwrap(), b"bytes");
}

#[test]
fn a_link_that_was_made_here_is_known_without_numbers() {
    let (_, mut volume) = volume(false);
    volume.write("a", b"bytes").unwrap();
    let node = volume.link("a", "b").unwrap();
    assert_eq!((volume.walk("a").unwrap(), volume.walk("b").unwrap()), (node, node));
    volume.unlink("a").unwrap();
    assert_eq!(volume.getattr(node, None).unwrap().size, 5, "by its other path");
}

#[test]
fn a_file_without_a_name_can_be_given_one() {
    both(|_, mut volume| {
        let open = volume.tmpfile("").unwrap();
        volume.write_at(open, 0, b"xyz").unwrap();
        assert_eq!(volume.list("").unwrap(), [""; 0]);
        assert_eq!(volume.link_node(open.node, "named").unwrap(), open.node);
        volume.close(open).unwrap();
        assert_eq!(volume.read("named").unwrap(), b"xyz");
        assert_eq!(volume.walk("named").unwrap(), open.node);
    });
}

#[test]
fn data_goes_with_its_node_until_that_is_forgotten() {
    both(|paths, mut volume| {
        volume.write("a", b"").unwrap();
        volume.rename("a", "b", RenameHow::Replace).unwrap();
        volume.read("b").unwrap();
        volume.stat("b").unwrap();
        assert_eq!(paths.state.kept.load(SeqCst), 1, "one value for one node");
        let open = volume.open("b", OpenFlags::empty()).unwrap();
        volume.unlink("b").unwrap();
        volume.getattr(open.node, None).unwrap();
        assert_eq!(paths.state.kept.load(SeqCst), 1, "also without a name");
        volume.close(open).unwrap();
        volume.forget_all();
        assert_eq!(paths.state.kept.load(SeqCst), 0);
    });
}

#[test]
fn a_removed_directory_that_is_open_is_empty() {
    both(|_, mut volume| {
        volume.mkdir("d").unwrap();
        let node = volume.walk("d").unwrap();
        let op = op::Open { flags: OpenFlags::empty(), kill_privileges: false };
        let opendir = Ask::new("opendir", node, move |_| Ok(Operation::OpenDirectory { op }));
        let Ok(wharf::session::Reply::Opened(open)) = volume.call(&opendir) else { panic!("it opens") };
        volume.rmdir("d").unwrap();
        let open = wharf::testing::Open { node, handle: open.handle };
        assert_eq!(volume.list_part(open, 0, false).unwrap().len(), 2, "but for . and ..");
    });
}

#[test]
fn a_listing_is_not_disturbed_by_what_happens_meanwhile() {
    both(|_, mut volume| {
        for number in 100..200 {
            volume.write(&format!("file {number}"), b"").unwrap();
        }
        let op = op::Open { flags: OpenFlags::empty(), kill_privileges: false };
        let opendir = Ask::new("opendir", NodeId::ROOT, move |_| Ok(Operation::OpenDirectory { op }));
        let Ok(wharf::session::Reply::Opened(open)) = volume.call(&opendir) else { panic!("it opens") };
        let open = wharf::testing::Open { node: NodeId::ROOT, handle: open.handle };
        let mut seen = volume.list_part(open, 0, false).unwrap();
        volume.unlink("file 100").unwrap();
        volume.write("file 000", b"").unwrap();
        loop {
            let part = volume.list_part(open, seen.last().unwrap().cursor, false).unwrap();
            if part.is_empty() {
                break;
            }
            seen.extend(part);
        }
        assert_eq!(seen.len(), 102, "each exactly once");
        let again = volume.list_part(open, 0, false).unwrap();
        assert_eq!(again[2].name, b"file 000", "a listing that begins again is fresh");
    });
}

#[test]
fn whole_entries_are_looked_up_and_counted() {
    both(|_, mut volume| {
        for number in 0..40 {
            volume.write(&format!("file {number}"), b"").unwrap();
        }
        volume.forget_all();
        let seen = volume.list_entries("", true).unwrap();
        assert_eq!(seen.iter().filter(|seen| seen.node.is_some()).count(), 40);
        assert_eq!(volume.counts(), (40, 0));
        let numbers =
            |seen: Vec<wharf::testing::Seen>| seen.into_iter().map(|seen| seen.inode).collect::<Vec<_>>();
        assert_eq!(numbers(seen)[2..], numbers(volume.list_entries("", false).unwrap())[2..]);
        volume.forget_all();
        assert_eq!(volume.counts(), (0, 0));
    });
}

#[test]
fn a_rename_waits_for_a_method_that_uses_a_path_through_it() {
    both(|paths, mut volume| {
        volume.mkdir("a").unwrap();
        volume.write("a/file", b"xyz").unwrap();
        volume.write("other", b"").unwrap();
        let node = volume.walk("a/file").unwrap();
        let ((arrived, has_arrived), (go, gate)) = (channel(), channel());
        *paths.state.gate.lock().unwrap() = Some(Gate { path: "a/file".into(), arrived, go: gate });
        let stat =
            volume.begin(&Ask::new("getattr", node, |_| Ok(Operation::GetAttributes { handle: None })));
        has_arrived.recv_timeout(LONG).unwrap();
        let rename = Ask::new("rename", NodeId::ROOT, |parts| {
            let op = op::Rename { from: parts.name()?, to: parts.name()?, how: RenameHow::Replace };
            Ok(Operation::Rename { new_parent: NodeId::ROOT, op })
        });
        let rename = volume.begin(&rename.string("a").string("b"));
        volume.rename("other", "elsewhere", RenameHow::Replace).unwrap();
        assert!(paths.state.names.lock().unwrap().contains_key(Path::new("a/file")), "it has to wait");
        assert_eq!(volume.pending(), 2);
        go.send(()).unwrap();
        assert!(volume.wait(stat).result.is_ok());
        assert!(volume.wait(rename).result.is_ok());
        assert_eq!(volume.read("b/file").unwrap(), b"xyz");
    });
}

#[test]
fn an_interrupted_rename_that_waits_changes_nothing() {
    both(|paths, mut volume| {
        volume.write("a", b"").unwrap();
        let node = volume.walk("a").unwrap();
        let ((arrived, has_arrived), (go, gate)) = (channel(), channel());
        *paths.state.gate.lock().unwrap() = Some(Gate { path: "a".into(), arrived, go: gate });
        let stat =
            volume.begin(&Ask::new("getattr", node, |_| Ok(Operation::GetAttributes { handle: None })));
        has_arrived.recv_timeout(LONG).unwrap();
        let unlink = Ask::new("unlink", NodeId::ROOT, |parts| {
            Ok(Operation::Unlink { op: op::Remove { name: parts.name()? } })
        });
        let unlink = volume.begin(&unlink.string("a"));
        volume.interrupt(unlink);
        assert_eq!(volume.wait(unlink).result.unwrap_err(), Errno::EINTR);
        go.send(()).unwrap();
        assert!(volume.wait(stat).result.is_ok());
        assert!(volume.stat("a").is_ok());
    });
}

#[test]
fn a_failed_rename_leaves_paths_as_they_are() {
    both(|_, mut volume| {
        volume.mkdir("a").unwrap();
        volume.mkdir("a/b").unwrap();
        assert_eq!(volume.rename("a", "a/b/c", RenameHow::Replace), Err(Errno::EINVAL));
        assert_eq!(volume.unlink("nowhere"), Err(Errno::ENOENT));
        assert!(volume.stat("a/b").is_ok());
    });
}

#[test]
fn the_number_for_notices_is_found_by_path() {
    let paths = Paths { state: Arc::default(), numbered: true };
    let adapter = blocking::Adapter::new(Adapter::new(paths), Pool::new(PoolLimits::default()));
    let inner = adapter.inner().clone();
    let mut volume = Volume::new(adapter);
    assert_eq!(inner.inode_of(Path::new("")), Some(2));
    volume.mkdir("d").unwrap();
    volume.write("d/file", b"").unwrap();
    let inode = volume.stat("d/file").unwrap().inode;
    assert_eq!(inner.inode_of(Path::new("d/file")), Some(inode));
    volume.forget_all();
    assert_eq!(inner.inode_of(Path::new("d/file")), None, "who does not know it needs no notice");
}
