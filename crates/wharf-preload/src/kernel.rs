//! What is asked of the kernel about a descriptor. These calls change no errno that anybody sees: `guard` keeps it.
#![expect(unsafe_code, reason = "calls on descriptors that are the program's, and may be anything")]

use std::mem::MaybeUninit;

use libc::c_int;

/// Which file this is, as long as anybody has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Of the file system.
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) identity: Identity,
    pub(crate) len: u64,
    pub(crate) is_regular: bool,
}

/// The file that the number stands for now. Nobody is asked but the kernel, not even by FUSE.
#[inline]
pub(crate) fn identity(descriptor: c_int) -> Option<Identity> {
    statx(descriptor, libc::STATX_INO).map(|stat| identity_of(&stat))
}

/// More about it.
pub(crate) fn about(descriptor: c_int) -> Option<About> {
    let stat = statx(descriptor, libc::STATX_INO | libc::STATX_TYPE | libc::STATX_SIZE)?;
    let is_regular = u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFREG;
    Some(About { identity: identity_of(&stat), len: stat.stx_size, is_regular })
}

#[inline]
fn statx(descriptor: c_int, mask: u32) -> Option<libc::statx> {
    let mut stat = MaybeUninit::<libc::statx>::uninit();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: the path is an empty string, and there is room for the answer.
    let result = unsafe { libc::statx(descriptor, c"".as_ptr(), flags, mask, stat.as_mut_ptr()) };
    // SAFETY: the kernel has filled all of it.
    (result == 0).then(|| unsafe { stat.assume_init() })
}

#[inline]
fn identity_of(stat: &libc::statx) -> Identity {
    let device = u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor);
    Identity { device, inode: stat.stx_ino }
}

/// Whether it was opened for nothing but reading, by the page cache.
pub(crate) fn only_reads(descriptor: c_int) -> bool {
    // SAFETY: it takes no pointer.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
    let other = libc::O_PATH | libc::O_DIRECT;
    flags >= 0 && flags & libc::O_ACCMODE == libc::O_RDONLY && flags & other == 0
}

/// Moves the offset of an open file by `bytes` in one step, as a read of them would, and returns where they begin.
///
/// The kernel adds under the open file's own lock. So whoever shares the offset, in this process or another,
/// reads other bytes.
#[inline]
pub(crate) fn claim(descriptor: c_int, bytes: usize) -> Option<u64> {
    let end = seek(descriptor, i64::try_from(bytes).ok()?)?;
    end.checked_sub(bytes as u64)
}

/// Gives back the last `bytes` of what was claimed.
pub(crate) fn give_back(descriptor: c_int, bytes: usize) {
    if let Ok(bytes) = i64::try_from(bytes) {
        seek(descriptor, -bytes);
    }
}

#[inline]
fn seek(descriptor: c_int, by: i64) -> Option<u64> {
    // SAFETY: it takes no pointer.
    let to = unsafe { libc::lseek64(descriptor, by, libc::SEEK_CUR) };
    u64::try_from(to).ok()
}

/// So many numbers are asked about at once.
pub(crate) const NUMBERS: usize = 1024;

/// Which of the numbers from `first` on are open, as bits. `None` where a process may have only a few.
pub(crate) fn open_numbers(first: c_int) -> Option<[u64; NUMBERS / 64]> {
    let ask = |at: usize| libc::pollfd { fd: first + at as c_int, events: 0, revents: 0 };
    let mut asked: [libc::pollfd; NUMBERS] = std::array::from_fn(ask);
    // SAFETY: there are as many as it says, and nothing is waited for.
    let told = unsafe { libc::poll(asked.as_mut_ptr(), NUMBERS as libc::nfds_t, 0) };
    if told < 0 {
        return None;
    }
    let mut open = [0; NUMBERS / 64];
    for (at, asked) in asked.iter().enumerate() {
        if asked.revents & libc::POLLNVAL == 0 {
            open[at / 64] |= 1 << (at % 64);
        }
    }
    Some(open)
}

/// Reads from the file itself.
pub(crate) fn read_at(descriptor: c_int, offset: u64, into: &mut [u8]) -> Result<usize, c_int> {
    let offset = i64::try_from(offset).map_err(|_| libc::EINVAL)?;
    // The system call, for the function of this name is ours.
    // SAFETY: the bytes are there to be written.
    let read = unsafe { libc::syscall(libc::SYS_pread64, descriptor, into.as_mut_ptr(), into.len(), offset) };
    usize::try_from(read).map_err(|_| crate::guard::errno())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek as _, Write as _};
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_claim_moves_the_offset_of_all_who_share_it() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        file.rewind().unwrap();
        let mut shared = file.try_clone().unwrap();
        assert_eq!(claim(file.as_raw_fd(), 4), Some(0));
        assert_eq!(claim(shared.as_raw_fd(), 100), Some(4));
        give_back(file.as_raw_fd(), 94);
        assert_eq!(shared.stream_position().unwrap(), 10);
        assert_eq!(claim(file.as_raw_fd(), usize::MAX), None);
        assert_eq!(claim(-1, 1), None);
    }

    #[test]
    fn a_number_that_stands_for_another_file_is_seen() {
        let (one, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let first = identity(one.as_raw_fd()).unwrap();
        assert_eq!(identity(one.try_clone().unwrap().as_raw_fd()), Some(first));
        assert_ne!(identity(other.as_raw_fd()), Some(first));
        assert_eq!(identity(-1), None);
    }

    #[test]
    fn only_plain_readers_are_taken_for_such() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!only_reads(file.as_raw_fd()));
        let again = std::fs::File::open(file.path()).unwrap();
        assert!(only_reads(again.as_raw_fd()));
        assert!(about(again.as_raw_fd()).unwrap().is_regular);
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(!about(null.as_raw_fd()).unwrap().is_regular);
    }
}
