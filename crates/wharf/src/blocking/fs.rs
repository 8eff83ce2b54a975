//! The trait of a file system that is written as plain methods.

use crate::error::{Error, Result};
use crate::{Attributes, Capabilities, Context, Created, Entry, Extended, IoctlDone, Opened, Statfs, op};

use super::Listing;

/// A file system whose methods may block. [`Adapter`](super::Adapter) makes a [`FileSystem`](crate::FileSystem) of it.
///
/// The operations, their structs and answers are those of [`crate::FileSystem`], whose documentation says what nodes and files
/// are, what the kernel keeps, and what may deadlock. What differs:
///
/// - Methods run on the threads of a [`Pool`](super::Pool), as many at once as it has. They may block, and never on a
///   thread of the volume: a method that hangs holds up nobody but its caller, unless every thread of the pool hangs.
/// - The window of a reply is a plain slice. What is in it before is arbitrary.
/// - A caller that gives up is learnt of by asking [`Context::cancellation`], or by waiting with
///   [`Cancellation::wait_for`](crate::Cancellation::wait_for). Nothing ends by itself.
/// - [`setlk`](Self::setlk) and [`flock`](Self::flock) that wait have threads of their own, so that
///   they cannot use up those on which the lock would be given back.
/// - An operation that was given up when the volume was unmounted may still run after [`shutdown`](Self::shutdown).
#[expect(unused_variables, reason = "default methods name their parameters for the documentation")]
pub trait FileSystem: Send + Sync + 'static {
    /// What the author knows of one file, directory or link.
    type Node: Clone + Send + Sync + 'static;
    /// One open file or directory.
    type File: Send + Sync + 'static;

    /// What the file system can do. Asked once, before anything else; must not block.
    fn capabilities(&self) -> Capabilities;

    /// The root directory. Must not block.
    fn root(&self) -> Self::Node;

    /// Gets ready, before the first operation.
    ///
    /// # Errors
    /// Any error ends the mount.
    fn start(&self) -> Result<()> {
        Ok(())
    }

    /// Ends, after the last operation.
    fn shutdown(&self) {}

    /// Finds a name in a directory.
    ///
    /// # Errors
    /// [`Error::not_found`] for a name that leads nowhere; the kernel may remember that.
    fn lookup(&self, cx: &Context, parent: &Self::Node, op: op::Lookup<'_>) -> Result<Entry<Self::Node>>;

    /// Tells what a node is like. `file` is given when an open file asks.
    fn getattr(&self, cx: &Context, node: &Self::Node, file: Option<&Self::File>) -> Result<Attributes>;

    /// Changes attributes and tells all of them as they are then.
    fn setattr(
        &self,
        cx: &Context,
        node: &Self::Node,
        file: Option<&Self::File>,
        op: op::SetAttributes,
    ) -> Result<Attributes> {
        unclaimed()
    }

    /// Puts the target of a symbolic link into the window; returns its length.
    fn readlink(&self, cx: &Context, node: &Self::Node, into: &mut [u8]) -> Result<usize> {
        unclaimed()
    }

    /// Makes a symbolic link.
    fn symlink(&self, cx: &Context, parent: &Self::Node, op: op::Symlink<'_>) -> Result<Entry<Self::Node>> {
        unclaimed()
    }

    /// Makes a file, pipe, socket or device.
    fn mknod(&self, cx: &Context, parent: &Self::Node, op: op::MakeNode<'_>) -> Result<Entry<Self::Node>> {
        unclaimed()
    }

    /// Makes a directory.
    fn mkdir(
        &self,
        cx: &Context,
        parent: &Self::Node,
        op: op::MakeDirectory<'_>,
    ) -> Result<Entry<Self::Node>> {
        unclaimed()
    }

    /// Removes a name of something that is no directory.
    fn unlink(&self, cx: &Context, parent: &Self::Node, op: op::Remove<'_>) -> Result<()> {
        unclaimed()
    }

    /// Removes an empty directory.
    fn rmdir(&self, cx: &Context, parent: &Self::Node, op: op::Remove<'_>) -> Result<()> {
        unclaimed()
    }

    /// Moves a name from `parent` to `new_parent`, which may be the same.
    fn rename(
        &self,
        cx: &Context,
        parent: &Self::Node,
        new_parent: &Self::Node,
        op: op::Rename<'_>,
    ) -> Result<()> {
        unclaimed()
    }

    /// Gives `node` one more name, in `new_parent`. The entry's attributes count it.
    fn link(
        &self,
        cx: &Context,
        node: &Self::Node,
        new_parent: &Self::Node,
        op: op::Link<'_>,
    ) -> Result<Entry<Self::Node>> {
        unclaimed()
    }

    /// Opens a file. Not called with `STATELESS_FILES`.
    fn open(&self, cx: &Context, node: &Self::Node, op: op::Open) -> Result<Opened<Self::File>> {
        unclaimed()
    }

    /// Opens a directory for listing. Not called with `STATELESS_DIRECTORIES`.
    fn opendir(&self, cx: &Context, node: &Self::Node, op: op::Open) -> Result<Opened<Self::File>> {
        unclaimed()
    }

    /// Makes the value for an operation on a file or directory that needs no opening. Called for every such
    /// operation, with `STATELESS_FILES` and `STATELESS_DIRECTORIES` only, on a thread of the volume: it must not block.
    fn file(&self, node: &Self::Node) -> Result<Self::File> {
        unclaimed()
    }

    /// Makes a file and opens it.
    fn create(
        &self,
        cx: &Context,
        parent: &Self::Node,
        op: op::Create<'_>,
    ) -> Result<Created<Self::Node, Self::File>> {
        unclaimed()
    }

    /// Makes a file without a name in this directory's file system and opens it.
    fn tmpfile(
        &self,
        cx: &Context,
        parent: &Self::Node,
        op: op::Tmpfile,
    ) -> Result<Created<Self::Node, Self::File>> {
        unclaimed()
    }

    /// Fills the window with the bytes from `op.offset` on. Fewer than fit means that the file ends there.
    fn read(&self, cx: &Context, file: &Self::File, op: op::Read, into: &mut [u8]) -> Result<usize> {
        unclaimed()
    }

    /// Writes the bytes and returns how many: all, unless an error came after some.
    fn write(&self, cx: &Context, file: &Self::File, op: op::Write<'_>) -> Result<usize> {
        unclaimed()
    }

    /// One descriptor of the file is closed. An error is what close(2) returns.
    fn flush(&self, cx: &Context, file: &Self::File, op: op::Flush) -> Result<()> {
        unclaimed()
    }

    /// The last descriptor of a file or directory is gone. Nobody learns of an error: do what may fail in `flush`.
    fn release(&self, cx: &Context, file: &Self::File, op: op::Release) {}

    /// Brings a file to its store.
    fn fsync(&self, cx: &Context, file: &Self::File, op: op::Fsync) -> Result<()> {
        unclaimed()
    }

    /// Brings a directory to its store.
    fn fsyncdir(&self, cx: &Context, file: &Self::File, op: op::Fsync) -> Result<()> {
        unclaimed()
    }

    /// Brings everything to the store.
    fn syncfs(&self, cx: &Context, node: &Self::Node) -> Result<()> {
        unclaimed()
    }

    /// Lists a directory: calls [`Listing::add`] for each entry after the cursor until it is full.
    /// `.` and `..` are Wharf's.
    fn readdir(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::List,
        list: &mut Listing<Self::Node>,
    ) -> Result<()> {
        unclaimed()
    }

    /// Tells how full the volume is. By default: a volume without limits.
    fn statfs(&self, cx: &Context, node: &Self::Node) -> Result<Statfs> {
        Ok(Statfs { block_size: 4096, name_bytes_max: 255, ..Statfs::default() })
    }

    /// Sets an extended attribute.
    fn setxattr(&self, cx: &Context, node: &Self::Node, op: op::SetXattr<'_>) -> Result<()> {
        unclaimed()
    }

    /// Puts the value of an extended attribute into the window and returns its length. If that is more than
    /// fits, what is in the window does not matter: the caller learns the length, or that its buffer is small.
    fn getxattr(
        &self,
        cx: &Context,
        node: &Self::Node,
        op: op::GetXattr<'_>,
        into: &mut [u8],
    ) -> Result<usize> {
        unclaimed()
    }

    /// Puts the names of all extended attributes into the window, each with a NUL after it, and returns
    /// their length. As for `getxattr`, more than fits may be returned.
    fn listxattr(&self, cx: &Context, node: &Self::Node, into: &mut [u8]) -> Result<usize> {
        unclaimed()
    }

    /// Removes an extended attribute.
    fn removexattr(&self, cx: &Context, node: &Self::Node, op: op::RemoveXattr<'_>) -> Result<()> {
        unclaimed()
    }

    /// Tells a POSIX lock that stands in the way of this one, if there is any.
    fn getlk(&self, cx: &Context, file: &Self::File, op: op::GetLock) -> Result<Option<op::Lock>> {
        unclaimed()
    }

    /// Sets or gives up a POSIX lock. One that waits should look at [`Context::cancellation`].
    ///
    /// # Errors
    /// [`Kind::WouldBlock`](crate::error::Kind::WouldBlock) if it is held and `wait` is false.
    fn setlk(&self, cx: &Context, file: &Self::File, op: op::SetLock) -> Result<()> {
        unclaimed()
    }

    /// Sets or gives up the lock of a whole open file. One that waits should look at [`Context::cancellation`].
    ///
    /// # Errors
    /// [`Kind::WouldBlock`](crate::error::Kind::WouldBlock) if it is held and `wait` is false.
    fn flock(&self, cx: &Context, file: &Self::File, op: op::Flock) -> Result<()> {
        unclaimed()
    }

    /// Says whether the caller may do something.
    ///
    /// # Errors
    /// [`Error::permission_denied`] if not.
    fn access(&self, cx: &Context, node: &Self::Node, op: op::Access) -> Result<()> {
        unclaimed()
    }

    /// Gives, takes or zeroes space of a file.
    fn fallocate(&self, cx: &Context, file: &Self::File, op: op::Fallocate) -> Result<()> {
        unclaimed()
    }

    /// Finds data or a hole; returns its offset.
    fn lseek(&self, cx: &Context, file: &Self::File, op: op::Seek) -> Result<u64> {
        unclaimed()
    }

    /// Copies between two files; returns how many bytes, 0 at the end of the source.
    fn copy_file_range(
        &self,
        cx: &Context,
        from: &Self::File,
        to: &Self::File,
        op: op::CopyRange,
    ) -> Result<u64> {
        unclaimed()
    }

    /// Tells where a block of a file is on the device.
    fn bmap(&self, cx: &Context, node: &Self::Node, op: op::Bmap) -> Result<u64> {
        unclaimed()
    }

    /// Answers a request in a language of its own; bytes that go out are put into the window.
    fn ioctl(
        &self,
        cx: &Context,
        file: &Self::File,
        op: op::Ioctl<'_>,
        into: &mut [u8],
    ) -> Result<IoctlDone> {
        unclaimed()
    }

    /// Tells which of the events are there now (`POLLIN` and so on).
    fn poll(&self, cx: &Context, file: &Self::File, op: op::Poll) -> Result<u32> {
        unclaimed()
    }

    /// Tells what a node is like in the terms of statx(2).
    fn statx(
        &self,
        cx: &Context,
        node: &Self::Node,
        file: Option<&Self::File>,
        op: op::Statx,
    ) -> Result<Extended> {
        unclaimed()
    }
}

fn unclaimed<T>() -> Result<T> {
    Err(Error::not_supported())
}
