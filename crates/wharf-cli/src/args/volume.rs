//! The commands that use a volume without going through its mount.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};

use crate::address::Address;

/// Lists what is in a directory of a volume, without going through its mount
///
/// VOLUME is where it is mounted, as `wharf list` shows it, or the socket of its host, as `wharf list -v` shows it.
/// For the volume's owner and root. If the last name of the path has *, ? or [ in it, it is a pattern (\ takes what
/// follows as it is): the names that it describes are listed, those of directories too. The host looks for them.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// Tell mode, size and time of each
    #[arg(long, short)]
    pub(crate) long: bool,

    /// List names that begin with a dot too
    #[arg(long, short)]
    pub(crate) all: bool,

    /// What to list; nothing behind the colon is the root
    #[arg(value_name = "VOLUME:PATH", value_parser = address())]
    pub(crate) address: Address,
}

/// Prints files of a volume, without going through its mount
///
/// For the volume's owner and root. The first that cannot be read ends it.
#[derive(Debug, clap::Args)]
pub(crate) struct Cat {
    /// What to print
    #[arg(value_name = "VOLUME:PATH", required = true, value_parser = address())]
    pub(crate) addresses: Vec<Address>,
}

/// Copies files out of a volume, without going through its mount
///
/// For the volume's owner and root. A file has its name when all of it is there; if that fails nothing is left of it.
/// Permissions are copied as far as the umask lets them, times and owners are not.
#[derive(Debug, clap::Args)]
pub(crate) struct Cp {
    /// Copy directories with everything in them; links in them stay links
    #[arg(long, short)]
    pub(crate) recursive: bool,

    /// Replace files that are there, and go on in directories that are
    #[arg(long, short)]
    pub(crate) force: bool,

    /// What to copy
    #[arg(value_name = "VOLUME:PATH", required = true, value_parser = address())]
    pub(crate) addresses: Vec<Address>,

    /// Where to: a directory that is there, or the name of the copy
    pub(crate) local: PathBuf,
}

/// Tells what a file of a volume is like, without going through its mount
///
/// For the volume's owner and root. Of a symbolic link it tells about the link.
#[derive(Debug, clap::Args)]
pub(crate) struct Stat {
    /// Which one
    #[arg(value_name = "VOLUME:PATH", value_parser = address())]
    pub(crate) address: Address,
}

fn address() -> ValueParser {
    OsStringValueParser::new().try_map(|typed: OsString| Address::parse(typed)).into()
}
