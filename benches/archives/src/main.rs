//! Zip archives mounted by Wharf, fuse-zip and archivemount: `archives WHARF [ROUNDS [large]]`, as root.
//!
//! Each round mounts each archive with each server, one after another, and does the same works. A ratio is formed
//! within a round; the table has the medians. See docs/notes/0001-measuring.md for why.

mod makes;
mod server;
mod works;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use makes::Archives;
use server::{SERVERS, Server};
use works::Sample;

fn main() -> Result<(), Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let wharf = given.next().ok_or("usage: archives WHARF [ROUNDS]")?;
    let rounds: usize = given.next().map_or(Ok(3), |rounds| rounds.parse())?;
    let only_large = given.next().is_some_and(|only| only == "large");
    let archives = Archives::make()?;
    let (mut table, mut attempts) = (Table::default(), Attempts::default());
    for round in 0..rounds {
        for at in 0..SERVERS.len() {
            // Each comes first in turn.
            let server = SERVERS[(at + round) % SERVERS.len()];
            for sample in measure(server, Path::new(&wharf), &archives, only_large, &mut attempts) {
                table.add(server, round, sample);
            }
        }
        // After each, so that who loses patience has what there is.
        println!("\nafter {} of {rounds} rounds:\n", round + 1);
        table.print();
    }
    Ok(())
}

/// What a server could not do within its time is told, is not tried again, and has no value in the table.
#[derive(Default)]
struct Attempts {
    failed: BTreeSet<(server::Kind, &'static str)>,
}

impl Attempts {
    /// Mounts an archive and does something with it. What worked before an error counts.
    fn with(
        &mut self,
        kind: server::Kind,
        archive: &'static str,
        mount: impl FnOnce() -> Result<(Server, Duration), Box<dyn Error>>,
        work: impl FnOnce(&Server, Duration) -> io::Result<()>,
    ) {
        if self.failed.contains(&(kind, archive)) {
            return;
        }
        let done = mount().and_then(|(server, took)| {
            let worked = work(&server, took);
            server.end()?;
            Ok(worked?)
        });
        if let Err(error) = done {
            eprintln!("{} with {archive}: {error}; not tried again", kind.name());
            self.failed.insert((kind, archive));
        }
    }
}

fn measure(
    kind: server::Kind,
    wharf: &Path,
    archives: &Archives,
    only_large: bool,
    attempts: &mut Attempts,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    if !only_large {
        small(kind, wharf, archives, attempts, &mut samples);
    }
    attempts.with(
        kind,
        "a member of 1 GiB",
        || Server::mount(kind, wharf, &archives.large),
        |server, _| {
            let file = server.point().join("large");
            samples.push(works::read_once("read 1 GiB once", &file)?);
            samples.push(works::random("4 KiB anywhere in it, after that", &file)?);
            samples.push(works::random_again("4 KiB anywhere in 64 MiB of it, once more", &file)?);
            samples.push(works::sequential_again("1 GiB of these 64 MiB, 1 MiB at a time", &file)?);
            samples.push(works::memory("memory after reading", server));
            Ok(())
        },
    );
    samples
}

/// Archives of many members.
fn small(
    kind: server::Kind,
    wharf: &Path,
    archives: &Archives,
    attempts: &mut Attempts,
    samples: &mut Vec<Sample>,
) {
    for entries in [&MANY, &FEWER] {
        let [mount, mounted, list, listed] = entries.works;
        attempts.with(
            kind,
            entries.archive,
            || Server::mount(kind, wharf, archives.of(entries.count)),
            |server, took| {
                samples.push(Sample { work: mount, unit: "ms", value: took.as_secs_f64() * 1e3 });
                samples.push(works::memory(mounted, server));
                samples.push(works::list(list, server.point(), entries.count)?);
                samples.push(works::memory(listed, server));
                Ok(())
            },
        );
    }
    attempts.with(
        kind,
        "5,000 files",
        || Server::mount(kind, wharf, &archives.files),
        |server, _| {
            samples.push(works::read_all("read 5,000 files once", server.point())?);
            Ok(())
        },
    );
}

/// An archive of many entries, and what is measured with it.
struct Entries {
    archive: &'static str,
    count: u64,
    /// Mounting, the memory after it, listing, and the memory after that.
    works: [&'static str; 4],
}

const MANY: Entries = Entries {
    archive: "100,000 entries",
    count: 100_000,
    works: [
        "mount 100,000 entries",
        "memory after mounting them",
        "list them, with attributes",
        "memory after listing them",
    ],
};

/// For who cannot mount as many in his time.
const FEWER: Entries = Entries {
    archive: "10,000 entries",
    count: 10_000,
    works: [
        "mount 10,000 entries",
        "memory after mounting 10,000",
        "list 10,000, with attributes",
        "memory after listing 10,000",
    ],
};

/// Samples by work, then by server, a value for each round.
#[derive(Default)]
struct Table {
    works: Vec<(&'static str, &'static str)>,
    values: BTreeMap<(&'static str, server::Kind), BTreeMap<usize, f64>>,
}

impl Table {
    fn add(&mut self, server: server::Kind, round: usize, sample: Sample) {
        if !self.works.iter().any(|(work, _)| *work == sample.work) {
            self.works.push((sample.work, sample.unit));
        }
        self.values.entry((sample.work, server)).or_default().insert(round, sample.value);
    }

    /// Less is better everywhere: a ratio above 1 is in Wharf's favour.
    fn print(&self) {
        print!("| work | unit ");
        SERVERS.iter().for_each(|server| print!("| {} ", server.name()));
        println!("| ratio to fuse-zip | ratio to archivemount |\n|---|---|---|---|---|---|---|");
        for &(work, unit) in &self.works {
            print!("| {work} | {unit} ");
            for server in SERVERS {
                match self.values.get(&(work, server)) {
                    Some(values) => print!("| {:.1} ", median(values.values().copied())),
                    None => print!("| — "),
                }
            }
            for peer in [server::Kind::FuseZip, server::Kind::ArchiveMount] {
                let of = |server| self.values.get(&(work, server));
                let (Some(own), Some(peers)) = (of(server::Kind::Wharf), of(peer)) else {
                    print!("| ");
                    continue;
                };
                let ratios: Vec<f64> =
                    own.iter().filter_map(|(round, own)| Some(peers.get(round)? / own.max(1e-9))).collect();
                let (least, most) =
                    ratios.iter().fold((f64::MAX, 0.0f64), |(a, b), r| (a.min(*r), b.max(*r)));
                print!("| {:.2} [{least:.2}..{most:.2}] ", median(ratios.into_iter()));
            }
            println!("|");
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
