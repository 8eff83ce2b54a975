//! Memory from the kernel: anonymous, or that of a file that several processes share.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::large;
use crate::system::{madvise, mmap, mmap_anonymous, munmap};

/// What a mapping allows this process to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Read,
    /// To read and to write.
    Write,
}

/// One mapping, given back to the kernel when dropped.
///
/// It hands out only its address: who may touch which bytes when is for [`Payload`](crate::Payload)
/// and for transports to settle.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
    access: Access,
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
        Ok(Mapping { start, len, access: Access::Write })
    }

    /// Maps the first `len` bytes (rounded up to a page; zero is taken as one page) of a file, shared with
    /// everybody else who maps it. From two blocks of a section on, a block begins where a large page of its size may: the
    /// kernel maps it whole, and has it in one such page where it is told to.
    ///
    /// Bytes beyond the end of the file are mapped but not there: touching them ends the process. Who uses
    /// the mapping knows the file's length, and that it cannot shrink.
    ///
    /// # Errors
    /// What mmap(2) says: that the descriptor does not allow the access, or that address space has run out.
    pub(crate) fn shared(file: impl AsFd, len: usize, access: Access) -> io::Result<Mapping> {
        let len = len.max(1).checked_next_multiple_of(rustix::param::page_size());
        let len = len.ok_or(io::ErrorKind::OutOfMemory)?;
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        // Under Miri nothing is put in another's place.
        if cfg!(miri) || len < large::PLACE_BYTES {
            // SAFETY: no address is asked for, so no mapping of anybody else is replaced.
            let start = unsafe { mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, file, 0) }?;
            let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
            return Ok(Mapping { start, len, access });
        }
        let mut mapping = Mapping::reserved(len)?;
        let start = mapping.start.as_ptr().cast();
        // SAFETY: what is replaced is address space that was reserved for this, and nobody else has seen.
        unsafe { mmap(start, len, protection, MapFlags::SHARED | MapFlags::FIXED, file, 0) }?;
        mapping.access = access;
        Ok(mapping)
    }

    /// Address space for `len` bytes, a multiple of the page size, that begins where a large page of a block may.
    fn reserved(len: usize) -> io::Result<Mapping> {
        let whole = len.checked_add(large::PLACE_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: no address is asked for, so no mapping of anybody else is replaced.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), whole, ProtFlags::empty(), flags) }?;
        let before = large::place_after(start.addr());
        // SAFETY: it is less than what was mapped beyond `len`.
        let aligned = unsafe { start.cast::<u8>().add(before) };
        // SAFETY: `before` and `len` together are no more than was mapped.
        let end = unsafe { aligned.add(len) };
        for (surplus, bytes) in [(start, before), (end.cast(), large::PLACE_BYTES - before)] {
            if bytes > 0 {
                // SAFETY: a part of what was just mapped, before or behind what is kept.
                unsafe { munmap(surplus, bytes) }?;
            }
        }
        let start = NonNull::new(aligned).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, len, access: Access::Read })
    }

    /// Leaves the mapping out of processes that this one forks.
    ///
    /// # Errors
    /// What madvise(2) says.
    pub fn keep_from_children(&self) -> io::Result<()> {
        // SAFETY: the range is ours, and what is advised concerns children only: nothing here changes.
        Ok(unsafe { madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxDontFork) }?)
    }

    /// Has processes that this one forks find zeros here. For anonymous memory.
    ///
    /// # Errors
    /// What madvise(2) says.
    #[cfg(not(loom))]
    pub(crate) fn wipe_in_children(&self) -> io::Result<()> {
        // SAFETY: the range is ours, and what is advised concerns children only: nothing here changes.
        Ok(unsafe { madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxWipeOnFork) }?)
    }

    /// Asks the system for large pages, as far as it has any: memory that a device reaches in few pieces. One is occupied
    /// whole at its first touch.
    ///
    /// # Errors
    /// What madvise(2) says, usually that this kernel has none.
    pub fn prefer_large_pages(&self) -> io::Result<()> {
        // SAFETY: the range is ours, and its bytes stay what they are.
        Ok(unsafe { madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxHugepage) }?)
    }

    /// Takes memory for a range of pages, so that writing to it cannot fail. Bytes that are there stay.
    ///
    /// # Errors
    /// When there is no memory, or the kernel (before Linux 5.14) cannot do this; or if the range is not of the mapping.
    pub(crate) fn occupy(&self, offset: usize, len: usize) -> io::Result<()> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the range is within the mapping.
        let start = unsafe { self.start.add(offset) };
        // SAFETY: the range is ours; pages come to be there, and no byte of them changes.
        Ok(unsafe { madvise(start.as_ptr().cast(), len, Advice::LinuxPopulateWrite) }?)
    }

    /// The first byte. Valid for [`len`](Self::len) bytes as long as the mapping lives.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// What is allowed.
    pub fn access(&self) -> Access {
        self.access
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
