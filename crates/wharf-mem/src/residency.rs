//! Which bytes of a section are valid: one word per block, which readers look at before and after they copy.
//!
//! A word holds the block's version, the pages of it that are valid, and whether it is being changed.
//!
//! - *Pages are added* without a change of version: nobody reads a page that is not valid, so nobody is disturbed.
//! - *Pages are taken away or overwritten* between [`begin_change`](Residency::begin_change) and
//!   [`end_change`](Residency::end_change). Both move the version, so whoever began to copy before finds out.
//!
//! The host writes, one thread at a time (the section's lock sees to it); clients map the words read-only.

use std::ops::Range;

use crate::sync::{Ordering, fence};
use crate::words::{WORD_BYTES, Words};

/// Bytes of one block.
pub const BLOCK_BYTES: u64 = 64 * 1024;
/// Bytes of one page, the least that can be valid by itself.
pub const PAGE_BYTES: u64 = 4096;
/// Pages of a block.
pub const PAGES_PER_BLOCK: u32 = (BLOCK_BYTES / PAGE_BYTES) as u32;

/// Words before those of the blocks: a cache line.
const HEADER_WORDS: usize = 8;
/// The length of the file; the highest bit says that the section is invalid.
const LEN: usize = 0;
/// Counts changes of contents or length; odd while one is made.
const CHANGES: usize = 1;
/// 1 while the host knows of nobody who could store bytes that it has not heard of.
const QUIET: usize = 2;

const INVALID: u64 = 1 << 63;
const BUSY: u64 = 1;
const PAGES_SHIFT: u32 = 1;
const PAGES: u64 = 0xffff << PAGES_SHIFT;
const VERSION_STEP: u64 = 1 << 17;

/// Bytes of memory for the words of a file of at most `len_bytes_max`.
pub(crate) fn bytes_for(len_bytes_max: u64) -> u64 {
    (HEADER_WORDS as u64 + len_bytes_max.div_ceil(BLOCK_BYTES)) * WORD_BYTES
}

/// Words for a file of at most `len_bytes_max`.
pub(crate) fn words_for(len_bytes_max: u64) -> usize {
    (bytes_for(len_bytes_max) / WORD_BYTES) as usize
}

/// The pages of block `block` that hold a byte of `range`, which is not empty.
pub(crate) fn pages_of(block: u64, range: &Range<u64>) -> u16 {
    let start = block * BLOCK_BYTES;
    let first = range.start.saturating_sub(start) / PAGE_BYTES;
    let last = (range.end - 1 - start).min(BLOCK_BYTES - 1) / PAGE_BYTES;
    let (below_last, below_first) = ((2u32 << last) - 1, (1u32 << first) - 1);
    (below_last & !below_first) as u16
}

/// The blocks that hold a byte of `range`.
pub(crate) fn blocks_of(range: &Range<u64>) -> Range<u64> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / BLOCK_BYTES..(range.end - 1) / BLOCK_BYTES + 1
}

/// What a reader found before it copies; compared afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u64);

#[derive(Clone, Debug)]
pub(crate) struct Residency {
    words: Words,
}

impl Residency {
    pub(crate) fn new(words: Words) -> Residency {
        debug_assert!(words.count() >= HEADER_WORDS);
        Residency { words }
    }

    pub(crate) fn blocks(&self) -> u64 {
        (self.words.count() - HEADER_WORDS) as u64
    }

    fn block(&self, block: u64) -> &crate::sync::AtomicU64 {
        self.words.word(HEADER_WORDS + block as usize)
    }

    // What the host does.

    /// Sets the length, for readers that begin from now on.
    pub(crate) fn set_len(&self, len_bytes: u64) {
        let invalid = self.words.word(LEN).load(Ordering::Relaxed) & INVALID;
        self.words.word(LEN).store(len_bytes & !INVALID | invalid, Ordering::Release);
    }

    /// Readers that begin from now on are told that nothing here is to be used.
    pub(crate) fn invalidate(&self) {
        let len = self.words.word(LEN).load(Ordering::Relaxed);
        self.words.word(LEN).store(len | INVALID, Ordering::Release);
    }

    /// Counts a change that was made.
    pub(crate) fn count_change(&self) {
        let changes = self.words.word(CHANGES).load(Ordering::Relaxed);
        self.words.word(CHANGES).store(changes.wrapping_add(1), Ordering::Release);
    }

