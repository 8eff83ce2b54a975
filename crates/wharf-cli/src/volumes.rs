//! Volumes that are used without going through their mounts: which there are, and what is found in them.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use wharf_direct::client::{Node, Reader, Record, Volume};
use wharf_fuse::mount::{self, Mounted};

use crate::address::Address;
use crate::failure::Failure;
use crate::place::without_links;
use crate::show::quoted;
use crate::status::{self, Found};

/// Bytes that are read at once: as many as are asked for at once.
const READ_BYTES: usize = 1 << 20;
/// Volumes that a sentence names.
const NAMED_MAX: usize = 8;

/// A path in a volume whose host answers.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) volume: Volume,
    /// From the volume's root.
    pub(crate) path: PathBuf,
    /// The volume as it was typed.
    named: PathBuf,
}

/// Which end of a copy failed.
#[derive(Debug)]
pub(crate) enum Spilt {
    Reading(io::Error),
    Writing(io::Error),
}

/// Connects to the volume that an address names.
pub(crate) fn find(address: &Address) -> Result<Place, Failure> {
    let mounts = mount::list()?;
    for (named, path) in address.divisions() {
        let point = without_links(named);
        // What was mounted last is on top.
        let mounted = mounts.iter().rev().find(|mounted| Some(&mounted.point) == point.as_ref());
        let socket = match mounted {
            Some(mounted) => socket(mounted)?,
            None if is_socket(named) => named.to_owned(),
            None => continue,
        };
        let volume = Volume::connect(&socket).map_err(|error| unconnected(named, &error))?;
        return Ok(Place { volume, path: path.to_owned(), named: named.to_owned() });
    }
    Err(unknown(address, &mounts))
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.file_type().is_socket())
}

/// By which socket the host of a mount is asked.
fn socket(mounted: &Mounted) -> Result<PathBuf, Failure> {
    let point = quoted(&mounted.point);
    Err(Failure::Operation(match status::find(mounted) {
        Found::Served(status, _) => match status.direct {
            Some(socket) => return Ok(socket),
            None => format!(
                "{point} lets nobody past the kernel; mount it without --no-direct, or use the files in {point}"
            ),
        },
        Found::Ended => {
            format!("the host of {point} has gone; free the place with: wharf unmount --lazy {point}")
        }
        Found::Unknown => format!(
            "the host of {point} has left no word of its socket; name that instead, or use the files in {point}"
        ),
    }))
}

fn unconnected(named: &Path, error: &io::Error) -> Failure {
    let named = quoted(named);
    Failure::Operation(match error.kind() {
        ErrorKind::PermissionDenied => {
            format!(
                "{named} is used without its mount by its owner and root only; use the files in its mount"
            )
        }
        ErrorKind::TimedOut => format!("the host of {named} does not answer; see: wharf list -v"),
        kind if is_gone(kind) => gone(&named),
        _ => format!("the host of {named} cannot be asked ({error}); see: wharf list -v"),
    })
}

fn is_gone(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected, NotFound};
    matches!(kind, BrokenPipe | ConnectionRefused | ConnectionReset | NotConnected | NotFound)
}

fn gone(named: &str) -> String {
    format!("the host of {named} has gone; see what is mounted with: wharf list")
}

fn unknown(address: &Address, mounts: &[Mounted]) -> Failure {
    let mut names: Vec<String> =
        mounts.iter().take(NAMED_MAX).map(|mounted| quoted(&mounted.point)).collect();
    if mounts.len() > NAMED_MAX {
        names.push(format!("and {} more", mounts.len() - NAMED_MAX));
    }
    let way_out = if names.is_empty() {
        "none is mounted; mount one with: wharf mount SPEC DIR".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    Failure::Operation(format!("`{}` begins with no volume; {way_out}", address.shown()))
}

impl Place {
    /// Follows its path, through links at its end too.
    pub(crate) fn walk(&self) -> Result<(Node, Record), Failure> {
        self.volume.walk(&self.path).map_err(|error| self.failure(&error))
    }

    /// Opens a file of the volume to be read.
    pub(crate) fn open(&self, path: &Path, node: &Node, record: &Record) -> Result<Reader, Failure> {
        if kind(record) != FileType::RegularFile {
            let shown = self.shown(path);
            return Err(Failure::Operation(format!(
                "{shown} is no file; see what it is with: wharf stat {shown}"
            )));
        }
        self.volume.open(node, false).map_err(|error| self.failure_at(path, &error))
    }

    /// What it means that its path could not be used.
    pub(crate) fn failure(&self, error: &io::Error) -> Failure {
        self.failure_at(&self.path, error)
    }

    /// The same of another path of the volume.
    pub(crate) fn failure_at(&self, path: &Path, error: &io::Error) -> Failure {
        let shown = self.shown(path);
        let above = || self.shown(path.parent().unwrap_or(Path::new("")));
        Failure::Operation(match error.kind() {
            ErrorKind::NotFound => format!("{shown} is not there; see what is with: wharf ls {}", above()),
            kind if is_gone(kind) => gone(&quoted(&self.named)),
            _ => format!("{shown} cannot be read ({error}); see what is there with: wharf ls -l {}", above()),
        })
    }

    /// A path of the volume for people, to be typed again.
    pub(crate) fn shown(&self, path: &Path) -> String {
        let mut address = self.named.clone().into_os_string();
        address.push(":");
        address.push(path);
        quoted(Path::new(&address))
    }
}

/// Hands all of a file to `to`, piece by piece.
pub(crate) fn pour(reader: &Reader, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), Spilt> {
    let mut room = vec![0; READ_BYTES];
    let mut offset = 0;
    loop {
        let count = reader.read_at(offset, &mut room).map_err(Spilt::Reading)?;
        if count == 0 {
            return Ok(());
        }
        to(&room[..count]).map_err(Spilt::Writing)?;
        offset += count as u64;
    }
}

/// What a record is of.
pub(crate) fn kind(record: &Record) -> FileType {
    FileType::from_raw_mode(record.mode)
}

/// Bytes of a volume as a path.
pub(crate) fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
