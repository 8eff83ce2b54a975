//! What a session is to a transport beside the first: the same file system, nodes and open files, without their
//! types.
//!
//! The first transport, the kernel's, makes the session. Guests come and go. Their requests run on queues of
//! their own, their lookups are counted and their files opened in the same tables.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use wharf_mem::{Data, Lease};

use crate::context::{Context, Host, Surroundings};
use crate::error::{Errno, Error, Kind};
use crate::notice::{Notice, Notifier};
use crate::{
    Cache, Caller, Capabilities, FileSystem, HandleId, IoctlDone, Limits, NodeId, Opened, Source, op,
};

use super::handles::OpenFile;
use super::queue::{Ended, SlotQueue, Work};
use super::{Doorbell, ListForm, Protocol, Queue, Ready, Reply, Request, Session, dispatch};

/// What a guest knows better than the session: the form of its requests and listings.
pub trait Guest: ListForm + 'static {
    /// As [`Protocol::decode`].
    ///
    /// # Errors
    /// The number to answer with, for whatever is not a valid request.
    fn decode<'a>(
        &'a self,
        head: &'a [u8],
        data: Option<Data<'a>>,
    ) -> std::result::Result<Request<'a>, Errno>;
}

/// Who a request is from.
#[derive(Clone, Copy)]
pub(super) enum Asker<'a> {
    /// The transport that the session was made with.
    First,
    /// One beside it.
    Guest(&'a Arc<dyn Guest>),
}

/// A session, for transports beside the first.
pub trait Serve: Send + Sync + 'static {
    /// A queue for one thread of a guest's.
    fn guest_queue(
        self: Arc<Self>,
        guest: Arc<dyn Guest>,
        slots_max: usize,
        host: Arc<dyn Host>,
        doorbell: Box<dyn Doorbell>,
    ) -> (Box<dyn Queue + Send>, Arc<Ready>);

    /// A guest gives `count` lookups of a node back.
    fn forget(&self, node: NodeId, count: u64);

    /// Counts one lookup more of a node that is known, so that it stays so. Returns its inode number.
    fn hold(&self, node: NodeId) -> Option<u64>;

    /// The inode number of a node.
    fn inode(&self, node: NodeId) -> Option<u64>;

    /// Where the bytes of an open file are.
    fn source(&self, handle: HandleId) -> Option<Source>;

    /// The limits.
    fn limits(&self) -> &Limits;

    /// What the file system declared.
    fn capabilities(&self) -> Capabilities;

    /// Where notices for this volume are sent.
    fn notifier(&self) -> &Notifier;

    /// Nodes and open files that are known now.
    fn counts(&self) -> (usize, usize);

    /// Tells whether somebody has the file open for writing by way of the first transport. Nobody begins or ends to
    /// meanwhile, so what is told here and what [`Watch::written`] tells come in order.
    fn written(&self, inode: u64, tell: &mut dyn FnMut(bool));

    /// Has `watch` told of every change from now on. The first who asks, stays.
    fn watch(&self, watch: Arc<dyn Watch>);

    /// Has `tickets` asked when somebody wants the direct path to a file. The first who asks, stays.
    fn tickets(&self, tickets: Arc<dyn Tickets>);
}

/// Is told of every change of contents and of names, whoever made it: after it was made, before anybody is told so.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Bytes of a file changed, and perhaps its size.
    fn changed(&self, inode: u64, range: Range<u64>);

    /// Somebody has the file open for writing by way of the first transport, where bytes can be stored that nobody hears
    /// of at once; told before he can. Or nobody has any more, and all that was stored has been written.
    fn written(&self, inode: u64, by_somebody: bool);

    /// Names of a directory begin to change, or the operation that changes them has ended; told before it is answered, and
    /// whatever came of it.
    fn names(&self, directory: u64, begins: bool);

    /// The file system sends a notice: something has changed of which nobody heard.
    fn noticed(&self, notice: &Notice);
}

/// A file that somebody has open in the first transport, opened once more for a guest.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The node. One lookup has been counted for it.
    pub node: NodeId,
    /// The guest's own handle.
    pub handle: HandleId,
    /// Its inode number.
    pub inode: u64,
    /// As which user it was opened.
    pub uid: u32,
    /// Whether it may be written to.
    pub writes: bool,
    /// Whether its contents may be kept from one read to the next.
    pub keeps: bool,
}

/// Gives out tickets to open files.
pub trait Tickets: fmt::Debug + Send + Sync {
    /// Makes a ticket that whoever presents it may use `pass` by. `None`, and the pass is given back, when there is
    /// no room.
    fn issue(&self, pass: Pass) -> Option<[u8; TICKET_BYTES]>;
}

/// Bytes of a ticket as the ioctl hands it out.
pub const TICKET_BYTES: usize = 256;

/// The ioctl by which an open file is asked for a ticket: `_IOR('W', 0x77, [u8; 256])`.
pub const TICKET_COMMAND: u32 = 2 << 30 | (TICKET_BYTES as u32) << 16 | (b'W' as u32) << 8 | 0x77;

