//! Programs under `wharf run`, on mounts that have hosts of their own: which serve, die, or do not let anybody in.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Signal, kill_process};

use crate::wharf::{Room, command, eventually, wharf};

/// A tree: long files and short ones, of text.
fn plant(at: &Path) {
    fs::create_dir_all(at.join("tree")).expect("a directory");
    let mut seed = 1_u64;
    for (name, lines) in [("tree/long", 60_000), ("tree/longer", 90_000), ("tree/short", 100)] {
        let mut file = std::io::BufWriter::new(File::create(at.join(name)).expect("a file"));
        for _ in 0..lines {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = if seed.is_multiple_of(97) { "needle" } else { "straw" };
            writeln!(file, "{seed:016x} {word} of wharf").expect("it can be written");
        }
    }
}

/// The library, which cargo puts beside the tests.
fn library() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    own.with_file_name("libwharf_preload.so").canonicalize().expect("cargo builds it for these tests")
}

/// What a program printed.
#[derive(Debug, PartialEq, Eq)]
struct Printed(Option<i32>, Vec<u8>);

fn printed(mut program: Command) -> Printed {
    let ended = program.stdin(Stdio::null()).output().expect("it starts");
    Printed(ended.status.code(), [ended.stdout, ended.stderr].concat())
}

fn alone(line: &str, at: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(at);
    command
}

/// When the library looks for another way to a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Whenever it is read twice; without a host a stand-in reads it then.
    Eager,
    /// When that pays.
    Wise,
}

fn under_run(line: &str, at: &Path, when: When, report: &Path) -> Command {
    let mut command = command();
    command.arg("run").args((when == When::Eager).then_some("--eager"));
    command.arg("--report").arg(report).args(["--", "sh", "-c", line]).current_dir(at);
    command.env("WHARF_PRELOAD", library());
    command
}

/// Reads past the kernel that a report tells of.
fn reads(report: &Path) -> u64 {
    let text = fs::read_to_string(report).unwrap_or_default();
    let line = |line: &str| line.split_once(" reads ")?.1.split(' ').next()?.parse::<u64>().ok();
    text.lines().filter_map(line).sum()
}

/// Runs a line both ways; returns how many reads went past the kernel.
#[track_caller]
fn same(line: &str, at: &Path, when: When) -> u64 {
    let room = tempfile::tempdir().expect("a directory");
    let report = room.path().join("report");
    assert_eq!(printed(under_run(line, at, when, &report)), printed(alone(line, at)), "{line}");
    reads(&report)
}

const LINES: [&str; 6] = [
    "cat tree/*",
    "for file in tree/*; do dd if=$file bs=50k status=none; done",
    "rg -c --no-mmap --sort path needle tree",
    "md5sum tree/*; tar cf - tree | md5sum",
    "grep -rc straw tree | sort",
    "python3 -c 'import sys; print([len(open(name, \"rb\", buffering=0).read()) for name in sys.argv[1:]])' tree/*",
];

