//! Memory that other processes may map: a memfd that is made in one size and keeps it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};

use crate::mapping::{Access, Mapping};
use crate::system::{
    fallocate, fchmod, fcntl_add_seals, fcntl_dupfd_cloexec, fcntl_get_seals, fstat, ftruncate, memfd_create,
    open,
};

/// A memfd and this process's mapping of it.
///
/// It is sealed against growing and shrinking, so no mapping of it ever ends in a signal. It is never sealed
/// against writing: that seal forbids to punch holes as well, which eviction needs. What keeps clients from
/// writing is the descriptor that they are given, see [`read_only`](Self::read_only).
#[derive(Debug)]
pub struct Shared {
    file: OwnedFd,
    mapping: Arc<Mapping>,
    len_bytes: u64,
}

impl Shared {
    /// Makes a memfd of `len_bytes` zeros and maps it. Its pages are taken when they are first used.
    ///
    /// `name` is what `/proc` shows.
    ///
    /// # Errors
    /// When there is no memory, address space or descriptor left for it.
    pub fn create(name: &str, len_bytes: u64) -> io::Result<Shared> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
            // Linux before 6.3 does not know the flag.
            Err(rustix::io::Errno::INVAL) => memfd_create(name, flags)?,
            made => made?,
        };
        ftruncate(&file, len_bytes)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // Another user who holds a read-only descriptor must not be able to open it again for writing.
        fchmod(&file, Mode::RUSR)?;
        let mapping = Arc::new(Mapping::shared(&file, whole(len_bytes)?, Access::Write)?);
        Ok(Shared { file, mapping, len_bytes })
    }

    /// Maps a memfd that came from a stranger, who says that it has `len_bytes`.
    ///
    /// # Errors
    /// If it is no memfd, if its size is another one or could still change, or if the descriptor does not
    /// allow the access.
    pub fn of_stranger(file: OwnedFd, len_bytes: u64, access: Access) -> io::Result<Shared> {
        let kept = SealFlags::SHRINK | SealFlags::GROW;
        if !fcntl_get_seals(&file)?.contains(kept) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "shared memory that could be resized"));
        }
        if u64::try_from(fstat(&file)?.st_size) != Ok(len_bytes) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "shared memory of another size"));
        }
        let mapping = Arc::new(Mapping::shared(&file, whole(len_bytes)?, access)?);
        Ok(Shared { file, mapping, len_bytes })
    }

    /// A descriptor of the same memory that allows reading only, to be handed out.
    ///
    /// # Errors
    /// When there is no descriptor left, or `/proc` is not mounted.
    pub fn read_only(&self) -> io::Result<OwnedFd> {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// A descriptor of the same memory that allows writing too, to be handed out.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn writable(&self) -> io::Result<OwnedFd> {
        Ok(fcntl_dupfd_cloexec(&self.file, 0)?)
    }

    /// Its size in bytes, which never changes.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The mapping. Of its bytes the first [`len_bytes`](Self::len_bytes) are there.
    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// The memfd itself.
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Bytes of memory that it occupies now.
    ///
    /// # Errors
    /// What fstat(2) says.
    pub fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(u64::try_from(fstat(&self.file)?.st_blocks).unwrap_or(0) * 512)
    }

    /// Takes memory for `len_bytes` from `offset` on, so that touching it through the mapping cannot fail.
    ///
    /// # Errors
    /// When there is none; or when the range lies beyond the end.
    pub fn allocate(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        if len_bytes == 0 {
            return Ok(());
        }
        // Keeping the size is only a guard: the seal would refuse to grow.
        Ok(fallocate(&self.file, FallocateFlags::KEEP_SIZE, offset, len_bytes)?)
    }

    /// The same, by way of the mapping: a large page for each block, if the system gives those and the mapping
    /// [prefers](Mapping::prefer_large_pages) them; else it takes longer than [`allocate`](Self::allocate).
    ///
    /// # Errors
    /// When there is no memory, or the range lies beyond the end.
    pub(crate) fn occupy(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        if len_bytes == 0 {
            return Ok(());
        }
        if offset.checked_add(len_bytes).is_none_or(|end| end > self.len_bytes) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.mapping.occupy(whole(offset)?, whole(len_bytes)?)
    }

    /// Gives the memory of a range back. It reads as zeros from then on, through every mapping.
    ///
    /// # Errors
    /// What fallocate(2) says.
    pub fn punch(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        if len_bytes == 0 {
            return Ok(());
        }
        Ok(fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len_bytes)?)
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn whole(len_bytes: u64) -> io::Result<usize> {
    usize::try_from(len_bytes).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    #[cfg_attr(miri, ignore = "it is the system that refuses")]
    fn what_is_handed_out_to_read_cannot_be_written_resized_or_punched() {
        let shared = Shared::create("test", 8192).unwrap();
        let other = shared.read_only().unwrap();
        assert!(Mapping::shared(&other, 8192, Access::Write).is_err());
        assert!(ftruncate(&other, 0).is_err());
        assert!(ftruncate(&shared, 0).is_err(), "sealed for everybody");
        assert!(ftruncate(&shared, 1 << 20).is_err());
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert!(fallocate(&other, punch, 0, 4096).is_err());
        assert!(std::fs::File::from(other).write_at(b"x", 0).is_err());
    }

    #[test]
    #[cfg_attr(miri, ignore = "files of the system are no memory there")]
    fn memory_of_a_stranger_is_taken_only_in_the_size_that_it_keeps() {
        let shared = Shared::create("test", 8192).unwrap();
        let fd = || shared.read_only().unwrap();
        assert!(Shared::of_stranger(fd(), 8192, Access::Read).is_ok());
        assert!(Shared::of_stranger(fd(), 8192, Access::Write).is_err());
        assert!(Shared::of_stranger(fd(), 4096, Access::Read).is_err());
        let loose = memfd_create("loose", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&loose, 8192).unwrap();
        assert!(Shared::of_stranger(loose, 8192, Access::Read).is_err());
        let file = tempfile();
        ftruncate(&file, 8192).unwrap();
        assert!(Shared::of_stranger(file, 8192, Access::Read).is_err());
    }

    fn tempfile() -> OwnedFd {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        open(std::env::temp_dir(), flags, Mode::RUSR | Mode::WUSR).unwrap()
    }

    #[test]
    fn memory_is_counted_while_it_is_there() {
        let shared = Shared::create("test", 1 << 20).unwrap();
        assert_eq!(shared.allocated_bytes().unwrap(), 0);
        shared.allocate(65536, 65536).unwrap();
        assert_eq!(shared.allocated_bytes().unwrap(), 65536);
        shared.punch(65536, 4096).unwrap();
        assert_eq!(shared.allocated_bytes().unwrap(), 65536 - 4096);
        assert!(shared.allocate(1 << 20, 4096).is_err(), "beyond the end");
    }

    #[test]
    #[cfg_attr(miri, ignore = "there are neither pages nor places for them")]
    fn memory_is_taken_by_way_of_the_mapping_and_what_is_there_stays() {
        let shared = Shared::create("test", 1 << 20).unwrap();
        assert_eq!(crate::large::place_after(shared.mapping().start().addr().get()), 0);
        shared.copy_in(131_072, b"there");
        shared.occupy(131_072, 65_536).unwrap();
        assert_eq!(shared.allocated_bytes().unwrap(), 65_536);
        let mut there = [0; 5];
        shared.copy_out(131_072, &mut there);
        assert_eq!(&there, b"there");
        assert!(shared.occupy((1 << 20) - 4096, 8192).is_err(), "beyond the end");
        assert!(shared.occupy(u64::MAX, 1).is_err());
    }
}
