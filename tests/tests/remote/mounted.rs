//! Through the kernel, by both transports. Needs root and `/dev/fuse`, as all tests that mount.

use std::fs;
use std::time::{Duration, Instant};

use wharf_fuse::mount::{Mode, Options};
use wharf_fuse::{Mount, Transport, Volume};

use crate::server::{Fault, Server};
use crate::{noise, remote};

fn mounted(server: &Server, options: &[(&str, &str)], transport: Transport) -> (tempfile::TempDir, Volume) {
    let point = tempfile::tempdir().expect("a mount point");
    let remote = remote(&server.url(), options);
    let defaults = remote.defaults();
    let named = Options::new("remote", "test:").expect("good names");
    let volume = Mount::new(remote, named).transport(transport).defaults(defaults).at(point.path());
    (point, volume.unwrap_or_else(|error| panic!("{transport}: {error}")))
}

/// Does `work` on another thread: on this one, which has made rings, the kernel takes their news for signals, and
/// who waits for a slow service would give up.
fn elsewhere<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().expect("no panics"))
}

#[test]
fn programs_read_through_a_mount() {
    let server = Server::start();
    let big = noise(9 << 20, 20);
    server.put("big", &big);
    for number in 0..10_000 {
        server.put(&format!("many/{number}"), format!("file {number}").as_bytes());
    }
    for transport in [Transport::Dev, Transport::Uring] {
        let (point, volume) = mounted(&server, &[], transport);
        elsewhere(|| {
            assert!(fs::read(point.path().join("big")).unwrap() == big, "{transport}");
            let many = fs::read_dir(point.path().join("many")).unwrap().count();
            assert_eq!(many, 10_000, "{transport}");
        });
        let readers = |part: usize| {
            let many = point.path().join("many");
            move || {
                for number in (part..300).step_by(4) {
                    assert_eq!(
                        fs::read(many.join(number.to_string())).unwrap(),
                        format!("file {number}").as_bytes()
                    );
                }
            }
        };
        let readers: Vec<_> = (0..4).map(|part| std::thread::spawn(readers(part))).collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        let refused = fs::write(point.path().join("new"), b"x").unwrap_err();
        assert!(refused.raw_os_error().is_some(), "{refused}");
        volume.unmount(Mode::Clean).unwrap();
    }
}

#[test]
fn a_mount_of_a_silent_server_is_unmounted() {
    let server = Server::start();
    server.put("file", b"contents");
    for transport in [Transport::Dev, Transport::Uring] {
        server.behave();
        let (point, volume) = mounted(&server, &[("deadline", "2s")], transport);
        let path = point.path().join("file");
        assert_eq!(elsewhere(|| fs::metadata(&path)).unwrap().len(), 8);
        let before = server.requests("GET");
        server.fault(Fault::Silence, usize::MAX);
        let reader = std::thread::spawn(move || fs::read(path));
        while server.requests("GET") == before && !reader.is_finished() {
            std::thread::yield_now();
        }
        let begun = Instant::now();
        volume.unmount(Mode::Lazy).unwrap();
        assert!(reader.join().unwrap().is_err());
        volume.wait();
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
