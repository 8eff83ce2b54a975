//! Writing over a network that fails: no upload that was acknowledged is lost, and none that failed is silent.

use std::time::{Duration, Instant};

use wharf::Errno;
use wharf::op::{OpenFlags, RenameHow};
use wharf::testing::Volume;
use wharf_drivers::remote::Remote;

use crate::server::{Fault, Server, To};
use crate::{noise, volume};

fn dav(server: &Server, spool: &tempfile::TempDir, options: &[(&str, &str)]) -> Volume<Remote> {
    let mut all = vec![("spool", spool.path().to_str().unwrap()), ("lifetime", "0")];
    all.extend(options);
    volume(&server.dav_url(), &all)
}

fn place() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn webdav_is_read_written_and_renamed() {
    let (server, spool) = (Server::start(), place());
    let big = noise(5 << 20, 30);
    server.put("there/a b", b"words");
    let mut volume = dav(&server, &spool, &[]);
    assert_eq!(volume.list("there").unwrap(), ["a b"]);
    assert_eq!(volume.read("there/a b").unwrap(), b"words");
    volume.mkdir("new").unwrap();
    volume.write("new/big", &big).unwrap();
    volume.write("new/empty", b"").unwrap();
    assert!(**server.get("new/big").unwrap() == big);
    assert_eq!(server.get("new/empty").unwrap().len(), 0);
    assert!(volume.read("new/big").unwrap() == big);
    assert_eq!(volume.rmdir("new"), Err(Errno::ENOTEMPTY));
    volume.rename("new", "moved", RenameHow::Replace).unwrap();
    volume.rename("moved/big", "moved/empty", RenameHow::Replace).unwrap();
    assert_eq!(volume.list("moved").unwrap(), ["empty"]);
    assert!(volume.read("moved/empty").unwrap() == big);
    volume.unlink("moved/empty").unwrap();
    volume.rmdir("moved").unwrap();
    assert_eq!(volume.list("").unwrap(), ["there"]);
    volume.unmount();
}

#[test]
fn an_upload_to_a_server_that_stumbles_is_tried_again() {
    let (server, spool) = (Server::start(), place());
    let big = noise(3 << 20, 31);
    let mut volume = dav(&server, &spool, &[]);
    for (number, fault) in [Fault::Unavailable, Fault::Half, Fault::Reset].into_iter().enumerate() {
        server.fault(fault, 2);
        let name = format!("file{number}");
        assert_eq!(volume.write(&name, &big), Ok(()), "{fault:?}");
        assert!(**server.get(&name).unwrap() == big, "{fault:?}");
    }
    volume.unmount();
}

#[test]
fn an_upload_that_nobody_takes_is_an_error_within_the_deadline_and_comes_with_the_next_mount() {
    for fault in [Fault::Unavailable, Fault::Silence] {
        let (server, spool) = (Server::start(), place());
        let big = noise(3 << 20, 32);
        let mut volume = dav(&server, &spool, &[("deadline", "2s")]);
        server.fault(fault, usize::MAX);
        let begun = Instant::now();
        assert!(volume.write("file", &big).is_err(), "{fault:?}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{fault:?}: {:?}", begun.elapsed());
        assert_eq!(server.get("file"), None);
        assert!(volume.read("file").unwrap() == big, "whoever looks here sees what was written");
        volume.unmount();
        server.behave();
        dav(&server, &spool, &[]).unmount();
        assert!(**server.get("file").unwrap() == big, "{fault:?}");
    }
}

#[test]
fn a_server_that_is_killed_in_the_midst_of_an_upload_and_started_again_gets_it_all() {
    let (mut server, spool) = (Server::start(), place());
    let big = noise(12 << 20, 33);
    let mut volume = dav(&server, &spool, &[]);
    let open = volume.create("file").unwrap();
    for (part, bytes) in big.chunks(64 << 10).enumerate() {
        volume.write_at(open, (part as u64) * (64 << 10), bytes).unwrap();
    }
    // Half of it arrives, then the server dies, and comes back.
    server.fault(Fault::Half, 1);
    let back = std::thread::spawn(move || {
        while server.requests("PUT") == 0 {
            std::thread::yield_now();
        }
        server.restart();
        server
    });
    volume.fsync(open).unwrap();
    let server = back.join().unwrap();
    assert!(**server.get("file").unwrap() == big);
    volume.close(open).unwrap();
    volume.unmount();
}

#[test]
fn small_files_are_fetched_ahead_of_who_reads_them_one_after_the_other() {
    let (server, spool) = (Server::start(), place());
    for number in 0..200 {
        server.put(&format!("many/{number:03}"), format!("file {number}").as_bytes());
    }
    let mut volume = dav(&server, &spool, &[("lifetime", "60s")]);
    assert_eq!(volume.list("many").unwrap().len(), 200);
    for number in 0..100 {
        let bytes = volume.read(&format!("many/{number:03}")).unwrap();
        assert_eq!(bytes, format!("file {number}").as_bytes());
    }
    assert!(server.requests("GET") > 100, "{} files were fetched", server.requests("GET"));
    assert!(
        server.sending_most() <= 16 && server.requests("PROPFIND") < 10,
        "{} questions",
        server.requests("PROPFIND")
    );
    for number in (0..200).rev() {
        assert_eq!(volume.read(&format!("many/{number:03}")).unwrap(), format!("file {number}").as_bytes());
    }
    assert_eq!(server.requests("GET"), 200, "each once");
    volume.unmount();
}

