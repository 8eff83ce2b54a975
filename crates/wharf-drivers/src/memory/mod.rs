//! A complete file system in memory: what a volume of `memory:` serves.
//!
//! It has two limits, bytes and inodes, and is gone when it is dropped. What it holds can only change through
//! the volume, so everything may be cached for long.
//!
//! # What is counted
//!
//! Files take whole blocks of 4 KiB, where they have bytes or were given space; holes take nothing. Entries of
//! directories, extended attributes and the targets of symbolic links take their bytes and a little more. A
//! charge that does not fit fails with "no space left" and changes nothing, but for a write, which writes
//! what fits. A removed file takes its space until nobody has it open and the kernel has forgotten it.
//!
//! # Times
//!
//! The time of access moves as with `relatime`: at a read, if it is not behind the other times by that, or a
//! day old. A read that the page cache answers is not seen here. So a file whose time is due is opened
//! with its cache dropped, which brings the first read here; all other opens keep the cache.
//!
//! # Permissions
//!
//! The kernel checks them: mount it with default permissions. This file system keeps what the check
//! needs: bits, owners, access control lists with what is inherited, and set-ID bits that go when they must.
//!
//! # Where to look
//!
//! - `fs`: the trait, one line per operation
//! - `names`, `rename`, `bytes`, `change`: the operations, as plain methods
//! - `inode`: a node and its lock; `directory`, `contents` with `chunk`, `xattrs` with `acl`: its parts
//! - `space`: the limits

#![forbid(unsafe_code)]

mod acl;
mod bytes;
mod change;
mod chunk;
mod contents;
mod directory;
mod fs;
mod inode;
mod names;
mod rename;
mod space;
mod xattrs;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use wharf::Kind;

use crate::info::{Describe, Info};

use directory::Directory;
use inode::{Birth, Body, Inode};
use space::Space;

/// The longest name of an entry, as in all file systems that programs know.
const NAME_BYTES_MAX: usize = 255;
/// The most names of a file, and one more than the subdirectories of a directory.
const LINKS_MAX: u32 = i32::MAX as u32;
/// Bytes for which there is one inode by default, as in tmpfs on a machine with small pages.
const BYTES_PER_INODE: u64 = 16 << 10;

/// What a memory volume is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes that it holds at the most.
    pub bytes_max: u64,
    /// Files, directories and links that it holds at the most, the root included.
    pub inodes_max: u64,
    /// Owner of the root directory.
    pub root_uid: u32,
    /// Group of the root directory.
    pub root_gid: u32,
    /// Permission bits of the root directory.
    pub root_permissions: u16,
}

impl Options {
    /// So many bytes, an inode for each 16 KiB of them (but no fewer than 1024), and a root that is root's,
    /// for everybody to enter and list.
    pub fn new(bytes_max: u64) -> Options {
        Options {
            bytes_max,
            inodes_max: (bytes_max / BYTES_PER_INODE).max(1024),
            root_uid: 0,
            root_gid: 0,
            root_permissions: 0o755,
        }
    }
}

/// A file system in memory. See the [module](self).
#[derive(Debug)]
pub struct Memory {
    root: Node,
    space: Arc<Space>,
    next_number: AtomicU64,
    /// Held by whoever locks two directories.
    renames: Mutex<()>,
}

/// A file, directory or link of a memory volume.
#[derive(Clone, Debug)]
pub struct Node(Arc<Inode>);

/// An open file or directory of a memory volume.
#[derive(Debug)]
pub struct File {
    inode: Arc<Inode>,
    /// The time of access was due to move at open: the next read moves it.
    access_due: AtomicBool,
    /// Where the listing ends: at what was the newest entry when it began. Otherwise a program that renames
    /// what it lists could go on for ever.
    list_end: AtomicU64,
}

impl Memory {
    /// An empty volume.
    pub fn new(options: Options) -> Memory {
        let space = Arc::new(Space::new(options.bytes_max, options.inodes_max.max(1)));
        let root = Birth {
            number: 1,
            kind: Kind::Directory,
            device: 0,
            permissions: options.root_permissions & 0o7777,
            uid: options.root_uid,
            gid: options.root_gid,
            links: 2,
            body: Body::Directory(Box::new(Directory::new(Weak::new()))),
        };
        let root = Inode::new(root, &space).expect("the first of at least one inode");
        Memory { root: Node(Arc::new(root)), space, next_number: AtomicU64::new(2), renames: Mutex::new(()) }
    }

    fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }
}

impl Describe for Memory {
    /// How much it may hold.
    fn describe(&self) -> wharf::Result<Info> {
        let statfs = self.space.statfs();
        let bytes = |blocks: u64| blocks.saturating_mul(statfs.block_size.into());
        Ok(Info::new()
            .text("holds", "nothing yet; what is put into it goes when it is unmounted")
            .bytes("space", bytes(statfs.blocks))
            .bytes("free space", bytes(statfs.blocks_available))
            .count("inodes", statfs.files)
            .count("free inodes", statfs.files_free))
    }
}
