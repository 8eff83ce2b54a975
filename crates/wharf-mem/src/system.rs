//! The system's calls on memory: the one place to which Miri, which knows neither memfd nor mappings of files, puts others.

#[cfg(miri)]
mod in_miri;

#[cfg(miri)]
pub(crate) use in_miri::{
    fallocate, fchmod, fcntl_add_seals, fcntl_dupfd_cloexec, fcntl_get_seals, fstat, ftruncate, madvise,
    memfd_create, mmap, mmap_anonymous, munmap, open, pwrite, seek,
};
#[cfg(not(miri))]
pub(crate) use rustix::{
    fs::{fallocate, fchmod, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create, open, seek},
    io::{fcntl_dupfd_cloexec, pwrite},
    mm::{madvise, mmap, mmap_anonymous, munmap},
};
