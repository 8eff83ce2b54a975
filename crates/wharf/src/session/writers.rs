//! Which files somebody has open for writing by way of the first transport.
//!
//! What a program stores through a mapping is the kernel's alone until it writes it back, and nobody is told. But the
//! kernel says that an open file is released only when no mapping of it is left, and has written back by then. (Mappings
//! of a backing file are not of the open file; what is stored through those is in the backing file at once.)

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many open files there are of each, by inode numbers. Who is told of a change is told under the lock, so that
/// what was told last is how it is.
#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<HashMap<u64, u32>>);

impl Writers {
    /// Counts one more; `tell` that it is the first. To be done before anybody can write.
    pub(super) fn add(&self, inode: u64, tell: impl FnOnce()) {
        let mut counts = self.lock();
        let count = counts.entry(inode).or_default();
        *count += 1;
        if *count == 1 {
            tell();
        }
    }

    /// Counts one less; `tell` that it was the last. To be done after nobody can write any more.
    pub(super) fn remove(&self, inode: u64, tell: impl FnOnce()) {
        let mut counts = self.lock();
        let Entry::Occupied(mut entry) = counts.entry(inode) else { return };
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
            tell();
        }
    }

    /// Tells whether there is one, while none comes and goes.
    pub(super) fn look(&self, inode: u64, tell: &mut dyn FnMut(bool)) {
        let counts = self.lock();
        tell(counts.contains_key(&inode));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
