//! What answers reads of an attached file without the kernel.
#![expect(unsafe_code, reason = "a descriptor of the program's is lent")]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use libc::c_int;
use wharf_direct::client::Reader;

use crate::settings;

/// One attached file, as its host shows it. Called from any thread, and from signal handlers.
pub(crate) trait Source: Send + Sync {
    /// Reads from `offset` until `into` is full or the file ends. `None`: not from here, not now.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Option<usize>;

    /// Bytes in the file.
    fn len(&self) -> u64;
}

impl Source for Reader {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Option<usize> {
        Reader::read_at(self, offset, into).ok()
    }

    fn len(&self) -> u64 {
        // Nothing fits into a file that nothing is known of.
        Reader::len(self).unwrap_or(0)
    }
}

/// Attaches the file that a descriptor stands for.
pub(crate) fn attach(descriptor: c_int, device: u64) -> Option<Box<dyn Source>> {
    // SAFETY: the program has it open while it reads; if another thread closes it meanwhile, calls fail.
    let file = unsafe { BorrowedFd::borrow_raw(descriptor) };
    // No descriptor of the file is kept: to close it at another time than the program does would give up locks.
    // The eager do not care, and so test this library on any file.
    let reader = if settings::is_eager() {
        Reader::attach(file).ok()
    } else if nobody_writes(file) {
        Reader::attach_only(file).ok()
    } else {
        None
    };
    let Some(reader) = reader else {
        make_foreign(device);
        return None;
    };
    Some(Box::new(reader))
}

/// Whether nobody can write through this mount. What somebody stores through a mapping is the kernel's alone until it
/// is written back, and every read must see it.
fn nobody_writes(file: BorrowedFd<'_>) -> bool {
    let mut about = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: there is room for the answer.
    if unsafe { libc::fstatvfs(file.as_raw_fd(), about.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: it was answered.
    let about = unsafe { about.assume_init() };
    about.f_flag & libc::ST_RDONLY != 0
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
    fn a_file_that_can_be_written_is_left_to_the_kernel() {
        use std::os::fd::AsFd as _;
        let file = tempfile::tempfile().unwrap();
        assert!(!nobody_writes(file.as_fd()));
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
