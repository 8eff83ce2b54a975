//! How long anybody waits: for a server that says nothing, among hundreds of others, and after giving up.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wharf::op::{OpenFlags, RenameHow};
use wharf::testing::{Ask, Volume};
use wharf::{Errno, NodeId};
use wharf_drivers::remote::Remote;

use crate::server::{Fault, Server, To};
use crate::{noise, volume};

fn dav(server: &Server, spool: &tempfile::TempDir, options: &[(&str, &str)]) -> Volume<Remote> {
    let spool = spool.path().to_str().unwrap();
    volume(&server.dav_url(), &[&[("spool", spool), ("lifetime", "0")], options].concat())
}

#[test]
fn whatever_is_asked_of_a_silent_server_ends_within_the_deadline() {
    let (server, spool) = (Server::start(), tempfile::tempdir().unwrap());
    server.put("dir/file", b"words");
    let mut volume = dav(&server, &spool, &[("deadline", "1s")]);
    assert_eq!(volume.list("dir").unwrap(), ["file"]);
    let node = volume.walk("dir").unwrap();
    server.fault_to(To::Everybody, Fault::Silence, usize::MAX);
    type Asks<'a> = &'a dyn Fn(&mut Volume<Remote>) -> Result<(), Errno>;
    let asked: [(&str, Asks<'_>); 6] = [
        ("stat", &|volume| volume.stat("other").map(drop)),
        ("getattr", &|volume| volume.getattr(node, None).map(drop)),
        ("list", &|volume| volume.list("").map(drop)),
        ("mkdir", &|volume| volume.mkdir("new").map(drop)),
        ("unlink", &|volume| volume.unlink("other")),
        ("rename", &|volume| volume.rename("other", "another", RenameHow::Replace)),
    ];
    for (what, ask) in asked {
        let begun = Instant::now();
        assert_eq!(ask(&mut volume), Err(Errno::ETIMEDOUT), "{what}");
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(20), "{what}: {took:?}");
    }
    server.behave();
    volume.unmount();
}

#[test]
fn what_may_not_be_done_twice_is_not_tried_twice_and_what_may_is() {
    let (server, spool) = (Server::start(), tempfile::tempdir().unwrap());
    server.put("file", b"words");
    let mut volume = dav(&server, &spool, &[]);
    server.fault_to(To::Method("MOVE"), Fault::Reset, 1);
    assert!(volume.rename("file", "moved", RenameHow::Replace).is_err(), "nobody knows whether it was done");
    assert_eq!(server.requests("MOVE"), 1);
    volume.rename("file", "moved", RenameHow::Replace).unwrap();
    for method in ["MKCOL", "DELETE"] {
        server.fault_to(To::Method(method), Fault::Reset, 2);
        match method {
            "MKCOL" => volume.mkdir("new").map(drop).unwrap(),
            _ => volume.unlink("moved").unwrap(),
        }
        assert!(server.requests(method) >= 3, "{method} is tried again");
    }
    volume.unmount();
}

#[test]
fn hundreds_wait_side_by_side_for_few_connections() {
    const READS: usize = 400;
    let mut server = Server::start();
    for number in 0..READS {
        server.put(&format!("{number}"), &noise(1000, number as u64));
    }
    let mut volume = volume(&server.url(), &[("connections", "4"), ("deadline", "60s")]);
    let open: Vec<_> =
        (0..READS).map(|number| volume.open(&number.to_string(), OpenFlags::empty()).unwrap()).collect();
    let before = server.requests("GET");
    server.fault(Fault::Silence, usize::MAX);
    let asks: Vec<_> = open.iter().map(|open| volume.begin(&Ask::read(*open, 0, 1000))).collect();
    while server.requests("GET") < before + 4 {
        volume.turn();
        std::thread::yield_now();
    }
    assert_eq!(volume.pending(), READS);
    assert_eq!(server.requests("GET"), before + 4, "no more than there may be connections");
    server.behave();
    server.restart();
    for ask in asks {
        volume.wait(ask).result.expect("each is answered in the end");
    }
    for open in open {
        volume.close(open).unwrap();
    }
    volume.unmount();
}

#[test]
fn who_gives_up_asking_for_a_name_is_let_go_at_once() {
    use wharf::op;
    use wharf::session::Operation;
    let (server, spool) = (Server::start(), tempfile::tempdir().unwrap());
    server.put("file", b"words");
    let mut volume = dav(&server, &spool, &[]);
    server.fault_to(To::Everybody, Fault::Silence, usize::MAX);
    let lookup = Ask::new("lookup", NodeId::ROOT, |parts| {
        Ok(Operation::Lookup { op: op::Lookup { name: parts.name()? } })
    });
    let ask = volume.begin(&lookup.string("file"));
    volume.interrupt(ask);
    assert_eq!(volume.wait(ask).result.map(drop), Err(Errno::EINTR));
    server.behave();
    volume.unmount();
}

#[test]
fn what_changed_elsewhere_is_told_to_who_knew_otherwise() {
    use wharf::notice::Notice;
    let (server, spool) = (Server::start(), tempfile::tempdir().unwrap());
    for name in ["changed", "gone", "same"] {
        server.put(&format!("dir/{name}"), b"words");
    }
    let mut volume = dav(&server, &spool, &[]);
    assert_eq!(volume.list("dir").unwrap().len(), 3);
    let inodes = ["dir", "dir/changed", "dir/gone", "dir/same"].map(|path| volume.stat(path).unwrap().inode);
    let [directory, changed, gone, same] = inodes;
    let told: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let (notifier, ours) = (volume.notifier().clone(), told.clone());
    let listener = std::thread::spawn(move || {
        while let Some(pending) = notifier.next() {
            ours.lock().unwrap().push(pending.notice);
        }
    });
    server.put("dir/changed", b"other words");
    server.remove("dir/gone");
    assert_eq!(volume.list("dir").unwrap(), ["changed", "same"]);
    let contents = |notice: &Notice| matches!(notice, Notice::Contents { inode, .. } if *inode == changed);
    let deleted = |notice: &Notice| {
        matches!(notice, Notice::Deleted { parent, child, name }
            if (*parent, *child) == (directory, gone) && name == "gone")
    };
    let both = || {
        let told = told.lock().unwrap();
        told.iter().any(contents) && told.iter().any(deleted)
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !both() {
        assert!(Instant::now() < deadline, "{:?}", told.lock().unwrap());
        std::thread::yield_now();
    }
    let of_same = |notice: &Notice| matches!(notice, Notice::Contents { inode, .. } if *inode == same);
    assert!(!told.lock().unwrap().iter().any(of_same));
    volume.unmount();
    listener.join().unwrap();
}
