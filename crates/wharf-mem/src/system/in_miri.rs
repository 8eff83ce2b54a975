//! What stands for the system's calls under Miri: a memfd is an allocation, and all mappings of it are its address.
//!
//! So Miri sees who uses which bytes, and how, and that nobody does after the last mapping has gone. It does not see what
//! a mapping allows. A descriptor is that of a pipe, of which only the number counts: it names the allocation.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, c_void};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, SeekFrom};
use rustix::io::{Errno, Result};
use rustix::mm::{Advice, MapFlags, ProtFlags};

const PAGE_BYTES: u64 = 4096;

/// Memory of whole pages, zeroed, until nobody has it.
struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: an address and a size; who uses the bytes is for others to settle, as with the system's.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(len: usize) -> Result<Arc<Memory>> {
        let len = len.max(1).next_multiple_of(PAGE_BYTES as usize);
        let layout = Layout::from_size_align(len, PAGE_BYTES as usize).map_err(|_| Errno::NOMEM)?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(Errno::NOMEM)?;
        Ok(Arc::new(Memory { start, layout }))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nobody has it any more.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// What a descriptor names.
#[derive(Clone)]
struct Named {
    file: Arc<Mutex<File>>,
    writable: bool,
}

/// A memfd. Its memory comes with its first mapping and goes with its last.
#[derive(Default)]
struct File {
    len: u64,
    seals: u32,
    memory: Weak<Memory>,
    /// Its pages that occupy memory. The system takes one also when it is touched, which is not seen here.
    pages: BTreeSet<u64>,
}

#[derive(Default)]
struct World {
    /// By the number of the descriptor.
    named: HashMap<i32, Named>,
    /// By address, each as often as it is mapped.
    mapped: HashMap<usize, Vec<Arc<Memory>>>,
}

fn world() -> MutexGuard<'static, World> {
    static WORLD: LazyLock<Mutex<World>> = LazyLock::new(Mutex::default);
    WORLD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn name(&mut self, file: &Arc<Mutex<File>>, writable: bool) -> Result<OwnedFd> {
        let (number, _) = std::io::pipe().map_err(|_| Errno::MFILE)?;
        let number = OwnedFd::from(number);
        self.named.insert(number.as_raw_fd(), Named { file: file.clone(), writable });
        Ok(number)
    }

    fn map(&mut self, memory: Arc<Memory>) -> *mut c_void {
        let start = memory.start.as_ptr();
        self.mapped.entry(start.addr()).or_default().push(memory);
        start.cast()
    }
}

fn named(number: i32) -> Result<Named> {
    world().named.get(&number).cloned().ok_or(Errno::INVAL)
}

/// Does something with the file that a descriptor names; `Errno::BADF` if it is not named to be written, and should be.
fn with<T>(fd: impl AsFd, write: bool, act: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let Named { file, writable } = named(fd.as_fd().as_raw_fd())?;
    if write && !writable {
        return Err(Errno::BADF);
    }
    act(&mut file.lock().unwrap_or_else(PoisonError::into_inner))
}

pub(crate) fn memfd_create(_: &str, _: MemfdFlags) -> Result<OwnedFd> {
    world().name(&Arc::default(), true)
}

pub(crate) fn open(path: impl AsRef<OsStr>, _: OFlags, _: Mode) -> Result<OwnedFd> {
    let number = path.as_ref().to_str().and_then(|path| path.strip_prefix("/proc/self/fd/"));
    let number = number.and_then(|number| number.parse().ok()).ok_or(Errno::NOENT)?;
    let Named { file, .. } = named(number)?;
    world().name(&file, false)
}

pub(crate) fn fcntl_dupfd_cloexec(fd: impl AsFd, _: i32) -> Result<OwnedFd> {
    let Named { file, writable } = named(fd.as_fd().as_raw_fd())?;
    world().name(&file, writable)
}

pub(crate) fn fchmod(_: impl AsFd, _: Mode) -> Result<()> {
    Ok(())
}

pub(crate) fn fcntl_add_seals(fd: impl AsFd, seals: SealFlags) -> Result<()> {
    with(fd, true, |file| {
        file.seals |= seals.bits();
        Ok(())
    })
}

pub(crate) fn fcntl_get_seals(fd: impl AsFd) -> Result<SealFlags> {
    with(fd, false, |file| Ok(SealFlags::from_bits_retain(file.seals)))
}

