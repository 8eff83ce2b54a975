//! From a decoded request to the author's method and back to a reply.
//!
//! The one place that knows which operation needs which capability, node and handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wharf_mem::{Data, Lease, Window};

use crate::context::Context;
use crate::error::{Errno, Error, Kind};
use crate::{Cache, Capabilities, Entry, FileSystem, HandleId, NodeId, Opened, Source, op};

use super::guest::{Asker, TICKET_COMMAND};
use super::handles::OpenFile;
use super::listing::{EntryForm, counted};
use super::reply::{EntryReply, OpenReply, Passed, Reply, Request};
use super::{Operation, Protocol, Session, scatter};

/// Longest target of a symbolic link that the kernel takes.
const TARGET_BYTES_MAX: usize = 4095;
/// Largest extended attribute, and largest list of their names, that Linux knows.
const XATTR_BYTES_MAX: usize = 65_536;

/// An open file, or the value that stands for one where nothing is opened.
pub(super) enum InUse<F> {
    Open(Arc<OpenFile<F>>),
    Stateless(F),
}

impl<F> InUse<F> {
    pub(super) fn file(&self) -> &F {
        match self {
            InUse::Open(open) => &open.file,
            InUse::Stateless(file) => file,
        }
    }

    pub(super) fn source(&self) -> &Source {
        match self {
            InUse::Open(open) => &open.source,
            InUse::Stateless(_) => &Source::Handler,
        }
    }
}

pub(super) type Answer = Result<Reply, Error>;

