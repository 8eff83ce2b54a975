//! Operations on names: those that find, make, move and remove them.

use wharf::session::Operation;
use wharf::{Errno, Kind, Name, NodeId, op};

use super::TARGET_BYTES_MAX;
use super::extensions::{Extensions, extensions};
use super::flags::{OPEN_KILL_SUIDGID, open_flags};
use crate::wire::Terms;
use crate::wire::abi::{CreateIn, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn};
use crate::wire::body::Body;

type Decoded<'a> = Result<Operation<'a>, Errno>;

const RENAME_NOREPLACE: u32 = 1 << 0;
const RENAME_EXCHANGE: u32 = 1 << 1;
const RENAME_WHITEOUT: u32 = 1 << 2;

pub(super) fn lookup(mut body: Body<'_>) -> Decoded<'_> {
    let text = body.text()?;
    body.end()?;
    if text == b"." || text == b".." {
        // Asked for a node that the kernel forgot and a file handle (of NFS, say) still names.
        return Err(Errno::ESTALE);
    }
    let name = Name::new(text).ok_or(Errno::EINVAL)?;
    Ok(Operation::Lookup { op: op::Lookup { name } })
}

pub(super) fn symlink<'a>(mut body: Body<'a>, extra: Body<'a>, terms: &Terms) -> Decoded<'a> {
    let name = body.name()?;
    let target = body.text()?;
    let new = new(name, 0o777, 0, extensions(body, extra, terms)?);
    match target.len() {
        0 => Err(Errno::ENOENT),
        1..=TARGET_BYTES_MAX => Ok(Operation::Symlink { op: op::Symlink { new, target } }),
        _ => Err(Errno::ENAMETOOLONG),
    }
}

pub(super) fn mknod<'a>(mut body: Body<'a>, extra: Body<'a>, terms: &Terms) -> Decoded<'a> {
    let raw: MknodIn = body.take()?;
    let name = body.name()?;
    let new = new(name, raw.mode, raw.umask, extensions(body, extra, terms)?);
    let device = match Kind::from_mode(raw.mode) {
        None | Some(Kind::Directory | Kind::Symlink) => return Err(Errno::EINVAL),
        Some(Kind::CharDevice | Kind::BlockDevice) => raw.rdev,
        Some(Kind::File | Kind::Fifo | Kind::Socket) => 0,
    };
    let kind = Kind::from_mode(raw.mode).ok_or(Errno::EINVAL)?;
    Ok(Operation::MakeNode { op: op::MakeNode { new, kind, device } })
}

pub(super) fn mkdir<'a>(mut body: Body<'a>, extra: Body<'a>, terms: &Terms) -> Decoded<'a> {
    let raw: MkdirIn = body.take()?;
    let name = body.name()?;
    let new = new(name, raw.mode, raw.umask, extensions(body, extra, terms)?);
    Ok(Operation::MakeDirectory { op: op::MakeDirectory { new } })
}

pub(super) fn create<'a>(mut body: Body<'a>, extra: Body<'a>, terms: &Terms) -> Decoded<'a> {
    let raw: CreateIn = body.take()?;
    let name = body.name()?;
    Ok(Operation::Create {
        op: op::Create {
            new: new(name, raw.mode, raw.umask, extensions(body, extra, terms)?),
            flags: open_flags(raw.flags),
            kill_privileges: raw.open_flags & OPEN_KILL_SUIDGID != 0,
        },
    })
}

/// The name that comes with it is a filler of the kernel's.
pub(super) fn tmpfile(mut body: Body<'_>) -> Decoded<'_> {
    let raw: CreateIn = body.take()?;
    Ok(Operation::Tmpfile {
        op: op::Tmpfile {
            permissions: permissions(raw.mode),
            umask: umask(raw.umask),
            flags: open_flags(raw.flags),
        },
    })
}

pub(super) fn remove(mut body: Body<'_>) -> Result<op::Remove<'_>, Errno> {
    let name = body.name()?;
    body.end()?;
    Ok(op::Remove { name })
}

pub(super) fn rename(mut body: Body<'_>) -> Decoded<'_> {
    let raw: RenameIn = body.take()?;
    moved(body, raw.newdir, op::RenameHow::Replace)
}

pub(super) fn rename2(mut body: Body<'_>) -> Decoded<'_> {
    const NOREPLACE_WHITEOUT: u32 = RENAME_NOREPLACE | RENAME_WHITEOUT;
    let raw: Rename2In = body.take()?;
    let how = match raw.flags {
        0 => op::RenameHow::Replace,
        RENAME_NOREPLACE => op::RenameHow::NoReplace,
        RENAME_EXCHANGE => op::RenameHow::Exchange,
        RENAME_WHITEOUT => op::RenameHow::ReplaceWhiteout,
        NOREPLACE_WHITEOUT => op::RenameHow::NoReplaceWhiteout,
        _ => return Err(Errno::EINVAL),
    };
    moved(body, raw.newdir, how)
}

fn moved(mut body: Body<'_>, new_parent: u64, how: op::RenameHow) -> Decoded<'_> {
    let new_parent = NodeId::new(new_parent).ok_or(Errno::EINVAL)?;
    let from = body.name()?;
    let to = body.name()?;
    body.end()?;
    Ok(Operation::Rename { new_parent, op: op::Rename { from, to, how } })
}

pub(super) fn link(mut body: Body<'_>) -> Decoded<'_> {
    let raw: LinkIn = body.take()?;
    let node = NodeId::new(raw.oldnodeid).ok_or(Errno::EINVAL)?;
    let name = body.name()?;
    body.end()?;
    Ok(Operation::Link { node, op: op::Link { name } })
}

fn new<'a>(name: Name<'a>, mode: u32, mask: u32, extra: Extensions<'a>) -> op::New<'a> {
    let Extensions { security, group } = extra;
    op::New { name, permissions: permissions(mode), umask: umask(mask), security, group }
}

fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

fn umask(mask: u32) -> u16 {
    (mask & 0o777) as u16
}
