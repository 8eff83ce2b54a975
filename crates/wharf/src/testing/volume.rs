//! A volume without a kernel: one queue, driven by the calling thread.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use wharf_mem::Payload;

use crate::error::{Errno, Result};
use crate::session::{Arrival, Completion, Queue, Ready, Reply, Serve, Session, Setup, interrupt};
use crate::{Caller, FileSystem, Limits, NodeId, Notifier, RequestId};

use super::ask::Ask;
use super::block_on;
use super::host::{Bell, Here, SharedBell};
use super::wire::{Seen, Wire, lines};

/// Bytes that a request of these calls can carry.
const PAYLOAD_BYTES: usize = 128 * 1024;

/// A file system that is served in this process. See the [module](super).
///
/// It plays the kernel's part in counting lookups: [`forget_all`](Self::forget_all) gives back what it was told.
pub struct Volume<F: FileSystem> {
    session: Arc<Session<F, Wire>>,
    queue: Box<dyn Queue + Send>,
    ready: [Arc<Ready>; 1],
    bell: Arc<Bell>,
    host: Arc<Here>,
    /// Buffers to be used again.
    payloads: Vec<Payload>,
    heads: Vec<Vec<u8>>,
    turned: Vec<Completion>,
    ended: HashMap<RequestId, Completion>,
    requests: u64,
    lookups: HashMap<NodeId, u64>,
    caller: Caller,
    patience: Duration,
}

/// What became of a request.
#[derive(Debug)]
pub struct Done {
    /// The reply, or the number of the error.
    pub result: std::result::Result<Reply, Errno>,
    /// The bytes that came with the reply.
    pub bytes: Vec<u8>,
}

impl Done {
    /// The entries, if it was a listing. Lookups of their nodes are counted as seen by
    /// [`Volume::saw`].
    pub fn lines(&self) -> Vec<Seen> {
        lines(&self.bytes)
    }
}

impl<F: FileSystem> Volume<F> {
    /// Starts to serve a file system.
    ///
    /// # Panics
    /// If it does not start; [`with`](Self::with) returns the error.
    pub fn new(fs: F) -> Volume<F> {
        Volume::with(fs, Setup::default()).unwrap_or_else(|error| panic!("starting the volume: {error}"))
    }

    /// Starts to serve a file system with limits and defaults of your own.
    ///
    /// # Errors
    /// What the file system says when it is started.
    pub fn with(fs: F, setup: Setup) -> Result<Volume<F>> {
        let slots_max = setup.limits.requests_max as usize;
        let session = Session::new(fs, Wire::default(), setup);
        let (host, bell) = (Arc::<Here>::default(), Arc::<Bell>::default());
        block_on(session.start(host.clone()))?;
        let (queue, ready) = session.queue(slots_max, host.clone(), Box::new(SharedBell(bell.clone())));
        Ok(Volume {
            session,
            queue: Box::new(queue),
            ready: [ready],
            bell,
            host,
            payloads: Vec::new(),
            heads: Vec::new(),
            turned: Vec::new(),
            ended: HashMap::new(),
            requests: 0,
            lookups: HashMap::new(),
            caller: Caller { uid: 1000, gid: 1000, pid: 1 },
            patience: Duration::from_secs(10),
        })
    }

    /// On whose behalf requests are from now on.
    pub fn caller(&mut self, caller: Caller) {
        self.caller = caller;
    }

    /// The supplementary groups that a process has from now on.
    pub fn groups(&mut self, pid: u32, groups: &[u32]) {
        let mut known = self.host.groups.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(pid, groups.to_vec());
    }

