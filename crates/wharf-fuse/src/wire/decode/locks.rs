//! Operations on locks. POSIX locks of ranges and flock(2) of whole files come in the same request.

use wharf::session::Operation;
use wharf::{Errno, HandleId, op};

use super::POSITION_MAX;
use crate::wire::abi::{FileLock, LkIn};
use crate::wire::body::Body;

type Decoded<'a> = Result<Operation<'a>, Errno>;

const LK_FLOCK: u32 = 1 << 0;

/// Types of locks, as fcntl(2) numbers them.
pub(in crate::wire) const F_RDLCK: u32 = 0;
pub(in crate::wire) const F_WRLCK: u32 = 1;
pub(in crate::wire) const F_UNLCK: u32 = 2;

pub(super) fn getlk(mut body: Body<'_>) -> Decoded<'_> {
    let raw: LkIn = body.take()?;
    if raw.lk_flags & LK_FLOCK != 0 {
        return Err(Errno::EINVAL);
    }
    let op = op::GetLock { owner: op::LockOwner(raw.owner), lock: lock(&raw.lk)? };
    Ok(Operation::GetLock { handle: HandleId(raw.fh), op })
}

pub(super) fn setlk(mut body: Body<'_>, wait: bool) -> Decoded<'_> {
    let raw: LkIn = body.take()?;
    let handle = HandleId(raw.fh);
    let owner = op::LockOwner(raw.owner);
    if raw.lk_flags & LK_FLOCK != 0 {
        return Ok(Operation::Flock { handle, op: op::Flock { owner, kind: kind(raw.lk.r#type)?, wait } });
    }
    Ok(Operation::SetLock { handle, op: op::SetLock { owner, lock: lock(&raw.lk)?, wait } })
}

/// The kernel tells the last byte, and the greatest position where there is none.
fn lock(raw: &FileLock) -> Result<op::Lock, Errno> {
    if raw.start > raw.end || raw.start > POSITION_MAX {
        return Err(Errno::EINVAL);
    }
    let end = if raw.end >= POSITION_MAX { u64::MAX } else { raw.end + 1 };
    Ok(op::Lock { kind: kind(raw.r#type)?, range: raw.start..end, pid: raw.pid })
}

fn kind(raw: u32) -> Result<op::LockKind, Errno> {
    match raw {
        F_RDLCK => Ok(op::LockKind::Shared),
        F_WRLCK => Ok(op::LockKind::Exclusive),
        F_UNLCK => Ok(op::LockKind::Unlock),
        _ => Err(Errno::EINVAL),
    }
}
