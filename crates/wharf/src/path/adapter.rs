//! A path file system as one with nodes.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use crate::blocking::{self, Listing};
use crate::error::{Errno, Error, Kind as ErrorKind, Result};
use crate::op::OpenFlags;
use crate::{Attributes, Capabilities, Context, Created, Entry, Extended, IoctlDone, Opened, Statfs, op};

use super::FileSystem;
use super::at::{At, Operation};
use super::listing::{Names, Snapshot};
use super::node::{File, Known, Node, What};
use super::records::{ROOT, Told};
use super::tree::Tree;

/// Serves a [path file system](FileSystem) as a [blocking one](blocking::FileSystem); for a volume, put it
/// into a [`blocking::Adapter`].
pub struct Adapter<T: FileSystem> {
    fs: T,
    root: Node<T>,
}

impl<T: FileSystem> Adapter<T> {
    /// Serves `fs`.
    pub fn new(fs: T) -> Adapter<T> {
        let root = Tree::with_root(|tree| Known::new(tree, ROOT, 0, T::Data::default()));
        Adapter { fs, root: Node(root) }
    }

    /// The file system.
    pub fn inner(&self) -> &T {
        &self.fs
    }

    /// The inode number that a path has for the kernel, to name it in a [notice](crate::notice); `None` if the
    /// kernel does not know it, and needs no notice.
    pub fn inode_of(&self, path: &Path) -> Option<u64> {
        Some(self.root.0.tree.follow(path)?.inode())
    }

    /// The answer to a name that was looked up, or under which something was made (`new`).
    fn found(&self, at: At<'_, T>, entry: Entry<()>, new: bool) -> Entry<Node<T>> {
        let Entry { attributes, lifetimes, .. } = entry;
        let node = at.found(Told { inode: attributes.inode, kind: attributes.kind, new });
        Entry { attributes: node.0.numbered(attributes), node, lifetimes }
    }

    fn opened(&self, node: &Node<T>, opened: Opened<T::File>) -> Opened<File<T>> {
        opened.map(|file| File::new(node, file))
    }

    fn snapshot(&self, cx: &Context, directory: &File<T>, afresh: bool) -> Result<Arc<Snapshot>> {
        let What::Directory(kept) = &directory.what else { return Err(Error::not_a_directory()) };
        let kept = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !afresh {
            return Ok(kept().clone());
        }
        let operation = Operation::new(cx);
        let at = operation.file(directory).with_path()?;
        let mut names = Names::default();
        let Known { tree, id, .. } = &*directory.node.0;
        // A directory that was removed while it is open has nothing in it.
        if !tree.is_nameless(*id) {
            self.fs.list(cx, &at, &mut names)?;
        }
        let snapshot = Arc::new(names.into_snapshot());
        *kept() = snapshot.clone();
        Ok(snapshot)
    }
}

/// The author's value, where the kernel asks a file.
fn file<T: FileSystem>(file: &File<T>) -> Result<&T::File> {
    file.file().map(|file| &**file).ok_or(Error::new(ErrorKind::Os(Errno::EBADF)))
}

/// Operations on a place, which only need to know which place.
macro_rules! at_node {
    ($(fn $method:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $method(&self, cx: &Context, node: &Node<T>, $($arg: $type),*) -> Result<$answer> {
            self.fs.$method(cx, &Operation::new(cx).node(node).with_path()?, $($arg),*)
        }
    )*};
}

/// Operations on an open file.
macro_rules! at_file {
    ($(fn $method:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $method(&self, cx: &Context, open: &File<T>, $($arg: $type),*) -> Result<$answer> {
            self.fs.$method(cx, &Operation::new(cx).file(open), file(open)?, $($arg),*)
        }
    )*};
}

/// Operations that make something under a name.
macro_rules! at_new_name {
    ($(fn $method:ident($op:ty);)*) => {$(
        fn $method(&self, cx: &Context, parent: &Node<T>, op: $op) -> Result<Entry<Node<T>>> {
            let operation = Operation::new(cx);
            let at = operation.name(parent, op.new.name).with_path()?;
            let entry = self.fs.$method(cx, &at, op)?;
            Ok(self.found(at, entry, true))
        }
    )*};
}

impl<T: FileSystem> blocking::FileSystem for Adapter<T> {
    type Node = Node<T>;
    type File = File<T>;

    fn capabilities(&self) -> Capabilities {
        self.fs.capabilities()
            - Capabilities::STATELESS_FILES
            - Capabilities::STATELESS_DIRECTORIES
            - Capabilities::EXPORT
    }

    fn root(&self) -> Node<T> {
        self.root.clone()
    }

    fn start(&self) -> Result<()> {
        self.fs.start()
    }

