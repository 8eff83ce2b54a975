//! The transport `dev`: requests read from `/dev/fuse`, answers written to it.
//!
//! One thread per CPU, each with descriptors of its own. Reading blocks while nothing is pending, which
//! is one system call a request; as soon as an operation is pending the thread waits for the device and
//! its doorbell together, and reads without blocking.
//!
//! Beside `uring` one thread of this kind reads what the kernel sends only here. Little of that is urgent, so it
//! comes to look in intervals while there is something: who unlinks a file need not pay for waking it.

mod payloads;

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno as Os;
use wharf::session::{Arrival, Completion, Queue};
use wharf::{Errno, FileSystem, RequestId};
use wharf_mem::Payload;
use wharf_queue::{Bell, Ending, IoRing, Phase, QueueHost};

use crate::control::{Controls, Handling};
use crate::wire;

use payloads::Payloads;

/// What is read apart from a write's bytes: its header and `fuse_write_in`. All that is longer in other
/// requests follows in the payload, and is put together again.
const HEAD_BYTES: usize = 80;

/// How long the thread beside `uring` stays away from the device after it was told something. An interrupt may
/// have to wait so long.
const REST: Timespec = Timespec { tv_sec: 0, tv_nsec: 4_000_000 };

/// The two descriptors of one thread. An answer goes back the way its request came.
pub(crate) struct Lines {
    /// For reading while nothing is pending. Does not block if it is the only one.
    pub(crate) blocking: Arc<OwnedFd>,
    /// The same queue of the kernel's, with `O_NONBLOCK`. `None` where the device cannot be cloned.
    pub(crate) polling: Option<OwnedFd>,
}

const BLOCKING: u64 = 0;
const POLLING: u64 = 1;

impl Lines {
    fn of(&self, tag: u64) -> BorrowedFd<'_> {
        match &self.polling {
            Some(polling) if tag == POLLING => polling.as_fd(),
            _ => self.blocking.as_fd(),
        }
    }
}

/// What one thread needs, beside its queue.
pub(crate) struct Parts<F: FileSystem> {
    pub(crate) lines: Lines,
    pub(crate) controls: Arc<Controls<F>>,
    pub(crate) host: Arc<QueueHost>,
    pub(crate) bell: Bell,
    pub(crate) ending: Arc<Ending>,
    pub(crate) payloads_bytes_max: usize,
    /// Requests come another way; here the kernel tells of nodes forgotten and callers gone.
    pub(crate) beside_rings: bool,
}

/// One thread's loop.
pub(crate) struct Server<F: FileSystem, Q> {
    parts: Parts<F>,
    queue: Q,
    payloads: Payloads,
    heads: Vec<Vec<u8>>,
    /// Into which the next request is read.
    next: Option<Payload>,
    io: IoRing,
    connected: bool,
    /// The kernel has told something, and more of it may wait a little.
    resting: bool,
    trimmed: Instant,
}

/// What a look at the device brought.
enum Fetched {
    Arrival(Arrival),
    /// Something that needs no operation.
    Handled,
    Nothing,
}

impl<F: FileSystem, Q: Queue> Server<F, Q> {
    pub(crate) fn new(parts: Parts<F>, queue: Q) -> Server<F, Q> {
        let largest = largest_payload(parts.controls.session.protocol().terms());
        let payloads = Payloads::new(largest, parts.payloads_bytes_max);
        let io = IoRing::new(Some(parts.bell.clone()));
        Server {
            parts,
            queue,
            payloads,
            heads: Vec::new(),
            next: None,
            io,
            connected: true,
            resting: false,
            trimmed: Instant::now(),
        }
    }

