//! FAT volumes (FAT12, FAT16, FAT32, with long names) on a device or in an image file: what `fat:` serves.
//!
//! This driver never has the bytes of a file in its hands to answer a read: it names the runs of clusters they
//! lie in, and the queue reads them from the disc straight to where they are wanted. What it reads itself are
//! tables and directories, through a small cache; changes of those wait there and are flushed in an order in which
//! a power cut leaves nothing worse than clusters that are nobody's (see `flush` for what exactly).
//!
//! # What FAT does not have
//!
//! Links of either kind, owners, modes (but for "read only"), holes, special files, extended attributes. Owner and
//! permissions of everything are those of [`Options`]. Names are compared without regard to case and kept as they
//! were written.
//!
//! # Where to look
//!
//! - `geometry`, `partition`, `slot`, `name`, `time`: what lies on a disc, as pure functions
//! - `medium`: the disc; `cache`: its sectors of tables and directories; `table`, `runs`, `index`: what they mean
//! - `volume`, `node`: what is served; `names`, `rename`, `data`: the operations; `flush`: the order of writing;
//!   `loss`: a disc that goes
//! - `fs`: the trait

#![forbid(unsafe_code)]

mod cache;
mod data;
mod flush;
mod fs;
mod geometry;
mod index;
mod loss;
mod medium;
mod name;
mod names;
mod node;
mod partition;
mod rename;
mod runs;
mod slot;
mod table;
#[cfg(test)]
mod tests;
mod time;
mod volume;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wharf::{Defaults, Result};

use crate::desk::block_on;
use crate::info::{Describe, Info};

pub use medium::Part;

use geometry::Geometry;
use medium::Lane;
use node::Inode;
use volume::{Bell, Shared};

/// How far the kernel should read ahead of whoever reads a file from its start on: two of the largest requests, so that
/// the disc has the next to do while the last is given out.
pub const READ_AHEAD_BYTES: u32 = 2 << 20;

/// How a volume is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether it may be changed.
    pub write: bool,
    /// Owner of everything.
    pub uid: u32,
    /// Group of everything.
    pub gid: u32,
    /// Permission bits that nobody has.
    pub umask: u16,
    /// How many minutes the clock that the volume's times are of is ahead of UTC. FAT does not say.
    pub minutes_east: i16,
    /// How long a change waits for others before all are written; [`Duration::MAX`] for until somebody asks.
    pub flush_after: Duration,
}

impl Default for Options {
    /// Read only, root's, for everybody to read and enter; times in UTC; changes are written after 5 seconds.
    fn default() -> Options {
        Options {
            write: false,
            uid: 0,
            gid: 0,
            umask: 0o022,
            minutes_east: 0,
            flush_after: Duration::from_secs(5),
        }
    }
}

/// A FAT volume. See the [module](self).
#[derive(Debug)]
pub struct Fat {
    shared: Arc<Shared>,
    root: Node,
}

/// A file or directory of a FAT volume.
#[derive(Clone)]
pub struct Node(Arc<Inode>);

/// An open file or directory of a FAT volume.
#[derive(Debug)]
pub struct File(Arc<Inode>);

impl Fat {
    /// Opens a volume on a device or in an image. Blocks this thread; to write, it reads the whole table.
    ///
    /// # Errors
    /// What the system says, or what is wrong with the volume.
    pub fn open(path: &Path, part: Part, options: Options) -> Result<Fat> {
        let shared = Arc::new(Shared::open(path, part, options)?);
        shared.expect_loss();
        let root = Node(shared.root());
        Ok(Fat { shared, root })
    }

    /// Entries and attributes may be kept: only this volume changes them.
    pub fn defaults(&self) -> Defaults {
        Defaults::default()
    }

    fn start_flushing(&self) {
        let after = self.shared.options.flush_after;
        if !self.shared.options.write || after == Duration::MAX {
            return;
        }
        let shared = self.shared.clone();
        let started =
            thread::Builder::new().name("fat-flush".into()).spawn(move || shared.keep_flushing(after));
        if let Err(error) = started {
            log::warn!("changes are written when somebody asks for it, and at the end: {error}");
        }
    }
}

impl Drop for Fat {
    fn drop(&mut self) {
        self.shared.ring(Bell::Over);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Describe for Fat {
    /// The sort of volume, its name and its space.
    fn describe(&self) -> Result<Info> {
        let Geometry { width, cluster_bytes, clusters, serial, .. } = self.shared.geometry;
        let (label, free) = block_on(async {
            let mut state = self.shared.state().await?;
            let label = self.shared.label(&mut state, Lane::Thread).await?;
            Ok::<_, wharf::Error>((label, self.shared.free_told(&mut state, Lane::Thread).await?))
        })?;
        let each = u64::from(cluster_bytes);
        let mut info = Info::new().text("volume", format_args!("FAT{}", width.bits()));
        if let Some(label) = label {
            info = info.text("label", label);
        }
        if let Some(serial) = serial {
            info = info.text("serial", format_args!("{:04X}-{:04X}", serial >> 16, serial & 0xFFFF));
        }
        info = info.bytes("space", u64::from(clusters) * each);
        if let Some(free) = free {
            info = info.bytes("free space", u64::from(free) * each);
        }
        info = info.bytes("cluster", each);
        if self.shared.was_in_use {
            info = info.remark("it was not unmounted cleanly; check it with fsck.fat");
        }
        Ok(info)
    }
}
