//! How bytes get into a section: by one filler for a block at a time, and never if the file changed meanwhile.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::payload::{Keep, Payload};
use crate::residency::{PAGE_BYTES, PAGES_PER_BLOCK, blocks_of, pages_of};
use crate::sync::{Ordering, fence};

use super::Section;

/// What became of the wish to fill a range.
#[derive(Debug)]
pub enum Filling {
    /// It is up to you.
    Begun(Fill),
    /// There is nothing to fill: all of it is valid.
    Valid,
    /// Somebody is filling a part of it.
    Busy,
}

/// The right to fill a range of a section, of which nothing is valid.
///
/// Its blocks are neither evicted nor given to another filler before it, and the payload that it lent, are
/// dropped. Dropped without [`publish`](Self::publish) it leaves everything as it was.
#[derive(Debug)]
pub struct Fill {
    claim: Arc<Claim>,
    range: Range<u64>,
    lent: bool,
}

/// Blocks that are being filled.
#[derive(Debug)]
struct Claim {
    section: Arc<Section>,
    blocks: Range<u64>,
}

impl Keep for Claim {}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.section.lock();
        for block in self.blocks.clone() {
            state.filling.remove(&block);
        }
    }
}

impl Section {
    /// Begins to fill the first run of pages in `range` that are not valid, as far as the file goes.
    ///
    /// What is filled is whole pages, from before `range` to after it if need be: see [`Fill::range`].
    pub fn begin_fill(self: &Arc<Section>, range: Range<u64>) -> Filling {
        let mut state = self.lock();
        let end = range.end.min(state.len_bytes);
        if range.start >= end {
            return Filling::Valid;
        }
        let mut pages = range.start / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
        let Some(first) = pages.find(|page| !self.is_valid(*page)) else { return Filling::Valid };
        let last = pages.find(|page| self.is_valid(*page)).unwrap_or(pages.end);
        let range = first * PAGE_BYTES..(last * PAGE_BYTES).min(state.len_bytes);
        let blocks = blocks_of(&range);
        if blocks.clone().any(|block| state.filling.contains_key(&block)) {
            return Filling::Busy;
        }
        state.filling.extend(blocks.clone().map(|block| (block, Freshness::Current)));
        drop(state);
        let claim = Arc::new(Claim { section: self.clone(), blocks });
        Filling::Begun(Fill { claim, range, lent: false })
    }

    fn is_valid(&self, page: u64) -> bool {
        let (block, page) = (page / u64::from(PAGES_PER_BLOCK), page % u64::from(PAGES_PER_BLOCK));
        self.residency.pages(block) & (1 << page) != 0
    }
}

/// Whether what is being filled is still what the file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    Current,
    /// The file changed after the fill began.
    Stale,
}

