//! `wharf stat`: what a file of a volume is like, without going through its mount.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use rustix::fs::FileType;
use wharf_direct::client::{Node, Record};

use crate::failure::Failure;
use crate::plan::Stat;
use crate::show::{instant, mode, plain, print};
use crate::sizes;
use crate::volumes::{self, Place, kind, path_of};

/// Prints a line per fact.
pub(crate) fn run(plan: &Stat) -> Result<(), Failure> {
    let place = volumes::find(&plan.address)?;
    let told = last(&place).and_then(|(node, record)| {
        let target = match kind(&record) {
            FileType::Symlink => Some(place.volume.read_link(&node)?),
            _ => None,
        };
        Ok(text(&place.shown(&place.path), &record, target.as_deref()))
    });
    print(&told.map_err(|error| place.failure(&error))?)
}

/// What its path ends with, be it a link.
fn last(place: &Place) -> io::Result<(Node, Record)> {
    use std::os::unix::ffi::OsStrExt as _;
    let Some(name) = place.path.file_name() else { return place.volume.walk(&place.path) };
    let (parent, _) = place.volume.walk(place.path.parent().unwrap_or(Path::new("")))?;
    place.volume.lookup(&parent, name.as_bytes())
}

fn text(shown: &str, record: &Record, target: Option<&[u8]>) -> String {
    let kind = match kind(record) {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::Fifo => "pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        _ => "unknown",
    };
    let mut text = format!("{shown}\n");
    let mut line = |name: &str, value: String| _ = writeln!(text, "  {name:9}{value}");
    line("kind", kind.into());
    if let Some(target) = target {
        line("leads to", plain(path_of(target)));
    }
    line("size", sizes::told(record.size));
    line("space", sizes::told(record.blocks.saturating_mul(512)));
    line("mode", format!("{} ({:04o})", mode(record.mode), record.mode & 0o7777));
    line("owner", format!("user {}, group {}", record.uid, record.gid));
    line("links", record.links.to_string());
    line("inode", record.inode.to_string());
    let names = ["read", "written", "changed"];
    for (name, time) in names.into_iter().zip(record.times) {
        line(name, instant(time));
    }
    if let Some(born) = record.born {
        line("made", instant(born));
    }
    text
}
