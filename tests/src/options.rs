//! The options that the programs of this package share: a directory, what it offers, and what to run.

use std::{path::PathBuf, process::ExitCode};

use crate::{needs::Needs, report::Report};

/// What was asked for on the command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory to work in.
    pub dir: PathBuf,
    /// What the file system there offers.
    pub have: Needs,
    /// Only what has this in its name.
    pub only: String,
    /// Whether the table also has what passed and what was skipped.
    pub show_all: bool,
    /// Run this one here and now, as a child of another run.
    pub child: Option<String>,
}

impl Options {
    /// How these options are written.
    pub const USAGE: &str = "DIR [--only PART-OF-A-NAME] [--without NEED,...] [--all]";

    /// Understands the arguments behind the name of the program.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let dir =
            arguments.next().filter(|dir| !dir.starts_with('-')).ok_or("there is no directory to work in")?;
        let mut options = Options {
            dir: dir.into(),
            have: Needs::all(),
            only: String::new(),
            show_all: false,
            child: None,
        };
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value"));
            match &*option {
                "--only" => options.only = value()?,
                "--without" => {
                    for name in value()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                        let need = Needs::from_name(name).ok_or_else(|| {
                            format!("there is no need {name}; there are: {}", Needs::all().names())
                        })?;
                        options.have -= need;
                    }
                }
                "--all" => options.show_all = true,
                "--child" => options.child = Some(value()?),
                other => return Err(format!("what is {other}?")),
            }
        }
        if options.child.is_none() {
            // A child gets a path that was resolved before, and may not survive asking about it.
            let dir = options.dir.canonicalize();
            options.dir = dir.map_err(|error| format!("{}: {error}", options.dir.display()))?;
        }
        Ok(options)
    }

    /// Prints a report; the exit code says whether all was well.
    pub fn print(&self, report: &Report) -> ExitCode {
        if report.lines.is_empty() {
            eprintln!("nothing has a name with {}", self.only);
            return ExitCode::from(2);
        }
        if self.show_all {
            print!("{report:#}")
        } else {
            print!("{report}")
        }
        ExitCode::from(u8::from(report.bad().next().is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::parse(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn needs_are_taken_away_by_name() {
        let options = parse(&["/", "--without", "LINKS,ACL"]).expect("good options");
        assert_eq!(options.have, Needs::all() - Needs::LINKS - Needs::ACL);
        assert!(parse(&["/", "--without", "WINGS"]).expect_err("no such need").contains("SYMLINKS"));
    }

    #[test]
    fn what_is_missing_or_unknown_is_said() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--only", "x"]).is_err());
        assert!(parse(&["/", "--only"]).is_err());
        assert!(parse(&["/", "--fast"]).expect_err("no such option").contains("--fast"));
        assert!(parse(&["/no/such/directory"]).expect_err("no such directory").contains("/no/such"));
    }
}
