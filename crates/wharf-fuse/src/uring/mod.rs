//! The transport `uring`: requests come and answers go through rings shared with the kernel, one for each
//! possible CPU, each served by a thread that stays on it. Answering and fetching the next is one call.
//!
//! FORGET, INTERRUPT and notices do not come this way: beside these threads one of the `dev` kind reads the device.
//!
//! An idle queue sleeps in the kernel. It never spins: on the CPU of the one who asks that would only be
//! in the way, and on another nothing is waited for.
#![expect(unsafe_code, reason = "entries carry addresses; entries and transfers keep what is behind them")]

mod entry;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::types::{Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use wharf::FileSystem;
use wharf::session::{Arrival, Completion, Queue};
use wharf_queue::{Bell, Ending, Phase, QueueHost, Transfers};

use crate::control::{Controls, Handling};
use crate::wire::{self, Terms};

use entry::{Entry, Incoming};

type Ring = IoUring<squeue::Entry128, cqueue::Entry>;

/// What a completion is about, in the upper half of `user_data`.
const MARK_ENTRY: u64 = 0;
const MARK_BELL: u64 = 1 << 32;
const MARK_TRANSFER: u64 = 2 << 32;

/// The device, among the files that a ring knows: the kernel need not look it up for each answer.
const DEVICE: Fixed = Fixed(0);

const SUBMISSIONS: u32 = 512;

/// More than all that can be in flight: entries, transfers and the bell.
const COMPLETIONS: u32 = 4096;

fn ring() -> io::Result<Ring> {
    // One thread submits, and the kernel's part of a completion runs when that thread asks: no interrupts.
    // Submissions are used in the order they are made, so no list of indices is needed.
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_no_sqarray()
        .setup_cqsize(COMPLETIONS)
        .build(SUBMISSIONS)
}

/// Whether rings as we need them can be made at all; better known before the kernel is promised any.
///
/// # Errors
/// What the kernel says: it may be too old, or io_uring forbidden.
pub(crate) fn probe() -> io::Result<()> {
    ring().map(drop)
}

/// What one thread needs, beside its queue.
pub(crate) struct Parts<F: FileSystem> {
    pub(crate) device: Arc<OwnedFd>,
    /// The kernel's queue, which is a CPU's number.
    pub(crate) number: u16,
    pub(crate) controls: Arc<Controls<F>>,
    pub(crate) host: Arc<QueueHost>,
    pub(crate) bell: Bell,
    pub(crate) ending: Arc<Ending>,
}

/// One thread's loop.
pub(crate) struct Server<F: FileSystem, Q> {
    parts: Parts<F>,
    queue: Q,
    rings: Rings,
    heads: Vec<Vec<u8>>,
    /// Entries that came back and were not looked at yet.
    arrived: Vec<u32>,
    /// The list of completions that are being looked at; kept for its memory.
    completed: Vec<(u64, i32, bool)>,
    trimmed: Instant,
}

/// The ring with what the kernel may write to. The ring is dropped first, so it stands first.
struct Rings {
    ring: Ring,
    number: u16,
    entries: Vec<Entry>,
    /// Entries that the kernel has, with or without a request to come.
    with_kernel: usize,
    connected: bool,
    transfers: Transfers,
    bell: Bell,
    taken: Vec<wharf::io::Request>,
    /// Submissions since the last call into the kernel.
    unsent: usize,
    large_pages: bool,
}

impl<F: FileSystem, Q: Queue> Server<F, Q> {
    /// Makes the ring and gives its first entries to the kernel. Must run on the thread that serves.
    ///
    /// # Errors
    /// What the kernel says. The connection has promised rings by now and can only be given up.
    pub(crate) fn start(parts: Parts<F>, queue: Q) -> io::Result<Server<F, Q>> {
        let session = &parts.controls.session;
        let mut rings = Rings {
            ring: ring()?,
            number: parts.number,
            entries: Vec::new(),
            with_kernel: 0,
            connected: true,
            transfers: Transfers::default(),
            bell: parts.bell.clone(),
            taken: Vec::new(),
            unsent: 0,
            large_pages: parts.controls.large_pages,
        };
        rings.ring.submitter().register_files(&[parts.device.as_raw_fd()])?;
        rings.watch_bell();
        // The kernel waits until every queue has an entry, so at least one.
        let limits = session.limits();
        let first = limits.uring_entries_min.min(limits.uring_entries_max).max(1);
        rings.add_entries(first.into(), session.protocol().terms())?;
        rings.submit()?;
        // A refusal comes at once; requests are a matter of later.
        let refusal = rings.ring.completion().find(|completion| completion.result() < 0);
        if let Some(refusal) = refusal {
            return Err(io::Error::from_raw_os_error(-refusal.result()));
        }
        let (heads, arrived, completed) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Server { parts, queue, rings, heads, arrived, completed, trimmed: Instant::now() })
    }

