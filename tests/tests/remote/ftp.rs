//! FTP: long files by one request, few connections that are used again, and what becomes of both when something fails.

use std::time::{Duration, Instant};

use wharf::Errno;
use wharf::op::{OpenFlags, RenameHow};
use wharf::testing::{Ask, Volume};
use wharf_drivers::remote::Remote;

use crate::ftp_server::FtpServer;
use crate::{noise, volume};

const READ: OpenFlags = OpenFlags::empty();
const STEP: usize = 128 << 10;

fn ftp(server: &FtpServer, spool: &tempfile::TempDir, options: &[(&str, &str)]) -> Volume<Remote> {
    let spool = spool.path().to_str().unwrap();
    volume(&server.url(), &[&[("spool", spool), ("lifetime", "0")], options].concat())
}

fn place() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Waits until something is so, for as long as a busy machine may need, but not for as long as a stream waits for its
/// reader.
fn soon(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_long_file_is_read_by_one_request_and_whoever_reads_it_again_asks_for_none() {
    let (server, spool) = (FtpServer::start(), place());
    let big = noise(24 << 20, 50);
    server.put("big", &big);
    let mut volume = ftp(&server, &spool, &[]);
    assert!(volume.read("big").unwrap() == big);
    assert!(volume.read("big").unwrap() == big);
    assert_eq!(server.commands("RETR"), 1);
    assert!(server.commands("USER") <= 3, "{} logins", server.commands("USER"));
    soon("the file is sent to its end", || server.sending() == 0);
    volume.unmount();
    soon("nothing is left", || server.here().0 == 0);
}

#[test]
fn a_reader_that_seeks_or_closes_leaves_no_request_behind_and_its_connections_are_used_again() {
    for talks in [false, true] {
        let (server, spool) = (FtpServer::start(), place());
        let big = noise(64 << 20, 51);
        server.put("big", &big);
        if talks {
            server.talks();
        }
        let mut volume = ftp(&server, &spool, &[("cache", "16M")]);
        let open = volume.open("big", READ).unwrap();
        for place in [0, 50 << 20, 20 << 20, 40 << 20] {
            for at in (place..place + (1 << 20)).step_by(STEP) {
                assert!(volume.read_at(open, at as u64, STEP as u32).unwrap() == big[at..at + STEP]);
            }
        }
        volume.close(open).unwrap();
        soon("nothing is sent any more", || server.sending() == 0);
        if !talks {
            let logins = server.commands("USER");
            assert!(logins <= 8, "{logins} logins for {} requests", server.commands("RETR"));
        }
        assert_eq!(volume.stat("big").unwrap().size, big.len() as u64);
        volume.unmount();
    }
}

#[test]
fn a_stream_that_breaks_goes_on_where_it_was() {
    let (server, spool) = (FtpServer::start(), place());
    let big = noise(8 << 20, 52);
    server.put("big", &big);
    let mut volume = ftp(&server, &spool, &[]);
    server.breaks_after(&[1 << 20, 3 << 20, 2 << 20]);
    assert!(volume.read("big").unwrap() == big);
    assert!(server.commands("RETR") >= 4 && server.commands("RETR") < 10, "{}", server.commands("RETR"));
    volume.unmount();
}

#[test]
fn a_stream_that_stops_costs_a_deadline_and_no_more() {
    let (server, spool) = (FtpServer::start(), place());
    let big = noise(4 << 20, 53);
    server.put("big", &big);
    let mut volume = ftp(&server, &spool, &[("deadline", "1s")]);
    server.stuck_after(Some(1 << 20));
    let open = volume.open("big", READ).unwrap();
    let begun = Instant::now();
    let mut failed = None;
    for at in (0..big.len()).step_by(STEP) {
        match volume.read_at(open, at as u64, STEP as u32) {
            Ok(bytes) => assert!(bytes == big[at..at + STEP]),
            Err(error) => {
                failed = Some((at, error));
                break;
            }
        }
    }
    let (at, error) = failed.expect("no end of a file that never comes");
    assert_eq!(error, Errno::ETIMEDOUT);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    server.stuck_after(None);
    assert!(
        volume.read_at(open, at as u64, STEP as u32).unwrap() == big[at..at + STEP],
        "the next is answered"
    );
    volume.close(open).unwrap();
    volume.unmount();
}

#[test]
fn a_file_that_changes_in_the_midst_of_a_stream_is_stale_and_never_a_mixture() {
    let (server, spool) = (FtpServer::start(), place());
    let (old, new) = (noise(16 << 20, 54), noise(16 << 20, 55));
    server.put("file", &old);
    server.pause(Duration::from_millis(4));
    let mut volume = ftp(&server, &spool, &[]);
    let open = volume.open("file", READ).unwrap();
    let mut failed = None;
    for at in (0..old.len()).step_by(STEP) {
        if at == 2 << 20 {
            server.put("file", &new);
        }
        match volume.read_at(open, at as u64, STEP as u32) {
            Ok(bytes) => assert!(bytes == old[at..at + STEP], "a mixture at {at}"),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    assert_eq!(failed, Some(Errno::ESTALE));
    server.pause(Duration::ZERO);
    assert!(volume.read("file").unwrap() == new, "whoever opens it now reads what it is now");
    volume.close(open).unwrap();
    volume.unmount();
}

#[test]
fn readers_side_by_side_and_others_share_few_connections() {
    let (server, spool) = (FtpServer::start(), place());
    let big = noise(24 << 20, 56);
    server.put("big", &big);
    for number in 0..8 {
        server.put(&format!("{number}"), &noise(1000, number));
    }
    let mut volume = ftp(&server, &spool, &[("connections", "2"), ("lifetime", "60s")]);
    let readers = [0, 6 << 20, 12 << 20, 18 << 20].map(|place| (volume.open("big", READ).unwrap(), place));
    for step in (0..6 << 20).step_by(STEP) {
        let asks = readers.map(|(open, place)| {
            (place + step, volume.begin(&Ask::read(open, (place + step) as u64, STEP as u32)))
        });
        for (at, ask) in asks {
            let read = volume.wait(ask);
            read.result.expect("each has its turn");
            assert!(read.bytes == big[at..at + STEP], "{at}");
        }
        if step % (1 << 20) == 0 {
            let number = (step >> 20) as u64;
            assert!(volume.read(&number.to_string()).unwrap() == noise(1000, number), "among the readers");
        }
    }
    assert!(volume.read("big").unwrap() == big);
    // The server may not have noticed yet that one has gone when the next comes.
    assert!(server.here().1 <= 4, "{} connections", server.here().1);
    for (open, _) in readers {
        volume.close(open).unwrap();
    }
    soon("nothing is sent any more", || server.sending() == 0);
    volume.unmount();
}

#[test]
fn a_reader_that_rests_holds_nobody_up() {
    let (server, spool) = (FtpServer::start(), place());
    let big = noise(64 << 20, 57);
    server.put("big", &big);
    server.put("other", b"words");
    let mut volume = ftp(&server, &spool, &[("connections", "2")]);
    let open = volume.open("big", READ).unwrap();
    let mut at = 0;
    for _ in 0..3 {
        for _ in 0..8 {
            assert!(volume.read_at(open, at as u64, STEP as u32).unwrap() == big[at..at + STEP]);
            at += STEP;
        }
        let begun = Instant::now();
        for _ in 0..4 {
            assert_eq!(volume.read("other").unwrap(), b"words");
            assert_eq!(volume.stat("big").unwrap().size, big.len() as u64);
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }
    assert!(server.here().1 <= 4, "{} connections", server.here().1);
    volume.close(open).unwrap();
    volume.unmount();
}

#[test]
fn a_name_that_no_command_can_have_is_refused_and_costs_the_others_nothing() {
    let (server, spool) = (FtpServer::start(), place());
    let mut volume = ftp(&server, &spool, &[]);
    assert_eq!(volume.stat("a\r\nDELE b"), Err(Errno::EINVAL));
    assert!(volume.create("a\nb").is_err());
    assert_eq!(server.commands("DELE"), 0);
    assert!(server.commands("USER") <= 3, "{} logins", server.commands("USER"));
    volume.unmount();
}

#[test]
fn what_a_server_does_not_replace_is_replaced_and_what_it_refuses_takes_nothing_away() {
    let (server, spool) = (FtpServer::start(), place());
    server.keeps_names();
    let mut volume = ftp(&server, &spool, &[]);
    for words in [&b"first"[..], b"second"] {
        volume.write("file", words).unwrap();
        assert_eq!(server.get("file").unwrap(), words);
    }
    volume.write("other", b"third").unwrap();
    volume.rename("other", "file", RenameHow::Replace).unwrap();
    assert_eq!(server.get("file").unwrap(), b"third");
    assert_eq!(server.names(), ["file"], "nothing is left aside");
    server.keeps_all(true);
    assert!(volume.write("file", b"fourth").is_err());
    assert_eq!(server.get("file").unwrap(), b"third", "what was there is there");
    assert_eq!(server.names(), ["file"]);
    server.put("more", b"words");
    assert_eq!(volume.rename("more", "moved", RenameHow::Replace), Err(Errno::EACCES));
    assert_eq!(volume.rename("none", "moved", RenameHow::Replace), Err(Errno::ENOENT));
    server.keeps_all(false);
    volume.unmount();
    assert_eq!(server.get("file").unwrap(), b"fourth", "the end of the mount tries once more");
}
