//! The host's end of a channel. It belongs to one thread, which serves many.
//!
//! The client may be hostile. Every word of its memory is loaded once into a copy, which is checked; what the
//! host must remember is kept here, never read back. The worst that a client can do is to wake the host for
//! nothing, or to spoil its own requests.

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

use crate::futex;
use crate::sync::{AtomicU32, Ordering, fence};
use crate::words::Words;

use super::{
    ALIVE, ANSWERS, BELL, BODY_WORDS, HOST_CPU, HOST_SLEEPS, REQUESTS, SLEEPERS, SLOT_BELLS, SLOTS,
    SUBMITTED, ones, place,
};

/// The host's end of a channel.
#[derive(Debug)]
pub struct HostChannel {
    requests: Words,
    answers: Words,
    /// Slots whose requests were taken and not answered yet.
    busy: u64,
    /// Slots that were answered since the client was rung.
    answered: Cell<u64>,
    /// Sleeps that were announced, which is the number of the last.
    sleeps: Cell<u32>,
    /// What the bell said when that was announced.
    rung: Cell<u32>,
}

/// A request that was taken. Its answer is owed.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "every request that is taken must be answered"]
pub struct Taken {
    slot: u8,
    generation: u32,
}

impl Taken {
    /// The number of its slot, below [`SLOTS`].
    pub fn index(&self) -> usize {
        self.slot.into()
    }
}

/// A request, copied.
#[derive(Debug, PartialEq, Eq)]
pub struct TakenRequest {
    /// What the answer is given for.
    pub taken: Taken,
    /// The client's words: any values.
    pub body: [u64; BODY_WORDS],
}

impl HostChannel {
    pub(super) fn new(requests: Words, answers: Words) -> HostChannel {
        answers.word(ALIVE).store(1, Ordering::Release);
        let (answered, sleeps, rung) = (Cell::new(0), Cell::new(0), Cell::new(0));
        HostChannel { requests, answers, busy: 0, answered, sleeps, rung }
    }

    /// Tells the client which CPU the thread that serves the channel is pinned to.
    pub fn set_cpu(&self, cpu: usize) {
        self.answers.word(HOST_CPU).store(cpu as u64 + 1, Ordering::Release);
    }

    /// Takes all requests that were submitted since the last time, as a bit for each slot; or `None` if the client
    /// submitted a slot that is still in use, which no honest one does.
    pub fn take(&mut self) -> Option<u64> {
        let submitted = self.requests.word(SUBMITTED);
        // A look costs nothing; a swap takes the line away from the client.
        if submitted.load(Ordering::Relaxed) == 0 {
            return Some(0);
        }
        let bits = submitted.swap(0, Ordering::Acquire);
        if bits & self.busy != 0 {
            return None;
        }
        self.busy |= bits;
        Some(bits)
    }

    /// Copies the request of a slot that was just [taken](Self::take).
    ///
    /// `None` if it was not taken, or copied already and answered.
    pub fn request(&self, slot: usize) -> Option<TakenRequest> {
        if slot >= SLOTS || self.busy & (1 << slot) == 0 {
            return None;
        }
        let at = place(REQUESTS, slot);
        let load = |word| self.requests.word(at + word).load(Ordering::Relaxed);
        let taken = Taken { slot: slot as u8, generation: load(0) as u32 };
        Some(TakenRequest { taken, body: std::array::from_fn(|word| load(1 + word)) })
    }