impl<F: FileSystem, P: Protocol> Session<F, P> {
    /// Gives a request back, with its name for the log, if it may be [dispatched](Self::dispatch).
    ///
    /// It is taken whole because a future that lent it out would keep room for it until its own end, beside the
    /// room that it has in the future it is handed on to.
    pub(super) fn admit<'a>(&self, request: Request<'a>) -> Result<(&'static str, Request<'a>), Errno> {
        match self.refuse(&request.operation) {
            Some(errno) => Err(errno),
            None => Ok((request.operation.name(), request)),
        }
    }

    /// What the file system did not claim is answered without it. ENOSYS means "never again" to the kernel,
    /// EOPNOTSUPP "not this time": each where the kernel's meaning is the right one.
    fn refuse(&self, operation: &Operation<'_>) -> Option<Errno> {
        use Operation as O;
        let (needed, otherwise) = match operation {
            O::SetAttributes { .. }
            | O::MakeDirectory { .. }
            | O::Unlink { .. }
            | O::RemoveDirectory { .. } => (Capabilities::WRITE, Errno::EROFS),
            O::Create { .. } | O::Write { .. } => (Capabilities::WRITE, Errno::EROFS),
            O::Rename { op, .. } if op.how != op::RenameHow::Replace => {
                (Capabilities::WRITE | Capabilities::RENAME_FLAGS, Errno::EINVAL)
            }
            O::Rename { .. } => (Capabilities::WRITE, Errno::EROFS),
            O::MakeNode { op, .. } if op.kind != crate::Kind::File => {
                (Capabilities::WRITE | Capabilities::SPECIAL_FILES, Errno::EPERM)
            }
            O::MakeNode { .. } => (Capabilities::WRITE, Errno::EROFS),
            O::ReadLink => (Capabilities::SYMLINKS, Errno::EINVAL),
            O::Symlink { .. } => (Capabilities::WRITE | Capabilities::SYMLINKS, Errno::EPERM),
            O::Link { .. } => (Capabilities::WRITE | Capabilities::LINKS, Errno::EPERM),
            O::Tmpfile { .. } => (Capabilities::WRITE | Capabilities::TMPFILE, Errno::EOPNOTSUPP),
            // Who keeps locks must hear of every close.
            O::Flush { .. } if self.can(Capabilities::POSIX_LOCKS) => return None,
            O::Flush { .. } => (Capabilities::FLUSH, Errno::ENOSYS),
            O::Fsync { .. } | O::FsyncDirectory { .. } => (Capabilities::FSYNC, Errno::ENOSYS),
            O::SyncFs => (Capabilities::SYNCFS, Errno::ENOSYS),
            O::GetXattr { .. } | O::ListXattr { .. } => (Capabilities::XATTRS, Errno::ENOSYS),
            O::SetXattr { .. } | O::RemoveXattr { .. } => {
                (Capabilities::WRITE | Capabilities::XATTRS, Errno::ENOSYS)
            }
            O::GetLock { .. } | O::SetLock { .. } => (Capabilities::POSIX_LOCKS, Errno::ENOSYS),
            O::Flock { .. } => (Capabilities::FLOCK, Errno::ENOSYS),
            O::Access { .. } => (Capabilities::ACCESS, Errno::ENOSYS),
            O::Fallocate { .. } => (Capabilities::WRITE | Capabilities::FALLOCATE, Errno::ENOSYS),
            O::Seek { .. } => (Capabilities::HOLES, Errno::ENOSYS),
            O::CopyRange { .. } => (Capabilities::WRITE | Capabilities::COPY_RANGE, Errno::ENOSYS),
            O::Bmap { .. } => (Capabilities::BMAP, Errno::ENOSYS),
            // Wharf's own, whatever the file system knows.
            O::Ioctl { op, .. } if op.command == TICKET_COMMAND => return None,
            O::Ioctl { .. } => (Capabilities::IOCTL, Errno::ENOTTY),
            O::Poll { .. } => (Capabilities::POLL, Errno::ENOSYS),
            O::Statx { .. } => (Capabilities::STATX, Errno::ENOSYS),
            O::Open { .. } if self.can(Capabilities::STATELESS_FILES) => return Some(Errno::ENOSYS),
            O::OpenDirectory { .. } if self.can(Capabilities::STATELESS_DIRECTORIES) => {
                return Some(Errno::ENOSYS);
            }
            O::Lookup { .. }
            | O::GetAttributes { .. }
            | O::Open { .. }
            | O::OpenDirectory { .. }
            | O::Read { .. }
            | O::List { .. }
            | O::Release { .. }
            | O::ReleaseDirectory { .. }
            | O::Statfs => return None,
        };
        (!self.can(needed)).then_some(otherwise)
    }

    pub(super) async fn dispatch(
        &self,
        cx: &Context,
        request: Request<'_>,
        lease: Option<&mut Lease>,
        asker: Asker<'_>,
    ) -> Answer {
        use Operation as O;
        let fs = &*self.fs;
        let id = request.node;
        let node = self.node(id)?;
        match request.operation {
            O::Lookup { op } => match fs.lookup(cx, &node, op).await {
                Ok(entry) => Ok(Reply::Entry(self.count(entry)?)),
                Err(error) if error.errno() == Errno::ENOENT && !self.defaults.absent.is_zero() => {
                    Ok(Reply::Absent(self.defaults.absent))
                }
                Err(error) => Err(error),
            },
            O::GetAttributes { handle } => {
                let open = self.maybe_open(handle);
                let attributes = fs.getattr(cx, &node, open.as_ref().map(|open| &open.file)).await?;
                if id == NodeId::ROOT {
                    self.nodes.root_is(attributes.inode);
                }
                Ok(Reply::Attributes(attributes, self.defaults.lifetimes.attributes))
            }
            O::SetAttributes { handle, op } => {
                Box::pin(self.set_attributes(cx, id, &node, (handle, op), asker)).await
            }
            O::Statx { handle, op } => {
                let open = self.maybe_open(handle);
                let extended = fs.statx(cx, &node, open.as_ref().map(|open| &open.file), op).await?;
                Ok(Reply::Extended(extended, self.defaults.lifetimes.attributes))
            }
            O::ReadLink => {
                let window = window(lease, TARGET_BYTES_MAX)?;
                let room = window.len();
                bytes(fs.readlink(cx, &node, window).await?, room)
            }
            O::Symlink { op } => {
                let made = self.renaming([Some(id), None], fs.symlink(cx, &node, op)).await?;
                Ok(Reply::Entry(self.count(made)?))
            }
            O::MakeNode { op } => {
                let made = self.renaming([Some(id), None], fs.mknod(cx, &node, op)).await?;
                Ok(Reply::Entry(self.count(made)?))
            }
            O::MakeDirectory { op } => {
                let made = self.renaming([Some(id), None], fs.mkdir(cx, &node, op)).await?;
                Ok(Reply::Entry(self.count(made)?))
            }
            O::Unlink { op } => done(self.renaming([Some(id), None], fs.unlink(cx, &node, op)).await),
            O::RemoveDirectory { op } => done(self.renaming([Some(id), None], fs.rmdir(cx, &node, op)).await),
            O::Rename { new_parent: to, op } => {
                let new_parent = self.node(to)?;
                let to = Some(to).filter(|to| *to != id);
                done(self.renaming([Some(id), to], fs.rename(cx, &node, &new_parent, op)).await)
            }
            O::Link { node: linked, op } => {
                let linked = self.node(linked)?;
                let made = self.renaming([Some(id), None], fs.link(cx, &linked, &node, op)).await?;
                Ok(Reply::Entry(self.count(made)?))
            }
            O::Open { op } => self.open_file(cx, id, &node, op, asker).await,
            O::OpenDirectory { op } => {
                let opened = fs.opendir(cx, &node, op).await?;
                Ok(Reply::Opened(self.opened(id, true, op.flags, opened, asker)))
            }
            O::Create { op } => Box::pin(self.create(cx, id, &node, op, asker)).await,
            O::Tmpfile { op } => Box::pin(self.create_unnamed(cx, &node, op, asker)).await,
            O::Read { handle, op } => {
                let open = self.open(handle, &node, false)?;
                let size = op.size as usize;
                let room = lease.as_ref().map_or(0, |lease| lease.len().min(size));
                let read = match open.source() {
                    Source::Handler => {
                        let op = op::Read { size: room as u32, ..op };
                        fs.read(cx, open.file(), op, window(lease, size)?).await?
                    }
                    Source::Backing(backing) => {
                        cx.io().read(backing, op.offset, window(lease, size)?).await?
                    }
                    // In a box, or every operation's future had room for it.
                    Source::Extents(extents) => {
                        Box::pin(scatter::read(cx.io(), &**extents, op.offset, lease, size)).await?
                    }
                    Source::Memory(memory) => {
                        if !memory.is_complete() {
                            let range = op.offset..op.offset.saturating_add(room as u64);
                            Box::pin(cx.unless_cancelled(memory.filled(range))).await?;
                        }
                        memory.copy_out(op.offset, &mut window(lease, size)?)
                    }
                };
                bytes(read, room)
            }
            O::Write { handle, op } => {
                let open = self.open(handle, &node, false)?;
                self.write(cx, id, open, op, asker).await
            }
            O::Flush { handle, op } => done(fs.flush(cx, self.open(handle, &node, false)?.file(), op).await),
            O::Release { handle, op } | O::ReleaseDirectory { handle, op } => {
                if let Some(open) = self.handles.remove(handle) {
                    self.released(cx, &open, op).await;
                }
                Ok(Reply::Nothing)
            }
            O::Fsync { handle, op } => done(fs.fsync(cx, self.open(handle, &node, false)?.file(), op).await),
            O::FsyncDirectory { handle, op } => {
                done(fs.fsyncdir(cx, self.open(handle, &node, true)?.file(), op).await)
            }
            O::SyncFs => done(fs.syncfs(cx, &node).await),
            O::List { handle, op, size, entries, pattern } => {
                let open = self.open(handle, &node, true)?;
                let form = if entries { EntryForm::Whole } else { EntryForm::Plain };
                let into = window(lease, size as usize)?;
                self.list(cx, id, open, (form, pattern, op.cursor), into, asker).await
            }
            O::Statfs => Ok(Reply::Statfs(fs.statfs(cx, &node).await?)),
            O::SetXattr { op } => done(fs.setxattr(cx, &node, op).await),
            O::GetXattr { op, size } => {
                let window = window(lease, size as usize)?;
                let room = window.len();
                attribute(fs.getxattr(cx, &node, op, window).await?, size, room)
            }
            O::ListXattr { size } => {
                let window = window(lease, size as usize)?;
                let room = window.len();
                attribute(fs.listxattr(cx, &node, window).await?, size, room)
            }
            O::RemoveXattr { op } => done(fs.removexattr(cx, &node, op).await),
            O::GetLock { handle, op } => {
                Ok(Reply::Lock(fs.getlk(cx, self.open(handle, &node, false)?.file(), op).await?))
            }
            O::SetLock { handle, op } => {
                done(fs.setlk(cx, self.open(handle, &node, false)?.file(), op).await)
            }
            O::Flock { handle, op } => done(fs.flock(cx, self.open(handle, &node, false)?.file(), op).await),
            O::Access { op } => done(fs.access(cx, &node, op).await),
            O::Fallocate { handle, op } => {
                self.allocate(cx, id, self.open(handle, &node, false)?, op, asker).await
            }
            O::Seek { handle, op } => {
                Ok(Reply::Offset(fs.lseek(cx, self.open(handle, &node, false)?.file(), op).await?))
            }
            O::CopyRange { from, to, to_node, op, long } => {
                let from = self.open(from, &node, false)?;
                let to = self.open(to, &self.node(to_node)?, false)?;
                let copied = self.copy_range(cx, (from, to), (to_node, op), asker).await?;
                Ok(Reply::Copied(copied, long))
            }
            O::Bmap { op } => Ok(Reply::Block(fs.bmap(cx, &node, op).await?)),
            O::Ioctl { handle, directory, op } => {
                // Not as a guard: the future would keep the whole request for it.
                if op.command == TICKET_COMMAND {
                    let refused = Error::new(Kind::Os(Errno::ENOTTY));
                    return if directory { Err(refused) } else { self.ticket(cx, id, handle, lease).await };
                }
                let open = self.open(handle, &node, directory)?;
                let window = window(lease, op.output_bytes_max as usize)?;
                let room = window.len();
                let answer = fs.ioctl(cx, open.file(), op, window).await?;
                if answer.bytes > room {
                    return Err(Error::io("answering an ioctl: more bytes than there was room for"));
                }
                Ok(Reply::Ioctl(answer))
            }
            O::Poll { handle, op } => {
                Ok(Reply::Events(fs.poll(cx, self.open(handle, &node, false)?.file(), op).await?))
            }
        }
    }

    fn can(&self, needed: Capabilities) -> bool {
        self.capabilities.contains(needed)
    }

    pub(super) fn node(&self, id: NodeId) -> Result<F::Node, Error> {
        self.nodes.get(id).ok_or(Error::new(Kind::Stale))
    }

    /// The kernel may ask about attributes through a handle that is gone already; the node is enough then.
    pub(super) fn maybe_open(&self, handle: Option<HandleId>) -> Option<Arc<OpenFile<F::File>>> {
        handle.and_then(|handle| self.handles.get(handle))
    }

    fn open(&self, handle: HandleId, node: &F::Node, directory: bool) -> Result<InUse<F::File>, Error> {
        let stateless =
            if directory { Capabilities::STATELESS_DIRECTORIES } else { Capabilities::STATELESS_FILES };
        match self.handles.get(handle) {
            Some(open) if open.directory == directory => Ok(InUse::Open(open)),
            None if self.can(stateless) => Ok(InUse::Stateless(self.fs.file(node)?)),
            _ => Err(Error::new(Kind::Os(Errno::EBADF))),
        }
    }

    pub(super) fn count(&self, entry: Entry<F::Node>) -> Result<EntryReply, Error> {
        if entry.attributes.inode == 0 {
            return Err(Error::io("naming a node: the file system gave inode number 0"));
        }
        Ok(counted(entry, &self.nodes, &self.defaults))
    }

    pub(super) fn opened(
        &self,
        node: NodeId,
        directory: bool,
        flags: op::OpenFlags,
        opened: Opened<F::File>,
        asker: Asker<'_>,
    ) -> OpenReply {
        let Opened { file, source, cache, stream, parallel_direct_writes } = opened;
        let guest = matches!(asker, Asker::Guest(_));
        let passed = match &source {
            // The transport is told of its own files only, and of no directories.
            _ if directory || guest => Passed::No,
            Source::Backing(backing) => self.protocol.backing_open(node, backing),
            // Where bytes are missing the kernel would read zeros; and what its cache keeps anyway is read faster from there.
            Source::Memory(memory) if memory.is_complete() && cache != Cache::Keep => {
                self.protocol.backing_open(node, memory.section().file())
            }
            Source::Handler | Source::Extents(_) | Source::Memory(_) => self.protocol.handler_open(node),
        };
        let (backing, cache) = match passed {
            Passed::No => (None, cache),
            Passed::Yes(id) => (Some(id), cache),
            Passed::Beside(id) => (Some(id), Cache::Direct),
        };
        // Where files need no opening only few are, and who else writes is not known.
        let counts = !directory && !guest && !self.can(Capabilities::STATELESS_FILES);
        let writes = (flags.writes() && counts).then(|| self.nodes.inode(node)).flatten();
        if let Some(inode) = writes {
            self.writers.add(inode, || self.notifier.written(inode, true));
        }
        let writes = AtomicU64::new(writes.unwrap_or(0));
        let open = OpenFile { file, node, directory, flags, writes, guest, source, backing };
        OpenReply {
            handle: self.handles.insert(open),
            cache,
            stream,
            parallel_direct_writes,
            no_flush: !self.capabilities.intersects(Capabilities::FLUSH | Capabilities::POSIX_LOCKS),
            directory,
            backing,
        }
    }

    /// Nobody can write by this open file any more.
    pub(super) fn writes_no_more(&self, open: &OpenFile<F::File>) {
        // No file has the number 0.
        match open.writes.swap(0, Ordering::Relaxed) {
            0 => {}
            inode => self.writers.remove(inode, || self.notifier.written(inode, false)),
        }
    }

    pub(super) async fn released(&self, cx: &Context, open: &OpenFile<F::File>, op: op::Release) {
        // Also when the author's code panics or is given up: open files are counted.
        let _closed = Closed { session: self, open };
        self.fs.release(cx, &open.file, op).await;
    }
}