#[test]
fn what_was_written_is_read_next_from_a_service_whose_times_never_change() {
    let (server, spool) = (Server::start(), place());
    server.timeless();
    // Of one block, which need not be fetched back, and of several, which must be.
    for (name, len) in [("short", 1_000), ("long", 300_000)] {
        // With a cache in memory, and with nothing but one on disc.
        for (lifetime, memory, disc) in [("0", "256M", "0"), ("60s", "256M", "0"), ("60s", "0", "16M")] {
            let version = |seed| noise(len, seed);
            let cache_dir = spool.path().to_str().unwrap();
            let options = [("cache", memory), ("disc-cache", disc), ("cache-dir", cache_dir)];
            let mut volume = dav(&server, &spool, &[&[("lifetime", lifetime)], &options[..]].concat());
            server.put(name, &version(1));
            server.put("other", &version(2));
            assert!(volume.read(name).unwrap() == version(1), "{name}: as the service has it");
            assert!(volume.read("other").unwrap() == version(2));
            for seed in 3..6 {
                volume.write(name, &version(seed)).unwrap();
                assert!(volume.read(name).unwrap() == version(seed), "{name}: rewritten");
                assert!(**server.get(name).unwrap() == version(seed));
            }
            let open = volume.open(name, OpenFlags::READ_WRITE).unwrap();
            volume.write_at(open, 10, b"in its midst").unwrap();
            volume.fsync(open).unwrap();
            volume.close(open).unwrap();
            let mut expected = version(5);
            expected[10..22].copy_from_slice(b"in its midst");
            assert!(volume.read(name).unwrap() == expected, "{name}: changed in its midst");

            let open = volume.open(name, OpenFlags::empty()).unwrap();
            volume.rename("other", name, RenameHow::Replace).unwrap();
            assert!(volume.read(name).unwrap() == version(2), "{name}: replaced");
            assert!(volume.read_at(open, 0, 100).unwrap() == expected[..100], "{name}: open, and replaced");
            volume.close(open).unwrap();
            volume.write("other", &version(6)).unwrap();
            assert!(volume.read("other").unwrap() == version(6), "a name that was moved away is used again");
            assert!(volume.read(name).unwrap() == version(2));

            volume.unlink(name).unwrap();
            volume.write(name, &version(7)).unwrap();
            assert!(volume.read(name).unwrap() == version(7), "{name}: removed and made again");
            volume.unmount();
            let mut volume = dav(&server, &spool, &options);
            assert!(volume.read(name).unwrap() == version(7), "{name}: by the next mount");
            assert!(volume.read("other").unwrap() == version(6));
            volume.unmount();
        }
    }
}

#[test]
fn what_is_fetched_ahead_while_it_is_rewritten_is_not_what_is_read() {
    let (server, spool) = (Server::start(), place());
    server.timeless();
    let name = |number: usize| format!("many/{number:02}");
    for number in 0..20 {
        server.put(&name(number), format!("old {number:02}").as_bytes());
    }
    let mut volume = dav(&server, &spool, &[("lifetime", "60s")]);
    assert_eq!(volume.list("many").unwrap().len(), 20);
    for number in 0..3 {
        volume.read(&name(number)).unwrap();
    }
    // The next ones are on their way now, or here.
    for number in 3..20 {
        volume.write(&name(number), format!("new {number:02}").as_bytes()).unwrap();
        assert_eq!(volume.read(&name(number)).unwrap(), format!("new {number:02}").as_bytes());
    }
    for number in 3..20 {
        assert_eq!(volume.read(&name(number)).unwrap(), format!("new {number:02}").as_bytes());
    }
    volume.unmount();
}

#[test]
fn a_service_that_falls_silent_holds_up_the_next_mount_for_one_deadline_however_much_is_left() {
    let (server, spool) = (Server::start(), place());
    let mut volume = dav(&server, &spool, &[("deadline", "2s")]);
    server.fault_to(To::Method("PUT"), Fault::Reset, usize::MAX);
    for number in 0..6 {
        assert!(volume.write(&format!("file{number}"), b"words").is_err());
    }
    volume.unmount();
    server.behave();
    server.fault_to(To::Method("PUT"), Fault::Silence, usize::MAX);
    let (begun, asked) = (Instant::now(), server.requests("PUT"));
    let mut volume = dav(&server, &spool, &[("deadline", "2s")]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(server.requests("PUT"), asked + 1);
    assert_eq!(volume.list("").unwrap(), [""; 0]);
    volume.unmount();
    server.behave();
    dav(&server, &spool, &[]).unmount();
    for number in 0..6 {
        assert_eq!(**server.get(&format!("file{number}")).unwrap(), *b"words");
    }
}
