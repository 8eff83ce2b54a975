//! What the direct path is worth: `direct WHAT [DIRECTORY]`, see the subcommands.

mod resident;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let what = arguments.next().unwrap_or_default();
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let result = match what.to_str() {
        Some("resident") => resident::run(&directory),
        _ => {
            eprintln!("usage: direct resident [DIRECTORY on a disc's file system]");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("direct: {error}");
            ExitCode::FAILURE
        }
    }
}
