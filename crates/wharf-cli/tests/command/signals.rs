//! Ctrl-C, `kill`, and a terminal that closes.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::wharf::{Room, Running, command, command_with_hangups};

fn mount(room: &Room, more: &[&str]) -> Running {
    let (spec, point) = (room.spec("memory"), room.point());
    let host = Running::start(command().args(["mount", &spec, &point]).args(more));
    host.line();
    host
}

#[test]
fn a_signal_unmounts_and_ends_well() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        for way in ["dev", "uring"] {
            let room = Room::new();
            let (spec, point) = (room.spec("memory"), room.point());
            let mut command = command_with_hangups("--default-signal");
            let host = Running::start(command.args(["mount", &spec, &point, "--transport", way]));
            host.line();
            fs::write(room.at("point/file"), "x").expect("the mount answers");
            host.signal(signal);
            assert_eq!(host.end().succeeded(), "", "{signal:?} {way}");
            assert!(!room.mounted(), "{signal:?} {way}");
        }
    }
}

#[test]
fn a_terminal_that_closes_does_not_end_what_was_started_to_outlive_it() {
    let room = Room::new();
    let (spec, point) = (room.spec("memory"), room.point());
    let host = Running::start(command_with_hangups("--ignore-signal").args(["mount", &spec, &point]));
    host.line();
    host.signal(Signal::HUP);
    fs::write(room.at("point/file"), "x").expect("the mount answers still");
    host.signal(Signal::TERM);
    assert_eq!(host.end().succeeded(), "");
}

#[test]
fn a_signal_to_a_busy_mount_says_who_is_waited_for_and_how_long() {
    let room = Room::new();
    let host = mount(&room, &["--limit", "drain_ms=1000", "--limit", "cancel_ms=500"]);
    let _open = fs::File::create(room.at("point/file")).expect("the mount answers");
    host.signal(Signal::TERM);
    let told = host.error();
    let start = format!("wharf: {} is out of sight but it is used by ", room.point());
    assert!(told.starts_with(&start) && told.contains("or in 1 s"), "{told}");
    let outcome = host.end();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(!room.mounted());
}

#[test]
fn a_second_signal_ends_at_once() {
    let room = Room::new();
    let host = mount(&room, &["--limit", "drain_ms=600000"]);
    let open = fs::File::create(room.at("point/file")).expect("the mount answers");
    host.signal(Signal::INT);
    host.error();
    let begun = Instant::now();
    host.signal(Signal::INT);
    assert_eq!(host.end().code, Some(1));
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(!room.mounted());
    assert!(open.sync_all().is_err(), "its user is told");
}

#[test]
fn a_second_signal_takes_no_mount_away_that_came_to_the_same_place() {
    let room = Room::new();
    let first = mount(&room, &["--limit", "drain_ms=600000"]);
    let open = fs::File::create(room.at("point/file")).expect("the mount answers");
    first.signal(Signal::INT);
    first.error();
    let second = mount(&room, &[]);
    first.signal(Signal::INT);
    assert_eq!(first.end().code, Some(1));
    assert!(open.sync_all().is_err(), "its user is told");
    fs::write(room.at("point/other"), "x").expect("the other mount is there and answers");
    second.signal(Signal::INT);
    assert_eq!(second.end().succeeded(), "");
}
