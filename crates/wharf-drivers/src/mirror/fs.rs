//! The mirror as a file system: from operations to plain methods of the tree and back.
//!
//! What the system can tell without waiting is asked on the queue. The rest runs where it may block.

use std::ffi::c_long;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::ioctl::opcode;
use wharf::{
    Attributes, Capabilities, Context, Created, Entry, Error, Extended, FileSystem, IoctlDone, Listing,
    Opened, Statfs, Window, op,
};

use super::Mirror;
use super::bridge::{File, Kept, error, inode, new_mode, text, xattr_name};
use super::credentials::{NewMode, Who};
use super::files;
use super::names::Component;
use super::node::Node;
use super::syscalls::{GET_FSXATTR, SET_FSXATTR, fsxattr};

/// Inode flags of any open file (`FS_IOC_GETFLAGS`, `FS_IOC_SETFLAGS`), as chattr(1) uses them.
const GET_FLAGS: u32 = opcode::read::<c_long>(b'f', 1);
const SET_FLAGS: u32 = opcode::write::<c_long>(b'f', 2);

impl FileSystem for Mirror {
    type Node = Node;
    type File = File;

    fn capabilities(&self) -> Capabilities {
        let options = self.tree.options;
        let mut capabilities = Capabilities::SYMLINKS
            | Capabilities::XATTRS
            | Capabilities::ACLS
            | Capabilities::HOLES
            | Capabilities::STATX
            | Capabilities::FSYNC
            | Capabilities::SYNCFS
            | Capabilities::LIST_ENTRIES
            | Capabilities::IOCTL
            | Capabilities::DIRECT_MMAP;
        if !options.read_only {
            capabilities |= Capabilities::WRITE
                | Capabilities::LINKS
                | Capabilities::SPECIAL_FILES
                | Capabilities::FALLOCATE
                | Capabilities::COPY_RANGE
                | Capabilities::TMPFILE
                | Capabilities::RENAME_FLAGS
                | Capabilities::KILL_PRIVILEGES
                | Capabilities::UMASK
                | Capabilities::CREATE_GROUP;
        }
        capabilities.set(Capabilities::CACHE_SYMLINKS, options.exclusive);
        capabilities.set(Capabilities::EXPLICIT_INVALIDATION, options.exclusive);
        // Neither lock: the kernel tells of a close some time after it, and a lock that outlives the close which
        // should end it breaks programs. Its own locks end in time.
        // Not `IDMAP`: with it the kernel tells who asks only where something is made, on every mount.
        capabilities
    }

    fn root(&self) -> Node {
        self.tree.root.clone()
    }

    async fn lookup(&self, cx: &Context, parent: &Node, op: op::Lookup<'_>) -> wharf::Result<Entry<Node>> {
        let name = Component::from(op.name);
        let found = match self.tree.lookup_at_hand(&parent.0, name.as_c_str()) {
            Some(found) => found.map_err(error)?,
            None => {
                let parent = inode(parent);
                self.run(move |tree| tree.lookup(&parent, name.as_c_str())).await?
            }
        };
        Ok(self.entry(cx, found))
    }

    async fn getattr(&self, _: &Context, node: &Node, _: Option<&File>) -> wharf::Result<Attributes> {
        Ok(self.stat(node).await?.attributes(&node.0))
    }

    async fn setattr(
        &self,
        cx: &Context,
        node: &Node,
        file: Option<&File>,
        op: op::SetAttributes,
    ) -> wharf::Result<Attributes> {
        let (who, node) = (Who::asks(cx), inode(node));
        let file: Option<Arc<OwnedFd>> = match file.map(|file| &file.0) {
            Some(Kept::File(file)) => Some(file.descriptor.clone()),
            _ => None,
        };
        self.run(move |tree| tree.set_attributes(&who, &node, file.as_ref(), &op)).await
    }

    async fn readlink(&self, _: &Context, node: &Node, into: Window<'_>) -> wharf::Result<usize> {
        let (node, mut into) = (inode(node), into.detach());
        self.run(move |tree| into.fill(|bytes| tree.read_link(&node, bytes))).await
    }

