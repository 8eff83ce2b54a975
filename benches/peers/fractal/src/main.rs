//! The tiny file system on `fractal-fuse`, which speaks io_uring only: `serve-fractal DIR [DEPTH] [CACHING]`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fractal_fuse::abi::FOPEN_DIRECT_IO;
use fractal_fuse::{
    DirectoryEntry, DirectoryEntryPlus, Errno, FileAttr, FileHandleId, FileType, Filesystem, FsResult,
    InodeId, MountOptions, ReplyAttr, ReplyCreate, ReplyEntry, ReplyInit, ReplyOpen, Request, Session,
    SetAttr, Timestamp,
};
use tiny::{Arguments, Caching, SLOW, SLOW_READ, Tiny};

const ENOENT: Errno = libc::ENOENT;
const DIRENT_BYTES: usize = 24;
const DIRENT_PLUS_BYTES: usize = 152;

struct Served {
    tiny: Tiny,
    caching: Caching,
}

fn kind(of: tiny::Attributes) -> FileType {
    if of.directory { FileType::Directory } else { FileType::RegularFile }
}

fn convert(of: tiny::Attributes) -> FileAttr {
    let epoch = Timestamp::new(0, 0);
    FileAttr {
        ino: of.inode,
        size: of.bytes,
        blocks: of.bytes.div_ceil(512),
        atime: epoch,
        mtime: epoch,
        ctime: epoch,
        mode: of.mode(),
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
    }
}

impl Served {
    fn attributes(&self, inode: u64) -> FileAttr {
        convert(self.tiny.attributes(inode))
    }

    /// Only what fits: the library takes a vector, and would drop the rest after it was made.
    fn list(
        &self,
        inode: u64,
        cursor: u64,
        bytes_max: u32,
        entry_bytes: usize,
        mut add: impl FnMut(&[u8], tiny::Attributes, u64),
    ) {
        let mut room = bytes_max as usize;
        self.tiny.list(inode, cursor, |name, of, next| {
            let needed = (entry_bytes + name.len()).next_multiple_of(8);
            let fits = needed <= room;
            if fits {
                room -= needed;
                add(name, of, next);
            }
            fits
        });
    }
}

impl Filesystem for Served {
    async fn init(&self, _: Request) -> FsResult<ReplyInit> {
        Ok(ReplyInit { max_background: 64, congestion_threshold: 48, ..ReplyInit::default() })
    }

    async fn lookup(&self, _: Request, parent: InodeId, name: &OsStr) -> FsResult<ReplyEntry> {
        let inode = self.tiny.lookup(parent.0, name.as_bytes()).ok_or(ENOENT)?;
        // One lifetime serves names and attributes: with `attr0` its names are forgotten as well.
        Ok(ReplyEntry { ttl: self.caching.attributes(), attr: self.attributes(inode), generation: 0 })
    }

    async fn getattr(
        &self,
        _: Request,
        inode: InodeId,
        _: Option<FileHandleId>,
        _: u32,
    ) -> FsResult<ReplyAttr> {
        Ok(ReplyAttr { ttl: self.caching.attributes(), attr: self.attributes(inode.0) })
    }

    async fn setattr(
        &self,
        _: Request,
        inode: InodeId,
        _: Option<FileHandleId>,
        set: SetAttr,
    ) -> FsResult<ReplyAttr> {
        if let Some(bytes) = set.size {
            self.tiny.resize(inode.0, bytes);
        }
        Ok(ReplyAttr { ttl: self.caching.attributes(), attr: self.attributes(inode.0) })
    }

    async fn open(&self, _: Request, inode: InodeId, _: u32) -> FsResult<ReplyOpen> {
        let flags = if Tiny::is_direct(inode.0) { FOPEN_DIRECT_IO } else { 0 };
        Ok(ReplyOpen { fh: FileHandleId(0), flags, backing_id: 0 })
    }

    async fn release(
        &self,
        _: Request,
        _: InodeId,
        _: FileHandleId,
        _: u32,
        _: u64,
        _: bool,
        _: bool,
    ) -> FsResult<()> {
        Ok(())
    }

    async fn opendir(&self, _: Request, _: InodeId, _: u32) -> FsResult<ReplyOpen> {
        Ok(ReplyOpen { fh: FileHandleId(0), flags: 0, backing_id: 0 })
    }

    async fn releasedir(&self, _: Request, _: InodeId, _: FileHandleId, _: u32) -> FsResult<()> {
        Ok(())
    }

    async fn create(&self, _: Request, _: InodeId, name: &OsStr, _: u32, _: u32) -> FsResult<ReplyCreate> {
        let inode = self.tiny.create(name.as_bytes());
        Ok(ReplyCreate {
            ttl: self.caching.attributes(),
            attr: self.attributes(inode),
            generation: 0,
            fh: FileHandleId(0),
            flags: 0,
        })
    }

    async fn unlink(&self, _: Request, _: InodeId, name: &OsStr) -> FsResult<()> {
        self.tiny.unlink(name.as_bytes()).ok_or(ENOENT)
    }

    async fn read(
        &self,
        _: Request,
        inode: InodeId,
        _: FileHandleId,
        offset: u64,
        into: &mut [u8],
    ) -> FsResult<usize> {
        if inode.0 == SLOW {
            compio_runtime::time::sleep(SLOW_READ).await;
        }
        let bytes_max = into.len();
        let copied = self.tiny.read(inode.0, offset, bytes_max, |bytes| {
            into[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        });
        copied.ok_or(ENOENT)
    }

    async fn write(
        &self,
        _: Request,
        inode: InodeId,
        _: FileHandleId,
        offset: u64,
        data: &[u8],
        _: u32,
        _: u32,
    ) -> FsResult<usize> {
        self.tiny.write(inode.0, offset, data).ok_or(ENOENT)
    }

    async fn readdir(
        &self,
        _: Request,
        inode: InodeId,
        _: FileHandleId,
        cursor: u64,
        bytes_max: u32,
    ) -> FsResult<Vec<DirectoryEntry>> {
        let mut listed = Vec::with_capacity(bytes_max as usize / DIRENT_BYTES);
        self.list(inode.0, cursor, bytes_max, DIRENT_BYTES, |name, of, next| {
            listed.push(DirectoryEntry { ino: of.inode, offset: next, kind: kind(of), name: name.to_vec() });
        });
        Ok(listed)
    }

    async fn readdirplus(
        &self,
        _: Request,
        inode: InodeId,
        _: FileHandleId,
        cursor: u64,
        bytes_max: u32,
    ) -> FsResult<Vec<DirectoryEntryPlus>> {
        let mut listed = Vec::with_capacity(bytes_max as usize / DIRENT_PLUS_BYTES);
        self.list(inode.0, cursor, bytes_max, DIRENT_PLUS_BYTES, |name, of, next| {
            listed.push(DirectoryEntryPlus {
                ino: of.inode,
                offset: next,
                kind: kind(of),
                name: name.to_vec(),
                entry_ttl: self.caching.names(),
                attr: convert(of),
                generation: 0,
            });
        });
        Ok(listed)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse()?;
    let served = Served { tiny: Tiny::new()?, caching: arguments.caching };
    let options = MountOptions::new().fs_name("bench").allow_other(true);
    let mut session = Session::new(arguments.dir, options)?;
    if let Ok(depth) = arguments.variant.parse() {
        session = session.with_queue_depth(depth);
    }
    // It answers INIT inside `run`, and the kernel holds requests back until then.
    tiny::say_ready("fractal-fuse");
    session.run(served)?;
    Ok(())
}
