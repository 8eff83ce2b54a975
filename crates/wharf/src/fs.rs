//! The trait that an author writes.

use wharf_mem::Window;

use crate::error::{Error, Result};
use crate::session::Listing;
use crate::{Attributes, Capabilities, Context, Created, Entry, Extended, IoctlDone, Opened, Statfs, op};

/// A file system.
///
/// Write the operations that [`capabilities`](Self::capabilities) claims; the others are never called.
/// Every operation gets a [`Context`] (who asks, whether they still wait), the author's own [`Node`](Self::Node)
/// or [`File`](Self::File), and the operation as a struct. The answer is a return value.
///
/// # Nodes, files, and what is not here
///
/// A `Node` is what you know of one file, directory or link. You return it from [`lookup`](Self::lookup) and
/// the operations that make something, inside an [`Entry`] whose attributes carry its inode number. That number is its identity:
/// return the same number and the kernel sees the same file, with one page cache and one set of locks.
///
/// The kernel remembers nodes and counts how often it was told of each; when it no longer needs one it
/// gives all these *lookup counts* back, perhaps much later, perhaps for many nodes at once. Wharf does
/// that counting. It keeps your `Node` as long as the kernel may ask for it and drops it afterwards, so `Drop` is the place
/// to let go of what belongs to it. A node that lost its last name is still asked for while it is open.
///
/// A `File` is one open file or directory. It is dropped after [`release`](Self::release).
///
/// # What the kernel keeps
///
/// Names and attributes for their [lifetimes](crate::Lifetimes), contents by the [cache rule](crate::Cache)
/// of each open. What changes through the volume is kept right by the kernel itself. What changes otherwise
/// needs short lifetimes or [notices](crate::notice).
///
/// # Waiting, and what may deadlock
///
/// Operations are polled on the volume's queues, a thread per CPU. Await what you must wait for; never block. Wrap code
/// that blocks in [`blocking`](crate::blocking) or [`path`](crate::path). A waker may be called from any
/// thread, and runs none of your code there.
///
/// Do not use the mounted directory from inside an operation, and do not await the confirmation of a notice
/// about the file that the operation is busy with: both wait for the kernel, which may wait for you.
///
/// When the caller gives up (a signal, Ctrl-C), [`Context::cancellation`] tells; an operation is never
/// dropped half-way because of it. A panic is answered with an I/O error and logged; the volume lives on.
#[expect(unused_variables, reason = "default methods name their parameters for the documentation")]
pub trait FileSystem: Send + Sync + 'static {
    /// What the author knows of one file, directory or link. Clones are made often: an `Arc`, or a number.
    type Node: Clone + Send + Sync + 'static;
    /// One open file or directory.
    type File: Send + Sync + 'static;

    /// What the file system can do. Asked once, before anything else.
    fn capabilities(&self) -> Capabilities;

    /// The root directory. Asked once.
    fn root(&self) -> Self::Node;

    /// Gets ready, before the first operation.
    ///
    /// # Errors
    /// Any error ends the mount.
    fn start(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Ends, after the last operation: everything is released, no node or file is left.
    fn shutdown(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Finds a name in a directory.
    ///
    /// # Errors
    /// [`Error::not_found`] for a name that leads nowhere; the kernel may remember that.
    fn lookup(
        &self,
        cx: &Context,
        parent: &Self::Node,
        op: op::Lookup<'_>,
    ) -> impl Future<Output = Result<Entry<Self::Node>>> + Send;

    /// Tells what a node is like. `file` is given when an open file asks.
    fn getattr(
        &self,
        cx: &Context,
        node: &Self::Node,
        file: Option<&Self::File>,
    ) -> impl Future<Output = Result<Attributes>> + Send;

    /// Changes attributes and tells all of them as they are then.
    fn setattr(
        &self,
        cx: &Context,
        node: &Self::Node,
        file: Option<&Self::File>,
        op: op::SetAttributes,
    ) -> impl Future<Output = Result<Attributes>> + Send {
        async { unclaimed() }
    }

    /// Puts the target of a symbolic link into the window; returns its length.
    fn readlink(
        &self,
        cx: &Context,
        node: &Self::Node,
        into: Window<'_>,
    ) -> impl Future<Output = Result<usize>> + Send {
        async { unclaimed() }
    }

    /// Makes a symbolic link.
    fn symlink(
        &self,
        cx: &Context,
        parent: &Self::Node,
        op: op::Symlink<'_>,
    ) -> impl Future<Output = Result<Entry<Self::Node>>> + Send {
        async { unclaimed() }
    }

    /// Makes a file, pipe, socket or device.
    fn mknod(
        &self,
        cx: &Context,
        parent: &Self::Node,
        op: op::MakeNode<'_>,
    ) -> impl Future<Output = Result<Entry<Self::Node>>> + Send {
        async { unclaimed() }
    }

    /// Makes a directory.
    fn mkdir(
        &self,
        cx: &Context,
        parent: &Self::Node,
        op: op::MakeDirectory<'_>,
    ) -> impl Future<Output = Result<Entry<Self::Node>>> + Send {
        async { unclaimed() }
    }

    /// Removes a name of something that is no directory.
    fn unlink(
        &self,
        cx: &Context,
        parent: &Self::Node,
        op: op::Remove<'_>,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Removes an empty directory.
    fn rmdir(
        &self,
        cx: &Context,
        parent: &Self::Node,
        op: op::Remove<'_>,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Moves a name from `parent` to `new_parent`, which may be the same.
    fn rename(
        &self,
        cx: &Context,
        parent: &Self::Node,
        new_parent: &Self::Node,
        op: op::Rename<'_>,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Gives `node` one more name, in `new_parent`. The entry's attributes count it.
    fn link(
        &self,
        cx: &Context,
        node: &Self::Node,
        new_parent: &Self::Node,
        op: op::Link<'_>,
    ) -> impl Future<Output = Result<Entry<Self::Node>>> + Send {
        async { unclaimed() }
    }

    /// Opens a file. Not called with `STATELESS_FILES`.
    fn open(
        &self,
        cx: &Context,
        node: &Self::Node,
        op: op::Open,
    ) -> impl Future<Output = Result<Opened<Self::File>>> + Send {
        async { unclaimed() }
    }

    /// Opens a directory for listing. Not called with `STATELESS_DIRECTORIES`.
    fn opendir(
        &self,
        cx: &Context,
        node: &Self::Node,
        op: op::Open,
    ) -> impl Future<Output = Result<Opened<Self::File>>> + Send {
        async { unclaimed() }
    }

    /// Makes the value for an operation on a file or directory that needs no opening. Called for every such
    /// operation, with `STATELESS_FILES` and `STATELESS_DIRECTORIES` only, so it should be cheap.
    fn file(&self, node: &Self::Node) -> Result<Self::File> {
        unclaimed()
    }

    /// Makes a file and opens it.
    fn create(
        &self,
        cx: &Context,
        parent: &Self::Node,
        op: op::Create<'_>,
    ) -> impl Future<Output = Result<Created<Self::Node, Self::File>>> + Send {
        async { unclaimed() }
    }

    /// Makes a file without a name in this directory's file system and opens it.
    fn tmpfile(
        &self,
        cx: &Context,
        parent: &Self::Node,
        op: op::Tmpfile,
    ) -> impl Future<Output = Result<Created<Self::Node, Self::File>>> + Send {
        async { unclaimed() }
    }

    /// Fills the window with the bytes from `op.offset` on. Fewer than fit means that the file ends there.
    fn read(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::Read,
        into: Window<'_>,
    ) -> impl Future<Output = Result<usize>> + Send {
        async { unclaimed() }
    }

    /// Writes the bytes and returns how many: all, unless an error came after some.
    fn write(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::Write<'_>,
    ) -> impl Future<Output = Result<usize>> + Send {
        async { unclaimed() }
    }

    /// One descriptor of the file is closed. An error is what close(2) returns.
    fn flush(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::Flush,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// The last descriptor of a file or directory is gone. Nobody learns of an error: do what may fail in `flush`.
    fn release(&self, cx: &Context, file: &Self::File, op: op::Release) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Brings a file to its store.
    fn fsync(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::Fsync,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Brings a directory to its store.
    fn fsyncdir(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::Fsync,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Brings everything to the store.
    fn syncfs(&self, cx: &Context, node: &Self::Node) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Lists a directory: calls [`Listing::add`] for each entry after the cursor until it is full.
    /// `.` and `..` are Wharf's.
    ///
    /// Perhaps only names are wanted that a [pattern](Listing::pattern) describes. Others may be added all the same and are
    /// left out; who can find names by their beginnings saves the way through all of them.
    fn readdir(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::List,
        list: &mut Listing<'_, Self::Node>,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Tells how full the volume is. By default: a volume without limits.
    fn statfs(&self, cx: &Context, node: &Self::Node) -> impl Future<Output = Result<Statfs>> + Send {
        async { Ok(Statfs { block_size: 4096, name_bytes_max: 255, ..Statfs::default() }) }
    }

    /// Sets an extended attribute.
    fn setxattr(
        &self,
        cx: &Context,
        node: &Self::Node,
        op: op::SetXattr<'_>,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Puts the value of an extended attribute into the window and returns its length. If that is more than
    /// fits, what is in the window does not matter: the caller learns the length, or that its buffer is small.
    fn getxattr(
        &self,
        cx: &Context,
        node: &Self::Node,
        op: op::GetXattr<'_>,
        into: Window<'_>,
    ) -> impl Future<Output = Result<usize>> + Send {
        async { unclaimed() }
    }

    /// Puts the names of all extended attributes into the window, each with a NUL after it, and returns
    /// their length. As for `getxattr`, more than fits may be returned.
    fn listxattr(
        &self,
        cx: &Context,
        node: &Self::Node,
        into: Window<'_>,
    ) -> impl Future<Output = Result<usize>> + Send {
        async { unclaimed() }
    }

    /// Removes an extended attribute.
    fn removexattr(
        &self,
        cx: &Context,
        node: &Self::Node,
        op: op::RemoveXattr<'_>,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Tells a POSIX lock that stands in the way of this one, if there is any.
    fn getlk(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::GetLock,
    ) -> impl Future<Output = Result<Option<op::Lock>>> + Send {
        async { unclaimed() }
    }

    /// Sets or gives up a POSIX lock.
    ///
    /// # Errors
    /// [`Kind::WouldBlock`](crate::error::Kind::WouldBlock) if it is held and `wait` is false.
    fn setlk(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::SetLock,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Sets or gives up the lock of a whole open file.
    ///
    /// # Errors
    /// [`Kind::WouldBlock`](crate::error::Kind::WouldBlock) if it is held and `wait` is false.
    fn flock(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::Flock,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Says whether the caller may do something.
    ///
    /// # Errors
    /// [`Error::permission_denied`] if not.
    fn access(
        &self,
        cx: &Context,
        node: &Self::Node,
        op: op::Access,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Gives, takes or zeroes space of a file.
    fn fallocate(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::Fallocate,
    ) -> impl Future<Output = Result<()>> + Send {
        async { unclaimed() }
    }

    /// Finds data or a hole; returns its offset.
    fn lseek(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::Seek,
    ) -> impl Future<Output = Result<u64>> + Send {
        async { unclaimed() }
    }

    /// Copies between two files; returns how many bytes, 0 at the end of the source.
    fn copy_file_range(
        &self,
        cx: &Context,
        from: &Self::File,
        to: &Self::File,
        op: op::CopyRange,
    ) -> impl Future<Output = Result<u64>> + Send {
        async { unclaimed() }
    }

    /// Tells where a block of a file is on the device.
    fn bmap(
        &self,
        cx: &Context,
        node: &Self::Node,
        op: op::Bmap,
    ) -> impl Future<Output = Result<u64>> + Send {
        async { unclaimed() }
    }

    /// Answers a request in a language of its own; bytes that go out are put into the window.
    fn ioctl(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::Ioctl<'_>,
        into: Window<'_>,
    ) -> impl Future<Output = Result<IoctlDone>> + Send {
        async { unclaimed() }
    }

    /// Tells which of the events are there now (`POLLIN` and so on).
    fn poll(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::Poll,
    ) -> impl Future<Output = Result<u32>> + Send {
        async { unclaimed() }
    }

    /// Tells what a node is like in the terms of statx(2).
    fn statx(
        &self,
        cx: &Context,
        node: &Self::Node,
        file: Option<&Self::File>,
        op: op::Statx,
    ) -> impl Future<Output = Result<Extended>> + Send {
        async { unclaimed() }
    }
}

fn unclaimed<T>() -> Result<T> {
    Err(Error::not_supported())
}
