//! How a volume ends: everything that is open is released, what is outstanding has its time, shutdown is last.

use std::thread;
use std::time::{Duration, Instant};

use wharf::op::{self, OpenFlags};
use wharf::session::{Operation, Setup};
use wharf::testing::{Ask, Open, Volume};
use wharf::{Capabilities, Limits};

use crate::script::{Order, Script, ScriptFs};

fn volume(drain_ms: u32, cancel_ms: u32) -> (Script, Volume<ScriptFs>) {
    let script = Script::default();
    let limits = Limits { drain_ms, cancel_ms, ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    (script.clone(), Volume::with(ScriptFs::new(&script, Capabilities::WRITE), setup).unwrap())
}

fn read(volume: &mut Volume<ScriptFs>, file: &str, number: u64) -> Open {
    let open = volume.open(file, OpenFlags::empty()).unwrap();
    volume.begin(&Ask::read(open, number, 10));
    open
}

#[test]
fn what_is_open_is_released_and_shutdown_comes_once_and_last() {
    let (script, mut volume) = volume(0, 0);
    volume.open("keen", OpenFlags::empty()).unwrap();
    assert_eq!(volume.unmount(), 0);
    assert_eq!(script.said(), ["keen released", "file 10 dropped", "node 10 dropped", "shutdown"]);
}

#[test]
fn outstanding_reads_may_end_by_themselves() {
    let (script, mut volume) = volume(10_000, 10_000);
    read(&mut volume, "deaf", 1);
    let other = script.clone();
    let finisher = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        other.order(1, Order::Finish);
    });
    assert_eq!(volume.unmount(), 0);
    finisher.join().unwrap();
    assert_eq!(
        script.said(),
        ["1 begins", "1 over", "deaf released", "file 11 dropped", "node 11 dropped", "shutdown"]
    );
}

#[test]
fn past_the_deadline_they_are_cancelled() {
    let (script, mut volume) = volume(1, 10_000);
    read(&mut volume, "keen", 1);
    let began = Instant::now();
    assert_eq!(volume.unmount(), 0);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(script.said()[..3], ["1 begins", "1 cancelled", "1 over"]);
}

#[test]
fn who_does_not_care_is_given_up_and_the_end_is_the_same() {
    let (script, mut volume) = volume(1, 1);
    read(&mut volume, "deaf", 1);
    read(&mut volume, "holder", 2);
    assert_eq!(volume.unmount(), 2);
    let said = script.said();
    assert_eq!(said[..3], ["1 begins", "2 begins", "2 over"]);
    assert_eq!(said[3], "1 over", "the future is dropped");
    assert_eq!(said.last().unwrap(), "shutdown");
    assert!(said.iter().any(|words| words == "deaf released"));
    // A late wake, and late bytes, find nobody and harm nobody.
    script.order(1, Order::Finish);
    script.let_go(2);
}

#[test]
fn a_panic_in_release_keeps_nothing_open() {
    let (script, mut volume) = volume(0, 0);
    let Open { node, handle } = volume.open("keen", OpenFlags::empty()).unwrap();
    let op = op::Release { flags: OpenFlags::empty(), owner: Some(op::LockOwner(666)), unlock_flock: false };
    let release = Ask::new("release", node, move |_| Ok(Operation::Release { handle, op }));
    assert!(volume.call(&release).is_err());
    assert_eq!((volume.counts().1, volume.files_open()), (0, 0));
    assert_eq!(volume.unmount(), 0);
    assert_eq!(script.said().last().unwrap(), "shutdown");
}

#[test]
fn a_volume_that_served_much_and_rests_keeps_few_slots() {
    let script = Script::default();
    let limits = Limits { slots_kept: 4, ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    let mut volume = Volume::with(ScriptFs::new(&script, Capabilities::empty()), setup).unwrap();
    let open = volume.open("deaf", OpenFlags::empty()).unwrap();
    let requests: Vec<_> = (1..=100).map(|number| volume.begin(&Ask::read(open, number, 10))).collect();
    assert_eq!((volume.pending(), volume.slots()), (100, 100));
    volume.trim();
    assert_eq!(volume.slots(), 100, "those in use stay");
    for (number, request) in (1..).zip(requests) {
        script.order(number, Order::Finish);
        assert!(volume.wait(request).result.is_ok());
    }
    volume.trim();
    assert_eq!(volume.slots(), 100, "they were used since the last look");
    for _ in 0..5 {
        volume.trim();
    }
    assert_eq!(volume.slots(), 4);
    let request = volume.begin(&Ask::read(open, 1000, 10));
    script.order(1000, Order::Finish);
    assert!(volume.wait(request).result.is_ok());
}
