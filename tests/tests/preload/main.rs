//! Programs that know nothing of Wharf, run by themselves and with the library that reads past the kernel. Nobody
//! may see a difference.
//!
//! The library is eager here: it attaches whatever is read twice, and waits for what its host does not keep yet. Each
//! test also asks it whether it did anything, for a library that does nothing passes every comparison.

#[path = "../volumes/fixture.rs"]
#[expect(dead_code, reason = "the tests of volumes use more of it")]
mod fixture;
mod programs;
mod resident;
mod scenes;
mod served;
mod stores;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use wharf_tests::supervise::{self, End};

/// Longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Bytes of the file that is read most, in which each aligned word of four bytes says its own number.
const LENGTH: usize = 8 << 20;

/// What a program came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    code: i32,
    output: String,
}

/// What the library says it did, in all processes of a program together.
#[derive(Debug, Default)]
struct Report {
    files: u64,
    /// Reads of files that have no host, by the library itself.
    stand_ins: u64,
    /// Reads past the kernel, and their bytes.
    reads: u64,
    bytes: u64,
}

/// Where the library was built: cargo puts it beside the tests, which depend on its package.
fn library() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let near = own.ancestors().skip(1).take(2).map(|place| place.join("libwharf_preload.so"));
    let found = near.into_iter().find(|library| library.is_file());
    found.expect("the library is built; build it with: cargo build -p wharf-preload")
}

fn run(mut program: Command) -> Outcome {
    let ended = supervise::run(&mut program, DEADLINE).expect("it starts");
    match ended.end {
        End::Exited(code) => Outcome { code, output: ended.output },
        end => panic!("{program:?}: {end:?}: {}", ended.output),
    }
}

/// Runs a program with the library before it.
fn run_preloaded(mut program: Command) -> (Outcome, Report) {
    let room = tempfile::tempdir().expect("a directory");
    let report = room.path().join("report");
    program.env("LD_PRELOAD", library()).env("WHARF_RUN_EAGER", "1").env("WHARF_RUN_REPORT", &report);
    let outcome = run(program);
    (outcome, Report::read(&report))
}

/// Runs a program both ways, and returns what the library did.
#[track_caller]
fn same(program: impl Fn() -> Command) -> Report {
    let alone = run(program());
    let (preloaded, report) = run_preloaded(program());
    assert_eq!(preloaded, alone, "{:?}", program());
    report
}

impl Report {
    fn read(path: &Path) -> Report {
        let mut report = Report::default();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |name: &str| {
                let at = words.iter().position(|word| *word == name).expect(line);
                words[at + 1].parse::<u64>().expect(line)
            };
            report.files += number("files");
            report.stand_ins += number("stand-ins");
            report.reads += number("reads");
            report.bytes += number("bytes");
        }
        report
    }
}

/// Words of four bytes, from `first` on.
fn words(first: u32, bytes: usize) -> Vec<u8> {
    (first..).take(bytes / 4).flat_map(u32::to_ne_bytes).collect()
}

fn command(program: impl AsRef<OsStr>, arguments: &[&str], at: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(at).env("LC_ALL", "C");
    command
}

/// A directory outside of any mount.
fn native() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}
