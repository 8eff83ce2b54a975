//! The bytes of one file in shared memory: a client's side.

use std::io;
use std::ops::Range;

use crate::mapping::Access;
use crate::residency::{self, BLOCK_BYTES, Residency, Seen, blocks_of, pages_of};
use crate::shared::Shared;
use crate::words::Words;

use super::HandedOut;

/// Blocks that are copied as one: what is read of them is of one moment.
const BLOCKS_AT_ONCE: usize = 17;
/// How often a copy that was disturbed is made again before the host is asked.
const ATTEMPTS: usize = 4;

/// One file's section, as a client has it.
#[derive(Debug)]
pub struct SectionReader {
    pub(super) bytes: Shared,
    pub(super) residency: Residency,
}

/// What became of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes were copied, from the start; fewer than asked at the end of the file.
    Done(usize),
    /// So many bytes were copied, from the start. The blocks of this range are to be asked for first.
    Missing {
        /// Bytes copied.
        done: usize,
        /// Blocks of which something is missing, by number.
        blocks: Range<u64>,
    },
    /// Nothing here is to be used any more.
    Invalid,
}

impl SectionReader {
    /// Takes what a host handed out.
    ///
    /// # Errors
    /// If it is not what a section is, or there is no address space for it.
    pub fn new(handed_out: HandedOut) -> io::Result<SectionReader> {
        let HandedOut { bytes, len_bytes_max, residency } = handed_out;
        let bytes = Shared::of_stranger(bytes, len_bytes_max, Access::Read)?;
        let words = Shared::of_stranger(residency, residency::bytes_for(len_bytes_max), Access::Read)?;
        let words = Words::of(&words, 0, residency::words_for(len_bytes_max));
        let residency = words.map(Residency::new).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(SectionReader { bytes, residency })
    }

    /// The length of the file now, in bytes; `None` if the section is invalid.
    pub fn len_bytes(&self) -> Option<u64> {
        // The host is a stranger too.
        self.residency.len().map(|len| len.min(self.bytes.len_bytes()))
    }

    /// A number that moves whenever the file's contents or length have changed.
    pub fn changes(&self) -> u64 {
        self.residency.changes()
    }

    /// Whether reads that begin now see all that was stored before, also by those who have the file mapped
    /// elsewhere.
    pub fn is_quiet(&self) -> bool {
        self.residency.is_quiet()
    }

    /// Whether all bytes of a range are valid just now, and in the file.
    pub fn has(&self, range: Range<u64>) -> bool {
        let inside = self.len_bytes().is_some_and(|len| range.end <= len);
        let lacks = |block: u64| self.residency.begin(block, pages_of(block, &range)).is_none();
        inside && !blocks_of(&range).any(lacks)
    }

    /// Copies bytes from `offset` on, as far as they are valid.
    ///
    /// What is copied of each MiB is of one moment: never half old and half new, and never the zeros of memory
    /// that was given back meanwhile. No system call is made, and nothing is written.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Read {
        let Some(len) = self.len_bytes() else { return Read::Invalid };
        let room = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = into.len().min(room);
        let into = &mut into[..count];
        let mut done = 0;
        while done < into.len() {
            let at = offset + done as u64;
            let end =
                (offset + into.len() as u64).min((at / BLOCK_BYTES + BLOCKS_AT_ONCE as u64) * BLOCK_BYTES);
            let step = &mut into[done..done + (end - at) as usize];
            if !(0..ATTEMPTS).any(|_| self.copy(at, step)) {
                return self.missing(done, at..offset + into.len() as u64);
            }
            done += step.len();
        }
        Read::Done(done)
    }

    /// One optimistic copy of a range of at most [`BLOCKS_AT_ONCE`] blocks.
    fn copy(&self, at: u64, into: &mut [u8]) -> bool {
        let range = at..at + into.len() as u64;
        let blocks = blocks_of(&range);
        let mut seen: [Option<Seen>; BLOCKS_AT_ONCE] = [None; BLOCKS_AT_ONCE];
        for (block, seen) in blocks.clone().zip(&mut seen) {
            *seen = self.residency.begin(block, pages_of(block, &range));
            if seen.is_none() {
                return false;
            }
        }
        Residency::reading_begun();
        self.bytes.copy_out(at, into);
        Residency::reading_ended();
        blocks.zip(seen).all(|(block, seen)| seen.is_some_and(|seen| self.residency.is_still(block, seen)))
    }

    /// What to ask for, after a copy of `range` did not succeed.
    fn missing(&self, done: usize, range: Range<u64>) -> Read {
        let mut blocks = blocks_of(&range);
        let lacks = |block: u64| self.residency.begin(block, pages_of(block, &range)).is_none();
        // A block that was disturbed again and again is asked for too: the host knows what it does there.
        let first = blocks.clone().find(|block| lacks(*block)).unwrap_or(blocks.start);
        blocks.start = first;
        blocks.end = (first + 1..blocks.end).find(|block| !lacks(*block)).unwrap_or(blocks.end);
        Read::Missing { done, blocks }
    }
}
