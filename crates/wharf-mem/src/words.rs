//! Control words in memory that a stranger may write or read at any time: atomics, checked by place.
//!
//! Every word has eight bytes; [`half`](Words::half) is its first four, for futexes. A word is used either
//! whole or by its half, never both ways. Under loom the same words are in a box.

use std::sync::Arc;

#[cfg(not(loom))]
use crate::mapping::Mapping;
use crate::shared::Shared;
use crate::sync::{AtomicU32, AtomicU64};

pub(crate) const WORD_BYTES: u64 = 8;

/// A run of words in shared memory.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    #[cfg(not(loom))]
    mapping: Arc<Mapping>,
    #[cfg(not(loom))]
    at: usize,
    count: usize,
    #[cfg(loom)]
    boxed: Arc<Vec<(AtomicU64, AtomicU32)>>,
}

impl Words {
    /// `count` words from byte `at` on; `None` if they are not all there, or not aligned.
    #[cfg(not(loom))]
    pub(crate) fn of(shared: &Shared, at: u64, count: usize) -> Option<Words> {
        let end = at.checked_add((count as u64).checked_mul(WORD_BYTES)?)?;
        let there = end <= shared.len_bytes() && at.is_multiple_of(WORD_BYTES);
        there.then(|| Words { mapping: shared.mapping().clone(), at: at as usize, count })
    }

    #[cfg(loom)]
    pub(crate) fn of(_: &Shared, _: u64, count: usize) -> Option<Words> {
        Some(Words::boxed(count))
    }

    /// Words of the model's own.
    #[cfg(loom)]
    pub(crate) fn boxed(count: usize) -> Words {
        let word = |_| (AtomicU64::new(0), AtomicU32::new(0));
        Words { count, boxed: Arc::new((0..count).map(word).collect()) }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// A word. Of a mapping that allows only reading, only relaxed loads are allowed.
    ///
    /// # Panics
    /// If there is none: places are computed here, and strangers' numbers are checked first.
    #[cfg(not(loom))]
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.count, "a word beyond the end");
        // SAFETY: `of` has checked that `count` words are within the memory, and `index` is less.
        let place = unsafe { self.mapping.start().add(self.at + index * WORD_BYTES as usize) };
        // SAFETY: the place is mapped while `self` lives, aligned (a mapping begins at a page, `at` is a multiple
        // of 8), and everybody of us uses it by atomic operations of this width only. Strangers are other
        // processes.
        unsafe { AtomicU64::from_ptr(place.as_ptr().cast()) }
    }

    #[cfg(loom)]
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        &self.boxed[index].0
    }

    /// The first four bytes of a word that is used by half.
    ///
    /// # Panics
    /// As for [`word`](Self::word).
    #[cfg(not(loom))]
    pub(crate) fn half(&self, index: usize) -> &AtomicU32 {
        assert!(index < self.count, "a word beyond the end");
        // SAFETY: as for `word`.
        let place = unsafe { self.mapping.start().add(self.at + index * WORD_BYTES as usize) };
        // SAFETY: as for `word`; no word is used both ways.
        unsafe { AtomicU32::from_ptr(place.as_ptr().cast()) }
    }

    #[cfg(loom)]
    pub(crate) fn half(&self, index: usize) -> &AtomicU32 {
        &self.boxed[index].1
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn words_beyond_the_memory_are_not_there() {
        let shared = Shared::create("test", 4096).unwrap();
        assert!(Words::of(&shared, 0, 512).is_some());
        assert!(Words::of(&shared, 8, 512).is_none());
        assert!(Words::of(&shared, 4, 1).is_none());
        assert!(Words::of(&shared, u64::MAX - 7, 1).is_none());
        assert!(Words::of(&shared, 0, usize::MAX).is_none());
    }

    #[test]
    fn both_mappings_see_one_word() {
        let shared = Shared::create("test", 4096).unwrap();
        let other = Shared::of_stranger(shared.read_only().unwrap(), 4096, crate::Access::Read).unwrap();
        let (mine, theirs) = (Words::of(&shared, 64, 1).unwrap(), Words::of(&other, 64, 1).unwrap());
        mine.word(0).store(7, Ordering::Release);
        assert_eq!(theirs.word(0).load(Ordering::Relaxed), 7);
        assert_eq!(theirs.half(0).load(Ordering::Relaxed), 7);
    }
}
