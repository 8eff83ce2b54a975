//! 64 KiB of a file in 16 blocks: which of them are held, and the bytes of those that were written.
//!
//! A block is *held* when it is paid for, and *stored* when it also has bytes. Stored blocks lie one behind
//! the other without gaps, so a chunk takes as much memory as it has bytes, wherever in it they are, and a
//! full chunk is one slice. The last stored block may be short: what is missing of it is zero.
//!
//! Nothing here charges anybody: whoever holds blocks has paid for them.

use std::ops::Range;

use super::space::{BLOCK_BYTES, CHUNK_BYTES, Space};

const BLOCKS: usize = CHUNK_BYTES / BLOCK_BYTES;

#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    held: u16,
    /// Never a block that is not held.
    stored: u16,
    /// Stored blocks in their order; all but the last are whole.
    bytes: Vec<u8>,
}

/// A piece of what was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Bytes(&'a [u8]),
    Zeros(usize),
}

/// The bits of blocks in a range.
fn mask(blocks: Range<usize>) -> u16 {
    if blocks.is_empty() { 0 } else { ((1u32 << blocks.end) - (1u32 << blocks.start)) as u16 }
}

/// The blocks that a range of bytes touches.
fn touched(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() { 0..0 } else { range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES) }
}

/// The blocks that lie wholly in a range of bytes.
fn covered(range: &Range<usize>) -> Range<usize> {
    range.start.div_ceil(BLOCK_BYTES)..range.end / BLOCK_BYTES
}

/// The lowest run of set bits.
fn first_run(bits: u16) -> Option<Range<usize>> {
    let start = bits.trailing_zeros() as usize;
    (bits != 0).then(|| start..start + (bits >> start).trailing_ones() as usize)
}

/// The highest run of set bits.
fn last_run(bits: u16) -> Option<Range<usize>> {
    let end = BLOCKS - bits.leading_zeros() as usize;
    (bits != 0).then(|| end - (bits << (BLOCKS - end)).leading_ones() as usize..end)
}

impl Chunk {
    /// Blocks that are held.
    pub(super) fn held(&self) -> u64 {
        self.held.count_ones().into()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.stored == u16::MAX
    }

    /// Blocks that this range touches and that are not held.
    pub(super) fn missing(&self, range: &Range<usize>) -> u64 {
        (mask(touched(range)) & !self.held).count_ones().into()
    }

    /// Where this range must end so that it touches no more than `blocks` that are not held.
    pub(super) fn reach(&self, range: &Range<usize>, mut blocks: u64) -> usize {
        for block in touched(range) {
            if self.held & (1 << block) == 0 {
                if blocks == 0 {
                    return range.start.max(block * BLOCK_BYTES);
                }
                blocks -= 1;
            }
        }
        range.end
    }

    /// Holds the blocks that this range touches.
    pub(super) fn hold(&mut self, range: &Range<usize>) {
        self.held |= mask(touched(range));
    }

