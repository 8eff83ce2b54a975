//! The flags of opens, which come with names and with nodes.

use wharf::op;

/// Clear setuid and setgid, because of what an open does to the file.
pub(super) const OPEN_KILL_SUIDGID: u32 = 1 << 0;

/// `__FMODE_EXEC` of the kernel, which is in no header and in the flags of every execve(2).
const FMODE_EXEC: u32 = 1 << 5;

/// The flags of open(2) as a file system gets them.
pub(super) fn open_flags(raw: u32) -> op::OpenFlags {
    let mut flags = op::OpenFlags::from_bits_retain(raw & !FMODE_EXEC);
    flags.set(op::OpenFlags::EXEC, raw & FMODE_EXEC != 0);
    flags
}
