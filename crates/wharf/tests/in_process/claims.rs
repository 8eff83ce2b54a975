//! What a file system does not claim is answered without it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wharf::op::{self, OpenFlags};
use wharf::session::Operation;
use wharf::testing::{Ask, Volume};
use wharf::{
    Attributes, Capabilities, Context, Entry, Errno, Error, FileSystem, HandleId, NodeId, Opened, Result,
};

use crate::every::every;

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

const ANSWERS: &[(&str, Errno)] = &[
    ("setattr", Errno::EROFS),
    ("readlink", Errno::EINVAL),
    ("symlink", Errno::EPERM),
    ("mknod of a pipe", Errno::EPERM),
    ("mknod of a file", Errno::EROFS),
    ("mkdir", Errno::EROFS),
    ("unlink", Errno::EROFS),
    ("rmdir", Errno::EROFS),
    ("rename", Errno::EROFS),
    ("exchange", Errno::EINVAL),
    ("link", Errno::EPERM),
    ("create", Errno::EROFS),
    ("tmpfile", Errno::EOPNOTSUPP),
    ("write", Errno::EROFS),
    ("flush", Errno::ENOSYS),
    ("fsync", Errno::ENOSYS),
    ("fsyncdir", Errno::ENOSYS),
    ("syncfs", Errno::ENOSYS),
    ("setxattr", Errno::ENOSYS),
    ("getxattr", Errno::ENOSYS),
    ("listxattr", Errno::ENOSYS),
    ("removexattr", Errno::ENOSYS),
    ("getlk", Errno::ENOSYS),
    ("setlk", Errno::ENOSYS),
    ("flock", Errno::ENOSYS),
    ("access", Errno::ENOSYS),
    ("fallocate", Errno::ENOSYS),
    ("lseek", Errno::ENOSYS),
    ("copy_file_range", Errno::ENOSYS),
    ("bmap", Errno::ENOSYS),
    ("ioctl", Errno::ENOTTY),
    ("poll", Errno::ENOSYS),
    ("statx", Errno::ENOSYS),
];

/// What is always there, with the answers of a file system that has nothing.
const ALWAYS: &[(&str, Option<Errno>)] = &[
    ("lookup", Some(Errno::ENOENT)),
    ("getattr", None),
    ("open", None),
    ("opendir", Some(Errno::EOPNOTSUPP)),
    ("statfs", None),
    ("read", Some(Errno::EBADF)),
    ("readdir", Some(Errno::EBADF)),
    ("release", None),
    ("releasedir", None),
];

#[test]
fn each_unclaimed_operation_has_its_number() {
    let mut volume = Volume::new(Nothing);
    let unclaimed = ANSWERS.iter().map(|(name, errno)| (*name, Some(*errno)));
    let expected: HashMap<_, _> = unclaimed.chain(ALWAYS.iter().copied()).collect();
    let every = every(HandleId(0), HandleId(0));
    assert_eq!(every.len(), expected.len());
    for (name, ask) in every {
        assert_eq!(volume.call(&ask).err(), expected[name], "{name}");
    }
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
