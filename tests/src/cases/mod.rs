//! The conformance cases, and how they are run on a directory.
//!
//! A case is a plain function that panics when its rule does not hold. It gets a fresh directory, a process of
//! its own with one thread, and a deadline. It knows nothing of FUSE: what cannot hold on some mount is a need
//! that the mount does not claim.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    child,
    dir::Dir,
    needs::Needs,
    report::{Line, Outcome, Report},
    supervise::{self, End},
};

mod bytes;
mod concurrency;
mod directories;
mod lifetime;
mod links;
mod locks;
mod mmap;
mod names;
mod open;
mod permissions;
mod rename;
mod space;
mod special;
mod times;
mod truncate;
mod xattrs;

/// How long one case may take. On ext4 the slowest takes well under a second.
const DEADLINE: Duration = Duration::from_secs(20);

/// After so many hung cases the mount is dead, and asking on would only take deadlines.
const HUNG_MAX: usize = 3;

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// File and function, as `module_path!` and `stringify!` give them.
    path: &'static str,
    /// What a file system must offer for the rule to apply.
    pub needs: Needs,
    /// Panics when the rule does not hold.
    pub run: fn(&Dir),
}

impl Case {
    /// Its group and its rule: `names::a_name_may_have_255_bytes`.
    pub fn name(&self) -> &'static str {
        self.path.strip_prefix("wharf_tests::cases::").unwrap_or(self.path)
    }
}

/// Makes a line of a table: `case!(the_function)` or `case!(the_function, LINKS | SYMLINKS)`.
macro_rules! case {
    ($run:ident) => {
        case!($run, WRITE)
    };
    ($run:ident, $($need:ident)|+) => {
        $crate::cases::Case {
            path: concat!(module_path!(), "::", stringify!($run)),
            needs: $crate::needs::Needs::WRITE$(.union($crate::needs::Needs::$need))+,
            run: $run,
        }
    };
}
use case;

/// All cases, grouped by file.
pub fn all() -> impl Iterator<Item = Case> {
    let groups: &[&[Case]] = &[
        names::CASES,
        open::CASES,
        bytes::CASES,
        truncate::CASES,
        rename::CASES,
        links::CASES,
        directories::CASES,
        times::CASES,
        permissions::CASES,
        xattrs::CASES,
        locks::CASES,
        space::CASES,
        special::CASES,
        mmap::CASES,
        lifetime::CASES,
        concurrency::CASES,
    ];
    groups.concat().into_iter()
}

/// Runs all cases that `have` allows in fresh directories under `dir`, each in a child process.
///
/// This process itself never touches `dir`, so a dead mount costs deadlines, and no more.
pub fn run(dir: &Path, have: Needs) -> Report {
    run_some(dir, have, |_| true)
}

/// Runs the cases that `pick` picks by name.
pub fn run_some(dir: &Path, have: Needs, pick: impl Fn(&str) -> bool) -> Report {
    let mut report = Report { subject: format!("cases in {}", dir.display()), lines: Vec::new() };
    let runner = conformance_program();
    let mut hung = 0;
    for case in all().filter(|case| pick(case.name())) {
        let missing = case.needs.difference(have);
        let started = Instant::now();
        let outcome = match &runner {
            _ if !missing.is_empty() => Outcome::Skipped(missing.names()),
            _ if hung >= HUNG_MAX => Outcome::NotRun,
            Ok(runner) => run_in_child(runner, dir, &case),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        hung += usize::from(matches!(outcome, Outcome::Hung(_)));
        report.lines.push(Line { name: case.name().to_owned(), outcome, took: started.elapsed() });
    }
    report
}

fn run_in_child(runner: &Path, dir: &Path, case: &Case) -> Outcome {
    let mut command = Command::new(runner);
    // From a working directory on a dead mount even a healthy process cannot start.
    command.current_dir("/").arg(dir).args(["--child", case.name()]);
    let Ok(ended) = supervise::run(&mut command, DEADLINE) else {
        return Outcome::Failed(format!("could not start {}", runner.display()));
    };
    match ended.end {
        End::Exited(0) => Outcome::Passed,
        End::Exited(_) if !ended.output.is_empty() => Outcome::Failed(ended.output),
        End::Exited(code) => Outcome::Failed(format!("ended with code {code} and no word")),
        End::Signaled(signal) => Outcome::Failed(format!("died of signal {signal} {}", ended.output)),
        End::Late => Outcome::Hung(format!("not over after {} s", DEADLINE.as_secs())),
        End::Hung => Outcome::Hung("not over at the deadline, and cannot be killed".to_owned()),
    }
}

/// The child's side: runs one case in a fresh directory under `dir`, removes the directory, and says what was wrong.
pub fn run_here(dir: &Path, name: &str) -> Result<(), String> {
    let case = all().find(|case| case.name() == name).ok_or_else(|| format!("there is no case {name}"))?;
    child::remember_panics();
    // What a case expects of modes must not depend on who runs it.
    rustix::process::umask(rustix::fs::Mode::from(0o022));
    let own = dir.join(format!("{}.{}", name.replace("::", "."), child::own_pid()));
    let done = child::catch(|| {
        // The name is ASCII and under 255 bytes; a failure here is the file system's.
        std::fs::create_dir(&own)
            .unwrap_or_else(|error| panic!("could not make a directory for the case: {error}"));
        (case.run)(&Dir::at(&own));
    });
    let cleaned = std::fs::remove_dir_all(&own).map_err(|error| format!("could not clean up: {error}"));
    done.and(cleaned)
}

/// The program `conformance` of this package: this process itself, or beside it where cargo puts it.
fn conformance_program() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    if own.file_stem().is_some_and(|stem| stem == "conformance") {
        return Ok(own);
    }
    // Tests lie in target/debug/deps, programs in target/debug; cargo builds a package's programs for its tests.
    let near = own.ancestors().skip(1).take(2).map(|directory| directory.join("conformance"));
    near.into_iter().find(|program| program.is_file()).ok_or_else(|| {
        io::Error::other("the program conformance is not built; build it with: cargo build -p wharf-tests")
    })
}
