//! Volumes mounted for real, by both transports: waiting, giving up, changing, ending.
//!
//! Needs root, `/dev/fuse`, and FUSE over io_uring switched on (`enable_uring`); says so where one is missing.

mod ahead;
mod memory;
mod pending;
mod probe;
mod scattered;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use probe::{Probe, inode};
use wharf::Limits;
use wharf_fuse::mount::{Mode, Options};
use wharf_fuse::{Mount, Transport, Volume};

const O_DIRECT: i32 = 0o40000;
const BOTH: [Transport; 2] = [Transport::Dev, Transport::Uring];

/// What the library has to say goes to the test's output.
struct Words;

impl log::Log for Words {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{}: {}", record.level(), record.args());
    }
    fn flush(&self) {}
}

struct Mounted {
    volume: Option<Volume>,
    probe: Probe,
    dir: PathBuf,
    _scratch: tempfile::TempDir,
}

impl Mounted {
    fn new(transport: Transport) -> Mounted {
        Mounted::with(transport, Probe::new(Duration::from_millis(50)), Limits::default())
    }

    fn with(transport: Transport, probe: Probe, limits: Limits) -> Mounted {
        let _ = log::set_logger(&Words).map(|()| log::set_max_level(log::LevelFilter::Info));
        let scratch = tempfile::tempdir().unwrap();
        let options = Options::new("probe", "probe:").unwrap();
        let mount = Mount::new(probe.clone(), options).transport(transport).limits(limits);
        let volume =
            mount.at(scratch.path()).unwrap_or_else(|error| panic!("mounting over {transport}: {error}"));
        assert_eq!(volume.transport(), transport);
        Mounted { dir: scratch.path().to_owned(), volume: Some(volume), probe, _scratch: scratch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn volume(&self) -> &Volume {
        self.volume.as_ref().expect("mounted")
    }

    fn open(&self, name: &str) -> File {
        File::open(self.path(name)).unwrap()
    }
}

/// A child process that does one thing, because a thread that is stuck in the kernel cannot be ended.
fn reader(path: &Path) -> std::process::Child {
    let mut command = std::process::Command::new("dd");
    command.arg(format!("if={}", path.display())).args(["of=/dev/null", "bs=4096", "count=1", "status=none"]);
    command.stderr(std::process::Stdio::null()).spawn().unwrap()
}

fn resident_bytes() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_mount_is_listed_and_read_and_goes_away() {
    for transport in BOTH {
        let mounted = Mounted::new(transport);
        let mut names: Vec<_> =
            fs::read_dir(&mounted.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let mut expected = probe::FILES.map(|name| OsStr::new(name).to_owned()).to_vec();
        expected.sort();
        assert_eq!(names, expected, "{transport}");
        let mut contents = String::new();
        mounted.open("changing").read_to_string(&mut contents).unwrap();
        assert_eq!(contents, "before");
        assert!(fs::metadata(mounted.path("missing")).is_err());
        mounted.volume().unmount(Mode::Clean).unwrap();
        assert_eq!(mounted.probe.state.shutdowns.load(SeqCst), 1);
        assert_eq!(fs::read_dir(&mounted.dir).unwrap().count(), 0, "the empty directory below is back");
    }
}

/// Threads of this machine that wait for a disc, as far as the kernel knows.
fn waiting_for_discs() -> usize {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let line = stat.lines().find_map(|line| line.strip_prefix("procs_blocked "));
    line.expect("a line of the kernel's").trim().parse().unwrap()
}

#[test]
fn an_idle_volume_does_not_look_as_if_it_waited_for_a_disc() {
    let release = rustix::system::uname().release().to_str().unwrap().to_owned();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(15)) {
        eprintln!("Linux {release} has no way to wait in a ring and not to be counted");
        return;
    }
    let queues = thread::available_parallelism().unwrap().get();
    for transport in BOTH {
        let mounted = Mounted::new(transport);
        fs::metadata(mounted.path("changing")).unwrap();
        // Others may wait for discs too, but not all the time for a minute.
        let deadline = Instant::now() + Duration::from_secs(60);
        let fewer = |_: &i32| {
            thread::sleep(Duration::from_millis(1));
            waiting_for_discs() < queues
        };
        while (0..20).filter(fewer).count() <= 10 {
            assert!(Instant::now() < deadline, "{transport}, or mounts of others over io_uring");
        }
        drop(mounted);
    }
}

#[test]
fn slow_reads_wait_side_by_side() {
    for transport in BOTH {
        let mounted = Mounted::new(transport);
        let file = Arc::new(mounted.open("slow"));
        let begin = Instant::now();
        let threads: Vec<_> = (0..100)
            .map(|at| {
                let file = file.clone();
                thread::spawn(move || file.read_at(&mut [0; 4096], at * 4096).unwrap())
            })
            .collect();
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 4096));
        let took = begin.elapsed();
        assert!(took < Duration::from_millis(2500), "{transport}: 100 reads of 50 ms took {took:?}");
        // How many threads really wait at a time is the scheduler's affair; one by one they would take 5 s.
        assert!(
            mounted.probe.state.in_flight_most.load(SeqCst) > 10,
            "{transport}: they waited for each other"
        );
    }
}

