//! A zip archive, read as a directory.
//!
//! The archive's own directory is read once, into a table; members are found in the archive as they are wanted.
//! What is stored is read where it lies. What is packed is unpacked once, while it is read, and checked.
//! Nothing changes: the kernel may keep all it learns.
//!
//! # What it promises
//!
//! - No name leads out of the volume: `..` and NUL have no place, a slash at the start means nothing, and whatever an
//!   entry is below, is a directory.
//! - A packed member whose checksum is wrong is never read to its end: small ones (up to 1 MiB) give an error and no
//!   bytes at all, others an error instead of their last 128 KiB, and every later open an error.
//! - What is unpacked stays within a limit, whatever the archive says of sizes.
//!
//! # What it does not do
//!
//! - Stored members are not checked: they are read as they are, wherever a program reads first.
//! - It does not follow symbolic links. Their targets are told as the archive has them, and lead where the program
//!   that follows them is led, as with any other file system.
//! - It does not decrypt.
//! - It does not notice that the archive is overwritten in place. One that is replaced by another goes on being
//!   served as it was.
//!
//! # Where to look
//!
//! - `index`: the table, and how it is built of an archive's directory
//! - `unpack`: one member, from the archive to its checked bytes
//! - `contents`: what is unpacked, and when it goes: `small` members whole, larger ones while they are read;
//!   `streamed` are those for which there is no room
//! - `fs`: the trait

#![forbid(unsafe_code)]

mod archive;
mod contents;
mod fs;
mod index;
mod small;
mod streamed;
mod unpack;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;

use wharf::{Defaults, Lifetimes};

use crate::info::{Describe, Info};
use crate::progress::Progress;

pub use fs::File;
pub use index::Owners;

use archive::Archive;
use contents::Contents;
use index::{Index, Number};

/// How to serve an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose the files are.
    pub owners: Owners,
    /// Bytes of unpacked members that are held at a time. A member for which there is no room is unpacked while
    /// it is read, from its beginning on, and only what was read last is held.
    pub cache_bytes_max: u64,
}

/// A zip archive. See the [module](self).
#[derive(Debug)]
pub struct Zip {
    contents: Arc<Contents>,
}

/// A file, directory or link of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node(Number);

impl Zip {
    /// Opens the archive at `path` and reads its directory. Blocks.
    ///
    /// # Errors
    /// When there is no such file, or it is no archive that can be read.
    pub fn open(path: impl AsRef<Path>, options: Options, progress: &dyn Progress) -> io::Result<Zip> {
        let archive = Archive::open(path.as_ref())?;
        let index = Index::read(&archive, options.owners, progress)?;
        let summary = &index.summary;
        if summary.refused + summary.replaced > 0 {
            log::warn!(
                "zip: {} entries are not shown, as their names have no place in a tree, and {} as others replace \
                 them (the log has their names at level debug)",
                summary.refused,
                summary.replaced
            );
        }
        Ok(Zip { contents: Arc::new(Contents::new(archive, index, options.cache_bytes_max)) })
    }

    /// What a volume should answer for this archive where a file system leaves it open: nothing ever changes.
    pub fn defaults(&self) -> Defaults {
        Defaults { lifetimes: Lifetimes::LONG, absent: Lifetimes::LONG.entry }
    }

    fn index(&self) -> &Index {
        &self.contents.index
    }
}

impl Describe for Zip {
    /// What its directory says. Nothing is unpacked.
    fn describe(&self) -> wharf::Result<Info> {
        let summary = &self.index().summary;
        let methods =
            summary.methods.iter().map(|(method, count)| format!("{count} {}", unpack::method_name(*method)));
        let mut info = Info::new()
            .bytes("archive", self.contents.archive.len())
            .count("files", summary.files)
            .count("directories", summary.directories)
            .count("links", summary.links)
            .bytes("packed", summary.packed)
            .bytes("unpacked", summary.size)
            .text("methods", methods.collect::<Vec<_>>().join(", "));
        for (count, what) in [
            (summary.encrypted, "are encrypted and cannot be opened"),
            (summary.refused, "are not shown, as their names have no place in a tree"),
            (summary.replaced, "are not shown, as others of the same name replace them"),
        ] {
            if count > 0 {
                info = info.remark(format_args!("{count} entries {what}"));
            }
        }
        Ok(info)
    }
}