    fn shutdown(&self) {
        self.fs.shutdown();
    }

    at_node! {
        fn readlink(into: &mut [u8]) -> usize;
        fn setxattr(op: op::SetXattr<'_>) -> ();
        fn getxattr(op: op::GetXattr<'_>, into: &mut [u8]) -> usize;
        fn listxattr(into: &mut [u8]) -> usize;
        fn removexattr(op: op::RemoveXattr<'_>) -> ();
        fn access(op: op::Access) -> ();
        fn bmap(op: op::Bmap) -> u64;
    }

    at_file! {
        fn read(op: op::Read, into: &mut [u8]) -> usize;
        fn write(op: op::Write<'_>) -> usize;
        fn flush(op: op::Flush) -> ();
        fn fsync(op: op::Fsync) -> ();
        fn getlk(op: op::GetLock) -> Option<op::Lock>;
        fn setlk(op: op::SetLock) -> ();
        fn flock(op: op::Flock) -> ();
        fn fallocate(op: op::Fallocate) -> ();
        fn lseek(op: op::Seek) -> u64;
        fn poll(op: op::Poll) -> u32;
    }

    at_new_name! {
        fn symlink(op::Symlink<'_>);
        fn mknod(op::MakeNode<'_>);
        fn mkdir(op::MakeDirectory<'_>);
    }

    fn syncfs(&self, cx: &Context, node: &Node<T>) -> Result<()> {
        self.fs.syncfs(cx, &Operation::new(cx).node(node))
    }

    fn statfs(&self, cx: &Context, node: &Node<T>) -> Result<Statfs> {
        self.fs.statfs(cx, &Operation::new(cx).node(node))
    }

    fn lookup(&self, cx: &Context, parent: &Node<T>, op: op::Lookup<'_>) -> Result<Entry<Node<T>>> {
        let operation = Operation::new(cx);
        let at = operation.name(parent, op.name).with_path()?;
        let entry = self.fs.lookup(cx, &at)?;
        Ok(self.found(at, entry, false))
    }

    fn getattr(&self, cx: &Context, node: &Node<T>, file: Option<&File<T>>) -> Result<Attributes> {
        match self.fs.getattr(cx, &Operation::new(cx).node_or_file(node, file)?) {
            Ok(attributes) => Ok(node.0.numbered(attributes)),
            Err(error) => node.0.last_attributes().ok_or(error),
        }
    }

    fn setattr(
        &self,
        cx: &Context,
        node: &Node<T>,
        file: Option<&File<T>>,
        op: op::SetAttributes,
    ) -> Result<Attributes> {
        let attributes = self.fs.setattr(cx, &Operation::new(cx).node_or_file(node, file)?, op)?;
        Ok(node.0.numbered(attributes))
    }

    fn statx(&self, cx: &Context, node: &Node<T>, file: Option<&File<T>>, op: op::Statx) -> Result<Extended> {
        let told = self.fs.statx(cx, &Operation::new(cx).node_or_file(node, file)?, op)?;
        Ok(Extended { attributes: node.0.numbered(told.attributes), ..told })
    }

    fn unlink(&self, cx: &Context, parent: &Node<T>, op: op::Remove<'_>) -> Result<()> {
        self.remove(cx, parent, op, T::unlink)
    }

    fn rmdir(&self, cx: &Context, parent: &Node<T>, op: op::Remove<'_>) -> Result<()> {
        self.remove(cx, parent, op, T::rmdir)
    }

    fn rename(&self, cx: &Context, parent: &Node<T>, new_parent: &Node<T>, op: op::Rename<'_>) -> Result<()> {
        let (from, to) = ((parent.0.id, op.from), (new_parent.0.id, op.to));
        let moving = parent.0.tree.move_names(&[from, to], cx.cancellation())?;
        let operation = Operation::new(cx);
        let [old, new] = [(parent, op.from, 0), (new_parent, op.to, 1)]
            .map(|(parent, name, index)| operation.name(parent, name).moving(moving.paths[index].clone()));
        self.fs.rename(cx, &old, &new, op.how)?;
        moving.renamed(from, to, op.how);
        Ok(())
    }

    fn link(
        &self,
        cx: &Context,
        node: &Node<T>,
        new_parent: &Node<T>,
        op: op::Link<'_>,
    ) -> Result<Entry<Node<T>>> {
        let operation = Operation::new(cx);
        let at = operation.node(node).with_path()?;
        let new = operation.name(new_parent, op.name).with_path()?;
        let Entry { attributes, lifetimes, .. } = self.fs.link(cx, &at, &new)?;
        node.0.tree.linked(node.0.id, new_parent.0.id, op.name);
        Ok(Entry { attributes: node.0.numbered(attributes), node: node.clone(), lifetimes })
    }

    fn open(&self, cx: &Context, node: &Node<T>, op: op::Open) -> Result<Opened<File<T>>> {
        let opened = self.fs.open(cx, &Operation::new(cx).node(node).with_path()?, op)?;
        Ok(self.opened(node, opened))
    }

    fn opendir(&self, cx: &Context, node: &Node<T>, op: op::Open) -> Result<Opened<File<T>>> {
        self.fs.opendir(cx, &Operation::new(cx).node(node).with_path()?, op)?;
        Ok(Opened::new(File::directory(node)))
    }

    fn create(
        &self,
        cx: &Context,
        parent: &Node<T>,
        op: op::Create<'_>,
    ) -> Result<Created<Node<T>, File<T>>> {
        let operation = Operation::new(cx);
        let at = operation.name(parent, op.new.name).with_path()?;
        let new = op.flags.contains(OpenFlags::EXCLUSIVE);
        let Created { entry, opened } = self.fs.create(cx, &at, op)?;
        let entry = self.found(at, entry, new);
        Ok(Created { opened: self.opened(&entry.node, opened), entry })
    }

    fn tmpfile(&self, cx: &Context, parent: &Node<T>, op: op::Tmpfile) -> Result<Created<Node<T>, File<T>>> {
        let Created { entry, opened } =
            self.fs.tmpfile(cx, &Operation::new(cx).node(parent).with_path()?, op)?;
        let Entry { attributes, lifetimes, .. } = entry;
        let (tree, data) = (&parent.0.tree, T::Data::default());
        let told = Told { inode: attributes.inode, kind: attributes.kind, new: true };
        let node = Node(tree.found(None, told, |id, inode| Known::new(tree.clone(), id, inode, data)));
        let opened = self.opened(&node, opened);
        Ok(Created { entry: Entry { attributes: node.0.numbered(attributes), node, lifetimes }, opened })
    }

    fn release(&self, cx: &Context, open: &File<T>, op: op::Release) {
        if let Some(file) = open.file() {
            self.fs.release(cx, &Operation::new(cx).file(open), file, op);
        }
    }

    fn fsyncdir(&self, cx: &Context, open: &File<T>, op: op::Fsync) -> Result<()> {
        self.fs.fsyncdir(cx, &Operation::new(cx).file(open), op)
    }

    fn ioctl(&self, cx: &Context, open: &File<T>, op: op::Ioctl<'_>, into: &mut [u8]) -> Result<IoctlDone> {
        self.fs.ioctl(cx, &Operation::new(cx).file(open), op, into)
    }

    fn copy_file_range(&self, cx: &Context, from: &File<T>, to: &File<T>, op: op::CopyRange) -> Result<u64> {
        let operation = Operation::new(cx);
        let (from_at, to_at) = (operation.file(from), operation.file(to));
        self.fs.copy_file_range(cx, (&from_at, file(from)?), (&to_at, file(to)?), op)
    }

    fn readdir(
        &self,
        cx: &Context,
        directory: &File<T>,
        op: op::List,
        list: &mut Listing<Node<T>>,
    ) -> Result<()> {
        let snapshot = self.snapshot(cx, directory, op.cursor == 0)?;
        let node = &directory.node;
        let start = usize::try_from(op.cursor).unwrap_or(usize::MAX);
        for (index, named) in snapshot.iter().enumerate().skip(start) {
            let wanted = list.wants(named.name());
            if wanted && !list.fits(named.name()) {
                break;
            }
            let whole = || self.lookup(cx, node, op::Lookup { name: named.name() }).ok();
            let added = match (wanted && list.wants_entries()).then(whole).flatten() {
                Some(entry) => list.add_entry(named.listed(index, Some(entry.attributes.inode)), entry),
                None => {
                    let known = node.0.tree.child(node.0.id, named.name());
                    list.add(named.listed(index, known.map(|known| known.inode())))
                }
            };
            debug_assert!(added || !wanted, "it fits");
            if !added {
                break;
            }
        }
        Ok(())
    }
}

impl<T: FileSystem> Adapter<T> {
    fn remove(
        &self,
        cx: &Context,
        parent: &Node<T>,
        op: op::Remove<'_>,
        method: fn(&T, &Context, &At<'_, T>) -> Result<()>,
    ) -> Result<()> {
        let name = (parent.0.id, op.name);
        let moving = parent.0.tree.move_names(&[name], cx.cancellation())?;
        let operation = Operation::new(cx);
        let at = operation.name(parent, op.name).moving(moving.paths[0].clone());
        method(&self.fs, cx, &at)?;
        moving.removed(name);
        Ok(())
    }
}

impl<T: FileSystem> fmt::Debug for Adapter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("path::Adapter")
    }
}
