//! The client's end of a channel. Any number of threads use it at once.

use std::time::{Duration, Instant};

use crate::futex;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use crate::words::Words;

use super::{
    ALIVE, ANSWERS, BELL, BODY_WORDS, HOST_CPU, HOST_SLEEPS, REQUESTS, SLEEPERS, SLOT_BELLS, SLOTS,
    SUBMITTED, ones, place,
};

/// How long to look for an answer before sleeping, where the host runs on another CPU.
const SPIN: Duration = Duration::from_micros(20);
/// Looks between two looks at the clock.
const LOOKS: u32 = 64;

/// The client's end of a channel.
#[derive(Debug)]
pub struct ClientChannel {
    requests: Words,
    answers: Words,
    /// Slots that nobody has. Private: what is in shared memory is for the host to read.
    free: AtomicU64,
    /// Slots whose answers nobody waits for any more.
    abandoned: AtomicU64,
    /// Somebody frees abandoned slots just now. No lock: a signal handler may be here too.
    reclaiming: AtomicBool,
    /// The last sleep of the host's that was rung for. Others need not ring for it again.
    rung: AtomicU64,
    generations: [AtomicU32; SLOTS],
}

/// A slot that somebody has claimed. To be submitted, or given back.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a slot that is dropped is lost to the channel"]
pub struct Slot(pub(super) u8);

impl Slot {
    /// Its number, below [`SLOTS`].
    pub fn index(&self) -> usize {
        self.0.into()
    }
}

/// A request on its way. To be finished, or abandoned.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a slot that is dropped is lost to the channel"]
pub struct Pending {
    slot: u8,
    generation: u32,
}

