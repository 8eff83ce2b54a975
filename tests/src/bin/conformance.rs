//! Runs the conformance cases on a directory, by hand or as the child of a test.

use std::process::ExitCode;

use wharf_tests::{cases, dir::Dir, needs::Needs, options::Options};

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    match first.as_deref() {
        Some("--list") => {
            for case in cases::all().chain(cases::prepared::all()) {
                println!("{} ({})", case.name(), case.needs.names());
            }
            return ExitCode::SUCCESS;
        }
        Some("--prepare") => {
            let Some(dir) = std::env::args().nth(2) else { return usage("there is no directory to prepare") };
            cases::prepared::make(&Dir::at(dir), Needs::all());
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let prepared = first.as_deref() == Some("--prepared");
    match Options::parse(std::env::args().skip(1 + usize::from(prepared))) {
        Ok(Options { dir, child: Some(name), .. }) => cases::run_here(&dir, &name),
        Ok(options) if prepared => options.print(&cases::run_prepared(&options.dir, options.have)),
        Ok(options) => {
            let report = cases::run_some(&options.dir, options.have, |name| name.contains(&options.only));
            options.print(&report)
        }
        Err(error) => usage(&error),
    }
}

fn usage(error: &str) -> ExitCode {
    eprintln!(
        "conformance: {error}\nusage: conformance [--prepared] {}\n       conformance --prepare DIR\n       \
         conformance --list",
        Options::USAGE
    );
    ExitCode::from(2)
}
