//! The trait: each operation to the plain method that does it. Nothing here waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wharf::error::Kind as ErrorKind;
use wharf::op::OpenFlags;
use wharf::{
    Attributes, Cache, Capabilities, Context, Created, Entry, Error, Extended, FileSystem, Kind, Listed,
    Listing, Name, Opened, Result, Statfs, Time, Window, op,
};

use super::bytes::Touch;
use super::directory;
use super::inode::Inode;
use super::names::{Make, Maker};
use super::rename::Places;
use super::{File, Memory, Node};

/// Entries that a listing takes out of a directory at once, to look at each without the directory's lock.
const LIST_BATCH: usize = 64;

const CAPABILITIES: Capabilities = Capabilities::POSIX
    .union(Capabilities::ACLS)
    .union(Capabilities::UMASK)
    .union(Capabilities::KILL_PRIVILEGES)
    .union(Capabilities::COPY_RANGE)
    .union(Capabilities::SYNCFS)
    .union(Capabilities::CACHE_SYMLINKS)
    .union(Capabilities::EXPLICIT_INVALIDATION)
    .union(Capabilities::DIRECT_MMAP);

impl FileSystem for Memory {
    type Node = Node;
    type File = File;

    /// Locks are not claimed: the kernel's own are right for a volume of one machine.
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn root(&self) -> Node {
        self.root.clone()
    }

    async fn lookup(&self, _: &Context, parent: &Node, op: op::Lookup<'_>) -> Result<Entry<Node>> {
        let inode = self.find(&parent.0, op.name)?;
        let attributes = inode.attributes();
        Ok(Entry::new(Node(inode), attributes))
    }

    async fn getattr(&self, _: &Context, node: &Node, _: Option<&File>) -> Result<Attributes> {
        Ok(node.0.attributes())
    }

    async fn setattr(
        &self,
        cx: &Context,
        node: &Node,
        _: Option<&File>,
        op: op::SetAttributes,
    ) -> Result<Attributes> {
        node.0.set_attributes(&op, |gid| cx.caller().uid == 0 || cx.is_in_group(gid))
    }

    async fn readlink(&self, _: &Context, node: &Node, mut into: Window<'_>) -> Result<usize> {
        node.0.target(|target| into.put(target))
    }

    async fn symlink(&self, cx: &Context, parent: &Node, op: op::Symlink<'_>) -> Result<Entry<Node>> {
        let make = Make { target: op.target, ..Make::new(Kind::Symlink, 0o777, 0) };
        self.made(cx, parent, op.new.name, &make)
    }

    async fn mknod(&self, cx: &Context, parent: &Node, op: op::MakeNode<'_>) -> Result<Entry<Node>> {
        let make = Make { device: op.device, ..Make::new(op.kind, op.new.permissions, op.new.umask) };
        self.made(cx, parent, op.new.name, &make)
    }

    async fn mkdir(&self, cx: &Context, parent: &Node, op: op::MakeDirectory<'_>) -> Result<Entry<Node>> {
        let make = Make::new(Kind::Directory, op.new.permissions, op.new.umask);
        self.made(cx, parent, op.new.name, &make)
    }

    async fn unlink(&self, _: &Context, parent: &Node, op: op::Remove<'_>) -> Result<()> {
        Memory::unlink(self, &parent.0, op.name)
    }

    async fn rmdir(&self, _: &Context, parent: &Node, op: op::Remove<'_>) -> Result<()> {
        Memory::rmdir(self, &parent.0, op.name)
    }

    async fn rename(&self, cx: &Context, parent: &Node, new_parent: &Node, op: op::Rename<'_>) -> Result<()> {
        let places = Places { parent: &parent.0, from: op.from, new_parent: &new_parent.0, to: op.to };
        with_maker(cx, |maker| Memory::rename(self, maker, places, op.how))
    }

    async fn link(
        &self,
        _: &Context,
        node: &Node,
        new_parent: &Node,
        op: op::Link<'_>,
    ) -> Result<Entry<Node>> {
        let attributes = Memory::link(self, &node.0, &new_parent.0, op.name)?;
        Ok(Entry::new(node.clone(), attributes))
    }

    async fn open(&self, _: &Context, node: &Node, op: op::Open) -> Result<Opened<File>> {
        open(&node.0, op.flags, op.kill_privileges)
    }

