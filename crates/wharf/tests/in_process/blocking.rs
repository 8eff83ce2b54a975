//! Plain methods on the threads of a pool.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use wharf::blocking::{Adapter, FileSystem, Listing, Pool, PoolLimits};
use wharf::op::{self, OpenFlags};
use wharf::session::{Operation, Setup};
use wharf::testing::{Ask, Open, Volume};
use wharf::{
    Attributes, Capabilities, Context, Created, Entry, Errno, Error, Extended, HandleId, IoctlDone, Kind,
    Limits, Listed, Name, NodeId, Opened, Result, Statfs,
};

use crate::every::every;

const LONG: Duration = Duration::from_secs(60);

/// Says what it was asked, and answers the least that will do.
#[derive(Clone, Default)]
struct Echo(Arc<Mutex<Vec<String>>>);

impl Echo {
    fn heard(&self, method: &str, op: impl std::fmt::Debug) {
        assert_eq!(thread::current().name(), Some("wharf-pool"));
        self.0.lock().unwrap().push(format!("{method} {op:?}"));
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn entry() -> Entry<u64> {
    Entry::new(2, Attributes::file(2, 0))
}

fn opened() -> Opened<&'static str> {
    Opened::new("file")
}

macro_rules! echo {
    ($(fn $method:ident($($arg:ident: $type:ty),*) -> $answer:ty { $value:expr })*) => {$(
        fn $method(&self, _cx: &Context, $($arg: $type),*) -> Result<$answer> {
            self.heard(stringify!($method), ($($arg,)*));
            Ok($value)
        }
    )*};
}

type F<'a> = &'a &'static str;

impl FileSystem for Echo {
    type Node = u64;
    type File = &'static str;

    fn capabilities(&self) -> Capabilities {
        Capabilities::all() - Capabilities::STATELESS_FILES - Capabilities::STATELESS_DIRECTORIES
    }

    fn root(&self) -> u64 {
        1
    }

    fn start(&self) -> Result<()> {
        self.heard("start", ());
        Ok(())
    }

    fn shutdown(&self) {
        self.heard("shutdown", ());
    }

    fn getattr(&self, _cx: &Context, node: &u64, file: Option<F<'_>>) -> Result<Attributes> {
        self.heard("getattr", (node, file));
        Ok(Attributes::directory(*node))
    }

    fn read(&self, _cx: &Context, file: F<'_>, op: op::Read, into: &mut [u8]) -> Result<usize> {
        self.heard("read", (file, op, into.len()));
        into[..4].copy_from_slice(b"read");
        Ok(4)
    }

    fn readdir(&self, _cx: &Context, file: F<'_>, op: op::List, list: &mut Listing<u64>) -> Result<()> {
        self.heard("readdir", (file, op, list.wants_entries()));
        Ok(())
    }

    fn release(&self, _cx: &Context, file: F<'_>, op: op::Release) {
        self.heard("release", (file, op));
    }

