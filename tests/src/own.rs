//! The programs of this package, run by its tests as children.
//!
//! The tests themselves never touch a directory under test: a child does, in a directory of its own there, and
//! says with its exit code and its output how that went.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use crate::{
    child,
    dir::Dir,
    report::Outcome,
    supervise::{self, End},
};

/// A reason longer than this says more than anybody reads.
const REASON_BYTES_MAX: usize = 4000;

/// The program `name` of this package: this process itself, or beside it where cargo puts it.
pub fn program(name: &str) -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    if own.file_stem().is_some_and(|stem| stem == name) {
        return Ok(own);
    }
    // Tests lie in target/debug/deps, programs in target/debug; cargo builds a package's programs for its tests.
    let mut near = own.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    near.find(|program| program.is_file()).ok_or_else(|| {
        io::Error::other(format!(
            "the program {name} is not built; build it with: cargo build -p wharf-tests"
        ))
    })
}

/// Where cargo put this program's profile: tools that are built once can lie beside it.
pub fn target_directory() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // target/debug/program, or target/debug/deps/test.
    let profile = own.ancestors().skip(1).find(|directory| !directory.ends_with("deps"));
    let sentence = || io::Error::other(format!("{} does not lie in cargo's target directory", own.display()));
    profile.and_then(Path::parent).map(Path::to_owned).ok_or_else(sentence)
}

/// Cargo, without what the cargo that runs us has set for us. How it reaches its registry stays.
pub fn cargo() -> Command {
    const MEANT_FOR_US: &[&str] = &[
        "CARGO_BIN_",
        "CARGO_BUILD_",
        "CARGO_CRATE_",
        "CARGO_ENCODED_",
        "CARGO_INCREMENTAL",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_TARGET_",
        "RUSTC",
        "RUSTFLAGS",
    ];
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if MEANT_FOR_US.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&*name);
        }
    }
    command
}

/// Runs a child to its end or its deadline, with these variables beside those of this process.
pub fn outcome(
    program: &Path,
    arguments: &[&str],
    dir: &Path,
    deadline: Duration,
    environment: &[(&str, OsString)],
) -> Outcome {
    let mut command = Command::new(program);
    // From a working directory on a dead mount even a healthy process cannot start.
    command.current_dir("/").arg(dir).args(arguments).envs(environment.iter().cloned());
    let ended = match supervise::run(&mut command, deadline) {
        Ok(ended) => ended,
        Err(error) => return Outcome::Failed(format!("could not run {}: {error}", program.display())),
    };
    let said = last_bytes(&ended.output);
    match ended.end {
        End::Exited(0) => Outcome::Passed,
        End::Exited(_) if !said.is_empty() => Outcome::Failed(said.to_owned()),
        End::Exited(code) => Outcome::Failed(format!("ended with code {code} and no word")),
        End::Signaled(signal) => Outcome::Failed(format!("died of signal {signal} {said}")),
        End::Late => Outcome::Hung(format!("not over after {} s {said}", deadline.as_secs())),
        End::Hung => Outcome::Hung(format!("left processes that cannot be killed {said}")),
    }
}

fn last_bytes(text: &str) -> &str {
    let start = text.len().saturating_sub(REASON_BYTES_MAX);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[start..].trim()
}

/// The child's side: runs `work` in a fresh directory under `dir`, removes the directory, and says what was wrong.
pub fn run_here(dir: &Path, name: &str, work: impl FnOnce(&Dir)) -> ExitCode {
    begin();
    let own = dir.join(format!("{}.{}", name.replace("::", "."), child::own_pid()));
    let made =
        std::fs::create_dir(&own).map_err(|error| format!("could not make a directory to work in: {error}"));
    let done = made.and_then(|()| {
        let done = child::catch(|| work(&Dir::at(&own)));
        let cleaned = std::fs::remove_dir_all(&own).map_err(|error| format!("could not clean up: {error}"));
        done.and(cleaned)
    });
    end(done)
}

/// The same in the directory itself, in which nothing is made.
pub fn run_as_it_is(dir: &Path, work: impl FnOnce(&Dir)) -> ExitCode {
    begin();
    end(child::catch(|| work(&Dir::at(dir))))
}

fn begin() {
    child::remember_panics();
    // What a case expects of modes must not depend on who runs it.
    rustix::process::umask(rustix::fs::Mode::from(0o022));
}

fn end(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            print!("{reason}");
            ExitCode::FAILURE
        }
    }
}
