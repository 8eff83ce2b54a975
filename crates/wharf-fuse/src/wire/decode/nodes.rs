//! Operations on nodes as such: attributes, extended attributes, access.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bitflags::bitflags;
use wharf::session::Operation;
use wharf::{Errno, HandleId, Time, op};

use super::{POSITION_MAX, fits};
use crate::wire::abi::{AccessIn, BmapIn, GetattrIn, GetxattrIn, SetattrIn, SetxattrIn, StatxIn};
use crate::wire::body::{Body, MALFORMED};
use crate::wire::{InitFlags, Terms};

type Decoded<'a> = Result<Operation<'a>, Errno>;

/// The handle beside it means something.
const GETATTR_FH: u32 = 1 << 0;

const SETXATTR_ACL_KILL_SGID: u32 = 1 << 0;
const XATTR_CREATE: u32 = 1 << 0;
const XATTR_REPLACE: u32 = 1 << 1;
/// Longest name of an extended attribute that Linux takes.
const XATTR_NAME_BYTES_MAX: usize = 255;

bitflags! {
    /// `FATTR_*`: which fields of `fuse_setattr_in` mean something.
    #[derive(Clone, Copy)]
    struct Valid: u32 {
        const MODE = 1 << 0;
        const UID = 1 << 1;
        const GID = 1 << 2;
        const SIZE = 1 << 3;
        const ATIME = 1 << 4;
        const MTIME = 1 << 5;
        const FH = 1 << 6;
        const ATIME_NOW = 1 << 7;
        const MTIME_NOW = 1 << 8;
        const LOCKOWNER = 1 << 9;
        const CTIME = 1 << 10;
        const KILL_SUIDGID = 1 << 11;
    }
}

pub(super) fn getattr(mut body: Body<'_>) -> Decoded<'_> {
    let raw: GetattrIn = body.take()?;
    Ok(Operation::GetAttributes { handle: handle(raw.getattr_flags, raw.fh) })
}

pub(super) fn statx(mut body: Body<'_>) -> Decoded<'_> {
    let raw: StatxIn = body.take()?;
    let op = op::Statx { mask: raw.sx_mask, flags: raw.sx_flags };
    Ok(Operation::Statx { handle: handle(raw.getattr_flags, raw.fh), op })
}

fn handle(flags: u32, raw: u64) -> Option<HandleId> {
    (flags & GETATTR_FH != 0).then_some(HandleId(raw))
}

pub(super) fn setattr(mut body: Body<'_>) -> Decoded<'_> {
    let raw: SetattrIn = body.take()?;
    // A change that is not known here must not be taken for none.
    let valid = Valid::from_bits(raw.valid).ok_or(Errno::EINVAL)?;
    let set = |bit: Valid, value: u32| valid.contains(bit).then_some(value);
    let changed = valid.contains(Valid::CTIME).then(|| time(raw.ctime, raw.ctimensec)).transpose()?;
    let op = op::SetAttributes {
        permissions: set(Valid::MODE, raw.mode).map(|mode| (mode & 0o7777) as u16),
        uid: set(Valid::UID, raw.uid).map(id).transpose()?,
        gid: set(Valid::GID, raw.gid).map(id).transpose()?,
        size: valid.contains(Valid::SIZE).then_some(raw.size),
        accessed: set_time(valid, (Valid::ATIME, Valid::ATIME_NOW), (raw.atime, raw.atimensec))?,
        modified: set_time(valid, (Valid::MTIME, Valid::MTIME_NOW), (raw.mtime, raw.mtimensec))?,
        changed,
        kill_privileges: valid.contains(Valid::KILL_SUIDGID),
    };
    if op.size.is_some_and(|size| size > POSITION_MAX) {
        return Err(Errno::EFBIG);
    }
    Ok(Operation::SetAttributes { handle: valid.contains(Valid::FH).then_some(HandleId(raw.fh)), op })
}

/// chown(2) takes the highest number for "leave it", so it cannot be an owner.
fn id(raw: u32) -> Result<u32, Errno> {
    if raw == u32::MAX { Err(Errno::EINVAL) } else { Ok(raw) }
}

fn set_time(
    valid: Valid,
    (set, now): (Valid, Valid),
    (seconds, nanoseconds): (u64, u32),
) -> Result<Option<op::SetTime>, Errno> {
    if valid.contains(now) {
        return Ok(Some(op::SetTime::Now));
    }
    valid.contains(set).then(|| time(seconds, nanoseconds).map(op::SetTime::At)).transpose()
}

fn time(seconds: u64, nanoseconds: u32) -> Result<Time, Errno> {
    if nanoseconds >= 1_000_000_000 {
        return Err(Errno::EINVAL);
    }
    Ok(Time { seconds: seconds.cast_signed(), nanoseconds })
}

pub(super) fn access(mut body: Body<'_>) -> Decoded<'_> {
    let raw: AccessIn = body.take()?;
    let mask = u8::try_from(raw.mask).ok().filter(|mask| *mask <= 7).ok_or(Errno::EINVAL)?;
    Ok(Operation::Access { op: op::Access { mask } })
}

pub(super) fn bmap(mut body: Body<'_>) -> Decoded<'_> {
    let raw: BmapIn = body.take()?;
    if raw.blocksize == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Operation::Bmap { op: op::Bmap { block: raw.block, block_size: raw.blocksize } })
}

pub(super) fn setxattr<'a>(mut body: Body<'a>, terms: &Terms) -> Decoded<'a> {
    let raw = if terms.flags.contains(InitFlags::SETXATTR_EXT) {
        body.take::<SetxattrIn>()?
    } else {
        let [size, flags] = body.take::<[u32; 2]>()?;
        SetxattrIn { size, flags, ..SetxattrIn::default() }
    };
    let name = attribute_name(&mut body)?;
    let value = body.bytes(usize::try_from(raw.size).map_err(|_| MALFORMED)?)?;
    body.end()?;
    let how = match raw.flags {
        0 => op::SetXattrHow::Any,
        XATTR_CREATE => op::SetXattrHow::Create,
        XATTR_REPLACE => op::SetXattrHow::Replace,
        _ => return Err(Errno::EINVAL),
    };
    let kill_setgid = raw.setxattr_flags & SETXATTR_ACL_KILL_SGID != 0;
    Ok(Operation::SetXattr { op: op::SetXattr { name, value, how, kill_setgid } })
}

pub(super) fn getxattr<'a>(mut body: Body<'a>, terms: &Terms) -> Decoded<'a> {
    let raw: GetxattrIn = body.take()?;
    let name = attribute_name(&mut body)?;
    body.end()?;
    Ok(Operation::GetXattr { op: op::GetXattr { name }, size: fits(raw.size, terms)? })
}

pub(super) fn listxattr<'a>(mut body: Body<'a>, terms: &Terms) -> Decoded<'a> {
    let raw: GetxattrIn = body.take()?;
    Ok(Operation::ListXattr { size: fits(raw.size, terms)? })
}

pub(super) fn removexattr(mut body: Body<'_>) -> Decoded<'_> {
    let name = attribute_name(&mut body)?;
    body.end()?;
    Ok(Operation::RemoveXattr { op: op::RemoveXattr { name } })
}

fn attribute_name<'a>(body: &mut Body<'a>) -> Result<&'a OsStr, Errno> {
    let name = body.text()?;
    match name.len() {
        0 => Err(Errno::EINVAL),
        1..=XATTR_NAME_BYTES_MAX => Ok(OsStr::from_bytes(name)),
        _ => Err(Errno::ERANGE),
    }
}
