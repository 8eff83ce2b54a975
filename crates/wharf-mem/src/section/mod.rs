//! The bytes of one file in shared memory, with the map of what is valid: the host's side.
//!
//! The offset in the file is the offset in the memory. Clients map both read-only and look at the map, so
//! a read of valid bytes is a copy and nothing else.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::large;
use crate::residency::{self, BLOCK_BYTES, PAGE_BYTES, Residency, blocks_of, pages_of};
use crate::shared::Shared;
use crate::system::pwrite;
use crate::words::Words;

use fill::Freshness;

mod change;
mod fill;
mod pinned;
mod reader;

pub use fill::{Fill, Filling};
pub use pinned::Pinned;
pub use reader::{Read, SectionReader};

/// One file's section, as its host has it.
#[derive(Debug)]
pub struct Section {
    bytes: Shared,
    words: Shared,
    residency: Residency,
    /// Memory comes in pieces of a block where it is asked for through the mapping.
    large: bool,
    state: Mutex<State>,
}

/// What only the host needs to know.
#[derive(Debug)]
struct State {
    len_bytes: u64,
    /// Pages that are valid, in all blocks.
    valid_pages: u64,
    /// Blocks that are being filled.
    filling: HashMap<u64, Freshness>,
    /// Blocks of which something was valid once, and has changed since; their memory is still there. Who pinned them in
    /// time still looks at it.
    left: HashSet<u64>,
}

/// What a client is given of a section.
#[derive(Debug)]
pub struct HandedOut {
    /// The bytes of the file; allows reading.
    pub bytes: OwnedFd,
    /// Size of that memory: the most that the file can grow to.
    pub len_bytes_max: u64,
    /// The residency map; allows reading.
    pub residency: OwnedFd,
}

impl Section {
    /// A section for a file of `len_bytes`, that can grow to `len_bytes_max`. Nothing in it is valid yet.
    ///
    /// `len_bytes_max` costs address space (and 8 bytes for each 64 KiB), not memory; it is at least `len_bytes`.
    ///
    /// # Errors
    /// When there is no memory, address space or descriptor left for it. It takes two descriptors.
    pub fn create(len_bytes: u64, len_bytes_max: u64) -> io::Result<Section> {
        let len_bytes_max = len_bytes_max.max(len_bytes);
        let bytes = Shared::create("wharf-section", len_bytes_max)?;
        let words = Shared::create("wharf-residency", residency::bytes_for(len_bytes_max))?;
        words.allocate(0, words.len_bytes())?;
        let residency = Words::of(&words, 0, residency::words_for(len_bytes_max)).map(Residency::new);
        let residency = residency.ok_or(io::ErrorKind::OutOfMemory)?;
        residency.set_len(len_bytes);
        let state = State { len_bytes, valid_pages: 0, filling: HashMap::new(), left: HashSet::new() };
        let large = large::is_given() && bytes.mapping().prefer_large_pages().is_ok();
        Ok(Section { bytes, words, residency, large, state: Mutex::new(state) })
    }

    /// The length of the file, in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.lock().len_bytes
    }

    /// The most that the file can grow to, in bytes.
    pub fn len_bytes_max(&self) -> u64 {
        self.bytes.len_bytes()
    }

    /// Bytes of memory that the file's contents occupy now.
    pub fn allocated_bytes(&self) -> u64 {
        self.bytes.allocated_bytes().unwrap_or(0)
    }

    /// What to give a client.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn hand_out(&self) -> io::Result<HandedOut> {
        let len_bytes_max = self.len_bytes_max();
        Ok(HandedOut { bytes: self.bytes.read_only()?, len_bytes_max, residency: self.words.read_only()? })
    }

    /// Tells readers whether everything that anybody stores in the file comes to the host's ears before it is done.
    /// Not so while somebody may have the file mapped for writing elsewhere. At first nothing is known: it is not.
    pub fn set_quiet(&self, quiet: bool) {
        self.residency.set_quiet(quiet);
    }

    /// The memory itself, for those who may have it without a map: the kernel, of a file that is complete.
    pub fn file(&self) -> &OwnedFd {
        self.bytes.file()
    }

    /// Puts bytes into the memory, of a range that is not valid yet, and tells nobody.
    ///
    /// # Errors
    /// When there is no memory for them, or the range lies beyond the most that the file can grow to.
    pub fn put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        if self.large && offset.is_multiple_of(BLOCK_BYTES) {
            // One fault for a block, and our own copy of it. In small pages this would take twice the time of a write.
            done = bytes.len() / BLOCK_BYTES as usize * BLOCK_BYTES as usize;
            self.bytes.occupy(offset, done as u64)?;
            self.bytes.copy_in(offset, &bytes[..done]);
        }
        while done < bytes.len() {
            // Not through the mapping: this takes the pages in one go, and lack of memory is an error, not a signal.
            match pwrite(self.bytes.file(), &bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Tells readers that the pages are valid that lie wholly in `range`; the last page of the file need
    /// not be whole. Their bytes have been [put](Self::put) before.
    pub fn publish(&self, range: Range<u64>) {
        let mut state = self.lock();
        let range = state.whole_pages(range);
        for block in blocks_of(&range) {
            self.add_pages(&mut state, block, pages_of(block, &range));
        }
    }

    /// Takes memory for a range that is to be filled in place.
    fn occupy(&self, range: Range<u64>) -> io::Result<()> {
        let len_bytes = range.end - range.start;
        let whole = range.start.is_multiple_of(BLOCK_BYTES) && len_bytes.is_multiple_of(BLOCK_BYTES);
        if self.large && whole {
            return self.bytes.occupy(range.start, len_bytes);
        }
        self.bytes.allocate(range.start, len_bytes)
    }

    fn add_pages(&self, state: &mut State, block: u64, pages: u16) {
        let added = pages & !self.residency.pages(block);
        state.valid_pages += u64::from(added.count_ones());
        self.residency.publish(block, pages);
    }

    /// Copies bytes that the host knows to be valid, and returns how many: fewer than asked at the end of the memory.
    pub fn copy_out(&self, offset: u64, into: &mut [u8]) -> usize {
        self.bytes.copy_out(offset, into)
    }

    /// Whether every byte of the file is valid.
    pub fn is_complete(&self) -> bool {
        let range = 0..self.lock().len_bytes;
        blocks_of(&range).all(|block| {
            let pages = pages_of(block, &range);
            self.residency.pages(block) & pages == pages
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The part of a range that is made of whole pages, of which the file's last may be short.
    fn whole_pages(&self, range: Range<u64>) -> Range<u64> {
        let end = range.end.min(self.len_bytes);
        let whole_end = if end == self.len_bytes { end } else { end / PAGE_BYTES * PAGE_BYTES };
        range.start.next_multiple_of(PAGE_BYTES)..whole_end
    }
}