    /// Serves until the connection has ended and nothing is pending, or the end is enforced.
    pub(crate) fn run(mut self) {
        while self.connected || self.queue.pending() > 0 {
            self.queue.take_wakes();
            let fetched = self.fetch();
            let idle = matches!(fetched, Fetched::Nothing);
            self.resting |= self.parts.beside_rings && matches!(fetched, Fetched::Handled);
            if let Fetched::Arrival(arrival) = fetched
                && let Some(completion) = self.queue.begin(arrival)
            {
                self.answer(completion);
            }
            let advanced = self.advance();
            self.io.turn(&self.parts.host);
            if self.parts.ending.phase() > Phase::Serve && self.end() {
                break;
            }
            let over = !self.connected && self.queue.pending() == 0;
            if idle && !advanced && !over {
                self.sleep();
            }
        }
    }

    /// Polls what was woken. True if anything ended.
    fn advance(&mut self) -> bool {
        let mut ended = Vec::new();
        self.queue.advance(&mut |completion| ended.push(completion));
        let any = !ended.is_empty();
        ended.into_iter().for_each(|completion| self.answer(completion));
        any
    }

    fn fetch(&mut self) -> Fetched {
        if !self.connected || !self.has_room() {
            return Fetched::Nothing;
        }
        let quiet = self.queue.pending() == 0 && self.io.in_flight() == 0 && self.queue.spare() == 0;
        let tag =
            if (quiet && !self.resting) || self.parts.lines.polling.is_none() { BLOCKING } else { POLLING };
        match self.read(tag) {
            Ok(fetched) => fetched,
            Err(Os::AGAIN | Os::INTR | Os::NOENT) => Fetched::Nothing,
            Err(error) => {
                if error != Os::NODEV {
                    log::error!("reading requests from the kernel failed: {error}");
                }
                self.connected = false;
                Fetched::Nothing
            }
        }
    }

    fn has_room(&self) -> bool {
        // One payload waits for the next request all the time, whatever the limit is.
        let waiting = self.next.as_ref().map_or(0, Payload::len);
        self.queue.has_room() && self.payloads.has_room_beside(waiting)
    }

    fn read(&mut self, tag: u64) -> Result<Fetched, Os> {
        let session = &self.parts.controls.session;
        let largest = largest_payload(session.protocol().terms());
        let mut payload = match self.next.take() {
            Some(payload) => payload,
            None => self.payloads.take(largest).map_err(|_| Os::NOMEM)?,
        };
        let mut head = self.heads.pop().unwrap_or_default();
        head.clear();
        head.resize(HEAD_BYTES, 0);
        let result = match payload.bytes_mut() {
            Some(bytes) => {
                let mut parts = [IoSliceMut::new(&mut head), IoSliceMut::new(bytes)];
                rustix::io::readv(self.parts.lines.of(tag), &mut parts)
            }
            None => Err(Os::IO),
        };
        let count = match result {
            Ok(count) => count,
            Err(error) => {
                self.heads.push(head);
                self.next = Some(payload);
                return Err(error);
            }
        };
        let spill = count.saturating_sub(HEAD_BYTES);
        head.truncate(count);
        let Some(header) = wire::header(&head) else {
            log::error!("the kernel sent {count} bytes, which is no request");
            self.heads.push(head);
            self.next = Some(payload);
            return Ok(Fetched::Handled);
        };
        let data = (header.opcode == Ok(wire::Opcode::Write)).then_some(spill);
        if data.is_none()
            && let Some(bytes) = payload.bytes_mut()
        {
            head.extend_from_slice(&bytes[..spill]);
        }
        let request = header.unique;
        match self.parts.controls.handle(&header, &head) {
            Handling::Begin => {}
            Handling::Done => {
                self.heads.push(head);
                self.next = Some(payload);
                return Ok(Fetched::Handled);
            }
            Handling::Refuse(errno) => {
                self.refuse(tag, request, errno);
                self.heads.push(head);
                self.next = Some(payload);
                return Ok(Fetched::Handled);
            }
        }
        if data.is_none() {
            let room = wire::reply_room(&head, self.parts.controls.session.protocol().terms());
            self.next = Some(payload);
            payload = match self.payloads.take(room) {
                Ok(payload) => payload,
                Err(_) => {
                    self.refuse(tag, request, Errno::ENOMEM);
                    return Ok(Fetched::Handled);
                }
            };
        }
        let name = header.opcode.map_or("an unknown operation", wire::Opcode::name);
        Ok(Fetched::Arrival(Arrival { tag, request, name, head, data, payload }))
    }

