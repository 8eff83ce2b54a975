//! Which blocks of which files are kept in sections: policy, and no bytes of anybody's requests.
//!
//! A block that is read for the first time is answered in the client's own slot. One that is read again earns its
//! place in the file's section, is read whole once for all who ask meanwhile, and is there from then on. All
//! sections together keep to one budget: what has been there longest goes, in batches, on a thread of its own.
//!
//! Every change of a file moves its count. What began before a change is thrown away.

mod evict;
mod file;
mod keeper;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use wharf_mem::BLOCK_BYTES;

pub(super) use evict::{Evictor, Surroundings};
pub(super) use file::{Began, File, Kept, Plan};
pub(super) use keeper::{Block, Keeper, Shelf};

use evict::Clock;

/// Sections at a time; beyond, blocks are answered in slots. Each takes two descriptors.
const SECTIONS_MAX: usize = 1024;

/// Without room, of so many wishes for bytes that nobody waits for one is granted.
const ADMITTED_OF: usize = 16;

/// Who waits for a block: a slot of a client's, and the queue that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) queue: usize,
    pub(super) client: u64,
    pub(super) slot: usize,
}

/// What is kept of the files of one volume.
#[derive(Debug)]
pub(super) struct Cache {
    files: RwLock<HashMap<u64, Arc<File>>>,
    room: Arc<Room>,
    /// Wishes that found no room.
    refused: AtomicUsize,
}

/// The budget, which all sections share.
#[derive(Debug)]
pub(super) struct Room {
    bytes_max: u64,
    /// Bytes that sections take.
    bytes: AtomicU64,
    sections: AtomicUsize,
    /// The number of the next section; no two have the same.
    next: AtomicU64,
    clock: Clock,
}

impl Room {
    /// Takes room for one block more, and one section more if it needs a new one. The budget is overdrawn by
    /// nobody: eviction makes room meanwhile.
    fn take_block(&self) -> bool {
        let take = |bytes: u64| Some(bytes + BLOCK_BYTES).filter(|bytes| *bytes <= self.bytes_max);
        let before = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        if before.map_or(true, |bytes| bytes + BLOCK_BYTES > self.high()) {
            self.clock.ring();
        }
        before.is_ok()
    }

    fn give_blocks(&self, count: u64) {
        self.bytes.fetch_sub(count * BLOCK_BYTES, Ordering::Relaxed);
    }

    fn take_section(&self) -> bool {
        let take = |count: usize| Some(count + 1).filter(|count| *count <= SECTIONS_MAX);
        self.sections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give_section(&self) {
        self.sections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Above this, room is made.
    fn high(&self) -> u64 {
        self.bytes_max / 16 * 15
    }

    /// Down to this.
    fn low(&self) -> u64 {
        self.bytes_max / 8 * 7
    }
}

impl Cache {
    pub(super) fn new(bytes_max: u64) -> Arc<Cache> {
        let room = Room {
            bytes_max,
            bytes: AtomicU64::new(0),
            sections: AtomicUsize::new(0),
            next: AtomicU64::new(1),
            clock: Clock::default(),
        };
        Arc::new(Cache { files: RwLock::default(), room: Arc::new(room), refused: AtomicUsize::new(0) })
    }

    /// Counts one more who has a file open.
    pub(super) fn open(&self, inode: u64) -> Arc<File> {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        let file = files.entry(inode).or_insert_with(|| Arc::new(File::new(inode, self.room.clone())));
        file.opens.fetch_add(1, Ordering::Relaxed);
        file.clone()
    }

    /// Counts one less. What nobody has open and nothing is kept of is forgotten.
    pub(super) fn close(&self, file: &Arc<File>) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if file.opens.fetch_sub(1, Ordering::Relaxed) == 1 && !file.has_section() {
            files.remove(&file.inode);
        }
    }

    /// Whether bytes are to be brought that nobody waits for. Where others had to go for them, only now and then: who
    /// reads more than fits, again and again, would have all of it brought each time and never find anything.
    pub(super) fn admits(&self) -> bool {
        self.room.bytes.load(Ordering::Relaxed) <= self.room.low()
            || self.refused.fetch_add(1, Ordering::Relaxed).is_multiple_of(ADMITTED_OF)
    }

    /// Bytes that sections take now, and how many there are.
    pub(super) fn usage(&self) -> (u64, usize) {
        (self.room.bytes.load(Ordering::Relaxed), self.room.sections.load(Ordering::Relaxed))
    }

    /// Files of which something is known.
    pub(super) fn files(&self) -> usize {
        self.files.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn find(&self, inode: u64) -> Option<Arc<File>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).get(&inode).cloned()
    }

    /// Forgets files that nobody has open and that have lost their section.
    fn tidy(&self) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, file| file.opens.load(Ordering::Relaxed) > 0 || file.has_section());
    }

    /// Gives every section up: what clients have of them reads no more.
    pub(super) fn clear(&self) {
        let files = std::mem::take(&mut *self.files.write().unwrap_or_else(PoisonError::into_inner));
        files.values().for_each(|file| file.drop_section());
    }
}

impl Cache {
    /// Bytes of a file changed.
    pub(super) fn changed(&self, inode: u64, range: Range<u64>) {
        if let Some(file) = self.find(inode) {
            file.changed(range);
        }
    }

    /// Somebody can write to a file unheard now, or nobody any more.
    pub(super) fn written(&self, inode: u64, by_somebody: bool) {
        if let Some(file) = self.find(inode) {
            file.written(by_somebody);
        }
    }
}

/// A lock that is not given up because somebody panicked under it.
fn locked<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
