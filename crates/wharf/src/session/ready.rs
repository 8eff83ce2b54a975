//! Which slots of a queue are to be polled: bits that any thread may set, and one thread takes.
//!
//! Setting a bit is all that a waker does. It runs nobody's code, takes no lock and allocates nothing, so
//! an operation may be completed from wherever its result comes: another thread, a lock, a destructor.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use wharf_mem::sync::{AtomicBool, AtomicU64, Ordering};

use crate::RequestId;

/// Makes a sleeping queue look at its ready list. Supplied by the transport.
pub trait Doorbell: Send + Sync + 'static {
    /// Called from any thread, once for each time the queue goes to sleep. Must not block.
    fn ring(&self);
}

const BITS: usize = u64::BITS as usize;

/// The ready list of one queue.
pub struct Ready {
    /// One bit a slot.
    words: Box<[AtomicU64]>,
    /// One bit a word that may have bits.
    summary: Box<[AtomicU64]>,
    /// Requests whose callers gave up. Rare, hence a lock.
    cancelled: Mutex<Vec<RequestId>>,
    has_cancelled: AtomicBool,
    sleeping: AtomicBool,
    doorbell: Box<dyn Doorbell>,
}

impl Ready {
    pub(crate) fn new(slots_max: usize, doorbell: Box<dyn Doorbell>) -> Ready {
        let words = slots_max.div_ceil(BITS);
        Ready {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            summary: (0..words.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect(),
            cancelled: Mutex::default(),
            has_cancelled: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            doorbell,
        }
    }

    /// Marks a slot. A second mark before it is taken changes nothing.
    pub(crate) fn mark(&self, slot: usize) {
        let (word, bit) = (slot / BITS, slot % BITS);
        self.words[word].fetch_or(1 << bit, Ordering::SeqCst);
        self.summary[word / BITS].fetch_or(1 << (word % BITS), Ordering::SeqCst);
        self.rouse();
    }

    /// Notes that the caller of `request` gave up.
    pub(crate) fn cancel(&self, request: RequestId) {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        self.has_cancelled.swap(true, Ordering::SeqCst);
        self.rouse();
    }

    /// Rings if the queue sleeps.
    pub fn rouse(&self) {
        // The swap lets one of many wakers ring; the load before it keeps the line shared while awake.
        if self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) {
            self.doorbell.ring();
        }
    }

    /// Takes all marks there are and calls `each` with their slots.
    pub(crate) fn take(&self, mut each: impl FnMut(usize)) {
        for (index, summary) in self.summary.iter().enumerate() {
            if summary.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // Summary before words: a mark that comes between sets the summary again and is seen next time.
            for word in ones(summary.swap(0, Ordering::SeqCst)) {
                let word = index * BITS + word;
                for bit in ones(self.words[word].swap(0, Ordering::SeqCst)) {
                    each(word * BITS + bit);
                }
            }
        }
    }

    /// Takes the requests whose callers gave up.
    pub(crate) fn take_cancelled(&self, into: &mut Vec<RequestId>) {
        if self.has_cancelled.load(Ordering::Relaxed) && self.has_cancelled.swap(false, Ordering::SeqCst) {
            into.append(&mut self.cancelled.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Announces that the queue is about to sleep. False if there is something to do first.
    ///
    /// Either the announcement comes first and a waker rings, or the mark comes first and is seen here. Both
    /// sides change the word of the mark, this one by nothing: so one of them is the second, and sees all that
    /// the first did before.
    pub(crate) fn may_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        let idle = self.summary.iter().all(|summary| summary.fetch_or(0, Ordering::SeqCst) == 0)
            && !self.has_cancelled.fetch_or(false, Ordering::SeqCst);
        if !idle {
            self.sleeping.store(false, Ordering::SeqCst);
        }
        idle
    }

    /// The queue is awake again, for whatever reason.
    pub(crate) fn woke(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }
}

fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (bit < BITS).then_some(bit)
    })
}