impl<F: FileSystem, P: Protocol> Serve for Session<F, P> {
    fn guest_queue(
        self: Arc<Self>,
        guest: Arc<dyn Guest>,
        slots_max: usize,
        host: Arc<dyn Host>,
        doorbell: Box<dyn Doorbell>,
    ) -> (Box<dyn Queue + Send>, Arc<Ready>) {
        let surroundings = Arc::new(Surroundings { host, notifier: self.notifier.clone() });
        let kept = self.limits.slots_kept as usize;
        let around = self.around.clone();
        let shared = (self, surroundings, guest);
        let queue = SlotQueue::new(shared, run::<F, P>, around, (kept, slots_max), doorbell);
        let ready = queue.ready().clone();
        (Box::new(queue), ready)
    }

    fn forget(&self, node: NodeId, count: u64) {
        self.nodes.forget(node, count);
    }

    fn hold(&self, node: NodeId) -> Option<u64> {
        self.nodes.hold(node)
    }

    fn inode(&self, node: NodeId) -> Option<u64> {
        self.nodes.inode(node)
    }

    fn source(&self, handle: HandleId) -> Option<Source> {
        self.handles.get(handle).map(|open| open.source.clone())
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    fn counts(&self) -> (usize, usize) {
        (self.nodes.len(), self.handles.len())
    }

    fn written(&self, inode: u64, tell: &mut dyn FnMut(bool)) {
        if self.capabilities.contains(Capabilities::STATELESS_FILES) {
            // Nobody says who opens what.
            tell(true);
        } else {
            self.writers.look(inode, tell);
        }
    }

    fn watch(&self, watch: Arc<dyn Watch>) {
        self.notifier.watch(watch);
    }

    fn tickets(&self, tickets: Arc<dyn Tickets>) {
        let _ = self.tickets.set(tickets);
    }
}

/// What the operations of one queue share.
type Shared<F, P> = (Arc<Session<F, P>>, Arc<Surroundings>, Arc<dyn Guest>);

/// The future of one operation of a guest's.
fn run<F: FileSystem, P: Protocol>(shared: Arc<Shared<F, P>>, work: Work) -> impl Future<Output = Ended> {
    // Taken apart here, because the future would keep what it is given beside what it makes of it.
    let Work { request, head, data, mut lease, cancellation } = work;
    async move {
        let (session, surroundings, guest) = &*shared;
        let result = async {
            let surroundings = surroundings.clone();
            let cx = |caller| Context { request, caller, cancellation, surroundings };
            let asker = Asker::Guest(guest);
            if let Some(len) = data {
                let bytes = dispatch::data(&mut lease, len)?;
                let (name, admitted) = session.admit(guest.decode(&head, Some(bytes))?)?;
                let cx = cx(admitted.caller);
                let answer = session.dispatch(&cx, admitted, None, asker).await;
                answer.map_err(|error| dispatch::told(error, name, &cx))
            } else {
                let (name, admitted) = session.admit(guest.decode(&head, None)?)?;
                let cx = cx(admitted.caller);
                let answer = session.dispatch(&cx, admitted, Some(&mut lease), asker).await;
                answer.map_err(|error| dispatch::told(error, name, &cx))
            }
        }
        .await;
        (result, head)
    }
}

impl<F: FileSystem, P: Protocol> Session<F, P> {
    /// Tells whoever watches that contents changed, and if a guest changed them, the first transport too.
    ///
    /// The guest waits until that has heard of it: what was written is read from then on, everywhere. It holds
    /// nothing of the kernel's meanwhile, so nobody waits for it.
    pub(super) async fn changed(&self, node: NodeId, range: Range<u64>, asker: Asker<'_>) {
        if matches!(asker, Asker::First) && !self.notifier.is_watched() {
            return;
        }
        let Some(inode) = self.nodes.inode(node) else { return };
        match asker {
            Asker::First => self.notifier.changed(inode, &range),
            Asker::Guest(_) => {
                // Where nobody takes notices the first transport keeps nothing.
                let _ = self.notifier.send(Notice::Contents { inode, range }).await;
            }
        }
    }

    /// Makes a change of names in one directory or two, of which whoever watches is told.
    pub(super) async fn renaming<T>(
        &self,
        directories: [Option<NodeId>; 2],
        change: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !self.notifier.is_watched() {
            return change.await;
        }
        // Also when the author's code panics or is given up.
        let _renaming = Renaming::begin(self, directories);
        change.await
    }

