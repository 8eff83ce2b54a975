//! The operations: what is asked of a file system, each a struct.
//!
//! Ids do not occur here: nodes and open files are the author's own values and come beside the operation.

use std::ffi::OsStr;
use std::ops::Range;

use bitflags::bitflags;
use wharf_mem::Data;

use crate::{Kind, Name, Time};

bitflags! {
    /// How a file is opened: the flags of open(2) that a file system needs to know.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct OpenFlags: u32 {
        /// For writing only (with `READ_WRITE` absent). No bit of the two: for reading only.
        const WRITE_ONLY = 0o1;
        /// For reading and writing.
        const READ_WRITE = 0o2;
        /// Must not exist before (only with create).
        const EXCLUSIVE = 0o200;
        /// Truncate (only where the file system claimed `TRUNCATE_ON_OPEN`).
        const TRUNCATE = 0o1000;
        /// Every write goes to the end.
        const APPEND = 0o2000;
        /// Do not block.
        const NONBLOCK = 0o4000;
        /// Contents reach the store before a write returns.
        const DATA_SYNC = 0o10000;
        /// Past the page cache.
        const DIRECT = 0o40000;
        /// Do not change the time of last access.
        const NO_ATIME = 0o1000000;
        /// Contents and attributes reach the store before a write returns (contains `DATA_SYNC`).
        const SYNC = 0o4010000;
        /// Opened to be executed.
        const EXEC = 1 << 29;

        /// The others, as open(2) has them.
        const _ = !0;
    }
}

impl OpenFlags {
    /// Whether reading is possible.
    pub fn reads(self) -> bool {
        !self.contains(OpenFlags::WRITE_ONLY)
    }

    /// Whether writing is possible.
    pub fn writes(self) -> bool {
        self.intersects(OpenFlags::WRITE_ONLY | OpenFlags::READ_WRITE)
    }
}

/// Who owns a POSIX lock: the same number, the same owner. Nothing else follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockOwner(pub u64);

/// Finds a name in a directory.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The name.
    pub name: Name<'a>,
}

/// How a new node is to be.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// Its name. Empty names do not occur; a file without a name is made by `tmpfile`.
    pub name: Name<'a>,
    /// Permission bits, with the umask already applied unless the file system claimed `UMASK`.
    pub permissions: u16,
    /// The caller's umask.
    pub umask: u16,
    /// A security attribute to set in the same step: its name and value.
    pub security: Option<(&'a OsStr, &'a [u8])>,
    /// The one supplementary group of the caller that is the directory's group, if `CREATE_GROUP` was claimed.
    pub group: Option<u32>,
}

/// Makes a symbolic link.
#[derive(Clone, Copy, Debug)]
pub struct Symlink<'a> {
    /// What is new about it; the permissions mean nothing.
    pub new: New<'a>,
    /// Where it leads: any bytes but NUL, never empty.
    pub target: &'a [u8],
}

/// Makes a file, pipe, socket or device, without opening it.
#[derive(Clone, Copy, Debug)]
pub struct MakeNode<'a> {
    /// Name and permissions.
    pub new: New<'a>,
    /// Never a directory or a symbolic link.
    pub kind: Kind,
    /// Device number, for devices.
    pub device: u32,
}

/// Makes a directory.
#[derive(Clone, Copy, Debug)]
pub struct MakeDirectory<'a> {
    /// Name and permissions.
    pub new: New<'a>,
}

/// Makes and opens a file. If it is there already it is opened, unless `EXCLUSIVE` says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Create<'a> {
    /// Name and permissions.
    pub new: New<'a>,
    /// How to open it.
    pub flags: OpenFlags,
    /// As in [`Open`].
    pub kill_privileges: bool,
}

/// Makes and opens a file without a name.
#[derive(Clone, Copy, Debug)]
pub struct Tmpfile {
    /// Permission bits.
    pub permissions: u16,
    /// The caller's umask.
    pub umask: u16,
    /// How to open it. With `EXCLUSIVE` it must never get a name.
    pub flags: OpenFlags,
}

/// Removes a name: of anything but a directory (`unlink`) or of an empty directory (`rmdir`).
#[derive(Clone, Copy, Debug)]
pub struct Remove<'a> {
    /// The name.
    pub name: Name<'a>,
}

