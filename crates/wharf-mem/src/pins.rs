//! What clients hold fast: blocks that must not be evicted while they are looked at without a copy.
//!
//! A client writes its pins into memory of its own, which the host only reads. It says what it pins, then looks
//! whether the blocks are valid; the host says which blocks are about to go, then looks for pins. Between the
//! two steps of either is a full fence, so one of them sees the other. A pin that lies keeps blocks of a section
//! from being evicted, and nothing else.
//!
//! Beside the pins a client says which blocks it has read without asking, by bits of which several blocks share one:
//! a hint, that may be lost or wrong, by which a host keeps longer what is read much.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

#[cfg(not(loom))]
use crate::home::Home;
use crate::mapping::Access;
use crate::shared::Shared;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::{WORD_BYTES, Words};

/// Pins that a client can have at a time.
pub const PINS_MAX: usize = if cfg!(loom) { 2 } else { 64 };

/// Words of a pin: the section's id (0 for none), the first block, the one after the last, and a spare one.
const PIN_WORDS: usize = 4;
const PINS_WORDS: usize = PINS_MAX * PIN_WORDS;
/// Words of bits for blocks that were read.
const TOUCH_WORDS: usize = if cfg!(loom) { 1 } else { 512 };
const TOUCH_BITS: u64 = TOUCH_WORDS as u64 * 64;
pub(crate) const WORDS: usize = PINS_WORDS + TOUCH_WORDS;
/// Bytes of all that.
pub const PINS_BYTES: u64 = WORDS as u64 * WORD_BYTES;

/// The bit of a block: word and mask. Blocks of one section have their bits one after the other.
fn touch_place(section: u64, block: u64) -> (usize, u64) {
    let bit = section.wrapping_mul(31_765).wrapping_add(block) % TOUCH_BITS;
    (PINS_WORDS + (bit / 64) as usize, 1 << (bit % 64))
}

/// The pins of one client, as its host reads them.
#[derive(Debug)]
pub struct PinTable {
    shared: Shared,
    words: Words,
}

impl PinTable {
    /// Makes the memory for one client's pins.
    ///
    /// # Errors
    /// When there is no memory or descriptor left.
    pub fn create() -> io::Result<PinTable> {
        let shared = Shared::create("wharf-pins", PINS_BYTES)?;
        shared.allocate(0, PINS_BYTES)?;
        let words = Words::of(&shared, 0, WORDS).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(PinTable { shared, words })
    }

    /// What the client is given; it may write it.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn hand_out(&self) -> io::Result<OwnedFd> {
        self.shared.writable()
    }

    /// Whether the client holds this block of section `section` now, or says so.
    ///
    /// To be asked inside [`Section::evict`](crate::Section::evict).
    pub fn holds(&self, section: u64, block: u64) -> bool {
        held_in(&self.words, section).any(|held| held.contains(&block))
    }

    /// Whether the client has read this block, or one that shares its bit, since this was asked last; or says so.
    pub fn take_touch(&self, section: u64, block: u64) -> bool {
        let (word, bit) = touch_place(section, block);
        let word = self.words.word(word);
        word.load(Ordering::Relaxed) & bit != 0 && word.fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }
}

pub(crate) fn held_in(words: &Words, section: u64) -> impl Iterator<Item = Range<u64>> {
    (0..PINS_MAX).filter_map(move |pin| {
        let load = |word, order| words.word(pin * PIN_WORDS + word).load(order);
        (load(0, Ordering::Acquire) == section)
            .then(|| load(1, Ordering::Relaxed)..load(2, Ordering::Relaxed))
    })
}

/// The pins of this client.
#[derive(Debug)]
pub struct Pins {
    words: Words,
    /// Pins that nobody has. Private: what is in shared memory is for the host to read.
    free: AtomicU64,
    /// The process that has the words: its children do not. Model checkers know no processes.
    #[cfg(not(loom))]
    home: Option<Home>,
}

impl Pins {
    /// Takes what a host handed out. It is left out of processes that this one forks.
    ///
    /// # Errors
    /// If it is not what it should be.
    pub fn of_host(file: OwnedFd) -> io::Result<Pins> {
        let shared = Shared::of_stranger(file, PINS_BYTES, Access::Write)?;
        shared.mapping().keep_from_children()?;
        let words = Words::of(&shared, 0, WORDS).ok_or(io::ErrorKind::InvalidInput)?;
        let pins = Pins::new(words);
        #[cfg(not(loom))]
        let pins = Pins { home: Some(Home::here()?), ..pins };
        Ok(pins)
    }

    pub(crate) fn new(words: Words) -> Pins {
        Pins {
            words,
            free: AtomicU64::new(u64::MAX >> (64 - PINS_MAX)),
            #[cfg(not(loom))]
            home: None,
        }
    }

    /// Whether this process has the words.
    fn are_here(&self) -> bool {
        #[cfg(not(loom))]
        if let Some(home) = &self.home {
            return home.is_here();
        }
        true
    }

    /// Says that these blocks have been read.
    pub fn touch(&self, section: u64, blocks: Range<u64>) {
        for block in blocks {
            let (word, bit) = touch_place(section, block);
            let word = self.words.word(word);
            // Most are known to be read: a look is cheaper than a change.
            if word.load(Ordering::Relaxed) & bit == 0 {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    /// Says that these blocks are held. It counts only if they are found valid afterwards. `None` if all pins are
    /// in use.
    pub(crate) fn hold(&self, section: u64, blocks: Range<u64>) -> Option<Held<'_>> {
        let mut free = self.free.load(Ordering::Relaxed);
        let pin = loop {
            let lowest = free & free.wrapping_neg();
            if lowest == 0 {
                return None;
            }
            match self.free.compare_exchange_weak(free, free & !lowest, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => break lowest.trailing_zeros() as usize,
                Err(now) => free = now,
            }
        };
        self.words.word(pin * PIN_WORDS + 1).store(blocks.start, Ordering::Relaxed);
        self.words.word(pin * PIN_WORDS + 2).store(blocks.end, Ordering::Relaxed);
        self.words.word(pin * PIN_WORDS).store(section, Ordering::Release);
        // What is held, before whether it is valid.
        fence(Ordering::SeqCst);
        Some(Held { pins: self, pin })
    }
}

/// One pin, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    pins: &'a Pins,
    pin: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.pins.are_here() {
            // A copy of it, in a child: the pin is its parent's.
            return;
        }
        self.pins.words.word(self.pin * PIN_WORDS).store(0, Ordering::Release);
        self.pins.free.fetch_or(1 << self.pin, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_told_once_and_pins_are_left_alone() {
        let table = PinTable::create().unwrap();
        let pins = Pins::of_host(table.hand_out().unwrap()).unwrap();
        let held = pins.hold(5, 0..10).unwrap();
        for section in [1, 7, u64::MAX] {
            pins.touch(section, 3..6);
            pins.touch(section, 5..6);
            let told = |block| table.take_touch(section, block);
            assert_eq!(
                (0..8).filter(|block| told(*block)).collect::<Vec<_>>(),
                [3, 4, 5],
                "section {section}"
            );
            assert!(!(0..8).any(told), "once");
        }
        pins.touch(5, u64::MAX - 1..u64::MAX);
        if !cfg!(miri) {
            pins.touch(5, 0..2 * TOUCH_BITS);
            assert!((0..TOUCH_BITS).all(|block| table.take_touch(9, block)), "all bits are told");
        }
        assert!((0..10).all(|block| table.holds(5, block)) && !table.holds(5, 10));
        drop(held);
    }
}
