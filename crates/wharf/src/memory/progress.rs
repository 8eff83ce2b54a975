//! How far a file in memory has come, and who waits for it to come further.

use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use wharf_mem::sync::{AtomicBool, Ordering};

use crate::error::{Error, Kind, Result};

use super::spans::Spans;

#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Everything is there; looked at first, without the lock.
    complete: AtomicBool,
    state: Mutex<State>,
    /// Tells a filler that blocks.
    wanted: Condvar,
}

#[derive(Debug, Default)]
struct State {
    spans: Spans,
    failed: Option<(Kind, &'static str)>,
    /// Nobody has the memory any more.
    abandoned: bool,
    /// Readers in the order of their coming.
    waiting: BTreeMap<u64, Waiting>,
    next_ticket: u64,
    filler: Option<Waker>,
}

#[derive(Debug)]
struct Waiting {
    range: Range<u64>,
    waker: Waker,
}

/// What a filler learns about its readers.
pub(super) enum Wanted {
    /// The range for which somebody has been waiting longest.
    This(Range<u64>),
    /// Nobody waits.
    Nothing,
    /// Nobody has the memory any more.
    Abandoned,
}

impl Progress {
    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Whether any byte of a range is there already.
    pub(super) fn meets(&self, range: &Range<u64>) -> bool {
        self.lock().spans.meet(range)
    }

    /// The bytes of a range are there now. Returns the range that they have grown into.
    pub(super) fn add(&self, range: Range<u64>) -> Range<u64> {
        let mut state = self.lock();
        let grown = state.spans.add(range);
        let State { spans, waiting, .. } = &mut *state;
        let mut served = Vec::new();
        waiting.retain(|_, waiting| {
            let waits = !spans.contain(&waiting.range);
            if !waits {
                served.push(waiting.waker.clone());
            }
            waits
        });
        drop(state);
        served.into_iter().for_each(Waker::wake);
        grown
    }

    /// Takes note that everything is there, if it is.
    pub(super) fn finish(&self, len: u64) -> bool {
        let complete = self.lock().spans.contain(&(0..len));
        if complete {
            self.complete.store(true, Ordering::Release);
        }
        complete
    }

    /// What is not there will not come.
    pub(super) fn fail(&self, kind: Kind, doing: &'static str) {
        let mut state = self.lock();
        state.failed.get_or_insert((kind, doing));
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(|waiting| waiting.waker.wake());
    }

    /// Nobody has the memory any more.
    pub(super) fn abandon(&self) {
        self.lock().abandoned = true;
        self.tell_filler();
    }

    pub(super) fn wanted(&self) -> Wanted {
        self.lock().wanted()
    }

    /// What [`wanted`](Self::wanted) says, once it is not nothing. Blocks this thread.
    pub(super) fn wait_until_wanted(&self) -> Wanted {
        let nothing = |state: &mut State| matches!(state.wanted(), Wanted::Nothing);
        self.wanted.wait_while(self.lock(), nothing).unwrap_or_else(PoisonError::into_inner).wanted()
    }

    pub(super) fn poll_wanted(&self, cx: &Context<'_>) -> Poll<Wanted> {
        let mut state = self.lock();
        match state.wanted() {
            Wanted::Nothing => {
                state.filler = Some(cx.waker().clone());
                Poll::Pending
            }
            wanted => Poll::Ready(wanted),
        }
    }

    fn tell_filler(&self) {
        let waker = self.lock().filler.take();
        self.wanted.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wanted(&self) -> Wanted {
        match self.waiting.first_key_value() {
            _ if self.abandoned => Wanted::Abandoned,
            Some((_, waiting)) => Wanted::This(waiting.range.clone()),
            None => Wanted::Nothing,
        }
    }
}

/// One reader's wait for a range. May be dropped half-way.
pub(super) struct Filled<'a> {
    progress: &'a Progress,
    range: Range<u64>,
    ticket: Option<u64>,
}

impl<'a> Filled<'a> {
    pub(super) fn new(progress: &'a Progress, range: Range<u64>) -> Filled<'a> {
        Filled { progress, range, ticket: None }
    }
}

impl Future for Filled<'_> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.progress.lock();
        if state.spans.contain(&self.range) {
            return Poll::Ready(Ok(()));
        }
        if let Some((kind, doing)) = state.failed {
            return Poll::Ready(Err(Error::new(kind).doing(doing)));
        }
        let waker = cx.waker().clone();
        if let Some(waiting) = self.ticket.and_then(|ticket| state.waiting.get_mut(&ticket)) {
            waiting.waker = waker;
            return Poll::Pending;
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.insert(ticket, Waiting { range: self.range.clone(), waker });
        drop(state);
        self.ticket = Some(ticket);
        self.progress.tell_filler();
        Poll::Pending
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.progress.lock().waiting.remove(&ticket);
        }
    }
}