    /// Gives the pieces of this range, in order.
    pub(super) fn read(&self, range: Range<usize>, mut each: impl FnMut(Piece<'_>)) {
        let mut at = range.start;
        while at < range.end {
            let block = at / BLOCK_BYTES;
            let rest = self.stored >> block;
            let stored = rest & 1 == 1;
            let run = if stored { rest.trailing_ones() } else { rest.trailing_zeros() } as usize;
            let end = ((block + run) * BLOCK_BYTES).min(range.end);
            let bytes = if stored { self.slice(self.place(block) + at % BLOCK_BYTES, end - at) } else { &[] };
            if !bytes.is_empty() {
                each(Piece::Bytes(bytes));
            }
            if bytes.len() < end - at {
                each(Piece::Zeros(end - at - bytes.len()));
            }
            at = end;
        }
    }

    /// Writes into blocks that are held already. `whole`: the file is growing, take a buffer of full size.
    pub(super) fn write(&mut self, at: usize, data: &[u8], space: &Space, whole: bool) {
        if data.is_empty() {
            return;
        }
        let blocks = touched(&(at..at + data.len()));
        let missing = mask(blocks.clone()) & !self.stored;
        let start = self.place(blocks.start) + at % BLOCK_BYTES;
        let end = start + data.len();
        if let Some(first) = first_run(missing) {
            let shifts = self.place(first.start) < self.bytes.len();
            let inserted = if shifts { missing.count_ones() as usize * BLOCK_BYTES } else { 0 };
            self.reserve(end.max(self.bytes.len() + inserted), space, whole);
            self.insert(missing);
        } else {
            self.reserve(end.max(self.bytes.len()), space, whole);
        }
        if self.bytes.len() < start {
            self.bytes.resize(start, 0);
        }
        let (over, beyond) = data.split_at(data.len().min(self.bytes.len() - start));
        self.bytes[start..start + over.len()].copy_from_slice(over);
        self.bytes.extend_from_slice(beyond);
    }

    /// Zeroes what is stored of this range; blocks that lie wholly in it lose their bytes, but stay held.
    pub(super) fn zero(&mut self, range: Range<usize>, space: &Space) {
        self.discard(mask(covered(&range)), space);
        let mut at = range.start;
        while at < range.end {
            let block = at / BLOCK_BYTES;
            let end = ((block + 1) * BLOCK_BYTES).min(range.end);
            if self.stored & (1 << block) != 0 {
                let start = self.place(block) + at % BLOCK_BYTES;
                let stop = (start + end - at).min(self.bytes.len());
                self.bytes.get_mut(start..stop).unwrap_or_default().fill(0);
            }
            at = end;
        }
    }

    /// As `zero`, and gives the blocks back that lie wholly in the range: says how many.
    pub(super) fn punch(&mut self, range: Range<usize>, space: &Space) -> u64 {
        let released = self.held & mask(covered(&range));
        self.zero(range, space);
        self.held &= !released;
        released.count_ones().into()
    }

    /// Ends the chunk at `len` bytes, after which only zeros may follow: says how many blocks are given back.
    pub(super) fn cut(&mut self, len: usize, space: &Space) -> u64 {
        let released = self.punch(len.next_multiple_of(BLOCK_BYTES)..CHUNK_BYTES, space);
        let last = len / BLOCK_BYTES;
        if self.stored & mask(last..BLOCKS) != 0 {
            self.bytes.truncate(self.place(last) + len % BLOCK_BYTES);
            self.shrink(space);
        }
        released
    }

    /// The first stored byte from `at` on.
    pub(super) fn next_stored(&self, at: usize) -> Option<usize> {
        let block = at / BLOCK_BYTES;
        match self.stored >> block {
            0 => None,
            rest if rest & 1 == 1 => Some(at),
            rest => Some((block + rest.trailing_zeros() as usize) * BLOCK_BYTES),
        }
    }

    /// The first byte from `at` on that is not stored.
    pub(super) fn next_hole(&self, at: usize) -> Option<usize> {
        let block = at / BLOCK_BYTES;
        match block + (self.stored >> block).trailing_ones() as usize {
            BLOCKS => None,
            found if found == block => Some(at),
            found => Some(found * BLOCK_BYTES),
        }
    }

    /// Every held block in order: its number in the chunk, and its bytes, which may be short or none.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (usize, &[u8])> {
        (0..BLOCKS).filter(|block| self.held & (1 << block) != 0).map(|block| {
            let stored = self.stored & (1 << block) != 0;
            (block, if stored { self.slice(self.place(block), BLOCK_BYTES) } else { &[] })
        })
    }

    /// Ends it: the blocks that were held, which the caller gives back.
    pub(super) fn end(self, space: &Space) -> u64 {
        let held = self.held();
        space.recycle(self.bytes);
        held
    }

    /// Where the bytes of a block are, or would be.
    fn place(&self, block: usize) -> usize {
        (self.stored & mask(0..block)).count_ones() as usize * BLOCK_BYTES
    }

    fn slice(&self, start: usize, len: usize) -> &[u8] {
        self.bytes.get(start..(start + len).min(self.bytes.len())).unwrap_or_default()
    }

    /// Makes places for blocks that are not stored; in the middle they are zeroed.
    fn insert(&mut self, mut missing: u16) {
        while let Some(run) = first_run(missing) {
            let place = self.place(run.start);
            let (old, count) = (self.bytes.len(), run.len() * BLOCK_BYTES);
            if place < old {
                self.bytes.resize(old + count, 0);
                self.bytes.copy_within(place..old, place + count);
                self.bytes[place..place + count].fill(0);
            }
            self.stored |= mask(run.clone());
            missing &= !mask(run);
        }
    }

    fn discard(&mut self, blocks: u16, space: &Space) {
        let mut gone = self.stored & blocks;
        if gone == 0 {
            return;
        }
        while let Some(run) = last_run(gone) {
            let start = self.place(run.start).min(self.bytes.len());
            let end = (start + run.len() * BLOCK_BYTES).min(self.bytes.len());
            self.bytes.drain(start..end);
            self.stored &= !mask(run.clone());
            gone &= !mask(run);
        }
        self.shrink(space);
    }

    /// Makes room for `len` bytes in all: exactly at first, as most files are written once; then doubling.
    fn reserve(&mut self, len: usize, space: &Space, whole: bool) {
        let capacity = self.bytes.capacity();
        if len <= capacity {
            return;
        }
        let target = match capacity {
            _ if whole => CHUNK_BYTES,
            0 => len,
            _ => len.next_power_of_two(),
        };
        if target < CHUNK_BYTES {
            self.bytes.reserve_exact(target - self.bytes.len());
        } else {
            let mut buffer = space.buffer();
            buffer.extend_from_slice(&self.bytes);
            self.bytes = buffer;
        }
    }