    async fn opendir(&self, _: &Context, node: &Node, _: op::Open) -> Result<Opened<File>> {
        let end = node.0.state().directory()?.end();
        // A listing that the kernel keeps could skip entries when others are removed under it.
        Ok(Opened::new(File::new(&node.0, false, end)).cache(Cache::Direct))
    }

    async fn create(&self, cx: &Context, parent: &Node, op: op::Create<'_>) -> Result<Created<Node, File>> {
        let make = Make::new(Kind::File, op.new.permissions, op.new.umask);
        loop {
            match with_maker(cx, |maker| self.make(maker, &parent.0, op.new.name, &make)) {
                Ok((inode, attributes)) => return Ok(created(inode, attributes)),
                Err(error)
                    if error.kind() == ErrorKind::Exists && !op.flags.contains(OpenFlags::EXCLUSIVE) => {}
                Err(error) => return Err(error),
            }
            // Somebody made it a moment ago; and if they have removed it since, it is to be made after all.
            match self.find(&parent.0, op.new.name) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(inode) => {
                    let opened = open(&inode, op.flags, op.kill_privileges)?;
                    let attributes = inode.attributes();
                    return Ok(Created { entry: Entry::new(Node(inode), attributes), opened });
                }
            }
        }
    }

    async fn tmpfile(&self, cx: &Context, parent: &Node, op: op::Tmpfile) -> Result<Created<Node, File>> {
        let make = Make::new(Kind::File, op.permissions, op.umask);
        let linkable = !op.flags.contains(OpenFlags::EXCLUSIVE);
        let (inode, attributes) =
            with_maker(cx, |maker| self.make_unnamed(maker, &parent.0, &make, linkable))?;
        Ok(created(inode, attributes))
    }

    async fn read(&self, _: &Context, file: &File, op: op::Read, mut into: Window<'_>) -> Result<usize> {
        let touch = match op.flags.contains(OpenFlags::NO_ATIME) {
            true => Touch::Never,
            false
                if file.access_due.load(Ordering::Relaxed)
                    && file.access_due.swap(false, Ordering::Relaxed) =>
            {
                Touch::Always
            }
            false => Touch::IfBehind,
        };
        let len = into.len();
        file.inode.read(op.offset, len, &mut into, touch)
    }

    async fn write(&self, _: &Context, file: &File, op: op::Write<'_>) -> Result<usize> {
        file.inode.write(op.offset, &op.data, op.kill_privileges)
    }

    async fn fsync(&self, _: &Context, _: &File, _: op::Fsync) -> Result<()> {
        Ok(())
    }

    async fn fsyncdir(&self, _: &Context, _: &File, _: op::Fsync) -> Result<()> {
        Ok(())
    }

    async fn syncfs(&self, _: &Context, _: &Node) -> Result<()> {
        Ok(())
    }

    async fn readdir(
        &self,
        _: &Context,
        file: &File,
        op: op::List,
        list: &mut Listing<'_, Node>,
    ) -> Result<()> {
        let state = file.inode.state();
        let directory = state.directory()?;
        if op.cursor == 0 {
            file.list_end.store(directory.end(), Ordering::Relaxed);
        }
        let end = file.list_end.load(Ordering::Relaxed);
        let behind = state.access_is_due(Time::now());
        if list.wants_entries() {
            drop(state);
            list_entries(&file.inode, op.cursor, end, list)?;
        } else {
            for (cursor, listed) in directory.list(op.cursor, end) {
                let Some(line) = line(cursor, listed) else { continue };
                if !list.add(line) {
                    break;
                }
            }
            drop(state);
        }
        file.inode.touch(Touch::IfBehind, behind);
        Ok(())
    }

    async fn statfs(&self, _: &Context, _: &Node) -> Result<Statfs> {
        Ok(self.space.statfs())
    }

    async fn setxattr(&self, _: &Context, node: &Node, op: op::SetXattr<'_>) -> Result<()> {
        node.0.set_xattr(&op)
    }

    async fn getxattr(
        &self,
        _: &Context,
        node: &Node,
        op: op::GetXattr<'_>,
        mut into: Window<'_>,
    ) -> Result<usize> {
        node.0.get_xattr(op.name, |value| {
            into.put(value);
        })
    }

    async fn listxattr(&self, cx: &Context, node: &Node, mut into: Window<'_>) -> Result<usize> {
        let mut len = 0;
        node.0.list_xattrs(cx.caller().uid == 0, |name| {
            into.put_at(len, name);
            into.put_at(len + name.len(), b"\0");
            len += name.len() + 1;
        });
        Ok(len)
    }

    async fn removexattr(&self, _: &Context, node: &Node, op: op::RemoveXattr<'_>) -> Result<()> {
        node.0.remove_xattr(op.name)
    }

    async fn fallocate(&self, cx: &Context, file: &File, op: op::Fallocate) -> Result<()> {
        file.inode.fallocate(&op, kills(cx))
    }

    async fn lseek(&self, _: &Context, file: &File, op: op::Seek) -> Result<u64> {
        file.inode.seek(op.offset, op.what)
    }

    async fn copy_file_range(&self, cx: &Context, from: &File, to: &File, op: op::CopyRange) -> Result<u64> {
        from.inode.copy_to(&to.inode, op.from, op.to, op.len, kills(cx))
    }

    async fn statx(&self, _: &Context, node: &Node, _: Option<&File>, _: op::Statx) -> Result<Extended> {
        Ok(Extended { attributes: node.0.attributes(), flags: 0, flags_known: 0 })
    }
}

