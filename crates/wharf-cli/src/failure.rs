//! What the command ends with when it does not do what it was asked: one sentence and an exit code.

use std::fmt;
use std::process::ExitCode;

/// Why the command did not do what it was asked. The sentence is printed once, by `main`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What was typed makes no sense.
    Usage(String),
    /// It made sense and did not work.
    Operation(String),
    /// Another program was to be run, and there is none of this name.
    NotFound(String),
    /// Another program was to be run, and cannot be.
    NotRun(String),
    /// It did not work, and somebody else has said so.
    Told,
}

impl Failure {
    /// An operation that failed, in one sentence with the way out.
    pub(crate) fn operation(sentence: impl fmt::Display) -> Failure {
        Failure::Operation(sentence.to_string())
    }

    /// What a shell sees.
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Failure::Operation(_) | Failure::Told => ExitCode::from(1),
            Failure::Usage(_) => ExitCode::from(2),
            // As shells have it.
            Failure::NotRun(_) => ExitCode::from(126),
            Failure::NotFound(_) => ExitCode::from(127),
        }
    }

    /// What a person sees, if it was not said before.
    pub(crate) fn sentence(&self) -> Option<&str> {
        match self {
            Failure::Usage(sentence)
            | Failure::Operation(sentence)
            | Failure::NotFound(sentence)
            | Failure::NotRun(sentence) => Some(sentence),
            Failure::Told => None,
        }
    }
}

impl From<wharf_fuse::mount::Error> for Failure {
    fn from(error: wharf_fuse::mount::Error) -> Failure {
        Failure::operation(error)
    }
}
