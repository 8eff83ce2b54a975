//! Operations on open files and directories, and those that open and close them.

use wharf::session::Operation;
use wharf::{Data, Errno, HandleId, NodeId, op};

use super::flags::{OPEN_KILL_SUIDGID, open_flags};
use super::{POSITION_MAX, end_of, fits};
use crate::wire::Terms;
use crate::wire::abi::{
    CopyFileRangeIn, FallocateIn, FlushIn, FsyncIn, IoctlIn, LseekIn, OpenIn, PollIn, ReadIn, ReleaseIn,
    WriteIn,
};
use crate::wire::body::{Body, MALFORMED};

type Decoded<'a> = Result<Operation<'a>, Errno>;

const READ_LOCKOWNER: u32 = 1 << 1;

const WRITE_CACHE: u32 = 1 << 0;
const WRITE_LOCKOWNER: u32 = 1 << 1;
const WRITE_KILL_SUIDGID: u32 = 1 << 2;

const RELEASE_FLUSH: u32 = 1 << 0;
const RELEASE_FLOCK_UNLOCK: u32 = 1 << 1;

const FSYNC_FDATASYNC: u32 = 1 << 0;

const FALLOC_KEEP_SIZE: u32 = 0x01;
const FALLOC_PUNCH_HOLE: u32 = 0x02;
const FALLOC_COLLAPSE_RANGE: u32 = 0x08;
const FALLOC_ZERO_RANGE: u32 = 0x10;
const FALLOC_INSERT_RANGE: u32 = 0x20;
const FALLOC_UNSHARE_RANGE: u32 = 0x40;

const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

const IOCTL_COMPAT: u32 = 1 << 0;
const IOCTL_UNRESTRICTED: u32 = 1 << 1;
const IOCTL_DIR: u32 = 1 << 4;

const POLL_SCHEDULE_NOTIFY: u32 = 1 << 0;

pub(super) fn open(mut body: Body<'_>) -> Result<op::Open, Errno> {
    let raw: OpenIn = body.take()?;
    let kill_privileges = raw.open_flags & OPEN_KILL_SUIDGID != 0;
    Ok(op::Open { flags: open_flags(raw.flags), kill_privileges })
}

pub(super) fn read<'a>(mut body: Body<'a>, terms: &Terms) -> Decoded<'a> {
    let raw: ReadIn = body.take()?;
    // The last page of the largest file ends just behind the greatest position, so only the start counts.
    if raw.offset > POSITION_MAX {
        return Err(Errno::EINVAL);
    }
    Ok(Operation::Read {
        handle: HandleId(raw.fh),
        op: op::Read {
            offset: raw.offset,
            size: fits(raw.size, terms)?,
            flags: open_flags(raw.flags),
            owner: (raw.read_flags & READ_LOCKOWNER != 0).then_some(op::LockOwner(raw.lock_owner)),
        },
    })
}

pub(super) fn write<'a>(mut body: Body<'a>, data: Data<'a>, terms: &Terms) -> Decoded<'a> {
    let raw: WriteIn = body.take()?;
    body.end()?;
    if usize::try_from(raw.size).ok() != Some(data.len()) {
        return Err(MALFORMED);
    }
    if raw.size > terms.max_write {
        return Err(Errno::EINVAL);
    }
    if end_of(raw.offset, raw.size.into()).is_none() {
        return Err(Errno::EFBIG);
    }
    Ok(Operation::Write {
        handle: HandleId(raw.fh),
        op: op::Write {
            offset: raw.offset,
            data,
            flags: open_flags(raw.flags),
            owner: (raw.write_flags & WRITE_LOCKOWNER != 0).then_some(op::LockOwner(raw.lock_owner)),
            from_cache: raw.write_flags & WRITE_CACHE != 0,
            kill_privileges: raw.write_flags & WRITE_KILL_SUIDGID != 0,
        },
    })
}

pub(super) fn list<'a>(mut body: Body<'a>, entries: bool, terms: &Terms) -> Decoded<'a> {
    let raw: ReadIn = body.take()?;
    let size = fits(raw.size, terms)?;
    let (handle, op) = (HandleId(raw.fh), op::List { cursor: raw.offset });
    Ok(Operation::List { handle, op, size, entries, pattern: None })
}