    /// Gives memory back when little is left in it, and not sooner: it may grow again.
    fn shrink(&mut self, space: &Space) {
        if self.bytes.is_empty() {
            space.recycle(std::mem::take(&mut self.bytes));
        } else if self.bytes.len() <= self.bytes.capacity() / 4 {
            let small = self.bytes.as_slice().to_vec();
            space.recycle(std::mem::replace(&mut self.bytes, small));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(writes: &[(usize, &[u8])]) -> (Chunk, Space) {
        let (mut chunk, space) = (Chunk::default(), Space::new(0, 0));
        for (at, data) in writes {
            chunk.hold(&(*at..at + data.len()));
            chunk.write(*at, data, &space, false);
        }
        (chunk, space)
    }

    fn bytes(chunk: &Chunk) -> Vec<u8> {
        let mut bytes = Vec::new();
        chunk.read(0..CHUNK_BYTES, |piece| match piece {
            Piece::Bytes(part) => bytes.extend_from_slice(part),
            Piece::Zeros(count) => bytes.resize(bytes.len() + count, 0),
        });
        bytes
    }

    #[test]
    fn runs_of_bits_are_found_from_both_ends() {
        assert_eq!(first_run(0b0110_1100), Some(2..4));
        assert_eq!(last_run(0b0110_1100), Some(5..7));
        assert_eq!(first_run(u16::MAX), Some(0..16));
        assert_eq!(last_run(u16::MAX), Some(0..16));
        assert_eq!((first_run(0), last_run(0)), (None, None));
    }

    #[test]
    fn a_small_file_takes_little_memory() {
        let (chunk, _) = written(&[(0, &[7; 100])]);
        assert_eq!((chunk.held(), chunk.bytes.capacity()), (1, 100));
    }

    #[test]
    fn one_block_at_the_end_takes_the_memory_of_one() {
        let (chunk, _) = written(&[(15 * BLOCK_BYTES, &[7; BLOCK_BYTES])]);
        assert_eq!((chunk.held(), chunk.bytes.capacity()), (1, BLOCK_BYTES));
        assert_eq!(chunk.next_stored(3), Some(15 * BLOCK_BYTES));
        assert_eq!(chunk.next_hole(15 * BLOCK_BYTES + 3), None);
    }

    #[test]
    fn a_write_before_others_moves_them() {
        let (chunk, _) =
            written(&[(20_000, b"later"), (9_000, b"earlier"), (40_000, b"last"), (0, b"first")]);
        let mut want = vec![0; CHUNK_BYTES];
        for (at, data) in [(0, &b"first"[..]), (9_000, b"earlier"), (20_000, b"later"), (40_000, b"last")] {
            want[at..at + data.len()].copy_from_slice(data);
        }
        assert_eq!(chunk.held(), 4);
        assert!(bytes(&chunk) == want);
    }

    #[test]
    fn a_write_across_a_short_last_block_fills_it_with_zeros() {
        let (chunk, _) = written(&[(10, b"a"), (5000, b"b")]);
        let mut want = vec![0; CHUNK_BYTES];
        (want[10], want[5000]) = (b'a', b'b');
        assert!(bytes(&chunk) == want);
    }

    #[test]
    fn a_cut_block_reads_as_zeros_when_the_chunk_grows_again() {
        let (mut chunk, space) = written(&[(0, &[7; 3 * BLOCK_BYTES])]);
        assert_eq!(chunk.cut(BLOCK_BYTES + 1, &space), 1);
        let mut want = vec![0; CHUNK_BYTES];
        want[..=BLOCK_BYTES].fill(7);
        assert!(bytes(&chunk) == want);
        assert_eq!(chunk.cut(0, &space), 2);
        assert!(chunk.is_empty() && bytes(&chunk).iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_hole_gives_back_blocks_and_zeroes_the_parts_of_others() {
        let (mut chunk, space) = written(&[(0, &[7; CHUNK_BYTES])]);
        assert!(chunk.is_full());
        assert_eq!(chunk.punch(100..3 * BLOCK_BYTES + 50, &space), 2);
        let mut want = vec![7; CHUNK_BYTES];
        want[100..3 * BLOCK_BYTES + 50].fill(0);
        assert!(bytes(&chunk) == want);
        assert_eq!(chunk.held(), 14);
        assert_eq!((chunk.next_hole(0), chunk.next_stored(5000)), (Some(BLOCK_BYTES), Some(3 * BLOCK_BYTES)));
    }

    #[test]
    fn reach_stops_before_the_block_that_is_too_much() {
        let (chunk, _) = written(&[(BLOCK_BYTES, &[7; BLOCK_BYTES])]);
        let range = 100..3 * BLOCK_BYTES;
        assert_eq!(chunk.missing(&range), 2);
        assert_eq!(chunk.reach(&range, 0), 100);
        assert_eq!(chunk.reach(&range, 1), 2 * BLOCK_BYTES);
        assert_eq!(chunk.reach(&range, 2), 3 * BLOCK_BYTES);
    }
}
