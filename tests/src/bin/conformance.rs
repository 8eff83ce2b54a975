//! Runs the conformance cases on a directory, by hand or as the child of a test.

use std::process::ExitCode;

use wharf_tests::{cases, options::Options};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--list") {
        for case in cases::all() {
            println!("{} ({})", case.name(), case.needs.names());
        }
        return ExitCode::SUCCESS;
    }
    match Options::parse(std::env::args().skip(1)) {
        Ok(Options { dir, child: Some(name), .. }) => cases::run_here(&dir, &name),
        Ok(options) => {
            let report = cases::run_some(&options.dir, options.have, |name| name.contains(&options.only));
            options.print(&report)
        }
        Err(error) => {
            eprintln!(
                "conformance: {error}\nusage: conformance {}\n       conformance --list",
                Options::USAGE
            );
            ExitCode::from(2)
        }
    }
}
