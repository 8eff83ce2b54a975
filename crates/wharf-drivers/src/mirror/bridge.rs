//! What lies between operations of the model and methods of the tree: open files, entries, errors, and the
//! way to where code may block.

use std::ffi::{CString, OsStr};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Once};

use rustix::io::Errno;
use wharf::notice::Notice;
use wharf::{Context, Entry, Error, Listed, Listing, Name, Opened, Source, op};

use super::attributes::Stat;
use super::credentials::NewMode;
use super::directory::{self, OpenDirectory};
use super::files::OpenFile;
use super::names::Found;
use super::node::{Inode, Node};
use super::{Mirror, Tree};

/// An open file or directory of a mirror.
#[derive(Clone, Debug)]
pub struct File(pub(super) Kept);

#[derive(Clone, Debug)]
pub(super) enum Kept {
    File(Arc<OpenFile>),
    Directory(Arc<OpenDirectory>),
}

impl File {
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kept::File(file) => file.descriptor.as_fd(),
            Kept::Directory(directory) => directory.descriptor.as_fd(),
        }
    }

    pub(super) fn file(&self) -> wharf::Result<&Arc<OpenFile>> {
        match &self.0 {
            Kept::File(file) => Ok(file),
            Kept::Directory(_) => Err(Error::is_a_directory()),
        }
    }

    pub(super) fn directory(&self) -> wharf::Result<&Arc<OpenDirectory>> {
        match &self.0 {
            Kept::Directory(directory) => Ok(directory),
            Kept::File(_) => Err(Error::not_a_directory()),
        }
    }
}

impl Mirror {
    /// Runs what may block.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Tree) -> super::Result<T> + Send + 'static,
    ) -> wharf::Result<T> {
        let tree = self.tree.clone();
        self.pool.run(move || job(&tree).map_err(error)).await
    }

    /// What a node is like, asked where that suits.
    pub(super) async fn stat(&self, node: &Node) -> wharf::Result<Stat> {
        self.tree.table.regions.echo.hear(node.0.number);
        match self.tree.stat_at_hand(&node.0) {
            Some(stat) => stat.map_err(error),
            None => {
                let node = inode(node);
                self.run(move |tree| tree.stat(&node)).await
            }
        }
    }

    /// An entry for what was found. If the kernel remembers more than we can hold, it is asked to forget.
    pub(super) fn entry(&self, cx: &Context, (node, attributes): Found) -> Entry<Node> {
        let inodes = self.tree.table.surplus();
        if !inodes.is_empty() {
            // Nobody waits for it: the kernel does what it can.
            drop(cx.notifier().send(Notice::Prune { inodes }));
        }
        Entry { node, attributes, lifetimes: Some(self.tree.lifetimes()) }
    }

    /// Tells one entry of a listing, if there is room.
    pub(super) fn tell(
        &self,
        cx: &Context,
        listed: directory::Listed<'_>,
        list: &mut Listing<'_, Node>,
    ) -> ControlFlow<()> {
        let Some(name) = Name::new(listed.name.to_bytes()) else { return ControlFlow::Continue(()) };
        let line = Listed { name, inode: listed.inode, kind: listed.kind, cursor: listed.cursor };
        let fits = match listed.whole {
            Some(found) => list.add_entry(line, self.entry(cx, found.clone())),
            None => list.add(line),
        };
        if fits { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    pub(super) fn opened(&self, file: OpenFile) -> Opened<File> {
        let source = if self.tree.options.passthrough && file.may_forward {
            file.count.forward();
            Source::Backing(file.descriptor.clone())
        } else {
            Source::Handler
        };
        let sized = file.count.inode().region.sized;
        let cache = if sized { self.tree.cache() } else { wharf::Cache::Direct };
        Opened::new(File(Kept::File(Arc::new(file)))).source(source).cache(cache)
    }
}

/// What a system call said, as an error of the operation.
pub(super) fn error(errno: Errno) -> Error {
    match errno {
        // To the caller it would mean that it has too many files open itself.
        Errno::MFILE => {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| log::warn!("mirror: as many files are open as may be (see RLIMIT_NOFILE)"));
            Error::os(Errno::NFILE.raw_os_error())
        }
        errno => Error::os(errno.raw_os_error()),
    }
}

pub(super) fn new_mode(new: &op::New<'_>) -> NewMode {
    NewMode { permissions: new.permissions, umask: new.umask, group: new.group }
}

/// Names of extended attributes and targets of links: anything without a NUL.
pub(super) fn text(bytes: &[u8]) -> wharf::Result<CString> {
    CString::new(bytes).map_err(|_| Error::invalid())
}

pub(super) fn xattr_name(name: &OsStr) -> wharf::Result<CString> {
    text(name.as_bytes())
}

pub(super) fn inode(node: &Node) -> Arc<Inode> {
    node.0.clone()
}