    echo! {
        fn lookup(parent: &u64, op: op::Lookup<'_>) -> Entry<u64> { entry() }
        fn setattr(node: &u64, file: Option<F<'_>>, op: op::SetAttributes) -> Attributes { Attributes::file(2, 0) }
        fn readlink(node: &u64, into: &mut [u8]) -> usize { 0 }
        fn symlink(parent: &u64, op: op::Symlink<'_>) -> Entry<u64> { entry() }
        fn mknod(parent: &u64, op: op::MakeNode<'_>) -> Entry<u64> { entry() }
        fn mkdir(parent: &u64, op: op::MakeDirectory<'_>) -> Entry<u64> { entry() }
        fn unlink(parent: &u64, op: op::Remove<'_>) -> () { () }
        fn rmdir(parent: &u64, op: op::Remove<'_>) -> () { () }
        fn rename(parent: &u64, new_parent: &u64, op: op::Rename<'_>) -> () { () }
        fn link(node: &u64, new_parent: &u64, op: op::Link<'_>) -> Entry<u64> { entry() }
        fn open(node: &u64, op: op::Open) -> Opened<&'static str> { opened() }
        fn opendir(node: &u64, op: op::Open) -> Opened<&'static str> { Opened::new("directory") }
        fn create(parent: &u64, op: op::Create<'_>) -> Created<u64, &'static str> {
            Created { entry: entry(), opened: opened() }
        }
        fn tmpfile(parent: &u64, op: op::Tmpfile) -> Created<u64, &'static str> {
            Created { entry: entry(), opened: opened() }
        }
        fn write(file: F<'_>, op: op::Write<'_>) -> usize { 4 }
        fn flush(file: F<'_>, op: op::Flush) -> () { () }
        fn fsync(file: F<'_>, op: op::Fsync) -> () { () }
        fn fsyncdir(file: F<'_>, op: op::Fsync) -> () { () }
        fn syncfs(node: &u64) -> () { () }
        fn statfs(node: &u64) -> Statfs { Statfs::default() }
        fn setxattr(node: &u64, op: op::SetXattr<'_>) -> () { () }
        fn getxattr(node: &u64, op: op::GetXattr<'_>, into: &mut [u8]) -> usize { 0 }
        fn listxattr(node: &u64, into: &mut [u8]) -> usize { 0 }
        fn removexattr(node: &u64, op: op::RemoveXattr<'_>) -> () { () }
        fn getlk(file: F<'_>, op: op::GetLock) -> Option<op::Lock> { None }
        fn setlk(file: F<'_>, op: op::SetLock) -> () { () }
        fn flock(file: F<'_>, op: op::Flock) -> () { () }
        fn access(node: &u64, op: op::Access) -> () { () }
        fn fallocate(file: F<'_>, op: op::Fallocate) -> () { () }
        fn lseek(file: F<'_>, op: op::Seek) -> u64 { 0 }
        fn copy_file_range(from: F<'_>, to: F<'_>, op: op::CopyRange) -> u64 { 0 }
        fn bmap(node: &u64, op: op::Bmap) -> u64 { 0 }
        fn ioctl(file: F<'_>, op: op::Ioctl<'_>, into: &mut [u8]) -> IoctlDone { IoctlDone::default() }
        fn poll(file: F<'_>, op: op::Poll) -> u32 { 0 }
        fn statx(node: &u64, file: Option<F<'_>>, op: op::Statx) -> Extended {
            Extended { attributes: Attributes::file(2, 0), flags: 0, flags_known: 0 }
        }
    }
}

#[test]
fn every_operation_arrives_with_all_that_it_came_with() {
    let echo = Echo::default();
    let mut volume = Volume::new(Adapter::new(echo.clone(), Pool::new(PoolLimits::default())));
    let file = volume.open("", OpenFlags::empty()).unwrap().handle;
    let op = op::Open { flags: OpenFlags::empty(), kill_privileges: false };
    let opendir = Ask::new("opendir", NodeId::ROOT, move |_| Ok(Operation::OpenDirectory { op }));
    let Ok(wharf::session::Reply::Opened(directory)) = volume.call(&opendir) else {
        panic!("a directory opens")
    };
    assert_eq!(echo.said()[..2], ["start ()", "getattr (1, None)"]);
    let new = r#"New { name: "a", permissions: 420, umask: 18, security: None, group: Some(7) }"#;
    let lock = "lock: Lock { kind: Shared, range: 3..5, pid: 1 }";
    let expected = [
        r#"lookup (1, Lookup { name: "a" })"#.to_owned(),
        r#"getattr (1, Some("file"))"#.into(),
        "setattr (1, None, SetAttributes { permissions: None, uid: None, gid: None, size: None, \
         accessed: Some(At(Time { seconds: 1, nanoseconds: 2 })), modified: None, changed: None, \
         kill_privileges: false })"
            .into(),
        "readlink".into(),
        format!("symlink (1, Symlink {{ new: {new}, target: [98] }})"),
        format!("mknod (1, MakeNode {{ new: {new}, kind: Fifo, device: 5 }})"),
        format!("mknod (1, MakeNode {{ new: {new}, kind: File, device: 0 }})"),
        format!("mkdir (1, MakeDirectory {{ new: {} }})", new.replace(
            "security: None",
            r#"security: Some(("security.x", [108, 97, 98, 101, 108]))"#
        )),
        r#"unlink (1, Remove { name: "a" })"#.into(),
        r#"rmdir (1, Remove { name: "a" })"#.into(),
        r#"rename (1, 1, Rename { from: "a", to: "b", how: Replace })"#.into(),
        r#"rename (1, 1, Rename { from: "a", to: "b", how: Exchange })"#.into(),
        r#"link (1, 1, Link { name: "a" })"#.into(),
        "open (1, Open { flags: OpenFlags(APPEND), kill_privileges: true })".into(),
        "opendir (1, Open { flags: OpenFlags(0x0), kill_privileges: false })".into(),
        format!("create (1, Create {{ new: {new}, flags: OpenFlags(READ_WRITE), kill_privileges: true }})"),
        "tmpfile (1, Tmpfile { permissions: 384, umask: 0, flags: OpenFlags(WRITE_ONLY) })".into(),
        r#"write ("file", Write { offset: 6, data: Data"#.into(),
        r#"flush ("file", Flush { owner: LockOwner(9) })"#.into(),
        r#"fsync ("file", Fsync { data_only: true })"#.into(),
        r#"fsyncdir ("directory", Fsync { data_only: false })"#.into(),
        "syncfs (1,)".into(),
        "statfs (1,)".into(),
        r#"setxattr (1, SetXattr { name: "user.a", value: [97], how: Create, kill_setgid: true })"#.into(),
        r#"getxattr (1, GetXattr { name: "user.a" }, ["#.into(),
        "listxattr (1, [".into(),
        r#"removexattr (1, RemoveXattr { name: "user.a" })"#.into(),
        format!(r#"getlk ("file", GetLock {{ owner: LockOwner(9), {lock} }})"#),
        format!(r#"setlk ("file", SetLock {{ owner: LockOwner(9), {lock}, wait: true }})"#),
        r#"flock ("file", Flock { owner: LockOwner(9), kind: Exclusive, wait: false })"#.into(),
        "access (1, Access { mask: 4 })".into(),
        r#"fallocate ("file", Fallocate { range: 1..9, mode: PunchHole, keep_size: true })"#.into(),
        r#"lseek ("file", Seek { offset: 8, what: Hole })"#.into(),
        r#"copy_file_range ("file", "file", CopyRange { from: 1, to: 2, len: 3 })"#.into(),
        "bmap (1, Bmap { block: 4, block_size: 512 })".into(),
        r#"ioctl ("file", Ioctl { command: 1, argument: 2, input: [97], output_bytes_max: 50, compat: true }, ["#
            .into(),
        r#"poll ("file", Poll { events: 1, wake: Some(PollWaker(3)) })"#.into(),
        r#"statx (1, Some("file"), Statx { mask: 3, flags: 4 })"#.into(),
        r#"read ("file", Read { offset: 5, size: 10, flags: OpenFlags(DIRECT), owner: None }, 10)"#.into(),
        r#"readdir ("directory", List { cursor: 77 }, true)"#.into(),
        r#"release ("file", Release { flags: OpenFlags(0x0), owner: Some(LockOwner(9)), unlock_flock: true })"#.into(),
        r#"release ("directory", Release { flags: OpenFlags(0x0), owner: None, unlock_flock: false })"#.into(),
    ];
    let every = every(file, directory.handle);
    assert_eq!(every.len(), expected.len());
    for ((name, ask), expected) in every.into_iter().zip(expected) {
        volume.call(&ask).unwrap_or_else(|errno| panic!("{name}: {errno}"));
        let said = echo.said();
        assert_eq!(said.len(), 1, "{name}");
        assert!(said[0].starts_with(&expected), "{name}:\n{}\ndoes not begin with\n{expected}", said[0]);
    }
    volume.unmount();
    let said = echo.said();
    assert_eq!(said.len(), 4 + 1, "what open, opendir, create and tmpfile opened is released");
    assert_eq!(said.last().unwrap(), "shutdown ()");
}

/// One file, whose reads and locks wait for what the test sends.
struct Slow {
    begun: Sender<u64>,
    go: Mutex<Receiver<()>>,
    locked: Mutex<bool>,
}

fn slow(limits: PoolLimits, setup: Setup) -> (Volume<Adapter<Slow>>, Receiver<u64>, Sender<()>) {
    let ((begun, has_begun), (go, gate)) = (channel(), channel());
    let fs = Slow { begun, go: Mutex::new(gate), locked: Mutex::new(false) };
    let volume = Volume::with(Adapter::new(fs, Pool::new(limits)), setup).unwrap();
    (volume, has_begun, go)
}

impl FileSystem for Slow {
    type Node = u64;
    type File = ();

    fn capabilities(&self) -> Capabilities {
        Capabilities::POSIX_LOCKS
    }

    fn root(&self) -> u64 {
        1
    }

    fn lookup(&self, _cx: &Context, _parent: &u64, op: op::Lookup<'_>) -> Result<Entry<u64>> {
        assert_ne!(op.name.as_bytes(), b"panic", "on purpose");
        Err(Error::not_found())
    }

    fn getattr(&self, _cx: &Context, node: &u64, _file: Option<&()>) -> Result<Attributes> {
        Ok(Attributes::directory(*node))
    }

    fn open(&self, _cx: &Context, _node: &u64, _op: op::Open) -> Result<Opened<()>> {
        Ok(Opened::new(()))
    }

    fn opendir(&self, _cx: &Context, _node: &u64, _op: op::Open) -> Result<Opened<()>> {
        Ok(Opened::new(()))
    }

    fn read(&self, _cx: &Context, _file: &(), op: op::Read, into: &mut [u8]) -> Result<usize> {
        self.begun.send(op.offset).expect("the test listens");
        self.go.lock().unwrap().recv_timeout(LONG).expect("the test goes on");
        into[..4].copy_from_slice(b"slow");
        Ok(4)
    }

    fn setlk(&self, cx: &Context, _file: &(), op: op::SetLock) -> Result<()> {
        if op.lock.kind == op::LockKind::Unlock {
            *self.locked.lock().unwrap() = false;
            return Ok(());
        }
        self.begun.send(op.owner.0).expect("the test listens");
        while std::mem::replace(&mut *self.locked.lock().unwrap(), true) {
            if cx.cancellation().wait_for(Duration::from_millis(1)) {
                return Err(Error::interrupted());
            }
        }
        Ok(())
    }

    /// A hundred entries.
    fn readdir(&self, _cx: &Context, _file: &(), op: op::List, list: &mut Listing<u64>) -> Result<()> {
        for number in op.cursor + 1..=100 {
            let name = format!("entry {number}");
            let name = Name::new(name.as_bytes()).expect("it is a name");
            let listed = Listed { name, inode: number + 10, kind: Kind::File, cursor: number };
            if !list.add_entry(listed, Entry::new(number + 10, Attributes::file(number + 10, 0))) {
                break;
            }
        }
        Ok(())
    }
}

fn threads(threads_max: u32) -> PoolLimits {
    PoolLimits { threads_max, ..PoolLimits::default() }
}

#[test]
fn a_method_that_blocks_holds_up_nobody_else() {
    let (mut volume, begun, go) = slow(threads(2), Setup::default());
    let open = volume.open("", OpenFlags::empty()).unwrap();
    let request = volume.begin(&Ask::read(open, 5, 100));
    assert_eq!(begun.recv_timeout(LONG), Ok(5));
    assert!(volume.stat("").is_ok());
    assert_eq!(volume.pending(), 1);
    go.send(()).unwrap();
    assert_eq!(volume.wait(request).bytes, b"slow");
}

#[test]
fn more_requests_than_threads_take_turns() {
    let (mut volume, _begun, go) = slow(threads(2), Setup::default());
    let open = volume.open("", OpenFlags::empty()).unwrap();
    let requests: Vec<_> = (0..50).map(|number| volume.begin(&Ask::read(open, number, 100))).collect();
    requests.iter().for_each(|_| go.send(()).unwrap());
    for request in requests {
        assert_eq!(volume.wait(request).bytes, b"slow");
    }
}

fn lock(open: Open, owner: u64, kind: op::LockKind) -> Ask {
    Ask::new("setlk", open.node, move |_| {
        let lock = op::Lock { kind, range: 0..u64::MAX, pid: 1 };
        let op = op::SetLock { owner: op::LockOwner(owner), lock, wait: kind != op::LockKind::Unlock };
        Ok(Operation::SetLock { handle: open.handle, op })
    })
}

#[test]
fn those_who_wait_for_a_lock_leave_a_thread_to_give_it_back() {
    let (mut volume, begun, _go) = slow(threads(1), Setup::default());
    let open = volume.open("", OpenFlags::empty()).unwrap();
    volume.call(&lock(open, 1, op::LockKind::Exclusive)).unwrap();
    for owner in 2..5 {
        volume.begin(&lock(open, owner, op::LockKind::Exclusive));
    }
    assert_eq!(begun.iter().take(4).count(), 4);
    assert_eq!(volume.pending(), 3);
    let deadline = Instant::now() + LONG;
    while volume.pending() > 0 && Instant::now() < deadline {
        volume.call(&lock(open, 1, op::LockKind::Unlock)).unwrap();
        volume.turn();
    }
    assert_eq!(volume.pending(), 0);
}

#[test]
fn an_interrupted_wait_for_a_lock_ends() {
    let (mut volume, begun, _go) = slow(threads(1), Setup::default());
    let open = volume.open("", OpenFlags::empty()).unwrap();
    volume.call(&lock(open, 1, op::LockKind::Exclusive)).unwrap();
    let second = volume.begin(&lock(open, 2, op::LockKind::Exclusive));
    let third = volume.begin(&lock(open, 3, op::LockKind::Exclusive));
    assert_eq!(begun.iter().take(3).count(), 3);
    volume.interrupt(third);
    assert_eq!(volume.wait(third).result.unwrap_err(), Errno::EINTR);
    assert_eq!(volume.pending(), 1);
    volume.interrupt(second);
    assert_eq!(volume.wait(second).result.unwrap_err(), Errno::EINTR);
}

#[test]
fn a_panic_is_an_error_of_one_request() {
    let (mut volume, ..) = slow(threads(1), Setup::default());
    assert_eq!(volume.stat("panic"), Err(Errno::EIO));
    assert_eq!(volume.stat("other"), Err(Errno::ENOENT));
}

#[test]
fn a_long_listing_goes_on_where_it_stopped() {
    let (mut volume, ..) = slow(threads(1), Setup::default());
    let expected: Vec<_> = (1..=100).map(|number| format!("entry {number}")).collect();
    assert_eq!(volume.list("").unwrap(), expected);
    assert_eq!(volume.list_entries("", true).unwrap().len(), 102);
    assert_eq!(volume.counts(), (100, 0));
    volume.forget_all();
    assert_eq!(volume.counts(), (0, 0));
}

#[test]
fn an_unmount_does_not_wait_for_ever_for_a_method_that_hangs() {
    let limits = Limits { drain_ms: 1, cancel_ms: 1, ..Limits::default() };
    let (mut volume, begun, go) = slow(threads(2), Setup { limits, ..Setup::default() });
    let open = volume.open("", OpenFlags::empty()).unwrap();
    volume.begin(&Ask::read(open, 5, 100));
    begun.recv_timeout(LONG).unwrap();
    assert_eq!(volume.unmount(), 1);
    // It may still fill its window, which nobody reads any more.
    go.send(()).unwrap();
}

#[test]
fn no_handle_is_needed_for_what_needs_no_opening() {
    struct Flat;
    impl FileSystem for Flat {
        type Node = u64;
        type File = u64;
        fn capabilities(&self) -> Capabilities {
            Capabilities::STATELESS_FILES
        }
        fn root(&self) -> u64 {
            1
        }
        fn lookup(&self, _cx: &Context, _parent: &u64, _op: op::Lookup<'_>) -> Result<Entry<u64>> {
            Ok(Entry::new(7, Attributes::file(7, 1)))
        }
        fn getattr(&self, _cx: &Context, node: &u64, _file: Option<&u64>) -> Result<Attributes> {
            Ok(Attributes::file(*node, 1))
        }
        fn file(&self, node: &u64) -> Result<u64> {
            Ok(*node)
        }
        fn read(&self, _cx: &Context, file: &u64, op: op::Read, into: &mut [u8]) -> Result<usize> {
            if op.offset > 0 {
                return Ok(0);
            }
            into[0] = *file as u8;
            Ok(1)
        }
    }
    let mut volume = Volume::new(Adapter::new(Flat, Pool::new(threads(1))));
    let open = volume.open("seven", OpenFlags::empty()).unwrap();
    assert_eq!(open.handle, HandleId(0));
    assert_eq!(volume.read("seven").unwrap(), [7]);
}
