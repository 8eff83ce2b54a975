//! What answers reads of an attached file without the kernel.
#![expect(unsafe_code, reason = "a descriptor of the program's is lent")]

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use libc::c_int;
use wharf_direct::client::{Reader, Resident};

use crate::settings;

/// One attached file, as its host shows it. Called from any thread, and from signal handlers.
pub(crate) trait Source: Send + Sync {
    /// Whether anything can be read here at present.
    fn is_ready(&self) -> bool;

    /// Whether all of these bytes are here, and in the file.
    fn has(&self, range: Range<u64>) -> bool;

    /// Reads from `offset` until `into` is full or the file ends. `None`: not from here, not now.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Option<usize>;

    /// What is to be done about bytes that are not here?
    fn missed(&self) -> Missed;

    /// Has bytes from here on brought, for those who read on or read again. Waits for nobody.
    fn want(&self, range: Range<u64>);

    /// Looks for bytes that may be here already. May open descriptors.
    fn look(&self, range: Range<u64>);

    /// Whether it reads the file after all, and nothing goes past the kernel.
    fn is_stand_in(&self) -> bool {
        false
    }
}

/// What is to be done about bytes that are not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Nothing.
    Leave,
    /// They are to be brought.
    Want,
    /// They may be here already.
    Look,
}

/// A file of a volume: what its host keeps in shared memory.
impl Source for Resident {
    fn is_ready(&self) -> bool {
        Resident::is_ready(self)
    }

    fn has(&self, range: Range<u64>) -> bool {
        Resident::has(self, range)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Option<usize> {
        Resident::read_at(self, offset, into)
    }

    fn missed(&self) -> Missed {
        if self.may_have_come() { Missed::Look } else { Missed::Want }
    }

    fn want(&self, range: Range<u64>) {
        Resident::want(self, range);
    }

    fn look(&self, range: Range<u64>) {
        Resident::look(self);
        Resident::want(self, range);
    }
}

/// The same for the eager, who wait for what is not here.
struct Awaited(Resident);

impl Source for Awaited {
    fn is_ready(&self) -> bool {
        true
    }

    fn has(&self, range: Range<u64>) -> bool {
        self.0.has(range)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Option<usize> {
        self.0.read_at(offset, into)
    }

    fn missed(&self) -> Missed {
        Missed::Look
    }

    fn want(&self, _: Range<u64>) {}

    fn look(&self, range: Range<u64>) {
        self.0.fetch(range);
    }
}

/// Any file without a host, for the eager, by a descriptor of its own: all rules of this library are the same then.
impl Source for Reader {
    fn is_ready(&self) -> bool {
        true
    }

    fn has(&self, range: Range<u64>) -> bool {
        // Nothing fits into a file that nothing is known of.
        range.end <= self.len().unwrap_or(0)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Option<usize> {
        Reader::read_at(self, offset, into).ok()
    }

    fn missed(&self) -> Missed {
        Missed::Leave
    }

    fn want(&self, _: Range<u64>) {}

    fn look(&self, _: Range<u64>) {}

    fn is_stand_in(&self) -> bool {
        true
    }
}

/// Attaches the file that a descriptor stands for.
pub(crate) fn attach(descriptor: c_int, device: u64) -> Option<Box<dyn Source>> {
    // SAFETY: the program has it open while it reads; if another thread closes it meanwhile, calls fail.
    let file = unsafe { BorrowedFd::borrow_raw(descriptor) };
    // No descriptor of the file is kept: to close it at another time than the program does would give up locks. The
    // eager do not care.
    match (Resident::attach(file), settings::is_eager()) {
        (Ok(resident), true) => Some(Box::new(Awaited(resident))),
        (Ok(resident), false) => Some(Box::new(resident)),
        (Err(_), true) => Some(Box::new(Reader::attach(file).ok()?)),
        (Err(_), false) => {
            make_foreign(device);
            None
        }
    }
}

/// File systems without a way past the kernel, by their device numbers; the oldest is forgotten first.
static FOREIGN: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];
static NEXT_FOREIGN: AtomicUsize = AtomicUsize::new(0);

/// Whether it is known that nobody on this device can be attached.
pub(crate) fn is_foreign(device: u64) -> bool {
    FOREIGN.iter().any(|known| known.load(Relaxed) == device)
}

fn make_foreign(device: u64) {
    if !is_foreign(device) {
        FOREIGN[NEXT_FOREIGN.fetch_add(1, Relaxed) % FOREIGN.len()].store(device, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_no_volume_is_left_to_the_kernel() {
        use std::os::fd::AsRawFd as _;
        let file = tempfile::tempfile().unwrap();
        assert!(attach(file.as_raw_fd(), 88).is_none() && is_foreign(88));
    }

    #[test]
    fn a_foreign_file_system_is_asked_once() {
        assert!(!is_foreign(77));
        make_foreign(77);
        make_foreign(77);
        assert!(is_foreign(77));
        (100..116).for_each(make_foreign);
        assert!(!is_foreign(77) && is_foreign(115));
    }
}
