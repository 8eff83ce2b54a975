//! What all threads of a direct server share.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use wharf::notice::Notice;
use wharf::session::{Ready, Serve, Watch};
use wharf::{Caller, HandleId, NodeId, Source};
use wharf_queue::Ending;

use crate::lane::ClientMemory;
use crate::layout::Answer;

use super::cache::{Cache, Shelf, Waiter};
use super::handles::{Handles, Open};
use super::queue::Listing;
use super::snapshots::Snapshots;
use super::tickets::Tickets;

/// Files and directories that one client has open at the most.
pub(super) const HANDLES_MAX: usize = 4096;
/// Nodes that one client knows at the most.
pub(super) const NODES_MAX: usize = 65_536;

/// One volume's direct server, as its threads know it.
pub(super) struct Host {
    pub(super) session: Arc<dyn Serve>,
    pub(super) cache: Arc<Cache>,
    pub(super) snapshots: Arc<Snapshots>,
    /// What is to be kept.
    pub(super) shelf: Arc<Shelf>,
    pub(super) tickets: Arc<Tickets>,
    pub(super) queues: Vec<Post>,
    pub(super) clients: RwLock<Vec<Arc<Client>>>,
    pub(super) ending: Arc<Ending>,
    /// Nobody comes in any more.
    pub(super) closing: AtomicBool,
    /// Everybody has left: queues end when they have nothing to do.
    pub(super) empty: AtomicBool,
    /// Which volume; random.
    pub(super) volume: u64,
    /// The user whose process this is.
    pub(super) owner: u32,
}

impl Host {
    /// Has `waiter`'s queue do something about it.
    pub(super) fn again(&self, waiter: Waiter) {
        if let Some(queue) = self.queues.get(waiter.queue) {
            queue.send(Mail::Again(waiter));
        }
    }

    /// Tells who waited for a block that it is in the section, or has him ask again.
    pub(super) fn kept(&self, waiter: Waiter, there: bool) {
        if let (Some(queue), true) = (self.queues.get(waiter.queue), there) {
            queue.send(Mail::Answer(waiter, Answer::InSection));
        } else {
            self.again(waiter);
        }
    }

    /// An open file or directory, as handles keep it.
    pub(super) fn opened(
        &self,
        node: NodeId,
        handle: HandleId,
        directory: bool,
        writes: bool,
        keeps: bool,
    ) -> Open {
        // Bytes that are a file's or in memory already are kept by those. Where nothing is opened there is no source.
        let ours = match self.session.source(handle) {
            Some(source) => matches!(source, Source::Handler | Source::Extents(_)),
            None => handle == HandleId(0),
        };
        let inode = self.session.inode(node).filter(|_| keeps && ours && !directory);
        let file = inode.map(|inode| {
            let file = self.cache.open(inode);
            // The cache can find it by now: whoever comes and goes from here on is told to it.
            self.session.written(inode, &mut |by_somebody| file.written(by_somebody));
            file
        });
        Open { node, handle, directory, writes, known: keeps && directory, file, holds_node: false }
    }

    /// Has open files closed. Not at once: that is an operation.
    pub(super) fn release(&self, open: Vec<Open>) {
        // Any queue will do.
        if let (Some(queue), false) = (self.queues.first(), open.is_empty()) {
            queue.send(Mail::Release(open));
        }
    }
}

/// Hears of every change.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) cache: Arc<Cache>,
    pub(super) snapshots: Arc<Snapshots>,
}

impl Watch for Watcher {
    fn changed(&self, inode: u64, range: Range<u64>) {
        self.cache.changed(inode, range);
    }

    fn written(&self, inode: u64, by_somebody: bool) {
        self.cache.written(inode, by_somebody);
    }

    fn names(&self, directory: u64, begins: bool) {
        self.snapshots.names(directory, begins);
    }

    fn noticed(&self, notice: &Notice) {
        self.snapshots.noticed(notice);
    }
}