    async fn symlink(&self, cx: &Context, parent: &Node, op: op::Symlink<'_>) -> wharf::Result<Entry<Node>> {
        let (who, parent, name) = (Who::asks(cx), inode(parent), Component::from(op.new.name));
        let (new, target) = (new_mode(&op.new), text(op.target)?);
        let made =
            self.run(move |tree| tree.make_symlink(&who, &parent, name.as_c_str(), new, &target)).await?;
        Ok(self.entry(cx, made))
    }

    async fn mknod(&self, cx: &Context, parent: &Node, op: op::MakeNode<'_>) -> wharf::Result<Entry<Node>> {
        let (who, parent, name) = (Who::asks(cx), inode(parent), Component::from(op.new.name));
        let (new, what) = (new_mode(&op.new), (op.kind, op.device));
        let made = self.run(move |tree| tree.make_node(&who, &parent, name.as_c_str(), new, what)).await?;
        Ok(self.entry(cx, made))
    }

    async fn mkdir(
        &self,
        cx: &Context,
        parent: &Node,
        op: op::MakeDirectory<'_>,
    ) -> wharf::Result<Entry<Node>> {
        let (who, parent, name) = (Who::asks(cx), inode(parent), Component::from(op.new.name));
        let new = new_mode(&op.new);
        let made = self.run(move |tree| tree.make_directory(&who, &parent, name.as_c_str(), new)).await?;
        Ok(self.entry(cx, made))
    }

    async fn unlink(&self, cx: &Context, parent: &Node, op: op::Remove<'_>) -> wharf::Result<()> {
        let (who, parent, name) = (Who::asks(cx), inode(parent), Component::from(op.name));
        self.run(move |tree| tree.remove(&who, &parent, name.as_c_str(), false)).await
    }

    async fn rmdir(&self, cx: &Context, parent: &Node, op: op::Remove<'_>) -> wharf::Result<()> {
        let (who, parent, name) = (Who::asks(cx), inode(parent), Component::from(op.name));
        self.run(move |tree| tree.remove(&who, &parent, name.as_c_str(), true)).await
    }

    async fn rename(
        &self,
        cx: &Context,
        parent: &Node,
        new_parent: &Node,
        op: op::Rename<'_>,
    ) -> wharf::Result<()> {
        let (who, parent, new_parent) = (Who::asks(cx), inode(parent), inode(new_parent));
        let (from, to, how) = (Component::from(op.from), Component::from(op.to), op.how);
        self.run(move |tree| tree.rename(&who, (&parent, from.as_c_str()), (&new_parent, to.as_c_str()), how))
            .await
    }

    async fn link(
        &self,
        cx: &Context,
        node: &Node,
        new_parent: &Node,
        op: op::Link<'_>,
    ) -> wharf::Result<Entry<Node>> {
        let (who, node, parent, name) =
            (Who::asks(cx), inode(node), inode(new_parent), Component::from(op.name));
        let linked = self.run(move |tree| tree.link(&who, &node, &parent, name.as_c_str())).await?;
        Ok(self.entry(cx, linked))
    }

    async fn open(&self, cx: &Context, node: &Node, op: op::Open) -> wharf::Result<Opened<File>> {
        let (who, node) = (Who::asks(cx), inode(node));
        let file = self.run(move |tree| tree.open(&who, &node, op.flags, op.kill_privileges)).await?;
        Ok(self.opened(file))
    }

    async fn opendir(&self, cx: &Context, node: &Node, _: op::Open) -> wharf::Result<Opened<File>> {
        let (who, node) = (Who::asks(cx), inode(node));
        let directory = self.run(move |tree| tree.open_directory(&who, &node)).await?;
        Ok(Opened::new(File(Kept::Directory(Arc::new(directory)))).cache(self.tree.cache()))
    }

