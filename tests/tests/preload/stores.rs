//! What others store in a file that somebody reads past the kernel: by write(2), through mappings, and through mappings
//! that outlive what they were made of.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::process::{WaitOptions, waitpid};
use wharf_direct::client::Reader;
use wharf_fuse::Transport;

use crate::fixture::Driver;
use crate::scenes::probe;
use crate::served::{Served, settle};
use crate::{LENGTH, Report, library, words};

/// A program under the library that reads when it is told to.
struct Follower {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    report: tempfile::TempDir,
}

impl Follower {
    fn new(file: &Path) -> Follower {
        let report = tempfile::tempdir().expect("a directory");
        let mut command = probe("follows", file, file);
        command.env("LD_PRELOAD", library()).env("WHARF_RUN_EAGER", "1");
        command.env("WHARF_RUN_REPORT", report.path().join("report"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        Follower { child, to, from, report }
    }

    /// The first word that it reads there, of a piece in which they follow each other.
    #[track_caller]
    fn sees(&mut self, at: usize) -> String {
        writeln!(self.to, "{at}").expect("it listens");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }

    /// So many reads were answered past the kernel.
    fn end(mut self) -> u64 {
        drop(self.to);
        assert!(self.child.wait().expect("a child").success());
        Report::read(&self.report.path().join("report")).reads
    }
}

/// A mapping of the first bytes of a file, for writing.
struct Mapped(*mut u8);

const MAPPED: usize = 1 << 20;

impl Mapped {
    fn new(file: &File) -> Mapped {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at a place that the kernel chooses.
        let start = unsafe { mmap(ptr::null_mut(), MAPPED, protection, MapFlags::SHARED, file, 0) };
        Mapped(start.expect("a mapping").cast())
    }

    fn store(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= MAPPED);
        let place = self.0.wrapping_add(at);
        // SAFETY: so many bytes are mapped there, and nobody has a reference to them.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and goes with this value.
        unsafe { munmap(self.0.cast(), MAPPED) }.expect("it was mapped");
    }
}

const PIECE: usize = 64 << 10;

fn piece(first: u32) -> Vec<u8> {
    words(first, PIECE)
}

fn whole(first: u32) -> String {
    format!("{PIECE} bytes from word {first}")
}

fn what_others_store_is_seen(driver: Driver, transport: Transport) {
    let served = Served::new(driver, transport);
    let path = served.path().join("file");
    fs::write(&path, words(0, LENGTH)).expect("a file");
    settle(&path);
    let writes = || OpenOptions::new().read(true).write(true).open(&path).expect("it is there");
    let mut follower = Follower::new(&path);
    let mut expected = 0;
    // Past the kernel, after the first reads.
    let mut warm = |follower: &mut Follower, first: u32| {
        for _ in 0..10 {
            assert_eq!(follower.sees(0), whole(first));
        }
        expected += 8;
    };
    warm(&mut follower, 0);

    // By write(2).
    let writer = writes();
    for round in 1..20 {
        writer.write_all_at(&piece(1000 * round), 0).expect("it can be written");
        assert_eq!(follower.sees(0), whole(1000 * round));
    }
    drop(writer);
    settle(&path);
    warm(&mut follower, 19_000);

    // Through a mapping, first beside its open file, then without.
    let writer = writes();
    let mapped = Mapped::new(&writer);
    mapped.store(0, &piece(31));
    assert_eq!(follower.sees(0), whole(31));
    drop(writer);
    for round in 0..20 {
        mapped.store(0, &piece(50_000 + round));
        assert_eq!(follower.sees(0), whole(50_000 + round), "the mapping outlives the descriptor");
    }
    // In another process, which has nothing but the mapping.
    let writer = writes();
    let pieces = [piece(7), piece(8)];
    // SAFETY: the child stores bytes, waits for a signal and ends, all by plain system calls.
    let child = unsafe { libc::fork() };
    if child == 0 {
        mapped.store(PIECE, &pieces[0]);
        // SAFETY: it takes no pointer.
        unsafe { libc::raise(libc::SIGSTOP) };
        mapped.store(PIECE, &pieces[1]);
        // SAFETY: as above.
        unsafe { libc::raise(libc::SIGSTOP) };
        // SAFETY: it ends this process at once.
        unsafe { libc::_exit(0) };
    }
    drop((writer, mapped));
    let child = rustix::process::Pid::from_raw(child).expect("a child");
    let stopped = || _ = waitpid(Some(child), WaitOptions::UNTRACED).expect("a child");
    let go_on = || rustix::process::kill_process(child, rustix::process::Signal::CONT).expect("a child");
    stopped();
    assert_eq!(follower.sees(PIECE), whole(7));
    go_on();
    stopped();
    assert_eq!(follower.sees(PIECE), whole(8));
    go_on();
    stopped();
    assert_eq!((follower.sees(0), follower.sees(PIECE)), (whole(50_019), whole(8)));
    // Nobody has it mapped any more.
    settle(&path);
    warm(&mut follower, 50_019);
    assert_eq!(follower.sees(PIECE), whole(8));

    // Shorter, and longer again.
    writes().set_len(1000).expect("it can be cut");
    assert_eq!(follower.sees(0), "1000 bytes from word 50019");
    writes().set_len(PIECE as u64 + 4).expect("it can grow");
    assert_eq!(follower.sees(PIECE), "4 bytes from word 0");
    fs::write(&path, words(3, LENGTH)).expect("a file");
    assert_eq!(follower.sees(0), whole(3));
    settle(&path);
    warm(&mut follower, 3);
    let reads = follower.end();
    assert!(reads >= expected, "{reads} of {expected} reads went past the kernel");
    served.end();
}

#[test]
fn what_others_store_is_seen_over_dev() {
    what_others_store_is_seen(Driver::Memory, Transport::Dev);
}

#[test]
fn what_others_store_is_seen_over_uring() {
    what_others_store_is_seen(Driver::Memory, Transport::Uring);
}

#[test]
fn a_forked_child_reads_by_the_kernel_what_its_parent_reads_past_it() {
    let served = Served::new(Driver::Memory, Transport::Dev);
    let path = served.path().join("file");
    fs::write(&path, words(0, LENGTH)).expect("a file");
    settle(&path);
    let reader = Reader::attach(File::open(&path).expect("it is there")).expect("a host");
    let mut bytes = vec![0; PIECE];
    // The section is there after these.
    (0..4).for_each(|_| assert_eq!(reader.read_at(0, &mut bytes).expect("it reads"), PIECE));
    assert!(reader.view(0..PIECE as u64).expect("it reads").is_shared());
    let expected = piece(0);
    // SAFETY: the child reads a file into memory that is there, by plain system calls, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        bytes.fill(0);
        let same = reader.read_at(0, &mut bytes).is_ok_and(|count| count == PIECE) && bytes == expected;
        // SAFETY: it ends this process at once.
        unsafe { libc::_exit(if same { 0 } else { 1 }) };
    }
    let child = rustix::process::Pid::from_raw(child).expect("a child");
    let (_, ended) = waitpid(Some(child), WaitOptions::empty()).expect("a child").expect("it ends");
    assert_eq!(ended.exit_status(), Some(0), "{ended:?}");
    drop(reader);
    served.end();
}