/// The waker of one slot; made once and used by every operation in it.
pub(crate) struct SlotWaker {
    pub(crate) ready: Arc<Ready>,
    pub(crate) slot: usize,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.ready.mark(self.slot);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.mark(self.slot);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    struct Count(Arc<AtomicUsize>);

    impl Doorbell for Count {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn ready(slots: usize) -> (Ready, Arc<AtomicUsize>) {
        let rings = Arc::new(AtomicUsize::new(0));
        (Ready::new(slots, Box::new(Count(rings.clone()))), rings)
    }

    fn taken(ready: &Ready) -> Vec<usize> {
        let mut slots = Vec::new();
        ready.take(|slot| slots.push(slot));
        slots
    }

    #[test]
    fn every_marked_slot_is_taken_once() {
        let (ready, _) = ready(10_000);
        for slot in [0, 63, 64, 4095, 4096, 9_999, 63] {
            ready.mark(slot);
        }
        assert_eq!(taken(&ready), [0, 63, 64, 4095, 4096, 9_999]);
        assert_eq!(taken(&ready), []);
    }

    #[test]
    fn the_doorbell_rings_once_and_only_for_a_sleeper() {
        let (ready, rings) = ready(64);
        ready.mark(1);
        assert_eq!(rings.load(Ordering::SeqCst), 0);
        assert!(!ready.may_sleep());
        taken(&ready);
        assert!(ready.may_sleep());
        ready.mark(2);
        ready.mark(3);
        assert_eq!(rings.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_cancelled_request_rouses_too() {
        let (ready, rings) = ready(64);
        assert!(ready.may_sleep());
        ready.cancel(RequestId(5));
        assert_eq!(rings.load(Ordering::SeqCst), 1);
        let mut cancelled = Vec::new();
        ready.take_cancelled(&mut cancelled);
        assert_eq!(cancelled, [RequestId(5)]);
    }
}

/// To be run with `RUSTFLAGS="--cfg loom" cargo test -p wharf --lib --release model`.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc as LoomArc;
    use loom::thread;

    struct Bell(LoomArc<AtomicU64>);

    impl Doorbell for Bell {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn no_cancellation_is_lost_whatever_the_order() {
        loom::model(|| {
            let rings = LoomArc::new(AtomicU64::new(0));
            let ready = LoomArc::new(Ready::new(64, Box::new(Bell(rings.clone()))));
            let canceller = ready.clone();
            let canceller = thread::spawn(move || canceller.cancel(RequestId(5)));
            let mut seen = Vec::new();
            ready.take_cancelled(&mut seen);
            let slept = ready.may_sleep();
            canceller.join().unwrap();
            if slept && seen.is_empty() {
                assert_eq!(rings.load(Ordering::SeqCst), 1);
            }
            ready.take_cancelled(&mut seen);
            assert_eq!(seen, [RequestId(5)]);
        });
    }

    #[test]
    fn no_mark_is_lost_whatever_the_order() {
        loom::model(|| {
            let rings = LoomArc::new(AtomicU64::new(0));
            let ready = LoomArc::new(Ready::new(128, Box::new(Bell(rings.clone()))));
            let markers: Vec<_> = [3usize, 70]
                .into_iter()
                .map(|slot| {
                    let ready = ready.clone();
                    thread::spawn(move || ready.mark(slot))
                })
                .collect();
            let mut seen = 0;
            ready.take(|_| seen += 1);
            let slept = ready.may_sleep();
            for marker in markers {
                marker.join().unwrap();
            }
            // Whoever marks a sleeper rings; whoever marks before, is seen before sleeping.
            if slept && seen < 2 {
                assert!(rings.load(Ordering::SeqCst) == 1);
            }
            ready.woke();
            ready.take(|_| seen += 1);
            assert_eq!(seen, 2);
        });
    }
}
