//! One file, directory or link of the mirrored tree, for as long as the kernel knows it.
//!
//! It is held by an `O_PATH` descriptor: a place without access to what is there. While that is open the
//! backing file system cannot give the inode number to another file. Where descriptors run short a node
//! keeps a [`FileHandle`] instead and opens its descriptor again when it is next used.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use rustix::io::Errno;
use wharf::Kind;

use super::region::{Key, Region};
use super::syscalls::FileHandle;
use super::table::Table;

type Result<T> = rustix::io::Result<T>;

/// Removing a file of this size is noticed.
const LARGE_BYTES: u64 = 64 << 20;

/// A node of the mirrored tree.
#[derive(Clone)]
pub struct Node(pub(super) Arc<Inode>);

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.0.number)
    }
}

/// What is known of a node. There is one for each file, whatever names lead to it.
pub(super) struct Inode {
    pub(super) key: Key,
    /// Its inode number in the volume.
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) region: Arc<Region>,
    table: Arc<Table>,
    hold: Mutex<Hold>,
    /// Used again since it was found, or since the table last looked for descriptors to give up. So what is
    /// met once, in walking a tree, gives way before what is used.
    used: AtomicBool,
    /// Open files and listings: while there are any, the descriptor stays.
    opens: AtomicU32,
    /// It was large when last looked at.
    large: AtomicBool,
    /// Those of them that the kernel may read and write by itself.
    forwarded: AtomicU32,
}

enum Hold {
    Descriptor(Arc<OwnedFd>),
    Handle(FileHandle),
    /// While being dropped.
    Nothing,
}

impl Inode {
    /// To be called by the table only, which counts descriptors.
    pub(super) fn new(key: Key, number: u64, kind: Kind, place: Place<'_>, descriptor: OwnedFd) -> Inode {
        Inode {
            key,
            number,
            kind,
            region: place.region.clone(),
            table: place.table.clone(),
            hold: Mutex::new(Hold::Descriptor(Arc::new(descriptor))),
            used: AtomicBool::new(false),
            opens: AtomicU32::new(0),
            large: AtomicBool::new(false),
            forwarded: AtomicU32::new(0),
        }
    }

    /// Its descriptor, opened again if need be.
    ///
    /// # Errors
    /// `ESTALE` if it had been given up and the file is gone.
    pub(super) fn descriptor(&self) -> Result<Arc<OwnedFd>> {
        self.used.store(true, Ordering::Relaxed);
        let mut hold = self.hold();
        match &*hold {
            Hold::Descriptor(descriptor) => Ok(descriptor.clone()),
            Hold::Handle(handle) => {
                let anchor = self.region.anchor().ok_or(Errno::STALE)?;
                let descriptor = Arc::new(handle.open(anchor)?);
                *hold = Hold::Descriptor(descriptor.clone());
                drop(hold);
                self.table.descriptor_opened();
                Ok(descriptor)
            }
            Hold::Nothing => Err(Errno::STALE),
        }
    }

    /// Its descriptor if it is open: asking for it then waits for nothing.
    pub(super) fn descriptor_at_hand(&self) -> Option<Arc<OwnedFd>> {
        self.used.store(true, Ordering::Relaxed);
        match &*self.hold() {
            Hold::Descriptor(descriptor) => Some(descriptor.clone()),
            Hold::Handle(_) | Hold::Nothing => None,
        }
    }

    /// Whether `found`, which has the same key, is this node and not a later one of the same number.
    pub(super) fn is(&self, found: BorrowedFd<'_>) -> bool {
        self.used.store(true, Ordering::Relaxed);
        match &*self.hold() {
            Hold::Descriptor(_) | Hold::Nothing => true,
            Hold::Handle(handle) => FileHandle::of(found).is_ok_and(|other| other == *handle),
        }
    }

    /// Gives the descriptor up, if the file can be found again without. False if it is in use, or was since
    /// the last time.
    pub(super) fn give_up_descriptor(&self) -> bool {
        if self.used.swap(false, Ordering::Relaxed) || self.opens.load(Ordering::Acquire) > 0 {
            return false;
        }
        let mut hold = self.hold();
        let Hold::Descriptor(descriptor) = &*hold else { return false };
        if !self.region.has_handles() {
            return false;
        }
        match FileHandle::of(descriptor.as_fd()) {
            Ok(handle) => {
                let given_up = std::mem::replace(&mut *hold, Hold::Handle(handle));
                drop(hold);
                drop(given_up);
                true
            }
            Err(_) => {
                self.region.lacks_handles();
                false
            }
        }
    }

    /// Whether it was used since this was last asked.
    pub(super) fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed) || self.opens.load(Ordering::Acquire) > 0
    }

    /// Begins a use that outlives the operation.
    pub(super) fn begin_open(self: &Arc<Self>) -> OpenCount {
        self.opens.fetch_add(1, Ordering::AcqRel);
        OpenCount { inode: self.clone(), forwarded: AtomicBool::new(false) }
    }

    /// Notes how many bytes it has.
    pub(super) fn has_size(&self, size: u64) {
        if size >= LARGE_BYTES {
            self.large.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it is open in such a way that the kernel may read and write it by itself.
    pub(super) fn is_forwarded(&self) -> bool {
        self.forwarded.load(Ordering::Acquire) > 0
    }

    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        let hold = std::mem::replace(&mut *self.hold(), Hold::Nothing);
        self.table.forgotten(self, matches!(hold, Hold::Descriptor(_)));
        if let (Hold::Descriptor(descriptor), true) = (hold, *self.large.get_mut()) {
            close_elsewhere(descriptor);
        }
    }
}

/// Closes what may be the last hold on a large file without a name. The file system then gives back its
/// space, which can take seconds, and whoever forgets a node is a queue.
fn close_elsewhere(descriptor: Arc<OwnedFd>) {
    // If there is no thread to be had, the descriptor is dropped with the closure, here.
    let closing = Builder::new().name("mirror-close".into()).spawn(move || drop(descriptor));
    if let Err(error) = closing {
        log::debug!("mirror: a large file is closed by a queue: {error}");
    }
}

/// Where a node is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) table: &'a Arc<Table>,
    pub(super) region: &'a Arc<Region>,
}

/// One open file or listing, counted while it lives.
pub(super) struct OpenCount {
    inode: Arc<Inode>,
    forwarded: AtomicBool,
}

impl OpenCount {
    /// The kernel may read and write it by itself.
    pub(super) fn forward(&self) {
        if !self.forwarded.swap(true, Ordering::AcqRel) {
            self.inode.forwarded.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn inode(&self) -> &Arc<Inode> {
        &self.inode
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        if *self.forwarded.get_mut() {
            self.inode.forwarded.fetch_sub(1, Ordering::AcqRel);
        }
        self.inode.opens.fetch_sub(1, Ordering::AcqRel);
    }
}
