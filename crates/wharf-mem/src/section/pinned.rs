//! Bytes of a section that are looked at where they are.

use std::ops::Range;
use std::slice;

use crate::pins::{Held, Pins};
use crate::residency::{Residency, blocks_of, pages_of};

use super::SectionReader;

/// A range of a section that stays where it is as long as this lives.
///
/// It is held against eviction, not against change: when the file is written, the new bytes show. Whether
/// that happened is [`is_unchanged`](Self::is_unchanged)'s to say. A host that is gone, or that ended this
/// client's session, takes nothing away from it that it already looked at, but may take the rest: then zeros show.
#[derive(Debug)]
pub struct Pinned<'a> {
    reader: &'a SectionReader,
    range: Range<u64>,
    changes: u64,
    _held: Held<'a>,
}

impl SectionReader {
    /// Holds `range`, as far as the file goes, under the number that the host gave the section. `None` if not all of it
    /// is valid, or all pins are in use.
    pub fn pin<'a>(&'a self, pins: &'a Pins, section: u64, range: Range<u64>) -> Option<Pinned<'a>> {
        let changes = self.changes();
        let end = range.end.min(self.len_bytes()?);
        let range = range.start.min(end)..end;
        let held = pins.hold(section, blocks_of(&range))?;
        let mut blocks = blocks_of(&range);
        let valid = blocks.all(|block| self.residency.begin(block, pages_of(block, &range)).is_some());
        Residency::reading_begun();
        valid.then_some(Pinned { reader: self, range, changes, _held: held })
    }
}

