//! The operations of one queue: slots, futures, the ready list.
//!
//! A queue belongs to one thread of a transport, which alone polls. Slots and their futures' memory are
//! used again, so that a warm queue allocates nothing for an operation.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use wharf_mem::{Lease, Payload};

use crate::RequestId;
use crate::context::{Cancellation, Flight};
use crate::error::Errno;

use super::caught::panic_words;
use super::ready::{Doorbell, Ready, SlotWaker};
use super::reply::{Completion, Reply};

/// A request as a transport hands it over.
#[derive(Debug)]
pub struct Arrival {
    /// The transport's own mark; comes back with the completion.
    pub tag: u64,
    /// The request.
    pub request: RequestId,
    /// Name of the operation, for the log.
    pub name: &'static str,
    /// Its fixed parts and names.
    pub head: Vec<u8>,
    /// Bytes of a write in the payload; `None` when the payload is free for the answer.
    pub data: Option<usize>,
    /// The bytes of the write, or room for the answer.
    pub payload: Payload,
}

/// What a future is made of.
pub(super) struct Work {
    pub(super) request: RequestId,
    pub(super) head: Vec<u8>,
    pub(super) data: Option<usize>,
    pub(super) lease: Lease,
    pub(super) cancellation: Cancellation,
}

pub(super) type Ended = (Result<Reply, Errno>, Vec<u8>);

/// What a transport does with its queue.
///
/// The order of one turn: [`take_wakes`](Self::take_wakes), fetch requests from the kernel,
/// [`begin`](Self::begin) each, [`advance`](Self::advance); then, if [`may_sleep`](Self::may_sleep), wait.
/// Wakes are taken before requests are fetched, so that a cancellation is not looked for before its request has begun.
pub trait Queue {
    /// Begins an operation and polls it once. `None` if it is pending.
    fn begin(&mut self, arrival: Arrival) -> Option<Completion>;

    /// Takes what other threads left on the ready list.
    fn take_wakes(&mut self);

    /// Polls the operations taken by [`take_wakes`](Self::take_wakes), and cancels those whose callers gave up.
    fn advance(&mut self, done: &mut dyn FnMut(Completion));

    /// Announces that the thread is about to sleep. False if there is something to do first.
    fn may_sleep(&self) -> bool;

    /// The thread is awake again, for whatever reason.
    fn woke(&mut self);

    /// Operations that are pending.
    fn pending(&self) -> usize;

    /// Slots that have memory, in use or not.
    fn slots(&self) -> usize;

    /// Whether another operation may begin. If not, leave requests where they are.
    fn has_room(&self) -> bool;

    /// Tells every pending operation that its caller gave up.
    fn cancel_all(&mut self);

    /// Drops every pending operation and answers it with an error. The end of the volume; nothing else drops
    /// what is pending.
    fn abandon(&mut self, done: &mut dyn FnMut(Completion));

    /// Slots with memory beyond those to be kept: while there are any, [`trim`](Self::trim) has work.
    fn spare(&self) -> usize;

    /// Gives back the memory of slots that were not used since the last call, beyond those to be kept.
    /// Called now and then.
    fn trim(&mut self);
}

struct Slot<Fut> {
    future: Pin<Box<Option<Fut>>>,
    waker: Waker,
    flight: Arc<Flight>,
    running: Option<Running>,
    used: bool,
}

struct Running {
    tag: u64,
    request: RequestId,
    name: &'static str,
    payload: Payload,
    /// The answer, while something detached still holds the payload.
    ended: Option<Ended>,
}

pub(super) struct SlotQueue<S, Start, Fut> {
    /// What every future takes along. The queue's own, so that queues do not meet at one count of it.
    shared: Arc<S>,
    /// Makes the future of one operation. Of a type of its own, so that the future is made where it stays: a pointer
    /// to a function would return it, and all its room would be copied.
    start: Start,
    pub(super) around: Option<super::Around>,
    pub(super) slots_kept: usize,
    slots_max: usize,
    slots: Vec<Option<Slot<Fut>>>,
    /// How many of them have memory.
    made: usize,
    /// Last in, first out: the slot used last has its memory in the cache.
    free: Vec<u32>,
    pending: HashMap<RequestId, u32, BuildHasherDefault<OneNumber>>,
    ready: Arc<Ready>,
    woken: Vec<usize>,
    cancelled: Vec<RequestId>,
}

