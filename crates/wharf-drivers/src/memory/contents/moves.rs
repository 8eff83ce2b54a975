//! Bytes that move: copied from file to file, or pushed to and fro when ranges are cut out and put in.

use std::ops::Range;

use wharf::error::Kind;
use wharf::{Error, Result};

use super::{BLOCK, BLOCK_BYTES, CHUNK, Contents, Piece, SIZE_MAX, Space, parts};

impl Contents {
    /// Copies from another file as far as there is space, holes as holes; says how much.
    ///
    /// # Errors
    /// As for `write`.
    pub(in crate::memory) fn copy(
        &mut self,
        source: &Contents,
        from: u64,
        to: u64,
        len: u64,
        space: &Space,
    ) -> Result<u64> {
        let len = source.size.saturating_sub(from).min(len).min(SIZE_MAX.saturating_sub(to));
        let mut done = 0;
        for (index, part) in parts(from..from + len) {
            let Some(chunk) = source.chunk(index) else {
                done += self.copy_hole(to + done, part.len(), space);
                continue;
            };
            let mut outcome = Ok(());
            chunk.read(part, |piece| {
                if outcome.is_err() {
                    return;
                }
                match piece {
                    Piece::Zeros(count) => done += self.copy_hole(to + done, count, space),
                    Piece::Bytes(bytes) => match self.write(to + done, bytes, space) {
                        Ok(count) => {
                            done += count as u64;
                            outcome = if count < bytes.len() { Err(Error::no_space()) } else { Ok(()) };
                        }
                        Err(error) => outcome = Err(error),
                    },
                }
            });
            match outcome {
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
                Ok(()) => {}
            }
        }
        Ok(done)
    }

    /// Copies within the file; the ranges do not overlap.
    ///
    /// # Errors
    /// As for `write`.
    pub(in crate::memory) fn copy_within(
        &mut self,
        from: u64,
        to: u64,
        len: u64,
        space: &Space,
    ) -> Result<u64> {
        let mut taken = Contents { size: self.size, ..Contents::default() };
        let len = self.size.saturating_sub(from).min(len);
        let mut done = 0;
        while done < len {
            // One chunk at a time is cloned, as the file cannot be read while it is written.
            let index = (from + done) / CHUNK;
            let count = (CHUNK - (from + done) % CHUNK).min(len - done);
            taken.far.extend(self.chunk(index).map(|chunk| (index, chunk.clone())));
            let copied = self.copy(&taken, from + done, to + done, count, space);
            taken.far.clear();
            match copied {
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
                Ok(copied) => {
                    done += copied;
                    if copied < count {
                        break;
                    }
                }
            }
        }
        Ok(done)
    }

    /// Cuts a range of whole blocks out of the middle.
    ///
    /// # Errors
    /// When the range is not of whole blocks, or reaches the end.
    pub(in crate::memory) fn collapse(&mut self, range: Range<u64>, space: &Space) -> Result<()> {
        whole_blocks(&range)?;
        if range.end >= self.size {
            return Err(Error::invalid());
        }
        let len = range.end - range.start;
        self.punch(range.clone(), space);
        for index in self.indices_from(range.end / CHUNK) {
            self.move_blocks(index, range.end, |at| at - len, space);
        }
        self.size -= len;
        Ok(())
    }

    /// Pushes what is behind `range.start` to `range.end`.
    ///
    /// # Errors
    /// When the range is not of whole blocks or begins behind the end, or the file would be too large.
    pub(in crate::memory) fn insert(&mut self, range: Range<u64>, space: &Space) -> Result<()> {
        whole_blocks(&range)?;
        if range.start >= self.size {
            return Err(Error::invalid());
        }
        let len = range.end - range.start;
        let chunks = self.far.last_key_value().map_or(self.near.len() as u64, |(index, _)| index + 1);
        if self.size.max(chunks * CHUNK).checked_add(len).is_none_or(|size| size > SIZE_MAX) {
            return Err(Error::new(Kind::TooLarge));
        }
        for index in self.indices_from(range.start / CHUNK).into_iter().rev() {
            self.move_blocks(index, range.start, |at| at + len, space);
        }
        self.size += len;
        Ok(())
    }

    fn copy_hole(&mut self, to: u64, count: usize, space: &Space) -> u64 {
        let count = count as u64;
        self.zero(to..to + count, space);
        self.extend_to(to + count);
        count
    }

    fn indices_from(&self, from: u64) -> Vec<u64> {
        let mut next = from;
        std::iter::from_fn(|| {
            let index = self.next_index(next)?;
            next = index + 1;
            Some(index)
        })
        .collect()
    }

    /// Moves the blocks of one chunk that lie at `from` or behind it.
    fn move_blocks(&mut self, index: u64, from: u64, to: impl Fn(u64) -> u64, space: &Space) {
        let Some(chunk) = self.chunk_mut(index).map(std::mem::take) else { return };
        for (block, bytes) in chunk.blocks() {
            let at = index * CHUNK + (block * BLOCK_BYTES) as u64;
            let at = if at < from { at } else { to(at) };
            let place = (at % CHUNK) as usize;
            let target = self.chunk_or_new(at / CHUNK);
            target.hold(&(place..place + BLOCK_BYTES));
            target.write(place, bytes, space, false);
        }
        chunk.end(space);
    }
}

fn whole_blocks(range: &Range<u64>) -> Result<()> {
    let whole =
        range.start.is_multiple_of(BLOCK) && range.end.is_multiple_of(BLOCK) && range.start < range.end;
    if whole { Ok(()) } else { Err(Error::invalid()) }
}
