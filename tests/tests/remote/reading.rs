//! Reading: what is there, what changes, what breaks.

use std::time::{Duration, Instant};

use wharf::Errno;
use wharf::op::OpenFlags;
use wharf::testing::Ask;

use crate::server::{Fault, Server};
use crate::{noise, volume};

const READ: OpenFlags = OpenFlags::empty();

#[test]
fn a_web_servers_files_are_listed_and_read() {
    let server = Server::start();
    let big = noise(3_000_001, 1);
    server.put("a b.txt", b"spaced");
    server.put("big", &big);
    server.put("empty", b"");
    server.put("sub/deep/x", b"deep");
    let mut volume = volume(&server.url(), &[]);
    assert_eq!(volume.list("").unwrap(), ["a b.txt", "big", "empty", "sub"]);
    assert_eq!(volume.list("sub").unwrap(), ["deep"]);
    assert_eq!(volume.read("a b.txt").unwrap(), b"spaced");
    assert_eq!(volume.read("sub/deep/x").unwrap(), b"deep");
    assert_eq!(volume.read("empty").unwrap(), b"");
    assert_eq!(volume.stat("big").unwrap().size, big.len() as u64);
    assert!(volume.read("big").unwrap() == big);
    let open = volume.open("big", READ).unwrap();
    assert_eq!(volume.read_at(open, 2_999_990, 100).unwrap(), &big[2_999_990..]);
    assert_eq!(volume.read_at(open, 5_000_000, 100).unwrap(), b"");
    volume.close(open).unwrap();
    assert_eq!(volume.stat("nothing"), Err(Errno::ENOENT));
    assert_eq!(volume.stat("sub/nothing"), Err(Errno::ENOENT));
    volume.forget_all();
    assert_eq!(volume.counts(), (0, 0));
    volume.unmount();
}

#[test]
fn a_directory_in_the_role_of_a_service_is_listed_and_read() {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("sub")).unwrap();
    std::fs::write(place.path().join("sub/x"), b"deep").unwrap();
    std::fs::write(place.path().join("y"), noise(500_000, 2)).unwrap();
    let mut volume = volume(&format!("file://{}", place.path().display()), &[]);
    assert_eq!(volume.list("").unwrap(), ["sub", "y"]);
    assert_eq!(volume.read("sub/x").unwrap(), b"deep");
    assert!(volume.read("y").unwrap() == noise(500_000, 2));
    volume.unmount();
}

#[test]
fn ranges_are_read_side_by_side_and_once() {
    let server = Server::start();
    let big = noise(24 << 20, 3);
    server.put("big", &big);
    server.fault(Fault::Slow(Duration::from_millis(2)), usize::MAX);
    let mut volume = volume(&server.url(), &[("connections", "8")]);
    assert!(volume.read("big").unwrap() == big);
    let asked = server.requests("GET");
    assert!(server.sending_most() > 2 && server.sending_most() <= 8, "{} at once", server.sending_most());
    assert!(asked < 60, "{asked} requests for 192 blocks");
    assert!(volume.read("big").unwrap() == big);
    assert_eq!(server.requests("GET"), asked, "what is here is not asked for again");
    volume.unmount();
}

#[test]
fn a_file_that_changes_while_it_is_read_is_stale_and_never_a_mixture() {
    for conditions in [true, false] {
        let server = Server::start();
        let (old, new) = (noise(4 << 20, 4), noise(4 << 20, 5));
        server.put("file", &old);
        let mut volume = volume(&server.url(), &[("lifetime", "0")]);
        let open = volume.open("file", READ).unwrap();
        assert!(volume.read_at(open, 0, 4096).unwrap() == old[..4096]);
        server.put("file", &new);
        if !conditions {
            server.fault(Fault::IgnoresConditions, usize::MAX);
        }
        assert_eq!(volume.read_at(open, 3 << 20, 4096), Err(Errno::ESTALE), "conditions: {conditions}");
        // Whoever opens it now reads what it is now.
        assert!(volume.read("file").unwrap() == new, "conditions: {conditions}");
        volume.close(open).unwrap();
        volume.unmount();
    }
}

#[test]
fn another_version_is_noticed_at_the_next_open() {
    let server = Server::start();
    server.put("file", b"old");
    let mut volume = volume(&server.url(), &[("lifetime", "0")]);
    assert_eq!(volume.read("file").unwrap(), b"old");
    server.put("file", b"newer");
    assert_eq!(volume.read("file").unwrap(), b"newer");
    server.remove("file");
    assert_eq!(volume.stat("file"), Err(Errno::ENOENT));
    volume.unmount();
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    let server = Server::start();
    let big = noise(2 << 20, 6);
    server.put("big", &big);
    for fault in [Fault::Unavailable, Fault::Half, Fault::Reset] {
        let mut volume = volume(&server.url(), &[]);
        server.fault(fault, 2);
        assert!(volume.read("big").unwrap() == big, "{fault:?}");
        volume.unmount();
    }
}

