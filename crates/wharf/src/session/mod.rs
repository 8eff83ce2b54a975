//! One volume as a state machine, for those who write transports: requests in, completions out.
//!
//! Nothing here reads a descriptor, a clock or a global, so a test can play any history.
//!
//! - [`Session`] is what all queues of a volume share: the file system, the tables of nodes and open files.
//! - [`Queue`] is one thread's share of the work: [`begin`](Queue::begin) an operation, which polls it once
//!   in place; [`advance`](Queue::advance) those that were woken; send each [`Completion`].
//! - [`Protocol`] is what a transport knows better: the form of requests, of listings, of backing files.
//!
//! Invariants: every arrival gets one completion. Author code runs inside `begin`, `advance` and
//! `abandon` of its own queue, nowhere else. No lock is held while it runs.

mod caught;
mod changes;
mod dispatch;
mod guest;
mod handles;
mod listing;
mod nodes;
mod operation;
mod queue;
mod ready;
mod reply;
mod scatter;
mod sieve;
mod writers;

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use wharf_mem::Data;

use crate::context::{Context, Host, Surroundings};
use crate::error::{Errno, Error, Result};
use crate::notice::Notifier;
use crate::{Caller, Capabilities, Defaults, FileSystem, Limits, NodeId, RequestId, op};

pub use guest::{Guest, Pass, Serve, TICKET_BYTES, TICKET_COMMAND, Tickets, Watch};
pub use listing::{EntryForm, Line, ListForm, Listing};
pub use operation::Operation;
pub use queue::{Arrival, Queue};
pub use ready::{Doorbell, Ready};
pub use reply::{BackingId, Completion, EntryReply, OpenReply, Passed, Reply, Request};

use caught::{caught, drop_caught};
use guest::Asker;
use handles::Handles;
use nodes::Nodes;
use queue::{Ended, SlotQueue, Work};
use writers::Writers;

pub(crate) use sieve::Sieve;

/// What is run around every batch of polls: enters an author's runtime, say.
pub type Around = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// What a transport knows better than the session.
pub trait Protocol: ListForm + 'static {
    /// Makes a request of its bytes.
    ///
    /// `data` is there if the arrival said so, and must then be used.
    ///
    /// # Errors
    /// The number to answer with, for whatever is not a valid request.
    fn decode<'a>(
        &'a self,
        head: &'a [u8],
        data: Option<Data<'a>>,
    ) -> std::result::Result<Request<'a>, Errno>;

    /// A file is being opened whose bytes are in `backing`: may the kernel read and write that by itself?
    fn backing_open(&self, node: NodeId, backing: &OwnedFd) -> Passed;

    /// A file is being opened whose bytes come from the file system.
    fn handler_open(&self, node: NodeId) -> Passed;

    /// An open file has gone, that had this backing.
    fn closed(&self, node: NodeId, backing: Option<BackingId>);
}

/// What a volume is built from, beside the file system and the protocol.
#[derive(Clone, Default)]
pub struct Setup {
    /// Its limits.
    pub limits: Limits,
    /// What it answers where the file system leaves it open.
    pub defaults: Defaults,
    /// Run around polls.
    pub around: Option<Around>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("limits", &self.limits).field("defaults", &self.defaults).finish()
    }
}

/// What all queues of a volume share.
pub struct Session<F: FileSystem, P> {
    fs: Arc<F>,
    protocol: Arc<P>,
    /// The protocol again, as the part of it that knows listings.
    list_form: Arc<dyn ListForm>,
    capabilities: Capabilities,
    limits: Limits,
    defaults: Defaults,
    around: Option<Around>,
    nodes: Nodes<F::Node>,
    handles: Handles<F::File>,
    writers: Writers,
    notifier: Notifier,
    tickets: OnceLock<Arc<dyn Tickets>>,
}

impl<F: FileSystem, P: Protocol> Session<F, P> {
    /// A session for `fs`. It has not been [started](Self::start).
    pub fn new(fs: impl Into<Arc<F>>, protocol: P, setup: Setup) -> Arc<Session<F, P>> {
        let Setup { limits, defaults, around } = setup;
        let (fs, protocol) = (fs.into(), Arc::new(protocol));
        Arc::new(Session {
            capabilities: fs.capabilities(),
            nodes: Nodes::new(fs.root()),
            handles: Handles::new(),
            writers: Writers::default(),
            notifier: Notifier::new(limits.notices_max),
            tickets: OnceLock::new(),
            fs,
            list_form: protocol.clone(),
            protocol,
            limits,
            defaults,
            around,
        })
    }

    /// Starts the file system and learns the root's inode number. To be awaited before the first arrival.
    ///
    /// # Errors
    /// What the file system says; the volume cannot be served then.
    pub async fn start(&self, host: Arc<dyn Host>) -> Result<()> {
        let started = caught("starting", self.fs.start()).await;
        started.unwrap_or_else(|| Err(Error::io("starting the file system: it panicked")))?;
        self.learn_root(host).await
    }

