//! One request for every operation there is.

use wharf::op::{self, LockKind, LockOwner, OpenFlags, RenameHow};
use wharf::session::Operation as O;
use wharf::testing::{Ask, Parts};
use wharf::{Errno, HandleId, Kind, NodeId, Time};

type Answer<T> = std::result::Result<T, Errno>;

fn new<'a>(parts: &mut Parts<'a>) -> Answer<op::New<'a>> {
    Ok(op::New { name: parts.name()?, permissions: 0o644, umask: 0o22, security: None, group: Some(7) })
}

/// Requests about the root, with their names. The strings are "a", "b" and "c".
pub(crate) fn every(file: HandleId, directory: HandleId) -> Vec<(&'static str, Ask)> {
    let me = LockOwner(9);
    let lock = || op::Lock { kind: LockKind::Shared, range: 3..5, pid: 1 };
    let mut all = Vec::new();
    macro_rules! add {
        ($name:literal, $make:expr) => {
            let ask = Ask::new($name, NodeId::ROOT, $make).string("a").string("b").string("c");
            // Only a write has data: they would take the place of the answer's bytes.
            all.push(($name, if $name == "write" { ask.data("wxyz") } else { ask }));
        };
    }
    add!("lookup", |p| Ok(O::Lookup { op: op::Lookup { name: p.name()? } }));
    add!("getattr", move |_| Ok(O::GetAttributes { handle: Some(file) }));
    add!("setattr", |_| {
        let accessed = Some(op::SetTime::At(Time { seconds: 1, nanoseconds: 2 }));
        Ok(O::SetAttributes { handle: None, op: op::SetAttributes { accessed, ..Default::default() } })
    });
    add!("readlink", |_| Ok(O::ReadLink));
    add!("symlink", |p| Ok(O::Symlink { op: op::Symlink { new: new(p)?, target: p.string()? } }));
    add!("mknod of a pipe", |p| {
        Ok(O::MakeNode { op: op::MakeNode { new: new(p)?, kind: Kind::Fifo, device: 5 } })
    });
    add!("mknod of a file", |p| {
        Ok(O::MakeNode { op: op::MakeNode { new: new(p)?, kind: Kind::File, device: 0 } })
    });
    add!("mkdir", |p| {
        let security = Some((std::ffi::OsStr::new("security.x"), &b"label"[..]));
        Ok(O::MakeDirectory { op: op::MakeDirectory { new: op::New { security, ..new(p)? } } })
    });
    add!("unlink", |p| Ok(O::Unlink { op: op::Remove { name: p.name()? } }));
    add!("rmdir", |p| Ok(O::RemoveDirectory { op: op::Remove { name: p.name()? } }));
    add!("rename", |p| rename(p, RenameHow::Replace));
    add!("exchange", |p| rename(p, RenameHow::Exchange));
    add!("link", |p| Ok(O::Link { node: NodeId::ROOT, op: op::Link { name: p.name()? } }));
    add!("open", |_| Ok(O::Open { op: op::Open { flags: OpenFlags::APPEND, kill_privileges: true } }));
    add!("opendir", |_| {
        Ok(O::OpenDirectory { op: op::Open { flags: OpenFlags::empty(), kill_privileges: false } })
    });
    add!("create", |p| {
        let op = op::Create { new: new(p)?, flags: OpenFlags::READ_WRITE, kill_privileges: true };
        Ok(O::Create { op })
    });
    add!("tmpfile", |_| {
        Ok(O::Tmpfile { op: op::Tmpfile { permissions: 0o600, umask: 0, flags: OpenFlags::WRITE_ONLY } })
    });
    add!("write", move |p| {
        let (data, owner) = (p.data()?, Some(LockOwner(9)));
        let flags = OpenFlags::WRITE_ONLY;
        let op = op::Write { offset: 6, data, flags, owner, from_cache: true, kill_privileges: true };
        Ok(O::Write { handle: file, op })
    });
    add!("flush", move |_| Ok(O::Flush { handle: file, op: op::Flush { owner: me } }));
    add!("fsync", move |_| Ok(O::Fsync { handle: file, op: op::Fsync { data_only: true } }));
    add!("fsyncdir", move |_| Ok(O::FsyncDirectory {
        handle: directory,
        op: op::Fsync { data_only: false }
    }));
    add!("syncfs", |_| Ok(O::SyncFs));
    add!("statfs", |_| Ok(O::Statfs));
    add!("setxattr", |p| {
        let (name, value) = ("user.a".as_ref(), p.string()?);
        Ok(O::SetXattr { op: op::SetXattr { name, value, how: op::SetXattrHow::Create, kill_setgid: true } })
    });
    add!("getxattr", |_| Ok(O::GetXattr { op: op::GetXattr { name: "user.a".as_ref() }, size: 100 }));
    add!("listxattr", |_| Ok(O::ListXattr { size: 100 }));
    add!("removexattr", |_| Ok(O::RemoveXattr { op: op::RemoveXattr { name: "user.a".as_ref() } }));
    add!("getlk", move |_| Ok(O::GetLock { handle: file, op: op::GetLock { owner: me, lock: lock() } }));
    add!("setlk", move |_| {
        Ok(O::SetLock { handle: file, op: op::SetLock { owner: me, lock: lock(), wait: true } })
    });
    add!("flock", move |_| {
        Ok(O::Flock { handle: file, op: op::Flock { owner: me, kind: LockKind::Exclusive, wait: false } })
    });
    add!("access", |_| Ok(O::Access { op: op::Access { mask: 4 } }));
    add!("fallocate", move |_| {
        let op = op::Fallocate { range: 1..9, mode: op::FallocateMode::PunchHole, keep_size: true };
        Ok(O::Fallocate { handle: file, op })
    });
    add!("lseek", move |_| {
        Ok(O::Seek { handle: file, op: op::Seek { offset: 8, what: op::SeekFor::Hole } })
    });
    add!("copy_file_range", move |_| {
        let op = op::CopyRange { from: 1, to: 2, len: 3 };
        Ok(O::CopyRange { from: file, to: file, to_node: NodeId::ROOT, op, long: true })
    });
    add!("bmap", |_| Ok(O::Bmap { op: op::Bmap { block: 4, block_size: 512 } }));
    add!("ioctl", move |p| {
        let op =
            op::Ioctl { command: 1, argument: 2, input: p.string()?, output_bytes_max: 50, compat: true };
        Ok(O::Ioctl { handle: file, directory: false, op })
    });
    add!("poll", move |_| {
        Ok(O::Poll { handle: file, op: op::Poll { events: 1, wake: Some(op::PollWaker(3)) } })
    });
    add!("statx", move |_| Ok(O::Statx { handle: Some(file), op: op::Statx { mask: 3, flags: 4 } }));
    add!("read", move |_| {
        let op = op::Read { offset: 5, size: 10, flags: OpenFlags::DIRECT, owner: None };
        Ok(O::Read { handle: file, op })
    });
    add!("readdir", move |_| {
        let op = op::List { cursor: 77 };
        Ok(O::List { handle: directory, op, size: 500, entries: true, pattern: None })
    });
    add!("release", move |_| {
        let op = op::Release { flags: OpenFlags::empty(), owner: Some(me), unlock_flock: true };
        Ok(O::Release { handle: file, op })
    });
    add!("releasedir", move |_| {
        let op = op::Release { flags: OpenFlags::empty(), owner: None, unlock_flock: false };
        Ok(O::ReleaseDirectory { handle: directory, op })
    });
    all
}

fn rename<'a>(parts: &mut Parts<'a>, how: RenameHow) -> Answer<O<'a>> {
    let op = op::Rename { from: parts.name()?, to: parts.name()?, how };
    Ok(O::Rename { new_parent: NodeId::ROOT, op })
}
