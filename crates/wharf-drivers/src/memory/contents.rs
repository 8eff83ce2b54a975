//! The bytes of one file: sparse, in chunks, paid for block by block.
//!
//! Nothing here knows of attributes or locks. Bytes behind the end of the file are zero, so growing is only
//! a number; blocks behind it may be held, for who asked for space ahead.

mod moves;

use std::collections::BTreeMap;
use std::ops::Range;

use wharf::error::Kind;
use wharf::{Error, Result, Window};

use super::chunk::{Chunk, Piece};
use super::space::{BLOCK_BYTES, CHUNK_BYTES, Space};

/// The largest file: what Linux can count with `off_t`.
const SIZE_MAX: u64 = i64::MAX as u64;
const BLOCK: u64 = BLOCK_BYTES as u64;
const CHUNK: u64 = CHUNK_BYTES as u64;

/// Where the bytes of a read go.
pub(super) trait Sink {
    fn put(&mut self, at: usize, bytes: &[u8]);
    fn zero(&mut self, range: Range<usize>);
}

impl Sink for Window<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.put_at(at, bytes);
    }

    fn zero(&mut self, range: Range<usize>) {
        Window::zero(self, range);
    }
}

#[derive(Debug, Default)]
pub(super) struct Contents {
    size: u64,
    held: u64,
    /// Chunks from the start on, as far as they are dense enough to be found by their number.
    near: Vec<Chunk>,
    /// The others.
    far: BTreeMap<u64, Chunk>,
}

/// A range of the file as parts of chunks: number of the chunk, range in it.
fn parts(range: Range<u64>) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        (at < range.end).then(|| {
            let (index, start) = (at / CHUNK, (at % CHUNK) as usize);
            let len = (CHUNK - at % CHUNK).min(range.end - at);
            at += len;
            (index, start..start + len as usize)
        })
    })
}

impl Contents {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Blocks that are paid for.
    pub(super) fn held_blocks(&self) -> u64 {
        self.held
    }

    /// Reads up to `len` bytes; fewer only at the end of the file.
    pub(super) fn read(&self, offset: u64, len: usize, into: &mut impl Sink) -> usize {
        let len = self.size.saturating_sub(offset).min(len as u64) as usize;
        let mut done = 0;
        for (index, part) in parts(offset..offset + len as u64) {
            let Some(chunk) = self.chunk(index) else {
                into.zero(done..done + part.len());
                done += part.len();
                continue;
            };
            chunk.read(part, |piece| match piece {
                Piece::Bytes(bytes) => {
                    into.put(done, bytes);
                    done += bytes.len();
                }
                Piece::Zeros(count) => {
                    into.zero(done..done + count);
                    done += count;
                }
            });
        }
        len
    }