    async fn create(
        &self,
        cx: &Context,
        parent: &Node,
        op: op::Create<'_>,
    ) -> wharf::Result<Created<Node, File>> {
        let (who, parent, name) = (Who::asks(cx), inode(parent), Component::from(op.new.name));
        let (new, how) = (new_mode(&op.new), (op.flags, op.kill_privileges));
        let (found, file) =
            self.run(move |tree| tree.create(&who, &parent, name.as_c_str(), new, how)).await?;
        Ok(Created { entry: self.entry(cx, found), opened: self.opened(file) })
    }

    async fn tmpfile(
        &self,
        cx: &Context,
        parent: &Node,
        op: op::Tmpfile,
    ) -> wharf::Result<Created<Node, File>> {
        let (who, parent) = (Who::asks(cx), inode(parent));
        let new = NewMode { permissions: op.permissions, umask: op.umask, group: None };
        let (found, file) = self.run(move |tree| tree.create_unnamed(&who, &parent, new, op.flags)).await?;
        Ok(Created { entry: self.entry(cx, found), opened: self.opened(file) })
    }

    async fn read(&self, cx: &Context, file: &File, op: op::Read, into: Window<'_>) -> wharf::Result<usize> {
        let file = file.file()?;
        if file.is_local() {
            return cx.io().read(&file.descriptor, op.offset, into).await;
        }
        let (file, mut into) = (file.clone(), into.detach());
        self.run(move |_| into.fill(|bytes| files::read(&file, op.offset, bytes))).await
    }

    async fn write(&self, cx: &Context, file: &File, op: op::Write<'_>) -> wharf::Result<usize> {
        let file = file.file()?;
        if op.kill_privileges {
            let file = file.clone();
            self.run(move |tree| tree.kill_privileges_of(&file)).await?;
        }
        if file.is_local() {
            return cx.io().write(&file.descriptor, op.offset, op.data).await;
        }
        let (file, data) = (file.clone(), op.data.detach());
        self.run(move |_| files::write(&file, op.offset, &data)).await
    }

    async fn fsync(&self, cx: &Context, file: &File, op: op::Fsync) -> wharf::Result<()> {
        let file = file.file()?;
        if file.is_local() {
            return cx.io().fsync(&file.descriptor, op.data_only).await;
        }
        let file = file.clone();
        self.run(move |_| files::sync(&file.descriptor, op.data_only)).await
    }

    async fn fsyncdir(&self, _: &Context, file: &File, op: op::Fsync) -> wharf::Result<()> {
        let directory = file.directory()?.clone();
        self.run(move |_| files::sync(&directory.descriptor, op.data_only)).await
    }

    async fn syncfs(&self, _: &Context, node: &Node) -> wharf::Result<()> {
        let node = inode(node);
        self.run(move |tree| tree.sync_all(&node)).await
    }

    async fn readdir(
        &self,
        cx: &Context,
        file: &File,
        op: op::List,
        list: &mut Listing<'_, Node>,
    ) -> wharf::Result<()> {
        let directory = file.directory()?;
        let (mut cursor, whole) = (op.cursor, list.wants_entries());
        let mut ended = Ok(false);
        while let Some(wanted) = directory.give(cursor, whole, |listed| self.tell(cx, listed, list)) {
            cursor = wanted.cursor();
            let kept = directory.clone();
            ended = self.run(move |tree| tree.get_wanted(&kept, wanted)).await;
            if !matches!(ended, Ok(true)) {
                break;
            }
        }
        directory.pause();
        ended.map(drop)
    }

    async fn statfs(&self, _: &Context, node: &Node) -> wharf::Result<Statfs> {
        let node = inode(node);
        self.run(move |tree| tree.statfs(&node)).await
    }

    async fn setxattr(&self, cx: &Context, node: &Node, op: op::SetXattr<'_>) -> wharf::Result<()> {
        let (who, node) = (Who::asks(cx), inode(node));
        let (name, value) = (xattr_name(op.name)?, op.value.to_vec());
        let (how, kill_setgid) = (op.how, op.kill_setgid);
        self.run(move |tree| tree.set_xattr(&who, &node, (&name, &value), how, kill_setgid)).await
    }

