//! What a file system does not claim is answered without it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wharf::op::{self, LockKind, LockOwner, OpenFlags};
use wharf::session::Operation;
use wharf::testing::{Ask, Parts, Volume};
use wharf::{
    Attributes, Capabilities, Context, Entry, Errno, Error, FileSystem, HandleId, Kind, NodeId, Opened,
    Result,
};

/// Claims nothing and fails the test when it is asked for more than it must know.
struct Nothing;

impl FileSystem for Nothing {
    type Node = ();
    type File = ();

    fn capabilities(&self) -> Capabilities {
        Capabilities::empty()
    }

    fn root(&self) {}

    async fn lookup(&self, _cx: &Context, _parent: &(), _op: op::Lookup<'_>) -> Result<Entry<()>> {
        Err(Error::not_found())
    }

    async fn getattr(&self, _cx: &Context, _node: &(), _file: Option<&()>) -> Result<Attributes> {
        Ok(Attributes::directory(1))
    }

    async fn open(&self, _cx: &Context, _node: &(), _op: op::Open) -> Result<Opened<()>> {
        Ok(Opened::new(()))
    }
}

type Make = for<'a> fn(&mut Parts<'a>) -> std::result::Result<Operation<'a>, Errno>;

const H: HandleId = HandleId(0);
const ME: LockOwner = LockOwner(1);

fn new<'a>(parts: &mut Parts<'a>) -> std::result::Result<op::New<'a>, Errno> {
    Ok(op::New { name: parts.name()?, permissions: 0o644, umask: 0, security: None, group: None })
}

fn lock() -> op::Lock {
    op::Lock { kind: LockKind::Shared, range: 0..1, pid: 1 }
}

fn rename<'a>(parts: &mut Parts<'a>, how: op::RenameHow) -> std::result::Result<Operation<'a>, Errno> {
    let op = op::Rename { from: parts.name()?, to: parts.name()?, how };
    Ok(Operation::Rename { new_parent: NodeId::ROOT, op })
}