    /// Whether nobody can store bytes behind the host's back, for readers that begin from now on.
    pub(crate) fn set_quiet(&self, quiet: bool) {
        self.words.word(QUIET).store(quiet.into(), Ordering::Release);
    }

    /// The valid pages of a block.
    pub(crate) fn pages(&self, block: u64) -> u16 {
        pages(self.block(block).load(Ordering::Relaxed))
    }

    /// The bytes of these pages have been written: readers may have them.
    pub(crate) fn publish(&self, block: u64, more: u16) {
        self.block(block).fetch_or(u64::from(more) << PAGES_SHIFT, Ordering::Release);
    }

    /// Bytes of this block are about to be taken away or overwritten. Nobody begins to read it from now on.
    /// [`changes_begun`](Self::changes_begun) must follow before the first byte changes.
    pub(crate) fn begin_change(&self, block: u64) {
        // Not a load: a model checker overlooks who read a word if its writer reads it before it writes.
        let word = self.block(block).fetch_or(BUSY, Ordering::Relaxed);
        self.block(block).store((word & !PAGES | BUSY).wrapping_add(VERSION_STEP), Ordering::Relaxed);
    }

    /// Makes the beginnings known before any byte changes, and before pins are looked at.
    pub(crate) fn changes_begun() {
        fence(Ordering::SeqCst);
    }

    /// The change is over; these pages are valid now.
    pub(crate) fn end_change(&self, block: u64, valid: u16) {
        let word = self.block(block).fetch_or(BUSY, Ordering::Relaxed);
        let word = (word & !PAGES & !BUSY).wrapping_add(VERSION_STEP) | u64::from(valid) << PAGES_SHIFT;
        self.block(block).store(word, Ordering::Release);
    }

    // What readers do. Their mapping is read-only, where only relaxed loads are sure to work; so the order is
    // made by fences.

    /// The length of the file; `None` if the section is invalid.
    pub(crate) fn len(&self) -> Option<u64> {
        let len = self.words.word(LEN).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        (len & INVALID == 0).then_some(len)
    }

    /// Counts changes; see [`count_change`](Self::count_change).
    pub(crate) fn changes(&self) -> u64 {
        let changes = self.words.word(CHANGES).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        changes
    }

    /// Whether nobody can have stored bytes behind the host's back. What is read after this has been asked has
    /// everything that was stored before.
    pub(crate) fn is_quiet(&self) -> bool {
        let quiet = self.words.word(QUIET).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        quiet == 1
    }

    /// A reader wants these pages of a block: they may be copied if they are valid.
    /// [`reading_begun`](Self::reading_begun) must follow before the first byte is looked at.
    pub(crate) fn begin(&self, block: u64, wanted: u16) -> Option<Seen> {
        let word = self.block(block).load(Ordering::Relaxed);
        let valid = word & BUSY == 0 && pages(word) & wanted == wanted;
        valid.then_some(Seen(word & !PAGES))
    }

    /// No byte is looked at before what `begin` saw.
    pub(crate) fn reading_begun() {
        fence(Ordering::Acquire);
    }

    /// The bytes have been copied; [`is_still`](Self::is_still) may be asked now.
    pub(crate) fn reading_ended() {
        fence(Ordering::Acquire);
    }

    /// Whether what was copied since `begin` is what was there then.
    pub(crate) fn is_still(&self, block: u64, seen: Seen) -> bool {
        self.block(block).load(Ordering::Relaxed) & !PAGES == seen.0
    }
}

fn pages(word: u64) -> u16 {
    ((word & PAGES) >> PAGES_SHIFT) as u16
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn ranges_fall_into_blocks_and_pages() {
        assert_eq!(blocks_of(&(0..0)), 0..0);
        assert_eq!(blocks_of(&(0..1)), 0..1);
        assert_eq!(blocks_of(&(65535..65537)), 0..2);
        assert_eq!(pages_of(0, &(0..65536)), 0xffff);
        assert_eq!(pages_of(0, &(0..4096)), 1);
        assert_eq!(pages_of(0, &(4095..4097)), 0b11);
        assert_eq!(pages_of(1, &(0..65537)), 1);
        assert_eq!(pages_of(1, &(65536 + 61440..1 << 30)), 0x8000);
        assert_eq!(pages_of(2, &(0..1 << 30)), 0xffff);
    }
}

