//! Runs pjdfstest on a directory, and compares it with a control if there is one.
//!
//! `pjd DIR [--control DIR] [--user]`

use std::{path::PathBuf, process::ExitCode};

use wharf_tests::pjd::{self, Table, Who};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pjd: {error}\nusage: pjd DIR [--control DIR] [--user]");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let (mut dir, mut control, mut who) = (None, None, Who::Root);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--control" => control = Some(arguments.next().ok_or("--control needs a directory")?),
            "--user" => who = Who::Nobody,
            other if other.starts_with('-') || dir.is_some() => return Err(format!("what is {other}?")),
            _ => dir = Some(argument),
        }
    }
    let run = |dir: &str| {
        let path = PathBuf::from(dir).canonicalize().map_err(|error| format!("{dir}: {error}"))?;
        let results = pjd::run(&path, who).map_err(|error| error.to_string())?;
        print!("{dir}: {results}");
        Ok::<_, String>(results)
    };
    let results = run(&dir.ok_or("there is no directory to work in")?)?;
    let bad = match control {
        None => !results.failed.is_empty(),
        Some(control) => {
            let worse = results.worse_than(&run(&control)?);
            println!("{} pass in the control and not here", worse.len());
            print!("{}", Table(&worse));
            !worse.is_empty()
        }
    };
    Ok(ExitCode::from(u8::from(bad)))
}
