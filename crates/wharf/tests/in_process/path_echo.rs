//! Every operation reaches the method of a path file system that it is for.

use std::sync::{Arc, Mutex};

use wharf::blocking::{Pool, PoolLimits};
use wharf::op::{self, OpenFlags};
use wharf::path::{At, FileSystem, Names, serve};
use wharf::session::{Operation, Reply};
use wharf::testing::{Ask, Volume};
use wharf::{
    Attributes, Capabilities, Context, Created, Entry, Extended, IoctlDone, NodeId, Opened, Result, Statfs,
};

use crate::every::every;

/// Says what it was asked, and where, and answers the least that will do.
#[derive(Clone, Default)]
struct Echo(Arc<Mutex<Vec<String>>>);

impl Echo {
    fn heard(&self, method: &str, at: &At<'_, Echo>) {
        let path = at.path().expect("there is a path").display().to_string();
        let file = at.file().map(|file| format!(" of {file}")).unwrap_or_default();
        self.0.lock().unwrap().push(format!("{method} '{path}'{file}"));
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn entry() -> Entry<()> {
    Attributes::file(2, 0).into()
}

fn opened() -> Opened<&'static str> {
    Opened::new("file")
}

macro_rules! echo {
    ($(fn $method:ident($($arg:ident: $type:ty),*) -> $answer:ty { $value:expr })*) => {$(
        fn $method(&self, _cx: &Context, at: &At<'_, Self>, $($arg: $type),*) -> Result<$answer> {
            self.heard(stringify!($method), at);
            $(let _ = $arg;)*
            Ok($value)
        }
    )*};
}

impl FileSystem for Echo {
    type Data = ();
    type File = &'static str;

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    fn getattr(&self, _cx: &Context, at: &At<'_, Self>) -> Result<Attributes> {
        self.heard("getattr", at);
        Ok(Attributes::directory(0))
    }

    fn rename(&self, _: &Context, from: &At<'_, Self>, to: &At<'_, Self>, how: op::RenameHow) -> Result<()> {
        self.heard(&format!("rename {how:?} to '{}'", to.path()?.display()), from);
        Ok(())
    }

    fn link(&self, _cx: &Context, at: &At<'_, Self>, new: &At<'_, Self>) -> Result<Entry<()>> {
        self.heard(&format!("link to '{}'", new.path()?.display()), at);
        Ok(entry())
    }

    fn copy_file_range(
        &self,
        _cx: &Context,
        from: (&At<'_, Self>, &Self::File),
        to: (&At<'_, Self>, &Self::File),
        _op: op::CopyRange,
    ) -> Result<u64> {
        self.heard(&format!("copy_file_range to '{}'", to.0.path()?.display()), from.0);
        Ok(0)
    }

    fn release(&self, _cx: &Context, at: &At<'_, Self>, _file: &Self::File, _op: op::Release) {
        self.heard("release", at);
    }

    echo! {
        fn lookup() -> Entry<()> { entry() }
        fn setattr(op: op::SetAttributes) -> Attributes { Attributes::file(2, 0) }
        fn readlink(into: &mut [u8]) -> usize { 0 }
        fn symlink(op: op::Symlink<'_>) -> Entry<()> { entry() }
        fn mknod(op: op::MakeNode<'_>) -> Entry<()> { entry() }
        fn mkdir(op: op::MakeDirectory<'_>) -> Entry<()> { entry() }
        fn unlink() -> () { () }
        fn rmdir() -> () { () }
        fn open(op: op::Open) -> Opened<&'static str> { opened() }
        fn opendir(op: op::Open) -> () { () }
        fn create(op: op::Create<'_>) -> Created<(), &'static str> {
            Created { entry: entry(), opened: opened() }
        }
        fn tmpfile(op: op::Tmpfile) -> Created<(), &'static str> {
            Created { entry: Attributes::file(3, 0).into(), opened: opened() }
        }
        fn read(file: &Self::File, op: op::Read, into: &mut [u8]) -> usize { 0 }
        fn write(file: &Self::File, op: op::Write<'_>) -> usize { 4 }
        fn flush(file: &Self::File, op: op::Flush) -> () { () }
        fn fsync(file: &Self::File, op: op::Fsync) -> () { () }
        fn fsyncdir(op: op::Fsync) -> () { () }
        fn syncfs() -> () { () }
        fn list(names: &mut Names) -> () { () }
        fn statfs() -> Statfs { Statfs::default() }
        fn setxattr(op: op::SetXattr<'_>) -> () { () }
        fn getxattr(op: op::GetXattr<'_>, into: &mut [u8]) -> usize { 0 }
        fn listxattr(into: &mut [u8]) -> usize { 0 }
        fn removexattr(op: op::RemoveXattr<'_>) -> () { () }
        fn getlk(file: &Self::File, op: op::GetLock) -> Option<op::Lock> { None }
        fn setlk(file: &Self::File, op: op::SetLock) -> () { () }
        fn flock(file: &Self::File, op: op::Flock) -> () { () }
        fn access(op: op::Access) -> () { () }
        fn fallocate(file: &Self::File, op: op::Fallocate) -> () { () }
        fn lseek(file: &Self::File, op: op::Seek) -> u64 { 0 }
        fn bmap(op: op::Bmap) -> u64 { 0 }
        fn ioctl(op: op::Ioctl<'_>, into: &mut [u8]) -> IoctlDone { IoctlDone::default() }
        fn poll(file: &Self::File, op: op::Poll) -> u32 { 0 }
        fn statx(op: op::Statx) -> Extended {
            Extended { attributes: Attributes::file(2, 0), flags: 0, flags_known: 0 }
        }
    }
}

/// What is heard of the request of this name about the root, which is open as a file too.
fn expected(name: &str) -> String {
    match name {
        "lookup" | "symlink" | "mkdir" | "unlink" | "rmdir" | "create" => format!("{name} 'a'"),
        "mknod of a pipe" | "mknod of a file" => "mknod 'a'".into(),
        "rename" => "rename Replace to 'b' 'a'".into(),
        "exchange" => "rename Exchange to 'b' 'a'".into(),
        "link" => "link to 'a' ''".into(),
        "copy_file_range" => "copy_file_range to '' '' of file".into(),
        "getattr" | "statx" | "read" | "write" | "flush" | "fsync" | "getlk" | "setlk" | "flock"
        | "fallocate" | "lseek" | "poll" | "ioctl" | "release" => format!("{name} '' of file"),
        "readdir" => "list ''".into(),
        other => format!("{other} ''"),
    }
}

#[test]
fn every_operation_arrives_with_its_path() {
    let echo = Echo::default();
    let mut volume = Volume::new(serve(echo.clone(), Pool::new(PoolLimits::default())));
    let file = volume.open("", OpenFlags::empty()).unwrap().handle;
    let op = op::Open { flags: OpenFlags::empty(), kill_privileges: false };
    let opendir = Ask::new("opendir", NodeId::ROOT, move |_| Ok(Operation::OpenDirectory { op }));
    let Ok(Reply::Opened(directory)) = volume.call(&opendir) else { panic!("a directory opens") };
    echo.said();
    for (name, ask) in every(file, directory.handle) {
        volume.call(&ask).unwrap_or_else(|errno| panic!("{name}: {errno}"));
        // A directory has no value to release, and its listing at a cursor is told from what was listed before.
        let expected = if matches!(name, "releasedir" | "readdir") { vec![] } else { vec![expected(name)] };
        assert_eq!(echo.said(), expected, "{name}");
    }
}
