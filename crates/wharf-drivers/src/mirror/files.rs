//! Regular files: opening and making them, and what is done with open ones.
//!
//! Reading and writing here is for the few files that neither the kernel nor a queue may read by itself.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{
    FallocateFlags, Mode, OFlags, SeekFrom, copy_file_range, fallocate, fdatasync, fsync, open, openat, seek,
    syncfs,
};
use rustix::io::{Errno, pread, pwrite};
use wharf::Kind;
use wharf::op::{CopyRange, Fallocate, FallocateMode, OpenFlags, Seek, SeekFor};

use super::attributes::Stat;
use super::credentials::{Membership, NewMode, Who};
use super::link::magic_link;
use super::names::{Found, place_of};
use super::node::{Inode, OpenCount};
use super::region::Region;
use super::{Result, Tree};

/// An open file.
pub(super) struct OpenFile {
    pub(super) descriptor: Arc<OwnedFd>,
    pub(super) count: OpenCount,
    /// The kernel, or a queue, may read and write the descriptor without asking.
    pub(super) may_forward: bool,
}

impl OpenFile {
    /// Whether a queue may do its I/O. Elsewhere even to begin one can wait for another process: io_uring asks
    /// a FUSE file first whether it is ready.
    pub(super) fn is_local(&self) -> bool {
        self.count.inode().region.local
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenFile({})", self.count.inode().number)
    }
}

/// Flags of open(2) that mean to the backing file what they mean to the caller.
///
/// Not among them: `O_NONBLOCK`, which on a regular file means nothing to programs, but to io_uring that it
/// must not wait; and whatever concerns the descriptor or the path.
const PASSED_ON: OFlags = OFlags::RWMODE
    .union(OFlags::APPEND)
    .union(OFlags::DSYNC)
    .union(OFlags::SYNC)
    .union(OFlags::DIRECT)
    .union(OFlags::NOATIME);

/// Bytes copied in one go. The kernel asks again for the rest, and a signal is heard in between.
const COPY_BYTES_MAX: u64 = 128 << 20;

/// How often a file may appear and vanish while it is being made.
const TRIES_MAX: usize = 16;

/// How many milliseconds the last user of a file may take to let go of it.
const CLOSE_TRIES_MAX: usize = 1000;

fn flags(op: OpenFlags) -> OFlags {
    // `APPEND` stays: two that append, one of them behind the mirror, must not overwrite each other.
    (OFlags::from_bits_retain(op.bits()) & PASSED_ON) | OFlags::CLOEXEC | OFlags::NOCTTY
}

impl Tree {
    /// Opens a file.
    pub(super) fn open(
        &self,
        who: &Who,
        inode: &Arc<Inode>,
        op: OpenFlags,
        kill_privileges: bool,
    ) -> Result<OpenFile> {
        let truncate = op.contains(OpenFlags::TRUNCATE);
        if op.writes() || truncate {
            self.check_writable()?;
        }
        if inode.kind != Kind::File {
            return Err(if inode.kind == Kind::Directory { Errno::ISDIR } else { Errno::NXIO });
        }
        let node = inode.descriptor()?;
        let mut flags = flags(op);
        flags.set(OFlags::TRUNC, truncate);
        let reopen = || open(magic_link(&node), flags, Mode::empty());
        let descriptor = if op.contains(OpenFlags::EXEC) {
            // What may be executed need not be readable for its caller, only for whoever loads it.
            reopen()
        } else {
            self.credentials.act(who, Membership::WhenRefused, reopen)
        }?;
        if kill_privileges && truncate {
            self.kill_privileges(node.as_fd())?;
        }
        Ok(self.open_file(descriptor, inode, op))
    }

    /// Makes and opens a file, or opens the one that is there.
    pub(super) fn create(
        &self,
        who: &Who,
        parent: &Inode,
        name: &CStr,
        new: NewMode,
        (op, kill_privileges): (OpenFlags, bool),
    ) -> Result<(Found, OpenFile)> {
        self.check_writable()?;
        let directory = parent.descriptor()?;
        let flags = flags(op) | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        for _ in 0..TRIES_MAX {
            let made = self.credentials.make(who, new, |mode| openat(&directory, name, flags, mode));
            match made {
                Ok(descriptor) => return self.opened(parent, descriptor, op),
                Err(Errno::EXIST) if !op.contains(OpenFlags::EXCLUSIVE) => {}
                Err(error) => return Err(error),
            }
            // It is there. Whatever it is, it is opened by what it is, not by what its name leads to next.
            let (node, attributes) = match self.lookup(parent, name) {
                Err(Errno::NOENT) => continue,
                found => found?,
            };
            if node.0.kind != Kind::File {
                // The caller did not know of it. When it looks again, the kernel deals with links and pipes.
                return Err(Errno::STALE);
            }
            let file = self.open(who, &node.0, op, kill_privileges)?;
            let attributes = match op.contains(OpenFlags::TRUNCATE) {
                true => self.stat(&node.0)?.attributes(&node.0),
                false => attributes,
            };
            return Ok(((node, attributes), file));
        }
        Err(Errno::STALE)
    }

