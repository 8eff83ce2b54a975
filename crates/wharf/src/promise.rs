//! A value that comes later, from any thread.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
    /// The promise is gone; without a value none will come.
    over: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    came: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side that will have the value.
pub(crate) struct Promise<T>(Arc<Shared<T>>);

/// The side that waits: a future, or [`wait`](Self::wait). `None` if the promise was dropped.
pub(crate) struct Promised<T>(Arc<Shared<T>>);

pub(crate) fn promise<T>() -> (Promise<T>, Promised<T>) {
    let state = Mutex::new(State { value: None, waker: None, over: false });
    let shared = Arc::new(Shared { state, came: Condvar::new() });
    (Promise(shared.clone()), Promised(shared))
}

impl<T> Promise<T> {
    /// Whether somebody still waits, or may.
    pub(crate) fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub(crate) fn keep(self, value: T) {
        self.0.lock().value = Some(value);
    }
}

impl<T> Drop for Promise<T> {
    /// Kept or not, whoever waits is told. No author's code runs here: a waker only marks.
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.over = true;
        let waker = state.waker.take();
        drop(state);
        self.0.came.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Promised<T> {
    /// Blocks this thread until the value is there.
    pub(crate) fn wait(self) -> Option<T> {
        let state = self.0.lock();
        let mut state =
            self.0.came.wait_while(state, |state| !state.over).unwrap_or_else(PoisonError::into_inner);
        state.value.take()
    }
}

impl<T> Future for Promised<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock();
        if state.over {
            return Poll::Ready(state.value.take());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker that unparks a thread.
pub(crate) fn unpark(thread: Thread) -> Waker {
    Arc::new(Unpark(thread)).into()
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

impl<T> fmt::Debug for Promised<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promised")
    }
}

#[cfg(test)]
mod tests {
    use super::promise;

    #[test]
    fn a_broken_promise_ends_the_wait() {
        let (promise, promised) = promise::<u8>();
        let waiting = std::thread::spawn(|| promised.wait());
        drop(promise);
        assert_eq!(waiting.join().unwrap(), None);
    }

    #[test]
    fn a_kept_promise_brings_its_value() {
        let (promise, promised) = promise();
        promise.keep(7);
        assert_eq!(promised.wait(), Some(7));
    }
}