#[test]
fn a_panic_is_an_io_error_and_the_volume_lives_on() {
    for transport in BOTH {
        let mounted = Mounted::new(transport);
        for _ in 0..20 {
            let error = mounted.open("panic").read_at(&mut [0; 16], 0).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(5), "{transport}");
        }
        assert_eq!(mounted.open("changing").read_at(&mut [0; 16], 0).unwrap(), 6);
    }
}

#[test]
fn a_signal_ends_a_wait_that_listens() {
    for transport in BOTH {
        let mounted = Mounted::new(transport);
        let mut child = reader(&mounted.path("patient"));
        until("the read has come", || mounted.probe.state.in_flight.load(SeqCst) == 1);
        let begin = Instant::now();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
            .unwrap();
        child.wait().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(1), "{transport}: {:?}", begin.elapsed());
        assert_eq!(mounted.probe.state.in_flight.load(SeqCst), 0, "the operation ended too");
    }
}

#[test]
fn a_wait_for_a_lock_ends_with_a_signal() {
    for transport in BOTH {
        let mounted = Mounted::new(transport);
        let script = "import fcntl,sys,signal\n\
            def stop(*args): raise InterruptedError\n\
            f=open(sys.argv[1])\n\
            try:\n\
            \x20signal.signal(signal.SIGALRM, stop)\n\
            \x20signal.setitimer(signal.ITIMER_REAL, 0.2)\n\
            \x20fcntl.lockf(f, fcntl.LOCK_SH)\n\
            except InterruptedError: sys.exit(7)\n";
        let begin = Instant::now();
        let status = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(mounted.path("lock"))
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(7), "{transport}");
        assert!(begin.elapsed() < Duration::from_secs(3));
    }
}

#[test]
fn notices_reach_the_kernel_from_any_thread() {
    for transport in BOTH {
        let mounted = Mounted::new(transport);
        let file = mounted.open("changing");
        let mut buffer = [0; 16];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 6);
        let reads = mounted.probe.state.reads.load(SeqCst);
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 6);
        assert_eq!(mounted.probe.state.reads.load(SeqCst), reads, "{transport}: it was cached");
        *mounted.probe.state.contents.lock().unwrap() = b"afterwards".to_vec();
        mounted.volume().notifier().contents(inode("changing")).wait().unwrap();
        assert_eq!(file.metadata().unwrap().size(), 10, "{transport}: attributes too");
        let count = file.read_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer[..count], b"afterwards", "{transport}");
    }
}

#[test]
fn a_name_that_went_elsewhere_is_looked_up_again() {
    for transport in BOTH {
        let mounted = Mounted::new(transport);
        let names = || mounted.probe.state.names.lock().unwrap();
        names().insert(b"alias".to_vec(), inode("slow"));
        assert_eq!(fs::metadata(mounted.path("alias")).unwrap().ino(), inode("slow"));
        names().insert(b"alias".to_vec(), inode("changing"));
        assert_eq!(
            fs::metadata(mounted.path("alias")).unwrap().ino(),
            inode("slow"),
            "{transport}: it is remembered"
        );
        mounted.volume().notifier().entry_gone(1, OsStr::new("alias")).wait().unwrap();
        assert_eq!(fs::metadata(mounted.path("alias")).unwrap().ino(), inode("changing"), "{transport}");
    }
}

#[test]
fn a_notice_about_the_file_that_is_being_read_does_not_deadlock() {
    for transport in BOTH {
        let mounted = Mounted::new(transport);
        for _ in 0..50 {
            let mut contents = [0; 4];
            mounted.open("self-notice").read_exact_at(&mut contents, 0).unwrap();
            assert_eq!(&contents, b"told");
        }
    }
}

#[test]
fn what_the_kernel_has_cached_can_be_put_there_and_brought_back() {
    for transport in BOTH {
        let mounted = Mounted::new(transport);
        let file = mounted.open("changing");
        let bytes: Arc<[u8]> = b"stored".to_vec().into();
        let node = inode("changing");
        let notifier = mounted.volume().notifier();
        notifier.send(wharf::notice::Notice::Store { inode: node, offset: 0, bytes }).wait().unwrap();
        let mut buffer = [0; 6];
        file.read_exact_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"stored", "{transport}");
        let got = notifier
            .send(wharf::notice::Notice::Retrieve { inode: node, offset: 0, size: 6 })
            .wait()
            .unwrap();
        assert_eq!(got, b"stored", "{transport}");
    }
}