/// Tells those who count, when dropped, that an open file has gone.
struct Closed<'a, F: FileSystem, P: Protocol> {
    session: &'a Session<F, P>,
    open: &'a OpenFile<F::File>,
}

impl<F: FileSystem, P: Protocol> Drop for Closed<'_, F, P> {
    fn drop(&mut self) {
        let Closed { session, open } = self;
        if !open.directory && !open.guest {
            session.protocol.closed(open.node, open.backing);
        }
        session.writes_no_more(open);
    }
}

/// The number for the caller; the words are logged.
pub(super) fn told(error: Error, name: &'static str, cx: &Context) -> Errno {
    if error.is_news() {
        log::warn!("{name} ({}): {error}", cx.request());
    }
    error.errno()
}

pub(super) fn window(lease: Option<&mut Lease>, len: usize) -> Result<Window<'_>, Error> {
    let window = lease.and_then(|lease| lease.window(len));
    window.ok_or(Error::io("taking the reply window: a write holds it"))
}

/// The bytes of a write; the lease is fresh, so nothing can hold it yet.
pub(super) fn data(lease: &mut Lease, len: usize) -> Result<Data<'_>, Errno> {
    lease.data(len).ok_or(Errno::EIO)
}

fn done(result: Result<(), Error>) -> Answer {
    result.map(|()| Reply::Nothing)
}

fn bytes(count: usize, room: usize) -> Answer {
    if count > room {
        return Err(Error::io("reading: the file system claims more bytes than there was room for"));
    }
    Ok(Reply::Bytes(count))
}

/// The rules of getxattr(2) for lengths and buffers.
fn attribute(len: usize, size: u32, room: usize) -> Answer {
    match size {
        _ if len > XATTR_BYTES_MAX => Err(Error::new(Kind::Os(Errno::E2BIG))),
        0 => Ok(Reply::Length(len)),
        _ if len > room => Err(Error::new(Kind::OutOfRange)),
        _ => Ok(Reply::Bytes(len)),
    }
}
