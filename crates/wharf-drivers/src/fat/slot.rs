//! The 32 bytes of a directory's slot: a file's entry, or a part of its long name.

use super::geometry::Width;
use super::name::{Short, checksum};
use super::time::Stamp;

pub(super) const SLOT: usize = 32;
/// First byte of a slot that is free, and of the first one that never was used.
pub(super) const FREE: u8 = 0xE5;
pub(super) const END: u8 = 0;

pub(super) const READ_ONLY: u8 = 0x01;
pub(super) const LABEL: u8 = 0x08;
pub(super) const DIRECTORY: u8 = 0x10;
pub(super) const ARCHIVE: u8 = 0x20;
const LONG: u8 = 0x0F;
const LONG_MASK: u8 = 0x3F;
/// Marks the part of a long name that is its end, which comes first.
const LONG_LAST: u8 = 0x40;
/// Units of a long name in one slot, and where they are.
const UNITS: usize = 13;
const UNITS_AT: [usize; UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// A file's entry, as it lies on the disc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(pub(super) [u8; SLOT]);

impl Slot {
    pub(super) fn new(short: Short, case: u8, attributes: u8) -> Slot {
        let mut slot = Slot([0; SLOT]);
        slot.name(short, case);
        slot.0[11] = attributes;
        slot
    }

    pub(super) fn name(&mut self, short: Short, case: u8) {
        self.0[..11].copy_from_slice(&short);
        self.0[12] = case;
    }

    pub(super) fn short(&self) -> Short {
        self.0[..11].try_into().expect("eleven bytes")
    }

    pub(super) fn case(&self) -> u8 {
        self.0[12]
    }

    pub(super) fn attributes(&self) -> u8 {
        self.0[11]
    }

    pub(super) fn set_attributes(&mut self, attributes: u8) {
        self.0[11] = attributes;
    }

    pub(super) fn is_directory(&self) -> bool {
        self.attributes() & DIRECTORY != 0
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn set_word(&mut self, at: usize, word: u16) {
        self.0[at..at + 2].copy_from_slice(&word.to_le_bytes());
    }

    /// The first cluster; 0 for none.
    pub(super) fn first(&self, width: Width) -> u32 {
        // Older systems kept something else in the upper half.
        let high = if width == Width::Fat32 { self.word(20) } else { 0 };
        u32::from(high) << 16 | u32::from(self.word(26))
    }

    pub(super) fn set_first(&mut self, cluster: u32, width: Width) {
        if width == Width::Fat32 {
            self.set_word(20, (cluster >> 16) as u16);
        }
        self.set_word(26, cluster as u16);
    }

    pub(super) fn size(&self) -> u32 {
        u32::from_le_bytes([self.0[28], self.0[29], self.0[30], self.0[31]])
    }

    pub(super) fn set_size(&mut self, size: u32) {
        self.0[28..32].copy_from_slice(&size.to_le_bytes());
    }

    pub(super) fn born(&self) -> (Stamp, u8) {
        (Stamp { time: self.word(14), date: self.word(16) }, self.0[13])
    }

    pub(super) fn set_born(&mut self, (stamp, hundredths): (Stamp, u8)) {
        self.0[13] = hundredths;
        self.set_word(14, stamp.time);
        self.set_word(16, stamp.date);
    }

    /// The day of the last access.
    pub(super) fn accessed(&self) -> Stamp {
        Stamp { time: 0, date: self.word(18) }
    }

    pub(super) fn set_accessed(&mut self, stamp: Stamp) {
        self.set_word(18, stamp.date);
    }

    pub(super) fn modified(&self) -> Stamp {
        Stamp { time: self.word(22), date: self.word(24) }
    }

    pub(super) fn set_modified(&mut self, stamp: Stamp) {
        self.set_word(22, stamp.time);
        self.set_word(24, stamp.date);
    }
}

/// The slots of a long name, in the order in which they lie before the entry.
pub(super) fn long_slots(units: &[u16], short: &Short) -> Vec<[u8; SLOT]> {
    let sum = checksum(short);
    let count = units.len().div_ceil(UNITS);
    (1..=count)
        .rev()
        .map(|number| {
            let mut slot = [0; SLOT];
            slot[0] = number as u8 | if number == count { LONG_LAST } else { 0 };
            (slot[11], slot[13]) = (LONG, sum);
            let part = &units[(number - 1) * UNITS..];
            for (index, at) in UNITS_AT.into_iter().enumerate() {
                // A NUL ends a name that leaves room; the rest is filled up.
                let unit = match part.get(index) {
                    Some(unit) => *unit,
                    None if index == part.len() => 0,
                    None => 0xFFFF,
                };
                slot[at..at + 2].copy_from_slice(&unit.to_le_bytes());
            }
            slot
        })
        .collect()
}

/// What is known of a long name while its slots are read.
#[derive(Debug, Default)]
pub(super) struct LongName {
    units: Vec<u16>,
    /// The number that comes next; 0 when the name is complete.
    next: u8,
    sum: u8,
    /// Slots so far.
    slots: u32,
}

/// What a slot turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    End,
    Free,
    /// A part of a long name, whether or not anything comes of it.
    Part,
    /// An entry, with its long name and the number of slots of that, if it has one.
    Entry(Slot, Option<(Vec<u16>, u32)>),
}

impl LongName {
    /// Takes the next slot of a directory.
    pub(super) fn take(&mut self, slot: &[u8; SLOT]) -> Seen {
        if slot[0] == END {
            return Seen::End;
        }
        if slot[0] == FREE {
            *self = LongName::default();
            return Seen::Free;
        }
        if slot[11] & LONG_MASK == LONG {
            self.part(slot);
            return Seen::Part;
        }
        let entry = Slot(*slot);
        let LongName { mut units, next, sum, slots } = std::mem::take(self);
        let fits = slots > 0 && next == 0 && sum == checksum(&entry.short());
        let long = fits.then(|| {
            units.truncate(units.iter().position(|unit| *unit == 0).unwrap_or(units.len()));
            (units, slots)
        });
        Seen::Entry(entry, long)
    }

    fn part(&mut self, slot: &[u8; SLOT]) {
        let number = slot[0] & !LONG_LAST;
        let begins = slot[0] & LONG_LAST != 0;
        if begins {
            *self = LongName { next: number, sum: slot[13], ..LongName::default() };
        }
        if number == 0 || number > 20 || number != self.next || slot[13] != self.sum {
            *self = LongName::default();
            return;
        }
        let part = UNITS_AT.map(|at| u16::from_le_bytes([slot[at], slot[at + 1]]));
        self.units.splice(0..0, part);
        self.next -= 1;
        self.slots += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_comes_back_whole() {
        for len in [1, 12, 13, 14, 26, 255] {
            let units: Vec<u16> = (0..len).map(|at| 0x41 + at).collect();
            let short = *b"AAAAAA~1   ";
            let mut reader = LongName::default();
            for slot in long_slots(&units, &short) {
                assert_eq!(reader.take(&slot), Seen::Part);
            }
            let entry = Slot::new(short, 0, ARCHIVE);
            let count = u32::from(len).div_ceil(13);
            assert_eq!(reader.take(&entry.0), Seen::Entry(entry, Some((units, count))));
        }
    }

    #[test]
    fn parts_that_do_not_belong_are_no_name() {
        let short = *b"AAAAAA~1   ";
        let units = [0x41; 30];
        let slots = long_slots(&units, &short);
        let entry = Slot::new(short, 0, ARCHIVE);
        let other = Slot::new(*b"BBBBBB~1   ", 0, ARCHIVE);
        let seen = |order: &[usize], entry: Slot| {
            let mut reader = LongName::default();
            order.iter().for_each(|at| drop(reader.take(&slots[*at])));
            matches!(reader.take(&entry.0), Seen::Entry(_, Some(_)))
        };
        assert!(seen(&[0, 1, 2], entry));
        assert!(!seen(&[0, 1, 2], other) && !seen(&[0, 2], entry) && !seen(&[1, 2], entry));
        assert!(!seen(&[0, 1], entry) && seen(&[1, 0, 1, 2], entry));
    }
}
