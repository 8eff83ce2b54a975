//! Sectors of tables and directories in memory, and which of them the disc does not have yet.
//!
//! Changes wait here, each in the stage of a flush in which it may reach the disc. The bytes of files are
//! never here.

use std::collections::{BTreeSet, HashMap};

use wharf::io::Buffer;
use wharf::{Error, Result};

use super::medium::{Lane, Medium};

const BLOCK: u64 = 4096;
/// The smallest sector; changes are noted in these.
const PIECE: u64 = 512;
/// Blocks that are read at once where more are likely to be wanted.
pub(super) const AHEAD: u64 = 32;
/// Bytes of one write of a flush.
const STAGED_BYTES: usize = 128 << 10;
/// Clean blocks that are kept.
const BLOCKS_KEPT: usize = 4096;

/// When a change may reach the disc; see `flush`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing on the disc leads there yet: new chains, new clusters of directories.
    Fresh,
    /// Before other entries: a name that something is moved to.
    First,
    /// Entries.
    Entries,
}

const STAGES: usize = 3;

#[derive(Debug)]
struct Block {
    bytes: Box<[u8]>,
    /// A bit for each piece that waits for each stage.
    dirty: [u8; STAGES],
    used: bool,
}

/// The cache of one volume.
#[derive(Debug)]
pub(super) struct Cache {
    blocks: HashMap<u64, Block>,
    /// Those with changes.
    changed: BTreeSet<u64>,
    staged: Buffer,
    volume_bytes: u64,
}

impl Cache {
    pub(super) fn new(volume_bytes: u64) -> Result<Cache> {
        Ok(Cache {
            blocks: HashMap::new(),
            changed: BTreeSet::new(),
            staged: Buffer::new(STAGED_BYTES)?,
            volume_bytes,
        })
    }

    /// Reads bytes, wherever they lie.
    pub(super) async fn read(
        &mut self,
        medium: &Medium,
        lane: Lane<'_>,
        offset: u64,
        into: &mut [u8],
    ) -> Result<()> {
        let mut done = 0;
        while done < into.len() {
            let at = offset + done as u64;
            let ahead = ((into.len() - done) as u64).div_ceil(BLOCK).clamp(1, AHEAD);
            let block = self.block(medium, lane, at / BLOCK, ahead).await?;
            let skip = (at % BLOCK) as usize;
            let count = (into.len() - done).min(BLOCK as usize - skip);
            into[done..done + count].copy_from_slice(&block.bytes[skip..skip + count]);
            done += count;
        }
        Ok(())
    }

    /// Reads the two or four bytes of a table's entry, and those that follow it likely soon.
    pub(super) async fn read_ahead<const N: usize>(
        &mut self,
        medium: &Medium,
        lane: Lane<'_>,
        offset: u64,
    ) -> Result<[u8; N]> {
        self.block(medium, lane, offset / BLOCK, AHEAD).await?;
        let mut bytes = [0; N];
        self.read(medium, lane, offset, &mut bytes).await?;
        Ok(bytes)
    }