/// Moves a name, perhaps to another directory.
#[derive(Clone, Copy, Debug)]
pub struct Rename<'a> {
    /// The name now.
    pub from: Name<'a>,
    /// The name then.
    pub to: Name<'a>,
    /// What may become of something that has the new name.
    pub how: RenameHow,
}

/// What a rename does with something that already has the new name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RenameHow {
    /// Replaces it, if it is of the same sort and, as a directory, empty.
    #[default]
    Replace,
    /// Fails.
    NoReplace,
    /// Gives it the old name.
    Exchange,
    /// Replaces it, and leaves a character device 0:0 at the old name.
    ReplaceWhiteout,
    /// Fails if there is something, and leaves a character device 0:0 at the old name.
    NoReplaceWhiteout,
}

/// Gives a node one more name.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// The name in the new directory.
    pub name: Name<'a>,
}

/// How a time is to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// To the present, by the file system's clock.
    Now,
    /// To this.
    At(Time),
}

/// Changes attributes: those that are `Some`, all or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// Permission bits, `0o7777` at most.
    pub permissions: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size: cuts off, or extends with zeros.
    pub size: Option<u64>,
    /// Last read.
    pub accessed: Option<SetTime>,
    /// Last change of contents.
    pub modified: Option<SetTime>,
    /// Last change of anything; only with `WRITEBACK`.
    pub changed: Option<Time>,
    /// Clear setuid and setgid, as the new size or owner demands (only with `KILL_PRIVILEGES`).
    pub kill_privileges: bool,
}

/// Opens a file, directory or nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// How.
    pub flags: OpenFlags,
    /// Clear setuid and setgid, because the file is truncated (only with `KILL_PRIVILEGES`).
    pub kill_privileges: bool,
}

/// Reads from an open file.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// First byte.
    pub offset: u64,
    /// Bytes, as many as the window has.
    pub size: u32,
    /// The flags of the open file as they are now (fcntl(2) may change them).
    pub flags: OpenFlags,
    /// Who reads, where mandatory locks matter.
    pub owner: Option<LockOwner>,
}

/// Writes to an open file.
#[derive(Debug)]
pub struct Write<'a> {
    /// First byte.
    pub offset: u64,
    /// The bytes.
    pub data: Data<'a>,
    /// The flags of the open file as they are now.
    pub flags: OpenFlags,
    /// Who writes, where mandatory locks matter.
    pub owner: Option<LockOwner>,
    /// From the page cache, some time after the program wrote: the caller is then nobody in particular.
    pub from_cache: bool,
    /// Clear setuid and setgid (only with `KILL_PRIVILEGES`).
    pub kill_privileges: bool,
}

/// One descriptor of an open file is being closed; others may remain, and reads and writes may follow.
#[derive(Clone, Copy, Debug)]
pub struct Flush {
    /// Whose POSIX locks on the file go now.
    pub owner: LockOwner,
}

/// The last descriptor of an open file has gone. Nothing follows.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    /// The flags it was opened with.
    pub flags: OpenFlags,
    /// Whose locks go now, if anybody's.
    pub owner: Option<LockOwner>,
    /// The `flock` of this open file goes now.
    pub unlock_flock: bool,
}

/// Brings contents to the store.
#[derive(Clone, Copy, Debug)]
pub struct Fsync {
    /// Only contents and what is needed to find them, not times.
    pub data_only: bool,
}

/// How an extended attribute is to be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetXattrHow {
    /// Whether or not it is there.
    #[default]
    Any,
    /// Only if it is not.
    Create,
    /// Only if it is.
    Replace,
}

/// Sets an extended attribute.
#[derive(Clone, Copy, Debug)]
pub struct SetXattr<'a> {
    /// Its name, with its namespace ("user.note"). Unlike a file's it may have slashes.
    pub name: &'a OsStr,
    /// Its value, perhaps empty.
    pub value: &'a [u8],
    /// How.
    pub how: SetXattrHow,
    /// The set-group-ID bit is to go with this ACL.
    pub kill_setgid: bool,
}

/// Reads an extended attribute.
#[derive(Clone, Copy, Debug)]
pub struct GetXattr<'a> {
    /// Its name, with its namespace.
    pub name: &'a OsStr,
}

/// Removes an extended attribute.
#[derive(Clone, Copy, Debug)]
pub struct RemoveXattr<'a> {
    /// Its name, with its namespace.
    pub name: &'a OsStr,
}

