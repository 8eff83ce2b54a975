//! What an operation knows of its surroundings: who asks, whether they still wait, and what the queue offers.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use wharf_mem::sync::{AtomicU64, Ordering};

use crate::Caller;
use crate::error::{Error, Result};
use crate::id::RequestId;
use crate::io::{Io, Request};
use crate::notice::Notifier;

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
#[derive(Clone)]
pub struct Cancellation {
    flight: Arc<Flight>,
    round: u64,
}

impl Cancellation {
    /// Whether the caller gave up.
    pub fn is_cancelled(&self) -> bool {
        self.flight.is_cancelled(self.round)
    }

    /// Waits until the caller gives up; for ever if it does not.
    ///
    /// One task waits for one operation: of two, the later is told.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + '_ {
        Wait(self)
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
        let Cancellation { flight, round } = self.0;
        if flight.is_cancelled(*round) {
            return Poll::Ready(());
        }
        *flight.waiter.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        // The cancellation may have come between the look and the registration.
        if flight.is_cancelled(*round) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The cancellation of whatever operation uses a slot now. Rounds keep one operation's from another's.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// Twice the round, plus one when cancelled.
    state: AtomicU64,
    waiter: Mutex<Option<Waker>>,
}

impl Flight {
    /// Begins the next operation's round.
    pub(crate) fn begin(self: &Arc<Self>) -> Cancellation {
        let round = self.state.load(Ordering::Acquire) / 2 + 1;
        self.state.store(round * 2, Ordering::Release);
        Cancellation { flight: self.clone(), round }
    }

    /// Cancels the operation of the present round. Called by the queue only, as `begin` is.
    pub(crate) fn cancel(&self) {
        self.state.fetch_or(1, Ordering::AcqRel);
        let waiter = self.waiter.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    fn is_cancelled(&self, round: u64) -> bool {
        self.state.load(Ordering::Acquire) == round * 2 + 1
    }
}
