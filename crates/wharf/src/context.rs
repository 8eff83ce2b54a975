//! What an operation knows of its surroundings: who asks, whether they still wait, and what the queue offers.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use wharf_mem::sync::{AtomicU64, Ordering};

use crate::Caller;
use crate::error::{Error, Result};
use crate::id::RequestId;
use crate::io::{Io, Request};
use crate::notice::Notifier;
use crate::promise::unpark;

/// What the queue of a transport does for operations.
pub trait Host: fmt::Debug + Send + Sync {
    /// Takes an I/O. Called on the queue's own thread or, by adapters, on another.
    fn submit(&self, request: Request);

    /// The supplementary groups of a process.
    ///
    /// # Errors
    /// When it has ended, or is not visible from here.
    fn groups(&self, pid: u32) -> io::Result<Vec<u32>>;
}

/// What an operation knows of its surroundings. Cheap to clone, to take along to another thread.
#[derive(Clone, Debug)]
pub struct Context {
    pub(crate) request: RequestId,
    pub(crate) caller: Caller,
    pub(crate) cancellation: Cancellation,
    pub(crate) surroundings: Arc<Surroundings>,
}

/// What all operations of one queue share.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) notifier: Notifier,
}

impl Context {
    /// Who asks.
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// The request, for logs.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The supplementary groups of the caller, looked up now.
    ///
    /// # Errors
    /// When the caller has ended meanwhile or lives where it cannot be seen.
    pub fn groups(&self) -> Result<Vec<u32>> {
        match self.caller.pid {
            0 => Ok(Vec::new()),
            pid => Ok(self.surroundings.host.groups(pid)?),
        }
    }

    /// Whether the caller is in this group, as its own or a supplementary one.
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.caller.gid == gid || self.groups().is_ok_and(|groups| groups.contains(&gid))
    }

    /// I/O on local files through this queue.
    pub fn io(&self) -> Io<'_> {
        Io { host: &*self.surroundings.host }
    }

    /// Tells the kernel and clients of changes that they did not make.
    pub fn notifier(&self) -> &Notifier {
        &self.surroundings.notifier
    }

    /// Whether the caller gave up. Nothing ends by itself then: answer [`Error::interrupted`] when it suits.
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// Runs `work` until it ends or the caller gives up, whichever is first.
    ///
    /// `work` is dropped in the second case, so it must be something that may be dropped half-way: a
    /// wait, a download; not a change.
    ///
    /// # Errors
    /// Those of `work`, or [`Error::interrupted`].
    pub async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = std::pin::pin!(work);
        let mut cancelled = std::pin::pin!(self.cancellation.wait());
        std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = work.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            cancelled.as_mut().poll(cx).map(|()| Err(Error::interrupted()))
        })
        .await
    }
}

/// Whether the caller of one operation gave up.
///
/// It may be kept beyond the operation, by a thread that still works for it: then it counts as given up,
/// because nobody waits any more.
#[derive(Clone)]
pub struct Cancellation {
    flight: Arc<Flight>,
    round: u64,
}

impl Cancellation {
    /// Whether the caller gave up.
    pub fn is_cancelled(&self) -> bool {
        self.is_over_in(self.flight.state.load(Ordering::Acquire))
    }

    /// Waits until the caller gives up; for ever if it does not.
    ///
    /// One task or thread waits for one operation: of two, the later is told.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + '_ {
        Wait(self)
    }

    /// Blocks this thread until the caller gives up, for as long as `patience` lasts; true if the caller
    /// gave up. For [blocking](crate::blocking) code only.
    pub fn wait_for(&self, patience: Duration) -> bool {
        let deadline = Instant::now().checked_add(patience);
        let waker = unpark(std::thread::current());
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if self.is_cancelled() || self.watch(&waker) {
                return true;
            }
            match left {
                Some(Duration::ZERO) => return false,
                Some(left) => std::thread::park_timeout(left),
                None => std::thread::park(),
            }
        }
    }

    /// Has `waker` woken when the caller gives up. True if that has happened.
    fn watch(&self, waker: &Waker) -> bool {
        let Cancellation { flight, .. } = self;
        let mut waiter = flight.waiter.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at under the lock: who waits in a later round has been here, and must not be put out.
        if self.is_cancelled() {
            return true;
        }
        *waiter = Some(waker.clone());
        drop(waiter);
        // It may have come between the look and this.
        self.is_over_in(flight.state.fetch_or(WATCHED, Ordering::AcqRel))
    }

    fn is_over_in(&self, state: u64) -> bool {
        state >> ROUND_SHIFT != self.round || state & CANCELLED != 0
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancellation({})", self.is_cancelled())
    }
}