impl Pending {
    /// The number of its slot, below [`SLOTS`].
    pub fn index(&self) -> usize {
        self.slot.into()
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The answer is there.
    Answered,
    /// The time is over.
    TimedOut,
    /// The host serves the channel no more. (A host that was killed does not say so.)
    Gone,
}

impl ClientChannel {
    pub(super) fn new(requests: Words, answers: Words) -> ClientChannel {
        ClientChannel {
            requests,
            answers,
            free: AtomicU64::new(u64::MAX >> (64 - SLOTS)),
            abandoned: AtomicU64::new(0),
            reclaiming: AtomicBool::new(false),
            rung: AtomicU64::new(0),
            generations: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    /// Takes a free slot: the lowest, whose memory was used last. `None` if all are in use.
    pub fn claim(&self) -> Option<Slot> {
        let mut free = self.free.load(Ordering::Relaxed);
        loop {
            if free == 0 && !self.reclaim() {
                return None;
            }
            free = self.free.load(Ordering::Relaxed);
            while free != 0 {
                let lowest = free & free.wrapping_neg();
                match self.free.compare_exchange_weak(
                    free,
                    free & !lowest,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Some(Slot(lowest.trailing_zeros() as u8)),
                    Err(now) => free = now,
                }
            }
        }
    }

    /// Gives a slot back.
    pub fn release(&self, slot: Slot) {
        self.free.fetch_or(1 << slot.0, Ordering::Release);
    }

    /// Hands a request to the host, who is not told before the next [`ring`](Self::ring).
    pub fn submit(&self, slot: Slot, body: [u64; BODY_WORDS]) -> Pending {
        let index = slot.index();
        let generation = self.generations[index].load(Ordering::Relaxed).wrapping_add(1);
        self.generations[index].store(generation, Ordering::Relaxed);
        let at = place(REQUESTS, index);
        self.requests.word(at).store(u64::from(generation), Ordering::Relaxed);
        for (word, value) in body.into_iter().enumerate() {
            self.requests.word(at + 1 + word).store(value, Ordering::Relaxed);
        }
        self.requests.word(SUBMITTED).fetch_or(1 << index, Ordering::Release);
        Pending { slot: slot.0, generation }
    }

    /// Wakes the host if it sleeps. Once for any number of requests.
    pub fn ring(&self) {
        // What was submitted, before whether the host sleeps.
        fence(Ordering::SeqCst);
        let sleep = self.answers.word(HOST_SLEEPS).load(Ordering::Relaxed);
        if sleep != 0 && self.rung.load(Ordering::Relaxed) != sleep {
            let bell = self.requests.half(BELL);
            // Another value each time: who comes late for an earlier sleep must not put back what this one saw.
            bell.fetch_add(1, Ordering::Release);
            futex::wake(bell);
            // Not before: who finds this relies on the host being awake.
            self.rung.store(sleep, Ordering::Release);
        }
    }

    /// Whether the answer is there.
    pub fn is_answered(&self, pending: &Pending) -> bool {
        let now = self.answers.half(place(ANSWERS, pending.index())).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        now == pending.generation
    }

    /// Takes the answer, if it is there, and the slot for another request.
    ///
    /// # Errors
    /// The request, while there is no answer.
    pub fn finish(&self, pending: Pending) -> Result<(Slot, [u64; BODY_WORDS]), Pending> {
        if !self.is_answered(&pending) {
            return Err(pending);
        }
        let at = place(ANSWERS, pending.index());
        let body = std::array::from_fn(|word| self.answers.word(at + 1 + word).load(Ordering::Relaxed));
        Ok((Slot(pending.slot), body))
    }

    /// Nobody waits for this answer any more. Its slot can be used again when it has come.
    pub fn abandon(&self, pending: Pending) {
        self.abandoned.fetch_or(1 << pending.slot, Ordering::Release);
    }

    /// Sleeps until the answer is there or the time is over.
    ///
    /// Where the host is known to run on another CPU it looks for some microseconds first: waking a CPU that
    /// sleeps costs more. On the host's own CPU that would only keep the host from running.
    pub fn wait(&self, pending: &Pending, time: Duration) -> Waited {
        self.wait_any(std::slice::from_ref(pending), time)
    }

    /// Sleeps until one of the answers is there or the time is over.
    pub fn wait_any(&self, pending: &[Pending], time: Duration) -> Waited {
        let mut spins = self.host_is_elsewhere();
        // From the end of the first sleep on: most end with the answer, and never need a clock.
        let mut since: Option<Instant> = None;
        let (mut slept, mut over) = (false, false);
        loop {
            if pending.iter().any(|pending| self.is_answered(pending)) {
                return Waited::Answered;
            }
            if !self.is_alive() {
                return Waited::Gone;
            }
            if over {
                return Waited::TimedOut;
            }
            if std::mem::take(&mut spins) && self.spin(pending, SPIN.min(time)) {
                return Waited::Answered;
            }
            let left = if slept {
                time.saturating_sub(since.get_or_insert_with(Instant::now).elapsed())
            } else {
                time
            };
            over = left.is_zero() || self.sleep(pending, left);
            slept = true;
        }
    }

    /// Sleeps once, unless there is no need any more. True if that took all the time.
    fn sleep(&self, pending: &[Pending], time: Duration) -> bool {
        let bits = pending.iter().fold(0, |bits, pending| bits | 1 << pending.slot);
        let bell = |pending: &Pending| {
            let bell = self.bell(pending);
            (bell, bell.load(Ordering::Acquire))
        };
        let over = match pending {
            [one] => {
                let (bell, value) = bell(one);
                self.may_sleep(pending, bits) && futex::wait(bell, value, Some(time))
            }
            many => {
                let bells: Vec<_> = many.iter().map(bell).collect();
                self.may_sleep(pending, bits) && futex::wait_any(None, bells.iter().copied(), Some(time))
            }
        };
        self.requests.word(SLEEPERS).fetch_and(!bits, Ordering::Relaxed);
        over
    }

    /// What one sleeps on for this answer, in a state that was looked at before [`may_sleep`](Self::may_sleep).
    pub(super) fn bell(&self, pending: &Pending) -> &AtomicU32 {
        self.requests.half(SLOT_BELLS + pending.index())
    }

    /// Says that somebody is about to sleep for these slots. False if there is no need any more.
    pub(super) fn may_sleep(&self, pending: &[Pending], bits: u64) -> bool {
        self.requests.word(SLEEPERS).fetch_or(bits, Ordering::Relaxed);
        // Who sleeps, before whether it is answered.
        fence(Ordering::SeqCst);
        self.is_alive() && !pending.iter().any(|pending| self.is_answered(pending))
    }

    /// Whether the host still serves the channel, as far as it could say.
    pub fn is_alive(&self) -> bool {
        self.answers.word(ALIVE).load(Ordering::Relaxed) == 1
    }

    /// The CPU that the host's thread is pinned to, if it is to one.
    pub fn host_cpu(&self) -> Option<usize> {
        usize::try_from(self.answers.word(HOST_CPU).load(Ordering::Relaxed)).ok()?.checked_sub(1)
    }

    #[cfg(not(any(loom, miri)))]
    fn host_is_elsewhere(&self) -> bool {
        self.host_cpu().is_some_and(|cpu| cpu != rustix::thread::sched_getcpu())
    }

    #[cfg(any(loom, miri))]
    fn host_is_elsewhere(&self) -> bool {
        false
    }

    fn spin(&self, pending: &[Pending], time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            for _ in 0..LOOKS {
                if pending.iter().any(|pending| self.is_answered(pending)) {
                    return true;
                }
                std::hint::spin_loop();
            }
        }
        false
    }

    /// Frees the abandoned slots that have been answered meanwhile. True if there is one.
    fn reclaim(&self) -> bool {
        if self.reclaiming.swap(true, Ordering::Acquire) {
            return false;
        }
        let abandoned = self.abandoned.load(Ordering::Acquire);
        let answered = ones(abandoned).filter(|index| {
            let generation = self.generations[*index].load(Ordering::Relaxed);
            self.is_answered(&Pending { slot: *index as u8, generation })
        });
        let answered = answered.fold(0, |bits, index| bits | 1 << index);
        self.abandoned.fetch_and(!answered, Ordering::Relaxed);
        self.free.fetch_or(answered, Ordering::Release);
        self.reclaiming.store(false, Ordering::Release);
        answered != 0
    }
}
