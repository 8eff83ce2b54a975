//! The tiny file system on `fuser`: `serve-fuser DIR [THREADS] [CACHING]`.
//!
//! Each thread has a cloned descriptor. Slow reads are answered by a timer thread, through their reply objects.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::UNIX_EPOCH;

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, Session,
    SessionACL, TimeOrNow, WriteFlags,
};
use tiny::{Arguments, Caching, SLOW, Timers, Tiny};

struct SlowRead {
    bytes: &'static [u8],
    reply: ReplyData,
}

struct Served {
    tiny: Tiny,
    caching: Caching,
    timers: Timers<SlowRead>,
}

fn convert(of: tiny::Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(of.inode),
        size: of.bytes,
        blocks: of.bytes.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if of.directory { FileType::Directory } else { FileType::RegularFile },
        perm: of.mode() as u16 & 0o7777,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Served {
    fn attributes(&self, inode: u64) -> FileAttr {
        convert(self.tiny.attributes(inode))
    }
}

impl Filesystem for Served {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let mut wanted = InitFlags::FUSE_ASYNC_DIO | InitFlags::FUSE_PARALLEL_DIROPS;
        if self.caching == Caching::Brief {
            wanted |= InitFlags::FUSE_DO_READDIRPLUS | InitFlags::FUSE_READDIRPLUS_AUTO;
        }
        let _ = config.add_capabilities(wanted);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.tiny.lookup(parent.0, name.as_bytes()) {
            Some(inode) => reply.entry_with_ttls(
                &self.caching.attributes(),
                &self.caching.names(),
                &self.attributes(inode),
                Generation(0),
            ),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&self.caching.attributes(), &self.attributes(inode.0));
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<std::time::SystemTime>,
        _chgtime: Option<std::time::SystemTime>,
        _bkuptime: Option<std::time::SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let Some(bytes) = size {
            self.tiny.resize(inode.0, bytes);
        }
        reply.attr(&self.caching.attributes(), &self.attributes(inode.0));
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = if Tiny::is_direct(inode.0) { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() };
        reply.opened(FileHandle(0), flags);
    }

    fn create(
        &self,
        _: &Request,
        _parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let inode = self.tiny.create(name.as_bytes());
        let lifetime = self.caching.names();
        reply.created(&lifetime, &self.attributes(inode), Generation(0), FileHandle(0), FopenFlags::empty());
    }

    fn unlink(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.tiny.unlink(name.as_bytes()) {
            Some(()) => reply.ok(),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes_max: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if inode.0 == SLOW {
            let bytes = self.tiny.resident(SLOW, offset, bytes_max as usize).unwrap_or_default();
            return self.timers.after_slow_read(SlowRead { bytes, reply });
        }
        let mut reply = Some(reply);
        self.tiny.read(inode.0, offset, bytes_max as usize, |bytes| {
            if let Some(reply) = reply.take() {
                reply.data(bytes);
            }
        });
        if let Some(reply) = reply {
            reply.error(Errno::ENOENT);
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.tiny.write(inode.0, offset, data) {
            Some(bytes) => reply.written(bytes as u32),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // The kernel remembers it and asks no more.
        reply.error(Errno::ENOSYS);
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, cursor: u64, mut reply: ReplyDirectory) {
        self.tiny.list(inode.0, cursor, |name, of, next| {
            let kind = if of.directory { FileType::Directory } else { FileType::RegularFile };
            !reply.add(INodeNo(of.inode), next, kind, OsStr::from_bytes(name))
        });
        reply.ok();
    }

    fn readdirplus(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        cursor: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let lifetime = self.caching.names();
        self.tiny.list(inode.0, cursor, |name, of, next| {
            let name = OsStr::from_bytes(name);
            !reply.add(INodeNo(of.inode), next, name, &lifetime, &convert(of), Generation(0))
        });
        reply.ok();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse()?;
    let threads = arguments.variant.parse().unwrap_or(2);
    let timers = Timers::new(|SlowRead { bytes, reply }| reply.data(bytes));
    let served = Served { tiny: Tiny::new()?, caching: arguments.caching, timers };

    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("bench".into()), MountOption::Subtype("fuser".into())];
    config.acl = SessionACL::All;
    config.n_threads = Some(threads);
    config.clone_fd = threads > 1;
    let session = Session::new(served, &arguments.dir, &config)?;
    tiny::say_ready(&format!("fuser, {threads} threads"));
    session.run()?;
    Ok(())
}