    /// Changes bytes, to be written in a stage.
    pub(super) async fn write(
        &mut self,
        medium: &Medium,
        lane: Lane<'_>,
        offset: u64,
        bytes: &[u8],
        stage: Stage,
    ) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let block = self.block(medium, lane, at / BLOCK, 1).await?;
            let skip = (at % BLOCK) as usize;
            let count = (bytes.len() - done).min(BLOCK as usize - skip);
            block.bytes[skip..skip + count].copy_from_slice(&bytes[done..done + count]);
            block.mark(skip..skip + count, stage);
            self.changed.insert(at / BLOCK);
            done += count;
        }
        Ok(())
    }

    /// Fills whole pieces with zeros that nothing on the disc leads to, without reading what was there.
    pub(super) async fn clear(
        &mut self,
        medium: &Medium,
        lane: Lane<'_>,
        offset: u64,
        len: u64,
    ) -> Result<()> {
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let number = at / BLOCK;
            let stop = ((number + 1) * BLOCK).min(end);
            if at.is_multiple_of(BLOCK) && stop - at == BLOCK && !self.blocks.contains_key(&number) {
                self.blocks.insert(number, Block::new(BLOCK as usize));
            }
            let block = self.block(medium, lane, number, 1).await?;
            let range = (at % BLOCK) as usize..(at % BLOCK + (stop - at)) as usize;
            block.bytes[range.clone()].fill(0);
            block.mark(range, Stage::Fresh);
            self.changed.insert(number);
            at = stop;
        }
        Ok(())
    }

    /// Forgets changes to a span that belongs to nobody any more.
    pub(super) fn discard(&mut self, offset: u64, len: u64) {
        for number in offset / BLOCK..(offset + len).div_ceil(BLOCK) {
            let Some(block) = self.blocks.get_mut(&number) else { continue };
            let start = offset.max(number * BLOCK) - number * BLOCK;
            let end = (offset + len).min((number + 1) * BLOCK) - number * BLOCK;
            let bits = bits(start as usize..end as usize);
            block.dirty.iter_mut().for_each(|dirty| *dirty &= !bits);
            self.settle(number);
        }
    }

    /// Whether a piece waits for a stage.
    pub(super) fn waits(&self, offset: u64, stage: Stage) -> bool {
        let bit = 1 << (offset % BLOCK / PIECE);
        self.blocks.get(&(offset / BLOCK)).is_some_and(|block| block.dirty[stage as usize] & bit != 0)
    }

    /// Whether anything waits for a stage.
    pub(super) fn any_waits(&self, stage: Stage) -> bool {
        self.waiting_for(stage).next().is_some()
    }

    /// Blocks with changes.
    pub(super) fn waiting(&self) -> usize {
        self.changed.len()
    }

    /// The blocks with changes that wait for a stage, in order.
    fn waiting_for(&self, stage: Stage) -> impl Iterator<Item = (u64, u8)> {
        let changed = self.changed.iter().filter_map(|number| Some((*number, self.blocks.get(number)?)));
        changed
            .map(move |(number, block)| (number, block.dirty[stage as usize]))
            .filter(|(_, dirty)| *dirty != 0)
    }

    /// Takes note of a block whose changes may all have gone.
    fn settle(&mut self, number: u64) {
        if self.blocks.get(&number).is_none_or(|block| block.dirty == [0; STAGES]) {
            self.changed.remove(&number);
        }
    }

    /// Writes all that waits for a stage, each span of `mirrored` also to the copies at the given distances.
    ///
    /// # Errors
    /// Whatever was not written waits still.
    pub(super) async fn flush(
        &mut self,
        medium: &Medium,
        lane: Lane<'_>,
        stage: Stage,
        table: &std::ops::Range<u64>,
        copies: &[u64],
    ) -> Result<()> {
        let align = medium.alignment().max(PIECE as usize) as u64;
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for (number, dirty) in self.waiting_for(stage) {
            for piece in (0..BLOCK / PIECE).filter(|piece| dirty & 1 << piece != 0) {
                let begin = number * BLOCK + piece * PIECE;
                // A disc with larger sectors takes whole ones; the neighbours are as it has them.
                let begin = begin - begin % align;
                let end = begin + align;
                match spans.last_mut() {
                    Some((first, last)) if begin <= *last && end - *first <= STAGED_BYTES as u64 => {
                        *last = end.max(*last);
                    }
                    _ => spans.push((begin, end)),
                }
            }
        }
        for (begin, end) in spans {
            // A span of the table runs into nothing else: only it has copies.
            let (first, second) = (table.start.clamp(begin, end), table.end.clamp(begin, end));
            let parts = [(begin, first), (first, second), (second, end)];
            for (begin, end) in parts.into_iter().filter(|(begin, end)| begin < end) {
                self.write_out(medium, lane, begin, end, begin).await?;
                if table.contains(&begin) {
                    for copy in copies {
                        self.write_out(medium, lane, begin, end, copy + (begin - table.start)).await?;
                    }
                }
                self.written(begin, end, stage);
            }
        }
        Ok(())
    }

    async fn write_out(
        &mut self,
        medium: &Medium,
        lane: Lane<'_>,
        begin: u64,
        end: u64,
        to: u64,
    ) -> Result<()> {
        let len = (end - begin) as usize;
        let mut window = self.staged.window(len)?;
        let mut at = begin;
        while at < end {
            let block = self.blocks.get(&(at / BLOCK)).ok_or(Error::io("flushing a block that has gone"))?;
            let skip = (at % BLOCK) as usize;
            let count = (BLOCK as usize - skip).min((end - at) as usize);
            window.put_at((at - begin) as usize, &block.bytes[skip..skip + count]);
            at += count as u64;
        }
        medium.write(lane, to, self.staged.data(len)?).await
    }

    fn written(&mut self, begin: u64, end: u64, stage: Stage) {
        for number in begin / BLOCK..end.div_ceil(BLOCK) {
            let Some(block) = self.blocks.get_mut(&number) else { continue };
            let start = begin.max(number * BLOCK) - number * BLOCK;
            let stop = end.min((number + 1) * BLOCK) - number * BLOCK;
            block.dirty[stage as usize] &= !bits(start as usize..stop as usize);
            self.settle(number);
        }
    }

    /// The block of this number, read with some that follow it if it is not here.
    async fn block(
        &mut self,
        medium: &Medium,
        lane: Lane<'_>,
        number: u64,
        ahead: u64,
    ) -> Result<&mut Block> {
        if !self.blocks.contains_key(&number) {
            self.make_room();
            let begin = number * BLOCK;
            let missing = (number..number + ahead).take_while(|next| !self.blocks.contains_key(next)).count();
            let end = (begin + missing as u64 * BLOCK).min(self.volume_bytes);
            let len = end.checked_sub(begin).filter(|len| *len > 0);
            let len = len.ok_or(Error::io("reading behind the end of the volume"))? as usize;
            medium.read(lane, begin, self.staged.window(len)?).await?;
            let data = self.staged.data(len)?;
            for (index, bytes) in data.chunks(BLOCK as usize).enumerate() {
                let mut block = Block::new(BLOCK as usize);
                block.bytes[..bytes.len()].copy_from_slice(bytes);
                self.blocks.insert(number + index as u64, block);
            }
        }
        let block = self.blocks.get_mut(&number).ok_or(Error::io("looking for a block that was read"))?;
        block.used = true;
        Ok(block)
    }

    /// Drops clean blocks that were not used for a while, when there are many.
    fn make_room(&mut self) {
        if self.blocks.len() < BLOCKS_KEPT {
            return;
        }
        self.blocks
            .retain(|_, block| block.dirty != [0; STAGES] || std::mem::replace(&mut block.used, false));
        if self.blocks.len() >= BLOCKS_KEPT {
            // All were in use: then any are as good as others.
            self.blocks.retain(|number, block| block.dirty != [0; STAGES] || number % 2 == 0);
        }
    }
}

impl Block {
    fn new(len: usize) -> Block {
        Block { bytes: vec![0; len].into(), dirty: [0; STAGES], used: true }
    }

    fn mark(&mut self, range: std::ops::Range<usize>, stage: Stage) {
        let bits = bits(range);
        // What nothing leads to yet may go first, whatever else happens to it.
        let fresh = self.dirty[Stage::Fresh as usize];
        let first = self.dirty[Stage::First as usize];
        match stage {
            Stage::Fresh => self.dirty[0] |= bits,
            Stage::First => self.dirty[1] |= bits & !fresh,
            Stage::Entries => self.dirty[2] |= bits & !fresh & !first,
        }
        if stage == Stage::First {
            self.dirty[2] &= !self.dirty[1];
        }
    }
}

/// A bit for each piece that a range of a block touches.
fn bits(range: std::ops::Range<usize>) -> u8 {
    let first = range.start / PIECE as usize;
    let last = range.end.div_ceil(PIECE as usize);
    (first..last).fold(0, |bits, piece| bits | 1 << piece)
}
