//! The end of a mount: what is left to be uploaded.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use wharf::testing::Volume;
use wharf_drivers::progress::{Progress, Silent, Step};
use wharf_drivers::remote::{Remote, Uploads};

use crate::server::{Fault, Server};
use crate::{logged, noise, remote};

/// Remembers what it was told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(u64, u64)>>);

impl Progress for Told {
    fn at(&self, step: Step<'_>) {
        self.0.lock().unwrap().push((step.done, step.total.expect("it is known")));
    }
    fn done(&self) {
        self.0.lock().unwrap().push((0, 0));
    }
}

fn dav(server: &Server, spool: &tempfile::TempDir) -> (Volume<Remote>, Uploads) {
    let spool = spool.path().to_str().unwrap();
    let options = [("spool", spool), ("lifetime", "0"), ("deadline", "1s"), ("connections", "4")];
    let remote = remote(&server.dav_url(), &options);
    let uploads = remote.uploads();
    (crate::patient(Volume::new(remote)), uploads)
}

#[test]
fn what_is_left_is_uploaded_at_the_end_and_tells_how_far_it_has_come() {
    let (server, spool) = (Server::start(), tempfile::tempdir().unwrap());
    let (mut volume, uploads) = dav(&server, &spool);
    server.fault(Fault::Unavailable, usize::MAX);
    let sizes = [3 << 20, 1 << 20, 0];
    for (number, size) in sizes.into_iter().enumerate() {
        assert!(volume.write(&format!("left/{number}").replace('/', "-"), &noise(size, 60)).is_err());
    }
    server.behave();
    let told = Told::default();
    assert_eq!(uploads.finish(&told), 0);
    for (number, size) in sizes.into_iter().enumerate() {
        assert!(**server.get(&format!("left-{number}")).unwrap() == noise(size, 60));
    }
    let told = told.0.into_inner().unwrap();
    let (steps, end) = told.split_at(told.len() - 1);
    assert_eq!(end, [(0, 0)], "it says that it is done");
    assert!(steps.iter().all(|(done, total)| done <= total && *total == 4 << 20), "{steps:?}");
    assert_eq!(steps.last().unwrap().0, 4 << 20);
    assert_eq!(uploads.finish(&Silent), 0, "nothing is left");
    volume.unmount();
}

#[test]
fn a_server_that_has_gone_ends_the_wait_and_what_is_left_is_named_and_comes_with_the_next_mount() {
    const FILES: usize = 40;
    let (mut server, spool) = (Server::start(), tempfile::tempdir().unwrap());
    let (mut volume, uploads) = dav(&server, &spool);
    // None of them is uploaded before the end: they are open until then.
    let name = |number: usize| format!("of-{}-{number}", spool.path().file_name().unwrap().display());
    let open: Vec<_> = (0..FILES).map(|number| volume.create(&name(number)).unwrap()).collect();
    for (number, open) in open.iter().enumerate() {
        volume.write_at(*open, 0, &noise(1000, number as u64)).unwrap();
    }
    server.kill();
    let begun = Instant::now();
    assert_eq!(uploads.finish(&Silent), FILES);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?} for a deadline of 1 s", begun.elapsed());
    for number in 0..FILES {
        let lines = logged(&format!("{}:", name(number)));
        let named =
            |line: &String| line.starts_with("ERROR") && line.contains(spool.path().to_str().unwrap());
        assert!(lines.iter().any(named), "file {number} is not named: {lines:#?}");
    }
    drop(uploads);
    volume.unmount();
    server.restart();
    dav(&server, &spool).0.unmount();
    for number in 0..FILES {
        assert!(**server.get(&name(number)).expect("it is there") == noise(1000, number as u64));
    }
}
