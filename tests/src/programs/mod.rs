//! Real programs, run in a directory as their users run them, and asked whether they are content.
//!
//! Each runs in a child with a deadline; whatever it starts is gone afterwards. A program that is not installed
//! is a failure that names the package: what was not tried must not look as if it held.

use std::{
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    dir::Dir,
    needs::Needs,
    own,
    report::{Line, Outcome, Report},
};

mod build;
mod databases;
mod load;
mod stores;
mod stress;
mod trees;

/// One program, or a few that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// What it is called here.
    pub name: &'static str,
    /// The commands it needs, each with its Debian package.
    tools: &'static [(&'static str, &'static str)],
    /// What the file system must offer.
    needs: Needs,
    /// How long it may take; on ext4 it takes less than a third of that.
    deadline_s: u64,
    /// Panics when something is wrong.
    run: fn(&Scene),
}

/// Where a program runs.
#[derive(Debug)]
pub struct Scene {
    /// A fresh directory on the file system under test.
    dir: Dir,
    /// A fresh directory elsewhere, as the other side of copies and comparisons.
    native: TempDir,
    /// What the file system under test offers.
    have: Needs,
}

impl Scene {
    /// The directory elsewhere.
    fn native(&self) -> Dir {
        Dir::at(self.native.path())
    }
}

/// All of them, the quick ones first.
pub fn all() -> impl Iterator<Item = Program> {
    [
        trees::WALK,
        trees::RSYNC,
        trees::TAR,
        stores::GIT,
        databases::SQLITE,
        load::MMAP,
        load::FIO,
        build::CARGO,
    ]
    .into_iter()
    .chain([stress::STRESS_NG])
}

/// Runs all programs that `have` allows in fresh directories under `dir`.
pub fn run(dir: &Path, have: Needs) -> Report {
    run_some(dir, have, |_| true)
}

/// Runs the programs that `pick` picks by name.
pub fn run_some(dir: &Path, have: Needs, pick: impl Fn(&str) -> bool) -> Report {
    let mut report = Report { subject: format!("programs in {}", dir.display()), lines: Vec::new() };
    let runner = own::program("programs");
    let without = Needs::all().difference(have).names();
    for program in all().filter(|program| pick(program.name)) {
        let missing = program.needs.difference(have);
        let absent: Vec<String> =
            program.tools.iter().filter_map(|(tool, package)| absent(tool, package)).collect();
        let deadline = Duration::from_secs(program.deadline_s);
        let started = Instant::now();
        let outcome = match &runner {
            _ if !missing.is_empty() => Outcome::Skipped(missing.names()),
            _ if !absent.is_empty() => Outcome::Failed(absent.join("; ")),
            Ok(runner) => {
                own::outcome(runner, &["--child", program.name, "--without", &without], dir, deadline, &[])
            }
            Err(error) => Outcome::Failed(error.to_string()),
        };
        report.lines.push(Line { name: program.name.to_owned(), outcome, took: started.elapsed() });
    }
    report
}

/// The child's side of [`run`]: one program, here and now.
pub fn run_here(dir: &Path, have: Needs, name: &str) -> ExitCode {
    match all().find(|program| program.name == name) {
        Some(program) => own::run_here(dir, name, |dir| {
            let native = tempfile::tempdir().expect("a directory elsewhere");
            (program.run)(&Scene { dir: dir.clone(), native, have });
        }),
        None => {
            print!("there is no program {name}");
            ExitCode::FAILURE
        }
    }
}

/// A sentence about a command that is not there.
fn absent(tool: &str, package: &str) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(tool).is_file());
    (!found).then(|| format!("{tool} is not installed; install it with: apt install {package}"))
}

/// A command to be run to its end, quietly, from the directory `at`.
#[derive(Debug)]
struct Tool {
    command: Command,
    words: String,
}

impl Tool {
    fn new(at: impl AsRef<Path>, program: &str) -> Self {
        Self::of(at, Command::new(program))
    }

    fn of(at: impl AsRef<Path>, mut command: Command) -> Self {
        command.current_dir(at).stdin(Stdio::null()).env("LC_ALL", "C");
        let words = command.get_program().to_string_lossy().into_owned();
        Tool { command, words }
    }

    fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.words.push(' ');
        self.words.push_str(&argument.as_ref().to_string_lossy());
        self.command.arg(argument);
        self
    }

    fn args(self, arguments: &[&str]) -> Self {
        arguments.iter().fold(self, Tool::arg)
    }

    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it; panics with what it said unless it ended well. Answers its standard output.
    #[track_caller]
    fn run(mut self) -> String {
        let words = &self.words;
        let ended = self.command.output().unwrap_or_else(|error| panic!("{words}: {error}"));
        let (said, complained) =
            (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success(), "{words}: {}\n{}\n{}", ended.status, said.trim(), complained.trim());
        said.into_owned()
    }

    /// Runs it, and panics if it had anything to say.
    #[track_caller]
    fn run_silently(self) {
        let words = self.words.clone();
        let said = self.run();
        assert!(said.is_empty(), "{words} found:\n{}", said.trim());
    }
}