    /// How long a call may take before it panics: 10 seconds, unless told otherwise.
    pub fn patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Begins a request. It has ended already, or is pending.
    pub fn begin(&mut self, ask: &Ask) -> RequestId {
        let mut payload = self.payloads.pop().unwrap_or_else(|| {
            Payload::anonymous(PAYLOAD_BYTES).unwrap_or_else(|error| panic!("memory for a request: {error}"))
        });
        let data = ask.data.as_ref().map(|data| {
            let room = payload.bytes_mut().expect("payloads are kept only while free");
            room.get_mut(..data.len()).expect("a write of 128 KiB at the most").copy_from_slice(data);
            data.len()
        });
        self.requests += 1;
        let request = RequestId(self.requests);
        let mut head = self.heads.pop().unwrap_or_default();
        let caller = ask.caller.unwrap_or(self.caller);
        let tag = self.session.protocol().encode(&ask.shared, caller, &ask.strings, &mut head);
        let arrival = Arrival { tag, request, name: ask.shared.name, head, data, payload };
        if let Some(completion) = self.queue.begin(arrival) {
            self.end(completion);
        }
        request
    }

    /// One turn of the queue: polls what was woken, cancels what was interrupted.
    pub fn turn(&mut self) {
        self.queue.take_wakes();
        let mut turned = std::mem::take(&mut self.turned);
        self.queue.advance(&mut |completion| turned.push(completion));
        turned.drain(..).for_each(|completion| self.end(completion));
        self.turned = turned;
    }

    fn end(&mut self, completion: Completion) {
        self.session.protocol().give_up(completion.tag);
        if let Ok(Reply::Entry(entry) | Reply::Created(entry, _)) = &completion.result {
            self.saw(entry.node);
        }
        self.ended.insert(completion.request, completion);
    }

    /// Requests that have begun and not ended.
    pub fn pending(&self) -> usize {
        self.queue.pending()
    }

    /// The caller of a request gives up. Takes effect with the next [`turn`](Self::turn).
    pub fn interrupt(&self, request: RequestId) {
        interrupt(&self.ready, request);
    }

    /// What became of a request, if it has ended. To be asked once.
    pub fn ended(&mut self, request: RequestId) -> Option<Done> {
        self.take(request, |result, bytes| Done { result, bytes: bytes.to_vec() })
    }

    /// Waits for the end of a request.
    ///
    /// # Panics
    /// If it does not end in [time](Self::patience).
    pub fn wait(&mut self, request: RequestId) -> Done {
        self.wait_with(request, |result, bytes| Done { result, bytes: bytes.to_vec() })
    }

    /// Waits for the end of a request and lends what came of it, bytes included.
    ///
    /// # Panics
    /// If it does not end in [time](Self::patience).
    pub fn wait_with<R>(
        &mut self,
        request: RequestId,
        with: impl FnOnce(std::result::Result<Reply, Errno>, &[u8]) -> R,
    ) -> R {
        let deadline = Instant::now() + self.patience;
        self.run_until(deadline, |volume| volume.ended.contains_key(&request));
        let patience = self.patience;
        self.take(request, with).unwrap_or_else(|| panic!("{request} is still pending after {patience:?}"))
    }

    /// Turns the queue, and sleeps as a transport does, until `enough` or the deadline.
    fn run_until(&mut self, deadline: Instant, enough: impl Fn(&Self) -> bool) {
        while !enough(self) && Instant::now() < deadline {
            self.turn();
            if !enough(self) && self.queue.may_sleep() {
                self.bell.sleep(deadline);
                self.queue.woke();
            }
        }
    }

