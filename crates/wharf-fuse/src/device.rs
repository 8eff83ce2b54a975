//! The control calls of a `/dev/fuse` descriptor, each as one function on a borrowed descriptor.
//!
//! Nothing here reads or writes requests: that is the transports' work. Nothing here mounts.
#![expect(unsafe_code, reason = "the kernel's FUSE ioctls have no safe binding")]

use std::ffi::c_void;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{self, IoctlOutput, NoArg, Opcode, Setter, ioctl, opcode};

/// Where the device is found; `mount` names it in its errors.
pub const PATH: &str = "/dev/fuse";

const MAGIC: u8 = 229;
const CLONE: Opcode = opcode::read::<u32>(MAGIC, 0);
const BACKING_OPEN: Opcode = opcode::write::<BackingMap>(MAGIC, 1);
const BACKING_CLOSE: Opcode = opcode::write::<u32>(MAGIC, 2);
const SYNC_INIT: Opcode = opcode::none(MAGIC, 3);

/// Opens a device that belongs to no connection yet.
pub fn open() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Asks that mounting this device waits until INIT has been answered. False: this kernel cannot (before 6.18).
///
/// From now until the mount attaches the device, reading, polling and cloning it *wait* (a signal ends the
/// wait) instead of failing with EPERM, and `O_NONBLOCK` does not change that.
pub fn request_sync_init(device: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: `_IO(229, 3)` takes no argument and writes no memory, on every kernel that knows it.
    let request = unsafe { NoArg::<SYNC_INIT>::new() };
    // SAFETY: as above; kernels that do not know the number answer ENOTTY.
    match unsafe { ioctl(device, request) } {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOTTY) => Ok(false),
        Err(cause) => Err(cause.into()),
    }
}

/// Opens a second descriptor with a queue of its own for the connection that `device` belongs to.
///
/// Requests read from one of them must be answered on the same one.
pub fn clone(device: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let twin = open()?;
    // The kernel declares this number by what it reads: a descriptor, never negative, as u32.
    // SAFETY: `_IOR(229, 0, u32)` reads one u32 behind the pointer, which is what this setter passes.
    let request = unsafe { Setter::<CLONE, u32>::new(device.as_raw_fd().cast_unsigned()) };
    // SAFETY: as above; the number stands for an open descriptor while `device` is borrowed.
    unsafe { ioctl(&twin, request) }?;
    Ok(twin)
}

/// The name under which one connection knows a backing file. It is valid until [`backing_close`].
///
/// Not `Copy`: a name closed twice could be somebody else's by then.
#[derive(Debug, PartialEq, Eq, Hash)]
#[must_use = "the kernel keeps the file open until `backing_close`"]
pub struct BackingId(NonZeroU32);

impl BackingId {
    /// The number for an open reply.
    pub fn get(&self) -> u32 {
        self.0.get()
    }
}

/// Registers `file` as a backing file for passthrough. The kernel takes a reference of its own.
///
/// It demands `CAP_SYS_ADMIN` in the first user namespace, refuses directories, pipes and devices, and
/// files of a file system that is itself stacked too deep. The descriptor's access mode is not kept.
pub fn backing_open(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<BackingId> {
    let request = BackingOpen(BackingMap { fd: file.as_raw_fd(), flags: 0, padding: 0 });
    // SAFETY: see `BackingOpen`; the number stands for an open descriptor while `file` is borrowed.
    Ok(unsafe { ioctl(device, request) }?)
}

/// Gives a backing file back. Files that are open through it stay usable.
pub fn backing_close(device: BorrowedFd<'_>, id: BackingId) -> io::Result<()> {
    // SAFETY: `_IOW(229, 2, u32)` reads one u32 behind the pointer, which is what this setter passes.
    let request = unsafe { Setter::<BACKING_CLOSE, u32>::new(id.get()) };
    // SAFETY: as above; an id that the connection does not know is answered ENOENT.
    unsafe { ioctl(device, request) }?;
    Ok(())
}

/// `struct fuse_backing_map`.
#[repr(C)]
struct BackingMap {
    fd: RawFd,
    flags: u32,
    padding: u64,
}
const _: () = assert!(size_of::<BackingMap>() == 16);

/// Own code, because the answer is the call's return value, which `Setter` drops.
struct BackingOpen(BackingMap);

// SAFETY: the opcode carries the size of `BackingMap`, the pointer is to one that lives as long as `self`,
// and the kernel only reads it.
unsafe impl ioctl::Ioctl for BackingOpen {
    type Output = BackingId;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        BACKING_OPEN
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<BackingId> {
        let id = u32::try_from(out).ok().and_then(NonZeroU32::new);
        id.map(BackingId).ok_or(rustix::io::Errno::PROTO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_kernel_header() {
        assert_eq!(CLONE, 0x8004_e500);
        assert_eq!(BACKING_OPEN, 0x4010_e501);
        assert_eq!(BACKING_CLOSE, 0x4004_e502);
        assert_eq!(SYNC_INIT, 0xe503);
    }
}
