//! Runs real programs in a directory, by hand or as the child of a test.

use std::process::ExitCode;

use wharf_tests::{options::Options, programs};

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(Options { dir, have, child: Some(name), .. }) => programs::run_here(&dir, have, &name),
        Ok(options) => {
            let report = programs::run_some(&options.dir, options.have, |name| name.contains(&options.only));
            options.print(&report)
        }
        Err(error) => {
            let names: Vec<&str> = programs::all().map(|program| program.name).collect();
            eprintln!(
                "programs: {error}\nusage: programs {}\nthere are: {}",
                Options::USAGE,
                names.join(", ")
            );
            ExitCode::from(2)
        }
    }
}