    /// Serves until the connection has ended and nothing is pending, or the end is enforced.
    pub(crate) fn run(mut self) {
        let mut ended = Vec::new();
        loop {
            self.queue.take_wakes();
            let busy = self.harvest();
            self.begin_arrived();
            self.queue.advance(&mut |completion| ended.push(completion));
            ended.drain(..).for_each(|completion| self.answer(completion));
            self.rings.start_transfers(&self.parts.host);
            self.grow();
            if self.parts.ending.phase() > Phase::Serve && self.end() {
                break;
            }
            if !self.rings.connected && self.queue.pending() == 0 && self.rings.transfers.in_flight() == 0 {
                break;
            }
            if let Err(error) = self.wait(busy) {
                log::error!("queue {}: the ring failed: {error}", self.parts.number);
                self.rings.connected = false;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Takes what the kernel completed. True if there was anything.
    fn harvest(&mut self) -> bool {
        let mut any = false;
        let Rings { ring, .. } = &mut self.rings;
        let mut completions = std::mem::take(&mut self.completed);
        completions.extend(ring.completion().map(|completion| {
            (completion.user_data(), completion.result(), cqueue::more(completion.flags()))
        }));
        for (user_data, result, more) in completions.drain(..) {
            any = true;
            let place = user_data as u32;
            match user_data & !u64::from(u32::MAX) {
                MARK_ENTRY => {
                    self.rings.with_kernel -= 1;
                    if result < 0 { self.rings.lost(result) } else { self.arrived.push(place) }
                }
                MARK_BELL => {
                    self.rings.bell.silence();
                    if !more {
                        self.rings.watch_bell();
                    }
                }
                _ => self.rings.transferred(place, result),
            }
        }
        self.completed = completions;
        any
    }

    fn begin_arrived(&mut self) {
        let mut arrived = std::mem::take(&mut self.arrived);
        for place in arrived.drain(..) {
            let mut head = self.heads.pop().unwrap_or_default();
            let Some(entry) = self.rings.entries.get_mut(place as usize) else { continue };
            let Incoming { header, data, payload } = match entry.receive(&mut head) {
                Ok(incoming) => incoming,
                Err(errno) => {
                    log::error!("queue {}: what came is no request: {errno}", self.parts.number);
                    entry.refuse(errno);
                    self.rings.commit(place);
                    continue;
                }
            };
            let tag = u64::from(place);
            let request = header.unique;
            let refused =
                |errno, payload, head| Completion { tag, request, result: Err(errno), payload, head };
            let completion = match self.parts.controls.handle(&header, &head) {
                Handling::Begin => {
                    let name = header.opcode.map_or("an unknown operation", wire::Opcode::name);
                    self.queue.begin(Arrival { tag, request, name, head, data, payload })
                }
                Handling::Done => {
                    // It wants no answer, but the entry has to be committed to bring the next request.
                    let result = Ok(wharf::session::Reply::Nothing);
                    Some(Completion { tag, request, result, payload, head })
                }
                Handling::Refuse(errno) => Some(refused(errno, payload, head)),
            };
            if let Some(completion) = completion {
                self.answer(completion);
            }
        }
        self.arrived = arrived;
    }

    fn answer(&mut self, mut completion: Completion) {
        let place = completion.tag as u32;
        let head = std::mem::take(&mut completion.head);
        if head.capacity() > 0 {
            self.heads.push(head);
        }
        let terms = self.parts.controls.session.protocol().terms();
        // A payload that somebody still holds (an operation was given up) is not for the kernel to write to:
        // its entry stays here for good.
        let free = completion.payload.is_free();
        if let Some(entry) = self.rings.entries.get_mut(place as usize) {
            entry.answer(completion, terms);
            if free {
                self.rings.commit(place);
            }
        }
    }

    /// Gives the kernel more entries before operations hold all there are: a queue must always be able to bring
    /// the request that the pending ones wait for. Early, because the kernel gives a new entry only to a request
    /// that comes after it; those that queued before wait for an entry to be answered.
    fn grow(&mut self) {
        let have = self.rings.entries.len();
        let max = usize::from(self.parts.controls.session.limits().uring_entries_max);
        if 4 * self.rings.with_kernel >= have || !self.rings.connected || have >= max {
            return;
        }
        let more = have.clamp(1, max - have);
        let terms = self.parts.controls.session.protocol().terms();
        if let Err(error) = self.rings.add_entries(more, terms) {
            log::warn!("queue {}: no memory for more entries: {error}", self.parts.number);
        }
    }

    /// Sends what is to be sent and waits for something to do, in one call.
    ///
    /// Not in two, the first to send a lone answer: the client it wakes could then ask again before this thread
    /// has gone to sleep, but a thread that never sleeps looks busy to the scheduler, which moves its clients
    /// to another CPU, and each wake-up there costs more than the sleep did.
    fn wait(&mut self, busy: bool) -> io::Result<()> {
        let rings = &mut self.rings;
        let idle = rings.ring.completion().is_empty();
        if !(idle && self.queue.may_sleep()) || self.parts.host.has_left() {
            self.queue.woke();
            return rings.submit_if_unsent();
        }
        let spare = self.queue.spare() > 0;
        let idle = Duration::from_millis(self.parts.controls.session.limits().slot_idle_ms.into());
        let waited = rings.wait(spare.then_some(idle));
        self.queue.woke();
        if spare && !busy && self.trimmed.elapsed() > idle {
            self.trimmed = Instant::now();
            self.queue.trim();
            self.heads.truncate(self.queue.pending() + 8);
        }
        waited
    }

    /// Carries out an enforced end. True when there is nothing more to do.
    fn end(&mut self) -> bool {
        let mut given_up = Vec::new();
        let over = self.parts.ending.enforce(&mut self.queue, &mut |completion| given_up.push(completion));
        given_up.into_iter().for_each(|completion| self.answer(completion));
        over
    }
}

impl Rings {
    fn push(&mut self, entry: &squeue::Entry128) {
        // SAFETY: entries of the ring stay in `self.entries`, files and bytes of transfers in
        // `self.transfers`, until the kernel has completed them; the bell is `self`'s too.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            if let Err(error) = self.submit() {
                log::warn!("queue {}: submitting: {error}", self.number);
                std::thread::yield_now();
            }
        }
        self.unsent += 1;
    }

    fn add_entries(&mut self, count: usize, terms: &Terms) -> io::Result<()> {
        let payload_bytes = wire::uring::payload_bytes(terms);
        let first = self.entries.len();
        self.entries.extend(Entry::many(count, payload_bytes, self.large_pages)?);
        for place in first..self.entries.len() {
            let mark = MARK_ENTRY | place as u64;
            if let Some(submission) = self.entries[place].register(DEVICE, self.number, mark) {
                self.push(&submission);
                self.with_kernel += 1;
            }
        }
        Ok(())
    }

    fn commit(&mut self, place: u32) {
        if !self.connected {
            return;
        }
        let mark = MARK_ENTRY | u64::from(place);
        let submission = self.entries[place as usize].commit(DEVICE, self.number, mark);
        self.push(&submission);
        self.with_kernel += 1;
    }

    /// An entry came back without a request.
    fn lost(&mut self, result: i32) {
        let error = io::Error::from_raw_os_error(-result);
        match error.raw_os_error() {
            Some(libc::ENOTCONN | libc::ECONNABORTED | libc::ECANCELED | libc::ENODEV) => {
                self.connected = self.connected && self.with_kernel > 0;
            }
            // The queue lives on with the others, here or with operations.
            _ => log::error!("queue {}: an entry was lost: {error}", self.number),
        }
    }

    fn watch_bell(&mut self) {
        let poll = opcode::PollAdd::new(Fd(self.bell.as_fd().as_raw_fd()), libc::POLLIN as u32);
        let entry = poll.multi(true).build().user_data(MARK_BELL);
        self.push(&entry.into());
    }

    fn start_transfers(&mut self, host: &QueueHost) {
        host.take(&mut self.taken);
        for request in std::mem::take(&mut self.taken) {
            let entry = self.transfers.begin(request, MARK_TRANSFER);
            self.push(&entry.into());
        }
    }

    fn transferred(&mut self, place: u32, result: i32) {
        if let Some(entry) = self.transfers.complete(place, result, MARK_TRANSFER) {
            self.push(&entry.into());
        }
    }

    fn submit(&mut self) -> io::Result<()> {
        match self.ring.submit() {
            Ok(_) => self.unsent = 0,
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn submit_if_unsent(&mut self) -> io::Result<()> {
        if self.unsent == 0 { Ok(()) } else { self.submit() }
    }

    /// Sends what is to be sent and waits for one completion.
    ///
    /// To wait for a request is not to wait for a disc. The kernel cannot know, and would count this thread among those
    /// that do: an idle volume made it look as if the whole machine waited (Linux before 6.15 has no way to say so).
    fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        let mut flags = EnterFlags::GETEVENTS;
        let waits_for_io = self.transfers.in_flight() > 0;
        flags.set(EnterFlags::NO_IOWAIT, !waits_for_io && self.ring.params().is_feature_no_iowait());
        let count = self.ring.submission().len() as u32;
        let submitter = self.ring.submitter();
        let waited = match at_most {
            // SAFETY: what the entries name is kept (see `push`), and no argument is given.
            None => unsafe { submitter.enter::<SubmitArgs<'_, '_>>(count, 1, flags.bits(), None) },
            Some(at_most) => {
                let timeout = Timespec::from(at_most);
                let arguments = SubmitArgs::new().timespec(&timeout);
                let flags = flags | EnterFlags::EXT_ARG;
                // SAFETY: as above; the argument is the one that this flag announces, and lives until the call returns.
                unsafe { submitter.enter(count, 1, flags.bits(), Some(&arguments)) }
            }
        };
        match waited {
            Ok(_) => self.unsent = 0,
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => self.unsent = 0,
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        self.fetch_the_rest()
    }

    /// Fetches the requests that came while this thread was being woken: a call that slept brings as many as it waited
    /// for, which is one.
    ///
    /// Left to the next call, which answers that one, they would be answered by a third. The clients of the first answer
    /// would run in between, and ask again one by one.
    fn fetch_the_rest(&mut self) -> io::Result<()> {
        if !self.ring.submission().taskrun() {
            return Ok(());
        }
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: nothing is sent, and no argument is given.
        let fetched = unsafe { self.ring.submitter().enter::<SubmitArgs<'_, '_>>(0, 0, flags, None) };
        match fetched {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

impl Drop for Rings {
    /// Waits for the transfers, whose bytes and files go with us. Entries need no waiting: the kernel touches
    /// their memory only while this thread is in a call on the ring, and the ring is dropped first.
    fn drop(&mut self) {
        while self.transfers.in_flight() > 0 {
            if let Err(error) = self.wait(None) {
                log::error!("queue {}: waiting for I/O in the kernel: {error}", self.number);
                // Leaking is the only safe way left: the kernel may still write into these bytes.
                std::mem::forget(std::mem::take(&mut self.transfers));
                return;
            }
            for completion in self.ring.completion() {
                if completion.user_data() & !u64::from(u32::MAX) == MARK_TRANSFER {
                    self.transfers.forget(completion.user_data() as u32);
                }
            }
        }
    }
}