    /// Writes as much as there is space for, and says how much that was.
    ///
    /// # Errors
    /// When not even one byte can be written, though there are some.
    pub(super) fn write(&mut self, offset: u64, data: &[u8], space: &Space) -> Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let end = (offset.saturating_add(data.len() as u64)).min(SIZE_MAX);
        if offset >= end {
            return Err(Error::new(Kind::TooLarge));
        }
        let mut done = 0;
        for (index, part) in parts(offset..end) {
            let missing =
                self.chunk(index).map_or_else(|| missing_in_all(&part), |chunk| chunk.missing(&part));
            let granted = if missing == 0 { 0 } else { space.charge_blocks_up_to(missing) };
            let reach = match self.chunk(index) {
                _ if granted == missing => part.end,
                Some(chunk) => chunk.reach(&part, granted),
                None => Chunk::default().reach(&part, granted),
            };
            if reach > part.start {
                let data = &data[done..done + (reach - part.start)];
                let whole = index > 0 && self.chunk(index - 1).is_some_and(Chunk::is_full);
                let chunk = self.chunk_or_new(index);
                chunk.hold(&(part.start..reach));
                chunk.write(part.start, data, space, whole);
                done += data.len();
            }
            self.held += granted;
            if reach < part.end {
                break;
            }
        }
        if done == 0 {
            return Err(Error::no_space());
        }
        self.size = self.size.max(offset + done as u64);
        Ok(done)
    }

    /// Sets the size: cuts off what is behind it, space that was held ahead included, or extends with zeros.
    pub(super) fn set_size(&mut self, size: u64, space: &Space) -> Result<()> {
        if size > SIZE_MAX {
            return Err(Error::new(Kind::TooLarge));
        }
        if size < self.size {
            let keep = size.div_ceil(CHUNK);
            let near = self.near.drain(usize::try_from(keep).unwrap_or(usize::MAX).min(self.near.len())..);
            let mut released: u64 = near.map(|chunk| chunk.end(space)).sum();
            released += self.far.split_off(&keep).into_values().map(|chunk| chunk.end(space)).sum::<u64>();
            if let Some(chunk) = self.chunk_mut(size / CHUNK) {
                released += chunk.cut((size % CHUNK) as usize, space);
            }
            self.give_back(released, space);
        }
        self.size = size;
        Ok(())
    }

    /// Gives back the space that lies wholly in this range, which reads as zeros then.
    pub(super) fn punch(&mut self, range: Range<u64>, space: &Space) {
        let end = range.end.min(SIZE_MAX);
        // Behind the end of the file there is nothing to keep, so the last block goes too.
        let end = if end >= self.size { end.next_multiple_of(BLOCK) } else { end };
        let mut released = 0;
        self.each_existing(range.start..end, |chunk, part| released += chunk.punch(part, space));
        self.give_back(released, space);
    }

    /// Makes sure that there is space for this range; all of it or none.
    ///
    /// # Errors
    /// When there is not enough, or the file would be too large.
    pub(super) fn allocate(&mut self, range: Range<u64>, space: &Space) -> Result<()> {
        if range.end > SIZE_MAX {
            return Err(Error::new(Kind::TooLarge));
        }
        // Looking at every chunk of a range that cannot fit anyhow would take long.
        if (range.end - range.start) / BLOCK > self.held + space.free() / BLOCK {
            return Err(Error::no_space());
        }
        let missing_in = |(index, part): (u64, Range<usize>)| {
            self.chunk(index).map_or_else(|| missing_in_all(&part), |chunk| chunk.missing(&part))
        };
        let missing: u64 = parts(range.clone()).map(missing_in).sum();
        space.charge(missing * BLOCK)?;
        self.held += missing;
        parts(range).for_each(|(index, part)| self.chunk_or_new(index).hold(&part));
        Ok(())
    }

    /// Makes this range read as zeros and keeps its space.
    pub(super) fn zero(&mut self, range: Range<u64>, space: &Space) {
        self.each_existing(range, |chunk, part| chunk.zero(part, space));
    }

    /// Extends the file to this size, if it is smaller.
    pub(super) fn extend_to(&mut self, size: u64) {
        self.size = self.size.max(size);
    }

    /// The first byte from `offset` on that is in no hole.
    pub(super) fn next_data(&self, offset: u64) -> Option<u64> {
        let mut at = offset;
        while at < self.size {
            let index = self.next_index(at / CHUNK)?;
            let start = if index == at / CHUNK { (at % CHUNK) as usize } else { 0 };
            if let Some(found) = self.chunk(index).and_then(|chunk| chunk.next_stored(start)) {
                return Some(index * CHUNK + found as u64).filter(|found| *found < self.size);
            }
            at = (index + 1) * CHUNK;
        }
        None
    }

    /// The first byte from `offset` on that is in a hole; the end of the file is one.
    pub(super) fn next_hole(&self, offset: u64) -> Option<u64> {
        let mut at = offset;
        while at < self.size {
            let found = match self.chunk(at / CHUNK) {
                Some(chunk) => chunk.next_hole((at % CHUNK) as usize),
                None => Some((at % CHUNK) as usize),
            };
            if let Some(found) = found {
                return Some((at / CHUNK * CHUNK + found as u64).min(self.size));
            }
            at = (at / CHUNK + 1) * CHUNK;
        }
        (offset < self.size).then_some(self.size)
    }

    /// Ends the file: buffers are recycled, space is given back.
    pub(super) fn clear(&mut self, space: &Space) {
        let Contents { held, near, far, .. } = std::mem::take(self);
        for chunk in near.into_iter().chain(far.into_values()) {
            chunk.end(space);
        }
        space.release_blocks(held);
    }

    fn give_back(&mut self, blocks: u64, space: &Space) {
        self.held -= blocks;
        space.release_blocks(blocks);
    }

    fn chunk(&self, index: u64) -> Option<&Chunk> {
        match self.near.get(index as usize) {
            None if self.far.is_empty() => None,
            None => self.far.get(&index),
            near => near,
        }
    }

    fn chunk_mut(&mut self, index: u64) -> Option<&mut Chunk> {
        match self.near.get_mut(index as usize) {
            None => self.far.get_mut(&index),
            near => near,
        }
    }

    fn chunk_or_new(&mut self, index: u64) -> &mut Chunk {
        let near = index as usize;
        if near >= self.near.len() {
            // Places for chunks cost two hundredths of the bytes that there are, at the most.
            if index > self.near.len() as u64 + 16 && index > 2 * self.held {
                return self.far.entry(index).or_default();
            }
            self.extend_near(index + 1);
        }
        &mut self.near[near]
    }

    fn extend_near(&mut self, len: u64) {
        if self.near.is_empty() {
            // Most files are small.
            self.near.reserve_exact(len as usize);
        }
        let beyond = self.far.split_off(&len);
        self.near.resize_with(len as usize, Chunk::default);
        for (index, chunk) in std::mem::replace(&mut self.far, beyond) {
            self.near[index as usize] = chunk;
        }
    }

    /// The next chunk from this number on that has anything.
    fn next_index(&self, from: u64) -> Option<u64> {
        let near = usize::try_from(from).ok().and_then(|from| self.near.get(from..));
        let found = near.and_then(|near| near.iter().position(|chunk| !chunk.is_empty()));
        match found {
            Some(distance) => Some(from + distance as u64),
            None => self.far.range(from..).next().map(|(index, _)| *index),
        }
    }

    fn each_existing(&mut self, range: Range<u64>, mut each: impl FnMut(&mut Chunk, Range<usize>)) {
        let mut at = range.start;
        while at < range.end {
            let Some(index) = self.next_index(at / CHUNK) else { return };
            at = at.max(index * CHUNK);
            let start = (at % CHUNK) as usize;
            let end = (index + 1) * CHUNK;
            if let (true, Some(chunk)) = (at < range.end, self.chunk_mut(index)) {
                each(chunk, start..start + (end.min(range.end) - at) as usize);
            }
            at = end;
        }
    }
}

fn missing_in_all(part: &Range<usize>) -> u64 {
    Chunk::default().missing(part)
}
