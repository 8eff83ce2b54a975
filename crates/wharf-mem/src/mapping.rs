//! Anonymous memory from the kernel: zeroed, page-aligned, touched only when used.

use std::io;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// One private anonymous mapping, given back to the kernel when dropped.
///
/// It hands out only its address: who may touch which bytes when is for [`Payload`](crate::Payload)
/// and for transports to settle.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is an address and a length; it lends no references to its bytes.
unsafe impl Send for Mapping {}
// SAFETY: as above: shared access reads two plain fields.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps at least `len` bytes (rounded up to a page; zero is taken as one page).
    ///
    /// The memory is reserved, not occupied: a page costs nothing before its first use.
    ///
    /// # Errors
    /// What mmap(2) says, usually that memory or address space has run out.
    pub fn anonymous(len: usize) -> io::Result<Mapping> {
        let len = len.max(1).checked_next_multiple_of(rustix::param::page_size());
        let len = len.ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: no address is asked for, so no mapping of anybody else is replaced.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, len })
    }

    /// The first byte. Valid for [`len`](Self::len) bytes as long as the mapping lives.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Bytes mapped; a multiple of the page size, never zero.
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone and every payload on it holds an `Arc` of it, so none is left.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping");
    }
}