pub(crate) fn ftruncate(fd: impl AsFd, len: u64) -> Result<()> {
    with(fd, true, |file| {
        if file.seals != 0 {
            return Err(Errno::PERM);
        }
        file.len = len;
        Ok(())
    })
}

/// What is asked of the system's.
pub(crate) struct Stat {
    pub(crate) st_size: i64,
    pub(crate) st_blocks: i64,
}

pub(crate) fn fstat(fd: impl AsFd) -> Result<Stat> {
    with(fd, false, |file| {
        let blocks = file.pages.len() as u64 * PAGE_BYTES / 512;
        Ok(Stat { st_size: file.len as i64, st_blocks: blocks as i64 })
    })
}

/// The pages of a range.
fn pages(offset: u64, len: u64) -> Range<u64> {
    offset / PAGE_BYTES..(offset + len).div_ceil(PAGE_BYTES)
}

pub(crate) fn fallocate(fd: impl AsFd, flags: FallocateFlags, offset: u64, len: u64) -> Result<()> {
    with(fd, true, |file| {
        if !flags.contains(FallocateFlags::PUNCH_HOLE) {
            if offset + len > file.len {
                return Err(Errno::PERM);
            }
            file.pages.extend(pages(offset, len));
            return Ok(());
        }
        let end = (offset + len).min(file.len);
        file.pages.retain(|page| !(offset..end).contains(&(page * PAGE_BYTES)));
        if let Some(memory) = file.memory.upgrade() {
            // SAFETY: the range lies within the file, all of which the memory has.
            let start = unsafe { memory.start.add(offset as usize) };
            // SAFETY: as above; no test of ours looks at what is given back at the same time.
            unsafe { start.write_bytes(0, end.saturating_sub(offset) as usize) };
        }
        Ok(())
    })
}

pub(crate) fn pwrite(fd: impl AsFd, bytes: &[u8], offset: u64) -> Result<usize> {
    with(fd, true, |file| {
        let count = usize::try_from(file.len.saturating_sub(offset)).map_or(0, |room| room.min(bytes.len()));
        let memory = file.memory.upgrade().ok_or(Errno::IO)?;
        if count == 0 {
            return Err(Errno::PERM);
        }
        file.pages.extend(pages(offset, count as u64));
        // SAFETY: `count` bytes from `offset` on lie within the file, all of which the memory has.
        let start = unsafe { memory.start.add(offset as usize) };
        // SAFETY: as above; `bytes` are somebody else's, who may read them.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), count) };
        Ok(count)
    })
}

pub(crate) fn seek(fd: impl AsFd, to: SeekFrom) -> Result<u64> {
    let SeekFrom::Data(at) = to else { return Err(Errno::INVAL) };
    with(fd, false, |file| {
        let page = file.pages.range(at / PAGE_BYTES..).next();
        page.map(|page| at.max(page * PAGE_BYTES)).ok_or(Errno::NXIO)
    })
}

/// # Safety
/// That of the system's, which may be asked to put a mapping in another's place. This never does.
pub(crate) unsafe fn mmap(
    _: *mut c_void,
    len: usize,
    protection: ProtFlags,
    _: MapFlags,
    fd: impl AsFd,
    _: u64,
) -> Result<*mut c_void> {
    let memory = with(fd, protection.contains(ProtFlags::WRITE), |file| {
        let whole = usize::try_from(file.len).map_err(|_| Errno::NOMEM)?;
        let memory = file.memory.upgrade().map_or_else(|| Memory::new(whole), Ok)?;
        assert!(len <= memory.layout.size(), "nothing beyond the end of a file is ever mapped");
        file.memory = Arc::downgrade(&memory);
        Ok(memory)
    })?;
    Ok(world().map(memory))
}

/// # Safety
/// As for [`mmap`].
pub(crate) unsafe fn mmap_anonymous(
    _: *mut c_void,
    len: usize,
    _: ProtFlags,
    _: MapFlags,
) -> Result<*mut c_void> {
    let memory = Memory::new(len)?;
    Ok(world().map(memory))
}

/// # Safety
/// Nobody uses that mapping any more.
pub(crate) unsafe fn munmap(start: *mut c_void, _: usize) -> Result<()> {
    let mut world = world();
    let mapped = world.mapped.get_mut(&start.addr()).ok_or(Errno::INVAL)?;
    mapped.pop().map(drop).ok_or(Errno::INVAL)
}

/// # Safety
/// Nothing is done: there are no children, and no pages of any size.
pub(crate) unsafe fn madvise(_: *mut c_void, _: usize, _: Advice) -> Result<()> {
    Ok(())
}