#[test]
fn an_operation_that_never_ends_does_not_stop_the_unmount_past_its_deadlines() {
    for transport in BOTH {
        let limits = Limits { drain_ms: 200, cancel_ms: 1_000, ..Limits::default() };
        let mounted = Mounted::with(transport, Probe::new(Duration::ZERO), limits);
        let mut children = [reader(&mounted.path("never")), reader(&mounted.path("polite"))];
        until("both reads have come", || mounted.probe.state.in_flight.load(SeqCst) == 2);
        assert!(mounted.volume().unmount(Mode::Clean).is_err(), "{transport}: it is busy");
        let begin = Instant::now();
        mounted.volume().unmount(Mode::Lazy).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(6), "{transport}: {:?}", begin.elapsed());
        children.iter_mut().for_each(|child| assert!(!child.wait().unwrap().success()));
        let state = &mounted.probe.state;
        assert_eq!(state.in_flight.load(SeqCst), 1, "the one that listens has ended, the other was dropped");
        assert_eq!(state.shutdowns.load(SeqCst), 1);
        assert_eq!(
            state.opens.load(SeqCst),
            state.releases.load(SeqCst),
            "{transport}: every open file was released"
        );
        assert!(!state.ended_after_shutdown.load(SeqCst));
    }
}

#[test]
fn an_unmount_waits_for_what_is_outstanding() {
    for transport in BOTH {
        let mounted = Mounted::with(transport, Probe::new(Duration::from_millis(300)), Limits::default());
        let mut child = reader(&mounted.path("slow"));
        until("the read has come", || mounted.probe.state.in_flight.load(SeqCst) == 1);
        mounted.volume().unmount(Mode::Lazy).unwrap();
        assert!(child.wait().unwrap().success(), "{transport}: the read was answered");
    }
}

#[test]
fn unmounting_under_load_hangs_nobody() {
    for transport in BOTH {
        for _ in 0..5 {
            let mounted = Mounted::new(transport);
            let start = Arc::new(Barrier::new(5));
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let (dir, start) = (mounted.dir.clone(), start.clone());
                    thread::spawn(move || -> io::Error {
                        start.wait();
                        loop {
                            let read = File::open(dir.join("changing"))
                                .and_then(|file| file.read_at(&mut [0; 9], 0));
                            if let Err(error) = read {
                                return error;
                            }
                        }
                    })
                })
                .collect();
            start.wait();
            thread::sleep(Duration::from_millis(30));
            mounted.volume().unmount(Mode::Lazy).unwrap();
            for thread in threads {
                let error = thread.join().unwrap();
                assert!(
                    matches!(error.raw_os_error(), Some(2 | 103 | 107 | 125 | 5)),
                    "{transport}: {error}"
                );
            }
            assert_eq!(mounted.volume().counts(), (0, 0));
        }
    }
}

#[test]
fn nodes_are_forgotten_when_the_kernel_forgets_them() {
    for transport in BOTH {
        let mounted = Mounted::new(transport);
        for name in probe::FILES {
            fs::metadata(mounted.path(name)).unwrap();
        }
        assert_eq!(mounted.volume().counts().0, probe::FILES.len());
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
        until("all is forgotten", || mounted.volume().counts().0 == 0);
    }
}

#[test]
fn ten_thousand_reads_wait_at_once() {
    // What other tests take meanwhile would count.
    if !pending::is_alone("ten_thousand_reads_wait_at_once") {
        return;
    }
    for transport in BOTH {
        // Longer than it takes to submit them, so that the first still waits when the last comes.
        let probe = Probe::new(Duration::from_secs(2));
        let limits = Limits {
            background_max: u16::MAX,
            uring_entries_min: 5_000,
            uring_entries_max: 5_000,
            ..Limits::default()
        };
        let mounted = Mounted::with(transport, probe.clone(), limits);
        // O_DIRECT, because only then does the kernel send reads without a thread waiting for each.
        let file = File::options().read(true).custom_flags(O_DIRECT).open(mounted.path("slow")).unwrap();
        let all = if transport == Transport::Dev { 10_000 } else { 5_000 };
        let before = resident_bytes();
        let (reads, each_bytes) = thread::scope(|scope| {
            let reads = scope.spawn(|| pending::read_many(&file, 10_000));
            until("all are pending", || probe.state.in_flight.load(SeqCst) == all);
            let each_bytes = resident_bytes().saturating_sub(before) / all;
            (reads.join().expect("no panic"), each_bytes)
        });
        let (count, took) = reads;
        println!(
            "{transport}: {count} reads, {all} pending at once, took {took:?}; {each_bytes} bytes for each"
        );
        // Nothing has been put into their windows yet, so this is all beside the bytes of the replies, and what
        // the reader's own ring takes for each.
        let readers_own = size_of::<io_uring::squeue::Entry>() + size_of::<io_uring::cqueue::Entry>();
        assert!(each_bytes < 2048 + readers_own, "{transport}: {each_bytes} bytes for each pending read");
        assert_eq!(count, 10_000);
        if transport == Transport::Dev {
            assert!(probe.state.in_flight_most.load(SeqCst) > 9_000, "they were not all pending at once");
        }
    }
}