    /// Makes and opens a file without a name.
    pub(super) fn create_unnamed(
        &self,
        who: &Who,
        parent: &Inode,
        new: NewMode,
        op: OpenFlags,
    ) -> Result<(Found, OpenFile)> {
        self.check_writable()?;
        let directory = parent.descriptor()?;
        let mut flags = flags(op) | OFlags::TMPFILE;
        flags.set(OFlags::EXCL, op.contains(OpenFlags::EXCLUSIVE));
        let descriptor = self.credentials.make(who, new, |mode| openat(&directory, c".", flags, mode))?;
        self.opened(parent, descriptor, op)
    }

    fn opened(&self, parent: &Inode, descriptor: OwnedFd, op: OpenFlags) -> Result<(Found, OpenFile)> {
        let (node, attributes) = self.found(parent, place_of(&descriptor)?)?;
        let file = self.open_file(descriptor, &node.0, op);
        Ok(((node, attributes), file))
    }

    /// Counts a file as open. It may be forwarded unless it has bits that a write must clear: the kernel
    /// writes with our privileges, and root's writes clear nothing.
    fn open_file(&self, descriptor: OwnedFd, inode: &Arc<Inode>, op: OpenFlags) -> OpenFile {
        let harmless = || Stat::of(&descriptor).is_ok_and(|stat| !stat.has_privilege_bits());
        // One that is forwarded already must stay so: the kernel allows no mixture.
        let safe = inode.is_forwarded() || !op.writes() || harmless();
        let Region { local, sized, .. } = *inode.region;
        let may_forward = local && sized && safe;
        OpenFile { descriptor: Arc::new(descriptor), count: inode.begin_open(), may_forward }
    }

    /// Gives, takes or zeroes space.
    pub(super) fn allocate(&self, who: &Who, file: &OpenFile, op: &Fallocate) -> Result<()> {
        let mut mode = match op.mode {
            FallocateMode::Allocate => FallocateFlags::empty(),
            FallocateMode::PunchHole => FallocateFlags::PUNCH_HOLE,
            FallocateMode::Zero => FallocateFlags::ZERO_RANGE,
            FallocateMode::Collapse => FallocateFlags::COLLAPSE_RANGE,
            FallocateMode::Insert => FallocateFlags::INSERT_RANGE,
            FallocateMode::Unshare => FallocateFlags::UNSHARE_RANGE,
        };
        mode.set(FallocateFlags::KEEP_SIZE, op.keep_size);
        let length = op.range.end.checked_sub(op.range.start).ok_or(Errno::INVAL)?;
        // As the caller, so that the file loses its setuid bit unless the caller is root.
        self.credentials
            .act(who, Membership::WhenRefused, || fallocate(&file.descriptor, mode, op.range.start, length))
    }

    /// Clears setuid and setgid of an open file, as a write by its caller does.
    pub(super) fn kill_privileges_of(&self, file: &OpenFile) -> Result<()> {
        self.kill_privileges(file.descriptor.as_fd())
    }

    /// Finds data or a hole.
    pub(super) fn seek(&self, file: &OpenFile, op: &Seek) -> Result<u64> {
        let from = match op.what {
            SeekFor::Data => SeekFrom::Data(op.offset),
            SeekFor::Hole => SeekFrom::Hole(op.offset),
        };
        seek(&file.descriptor, from)
    }

    /// Copies between two open files; fewer bytes than asked mean that there is more.
    pub(super) fn copy(&self, who: &Who, from: &OpenFile, to: &OpenFile, op: &CopyRange) -> Result<u64> {
        let length = op.len.min(COPY_BYTES_MAX) as usize;
        let copied = self.credentials.act(who, Membership::WhenRefused, || {
            let (mut source, mut target) = (op.from, op.to);
            copy_file_range(&from.descriptor, Some(&mut source), &to.descriptor, Some(&mut target), length)
        })?;
        Ok(copied as u64)
    }

    /// Brings everything to the store that is on the node's file system.
    pub(super) fn sync_all(&self, inode: &Inode) -> Result<()> {
        match inode.region.anchor() {
            Some(anchor) => syncfs(anchor),
            None => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                syncfs(open(magic_link(&*inode.descriptor()?), flags, Mode::empty())?)
            }
        }
    }
}

/// Reads from `offset` until the buffer is full or the file ends.
pub(super) fn read(file: &OpenFile, offset: u64, into: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match pread(&file.descriptor, &mut into[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Writes all of the bytes at `offset`; fewer only if an error came after some.
pub(super) fn write(file: &OpenFile, offset: u64, bytes: &[u8]) -> Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match pwrite(&file.descriptor, &bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Closes a file that others will let go of any moment. To close it can mean to bring all that was written to
/// another machine, and that must not be left to a queue.
pub(super) fn close_last(file: Arc<OpenFile>) {
    for _ in 0..CLOSE_TRIES_MAX {
        if Arc::strong_count(&file) == 1 {
            break;
        }
        sleep(Duration::from_millis(1));
    }
}

/// Brings an open file or directory to its store.
pub(super) fn sync(file: &OwnedFd, data_only: bool) -> Result<()> {
    if data_only { fdatasync(file) } else { fsync(file) }
}
