//! Asking an open file for the direct path.
#![expect(unsafe_code, reason = "an ioctl has no safe binding")]

use std::os::fd::AsFd;

use rustix::fs::fstatfs;
use rustix::ioctl::{Getter, ioctl, opcode};

use crate::layout::Ticket;

const COMMAND: rustix::ioctl::Opcode = opcode::read::<[u8; 256]>(b'W', 0x77);
/// What statfs(2) says of every file system of this kind.
const FUSE_MAGIC: u64 = 0x6573_5546;

/// A ticket for the file, if it is on a volume that gives them out.
pub(super) fn of(file: impl AsFd) -> Option<Ticket> {
    // Others might understand the number as something else.
    let about = fstatfs(file.as_fd()).ok()?;
    if about.f_type as u64 != FUSE_MAGIC {
        return None;
    }
    // SAFETY: the number says that 256 bytes are written, and nothing else; a value of that size takes them.
    let getter = unsafe { Getter::<COMMAND, [u8; 256]>::new() };
    // SAFETY: as above; the kernel writes no more than the number says.
    let bytes = unsafe { ioctl(file, getter) }.ok()?;
    Ticket::decode(&bytes).ok()
}