struct Wait<'a>(&'a Cancellation);

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        if self.0.is_cancelled() || self.0.watch(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The cancellation of whatever operation uses a slot now. Rounds keep one operation's from another's.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// The round, and two bits.
    state: AtomicU64,
    waiter: Mutex<Option<Waker>>,
}

const CANCELLED: u64 = 1;
/// There may be a waiter.
const WATCHED: u64 = 2;
const ROUND_SHIFT: u32 = 2;

/// All but the watching is done by the queue, so that rounds and bits do not race with each other.
impl Flight {
    /// The cancellation of the operation that begins now.
    pub(crate) fn begin(self: &Arc<Self>) -> Cancellation {
        Cancellation { flight: self.clone(), round: self.state.load(Ordering::Acquire) >> ROUND_SHIFT }
    }

    /// The operation of the present round has ended. Who still works for it is told; not `own`, which is the
    /// operation's own waker.
    pub(crate) fn end(&self, own: &Waker) {
        let round = self.state.load(Ordering::Acquire) >> ROUND_SHIFT;
        let state = self.state.swap((round + 1) << ROUND_SHIFT, Ordering::AcqRel);
        if let Some(waiter) = self.waiter(state).filter(|waiter| !waiter.will_wake(own)) {
            waiter.wake();
        }
    }

    /// Cancels the operation of the present round.
    pub(crate) fn cancel(&self) {
        let state = self.state.fetch_or(CANCELLED, Ordering::AcqRel);
        if let Some(waiter) = self.waiter(state) {
            waiter.wake();
        }
    }

    fn waiter(&self, state: u64) -> Option<Waker> {
        let watched = state & WATCHED != 0;
        watched.then(|| self.waiter.lock().unwrap_or_else(PoisonError::into_inner).take()).flatten()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::thread;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn an_operation_is_cancelled_by_itself_and_not_with_the_one_before() {
        let flight = Arc::new(Flight::default());
        let first = flight.begin();
        flight.cancel();
        assert!(first.is_cancelled() && first.wait_for(LONG));
        flight.end(Waker::noop());
        let second = flight.begin();
        assert!(!second.is_cancelled() && !second.wait_for(Duration::ZERO));
    }

    #[test]
    fn who_waits_for_an_operation_that_is_over_does_not_put_out_who_waits_for_the_next() {
        let flight = Arc::new(Flight::default());
        let first = flight.begin();
        flight.end(Waker::noop());
        let second = flight.begin();
        let waker = unpark(thread::current());
        assert!(!second.watch(&waker));
        assert!(first.watch(Waker::noop()));
        let waiter = flight.waiter.lock().unwrap();
        assert!(waiter.as_ref().is_some_and(|waiter| waiter.will_wake(&waker)));
    }

    #[test]
    fn a_thread_that_works_on_after_the_end_is_told() {
        let flight = Arc::new(Flight::default());
        let kept = flight.begin();
        let thread = thread::spawn(move || kept.wait_for(LONG));
        flight.end(Waker::noop());
        assert!(thread.join().unwrap());
    }

    #[test]
    fn a_thread_that_waits_is_woken_by_the_cancellation() {
        let flight = Arc::new(Flight::default());
        let cancellation = flight.begin();
        let thread = thread::spawn(move || cancellation.wait_for(LONG));
        thread::sleep(Duration::from_millis(5));
        flight.cancel();
        assert!(thread.join().unwrap());
    }
}

/// To be run with `RUSTFLAGS="--cfg loom" cargo test -p wharf --lib --release model`.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::thread;
    use std::task::Wake;

    struct Woken(AtomicU64);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(1, Ordering::SeqCst);
        }
    }

    fn check(over: fn(&Flight)) {
        loom::model(move || {
            let flight = Arc::new(Flight::default());
            let cancellation = flight.begin();
            let queue = thread::spawn(move || over(&flight));
            let woken = Arc::new(Woken(AtomicU64::new(0)));
            let told = cancellation.watch(&woken.clone().into());
            queue.join().unwrap();
            assert!(told || woken.0.load(Ordering::SeqCst) == 1, "who watches is told or woken");
            assert!(cancellation.is_cancelled());
        });
    }

    #[test]
    fn no_cancellation_is_missed_whatever_the_order() {
        check(|flight| flight.cancel());
    }

    #[test]
    fn no_end_is_missed_whatever_the_order() {
        check(|flight| flight.end(Waker::noop()));
    }
}
