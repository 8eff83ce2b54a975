//! The conformance cases, and how they are run on a directory.
//!
//! A case is a plain function that panics when its rule does not hold. It gets a fresh directory, a process of
//! its own with one thread, and a deadline. It knows nothing of FUSE: what cannot hold on some mount is a need
//! that the mount does not claim.

use std::{
    ffi::OsString,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{
    dir::Dir,
    needs::Needs,
    own,
    report::{Line, Outcome, Report},
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
pub mod prepared;
mod rename;
mod space;
mod special;
mod times;
mod truncate;
mod xattrs;

/// How long one case may take. On ext4 the slowest takes one or two seconds.
const DEADLINE: Duration = Duration::from_secs(40);

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
    (reading $run:ident $(, $($need:ident)|+)?) => {
        $crate::cases::Case {
            path: concat!(module_path!(), "::", stringify!($run)),
            needs: $crate::needs::Needs::empty()$($(.union($crate::needs::Needs::$need))+)?,
            run: $run,
        }
    };
    ($run:ident, $($need:ident)|+) => {
        case!(reading $run, WRITE | $($need)|+)
    };
}
use case;

/// All cases that make what they need, grouped by file.
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
    run_with(dir, have, &[], pick)
}

/// Runs all cases with these variables in their environment.
pub fn run_under(dir: &Path, have: Needs, environment: &[(&str, OsString)]) -> Report {
    run_with(dir, have, environment, |_| true)
}

/// Runs the cases that only read, on a directory that shows the tree that [`prepared::make`] makes.
pub fn run_prepared(dir: &Path, have: Needs) -> Report {
    run_these(prepared::all(), dir, have, &[])
}

fn run_with(
    dir: &Path,
    have: Needs,
    environment: &[(&str, OsString)],
    pick: impl Fn(&str) -> bool,
) -> Report {
    run_these(all().filter(|case| pick(case.name())), dir, have, environment)
}

fn run_these(
    cases: impl Iterator<Item = Case>,
    dir: &Path,
    have: Needs,
    environment: &[(&str, OsString)],
) -> Report {
    let mut report = Report { subject: format!("cases in {}", dir.display()), lines: Vec::new() };
    let runner = own::program("conformance");
    let mut hung = 0;
    for case in cases {
        let missing = case.needs.difference(have);
        let started = Instant::now();
        let outcome = match &runner {
            _ if !missing.is_empty() => Outcome::Skipped(missing.names()),
            _ if hung >= HUNG_MAX => Outcome::NotRun,
            Ok(runner) => own::outcome(runner, &["--child", case.name()], dir, DEADLINE, environment),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        hung += usize::from(matches!(outcome, Outcome::Hung(_)));
        report.lines.push(Line { name: case.name().to_owned(), outcome, took: started.elapsed() });
    }
    report
}

/// The child's side of a run: one case, here and now.
pub fn run_here(dir: &Path, name: &str) -> ExitCode {
    let called = |case: &Case| case.name() == name;
    if let Some(case) = all().find(called) {
        own::run_here(dir, name, case.run)
    } else if let Some(case) = prepared::all().find(called) {
        own::run_as_it_is(dir, case.run)
    } else {
        print!("there is no case {name}");
        ExitCode::FAILURE
    }
}
