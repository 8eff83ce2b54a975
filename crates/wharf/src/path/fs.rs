//! The trait of a file system that is written with paths.

use crate::error::{Error, Result};
use crate::{Attributes, Capabilities, Context, Created, Entry, Extended, IoctlDone, Opened, Statfs, op};

use super::{At, Names};

/// A file system whose methods get paths. [`Adapter`](super::Adapter) makes a
/// [`blocking::FileSystem`](crate::blocking::FileSystem) of it.
///
/// Methods may block, as there. What differs:
///
/// - Instead of a node there is [`At`]: its path, your [`Data`](Self::Data) for it, and an open file where one asks.
/// - A node's identity is the inode number in its attributes. Give the same number for two paths and they
///   are two names of one file. Give 0 and the path is the identity; Wharf makes a number then, which lasts as long as
///   the node is known. Give numbers for all nodes or for none. You may use numbers again at once, as most file
///   systems do: Wharf makes another while the kernel still knows the old node.
/// - `File` is an open file only. Directories have no value of yours: they are [listed](Self::list) at once.
/// - A file that lost its last name has no path. While it is open, reads and writes go on as ever, and what the
///   kernel asks of the node, such as fstat(2), comes with [an open file](At::file). So answer by the file where there
///   is one, and by the path else. An open(2) that comes just too late fails, as if it had come later still.
///
/// Of [`Capabilities`], stateless files and directories and export make no sense with paths and are not offered.
#[expect(unused_variables, reason = "default methods name their parameters for the documentation")]
pub trait FileSystem: Sized + Send + Sync + 'static {
    /// What you keep for each node that the kernel knows; `()` for nothing. See [`At::data`].
    type Data: Default + Send + Sync + 'static;
    /// One open file.
    type File: Send + Sync + 'static;

    /// What the file system can do. Asked once, before anything else; must not block.
    fn capabilities(&self) -> Capabilities;

    /// Gets ready, before the first operation.
    ///
    /// # Errors
    /// Any error ends the mount.
    fn start(&self) -> Result<()> {
        Ok(())
    }

    /// Ends, after the last operation.
    fn shutdown(&self) {}

    /// Tells what something is like.
    ///
    /// # Errors
    /// [`Error::not_found`] for a path that leads nowhere; the kernel may remember that.
    fn getattr(&self, cx: &Context, at: &At<'_, Self>) -> Result<Attributes>;

    /// Finds a name. By default what [`getattr`](Self::getattr) tells of its path, with the volume's usual lifetimes.
    ///
    /// # Errors
    /// [`Error::not_found`] for a path that leads nowhere; the kernel may remember that.
    fn lookup(&self, cx: &Context, at: &At<'_, Self>) -> Result<Entry<()>> {
        self.getattr(cx, at).map(Entry::from)
    }

    /// Changes attributes and tells all of them as they are then.
    fn setattr(&self, cx: &Context, at: &At<'_, Self>, op: op::SetAttributes) -> Result<Attributes> {
        unclaimed()
    }

    /// Puts the target of a symbolic link into the window; returns its length.
    fn readlink(&self, cx: &Context, at: &At<'_, Self>, into: &mut [u8]) -> Result<usize> {
        unclaimed()
    }

    /// Makes a symbolic link.
    fn symlink(&self, cx: &Context, at: &At<'_, Self>, op: op::Symlink<'_>) -> Result<Entry<()>> {
        unclaimed()
    }

    /// Makes a file, pipe, socket or device.
    fn mknod(&self, cx: &Context, at: &At<'_, Self>, op: op::MakeNode<'_>) -> Result<Entry<()>> {
        unclaimed()
    }

    /// Makes a directory.
    fn mkdir(&self, cx: &Context, at: &At<'_, Self>, op: op::MakeDirectory<'_>) -> Result<Entry<()>> {
        unclaimed()
    }

    /// Removes a name of something that is no directory.
    fn unlink(&self, cx: &Context, at: &At<'_, Self>) -> Result<()> {
        unclaimed()
    }

    /// Removes an empty directory.
    fn rmdir(&self, cx: &Context, at: &At<'_, Self>) -> Result<()> {
        unclaimed()
    }

    /// Moves a name.
    fn rename(&self, cx: &Context, from: &At<'_, Self>, to: &At<'_, Self>, how: op::RenameHow) -> Result<()> {
        unclaimed()
    }

    /// Gives what is at `at` one more name. The entry's attributes count it.
    fn link(&self, cx: &Context, at: &At<'_, Self>, new: &At<'_, Self>) -> Result<Entry<()>> {
        unclaimed()
    }

    /// Opens a file.
    fn open(&self, cx: &Context, at: &At<'_, Self>, op: op::Open) -> Result<Opened<Self::File>> {
        unclaimed()
    }

    /// A directory is about to be listed.
    fn opendir(&self, cx: &Context, at: &At<'_, Self>, op: op::Open) -> Result<()> {
        Ok(())
    }

    /// Makes a file and opens it.
    fn create(&self, cx: &Context, at: &At<'_, Self>, op: op::Create<'_>) -> Result<Created<(), Self::File>> {
        unclaimed()
    }

    /// Makes a file without a name in the file system of `directory` and opens it.
    fn tmpfile(
        &self,
        cx: &Context,
        directory: &At<'_, Self>,
        op: op::Tmpfile,
    ) -> Result<Created<(), Self::File>> {
        unclaimed()
    }

    /// Fills the window with the bytes from `op.offset` on. Fewer than fit means that the file ends there.
    fn read(
        &self,
        cx: &Context,
        at: &At<'_, Self>,
        file: &Self::File,
        op: op::Read,
        into: &mut [u8],
    ) -> Result<usize> {
        unclaimed()
    }

    /// Writes the bytes and returns how many: all, unless an error came after some.
    fn write(&self, cx: &Context, at: &At<'_, Self>, file: &Self::File, op: op::Write<'_>) -> Result<usize> {
        unclaimed()
    }

    /// One descriptor of the file is closed. An error is what close(2) returns.
    fn flush(&self, cx: &Context, at: &At<'_, Self>, file: &Self::File, op: op::Flush) -> Result<()> {
        unclaimed()
    }

    /// The last descriptor of a file is gone. Nobody learns of an error: do what may fail in `flush`.
    fn release(&self, cx: &Context, at: &At<'_, Self>, file: &Self::File, op: op::Release) {}

    /// Brings a file to its store.
    fn fsync(&self, cx: &Context, at: &At<'_, Self>, file: &Self::File, op: op::Fsync) -> Result<()> {
        unclaimed()
    }

    /// Brings a directory to its store.
    fn fsyncdir(&self, cx: &Context, at: &At<'_, Self>, op: op::Fsync) -> Result<()> {
        unclaimed()
    }

    /// Brings everything to the store.
    fn syncfs(&self, cx: &Context, at: &At<'_, Self>) -> Result<()> {
        unclaimed()
    }

    /// Tells all names in a directory. Asked when a listing begins; what is told serves until it begins again.
    ///
    /// With `LIST_ENTRIES` the kernel may want whole entries: each is then [looked up](Self::lookup).
    fn list(&self, cx: &Context, at: &At<'_, Self>, names: &mut Names) -> Result<()> {
        unclaimed()
    }

    /// Tells how full the volume is. By default: a volume without limits.
    fn statfs(&self, cx: &Context, at: &At<'_, Self>) -> Result<Statfs> {
        Ok(Statfs { block_size: 4096, name_bytes_max: 255, ..Statfs::default() })
    }

    /// Sets an extended attribute.
    fn setxattr(&self, cx: &Context, at: &At<'_, Self>, op: op::SetXattr<'_>) -> Result<()> {
        unclaimed()
    }

    /// Puts the value of an extended attribute into the window and returns its length, which may be more than fits.
    fn getxattr(
        &self,
        cx: &Context,
        at: &At<'_, Self>,
        op: op::GetXattr<'_>,
        into: &mut [u8],
    ) -> Result<usize> {
        unclaimed()
    }

    /// Puts the names of all extended attributes into the window, each with a NUL after it, and returns
    /// their length, which may be more than fits.
    fn listxattr(&self, cx: &Context, at: &At<'_, Self>, into: &mut [u8]) -> Result<usize> {
        unclaimed()
    }

    /// Removes an extended attribute.
    fn removexattr(&self, cx: &Context, at: &At<'_, Self>, op: op::RemoveXattr<'_>) -> Result<()> {
        unclaimed()
    }

    /// Tells a POSIX lock that stands in the way of this one, if there is any.
    fn getlk(
        &self,
        cx: &Context,
        at: &At<'_, Self>,
        file: &Self::File,
        op: op::GetLock,
    ) -> Result<Option<op::Lock>> {
        unclaimed()
    }

    /// Sets or gives up a POSIX lock. One that waits should look at [`Context::cancellation`], and not ask for
    /// the path.
    ///
    /// # Errors
    /// [`Kind::WouldBlock`](crate::error::Kind::WouldBlock) if it is held and `wait` is false.
    fn setlk(&self, cx: &Context, at: &At<'_, Self>, file: &Self::File, op: op::SetLock) -> Result<()> {
        unclaimed()
    }

    /// Sets or gives up the lock of a whole open file. As for [`setlk`](Self::setlk).
    ///
    /// # Errors
    /// [`Kind::WouldBlock`](crate::error::Kind::WouldBlock) if it is held and `wait` is false.
    fn flock(&self, cx: &Context, at: &At<'_, Self>, file: &Self::File, op: op::Flock) -> Result<()> {
        unclaimed()
    }

    /// Says whether the caller may do something.
    ///
    /// # Errors
    /// [`Error::permission_denied`] if not.
    fn access(&self, cx: &Context, at: &At<'_, Self>, op: op::Access) -> Result<()> {
        unclaimed()
    }

    /// Gives, takes or zeroes space of a file.
    fn fallocate(&self, cx: &Context, at: &At<'_, Self>, file: &Self::File, op: op::Fallocate) -> Result<()> {
        unclaimed()
    }

    /// Finds data or a hole; returns its offset.
    fn lseek(&self, cx: &Context, at: &At<'_, Self>, file: &Self::File, op: op::Seek) -> Result<u64> {
        unclaimed()
    }

    /// Copies between two files; returns how many bytes, 0 at the end of the source.
    fn copy_file_range(
        &self,
        cx: &Context,
        from: (&At<'_, Self>, &Self::File),
        to: (&At<'_, Self>, &Self::File),
        op: op::CopyRange,
    ) -> Result<u64> {
        unclaimed()
    }

    /// Tells where a block of a file is on the device.
    fn bmap(&self, cx: &Context, at: &At<'_, Self>, op: op::Bmap) -> Result<u64> {
        unclaimed()
    }

    /// Answers a request in a language of its own; bytes that go out are put into the window. For a file,
    /// [`At::file`] is the one that was asked.
    fn ioctl(
        &self,
        cx: &Context,
        at: &At<'_, Self>,
        op: op::Ioctl<'_>,
        into: &mut [u8],
    ) -> Result<IoctlDone> {
        unclaimed()
    }

    /// Tells which of the events are there now (`POLLIN` and so on).
    fn poll(&self, cx: &Context, at: &At<'_, Self>, file: &Self::File, op: op::Poll) -> Result<u32> {
        unclaimed()
    }

    /// Tells what something is like in the terms of statx(2).
    fn statx(&self, cx: &Context, at: &At<'_, Self>, op: op::Statx) -> Result<Extended> {
        unclaimed()
    }
}

fn unclaimed<T>() -> Result<T> {
    Err(Error::not_supported())
}
