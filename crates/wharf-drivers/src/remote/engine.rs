//! The two threads that talk to the service, and how a queue waits for them.
//!
//! A queue never blocks: what is slow runs here, and the operation awaits its end, woken from this side.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use wharf::{Context, Error};

use super::Result;

/// Enough for hundreds of operations in flight: they wait, they do not compute.
const THREADS: usize = 2;
/// For local files, names of hosts, and what else blocks.
const BLOCKING_THREADS_MAX: usize = 16;

/// What still blocks at the end, a host that does not answer or a disc, is not waited for longer.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// The threads. They end with the volume.
#[derive(Debug)]
pub(super) struct Engine {
    handle: Handle,
    /// Taken at the end.
    runtime: Mutex<Option<Runtime>>,
}

impl Engine {
    pub(super) fn start() -> std::io::Result<Engine> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).max_blocking_threads(BLOCKING_THREADS_MAX);
        let runtime = builder.thread_name("wharf-remote").enable_all().build()?;
        Ok(Engine { handle: runtime.handle().clone(), runtime: Mutex::new(Some(runtime)) })
    }

    /// Ends what is still going on: it has had its deadline. Not to be called on its own threads.
    pub(super) fn end(&self) {
        if let Some(runtime) = self.take() {
            runtime.shutdown_timeout(END_PATIENCE);
        }
    }

    /// Whether nothing is done any more.
    pub(super) fn has_ended(&self) -> bool {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn take(&self) -> Option<Runtime> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Starts work that goes on whoever waits.
    pub(super) fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }

    /// Does work to its end. If the waiting is dropped the work goes on.
    pub(super) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        ended(self.handle.spawn(work).await)
    }

    /// Does work that ends half-way when the caller gives up: nothing that changes anything.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        cx: &Context,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        cx.unless_cancelled(Abandoned(self.handle.spawn(work))).await
    }

    /// A wait of another thread for what is done here, for as long as `patience` lasts.
    pub(super) async fn await_within<T>(
        &self,
        patience: Duration,
        doing: &'static str,
        wait: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let timed = {
            // The clock is of these threads.
            let _here = self.handle.enter();
            tokio::time::timeout(patience, wait)
        };
        timed.await.unwrap_or_else(|_| Err(late(doing)))
    }

    /// Blocks this thread, which is no queue's, until the work is done.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.handle.block_on(work)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // This may be one of its own threads, which must not wait for itself.
        if let Some(runtime) = self.take() {
            runtime.shutdown_background();
        }
    }
}

/// Work that is given up with the wait for it.
struct Abandoned<T>(JoinHandle<Result<T>>);

impl<T> Future for Abandoned<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<T>> {
        Poll::Ready(ended(ready!(Pin::new(&mut self.0).poll(cx))))
    }
}

impl<T> Drop for Abandoned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn ended<T>(ended: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    ended.unwrap_or_else(|error| Err(Error::io("talking to the service").because(error)))
}

/// `work`, for as long as `patience` lasts.
pub(super) async fn within<T>(
    patience: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| Err(late(doing)))
}

/// What was not done in time.
pub(super) fn late(doing: &'static str) -> Error {
    Error::new(wharf::error::Kind::TimedOut).doing(doing).because("the service did not answer in time")
}