impl Fill {
    /// The bytes to fill: whole pages, but for the end of the file.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Fills bytes from `offset` on, which lie in the range.
    ///
    /// # Errors
    /// When there is no memory for them; or if they lie outside, or the range is lent.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if self.lent || offset < self.range.start || end > self.range.end {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.claim.section.put(offset, bytes)
    }

    /// Lends the memory of the range itself, to be filled in place: as a window of an operation, or by the kernel. It
    /// reaches to the end of its last page, and is lent once.
    ///
    /// # Errors
    /// When there is no memory for it; or if it was lent already.
    pub fn lend(&mut self) -> io::Result<Payload> {
        if std::mem::replace(&mut self.lent, true) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let Range { start, end } = self.range;
        let section = &self.claim.section;
        section.occupy(start..end)?;
        let span = start as usize..end.next_multiple_of(PAGE_BYTES) as usize;
        Ok(Payload::within(section.bytes.mapping(), self.claim.clone(), span))
    }

    /// The first `filled_bytes` of the range are there now: tells readers, unless the file changed meanwhile. A page
    /// that is not whole counts only at the end of the file.
    ///
    /// False if some of it was not published: the file changed, or the payload is still held by somebody.
    pub fn publish(self, filled_bytes: u64) -> bool {
        // The payload's span holds the claim too.
        if Arc::strong_count(&self.claim) > 1 {
            return false;
        }
        fence(Ordering::Acquire);
        let section = &self.claim.section;
        let mut state = section.lock();
        let end = self.range.start.saturating_add(filled_bytes).min(self.range.end);
        let range = state.whole_pages(self.range.start..end);
        let mut all = true;
        for block in blocks_of(&range) {
            if state.filling.get(&block) == Some(&Freshness::Current) {
                section.add_pages(&mut state, block, pages_of(block, &range));
            } else {
                all = false;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BLOCK_BYTES, Read, SectionReader};

    fn section(len_bytes: u64) -> (Arc<Section>, SectionReader) {
        let section = Arc::new(Section::create(len_bytes, len_bytes).unwrap());
        let reader = SectionReader::new(section.hand_out().unwrap()).unwrap();
        (section, reader)
    }

    fn begin(section: &Arc<Section>, range: Range<u64>) -> Fill {
        match section.begin_fill(range) {
            Filling::Begun(fill) => fill,
            other => panic!("{other:?}"),
        }
    }

    fn read(reader: &SectionReader, at: u64) -> Option<u8> {
        let mut byte = [0];
        (reader.read_at(at, &mut byte) == Read::Done(1)).then_some(byte[0])
    }

    #[test]
    fn a_block_is_filled_by_one_at_a_time_and_only_where_nothing_is_valid() {
        let (section, reader) = section(200_000);
        let mut fill = begin(&section, 5000..70_000);
        assert_eq!(fill.range(), 4096..73_728);
        assert!(matches!(section.begin_fill(0..1), Filling::Busy), "in the same block");
        let other = begin(&section, 131_072..131_073);
        fill.put(4096, &[1; 69_632]).unwrap();
        assert!(fill.put(4095, b"x").is_err() && fill.put(73_728, b"x").is_err());
        assert_eq!(read(&reader, 5000), None);
        assert!(fill.publish(69_632));
        assert_eq!(
            (read(&reader, 4096), read(&reader, 73_727), read(&reader, 4095)),
            (Some(1), Some(1), None)
        );
        assert!(matches!(section.begin_fill(5000..70_000), Filling::Valid));
        assert_eq!(begin(&section, 0..200_000).range(), 0..4096);
        assert!(matches!(section.begin_fill(80_000..200_000), Filling::Busy));
        drop(other);
        assert_eq!(begin(&section, 50_000..900_000).range(), 73_728..200_000, "to the end of the file");
        assert!(matches!(section.begin_fill(200_000..200_001), Filling::Valid));
        assert!(matches!(section.begin_fill(u64::MAX - 1..u64::MAX), Filling::Valid));
    }

    #[test]
    fn lent_memory_is_filled_in_place_and_published_when_it_is_back() {
        let (section, reader) = section(70_000);
        let mut fill = begin(&section, 0..70_000);
        let mut payload = fill.lend().unwrap();
        assert!(fill.lend().is_err() && fill.put(0, b"x").is_err());
        assert_eq!(payload.len(), 73_728);
        payload.bytes_mut().unwrap()[..70_000].fill(3);
        drop(payload);
        assert!(fill.publish(70_000));
        assert_eq!((read(&reader, 0), read(&reader, 69_999)), (Some(3), Some(3)));
        assert_eq!(section.allocated_bytes(), 73_728);
    }

    #[test]
    fn what_is_still_held_is_not_published_nor_evicted_nor_filled_by_others() {
        let (section, reader) = section(BLOCK_BYTES);
        let mut fill = begin(&section, 0..1);
        let mut payload = fill.lend().unwrap();
        let detached = payload.lease().unwrap().window(10).unwrap().detach();
        assert!(!fill.publish(4096));
        assert_eq!(read(&reader, 0), None);
        assert!(matches!(section.begin_fill(0..1), Filling::Busy));
        section.evict(0..1, |_| false);
        assert_eq!(section.allocated_bytes(), 4096, "somebody may be writing there");
        drop(payload);
        assert!(matches!(section.begin_fill(0..1), Filling::Busy));
        drop(detached);
        begin(&section, 0..1);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_published_after_it() {
        let (section, reader) = section(3 * BLOCK_BYTES);
        let mut fill = begin(&section, 0..3 * BLOCK_BYTES);
        fill.put(0, &[1; 3 * BLOCK_BYTES as usize]).unwrap();
        section.write(BLOCK_BYTES + 7, &[2; 10]);
        assert!(!fill.publish(3 * BLOCK_BYTES));
        assert_eq!(
            (read(&reader, 0), read(&reader, BLOCK_BYTES), read(&reader, 2 * BLOCK_BYTES)),
            (Some(1), None, Some(1))
        );
        let fill = begin(&section, 0..3 * BLOCK_BYTES);
        section.resize(BLOCK_BYTES + 1);
        assert!(!fill.publish(3 * BLOCK_BYTES));
        assert_eq!(read(&reader, BLOCK_BYTES), None);
    }

    #[test]
    fn a_short_fill_counts_whole_pages() {
        let (section, reader) = section(BLOCK_BYTES);
        let mut fill = begin(&section, 0..BLOCK_BYTES);
        fill.put(0, &[1; 6000]).unwrap();
        assert!(fill.publish(6000));
        assert_eq!((read(&reader, 4095), read(&reader, 4096)), (Some(1), None));
    }
}
