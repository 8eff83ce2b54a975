//! Author code where no queue catches its panics: starting, ending, and the destructors of values.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Runs `future`; `None` if it panicked, which has been logged.
pub(super) async fn caught<T>(doing: &str, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(panic) => {
            log::error!("{doing}: the file system panicked: {}", panic_words(&*panic));
            Poll::Ready(None)
        }
    })
    .await
}

/// Drops a value of the author's.
pub(super) fn drop_caught<T>(value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        log::error!("dropping a node or file: the file system panicked: {}", panic_words(&*panic));
    }
}

/// What a panic said.
pub(super) fn panic_words(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words given")
}