    async fn getxattr(
        &self,
        cx: &Context,
        node: &Node,
        op: op::GetXattr<'_>,
        into: Window<'_>,
    ) -> wharf::Result<usize> {
        let (who, node, name, mut into) = (Who::asks(cx), inode(node), xattr_name(op.name)?, into.detach());
        self.run(move |tree| into.fill(|bytes| tree.get_xattr(&who, &node, &name, bytes))).await
    }

    async fn listxattr(&self, cx: &Context, node: &Node, into: Window<'_>) -> wharf::Result<usize> {
        let (who, node, mut into) = (Who::asks(cx), inode(node), into.detach());
        self.run(move |tree| into.fill(|bytes| tree.list_xattrs(&who, &node, bytes))).await
    }

    async fn removexattr(&self, cx: &Context, node: &Node, op: op::RemoveXattr<'_>) -> wharf::Result<()> {
        let (who, node, name) = (Who::asks(cx), inode(node), xattr_name(op.name)?);
        self.run(move |tree| tree.remove_xattr(&who, &node, &name)).await
    }

    async fn release(&self, _: &Context, file: &File, _: op::Release) {
        let Kept::File(file) = &file.0 else { return };
        if !file.is_local() {
            let file = file.clone();
            // Not awaited: it waits for this operation to end.
            drop(self.pool.run(move || {
                files::close_last(file);
                Ok(())
            }));
        }
    }

    async fn fallocate(&self, cx: &Context, file: &File, op: op::Fallocate) -> wharf::Result<()> {
        let (who, file) = (Who::asks(cx), file.file()?.clone());
        self.run(move |tree| tree.allocate(&who, &file, &op)).await
    }

    async fn lseek(&self, _: &Context, file: &File, op: op::Seek) -> wharf::Result<u64> {
        let file = file.file()?.clone();
        self.run(move |tree| tree.seek(&file, &op)).await
    }

    async fn copy_file_range(
        &self,
        cx: &Context,
        from: &File,
        to: &File,
        op: op::CopyRange,
    ) -> wharf::Result<u64> {
        let (who, from, to) = (Who::asks(cx), from.file()?.clone(), to.file()?.clone());
        self.run(move |tree| tree.copy(&who, &from, &to, &op)).await
    }

    async fn ioctl(
        &self,
        cx: &Context,
        file: &File,
        op: op::Ioctl<'_>,
        mut into: Window<'_>,
    ) -> wharf::Result<IoctlDone> {
        let (who, file) = (Who::asks(cx), file.clone());
        match op.command {
            GET_FLAGS => {
                let flags = self.run(move |tree| tree.inode_flags(file.descriptor())).await?;
                Ok(IoctlDone { result: 0, bytes: into.put(&flags.to_ne_bytes()) })
            }
            SET_FLAGS => {
                let flags = op.input.first_chunk().ok_or_else(Error::invalid)?;
                let flags = u32::from_ne_bytes(*flags);
                self.run(move |tree| tree.set_inode_flags(&who, file.descriptor(), flags)).await?;
                Ok(IoctlDone::default())
            }
            GET_FSXATTR => {
                let value = self.run(move |_| fsxattr(file.descriptor())).await?;
                Ok(IoctlDone { result: 0, bytes: into.put(&value) })
            }
            SET_FSXATTR => {
                let value = *op.input.first_chunk().ok_or_else(Error::invalid)?;
                self.run(move |tree| tree.set_fsxattr(&who, file.descriptor(), value)).await?;
                Ok(IoctlDone::default())
            }
            _ => Err(error(Errno::NOTTY)),
        }
    }

    async fn statx(
        &self,
        _: &Context,
        node: &Node,
        _: Option<&File>,
        _: op::Statx,
    ) -> wharf::Result<Extended> {
        Ok(self.stat(node).await?.extended(&node.0))
    }
}