    /// Learns the root's inode number, of a file system that was started otherwise.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn learn_root(&self, host: Arc<dyn Host>) -> Result<()> {
        let cx = self.inner_context(host);
        let root = self.fs.root();
        let attributes = self.fs.getattr(&cx, &root, None).await?;
        self.nodes.root_is(attributes.inode);
        Ok(())
    }

    /// Releases every file that is still open, forgets every node and shuts the file system down. To be
    /// awaited once, after the last queue has ended.
    pub async fn close(&self, host: Arc<dyn Host>) {
        let cx = self.inner_context(host);
        for open in self.handles.drain() {
            let op = op::Release { flags: op::OpenFlags::empty(), owner: None, unlock_flock: true };
            caught("release", self.released(&cx, &open, op)).await;
            drop_caught(open);
        }
        self.nodes.clear();
        self.notifier.close();
        caught("shutdown", self.fs.shutdown()).await;
    }

    /// The queue for one thread. Requests are shared out evenly: it takes up to `slots_max` at a time.
    pub fn queue(
        self: &Arc<Self>,
        slots_max: usize,
        host: Arc<dyn Host>,
        doorbell: Box<dyn Doorbell>,
    ) -> (impl Queue + Send + use<F, P>, Arc<Ready>) {
        let surroundings = Arc::new(Surroundings { host, notifier: self.notifier.clone() });
        let kept = self.limits.slots_kept as usize;
        let shared = (self.clone(), surroundings);
        let queue = SlotQueue::new(shared, run::<F, P>, self.around.clone(), (kept, slots_max), doorbell);
        let ready = queue.ready().clone();
        (queue, ready)
    }

    /// The kernel gives `count` lookups of a node back.
    pub fn forget(&self, node: NodeId, count: u64) {
        self.nodes.forget(node, count);
    }

    /// Takes back a reply that could not be delivered: its lookups were never seen, and nobody writes by what it opened.
    ///
    /// What it opened is released when the volume closes.
    pub fn undo(&self, reply: &Reply) {
        if let Reply::Opened(open) | Reply::Created(_, open) = reply
            && let Some(open) = self.handles.get(open.handle)
        {
            self.writes_no_more(&open);
        }
        if let Reply::Entry(entry) | Reply::Created(entry, _) = reply {
            self.nodes.forget(entry.node, 1);
        }
    }

    /// What the file system declared.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The transport's own part.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// Where notices for this volume are sent.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// The id under which the kernel knows an inode number, if it does.
    pub fn node_of(&self, inode: u64) -> Option<NodeId> {
        self.nodes.find(inode)
    }

    /// Nodes and open files that are known now.
    pub fn counts(&self) -> (usize, usize) {
        (self.nodes.len(), self.handles.len())
    }

    fn inner_context(&self, host: Arc<dyn Host>) -> Context {
        Context {
            request: RequestId(0),
            caller: Caller::KERNEL,
            cancellation: Arc::<crate::context::Flight>::default().begin(),
            surroundings: Arc::new(Surroundings { host, notifier: self.notifier.clone() }),
        }
    }
}

impl<F: FileSystem, P> fmt::Debug for Session<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("capabilities", &self.capabilities).finish_non_exhaustive()
    }
}

/// Makes other queues' pending operations learn that a caller gave up.
pub fn interrupt(queues: &[Arc<Ready>], request: RequestId) {
    queues.iter().for_each(|ready| ready.cancel(request));
}

/// What every operation of one queue takes along.
type Shared<F, P> = (Arc<Session<F, P>>, Arc<Surroundings>);

/// The future of one operation. It owns all that the operation borrows.
fn run<F: FileSystem, P: Protocol>(shared: Arc<Shared<F, P>>, work: Work) -> impl Future<Output = Ended> {
    // Taken apart here, because the future would keep what it is given beside what it makes of it.
    let Work { request, head, data, mut lease, cancellation } = work;
    async move {
        let (session, surroundings) = &*shared;
        let result = async {
            // A lease lends either the bytes of a write or a window, so they are told apart before decoding.
            let surroundings = surroundings.clone();
            let cx = |caller| Context { request, caller, cancellation, surroundings };
            if let Some(len) = data {
                let bytes = dispatch::data(&mut lease, len)?;
                let (name, admitted) = session.admit(session.protocol.decode(&head, Some(bytes))?)?;
                let cx = cx(admitted.caller);
                let answer = session.dispatch(&cx, admitted, None, Asker::First).await;
                answer.map_err(|error| dispatch::told(error, name, &cx))
            } else {
                let (name, admitted) = session.admit(session.protocol.decode(&head, None)?)?;
                let cx = cx(admitted.caller);
                let answer = session.dispatch(&cx, admitted, Some(&mut lease), Asker::First).await;
                answer.map_err(|error| dispatch::told(error, name, &cx))
            }
        }
        .await;
        (result, head)
    }
}