/// Lists a directory from a cursor on.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// 0 for the start, else the cursor of the last entry that was seen.
    pub cursor: u64,
}

/// What a lock does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Shared: others may read-lock too.
    Shared,
    /// Exclusive: nobody else.
    Exclusive,
    /// No lock: gives it up.
    Unlock,
}

/// A POSIX lock on a range of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Shared, exclusive or none.
    pub kind: LockKind,
    /// The bytes; `u64::MAX` as the end means whatever there will be.
    pub range: Range<u64>,
    /// The process.
    pub pid: u32,
}

/// Asks which lock, if any, stands in the way of this one.
#[derive(Clone, Debug)]
pub struct GetLock {
    /// Who would lock.
    pub owner: LockOwner,
    /// What.
    pub lock: Lock,
}

/// Sets or gives up a POSIX lock.
#[derive(Clone, Debug)]
pub struct SetLock {
    /// Who locks.
    pub owner: LockOwner,
    /// What.
    pub lock: Lock,
    /// Wait until it can be had (and end with `Interrupted` when the caller gives up).
    pub wait: bool,
}

/// Sets or gives up the lock of a whole open file.
#[derive(Clone, Copy, Debug)]
pub struct Flock {
    /// The open file, as others see it.
    pub owner: LockOwner,
    /// Shared, exclusive or none.
    pub kind: LockKind,
    /// Wait until it can be had.
    pub wait: bool,
}

/// Asks whether the caller may do something.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Bits of access(2): 4 read, 2 write, 1 execute or search; 0 asks whether the node is there.
    pub mask: u8,
}

/// Gives, takes or zeroes space of a file.
#[derive(Clone, Debug)]
pub struct Fallocate {
    /// The bytes.
    pub range: Range<u64>,
    /// What to do.
    pub mode: FallocateMode,
    /// The size stays, whatever the range.
    pub keep_size: bool,
}

/// What [`Fallocate`] does with its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallocateMode {
    /// Makes sure there is space.
    Allocate,
    /// Gives the space back; the range reads as zeros.
    PunchHole,
    /// The range reads as zeros and has space.
    Zero,
    /// Cuts the range out.
    Collapse,
    /// Pushes what is there, and what follows, behind the range.
    Insert,
    /// Makes the range this file's own, where it was shared.
    Unshare,
}

/// What to seek for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekFor {
    /// The next byte that is in no hole.
    Data,
    /// The next hole; the end of the file counts as one.
    Hole,
}

/// Finds data or a hole. Beyond the end the answer is the error [`Kind::NothingThere`](crate::error::Kind).
#[derive(Clone, Copy, Debug)]
pub struct Seek {
    /// From here.
    pub offset: u64,
    /// For this.
    pub what: SeekFor,
}

/// Copies between two files of the volume without the bytes leaving it.
#[derive(Clone, Copy, Debug)]
pub struct CopyRange {
    /// First byte in the source.
    pub from: u64,
    /// First byte in the destination.
    pub to: u64,
    /// Bytes at the most.
    pub len: u64,
}

/// Asks where a block of a file is on the device.
#[derive(Clone, Copy, Debug)]
pub struct Bmap {
    /// Number of the block in the file.
    pub block: u64,
    /// Its size in bytes.
    pub block_size: u32,
}

/// A request in a language of the caller's and the file system's own.
#[derive(Clone, Copy, Debug)]
pub struct Ioctl<'a> {
    /// What.
    pub command: u32,
    /// The raw third argument of ioctl(2).
    pub argument: u64,
    /// Bytes that came in.
    pub input: &'a [u8],
    /// Bytes that may go out.
    pub output_bytes_max: u32,
    /// From a 32-bit program on a 64-bit kernel.
    pub compat: bool,
}

/// Asks whether reading or writing would block.
#[derive(Clone, Copy, Debug)]
pub struct Poll {
    /// `POLLIN` and so on, that the caller cares for.
    pub events: u32,
    /// To be given to [`Notifier::poll`](crate::Notifier::poll) when something changes, if the caller waits.
    pub wake: Option<PollWaker>,
}

/// Who waits in poll(2), as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PollWaker(pub u64);

/// Asks for attributes in the terms of statx(2).
#[derive(Clone, Copy, Debug)]
pub struct Statx {
    /// `STATX_*` bits that the caller wants.
    pub mask: u32,
    /// `AT_STATX_*` flags: how fresh it has to be.
    pub flags: u32,
}