impl<S, Start: Fn(Arc<S>, Work) -> Fut, Fut: Future<Output = Ended>> SlotQueue<S, Start, Fut> {
    pub(super) fn new(
        shared: S,
        start: Start,
        around: Option<super::Around>,
        (slots_kept, slots_max): (usize, usize),
        doorbell: Box<dyn Doorbell>,
    ) -> SlotQueue<S, Start, Fut> {
        SlotQueue {
            shared: Arc::new(shared),
            start,
            around,
            slots_kept,
            slots_max,
            slots: Vec::new(),
            made: 0,
            free: Vec::new(),
            pending: HashMap::default(),
            ready: Arc::new(Ready::new(slots_max, doorbell)),
            woken: Vec::new(),
            cancelled: Vec::new(),
        }
    }

    pub(super) fn ready(&self) -> &Arc<Ready> {
        &self.ready
    }

    fn take_slot(&mut self) -> usize {
        let index = self.free.pop().map_or(self.slots.len(), |index| index as usize);
        if index == self.slots.len() {
            self.slots.push(None);
        }
        let Self { ready, made, .. } = self;
        self.slots[index].get_or_insert_with(|| {
            *made += 1;
            Slot {
                future: Box::pin(None),
                waker: Arc::new(SlotWaker { ready: ready.clone(), slot: index }).into(),
                flight: Arc::default(),
                running: None,
                used: true,
            }
        });
        index
    }

    /// Polls a slot; returns its completion if that was the end.
    fn poll(&mut self, index: usize) -> Option<Completion> {
        let slot = self.slots.get_mut(index)?.as_mut()?;
        // A late wake may name a slot that has ended; one that was taken again bears a needless poll.
        let running = slot.running.as_mut()?;
        if running.ended.is_none() {
            let mut context = std::task::Context::from_waker(&slot.waker);
            let Slot { future, .. } = slot;
            let polled = catch_unwind(AssertUnwindSafe(|| match future.as_mut().as_pin_mut() {
                Some(future) => future.poll(&mut context),
                None => Poll::Ready((Err(Errno::EIO), Vec::new())),
            }));
            let ended = match polled {
                Ok(Poll::Pending) => return None,
                Ok(Poll::Ready(ended)) => ended,
                Err(panic) => {
                    let words = panic_words(&*panic);
                    log::error!("{} ({}): the file system panicked: {words}", running.name, running.request);
                    (Err(Errno::EIO), Vec::new())
                }
            };
            drop_future(slot.future.as_mut(), running.name);
            running.ended = Some(ended);
        }
        self.end(index)
    }

    /// Ends a slot whose future has ended, unless its payload is still held.
    fn end(&mut self, index: usize) -> Option<Completion> {
        let slot = self.slots[index].as_mut()?;
        let running = slot.running.as_mut()?;
        if !running.payload.is_free() {
            running.payload.wake_when_released(&slot.waker);
            if !running.payload.is_free() {
                return None;
            }
        }
        let Running { tag, request, payload, ended, .. } = slot.running.take()?;
        let (result, head) = ended?;
        slot.flight.end(&slot.waker);
        slot.used = true;
        self.free.push(index as u32);
        self.pending.remove(&request);
        Some(Completion { tag, request, result, payload, head })
    }
}