/// To be run with `RUSTFLAGS="--cfg loom" cargo test -p wharf-mem --lib model`.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::pins::{Pins, held_in};
    use crate::sync::AtomicU64;
    use loom::sync::Arc;
    use loom::thread;

    /// A block of two words, which stand for its bytes.
    struct Block {
        residency: Residency,
        bytes: [AtomicU64; 2],
    }

    impl Block {
        fn new(value: u64) -> Arc<Block> {
            let residency = Residency::new(Words::boxed(HEADER_WORDS + 1));
            residency.publish(0, 1);
            Arc::new(Block { residency, bytes: [AtomicU64::new(value), AtomicU64::new(value)] })
        }

        fn put(&self, value: u64) {
            self.bytes.iter().for_each(|byte| byte.store(value, Ordering::Relaxed));
        }

        fn copy(&self) -> [u64; 2] {
            [0, 1].map(|at: usize| self.bytes[at].load(Ordering::Relaxed))
        }

        /// What a reader accepts, and of which version it is.
        fn read(&self) -> Option<(Seen, [u64; 2])> {
            let seen = self.residency.begin(0, 1)?;
            Residency::reading_begun();
            let copied = self.copy();
            Residency::reading_ended();
            self.residency.is_still(0, seen).then_some((seen, copied))
        }

        /// What was accepted is the first bytes in the first version, and the others in any later one.
        fn check(&self) {
            match self.read() {
                Some((Seen(0), bytes)) => assert_eq!(bytes, [1, 1]),
                Some((_, bytes)) => assert_eq!(bytes, [2, 2]),
                None => {}
            }
        }
    }

    #[test]
    fn no_reader_accepts_a_block_that_is_evicted_or_filled_under_its_hands() {
        loom::model(|| {
            let block = Block::new(1);
            let host = thread::spawn({
                let block = block.clone();
                move || {
                    block.residency.begin_change(0);
                    Residency::changes_begun();
                    block.put(0);
                    block.residency.end_change(0, 0);
                    block.put(2);
                    block.residency.publish(0, 1);
                }
            });
            block.check();
            host.join().unwrap();
            assert_eq!(block.read().unwrap().1, [2, 2]);
        });
    }

    #[test]
    fn what_is_published_is_there() {
        loom::model(|| {
            let residency = Residency::new(Words::boxed(HEADER_WORDS + 1));
            let block = Arc::new(Block { residency, bytes: [AtomicU64::new(0), AtomicU64::new(0)] });
            let host = thread::spawn({
                let block = block.clone();
                move || {
                    block.put(2);
                    block.residency.publish(0, 1);
                }
            });
            if let Some((_, read)) = block.read() {
                assert_eq!(read, [2, 2]);
            }
            host.join().unwrap();
        });
    }

    #[test]
    fn no_reader_accepts_half_a_write() {
        loom::model(|| {
            let block = Block::new(1);
            let host = thread::spawn({
                let block = block.clone();
                move || {
                    block.residency.begin_change(0);
                    Residency::changes_begun();
                    block.put(2);
                    block.residency.end_change(0, 1);
                }
            });
            block.check();
            host.join().unwrap();
        });
    }

    #[test]
    fn pages_that_are_added_disturb_no_reader_of_others() {
        loom::model(|| {
            let block = Block::new(1);
            let host = thread::spawn({
                let block = block.clone();
                move || block.residency.publish(0, 0b10)
            });
            assert_eq!(block.read().unwrap().1, [1, 1]);
            host.join().unwrap();
        });
    }

    #[test]
    fn what_was_pinned_in_time_is_not_evicted() {
        loom::model(|| {
            let block = Block::new(1);
            let words = Words::boxed(crate::pins::WORDS);
            let pins = Pins::new(words.clone());
            let host = thread::spawn({
                let block = block.clone();
                move || {
                    block.residency.begin_change(0);
                    Residency::changes_begun();
                    let pinned = held_in(&words, 9).any(|held| held.contains(&0));
                    if !pinned {
                        block.put(0);
                    }
                    block.residency.end_change(0, u16::from(pinned));
                }
            });
            let held = pins.hold(9, 0..1).expect("all are free");
            if block.residency.begin(0, 1).is_some() {
                Residency::reading_begun();
                assert_eq!(block.copy(), [1, 1], "evicted while it was held");
            }
            drop(held);
            host.join().unwrap();
        });
    }
}
