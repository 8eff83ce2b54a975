//! Runs the conformance cases on a directory, by hand or as the child of a test.
//!
//! `conformance DIR [--only NAME] [--without NEED,...] [--all]`, and `conformance --list`.

use std::{path::Path, process::ExitCode};

use wharf_tests::{cases, needs::Needs};

const USAGE: &str = "usage: conformance DIR [--only PART-OF-A-NAME] [--without NEED,...] [--all]
       conformance --list";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--list"] => {
            for case in cases::all() {
                println!("{} ({})", case.name(), case.needs.names());
            }
            ExitCode::SUCCESS
        }
        [dir, "--child", name] => match cases::run_here(Path::new(dir), name) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                print!("{reason}");
                ExitCode::FAILURE
            }
        },
        [dir, ref options @ ..] if !dir.starts_with('-') => {
            by_hand(Path::new(dir), options).unwrap_or_else(|error| {
                eprintln!("conformance: {error}\n{USAGE}");
                ExitCode::from(2)
            })
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn by_hand(dir: &Path, options: &[&str]) -> Result<ExitCode, String> {
    let (mut have, mut only, mut show_all) = (Needs::all(), "", false);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut value = || options.next().copied().ok_or_else(|| format!("{option} needs a value"));
        match *option {
            "--only" => only = value()?,
            "--without" => {
                for name in value()?.split(',') {
                    have -= Needs::from_name(name).ok_or_else(|| {
                        format!("there is no need {name}; there are: {}", Needs::all().names())
                    })?;
                }
            }
            "--all" => show_all = true,
            other => return Err(format!("what is {other}?")),
        }
    }
    let dir = dir.canonicalize().map_err(|error| format!("{}: {error}", dir.display()))?;
    let report = cases::run_some(&dir, have, |name| name.contains(only));
    if report.lines.is_empty() {
        return Err(format!("no case has a name with {only}"));
    }
    if show_all {
        print!("{report:#}")
    } else {
        print!("{report}")
    }
    Ok(ExitCode::from(u8::from(report.bad().next().is_some())))
}