    fn take<R>(
        &mut self,
        request: RequestId,
        with: impl FnOnce(std::result::Result<Reply, Errno>, &[u8]) -> R,
    ) -> Option<R> {
        let Completion { result, mut payload, head, .. } = self.ended.remove(&request)?;
        let len = match &result {
            Ok(Reply::Bytes(len)) => *len,
            Ok(Reply::Ioctl(done)) => done.bytes,
            _ => 0,
        };
        let bytes = payload.bytes_mut().and_then(|bytes| bytes.get(..len));
        let with = with(result, bytes.unwrap_or_default());
        if payload.is_free() {
            self.payloads.push(payload);
        }
        self.heads.push(head);
        Some(with)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The number that the caller would get.
    pub fn call(&mut self, ask: &Ask) -> std::result::Result<Reply, Errno> {
        let request = self.begin(ask);
        self.wait_with(request, |result, _| result)
    }

    /// Sends a request and waits for the bytes of its answer.
    ///
    /// # Errors
    /// The number that the caller would get.
    pub fn call_for_bytes(&mut self, ask: &Ask) -> std::result::Result<Vec<u8>, Errno> {
        let request = self.begin(ask);
        self.wait_with(request, |result, bytes| result.map(|_| bytes.to_vec()))
    }

    /// Counts a lookup that was told in a listing. Those told as an entry are counted already.
    pub fn saw(&mut self, node: NodeId) {
        if node != NodeId::ROOT {
            *self.lookups.entry(node).or_default() += 1;
        }
    }

    /// Gives lookups of a node back, as the kernel does when it needs the node no longer.
    pub fn forget(&mut self, node: NodeId, count: u64) {
        if let Some(lookups) = self.lookups.get_mut(&node) {
            *lookups = lookups.saturating_sub(count);
        }
        self.lookups.retain(|_, lookups| *lookups > 0);
        self.session.forget(node, count);
    }

    /// Gives every lookup back that was told.
    pub fn forget_all(&mut self) {
        for (node, count) in std::mem::take(&mut self.lookups) {
            self.session.forget(node, count);
        }
    }

    /// Lookups of a node that were told and not given back.
    pub fn lookups(&self, node: NodeId) -> u64 {
        self.lookups.get(&node).copied().unwrap_or_default()
    }

    /// Nodes (beside the root) and open files that the session knows.
    pub fn counts(&self) -> (usize, usize) {
        self.session.counts()
    }

    /// Files of which a transport would know that they are open.
    pub fn files_open(&self) -> usize {
        self.session.protocol().files_open()
    }

    /// Takes back a reply as a transport does that could not deliver it.
    pub fn undo(&mut self, reply: &Reply) {
        if let Reply::Entry(entry) | Reply::Created(entry, _) = reply {
            let lookups = self.lookups.entry(entry.node).or_default();
            *lookups = lookups.saturating_sub(1);
        }
        self.session.undo(reply);
    }

    /// Slots for requests that have memory, in use or not.
    pub fn slots(&self) -> usize {
        self.queue.slots()
    }

    /// Gives back the memory of slots that were not used since the last call, beyond those to be kept.
    pub fn trim(&mut self) {
        self.queue.trim();
    }

    /// Where the file system's notices go. Whoever looks at them takes them with [`Notifier::next`].
    pub fn notifier(&self) -> &Notifier {
        self.session.notifier()
    }

    /// The session, for a transport of your own beside this one.
    pub fn session(&self) -> Arc<dyn Serve> {
        self.session.clone()
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        self.session.limits()
    }

    /// Ends the volume as an unmount does: outstanding requests may end in the time that
    /// [`Limits::drain_ms`] gives them, are cancelled then, given up after [`Limits::cancel_ms`], and the file
    /// system is shut down. Returns how many were given up.
    pub fn unmount(mut self) -> usize {
        let (drain, cancel) = (self.limits().drain(), self.limits().cancel());
        let quiet = |volume: &Self| volume.pending() == 0;
        self.run_until(Instant::now() + drain, quiet);
        if !quiet(&self) {
            self.queue.cancel_all();
            self.run_until(Instant::now() + cancel, quiet);
        }
        let mut given_up = 0;
        self.queue.abandon(&mut |_| given_up += 1);
        block_on(self.session.close(self.host.clone()));
        given_up
    }
}

impl<F: FileSystem> fmt::Debug for Volume<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, files) = self.counts();
        let mut f = f.debug_struct("Volume");
        f.field("nodes", &nodes).field("files", &files).field("pending", &self.pending());
        f.finish_non_exhaustive()
    }
}
