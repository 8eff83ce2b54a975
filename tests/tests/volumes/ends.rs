//! How volumes end: killed under load, and unmounted under load.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wharf_drivers::memory::{Memory, Options as MemoryOptions};
use wharf_fuse::mount::{self, Mode, Options};
use wharf_fuse::{Mount, Transport};

use crate::fixture::{Driver, Mounted, TRANSPORTS, until};

const POINT: &str = "WHARF_TEST_HOST_POINT";
const TRANSPORT: &str = "WHARF_TEST_HOST_TRANSPORT";

/// Not a test of its own: a process that serves a volume until it is killed, when another test asks for one.
#[test]
#[ignore = "it is the host that another test starts and kills"]
fn a_host_to_be_killed() {
    let Ok(point) = std::env::var(POINT) else { return };
    let uring = std::env::var(TRANSPORT).is_ok_and(|transport| transport == "uring");
    let transport = if uring { Transport::Uring } else { Transport::Dev };
    let memory = Memory::new(MemoryOptions::new(1 << 30));
    let volume = Mount::new(memory, Options::new("memory", "victim:").expect("good names"));
    volume.transport(transport).at(point).expect("to mount").wait();
}

fn host(point: &Path, transport: Transport) -> Child {
    let this = std::env::current_exe().expect("the test's own program");
    let mut command = Command::new(this);
    command.args(["--ignored", "--exact", "ends::a_host_to_be_killed"]);
    command.env(POINT, point).env(TRANSPORT, transport.to_string());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("to start a host");
    until("the host serves", Duration::from_secs(20), || {
        mount::list().is_ok_and(|mounts| mounts.iter().any(|mounted| mounted.point == point))
            && fs::write(point.join("first"), b"contents").is_ok()
    });
    child
}

/// Uses the volume until something fails; the error, and when it came.
fn user(dir: PathBuf, number: usize) -> JoinHandle<(io::Error, Instant)> {
    thread::spawn(move || {
        let name = dir.join(format!("file-{number}"));
        loop {
            let round = || {
                fs::write(&name, [number as u8; 20_000])?;
                fs::read(&name)?;
                fs::remove_file(&name)
            };
            if let Err(error) = round() {
                return (error, Instant::now());
            }
        }
    })
}

#[test]
fn a_host_that_is_killed_under_load_leaves_errors_at_once_and_its_place_can_be_used_again() {
    for transport in TRANSPORTS {
        let point = tempfile::tempdir().expect("a mount point");
        let dir = point.path().canonicalize().expect("its real name");
        for _ in 0..3 {
            let mut victim = host(&dir, transport);
            let users: Vec<_> = (0..4).map(|number| user(dir.clone(), number)).collect();
            thread::sleep(Duration::from_millis(200));
            let killed = Instant::now();
            victim.kill().expect("to kill it");
            assert_eq!(victim.wait().expect("its end").signal(), Some(9));
            for user in users {
                let (error, at) = user.join().expect("no panic");
                let after = at.saturating_duration_since(killed);
                assert!(after < Duration::from_secs(2), "{transport}: {error} after {after:?}");
            }
            mount::unmount(&dir, Mode::Lazy).unwrap_or_else(|error| panic!("{transport}: {error}"));
        }
    }
}

/// Appends numbered lines until something fails; how many were acknowledged.
fn writer(path: PathBuf, stop: Arc<AtomicBool>) -> JoinHandle<usize> {
    thread::spawn(move || {
        let mut file = File::options().append(true).create(true).open(&path).expect("to open");
        let mut written = 0;
        while !stop.load(Ordering::SeqCst) && writeln!(file, "{written:09}").is_ok() {
            written += 1;
        }
        written
    })
}

#[test]
fn an_unmount_under_load_loses_no_acknowledged_write() {
    for (driver, transport) in [Driver::Mirror, Driver::MirrorWithoutPassthrough]
        .into_iter()
        .flat_map(|driver| TRANSPORTS.map(|transport| (driver, transport)))
    {
        let mounted = Mounted::new(driver, transport);
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> =
            (0..4).map(|number| writer(mounted.path().join(format!("{number}")), stop.clone())).collect();
        thread::sleep(Duration::from_millis(200));
        let unmounting = thread::scope(|scope| {
            let unmounting = scope.spawn(|| mounted.volume().unmount(Mode::Lazy));
            thread::sleep(Duration::from_millis(100));
            stop.store(true, Ordering::SeqCst);
            unmounting.join().expect("no panic")
        });
        unmounting.unwrap_or_else(|error| panic!("{driver:?} over {transport}: {error}"));
        for (number, writer) in writers.into_iter().enumerate() {
            let acknowledged = writer.join().expect("no panic");
            assert!(acknowledged > 0, "{driver:?} over {transport}: nothing was written");
            let found =
                fs::read_to_string(mounted.backing().join(format!("{number}"))).expect("to read it back");
            let right = found.lines().enumerate().all(|(at, line)| line == format!("{at:09}"));
            assert!(right, "{driver:?} over {transport}: lines are missing or torn");
            assert!(found.lines().count() >= acknowledged, "{driver:?} over {transport}: a write was lost");
        }
    }
}
