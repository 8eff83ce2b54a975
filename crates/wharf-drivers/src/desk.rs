//! A lock that is waited for without blocking a queue. Who holds it has the value itself.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// One value for one user at a time, in the order of asking.
#[derive(Debug)]
pub(crate) struct Desk<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    /// `None` while somebody has it.
    value: Option<Box<T>>,
    /// Tickets of those who wait; the first is next.
    waiting: VecDeque<(u64, Waker)>,
    tickets: u64,
}

impl<T> Desk<T> {
    pub(crate) fn new(value: T) -> Desk<T> {
        Desk(Mutex::new(State { value: Some(Box::new(value)), waiting: VecDeque::new(), tickets: 0 }))
    }

    /// Waits for the value.
    pub(crate) async fn take(&self) -> Taken<'_, T> {
        let mut place = Place { desk: self, ticket: None };
        let value = poll_fn(|cx| place.poll(cx)).await;
        Taken { desk: self, value: Some(value) }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, given up when it is dropped.
struct Place<'a, T> {
    desk: &'a Desk<T>,
    ticket: Option<u64>,
}

impl<T> Place<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Box<T>> {
        let mut state = self.desk.state();
        let first = state.waiting.front().map(|(ticket, _)| *ticket);
        if (first.is_none() || first == self.ticket)
            && let Some(value) = state.value.take()
        {
            if self.ticket.take().is_some() {
                state.waiting.pop_front();
            }
            return Poll::Ready(value);
        }
        match self.ticket {
            Some(mine) => {
                if let Some((_, waker)) = state.waiting.iter_mut().find(|(ticket, _)| *ticket == mine) {
                    waker.clone_from(cx.waker());
                }
            }
            None => {
                state.tickets += 1;
                self.ticket = Some(state.tickets);
                let ticket = state.tickets;
                state.waiting.push_back((ticket, cx.waker().clone()));
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let Some(mine) = self.ticket else { return };
        let mut state = self.desk.state();
        state.waiting.retain(|(ticket, _)| *ticket != mine);
        // It may have been our turn.
        let next = state.value.is_some().then(|| state.waiting.front().map(|(_, waker)| waker.clone()));
        drop(state);
        if let Some(waker) = next.flatten() {
            waker.wake();
        }
    }
}

/// The value, until this is dropped.
pub(crate) struct Taken<'a, T> {
    desk: &'a Desk<T>,
    /// `None` only while being dropped.
    value: Option<Box<T>>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("present until dropped")
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("present until dropped")
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        state.value = self.value.take();
        let next = state.waiting.front().map(|(_, waker)| waker.clone());
        drop(state);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

/// Runs a future on this thread, which waits with it.
#[cfg(any(feature = "fat", test))]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    use std::sync::Arc;
    use std::task::Wake;
    use std::thread::{self, Thread};

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = std::pin::pin!(future);
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn whoever_asks_gets_the_value_alone_and_in_turn() {
        let desk = Arc::new(Desk::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let desk = desk.clone();
                thread::spawn(move || {
                    for _ in 0..2000 {
                        *block_on(desk.take()) += 1;
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*block_on(desk.take()), 8000);
    }

    #[test]
    fn a_turn_that_is_given_up_goes_to_the_next() {
        let desk = Desk::new(());
        let mut cx = Context::from_waker(Waker::noop());
        let first = block_on(desk.take());
        let mut second = Box::pin(desk.take());
        let mut third = Box::pin(desk.take());
        assert!(second.as_mut().poll(&mut cx).is_pending() && third.as_mut().poll(&mut cx).is_pending());
        drop(first);
        assert!(third.as_mut().poll(&mut cx).is_pending(), "it is the second's turn");
        drop(second);
        assert!(third.as_mut().poll(&mut cx).is_ready());
    }
}