impl Memory {
    fn made(&self, cx: &Context, parent: &Node, name: Name<'_>, make: &Make<'_>) -> Result<Entry<Node>> {
        let (inode, attributes) = with_maker(cx, |maker| self.make(maker, &parent.0, name, make))?;
        Ok(Entry::new(Node(inode), attributes))
    }
}

impl File {
    fn new(inode: &Arc<Inode>, access_due: bool, list_end: u64) -> File {
        File {
            inode: inode.clone(),
            access_due: AtomicBool::new(access_due),
            list_end: AtomicU64::new(list_end),
        }
    }
}

fn with_maker<T>(cx: &Context, with: impl FnOnce(&Maker<'_>) -> T) -> T {
    let is_in_group = |gid| cx.is_in_group(gid);
    with(&Maker { uid: cx.caller().uid, gid: cx.caller().gid, is_in_group: &is_in_group })
}

/// Whether a change of bytes takes the set-ID bits where the kernel does not say: it does not know of the
/// capability that would keep them, so all but root lose them.
fn kills(cx: &Context) -> bool {
    cx.caller().uid != 0
}

fn open(inode: &Arc<Inode>, flags: OpenFlags, kill: bool) -> Result<Opened<File>> {
    match inode.kind {
        Kind::File => {}
        Kind::Directory => return Err(Error::is_a_directory()),
        // Only a name that leads elsewhere than the kernel thinks can bring this about; it looks again then.
        _ => return Err(Error::new(ErrorKind::Stale)),
    }
    if flags.contains(OpenFlags::TRUNCATE) {
        inode.truncate(kill)?;
    }
    let due =
        flags.reads() && !flags.contains(OpenFlags::NO_ATIME) && inode.state().access_is_due(Time::now());
    Ok(opened(File::new(inode, due, 0), if due { Cache::WhileOpen } else { Cache::Keep }))
}

fn opened(file: File, cache: Cache) -> Opened<File> {
    Opened { parallel_direct_writes: true, ..Opened::new(file).cache(cache) }
}

fn created(inode: Arc<Inode>, attributes: Attributes) -> Created<Node, File> {
    let file = File::new(&inode, false, 0);
    Created { entry: Entry::new(Node(inode), attributes), opened: opened(file, Cache::Keep) }
}

/// Lists whole entries, a batch at a time: a child is never locked under its directory's lock.
fn list_entries(inode: &Inode, mut after: u64, end: u64, list: &mut Listing<'_, Node>) -> Result<()> {
    let mut batch = Vec::with_capacity(LIST_BATCH);
    loop {
        let state = inode.state();
        let entries = state.directory()?.list(after, end).take(LIST_BATCH);
        batch.extend(entries.map(|(cursor, listed)| (cursor, listed.clone())));
        drop(state);
        let Some((last, _)) = batch.last() else { return Ok(()) };
        after = *last;
        for (cursor, listed) in batch.drain(..) {
            let Some(line) = line(cursor, &listed) else { continue };
            let entry = Entry::new(Node(listed.inode.clone()), listed.inode.attributes());
            if !list.add_entry(line, entry) {
                return Ok(());
            }
        }
    }
}

fn line(cursor: u64, listed: &directory::Listed<Inode>) -> Option<Listed<'_>> {
    let name = Name::new(&listed.name)?;
    Some(Listed { name, inode: listed.inode.number, kind: listed.inode.kind, cursor })
}
