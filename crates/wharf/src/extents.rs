//! Files whose bytes lie in runs on a disc: who has them says where, and the queue reads them.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use wharf_mem::sync::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// A device or an image file that reads go to.
pub struct Disc {
    file: Arc<OwnedFd>,
    alignment_bytes: u32,
    lost: AtomicBool,
}

impl Disc {
    /// A disc. `alignment_bytes` is what offsets, lengths and memory addresses of its I/O must be multiples of: the
    /// size of its sectors if the descriptor has `O_DIRECT`, 1 if it has not.
    ///
    /// # Panics
    /// If the alignment is no power of two.
    pub fn new(file: Arc<OwnedFd>, alignment_bytes: u32) -> Disc {
        assert!(alignment_bytes.is_power_of_two(), "an alignment of {alignment_bytes} bytes");
        Disc { file, alignment_bytes, lost: AtomicBool::new(false) }
    }

    /// Its descriptor.
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// What offsets, lengths and addresses must be multiples of.
    pub fn alignment_bytes(&self) -> u32 {
        self.alignment_bytes
    }

    /// Declares the disc gone: from now on every read fails at once. There is no way back.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Whether the disc has gone.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Fails if the disc has gone.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::error::Kind::Io).
    pub fn check(&self) -> Result<()> {
        if self.is_lost() { Err(Error::io("using a disc that has gone")) } else { Ok(()) }
    }
}

impl fmt::Debug for Disc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Disc");
        f.field("file", &self.file).field("alignment_bytes", &self.alignment_bytes);
        f.field("lost", &self.is_lost()).finish()
    }
}

/// Bytes of a file that lie together on its disc, or in a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it begins in the file.
    pub offset: u64,
    /// Where it begins on the disc; `None` for a hole, which reads as zeros.
    pub disc_offset: Option<u64>,
    /// Bytes, at least one.
    pub len: u64,
}

/// Where the bytes of an open file are on a disc. See [`Source::Extents`](crate::Source::Extents).
///
/// Its methods are called on queues, for every read: they must be quick and never wait. A binary search in a
/// sorted list of runs, with adjacent ones merged, is right.
pub trait Extents: Send + Sync {
    /// The disc.
    fn disc(&self) -> &Disc;

    /// Length of the file.
    fn len_bytes(&self) -> u64;

    /// Adds the runs that hold `range`, which ends within the file, to `into`. They follow each other without gaps; the
    /// first may begin before the range and the last end behind it. If they end early, the file ends there.
    ///
    /// # Errors
    /// Any error is the read's.
    fn runs(&self, range: Range<u64>, into: &mut Vec<Run>) -> Result<()>;

    /// Something to be kept while runs are read, asked for before [`runs`](Self::runs). Where files change, what held their
    /// bytes must not be given to another while this lives, or a read that is under way would see the other's.
    fn hold(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
}
