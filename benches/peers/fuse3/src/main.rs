//! The tiny file system on `fuse3` with tokio: `serve-fuse3 DIR [unprivileged|privileged] [CACHING]`.
//!
//! Unprivileged, through fusermount3, is its faster way: mounted by root itself it reads the device on a pool of
//! blocking threads.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use bytes::Bytes;
use fuse3::raw::prelude::*;
use fuse3::{Errno, FileType, Inode, MountOptions, Result, Timestamp};
use futures_util::stream::{self, Stream};
use tiny::{Arguments, Caching, SLOW, SLOW_READ, Tiny};

const BYTES_PER_WRITE_MAX: NonZeroU32 = NonZeroU32::new(1 << 20).unwrap();

struct Served {
    tiny: Tiny,
    caching: Caching,
}

fn missing() -> Errno {
    Errno::from(libc::ENOENT)
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
        kind: kind(of),
        perm: of.mode() as u16 & 0o7777,
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

    /// Lazily: the library takes as many as fit into its reply.
    fn entries_after(
        &self,
        directory: u64,
        mut cursor: u64,
    ) -> impl Iterator<Item = (Vec<u8>, tiny::Attributes, u64)> + '_ {
        std::iter::from_fn(move || {
            let entry = self.tiny.entry_after(directory, cursor)?;
            cursor = entry.2;
            Some(entry)
        })
    }
}

impl Filesystem for Served {
    async fn init(&self, _: Request) -> Result<ReplyInit> {
        let mut reply = ReplyInit::new(BYTES_PER_WRITE_MAX);
        reply.max_background = Some(64);
        reply.congestion_threshold = Some(48);
        Ok(reply)
    }

    async fn destroy(&self, _: Request) {}

    async fn lookup(&self, _: Request, parent: Inode, name: &OsStr) -> Result<ReplyEntry> {
        let inode = self.tiny.lookup(parent, name.as_bytes()).ok_or_else(missing)?;
        // One lifetime serves names and attributes: with `attr0` its names are forgotten as well.
        Ok(ReplyEntry { ttl: self.caching.attributes(), attr: self.attributes(inode), generation: 0 })
    }

    async fn getattr(&self, _: Request, inode: Inode, _: Option<u64>, _: u32) -> Result<ReplyAttr> {
        Ok(ReplyAttr { ttl: self.caching.attributes(), attr: self.attributes(inode) })
    }

    async fn setattr(&self, _: Request, inode: Inode, _: Option<u64>, set: SetAttr) -> Result<ReplyAttr> {
        if let Some(bytes) = set.size {
            self.tiny.resize(inode, bytes);
        }
        Ok(ReplyAttr { ttl: self.caching.attributes(), attr: self.attributes(inode) })
    }

    async fn open(&self, _: Request, inode: Inode, _: u32) -> Result<ReplyOpen> {
        const FOPEN_DIRECT_IO: u32 = 1;
        Ok(ReplyOpen { fh: 0, flags: if Tiny::is_direct(inode) { FOPEN_DIRECT_IO } else { 0 } })
    }

    async fn release(&self, _: Request, _: Inode, _: u64, _: u32, _: u64, _: bool) -> Result<()> {
        Ok(())
    }

    async fn opendir(&self, _: Request, _: Inode, _: u32) -> Result<ReplyOpen> {
        Ok(ReplyOpen { fh: 0, flags: 0 })
    }

    async fn create(&self, _: Request, _: Inode, name: &OsStr, _: u32, _: u32) -> Result<ReplyCreated> {
        let inode = self.tiny.create(name.as_bytes());
        let ttl = self.caching.attributes();
        Ok(ReplyCreated { ttl, attr: self.attributes(inode), generation: 0, fh: 0, flags: 0 })
    }

    async fn unlink(&self, _: Request, _: Inode, name: &OsStr) -> Result<()> {
        self.tiny.unlink(name.as_bytes()).ok_or_else(missing)
    }

    async fn read(&self, _: Request, inode: Inode, _: u64, offset: u64, bytes_max: u32) -> Result<ReplyData> {
        if inode == SLOW {
            tokio::time::sleep(SLOW_READ).await;
        }
        let data = match self.tiny.resident(inode, offset, bytes_max as usize) {
            Some(bytes) => Bytes::from_static(bytes),
            None => self
                .tiny
                .read(inode, offset, bytes_max as usize, Bytes::copy_from_slice)
                .ok_or_else(missing)?,
        };
        Ok(ReplyData { data })
    }

    async fn write(
        &self,
        _: Request,
        inode: Inode,
        _: u64,
        offset: u64,
        data: &[u8],
        _: u32,
        _: u32,
    ) -> Result<ReplyWrite> {
        let bytes = self.tiny.write(inode, offset, data).ok_or_else(missing)?;
        Ok(ReplyWrite { written: bytes as u32 })
    }

    async fn readdir<'a>(
        &'a self,
        _: Request,
        inode: Inode,
        _: u64,
        cursor: i64,
    ) -> Result<ReplyDirectory<impl Stream<Item = Result<DirectoryEntry>> + Send + 'a>> {
        let entries = self.entries_after(inode, cursor as u64).map(|(name, of, next)| {
            let name = OsString::from_vec(name);
            Ok(DirectoryEntry { inode: of.inode, kind: kind(of), name, offset: next as i64 })
        });
        Ok(ReplyDirectory { entries: stream::iter(entries) })
    }

    async fn readdirplus<'a>(
        &'a self,
        _: Request,
        inode: Inode,
        _: u64,
        cursor: u64,
        _: u64,
    ) -> Result<ReplyDirectoryPlus<impl Stream<Item = Result<DirectoryEntryPlus>> + Send + 'a>> {
        let entries = self.entries_after(inode, cursor).map(|(name, of, next)| {
            Ok(DirectoryEntryPlus {
                inode: of.inode,
                generation: 0,
                kind: kind(of),
                name: OsString::from_vec(name),
                offset: next as i64,
                attr: convert(of),
                entry_ttl: self.caching.names(),
                attr_ttl: self.caching.attributes(),
            })
        });
        Ok(ReplyDirectoryPlus { entries: stream::iter(entries) })
    }

    async fn statfs(&self, _: Request, _: Inode) -> Result<ReplyStatFs> {
        Ok(ReplyStatFs {
            blocks: 0,
            bfree: 0,
            bavail: 0,
            files: 0,
            ffree: 0,
            bsize: 4096,
            namelen: 255,
            frsize: 4096,
        })
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse()?;
    let served = Served { tiny: Tiny::new()?, caching: arguments.caching };
    let mut options = MountOptions::default();
    options.fs_name("bench").allow_other(true);
    let session = Session::new(options);
    let handle = match arguments.variant.as_str() {
        "privileged" => session.mount(served, &arguments.dir).await?,
        _ => session.mount_with_unprivileged(served, &arguments.dir).await?,
    };
    tiny::say_ready("fuse3");
    handle.await?;
    Ok(())
}