impl Pinned<'_> {
    /// Bytes held.
    pub fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }

    /// True if the file ended before the range.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The range of the file that is held.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Copies bytes from `at` on, counted from the start of what is held. Returns how many; fewer than asked at the end.
    pub fn copy_to(&self, at: usize, into: &mut [u8]) -> usize {
        let count = self.len().saturating_sub(at).min(into.len());
        self.reader.bytes.copy_out(self.range.start + at.min(self.len()) as u64, &mut into[..count])
    }

    /// The address of the first byte, good for [`len`](Self::len) bytes as long as this lives. The bytes may change at
    /// any time: read them volatile, or by code of another language, and believe nothing twice.
    pub fn as_ptr(&self) -> *const u8 {
        self.reader.bytes.mapping().start().as_ptr().wrapping_add(self.range.start as usize)
    }

    /// Whether neither contents nor length of the file have changed since the range was held.
    pub fn is_unchanged(&self) -> bool {
        self.reader.changes() == self.changes
    }

    /// The bytes as a slice.
    ///
    /// # Safety
    /// Nobody changes the file while the slice lives: it cannot be written through the volume, and the host is
    /// trusted not to change it otherwise and not to end this client's session.
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: the range lies within the mapping and its pages are there, which the pin sees to; that they do not
        // change is the caller's promise.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BLOCK_BYTES, PINS_MAX, PinTable, Section};

    fn section() -> (Section, SectionReader, PinTable, Pins) {
        let section = Section::create(4 * BLOCK_BYTES, 4 * BLOCK_BYTES).unwrap();
        section.put(0, &[1; 4 * BLOCK_BYTES as usize]).unwrap();
        section.publish(0..4 * BLOCK_BYTES);
        let reader = SectionReader::new(section.hand_out().unwrap()).unwrap();
        let table = PinTable::create().unwrap();
        let pins = Pins::of_host(table.hand_out().unwrap()).unwrap();
        (section, reader, table, pins)
    }

    fn held(table: &PinTable, section: u64) -> Vec<u64> {
        (0..4).filter(|block| table.holds(section, *block)).collect()
    }

    #[test]
    fn what_is_pinned_stays_and_goes_when_it_is_let_go() {
        let (section, reader, table, pins) = section();
        let pinned = reader.pin(&pins, 9, BLOCK_BYTES + 5..2 * BLOCK_BYTES + 5).unwrap();
        assert_eq!(section.evict(0..4, |block| table.holds(9, block)), 2 * BLOCK_BYTES);
        let mut bytes = [0; 4];
        assert_eq!((pinned.copy_to(0, &mut bytes), bytes), (4, [1; 4]));
        assert_eq!(pinned.copy_to(pinned.len() - 1, &mut bytes), 1);
        assert_eq!(pinned.copy_to(usize::MAX, &mut bytes), 0);
        // SAFETY: nobody writes this section.
        assert!(unsafe { pinned.as_slice() }.iter().all(|byte| *byte == 1));
        assert!(pinned.is_unchanged());
        section.write(BLOCK_BYTES + 5, b"x");
        assert_eq!((pinned.copy_to(0, &mut bytes), bytes), (4, *b"x\x01\x01\x01"));
        assert!(!pinned.is_unchanged());
        drop(pinned);
        assert_eq!(section.evict(0..4, |block| table.holds(9, block)), 2 * BLOCK_BYTES);
        assert!(reader.pin(&pins, 9, 0..1).is_none(), "not valid");
        assert_eq!(held(&table, 9), [], "a pin that failed holds nothing");
    }

    #[test]
    #[cfg_attr(miri, ignore = "touching memory takes none of it there")]
    fn what_is_pinned_stays_also_when_it_is_not_valid_any_more() {
        let bytes = 16 * BLOCK_BYTES;
        let section = Section::create(bytes, bytes).unwrap();
        section.put(0, &vec![1; bytes as usize]).unwrap();
        section.publish(0..bytes);
        let reader = SectionReader::new(section.hand_out().unwrap()).unwrap();
        let table = PinTable::create().unwrap();
        let pins = Pins::of_host(table.hand_out().unwrap()).unwrap();
        let pinned = reader.pin(&pins, 9, 5..10).unwrap();
        // More than is let lie about.
        section.forget(0..bytes);
        assert_eq!(section.evict(15..16, |block| table.holds(9, block)), bytes - BLOCK_BYTES);
        let mut seen = [0; 5];
        assert_eq!((pinned.copy_to(0, &mut seen), seen), (5, [1; 5]));
        drop(pinned);
        assert_eq!(section.evict(0..16, |block| table.holds(9, block)), BLOCK_BYTES);
        // What was taken from memory that was given back is kept by nobody who says that he has pinned it.
        let liar = pins.hold(9, 0..16);
        let mut taken = [0; 5];
        reader.bytes.copy_out(0, &mut taken);
        assert!(section.allocated_bytes() > 0);
        section.evict(0..16, |block| table.holds(9, block));
        assert_eq!(section.allocated_bytes(), 0);
        drop(liar);
    }

    #[test]
    fn pins_are_bounded_and_are_of_one_section() {
        let (section, reader, table, pins) = section();
        let all: Vec<_> = (0..PINS_MAX).map(|_| reader.pin(&pins, 9, 0..1).unwrap()).collect();
        assert!(reader.pin(&pins, 9, 0..1).is_none());
        assert_eq!(held(&table, 9), [0]);
        assert_eq!(held(&table, 8), []);
        drop(all);
        assert_eq!(held(&table, 9), []);
        let beyond = reader.pin(&pins, 9, u64::MAX - 5..u64::MAX).unwrap();
        assert!(beyond.is_empty() && beyond.copy_to(0, &mut [0; 4]) == 0);
        section.invalidate();
        assert!(reader.pin(&pins, 9, 0..1).is_none());
    }

    #[test]
    fn a_client_that_lies_about_its_pins_keeps_blocks_and_no_more() {
        let (section, _, table, _) = section();
        let file = table.hand_out().unwrap();
        for pin in 0..PINS_MAX as u64 {
            let words = [9, pin * 77 % 5, u64::MAX - pin, pin].map(u64::to_ne_bytes).concat();
            crate::system::pwrite(&file, &words, pin * 32).unwrap();
        }
        assert_eq!(section.evict(0..u64::MAX, |block| table.holds(9, block)), 0);
        assert_eq!(section.evict(0..4, |block| table.holds(8, block)), 4 * BLOCK_BYTES);
    }
}
