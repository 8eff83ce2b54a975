//! A directory that exists already, served as it is.
//!
//! Everything a local file system does goes through: links, special files, extended attributes, access
//! control lists, holes, files without names. Contents are not touched here at all: the kernel reads and
//! writes the backing files by itself where it may (passthrough), else the queue does.
//!
//! # What it promises
//!
//! - It never leaves its root. Every step goes from an open directory to one name in it (openat2(2), beneath
//!   and without links), so there is no path that somebody could redirect while it is walked.
//! - As root it acts with its caller's user, group and supplementary groups, so the backing file system checks
//!   every permission once more and new files belong to whom they should. As another user it acts as itself.
//! - An open file stays what it is, whatever becomes of its name.
//! - Hard links are one node, with one inode number: the backing one in the root's own file system, others in
//!   what is mounted below it.
//!
//! # What it does not do
//!
//! - Locks are kept by the kernel for those who use the mount. They do not stop a process that uses the backing
//!   directory directly.
//! - Capabilities of a caller that is not root do not count, only its ids do.
//! - It does not show itself: where it is mounted below its own root, lookups fail with `EDEADLK`.
//! - What is mounted below the root cannot be unmounted while the kernel remembers something of it.
//! - A user's mirror holds a descriptor for every node that the kernel remembers. Past its limit it asks the
//!   kernel to forget some (Linux 6.18 can), and then refuses with `ENFILE`. Root's can do without.

mod attributes;
mod bridge;
mod credentials;
mod directory;
mod echo;
mod files;
mod fs;
mod link;
mod names;
mod node;
mod region;
mod syscalls;
mod table;
#[cfg(test)]
mod tests;
mod xattrs;

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, open, statfs};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wharf::blocking::{Pool, PoolLimits};
use wharf::{Cache, Defaults, Lifetimes};

use crate::info::{Describe, Info};
use crate::processors::Processors;

pub use bridge::File;
pub use node::Node;

use attributes::Stat;
use credentials::Credentials;
use node::OpenCount;
use syscalls::FileHandle;
use table::Table;

/// What system calls answer, until it is made an error for the caller.
type Result<T> = rustix::io::Result<T>;

/// How to serve a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nothing can be changed through the volume.
    pub read_only: bool,
    /// Nobody changes the directory but through this volume. The kernel then keeps names, attributes and
    /// contents for as long as it likes; else for a second.
    pub exclusive: bool,
    /// The kernel may read and write backing files by itself. Without it every read comes to the queue.
    pub passthrough: bool,
    /// Descriptors that hold nodes, at the most; never more than half of what the process may have.
    pub descriptors_max: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { read_only: false, exclusive: false, passthrough: true, descriptors_max: 65_536 }
    }
}

/// A file system that mirrors a directory.
#[derive(Debug)]
pub struct Mirror {
    tree: Arc<Tree>,
    /// Runs what may block, as others than the queues' threads, whose identity stays theirs.
    pool: Pool,
}

impl Mirror {
    /// Serves the directory at `path`.
    ///
    /// Raises this process's limit of open files to what it may have.
    ///
    /// # Errors
    /// When there is no such directory, or the system lacks what a mirror needs (`/proc`, Linux 5.8).
    pub fn new(path: impl AsRef<Path>, options: Options) -> io::Result<Mirror> {
        let tree = Arc::new(Tree::new(path.as_ref(), options)?);
        Ok(Mirror { tree, pool: Pool::placed(PoolLimits::default(), Processors) })
    }

    /// What a volume should answer for this mirror where a file system leaves it open.
    pub fn defaults(&self) -> Defaults {
        self.tree.defaults()
    }
}

impl Describe for Mirror {
    /// What the file system below the directory has, in all of it.
    fn describe(&self) -> wharf::Result<Info> {
        let statfs = self.tree.statfs(&self.tree.root.0).map_err(bridge::error)?;
        let bytes = |blocks: u64| blocks.saturating_mul(statfs.block_size.into());
        Ok(Info::new()
            .text("holds", "an existing directory, on a file system with")
            .bytes("space", bytes(statfs.blocks))
            .bytes("free space", bytes(statfs.blocks_available))
            .count("inodes", statfs.files)
            .count("free inodes", statfs.files_free))
    }
}

/// The mirrored tree, as plain methods that may block. Everything in it can be used from any thread.
struct Tree {
    table: Arc<Table>,
    root: Node,
    /// The root's descriptor is never given up.
    _root_stays: OpenCount,
    credentials: Credentials,
    options: Options,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Tree {
    fn new(path: &Path, options: Options) -> io::Result<Tree> {
        let proc = statfs("/proc/self/fd").map(|statfs| statfs.f_type);
        if !proc.is_ok_and(|kind| kind == PROC_SUPER_MAGIC) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a mirror needs /proc to be mounted"));
        }
        let place = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = Stat::of(&place)?;
        if !stat.tells_mount() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a mirror needs Linux 5.8 or later"));
        }
        let limit = raise_descriptor_limit() / 2;
        let descriptors_max =
            usize::try_from(limit).unwrap_or(usize::MAX).min(options.descriptors_max as usize);
        let table = Table::new(descriptors_max, handles_work(&place));
        let region = table.regions.get(stat.region(), None, (place.as_fd(), stat.inode()));
        let root = table.node(&region, stat.inode(), stat.kind()?, place);
        let credentials = Credentials::of_this_process();
        Ok(Tree { table, _root_stays: root.begin_open(), root: Node(root), credentials, options })
    }

    fn check_writable(&self) -> Result<()> {
        if self.options.read_only { Err(Errno::ROFS) } else { Ok(()) }
    }

    fn lifetimes(&self) -> Lifetimes {
        if self.options.exclusive { Lifetimes::LONG } else { Lifetimes::SHORT }
    }

    fn defaults(&self) -> Defaults {
        let absent = if self.options.exclusive { Lifetimes::LONG.entry } else { Duration::ZERO };
        Defaults { lifetimes: self.lifetimes(), absent }
    }

    fn cache(&self) -> Cache {
        if self.options.exclusive { Cache::Keep } else { Cache::WhileOpen }
    }
}

/// Whether this process may find files by their handles, and the root's file system has them.
fn handles_work(root: impl AsFd) -> bool {
    let anchor =
        open(link::magic_link(&root), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let Ok(anchor) = anchor else { return false };
    FileHandle::of(root.as_fd()).and_then(|handle| handle.open(anchor.as_fd())).is_ok()
}

/// Raises the limit of open files as far as it goes, and returns it.
fn raise_descriptor_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        return maximum.unwrap_or(u64::MAX);
    }
    current.unwrap_or(u64::MAX)
}