    /// Answers the ioctl that asks for a ticket: opens the file once more, as it is open, for whoever will
    /// present it.
    pub(super) async fn ticket(
        &self,
        cx: &Context,
        id: NodeId,
        handle: HandleId,
        lease: Option<&mut Lease>,
    ) -> Result<Reply, Error> {
        // The kernel keeps changes to itself for a time, of which nobody hears.
        if self.capabilities.contains(Capabilities::WRITEBACK) {
            return Err(Error::new(Kind::Os(Errno::ENOTTY)));
        }
        let tickets = self.tickets.get().ok_or(Error::new(Kind::Os(Errno::ENOTTY)))?;
        let mut window = dispatch::window(lease, TICKET_BYTES)?;
        if window.len() < TICKET_BYTES {
            return Err(Error::new(Kind::Invalid));
        }
        let node = self.node(id)?;
        if handle == HandleId(0) && self.capabilities.contains(Capabilities::STATELESS_FILES) {
            // In a box, or every operation had room for it.
            Box::pin(self.may_read_unopened(cx, &node)).await?;
            let inode = self.nodes.hold(id).ok_or(Error::new(Kind::Stale))?;
            let pass = Pass { node: id, handle, inode, uid: cx.caller().uid, writes: false, keeps: true };
            let ticket = tickets.issue(pass).ok_or(Error::new(Kind::Busy));
            let ticket = ticket.inspect_err(|_| self.nodes.forget(id, 1))?;
            return Ok(Reply::Ioctl(IoctlDone { result: 0, bytes: window.put(&ticket) }));
        }
        let open = self.handles.get(handle).filter(|open| !open.directory && open.node == id);
        let flags = open.ok_or(Error::new(Kind::Os(Errno::EBADF)))?.flags;
        if !flags.reads() {
            return Err(Error::new(Kind::Os(Errno::EBADF)));
        }
        let inode = self.nodes.hold(id).ok_or(Error::new(Kind::Stale))?;
        let op = op::Open { flags: flags & op::OpenFlags::READ_WRITE, kill_privileges: false };
        let opened = self.fs.open(cx, &node, op).await;
        let opened = opened.inspect_err(|_| self.nodes.forget(id, 1))?;
        let keeps = opened.cache != Cache::Direct && !opened.stream;
        let handle = self.handles.insert(guest_file(id, op.flags, opened));
        let pass = Pass { node: id, handle, inode, uid: cx.caller().uid, writes: op.flags.writes(), keeps };
        let Some(ticket) = tickets.issue(pass) else {
            if let Some(open) = self.handles.remove(handle) {
                let op = op::Release { flags: op.flags, owner: None, unlock_flock: false };
                self.fs.release(cx, &open.file, op).await;
            }
            self.nodes.forget(id, 1);
            return Err(Error::new(Kind::Busy));
        };
        Ok(Reply::Ioctl(IoctlDone { result: 0, bytes: window.put(&ticket) }))
    }
}

impl<F: FileSystem, P: Protocol> Session<F, P> {
    /// Whether a file may be read that was opened without a question, so that nobody here knows what for: if nothing
    /// can be written in the volume, and the caller may read the file whatever he opened it for.
    async fn may_read_unopened(&self, cx: &Context, node: &F::Node) -> Result<(), Error> {
        let refused = || Error::new(Kind::Os(Errno::ENOTTY));
        if self.capabilities.contains(Capabilities::WRITE) {
            return Err(refused());
        }
        let attributes = self.fs.getattr(cx, node, None).await?;
        let Caller { uid, gid, .. } = cx.caller();
        // Of other groups that the caller is in, nothing is known here: it has less rights then.
        let needed = match () {
            () if uid == attributes.uid => 0o400,
            () if gid == attributes.gid => 0o040,
            () => 0o004,
        };
        if uid == 0 || attributes.permissions & needed != 0 { Ok(()) } else { Err(refused()) }
    }
}

/// Names of these directories change until it is dropped.
struct Renaming<'a, F: FileSystem, P: Protocol> {
    session: &'a Session<F, P>,
    directories: [Option<(NodeId, Option<u64>)>; 2],
}

impl<'a, F: FileSystem, P: Protocol> Renaming<'a, F, P> {
    fn begin(session: &'a Session<F, P>, nodes: [Option<NodeId>; 2]) -> Renaming<'a, F, P> {
        let directories = nodes.map(|node| node.map(|node| (node, session.nodes.inode(node))));
        for inode in directories.iter().flatten().filter_map(|(_, inode)| *inode) {
            session.notifier.names(inode, true);
        }
        Renaming { session, directories }
    }
}

impl<F: FileSystem, P: Protocol> Drop for Renaming<'_, F, P> {
    fn drop(&mut self) {
        let Session { notifier, nodes, .. } = self.session;
        for (node, told) in self.directories.into_iter().flatten() {
            // The root's number may have become known meanwhile: then somebody may have listed it.
            let late = if told.is_none() { nodes.inode(node) } else { None };
            if let Some(inode) = late {
                notifier.names(inode, true);
            }
            if let Some(inode) = told.or(late) {
                notifier.names(inode, false);
            }
        }
    }
}

/// An open file of which the first transport knows nothing.
pub(super) fn guest_file<F>(node: NodeId, flags: op::OpenFlags, opened: Opened<F>) -> OpenFile<F> {
    let Opened { file, source, .. } = opened;
    let writes = AtomicU64::new(0);
    OpenFile { file, node, directory: false, flags, writes, guest: true, source, backing: None }
}