#[test]
fn a_server_that_is_killed_and_started_again_in_the_midst_of_a_read_is_waited_for() {
    let mut server = Server::start();
    let big = noise(8 << 20, 7);
    server.put("big", &big);
    let mut volume = volume(&server.url(), &[]);
    let open = volume.open("big", READ).unwrap();
    assert!(volume.read_at(open, 0, 4096).unwrap() == big[..4096]);
    server.fault(Fault::Slow(Duration::from_millis(5)), usize::MAX);
    let ask = volume.begin(&Ask::read(open, 6 << 20, 4096));
    server.kill();
    server.behave();
    server.restart();
    assert!(volume.wait(ask).result.is_ok());
    assert!(volume.read_at(open, 6 << 20, 4096).unwrap() == big[6 << 20..][..4096]);
    volume.close(open).unwrap();
    volume.unmount();
}

#[test]
fn a_server_that_never_answers_costs_a_deadline_and_no_more() {
    let server = Server::start();
    server.put("big", &noise(2 << 20, 8));
    let mut volume = volume(&server.url(), &[("deadline", "700ms")]);
    let open = volume.open("big", READ).unwrap();
    server.fault(Fault::Silence, usize::MAX);
    let begun = Instant::now();
    assert_eq!(volume.read_at(open, 0, 4096), Err(Errno::ETIMEDOUT));
    assert!(begun.elapsed() >= Duration::from_millis(600) && begun.elapsed() < Duration::from_secs(10));
    volume.close(open).unwrap();
    volume.unmount();
}

#[test]
fn a_storm_of_errors_ends_in_an_error_within_the_deadline() {
    let server = Server::start();
    server.put("big", &noise(2 << 20, 9));
    let mut volume = volume(&server.url(), &[("deadline", "2s")]);
    let open = volume.open("big", READ).unwrap();
    server.fault(Fault::Unavailable, usize::MAX);
    let begun = Instant::now();
    assert_eq!(volume.read_at(open, 0, 4096), Err(Errno::EIO));
    assert!(begun.elapsed() < Duration::from_secs(10));
    server.behave();
    assert_eq!(volume.read_at(open, 0, 4096).unwrap().len(), 4096, "the next who asks is answered");
    volume.close(open).unwrap();
    volume.unmount();
}

#[test]
fn who_gives_up_is_let_go_at_once() {
    let server = Server::start();
    server.put("big", &noise(2 << 20, 10));
    let mut volume = volume(&server.url(), &[]);
    let open = volume.open("big", READ).unwrap();
    server.fault(Fault::Silence, usize::MAX);
    let ask = volume.begin(&Ask::read(open, 0, 4096));
    volume.interrupt(ask);
    assert_eq!(volume.wait(ask).result.map(drop), Err(Errno::EINTR));
    volume.close(open).unwrap();
    volume.unmount();
}

#[test]
fn names_that_are_looked_at_in_order_are_asked_for_ahead_and_not_without_end() {
    let server = Server::start();
    let name = |number: usize| format!("many/{number:03}");
    for number in 0..400 {
        server.put(&name(number), &noise(number, 11));
    }
    // Connections for 16 names to be ahead.
    let options = [("lifetime", "60s"), ("connections", "4")];
    let mut ordered = volume(&server.url(), &options);
    assert_eq!(ordered.list("many").unwrap().len(), 400);
    let before = server.requests("HEAD");
    for number in 0..20 {
        assert_eq!(ordered.stat(&name(number)).unwrap().size, number as u64);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.requests("HEAD") < before + 20 + 16 {
        assert!(Instant::now() < deadline, "{} were asked for", server.requests("HEAD") - before);
        std::thread::sleep(Duration::from_millis(2));
    }
    // Who stops there has no more asked for him.
    assert_eq!(ordered.stat(&name(10)).unwrap().size, 10);
    assert_eq!(server.requests("HEAD"), before + 20 + 16);
    for number in 20..400 {
        assert_eq!(ordered.stat(&name(number)).unwrap().size, number as u64);
    }
    assert_eq!(server.requests("HEAD"), before + 400, "each is asked for once");
    ordered.unmount();

    // Here and there nothing can be foreseen.
    let mut scattered = volume(&server.url(), &options);
    assert_eq!(scattered.list("many").unwrap().len(), 400);
    let before = server.requests("HEAD");
    for step in 1..=20 {
        let number = step * 177 % 400;
        assert_eq!(scattered.stat(&name(number)).unwrap().size, number as u64);
    }
    assert_eq!(server.requests("HEAD"), before + 20);
    scattered.unmount();

    // What is believed for no time is asked for by who wants it, and so is what could not be asked for.
    let mut doubting = volume(&server.url(), &[("lifetime", "0")]);
    assert_eq!(doubting.list("many").unwrap().len(), 400);
    for number in 0..10 {
        server.put(&name(number), b"other");
        assert_eq!(doubting.stat(&name(number)).unwrap().size, 5);
    }
    doubting.unmount();
    let mut outdated = volume(&server.url(), &options);
    assert_eq!(outdated.list("many").unwrap().len(), 400);
    server.remove(&name(30));
    for number in 0..60 {
        assert_eq!(outdated.stat(&name(number)).is_ok(), number != 30, "{number}");
    }
    outdated.unmount();
}
