//! Reading by the kernel: what is right everywhere.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Advice, Stat, fadvise, fstat};
use rustix::io::{fcntl_dupfd_cloexec, pread};

use crate::layout::Record;

/// Descriptors of this crate begin here where they can: programs count on getting the lowest free numbers.
const FIRST_DESCRIPTOR: i32 = 512;

/// What tells one state of a file from another, as far as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl From<Record> for Stamp {
    fn from(record: Record) -> Stamp {
        let Record { size, times: [_, modified, changed], .. } = record;
        Stamp { size, modified, changed }
    }
}

/// The same descriptor out of the way of the program's own, where that is possible.
pub(super) fn moved_away(file: OwnedFd) -> OwnedFd {
    fcntl_dupfd_cloexec(&file, FIRST_DESCRIPTOR).unwrap_or(file)
}

/// A second descriptor for `file`, out of the way of the program's own.
pub(super) fn duplicate(file: impl AsFd) -> io::Result<OwnedFd> {
    let file = file.as_fd();
    Ok(fcntl_dupfd_cloexec(file, FIRST_DESCRIPTOR).or_else(|_| fcntl_dupfd_cloexec(file, 0))?)
}

/// Reads until `into` is full or the file ends.
pub(super) fn read_at(file: BorrowedFd<'_>, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match pread(file, &mut into[done..], offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) if done > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

pub(super) fn len(file: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(fstat(file)?.st_size.cast_unsigned())
}

pub(super) fn stamp(file: BorrowedFd<'_>) -> io::Result<Stamp> {
    let Stat { st_size, st_mtime, st_mtime_nsec, st_ctime, st_ctime_nsec, .. } = fstat(file)?;
    Ok(Stamp {
        size: st_size.cast_unsigned(),
        modified: (st_mtime, st_mtime_nsec as u32),
        changed: (st_ctime, st_ctime_nsec as u32),
    })
}

pub(super) fn prefetch(file: BorrowedFd<'_>, range: Range<u64>) {
    let len = range.end.saturating_sub(range.start);
    if let Some(len) = std::num::NonZeroU64::new(len) {
        // A hint: where it is not understood nothing is lost.
        let _ = fadvise(file, range.start, Some(len), Advice::WillNeed);
    }
}
