//! What takes valid bytes away from a section, or puts others in their place.
//!
//! All of it follows one order: the blocks are marked busy, the bytes change, the blocks are marked with what
//! is valid then. A reader that copied meanwhile finds another version and tries again.

use std::ops::Range;

use rustix::fs::SeekFrom;

use crate::residency::{BLOCK_BYTES, PAGE_BYTES, PAGES_PER_BLOCK, Residency, blocks_of, pages_of};
use crate::system::seek;

use super::fill::Freshness;
use super::{Section, State};

/// Blocks that go in one hold of the lock: about forty microseconds.
const BLOCKS_AT_ONCE: u64 = 16;
/// Bytes that readers may have taken from blocks that are not valid before somebody looks for them.
const STRAY_BYTES_MAX: u64 = 256 * 1024;

impl Section {
    /// The file has been written: what is valid of these bytes is replaced. What is not valid stays so.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        let mut state = self.lock();
        let end = offset.saturating_add(bytes.len() as u64).min(state.len_bytes).max(offset);
        self.change(&mut state, offset..end, |block, valid, touched| {
            let lost = ones(valid & touched).filter(|page| {
                let page_start = block * BLOCK_BYTES + u64::from(*page) * PAGE_BYTES;
                let (from, to) = (page_start.max(offset), (page_start + PAGE_BYTES).min(end));
                self.put(from, &bytes[(from - offset) as usize..(to - offset) as usize]).is_err()
            });
            lost.fold(valid, |valid, page| valid & !(1 << page))
        });
    }

    /// The file has changed elsewhere: these bytes are not valid any more, nor are the others of their pages.
    pub fn forget(&self, range: Range<u64>) {
        let mut state = self.lock();
        self.change(&mut state, range, |_, valid, touched| valid & !touched);
    }

    /// The file has another length now, at most [`len_bytes_max`](Self::len_bytes_max). What lies beyond the shorter
    /// one of both lengths is not valid any more.
    pub fn resize(&self, len_bytes: u64) {
        let mut state = self.lock();
        let len_bytes = len_bytes.min(self.len_bytes_max());
        let shorter = state.len_bytes.min(len_bytes);
        let longer = state.len_bytes.max(len_bytes);
        state.len_bytes = len_bytes;
        self.residency.set_len(len_bytes);
        self.change(&mut state, shorter..longer, |_, valid, touched| valid & !touched);
    }

    /// Nothing of the section is to be used any more: the volume is lost, or the file is another one.
    pub fn invalidate(&self) {
        let _state = self.lock();
        self.residency.invalidate();
        self.residency.count_change();
    }

    /// Gives the memory of blocks back, but for those of which `is_pinned` says that somebody holds them.
    ///
    /// `is_pinned` is asked after everybody can see that the blocks are about to go, so a pin that is made
    /// later fails by itself. Returns the number of bytes that were given back. It costs some microseconds a
    /// block and is not for a queue's thread; queues that publish meanwhile wait for no more than a few blocks.
    pub fn evict(&self, blocks: Range<u64>, mut is_pinned: impl FnMut(u64) -> bool) -> u64 {
        let before = self.allocated_bytes();
        let end = blocks.end.min(self.residency.blocks());
        for start in (blocks.start..end).step_by(BLOCKS_AT_ONCE as usize) {
            self.evict_some(start..end.min(start + BLOCKS_AT_ONCE), &mut is_pinned);
        }
        let expected = {
            let state = self.lock();
            state.valid_pages * PAGE_BYTES + state.filling.len() as u64 * BLOCK_BYTES
        };
        if self.allocated_bytes() > expected + STRAY_BYTES_MAX {
            self.sweep(&mut is_pinned);
        }
        before.saturating_sub(self.allocated_bytes())
    }

    /// Gives back what readers took from blocks of which nothing is valid: looking at memory that was given back takes
    /// it again, and a reader may do so who looked at the map just before, or does not care.
    fn sweep(&self, is_pinned: &mut impl FnMut(u64) -> bool) {
        let mut at = 0;
        // The descriptor's own position is of no use to anybody else.
        while let Ok(data) = seek(self.bytes.file(), SeekFrom::Data(at)) {
            let block = data / BLOCK_BYTES;
            if self.residency.pages(block) == 0 {
                self.evict_some(block..block + 1, is_pinned);
            }
            at = (block + 1) * BLOCK_BYTES;
        }
    }

    fn evict_some(&self, blocks: Range<u64>, is_pinned: &mut impl FnMut(u64) -> bool) {
        let mut state = self.lock();
        let going: Vec<(u64, u16)> = blocks
            .filter(|block| !state.filling.contains_key(block))
            .map(|block| (block, self.residency.pages(block)))
            .collect();
        going.iter().for_each(|(block, _)| self.residency.begin_change(*block));
        Residency::changes_begun();
        // What was never valid since it was last given back can be pinned by nobody, whoever says so.
        let may_be_pinned = |block: &u64, pages: u16| pages != 0 || state.left.contains(block);
        let (kept, gone): (Vec<_>, Vec<_>) =
            going.into_iter().partition(|(block, pages)| may_be_pinned(block, *pages) && is_pinned(*block));
        kept.iter().for_each(|(block, pages)| self.residency.end_change(*block, *pages));
        for run in runs(gone.iter().map(|(block, _)| *block)) {
            // Whole blocks, so that a large page goes whole: the file's last block may reach beyond the memory.
            let (start, bytes) = (run.start * BLOCK_BYTES, (run.end - run.start) * BLOCK_BYTES);
            // What cannot be given back is not valid all the same, and goes the next time.
            let punched = self.bytes.punch(start, bytes);
            debug_assert!(punched.is_ok(), "giving memory of a section back: {punched:?}");
        }
        for (block, pages) in gone {
            self.residency.end_change(block, 0);
            state.valid_pages -= u64::from(pages.count_ones());
            state.left.remove(&block);
        }
    }

    /// Changes `range`: `with` gets each block, its valid pages and the pages that the range touches, and
    /// returns those that are valid afterwards.
    fn change(&self, state: &mut State, range: Range<u64>, mut with: impl FnMut(u64, u16, u16) -> u16) {
        let blocks = blocks_of(&range);
        let blocks = blocks.start..blocks.end.min(self.residency.blocks());
        for block in blocks {
            // What is being filled was read before the change.
            state.filling.entry(block).and_modify(|freshness| *freshness = Freshness::Stale);
            let (valid, touched) = (self.residency.pages(block), pages_of(block, &range));
            if valid & touched != 0 {
                self.residency.begin_change(block);
                Residency::changes_begun();
                let still_valid = with(block, valid, touched);
                self.residency.end_change(block, still_valid);
                state.valid_pages -= u64::from((valid & !still_valid).count_ones());
                if still_valid == 0 {
                    state.left.insert(block);
                }
            }
        }
        self.residency.count_change();
    }
}

