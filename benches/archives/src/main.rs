//! Zip archives mounted by Wharf, fuse-zip and archivemount: `archives WHARF [ROUNDS [large]]`, as root.
//!
//! Each round mounts each archive with each server, one after another, and does the same works. A ratio is formed
//! within a round; the table has the medians. See docs/notes/0001-measuring.md for why.

mod makes;
mod server;
mod works;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use makes::Archives;
use server::{SERVERS, Server};
use works::Sample;

fn main() -> Result<(), Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let wharf = given.next().ok_or("usage: archives WHARF [ROUNDS]")?;
    let rounds: usize = given.next().map_or(Ok(3), |rounds| rounds.parse())?;
    let only_large = given.next().is_some_and(|only| only == "large");
    let archives = Archives::make()?;
    let mut table = Table::default();
    for round in 0..rounds {
        for at in 0..SERVERS.len() {
            // Each comes first in turn.
            let server = SERVERS[(at + round) % SERVERS.len()];
            for sample in measure(server, Path::new(&wharf), &archives, only_large)? {
                table.add(server, round, sample);
            }
        }
        eprintln!("round {} of {rounds} is done", round + 1);
    }
    if rounds > 0 {
        table.print();
    }
    Ok(())
}

/// What does not work is told, and has no value in the table.
fn measure(
    kind: server::Kind,
    wharf: &Path,
    archives: &Archives,
    only_large: bool,
) -> Result<Vec<Sample>, Box<dyn Error>> {
    let mut samples = Vec::new();
    if !only_large {
        small(kind, wharf, archives, &mut samples)?;
    }
    let mut take = taking(kind, &mut samples);
    let (server, _) = Server::mount(kind, wharf, &archives.large)?;
    let file = server.point().join("large");
    let work = "read 1 GiB once";
    take(work, works::read_once(work, &file));
    let work = "4 KiB anywhere in it, after that";
    take(work, works::random(work, &file));
    let work = "4 KiB anywhere in 64 MiB of it, once more";
    take(work, works::random_again(work, &file));
    let work = "1 GiB of these 64 MiB, 1 MiB at a time";
    take(work, works::sequential_again(work, &file));
    take("memory", Ok(works::memory("memory after reading", &server)));
    drop(take);
    server.end()?;
    Ok(samples)
}

fn taking(kind: server::Kind, samples: &mut Vec<Sample>) -> impl FnMut(&str, std::io::Result<Sample>) {
    move |work, sample| match sample {
        Ok(sample) => samples.push(sample),
        Err(error) => eprintln!("{}: {work}: {error}", kind.name()),
    }
}

/// Archives of many members.
fn small(
    kind: server::Kind,
    wharf: &Path,
    archives: &Archives,
    samples: &mut Vec<Sample>,
) -> Result<(), Box<dyn Error>> {
    let mut take = taking(kind, samples);
    let (server, took) = Server::mount(kind, wharf, &archives.many)?;
    let work = "mount 100,000 entries";
    take(work, Ok(Sample { work, unit: "ms", value: took.as_secs_f64() * 1e3 }));
    take("memory", Ok(works::memory("memory after mounting", &server)));
    let work = "list them, with attributes";
    take(work, works::list(work, server.point()));
    take("memory", Ok(works::memory("memory after listing", &server)));
    server.end()?;
    let (server, _) = Server::mount(kind, wharf, &archives.files)?;
    let work = "read 5,000 files once";
    take(work, works::read_all(work, server.point()));
    server.end()?;
    Ok(())
}

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
                let values = self.values.get(&(work, server));
                print!("| {:.1} ", median(values.into_iter().flat_map(BTreeMap::values).copied()));
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
