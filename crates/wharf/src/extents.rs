//! Files whose bytes lie in runs on a disc: who has them says where, and the queue reads them.

use std::any::Any;
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use wharf_mem::sync::{AtomicBool, Ordering};

use crate::error::{Errno, Error, Result};

/// What Linux says of a drive without a disc in it.
const NO_MEDIUM: i32 = 123;

/// A device or an image file that reads go to.
pub struct Disc {
    file: Arc<OwnedFd>,
    alignment_bytes: u32,
    len_bytes: u64,
    lost: AtomicBool,
    on_loss: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Disc {
    /// A disc. `alignment_bytes` is what offsets, lengths and memory addresses of its I/O must be multiples of: the
    /// size of its sectors if the descriptor has `O_DIRECT`, 1 if it has not.
    ///
    /// # Panics
    /// If the alignment is no power of two.
    pub fn new(file: Arc<OwnedFd>, alignment_bytes: u32) -> Disc {
        assert!(alignment_bytes.is_power_of_two(), "an alignment of {alignment_bytes} bytes");
        let (lost, on_loss) = (AtomicBool::new(false), OnceLock::new());
        Disc { file, alignment_bytes, len_bytes: 0, lost, on_loss }
    }

    /// Says how long it is, in bytes. If it becomes shorter under us, it has gone.
    #[must_use]
    pub fn with_len(self, len_bytes: u64) -> Disc {
        Disc { len_bytes, ..self }
    }

    /// Has `then` called once when the disc is [lost](Self::lose), on whatever thread finds that out: it must be quick
    /// and never wait. Of several the first counts.
    pub fn on_loss(&self, then: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_loss.set(Box::new(then));
    }

    /// Its descriptor.
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// What offsets, lengths and addresses must be multiples of.
    pub fn alignment_bytes(&self) -> u32 {
        self.alignment_bytes
    }

    /// How long it was at the start, in bytes; 0 if nobody said.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Declares the disc gone: from now on every read fails at once. There is no way back.
    pub fn lose(&self) {
        if !self.lost.swap(true, Ordering::AcqRel)
            && let Some(then) = self.on_loss.get()
        {
            then();
        }
    }

    /// Takes note of what became of an I/O of `needed` bytes at `offset`, and declares the disc gone if that says so. A
    /// device that is taken away fails what is under way, and afterwards has no length. An I/O that moved some bytes came to an
    /// error or to the end part of the way: which, the next one tells.
    pub fn heed(&self, offset: u64, needed: usize, moved: &io::Result<usize>) {
        let gone = match moved {
            Ok(moved) => {
                let inside = offset.checked_add(needed as u64).is_some_and(|end| end <= self.len_bytes);
                inside && needed > 0 && *moved == 0
            }
            Err(error) => {
                let none = [Errno::ENODEV.get(), Errno::ENXIO.get(), NO_MEDIUM];
                error.raw_os_error().is_some_and(|number| none.contains(&number))
            }
        };
        if gone {
            self.lose();
        }
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
        f.field("len_bytes", &self.len_bytes);
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