    /// Copies each of the requests that [`take`](Self::take) returned.
    pub fn requests(&self, bits: u64) -> impl Iterator<Item = TakenRequest> + '_ {
        ones(bits).filter_map(|slot| self.request(slot))
    }

    /// Answers a request. The client sees it at once if it looks; it is not woken before the next
    /// [`ring`](Self::ring).
    pub fn answer(&mut self, taken: Taken, body: [u64; BODY_WORDS]) {
        let at = place(ANSWERS, taken.index());
        for (word, value) in body.into_iter().enumerate() {
            self.answers.word(at + 1 + word).store(value, Ordering::Relaxed);
        }
        self.answers.half(at).store(taken.generation, Ordering::Release);
        self.busy &= !(1 << taken.slot);
        *self.answered.get_mut() |= 1 << taken.slot;
    }

    /// Wakes those who sleep for what was answered since the last time.
    pub fn ring(&self) {
        for slot in ones(self.slept_for()) {
            self.ring_slot(slot);
        }
    }

    fn ring_slot(&self, slot: usize) {
        let bell = self.requests.half(SLOT_BELLS + slot);
        bell.fetch_add(1, Ordering::Release);
        futex::wake(bell);
    }

    /// The slots that were answered since the last time and are slept for.
    pub(super) fn slept_for(&self) -> u64 {
        let answered = self.answered.take();
        if answered == 0 {
            return 0;
        }
        // What was answered, before who sleeps.
        fence(Ordering::SeqCst);
        self.requests.word(SLEEPERS).load(Ordering::Relaxed) & answered
    }

    /// Slots whose answers are owed.
    pub fn busy(&self) -> u32 {
        self.busy.count_ones()
    }

    /// Announces that this thread is about to sleep; to be followed by [`Sleep::may_begin`] for all channels.
    fn announce_sleep(&self) {
        self.rung.set(self.requests.half(BELL).load(Ordering::Relaxed));
        // Never zero, which says that nobody sleeps.
        self.sleeps.set(self.sleeps.get().wrapping_add(1).max(1));
        self.answers.word(HOST_SLEEPS).store(self.sleeps.get().into(), Ordering::Relaxed);
    }

    fn has_submitted(&self) -> bool {
        self.requests.word(SUBMITTED).load(Ordering::Relaxed) != 0
    }

    fn woke(&self) {
        self.answers.word(HOST_SLEEPS).store(0, Ordering::Relaxed);
    }

    /// The word that the client rings, for those who sleep on it by other means than [`Sleep::sleep`].
    pub fn bell(&self) -> &AtomicU32 {
        self.requests.half(BELL)
    }
}

impl Drop for HostChannel {
    /// Tells the client that no answers will come.
    fn drop(&mut self) {
        self.answers.word(ALIVE).store(0, Ordering::Release);
        fence(Ordering::SeqCst);
        (0..SLOTS).for_each(|slot| self.ring_slot(slot));
    }
}

/// Channels that one thread can serve with one word of its own: all that one sleep can wait for.
pub const CHANNELS_MAX: usize = futex::WORDS_MAX - 1;

/// One sleep of a host's thread, for all its channels. While it lives the clients know that they must ring.
#[derive(Debug)]
#[must_use = "the clients ring until it is dropped"]
pub struct Sleep<'a, I: Iterator<Item = &'a HostChannel> + Clone> {
    channels: I,
    _channels: PhantomData<&'a HostChannel>,
}

impl<'a, I: Iterator<Item = &'a HostChannel> + Clone> Sleep<'a, I> {
    /// Announces to all these clients that the thread is about to sleep. `None` if one of them has submitted
    /// something meanwhile.
    pub fn begin(channels: I) -> Option<Self> {
        channels.clone().for_each(HostChannel::announce_sleep);
        let sleep = Sleep { channels, _channels: PhantomData };
        // That we sleep, before what was submitted.
        fence(Ordering::SeqCst);
        let idle = !sleep.channels.clone().any(HostChannel::has_submitted);
        idle.then_some(sleep)
    }

    /// The words to sleep on, and the values that they have as long as nobody has rung.
    pub fn words(&self) -> impl Iterator<Item = (&'a AtomicU32, u32)> + Clone + use<'a, I> {
        self.channels.clone().map(|channel| (channel.bell(), channel.rung.get()))
    }

    /// Sleeps until a client rings, the word `own` is rung and has another value than given, or the time is over.
    /// Returns for no reason at times, and at once with more than [`CHANNELS_MAX`] channels.
    pub fn sleep(self, own: (&AtomicU32, u32), time: Option<Duration>) {
        futex::wait_any(Some(own), self.words(), time);
    }
}

impl<'a, I: Iterator<Item = &'a HostChannel> + Clone> Drop for Sleep<'a, I> {
    fn drop(&mut self) {
        self.channels.clone().for_each(HostChannel::woke);
    }
}

/// Wakes a thread that sleeps in [`Sleep::sleep`] on a word of its own, after the word was given another value.
pub fn ring_own(word: &AtomicU32) {
    futex::wake_own(word);
}