#[test]
fn each_unclaimed_operation_has_its_number() {
    use Operation as O;
    let table: &[(&str, Errno, Make)] = &[
        ("setattr", Errno::EROFS, |_| Ok(O::SetAttributes { handle: None, op: Default::default() })),
        ("readlink", Errno::EINVAL, |_| Ok(O::ReadLink)),
        ("symlink", Errno::EPERM, |p| Ok(O::Symlink { op: op::Symlink { new: new(p)?, target: b"t" } })),
        ("mknod of a pipe", Errno::EPERM, |p| {
            Ok(O::MakeNode { op: op::MakeNode { new: new(p)?, kind: Kind::Fifo, device: 0 } })
        }),
        ("mknod of a file", Errno::EROFS, |p| {
            Ok(O::MakeNode { op: op::MakeNode { new: new(p)?, kind: Kind::File, device: 0 } })
        }),
        ("mkdir", Errno::EROFS, |p| Ok(O::MakeDirectory { op: op::MakeDirectory { new: new(p)? } })),
        ("unlink", Errno::EROFS, |p| Ok(O::Unlink { op: op::Remove { name: p.name()? } })),
        ("rmdir", Errno::EROFS, |p| Ok(O::RemoveDirectory { op: op::Remove { name: p.name()? } })),
        ("rename", Errno::EROFS, |p| rename(p, op::RenameHow::Replace)),
        ("exchange", Errno::EINVAL, |p| rename(p, op::RenameHow::Exchange)),
        ("link", Errno::EPERM, |p| Ok(O::Link { node: NodeId::ROOT, op: op::Link { name: p.name()? } })),
        ("create", Errno::EROFS, |p| {
            let (new, flags) = (new(p)?, OpenFlags::WRITE_ONLY);
            Ok(O::Create { op: op::Create { new, flags, kill_privileges: false } })
        }),
        ("tmpfile", Errno::EOPNOTSUPP, |_| {
            Ok(O::Tmpfile { op: op::Tmpfile { permissions: 0, umask: 0, flags: OpenFlags::WRITE_ONLY } })
        }),
        ("flush", Errno::ENOSYS, |_| Ok(O::Flush { handle: H, op: op::Flush { owner: ME } })),
        ("fsync", Errno::ENOSYS, |_| Ok(O::Fsync { handle: H, op: op::Fsync { data_only: false } })),
        ("fsyncdir", Errno::ENOSYS, |_| {
            Ok(O::FsyncDirectory { handle: H, op: op::Fsync { data_only: false } })
        }),
        ("syncfs", Errno::ENOSYS, |_| Ok(O::SyncFs)),
        ("setxattr", Errno::ENOSYS, |_| {
            let (name, value) = ("user.a".as_ref(), &b"v"[..]);
            Ok(O::SetXattr {
                op: op::SetXattr { name, value, how: op::SetXattrHow::Any, kill_setgid: false },
            })
        }),
        ("getxattr", Errno::ENOSYS, |_| {
            Ok(O::GetXattr { op: op::GetXattr { name: "user.a".as_ref() }, size: 0 })
        }),
        ("listxattr", Errno::ENOSYS, |_| Ok(O::ListXattr { size: 0 })),
        ("removexattr", Errno::ENOSYS, |_| {
            Ok(O::RemoveXattr { op: op::RemoveXattr { name: "user.a".as_ref() } })
        }),
        ("getlk", Errno::ENOSYS, |_| {
            Ok(O::GetLock { handle: H, op: op::GetLock { owner: ME, lock: lock() } })
        }),
        ("setlk", Errno::ENOSYS, |_| {
            Ok(O::SetLock { handle: H, op: op::SetLock { owner: ME, lock: lock(), wait: true } })
        }),
        ("flock", Errno::ENOSYS, |_| {
            Ok(O::Flock { handle: H, op: op::Flock { owner: ME, kind: LockKind::Shared, wait: true } })
        }),
        ("access", Errno::ENOSYS, |_| Ok(O::Access { op: op::Access { mask: 4 } })),
        ("fallocate", Errno::ENOSYS, |_| {
            let op = op::Fallocate { range: 0..1, mode: op::FallocateMode::Allocate, keep_size: false };
            Ok(O::Fallocate { handle: H, op })
        }),
        ("lseek", Errno::ENOSYS, |_| {
            Ok(O::Seek { handle: H, op: op::Seek { offset: 0, what: op::SeekFor::Data } })
        }),
        ("copy_file_range", Errno::ENOSYS, |_| {
            let op = op::CopyRange { from: 0, to: 0, len: 1 };
            Ok(O::CopyRange { from: H, to: H, to_node: NodeId::ROOT, op, long: true })
        }),
        ("bmap", Errno::ENOSYS, |_| Ok(O::Bmap { op: op::Bmap { block: 0, block_size: 512 } })),
        ("ioctl", Errno::ENOTTY, |_| {
            let op = op::Ioctl { command: 1, argument: 0, input: b"", output_bytes_max: 0, compat: false };
            Ok(O::Ioctl { handle: H, directory: false, op })
        }),
        ("poll", Errno::ENOSYS, |_| Ok(O::Poll { handle: H, op: op::Poll { events: 1, wake: None } })),
        ("statx", Errno::ENOSYS, |_| Ok(O::Statx { handle: None, op: op::Statx { mask: 0, flags: 0 } })),
    ];
    let mut volume = Volume::new(Nothing);
    for (name, errno, make) in table {
        let ask = Ask::new("unclaimed", NodeId::ROOT, *make).string("a").string("b");
        assert_eq!(volume.call(&ask).unwrap_err(), *errno, "{name}");
    }
    assert!(volume.statfs().is_ok(), "what is always there is answered");
}

#[test]
fn what_is_claimed_and_not_written_is_not_supported() {
    struct Liar;
    impl FileSystem for Liar {
        type Node = ();
        type File = ();
        fn capabilities(&self) -> Capabilities {
            Capabilities::POSIX
        }
        fn root(&self) {}
        async fn lookup(&self, _cx: &Context, _parent: &(), _op: op::Lookup<'_>) -> Result<Entry<()>> {
            Err(Error::not_found())
        }
        async fn getattr(&self, _cx: &Context, _node: &(), _file: Option<&()>) -> Result<Attributes> {
            Ok(Attributes::directory(1))
        }
    }
    let mut volume = Volume::new(Liar);
    assert_eq!(volume.mkdir("a"), Err(Errno::EOPNOTSUPP));
    assert_eq!(volume.list(""), Err(Errno::EOPNOTSUPP));
}

#[test]
fn a_write_without_the_claim_never_opens() {
    let mut volume = Volume::new(Nothing);
    let open = volume.open("", OpenFlags::WRITE_ONLY).unwrap();
    assert_eq!(volume.write_at(open, 0, b"x"), Err(Errno::EROFS));
}

#[test]
fn nonsense_from_a_protocol_is_an_error_of_one_request() {
    let mut volume = Volume::new(Nothing);
    let bad = Ask::new("lookup", NodeId::ROOT, |parts| {
        Ok(Operation::Lookup { op: op::Lookup { name: parts.name()? } })
    });
    assert_eq!(volume.call(&bad.clone().string("..")).unwrap_err(), Errno::EINVAL);
    assert_eq!(volume.call(&bad).unwrap_err(), Errno::EINVAL);
    let panics = Ask::new("panics", NodeId::ROOT, |_| panic!("on purpose"));
    let outcome = catch_unwind(AssertUnwindSafe(|| volume.call(&panics)));
    assert_eq!(outcome.unwrap().unwrap_err(), Errno::EIO);
    assert!(volume.stat("").is_ok());
}