/// A program that reads a file over and over, for which alone it pays.
const READS_AGAIN: &str = "python3 -c '
import hashlib, os
digest, fd = hashlib.md5(), os.open(\"tree/longer\", os.O_RDONLY)
for count in range(60):
    os.lseek(fd, 0, 0)
    while part := os.read(fd, 65536): digest.update(part)
print(digest.hexdigest())
'";

#[test]
fn programs_print_the_same_on_volumes_of_every_sort_of_source() {
    let room = Room::new();
    plant(room.path());
    let packed = |how: &str, name: &str| {
        let line = format!("zip -q {how} -r {name} tree");
        assert_eq!(printed(alone(&line, room.path())), Printed(Some(0), Vec::new()));
        format!("zip:{}", room.at(name))
    };
    let source = format!("mirror:{}", room.path().join("source").display());
    plant(&room.path().join("source"));
    for (spec, goes_past) in [
        ("memory:size=64M".to_owned(), true),
        (packed("-0", "stored.zip"), true),
        (packed("-6", "packed.zip"), true),
        // The kernel reads it as fast as anybody.
        (source, false),
    ] {
        wharf(&["mount", &spec, &room.point(), "--daemon"]).succeeded();
        let point = room.path().join("point");
        if spec.starts_with("memory") {
            plant(&point);
            // The kernel says in its own time that what was written is closed.
            eventually("nobody writes any more", || same(LINES[0], &point, When::Eager) > 10);
        }
        if goes_past {
            let reads: u64 = LINES.iter().map(|line| same(line, &point, When::Eager)).sum();
            assert!(reads > 20, "{spec}: {reads} reads");
        }
        // What is read once is not worth it.
        assert_eq!(same(LINES[0], &point, When::Wise), 0);
        let reads = same(READS_AGAIN, &point, When::Wise);
        assert!(if goes_past { reads > 20 } else { reads == 0 }, "{spec}: {reads} reads");
        wharf(&["unmount", &room.point()]).succeeded();
    }
}

#[test]
fn where_nobody_is_let_in_programs_read_by_the_kernel() {
    let room = Room::new();
    room.daemon(&["--no-direct"]);
    let point = room.path().join("point");
    plant(&point);
    for line in LINES {
        assert_eq!(same(line, &point, When::Eager), 0);
    }
    assert_eq!(same(READS_AGAIN, &point, When::Wise), 0);
    // And where there is no mount at all.
    plant(room.path());
    assert_eq!(same(READS_AGAIN, room.path(), When::Wise), 0);
}

/// Reads a file over and over until another appears, and a second longer; then opens it again.
const READER: &str = "
import os, sys, time
path, copy, stop = sys.argv[1:]
good, fd, end, count = open(copy, 'rb').read(), os.open(path, os.O_RDONLY), None, 0
while end is None or time.monotonic() < end:
    at = count * 65536 % (len(good) - 65536)
    try: got = os.pread(fd, 65536, at)
    except OSError as error: print('read:', error.errno); break
    if got != good[at:at + 65536]: print('wrong bytes at', at); break
    count += 1
    if count == 300: print('going', flush=True)
    if end is None and os.path.exists(stop): end = time.monotonic() + 1
try: os.close(os.open(path, os.O_RDONLY))
except OSError as error: print('open:', error.errno)
";

#[test]
fn a_program_whose_host_is_killed_reads_right_bytes_or_gets_an_error() {
    let room = Room::new();
    plant(room.path());
    let (copy, stop, report) =
        (room.path().join("tree/longer"), room.path().join("stop"), room.path().join("report"));
    room.daemon(&[]);
    let file = room.path().join("point/file");
    fs::copy(&copy, &file).expect("a copy");
    let at = room.path().join("point");
    let read_past = || same("cat file; cat file", &at, When::Eager) > 5;
    eventually("nobody writes any more", read_past);
    let mut program = command();
    program.args(["run", "--eager", "--report"]).arg(&report).args(["--", "python3", "-c", READER]);
    program.args([&file, &copy, &stop]).env("WHARF_PRELOAD", library());
    let started = program.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = started.expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut line = || lines.next().transpose().expect("text");
    assert_eq!(line().as_deref(), Some("going"));
    kill_process(room.host(), Signal::KILL).expect("it runs");
    fs::write(&stop, "").expect("a file");
    let rest: Vec<String> = std::iter::from_fn(line).collect();
    let text = rest.join(", ");
    // ENOTCONN, or ECONNABORTED for who was asking just then.
    let is_death =
        |line: &String| ["read: 107", "read: 103", "open: 107", "open: 103"].contains(&line.as_str());
    assert!(!rest.is_empty() && rest.iter().all(is_death), "{text}");
    assert!(child.wait().expect("a child").success());
    assert!(reads(&report) >= 200, "{} reads", reads(&report));
    // Who comes later finds what there is without the library.
    assert_eq!(same("cat file 2>&1", &at, When::Wise), 0);
}