/// Something that a queue is told by another thread.
pub(super) enum Mail {
    /// A client has come.
    Join(Arc<Client>),
    /// A client has gone.
    Leave(u64),
    /// A request that waited is done.
    Answer(Waiter, Answer),
    /// A read that waited is to be planned again.
    Again(Waiter),
    /// A directory is to be listed on, for its snapshot.
    List(Box<Listing>),
    /// These are to be closed.
    Release(Vec<Open>),
}

/// Where a queue finds what it is told.
pub(super) struct Post {
    mail: Mutex<Vec<Mail>>,
    has_mail: AtomicBool,
    ready: Arc<Ready>,
}

impl Post {
    pub(super) fn new(ready: Arc<Ready>) -> Post {
        Post { mail: Mutex::default(), has_mail: AtomicBool::new(false), ready }
    }

    pub(super) fn send(&self, mail: Mail) {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        self.has_mail.store(true, Ordering::SeqCst);
        self.ready.rouse();
    }

    /// Looked at after the queue has announced that it is about to sleep.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_mail.load(Ordering::SeqCst)
    }

    pub(super) fn take(&self, into: &mut Vec<Mail>) {
        if self.has_mail.load(Ordering::Relaxed) && self.has_mail.swap(false, Ordering::SeqCst) {
            into.append(&mut self.mail.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// A process that uses the volume directly.
pub(super) struct Client {
    pub(super) number: u64,
    /// Who it is, as the kernel says.
    pub(super) caller: Caller,
    /// It may use any node, not only files that it has tickets for.
    pub(super) whole: bool,
    pub(super) memory: ClientMemory,
    gone: AtomicBool,
    /// It holds too much for too long: what it holds counts no more, and its connection ends.
    condemned: AtomicBool,
    handles: Mutex<Handles>,
    /// Nodes that it was told of, and how often.
    nodes: Mutex<HashMap<NodeId, u64>>,
}

impl Client {
    pub(super) fn new(number: u64, caller: Caller, whole: bool, memory: ClientMemory) -> Client {
        let (gone, condemned) = (AtomicBool::new(false), AtomicBool::new(false));
        let nodes = Mutex::default();
        let handles = Mutex::new(Handles::new(HANDLES_MAX));
        Client { number, caller, whole, memory, gone, condemned, handles, nodes }
    }

    pub(super) fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<NodeId, u64>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node that it may name.
    pub(super) fn node(&self, raw: u64) -> Option<NodeId> {
        let node = NodeId::new(raw).filter(|_| self.whole)?;
        (node == NodeId::ROOT || self.nodes().contains_key(&node)).then_some(node)
    }

    /// It was told of a node. False if it knows too many already, or has gone.
    pub(super) fn told(&self, node: NodeId) -> bool {
        let mut nodes = self.nodes();
        if self.is_gone() || (nodes.len() >= NODES_MAX && !nodes.contains_key(&node)) {
            return false;
        }
        *nodes.entry(node).or_default() += 1;
        true
    }

    /// It gives lookups back. Returns how many it had of these.
    pub(super) fn forgets(&self, node: NodeId, count: u64) -> u64 {
        let mut nodes = self.nodes();
        let Some(known) = nodes.get_mut(&node) else { return 0 };
        let count = count.min(*known);
        *known -= count;
        if *known == 0 {
            nodes.remove(&node);
        }
        count
    }

    /// Whether it holds this block of a section, and may.
    pub(super) fn pins(&self, section: u64, block: u64) -> bool {
        !self.is_condemned() && self.memory.pins.holds(section, block)
    }

    pub(super) fn condemn(&self) {
        self.condemned.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_condemned(&self) -> bool {
        self.condemned.load(Ordering::SeqCst)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// It has gone. Returns what it leaves: open files, and nodes. Nothing is added from now on.
    pub(super) fn leaves(&self) -> (Vec<Open>, HashMap<NodeId, u64>) {
        self.gone.store(true, Ordering::SeqCst);
        let nodes = std::mem::take(&mut *self.nodes());
        (self.handles().drain(), nodes)
    }
}
