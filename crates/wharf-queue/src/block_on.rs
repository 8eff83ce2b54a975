//! Waiting for a future on an ordinary thread, for a time. For the start and the end of a volume.

use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The future's value; `None`, and the future is dropped, if it takes longer than `at_most`.
pub fn block_on<T>(future: impl Future<Output = T>, at_most: Duration) -> Option<T> {
    let deadline = Instant::now() + at_most;
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::block_on;
    use std::time::Duration;

    #[test]
    fn a_future_that_never_ends_is_given_up() {
        assert_eq!(block_on(std::future::pending::<()>(), Duration::from_millis(10)), None);
        assert_eq!(block_on(async { 7 }, Duration::ZERO), Some(7));
    }
}