pub(super) fn flush(mut body: Body<'_>) -> Decoded<'_> {
    let raw: FlushIn = body.take()?;
    let owner = op::LockOwner(raw.lock_owner);
    Ok(Operation::Flush { handle: HandleId(raw.fh), op: op::Flush { owner } })
}

pub(super) fn release(mut body: Body<'_>) -> Result<(HandleId, op::Release), Errno> {
    let raw: ReleaseIn = body.take()?;
    let owner_known = raw.release_flags & (RELEASE_FLUSH | RELEASE_FLOCK_UNLOCK) != 0;
    let op = op::Release {
        flags: open_flags(raw.flags),
        owner: owner_known.then_some(op::LockOwner(raw.lock_owner)),
        unlock_flock: raw.release_flags & RELEASE_FLOCK_UNLOCK != 0,
    };
    Ok((HandleId(raw.fh), op))
}

pub(super) fn fsync(mut body: Body<'_>) -> Result<(HandleId, op::Fsync), Errno> {
    let raw: FsyncIn = body.take()?;
    Ok((HandleId(raw.fh), op::Fsync { data_only: raw.fsync_flags & FSYNC_FDATASYNC != 0 }))
}

pub(super) fn fallocate(mut body: Body<'_>) -> Decoded<'_> {
    use op::FallocateMode as Mode;
    let raw: FallocateIn = body.take()?;
    let keep_size = raw.mode & FALLOC_KEEP_SIZE != 0;
    let mode = match raw.mode & !FALLOC_KEEP_SIZE {
        0 => Mode::Allocate,
        FALLOC_PUNCH_HOLE if keep_size => Mode::PunchHole,
        FALLOC_ZERO_RANGE => Mode::Zero,
        FALLOC_COLLAPSE_RANGE if !keep_size => Mode::Collapse,
        FALLOC_INSERT_RANGE if !keep_size => Mode::Insert,
        FALLOC_UNSHARE_RANGE => Mode::Unshare,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    if raw.length == 0 {
        return Err(Errno::EINVAL);
    }
    let end = end_of(raw.offset, raw.length).ok_or(Errno::EFBIG)?;
    let op = op::Fallocate { range: raw.offset..end, mode, keep_size };
    Ok(Operation::Fallocate { handle: HandleId(raw.fh), op })
}

pub(super) fn lseek(mut body: Body<'_>) -> Decoded<'_> {
    let raw: LseekIn = body.take()?;
    // The other directions are the kernel's own affair.
    let what = match raw.whence {
        SEEK_DATA => op::SeekFor::Data,
        SEEK_HOLE => op::SeekFor::Hole,
        _ => return Err(Errno::EINVAL),
    };
    if raw.offset > POSITION_MAX {
        return Err(Errno::ENXIO);
    }
    Ok(Operation::Seek { handle: HandleId(raw.fh), op: op::Seek { offset: raw.offset, what } })
}

pub(super) fn copy_file_range(mut body: Body<'_>, long: bool) -> Decoded<'_> {
    let raw: CopyFileRangeIn = body.take()?;
    let to_node = NodeId::new(raw.nodeid_out).ok_or(Errno::EINVAL)?;
    let in_range = end_of(raw.off_in, raw.len).and(end_of(raw.off_out, raw.len)).is_some();
    if raw.flags != 0 || !in_range {
        return Err(Errno::EINVAL);
    }
    // The short answer has 32 bits for the count.
    let len = if long { raw.len } else { raw.len.min(u32::MAX.into()) };
    Ok(Operation::CopyRange {
        from: HandleId(raw.fh_in),
        to: HandleId(raw.fh_out),
        to_node,
        op: op::CopyRange { from: raw.off_in, to: raw.off_out, len },
        long,
    })
}

pub(super) fn ioctl<'a>(mut body: Body<'a>, terms: &Terms) -> Decoded<'a> {
    let raw: IoctlIn = body.take()?;
    if raw.flags & IOCTL_UNRESTRICTED != 0 {
        // Only character devices may reach into the caller's memory.
        return Err(Errno::EINVAL);
    }
    let input = body.bytes(usize::try_from(raw.in_size).map_err(|_| MALFORMED)?)?;
    body.end()?;
    Ok(Operation::Ioctl {
        handle: HandleId(raw.fh),
        directory: raw.flags & IOCTL_DIR != 0,
        op: op::Ioctl {
            command: raw.cmd,
            argument: raw.arg,
            input,
            output_bytes_max: fits(raw.out_size, terms)?,
            compat: raw.flags & IOCTL_COMPAT != 0,
        },
    })
}

pub(super) fn poll(mut body: Body<'_>) -> Decoded<'_> {
    let raw: PollIn = body.take()?;
    let wake = (raw.flags & POLL_SCHEDULE_NOTIFY != 0).then_some(op::PollWaker(raw.kh));
    Ok(Operation::Poll { handle: HandleId(raw.fh), op: op::Poll { events: raw.events, wake } })
}
