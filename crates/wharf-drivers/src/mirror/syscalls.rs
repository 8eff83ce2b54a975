//! The system calls that are in no safe library, made safe: the one file of the mirror with unsafe code.
//!
//! - A [`FileHandle`] is what a file is called when nobody holds it open. It finds its file again wherever that
//!   was moved, and never finds another one that got the same inode number.
//! - [`fsxattr`] and [`set_fsxattr`] carry the attributes that inodes have beside those of stat(2).
#![expect(unsafe_code, reason = "see above")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

/// The largest handle that Linux makes (`MAX_HANDLE_SZ`).
const HANDLE_BYTES_MAX: usize = 128;

/// `struct file_handle` with room for any handle.
#[repr(C)]
struct RawHandle {
    handle_bytes: u32,
    handle_type: i32,
    bytes: [u8; HANDLE_BYTES_MAX],
}

/// A file's name for life, within the file system that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHandle {
    kind: i32,
    bytes: Box<[u8]>,
}

impl FileHandle {
    /// The handle of an open file; the descriptor may be an `O_PATH` one.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the file system has none.
    pub(super) fn of(file: BorrowedFd<'_>) -> Result<FileHandle, Errno> {
        let mut raw =
            RawHandle { handle_bytes: HANDLE_BYTES_MAX as u32, handle_type: 0, bytes: [0; HANDLE_BYTES_MAX] };
        let mut mount = 0;
        // SAFETY: the handle has the layout of `struct file_handle` and room for as many bytes as it says, the
        // name is an empty string with its NUL, and all outlive the call.
        let result = unsafe {
            libc::name_to_handle_at(
                file.as_raw_fd(),
                c"".as_ptr(),
                (&raw mut raw).cast(),
                &raw mut mount,
                libc::AT_EMPTY_PATH,
            )
        };
        if result != 0 {
            return Err(last_error());
        }
        let bytes = raw.bytes.get(..raw.handle_bytes as usize).ok_or(Errno::OVERFLOW)?;
        Ok(FileHandle { kind: raw.handle_type, bytes: bytes.into() })
    }

    /// Finds the file and opens it as a mere place (`O_PATH`). `anchor` is anything open on its file system,
    /// and not an `O_PATH` descriptor.
    ///
    /// # Errors
    /// `ESTALE` when the file is gone, `EPERM` for all but root.
    pub(super) fn open(&self, anchor: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let mut raw = RawHandle {
            handle_bytes: self.bytes.len() as u32,
            handle_type: self.kind,
            bytes: [0; HANDLE_BYTES_MAX],
        };
        raw.bytes[..self.bytes.len()].copy_from_slice(&self.bytes);
        // SAFETY: the handle has the layout of `struct file_handle` and outlives the call; what is in it the
        // kernel checks.
        let file = unsafe {
            libc::open_by_handle_at(
                anchor.as_raw_fd(),
                (&raw mut raw).cast(),
                libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC,
            )
        };
        if file < 0 {
            return Err(last_error());
        }
        // SAFETY: the call has just made this descriptor, and nobody else knows of it.
        Ok(unsafe { OwnedFd::from_raw_fd(file) })
    }
}

/// `struct fsxattr`: five 32-bit numbers and eight bytes for the future. What they mean is the caller's and the
/// backing file system's.
pub(super) type FsXattr = [u8; 28];

/// `FS_IOC_FSGETXATTR`.
pub(super) const GET_FSXATTR: Opcode = opcode::read::<FsXattr>(b'X', 31);
/// `FS_IOC_FSSETXATTR`.
pub(super) const SET_FSXATTR: Opcode = opcode::write::<FsXattr>(b'X', 32);

/// The attributes of something open.
///
/// # Errors
/// `ENOTTY` or `EOPNOTSUPP` where the file system has none.
pub(super) fn fsxattr(file: BorrowedFd<'_>) -> Result<FsXattr, Errno> {
    // SAFETY: this command writes a `struct fsxattr`, of as many bytes as this type has, any of which may be.
    let getter = unsafe { Getter::<GET_FSXATTR, FsXattr>::new() };
    // SAFETY: it only reads from the kernel into what the getter holds.
    unsafe { ioctl(file, getter) }
}

/// Sets the attributes of something open.
///
/// # Errors
/// As [`fsxattr`], and where the caller may not.
pub(super) fn set_fsxattr(file: BorrowedFd<'_>, value: FsXattr) -> Result<(), Errno> {
    // SAFETY: this command reads a `struct fsxattr`, of as many bytes as this type has.
    let setter = unsafe { Setter::<SET_FSXATTR, FsXattr>::new(value) };
    // SAFETY: it only hands the kernel what the setter holds, which the kernel checks.
    unsafe { ioctl(file, setter) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