    fn refuse(&self, tag: u64, request: RequestId, errno: Errno) {
        let header = wire::out_header(request, Some(errno), 0);
        let _ = rustix::io::write(self.parts.lines.of(tag), &header);
    }

    /// Sends an answer, and keeps what can be used again.
    fn answer(&mut self, completion: Completion) {
        let Completion { tag, request, result, mut payload, head } = completion;
        let session = &self.parts.controls.session;
        let sent = match &result {
            Err(errno) => {
                let header = wire::out_header(request, Some(*errno), 0);
                rustix::io::write(self.parts.lines.of(tag), &header)
            }
            Ok(reply) => {
                let encoded = wire::encode(reply, session.protocol().terms());
                let count = encoded.payload_bytes();
                let header = wire::out_header(request, None, encoded.fixed().len() + count);
                let bytes = match payload.bytes_mut() {
                    Some(bytes) => &bytes[..count.min(bytes.len())],
                    None => &[],
                };
                let parts = [IoSlice::new(&header), IoSlice::new(encoded.fixed()), IoSlice::new(bytes)];
                rustix::io::writev(self.parts.lines.of(tag), &parts)
            }
        };
        if let Err(error) = sent {
            // ENOENT: the caller was gone, with the request. ENODEV: so is the mount.
            if !matches!(error, Os::NOENT | Os::NODEV) {
                log::error!("answering {request} failed: {error}");
                self.refuse(tag, request, Errno::EIO);
            }
            if let Ok(reply) = &result {
                session.undo(reply);
            }
        }
        self.payloads.give_back(payload);
        if head.capacity() > 0 {
            self.heads.push(head);
        }
    }

    fn sleep(&mut self) {
        if !self.queue.may_sleep() || self.parts.host.has_left() {
            self.queue.woke();
            return;
        }
        let idle = Duration::from_millis(self.parts.controls.session.limits().slot_idle_ms.into());
        let spare = self.queue.spare() > 0;
        let timeout = Timespec { tv_sec: idle.as_secs() as i64, tv_nsec: idle.subsec_nanos().into() };
        let line = self.parts.lines.of(POLLING);
        let mut fds =
            [PollFd::new(&self.parts.bell, PollFlags::IN), PollFd::from_borrowed_fd(line, PollFlags::IN)];
        // A closed connection is always readable, and at a limit nothing is fetched: the bell alone then.
        let resting = std::mem::take(&mut self.resting);
        let fetches = self.connected && self.has_room() && !resting;
        let watched = if fetches { &mut fds[..] } else { &mut fds[..1] };
        let timeout = if resting { Some(&REST) } else { spare.then_some(&timeout) };
        let polled = poll(watched, timeout);
        self.queue.woke();
        self.parts.bell.silence();
        if spare && ((matches!(polled, Ok(0)) && !resting) || self.trimmed.elapsed() > idle) {
            self.trimmed = Instant::now();
            self.queue.trim();
            self.payloads.trim();
            self.heads.truncate(self.queue.pending() + 8);
        }
    }

    /// Carries out an enforced end. True when there is nothing more to do.
    fn end(&mut self) -> bool {
        let mut given_up = Vec::new();
        let over = self.parts.ending.enforce(&mut self.queue, &mut |completion| given_up.push(completion));
        given_up.into_iter().for_each(|completion| self.answer(completion));
        over
    }
}

/// Room for the largest request behind its head: a write, or an extended attribute with its name.
fn largest_payload(terms: &wire::Terms) -> usize {
    (terms.payload_bytes as usize).max(128 * 1024)
}

/// A clone of the device that does not block.
pub(crate) fn polling_line(device: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let line = crate::device::clone(device)?;
    let flags = rustix::fs::fcntl_getfl(&line)?;
    rustix::fs::fcntl_setfl(&line, flags | rustix::fs::OFlags::NONBLOCK)?;
    Ok(line)
}
