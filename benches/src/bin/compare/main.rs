//! Runs every work on every server, in turn, round after round, and prints what Wharf's ratio to its peers is.
//!
//! `compare [--rounds 5] [--seconds 1] [--only WORK,…] [--servers NAME,…] [--calm 0.1]
//! [--patience 4] [--tries 3] [--no-idle]`; a work or a server is meant by the start of its name. Needs root, and the programs that `benches/run` builds.
//!
//! Within a round all servers are mounted, and a work goes from one to the next before the next work begins: A B C,
//! not A A A B B B. What the neighbours of a busy machine do then hits all alike, and ratios are taken round by round.

mod client;
mod idle;
mod mounts;
mod options;
mod places;
mod report;
mod servers;

use std::error::Error;
use std::path::Path;

use tiny::Caching;
use wharf_benches::works::{self, Named, Served, Work};

use client::Client;
use options::Options;
use report::Results;
use servers::{Kind, Running, SERVERS, Server};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Each needs servers started for it.
const GROUPS: [Served; 5] = [
    Served::Tiny(Caching::Kept),
    Served::Tiny(Caching::Attr0),
    Served::Tiny(Caching::Nothing),
    Served::Tiny(Caching::Brief),
    Served::Mirror,
];

fn can(server: &Server, work: &Named) -> bool {
    match work.work {
        Work::Pending { .. } => server.kind != Kind::Native,
        // It has only the directories: the disc is not what is compared.
        Work::Read { .. }
        | Work::ReadDeep { .. }
        | Work::Fio { .. }
        | Work::FirstRead
        | Work::CachedRead { .. } => server.name != "ext4",
        _ => true,
    }
}

/// One work on all servers that are up. A server that hangs is taken down and missing from there on.
fn measure(work: &Named, up: &mut Vec<Running>, client: &Client, options: &Options, results: &mut Results) {
    let renew = |running: &mut Running| running.renew(work.served, &options.places);
    let mut at = 0;
    while at < up.len() {
        let running = &mut up[at];
        if !can(running.server, work) {
            at += 1;
            continue;
        }
        let name = running.server.name;
        eprint!("\r\x1b[K{}: {name} ", work.name);
        match client.measure(work, running, renew) {
            Ok(sample) => {
                results.add(work.name, name, sample);
                at += 1;
            }
            Err(error) => {
                eprintln!("\r\x1b[K{}: {name}: {error}", work.name);
                results.failed(work.name, name, &error.to_string());
                if error.hung {
                    up.remove(at).take_down();
                } else {
                    at += 1;
                }
            }
        }
    }
}

fn round(number: usize, group: Served, works: &[&Named], options: &Options, results: &mut Results) {
    let mut up = Vec::new();
    let mut order: Vec<&Server> =
        SERVERS.iter().filter(|server| server.serves(group) && options.wants_server(server)).collect();
    let first = number % order.len().max(1);
    order.rotate_left(first);
    for server in order {
        match Running::start(server, group, &options.places) {
            Ok(running) => up.push(running),
            Err(error) => {
                eprintln!("\r\x1b[K{}: {error}", server.name);
                results.failed("start", server.name, &error.to_string());
            }
        }
    }
    if number == 0 && matches!(group, Served::Tiny(Caching::Kept) | Served::Mirror) && options.idle {
        results.idle.extend(idle::measure(&up));
    }
    let client = Client::new(options);
    for work in works {
        measure(work, &mut up, &client, options, results);
    }
    for running in up {
        running.take_down();
    }
}

fn run() -> Result<()> {
    let options = Options::parse()?;
    mounts::allow_uring()?;
    options.places.prepare()?;
    let chosen: Vec<&Named> = works::WORKS.iter().filter(|work| options.wants_work(work.name)).collect();
    let mut results = Results::new(&options);
    for number in 0..options.rounds {
        for group in GROUPS {
            let works: Vec<&Named> = chosen.iter().copied().filter(|work| work.served == group).collect();
            if !works.is_empty() {
                round(number, group, &works, &options, &mut results);
            }
        }
        eprintln!("\r\x1b[Kround {} of {}", number + 1, options.rounds);
        // After each round, so that a run that is broken off leaves what it has measured.
        results.save(&options.places.out)?;
    }
    options.places.clean();
    println!("{}", results.markdown());
    eprintln!("also in {}", show(&options.places.out.join("compare.json")));
    Ok(())
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
