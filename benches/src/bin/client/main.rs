//! Does one work on one mounted directory for a while and prints what it measured as one line of JSON.
//!
//! `client WORK DIR SECONDS [SERVER-PID]`. Threads are left where the scheduler puts them. With a server's id, its
//! CPU time over exactly the measured span is part of the result. `client probe DIR` asks one question;
//! `client prepare DIR ARCHIVE` fills a directory to be mirrored.

mod measure;
mod names;
mod reads;
mod trees;

use std::path::Path;
use std::process::ExitCode;

use measure::{Bench, Measured};
use wharf_benches::works::{self, Work};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn run(work: Work, dir: &Path, bench: &Bench) -> Result<Measured> {
    match work {
        Work::Read { bytes, order, jobs } => reads::waiting(dir, bytes, order, jobs, bench),
        Work::ReadDeep { bytes, order, depth } => reads::deep(dir, bytes, order, depth, bench),
        Work::Fio { .. } => Err("fio does this work itself".into()),
        Work::FirstRead => reads::first(dir, bench),
        Work::CachedRead { bytes, order } => reads::cached(dir, bytes, order, bench),
        Work::CachedWrite { bytes } => reads::write(dir, bytes, bench),
        Work::Stat { threads } => names::stat(dir, threads, bench),
        Work::List { buffer_bytes } => names::list(dir, buffer_bytes, bench),
        Work::ListStat => names::list_stat(dir, bench),
        Work::Churn { threads } => names::churn(dir, threads, bench),
        Work::Pending { reads } => reads::pending(dir, reads, bench),
        Work::Unpack => trees::unpack(dir, bench),
        Work::Remove => trees::remove(dir, bench),
        Work::GitStatus => trees::git_status(dir, bench),
        Work::Search => trees::search(dir, bench),
    }
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let (Some(name), Some(dir)) = (given.first(), given.get(1)) else {
        eprintln!("usage: client WORK DIR [SECONDS] [SERVER-PID]");
        return ExitCode::from(2);
    };
    let dir = Path::new(dir);
    if name == "probe" {
        // The smallest question that reaches the server.
        return match std::fs::read_dir(dir).and_then(|mut names| names.next().transpose()) {
            Ok(_) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    if let ("prepare", Some(archive)) = (name.as_str(), given.get(2)) {
        return match trees::prepare(dir, Path::new(archive)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("client: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(named) = works::find(name) else {
        eprintln!("client: no work is called {name}");
        return ExitCode::from(2);
    };
    let seconds = given.get(2).and_then(|word| word.parse().ok()).unwrap_or(1.0);
    let server = given.get(3).and_then(|word| word.parse().ok());
    match run(named.work, dir, &Bench::new(seconds, named.fresh, server)) {
        Ok(measured) => {
            println!("{}", measured.json());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("client: {name}: {error}");
            ExitCode::FAILURE
        }
    }
}
