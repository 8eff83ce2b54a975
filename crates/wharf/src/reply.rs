//! What a file system answers, where a plain value would not do.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::{Attributes, Entry, Extents, Kind, Memory, Name};

/// Where the bytes of an open file are.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Source {
    /// `read` and `write` are asked.
    #[default]
    Handler,
    /// A local file holds exactly these bytes. The kernel reads and writes it itself where it may
    /// (passthrough), else Wharf does; `read` and `write` are not asked, but for writes that must clear
    /// privileges (`KILL_PRIVILEGES`). All opens of one node have the same sort of source.
    ///
    /// The descriptor must allow what the open file allows.
    Backing(Arc<OwnedFd>),
    /// The bytes lie in runs on a disc. Wharf reads them from there, all runs of a read at once and straight into
    /// the reply; `read` is not asked, `write` is.
    Extents(Arc<dyn Extents>),
    /// The bytes are in memory, or are being made there. Nobody is asked to `read`: readers get them when they
    /// are there, and once all are the kernel reads them itself where it may, without a copy of its own. With
    /// [`Cache::Keep`] it keeps such a copy from one open to the next instead: twice the memory, some of which it
    /// can give back, and a multiple of the speed. Only for opens that do not write; others fail with EROFS.
    Memory(Arc<Memory>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Handler => f.write_str("Handler"),
            Source::Backing(file) => f.debug_tuple("Backing").field(file).finish(),
            Source::Extents(extents) => f.debug_tuple("Extents").field(extents.disc()).finish(),
            Source::Memory(memory) => f.debug_tuple("Memory").field(memory).finish(),
        }
    }
}

/// What the kernel keeps of a file's contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// Kept while the file is open; dropped at the next open.
    #[default]
    WhileOpen,
    /// Kept from one open to the next: right if contents change only through the volume, or notices are sent.
    Keep,
    /// Nothing: every read and write comes here, as it was asked.
    Direct,
}

/// A file or directory that was opened.
#[derive(Debug)]
pub struct Opened<F> {
    /// The author's value for it.
    pub file: F,
    /// Where its bytes are.
    pub source: Source,
    /// What the kernel may keep.
    pub cache: Cache,
    /// There are no positions in it: a stream, where seeking makes no sense.
    pub stream: bool,
    /// Several direct writes may come at once.
    pub parallel_direct_writes: bool,
}

impl<F> Opened<F> {
    /// Opened, with contents from `read`, cached while open.
    pub fn new(file: F) -> Opened<F> {
        Opened {
            file,
            source: Source::Handler,
            cache: Cache::default(),
            stream: false,
            parallel_direct_writes: false,
        }
    }

    /// The same with another value for the file.
    pub fn map<G>(self, with: impl FnOnce(F) -> G) -> Opened<G> {
        let Opened { file, source, cache, stream, parallel_direct_writes } = self;
        Opened { file: with(file), source, cache, stream, parallel_direct_writes }
    }

    /// The same with another cache rule.
    pub fn cache(self, cache: Cache) -> Opened<F> {
        Opened { cache, ..self }
    }

    /// The same with its bytes elsewhere.
    pub fn source(self, source: Source) -> Opened<F> {
        Opened { source, ..self }
    }
}

/// A file that was made and opened in one step.
#[derive(Debug)]
pub struct Created<N, F> {
    /// The node.
    pub entry: Entry<N>,
    /// The open file.
    pub opened: Opened<F>,
}

/// One entry of a directory, as a listing takes it.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// Its inode number.
    pub inode: u64,
    /// What it is.
    pub kind: Kind,
    /// Where a later listing goes on: after this entry. Never 0.
    ///
    /// A cursor stays good while the directory is open, whatever is made or removed meanwhile: entries that
    /// were there all the time are seen exactly once.
    pub cursor: u64,
}

/// What `ioctl` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoctlDone {
    /// The value that ioctl(2) returns.
    pub result: i32,
    /// Bytes put into the window.
    pub bytes: usize,
}

/// Attributes with what only statx(2) tells.
#[derive(Clone, Copy, Debug)]
pub struct Extended {
    /// What stat(2) tells too.
    pub attributes: Attributes,
    /// `STATX_ATTR_*` bits that are set.
    pub flags: u64,
    /// `STATX_ATTR_*` bits that mean something here.
    pub flags_known: u64,
}