impl<S, Start: Fn(Arc<S>, Work) -> Fut, Fut: Future<Output = Ended>> Queue for SlotQueue<S, Start, Fut> {
    fn begin(&mut self, arrival: Arrival) -> Option<Completion> {
        let Arrival { tag, request, name, head, data, mut payload } = arrival;
        if self.free.is_empty() && self.slots.len() >= self.slots_max {
            return Some(Completion { tag, request, result: Err(Errno::ENOMEM), payload, head });
        }
        let Some(lease) = payload.lease() else {
            return Some(Completion { tag, request, result: Err(Errno::EIO), payload, head });
        };
        let index = self.take_slot();
        let shared = self.shared.clone();
        let Some(slot) = &mut self.slots[index] else { unreachable!("take_slot fills the place") };
        let cancellation = slot.flight.begin();
        slot.future
            .as_mut()
            .set(Some((self.start)(shared, Work { request, head, data, lease, cancellation })));
        slot.running = Some(Running { tag, request, name, payload, ended: None });
        let completion = match self.around.clone() {
            None => self.poll(index),
            Some(around) => {
                let mut completion = None;
                around(&mut || completion = self.poll(index));
                completion
            }
        };
        if completion.is_none() {
            self.pending.insert(request, index as u32);
        }
        completion
    }

    fn take_wakes(&mut self) {
        let woken = &mut self.woken;
        self.ready.take(|slot| woken.push(slot));
        self.ready.take_cancelled(&mut self.cancelled);
    }

    fn advance(&mut self, done: &mut dyn FnMut(Completion)) {
        for request in std::mem::take(&mut self.cancelled) {
            let slot = self.pending.get(&request).and_then(|index| self.slots[*index as usize].as_ref());
            if let Some(slot) = slot {
                slot.flight.cancel();
            }
        }
        if self.woken.is_empty() {
            return;
        }
        let mut woken = std::mem::take(&mut self.woken);
        let around = self.around.clone();
        let mut poll_all = || woken.drain(..).filter_map(|index| self.poll(index)).for_each(&mut *done);
        match around {
            None => poll_all(),
            Some(around) => around(&mut poll_all),
        }
        self.woken = woken;
    }

    fn may_sleep(&self) -> bool {
        self.woken.is_empty() && self.cancelled.is_empty() && self.ready.may_sleep()
    }

    fn woke(&mut self) {
        self.ready.woke();
    }

    fn pending(&self) -> usize {
        self.pending.len()
    }

    fn slots(&self) -> usize {
        self.made
    }

    fn has_room(&self) -> bool {
        self.pending.len() < self.slots_max
    }

    fn cancel_all(&mut self) {
        for slot in self.slots.iter().flatten().filter(|slot| slot.running.is_some()) {
            slot.flight.cancel();
        }
    }

    fn abandon(&mut self, done: &mut dyn FnMut(Completion)) {
        for index in 0..self.slots.len() {
            let Some(slot) = &mut self.slots[index] else { continue };
            let Some(running) = &mut slot.running else { continue };
            log::warn!("{} ({}) was given up: it did not end in time", running.name, running.request);
            drop_future(slot.future.as_mut(), running.name);
            let Some(Running { tag, request, payload, .. }) = slot.running.take() else { continue };
            slot.flight.end(&slot.waker);
            self.free.push(index as u32);
            self.pending.remove(&request);
            done(Completion { tag, request, result: Err(Errno::ECANCELED), payload, head: Vec::new() });
        }
    }

    fn spare(&self) -> usize {
        (self.made - self.pending.len()).saturating_sub(self.slots_kept)
    }

    fn trim(&mut self) {
        let mut spare = self.spare();
        // The bottom of the stack was not used for longest.
        for index in &self.free {
            let Some(place) = self.slots.get_mut(*index as usize) else { continue };
            let Some(slot) = place else { continue };
            let unused = !std::mem::replace(&mut slot.used, false);
            if unused && spare > 0 {
                *place = None;
                self.made -= 1;
                spare -= 1;
            }
        }
    }
}

/// Drops a future, whose destructors are the author's and may panic too.
fn drop_future<Fut>(mut future: Pin<&mut Option<Fut>>, name: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| future.set(None))) {
        log::error!("{name}: the file system panicked while it cleaned up: {}", panic_words(&*panic));
    }
}

/// Request numbers are the kernel's own and distinct; spreading them is enough.
#[derive(Default)]
struct OneNumber(u64);

impl Hasher for OneNumber {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
