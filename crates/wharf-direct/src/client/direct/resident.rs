//! Reading what is in the section, and nothing else.

use std::ops::Range;

use crate::layout::{Ask, SLOT_BYTES};

use super::Direct;

impl Direct {
    /// Whether the bytes are kept in a file that was given away, and in no section.
    pub(in super::super) fn is_backed(&self) -> bool {
        self.backing.get().is_some()
    }

    /// Whether there is a section that is good, as far as is known.
    pub(in super::super) fn has_section(&self) -> bool {
        self.section().is_some_and(|link| link.reader.len_bytes().is_some())
    }

    /// Whether there is one, and nobody may have stored anything that the host has not heard of.
    pub(in super::super) fn is_quiet(&self) -> bool {
        self.section().is_some_and(|link| link.reader.is_quiet() && link.reader.len_bytes().is_some())
    }

    /// Whether all bytes of a range could be read just now.
    pub(in super::super) fn has(&self, range: Range<u64>) -> bool {
        let has = |link: &super::Link| link.reader.is_quiet() && link.reader.has(range);
        self.section().is_some_and(has) && !self.is_lost()
    }

    /// Reads from `offset` until `into` is full or the file ends, if the section has all of that and nobody may have
    /// stored anything that the host has not heard of.
    pub(in super::super) fn read_resident(&self, offset: u64, into: &mut [u8]) -> Option<usize> {
        let link = self.section().filter(|_| !self.is_lost())?;
        if !link.reader.is_quiet() {
            return None;
        }
        match link.reader.read_at(offset, into) {
            wharf_mem::Read::Done(count) => {
                self.touch(link, offset, count);
                Some(count)
            }
            wharf_mem::Read::Missing { .. } | wharf_mem::Read::Invalid => None,
        }
    }

    /// Asks over the socket for the section.
    pub(in super::super) fn look(&self) {
        self.find();
    }

    /// Reads a byte of each block until it is in the section: the host keeps what is read again.
    pub(in super::super) fn bring(&self, range: Range<u64>) {
        /// The first is answered as it is, the second brings the section.
        const READS: usize = 3;
        if self.has_section() && !self.is_quiet() {
            return;
        }
        let block = SLOT_BYTES as u64;
        for start in (range.start / block * block..range.end).step_by(SLOT_BYTES) {
            let wanted = start.max(range.start)..(start + block).min(range.end);
            for _ in 0..READS {
                if self.has(wanted.clone()) {
                    break;
                }
                let ask = Ask::Read { handle: self.handle, offset: start, len: 1, plain: false };
                let answered = self.connection.ask(ask, &[], |answered, _| answered.answer);
                match answered {
                    Ok(crate::layout::Answer::InSection) if !self.has_section() => self.find(),
                    Ok(crate::layout::Answer::Failed(_)) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        }
    }
}