/// Numbers that follow each other, as ranges.
fn runs(numbers: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == number => run.end += 1,
            _ => runs.push(number..number + 1),
        }
    }
    runs
}

fn ones(pages: u16) -> impl Iterator<Item = u32> {
    (0..PAGES_PER_BLOCK).filter(move |page| pages & (1 << page) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Read, SectionReader};

    /// A section that is filled with `value`, and a reader of it.
    fn section(len_bytes: u64, value: u8) -> (Section, SectionReader) {
        let section = Section::create(len_bytes, 1 << 20).unwrap();
        section.put(0, &vec![value; len_bytes as usize]).unwrap();
        section.publish(0..len_bytes);
        let reader = SectionReader::new(section.hand_out().unwrap()).unwrap();
        (section, reader)
    }

    fn read(reader: &SectionReader, offset: u64, len: usize) -> (Read, Vec<u8>) {
        let mut bytes = vec![0xee; len];
        let read = reader.read_at(offset, &mut bytes);
        (read, bytes)
    }

    #[test]
    fn a_reader_gets_what_is_valid_and_is_told_what_is_not() {
        let section = Section::create(300_000, 300_000).unwrap();
        let reader = SectionReader::new(section.hand_out().unwrap()).unwrap();
        assert_eq!(read(&reader, 0, 10).0, Read::Missing { done: 0, blocks: 0..1 });
        assert_eq!(read(&reader, 0, 300_000).0, Read::Missing { done: 0, blocks: 0..5 });
        section.put(4096, &[7; 8192]).unwrap();
        section.publish(4096..12_288);
        assert_eq!(read(&reader, 4096, 8192), (Read::Done(8192), vec![7; 8192]));
        assert_eq!(read(&reader, 4095, 2).0, Read::Missing { done: 0, blocks: 0..1 });
        assert_eq!(read(&reader, 12_287, 2).0, Read::Missing { done: 0, blocks: 0..1 });
        section.put(262_144, &[8; 37_856]).unwrap();
        section.publish(262_144..300_000);
        assert_eq!(read(&reader, 299_998, 10).0, Read::Done(2), "the last page is not whole");
        assert_eq!(read(&reader, 300_000, 10).0, Read::Done(0));
        assert_eq!(read(&reader, u64::MAX, 10).0, Read::Done(0));
        assert_eq!(read(&reader, 65_536, 300_000).0, Read::Missing { done: 0, blocks: 1..4 });
        assert!(!section.is_complete());
    }

    #[test]
    #[cfg_attr(miri, ignore = "millions of bytes take it minutes")]
    fn long_reads_are_copied_in_steps() {
        let section = Section::create(5 << 20, 5 << 20).unwrap();
        let bytes: Vec<u8> = (0..5u32 << 20).map(|at| (at % 251) as u8).collect();
        section.put(0, &bytes).unwrap();
        section.publish(0..5 << 20);
        let reader = SectionReader::new(section.hand_out().unwrap()).unwrap();
        assert_eq!(
            read(&reader, 77, 5 << 20),
            (Read::Done((5 << 20) - 77), {
                let mut expected = bytes[77..].to_vec();
                expected.extend([0xee; 77]);
                expected
            })
        );
    }

    #[test]
    fn what_was_evicted_is_missing_and_its_memory_is_back() {
        let (section, reader) = section(1 << 20, 5);
        assert_eq!(section.allocated_bytes(), 1 << 20);
        assert_eq!(section.evict(2..99, |block| block == 5), (1 << 20) - 3 * BLOCK_BYTES);
        assert_eq!(section.allocated_bytes(), 3 * BLOCK_BYTES);
        assert_eq!(read(&reader, BLOCK_BYTES, 65_536), (Read::Done(65_536), vec![5; 65_536]));
        assert_eq!(read(&reader, 5 * BLOCK_BYTES, 65_536), (Read::Done(65_536), vec![5; 65_536]));
        assert_eq!(read(&reader, 2 * BLOCK_BYTES, 1).0, Read::Missing { done: 0, blocks: 2..3 });
        assert!(!section.is_complete());
    }

    #[test]
    #[cfg_attr(miri, ignore = "touching memory takes none of it there")]
    fn pages_that_a_racing_reader_took_go_with_the_next_eviction() {
        let (section, _) = section(1 << 20, 5);
        section.evict(0..16, |_| false);
        // As a client does that looked at the map just before.
        let map = crate::Shared::of_stranger(section.hand_out().unwrap().bytes, 1 << 20, crate::Access::Read);
        map.unwrap().copy_out(0, &mut [0; 8192]);
        assert_eq!(section.allocated_bytes(), 8192);
        assert_eq!(section.evict(0..16, |_| false), 8192);
        assert_eq!(section.allocated_bytes(), 0);
    }

    #[test]
    fn a_write_shows_and_what_changed_elsewhere_is_asked_for_again() {
        let (section, reader) = section(200_000, 1);
        let changes = reader.changes();
        section.write(65_530, &[2; 12]);
        assert_ne!(reader.changes(), changes);
        let (done, bytes) = read(&reader, 65_529, 14);
        assert_eq!((done, &bytes[..]), (Read::Done(14), &[1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1][..]));
        section.forget(70_000..70_001);
        assert_eq!(read(&reader, 69_632, 1).0, Read::Missing { done: 0, blocks: 1..2 });
        assert_eq!(read(&reader, 69_631, 1).0, Read::Done(1));
        section.write(70_000, &[3; 8000]);
        assert_eq!(read(&reader, 70_000, 1).0, Read::Missing { done: 0, blocks: 1..2 }, "stays so");
        assert_eq!(read(&reader, 73_728, 1), (Read::Done(1), vec![3]));
    }

    #[test]
    fn a_shorter_file_ends_there_and_a_longer_one_has_nothing_old_beyond() {
        let (section, reader) = section(200_000, 1);
        section.resize(100_000);
        assert_eq!(reader.len_bytes(), Some(100_000));
        assert_eq!(read(&reader, 98_000, 10_000).0, Read::Missing { done: 0, blocks: 1..2 });
        assert_eq!(read(&reader, 90_000, 8000).0, Read::Done(8000));
        section.resize(1 << 30);
        assert_eq!(section.len_bytes(), 1 << 20, "the most that it can grow to");
        assert_eq!(read(&reader, 150_000, 10).0, Read::Missing { done: 0, blocks: 2..3 });
    }

    #[test]
    fn readers_are_told_what_is_there_and_whether_all_is_heard_of() {
        let (section, reader) = section(200_000, 1);
        assert!(!reader.is_quiet(), "nothing is known at first");
        section.set_quiet(true);
        assert!(reader.is_quiet());
        section.set_quiet(false);
        assert!(!reader.is_quiet());
        assert!(reader.has(0..200_000) && reader.has(199_999..200_000) && !reader.has(199_999..200_001));
        section.forget(70_000..70_001);
        assert!(!reader.has(0..70_001) && !reader.has(0..200_000) && reader.has(0..69_632));
        section.invalidate();
        assert!(!reader.has(0..1));
    }

    #[test]
    fn an_invalid_section_gives_nothing() {
        let (section, reader) = section(200_000, 1);
        let changes = reader.changes();
        section.invalidate();
        assert_eq!(read(&reader, 0, 10).0, Read::Invalid);
        assert_eq!(reader.len_bytes(), None);
        assert_ne!(reader.changes(), changes);
        section.resize(5);
        assert_eq!(reader.len_bytes(), None, "for good");
    }
}
