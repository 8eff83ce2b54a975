//! Threads for code that blocks: as many as there is work for, up to a limit.
//!
//! A job goes to an idle thread of the CPU that submits it, if there is one: a hand-over on one CPU costs
//! a small part of waking another CPU. Of several the one that worked last is woken, because its stack is
//! still in the cache; the others, not woken for a while, end.
//!
//! Locks are taken in no nested order: a lane's and the crew's lock are never held together. Two rules keep
//! work from being left behind while a thread is idle: who adds to the backlog looks for idle threads
//! afterwards, and who becomes idle looks at the backlog afterwards.

mod worker;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::promise::{Promised, promise};

use worker::{Lane, Order, Worker};

/// How far a pool may grow, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Threads for ordinary jobs. When all are busy, jobs wait their turn.
    pub threads_max: u32,
    /// Jobs that [wait](Pool::run_waiting) for other jobs, each with a thread beyond
    /// [`threads_max`](Self::threads_max). One more is refused: queued, it could wait for itself.
    pub waits_max: u32,
    /// How long a thread stays without work.
    pub idle_ms: u32,
}

impl Default for PoolLimits {
    fn default() -> PoolLimits {
        PoolLimits { threads_max: 64, waits_max: 1024, idle_ms: 10_000 }
    }
}

/// Where threads run. Supplied by whoever can ask the system; without it, threads run anywhere.
pub trait Placement: Send + Sync + 'static {
    /// One more than the highest number that [`current_cpu`](Self::current_cpu) returns.
    fn cpus(&self) -> usize;

    /// The CPU on which the calling thread runs now.
    fn current_cpu(&self) -> usize;

    /// Keeps the calling thread on this CPU. A failure is no harm.
    fn pin_to(&self, cpu: usize);
}

/// An elastic pool of threads for code that blocks. Clones share the threads.
///
/// When the last clone is dropped the pool takes no more jobs, and its threads end after those they have;
/// nobody waits for that. [`shutdown`](Self::shutdown) does.
#[derive(Clone)]
pub struct Pool(Arc<Owner>);

struct Owner(Arc<Shared>);

struct Shared {
    limits: PoolLimits,
    placement: Option<Box<dyn Placement>>,
    /// One for each CPU.
    lanes: Box<[Lane]>,
    crew: Mutex<Crew>,
    /// The last thread of a closed pool has ended.
    ended: Condvar,
    /// The crew has a backlog, is closed or too many: an idle thread has something to look at.
    look: AtomicBool,
}

#[derive(Default)]
struct Crew {
    threads: usize,
    /// Running jobs that wait for others.
    waits: usize,
    backlog: VecDeque<Job>,
    closed: bool,
}

/// Told to call its argument when the work is done and before anybody learns of it.
type Job = Box<dyn FnOnce(&mut dyn FnMut()) + Send>;

impl Pool {
    /// A pool whose threads run anywhere. No thread is made before the first job.
    pub fn new(limits: PoolLimits) -> Pool {
        Pool::build(limits, None)
    }

    /// A pool whose threads stay on the CPUs for which they were made.
    pub fn placed(limits: PoolLimits, placement: impl Placement) -> Pool {
        Pool::build(limits, Some(Box::new(placement)))
    }

    fn build(limits: PoolLimits, placement: Option<Box<dyn Placement>>) -> Pool {
        let cpus = placement.as_ref().map_or(1, |placement| placement.cpus().max(1));
        Pool(Arc::new(Owner(Arc::new(Shared {
            limits,
            placement,
            lanes: (0..cpus).map(|_| Lane::default()).collect(),
            crew: Mutex::default(),
            ended: Condvar::new(),
            look: AtomicBool::new(false),
        }))))
    }

    /// Runs `job` on a thread of the pool, never on this one. It is handed over at once; the future resolves
    /// when it is done. Dropping the future does not stop the job.
    ///
    /// A panic in the job goes on in whoever awaits the future.
    ///
    /// # Errors
    /// Those of the job; [`Kind::Io`] when the pool has ended, or the system gives it no thread at all.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> Result<T> + Send + 'static) -> Running<T> {
        let (job, running) = package(job, || {});
        self.0.0.submit(job);
        running
    }

    /// As [`run`](Self::run), for a job that waits for what another job may have to do: a lock, say, that
    /// another must give up. It takes no place from ordinary jobs.
    ///
    /// # Errors
    /// As `run`, and [`Kind::Busy`] when [`waits_max`](PoolLimits::waits_max) jobs wait already.
    pub fn run_waiting<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Running<T> {
        let shared = &self.0.0;
        match shared.admit_wait() {
            Some(wait) => {
                let (job, running) = package(job, move || drop(wait));
                shared.submit(job);
                running
            }
            None => {
                let (promise, running) = promise();
                let refused = Error::new(Kind::Busy).doing("waiting: as many as may are waiting already");
                promise.keep(Ok(Err(refused)));
                Running(running)
            }
        }
    }

    /// Takes no more jobs, and waits until those it has are done and every thread has ended, or `patience` is
    /// at an end. True if all have ended.
    ///
    /// Called in a job of this pool it would wait for itself, patiently.
    pub fn shutdown(&self, patience: Duration) -> bool {
        let shared = &self.0.0;
        shared.close();
        let deadline = Instant::now().checked_add(patience);
        let mut crew = shared.crew();
        while crew.threads > 0 {
            let Some(deadline) = deadline else {
                crew = shared.ended.wait(crew).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            crew = shared.ended.wait_timeout(crew, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Threads that there are now.
    pub fn threads(&self) -> usize {
        self.0.0.crew().threads
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crew = self.0.0.crew();
        let mut f = f.debug_struct("Pool");
        f.field("threads", &crew.threads).field("waits", &crew.waits).field("backlog", &crew.backlog.len());
        f.finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// One of the jobs that wait for others; gives its place back when dropped, run or not.
struct Wait(Arc<Shared>);

impl Drop for Wait {
    fn drop(&mut self) {
        let mut crew = self.0.crew();
        crew.waits -= 1;
        self.0.note(&crew);
    }
}

/// What the job returned, or the words of its panic.
type Outcome<T> = std::result::Result<Result<T>, Box<dyn Any + Send>>;

/// A job of a pool that runs or waits to be run. The future of what it returns.
#[derive(Debug)]
#[must_use = "what the job returns is lost"]
pub struct Running<T>(Promised<Outcome<T>>);

impl<T> Future for Running<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Result<T>> {
        Pin::new(&mut self.0).poll(cx).map(|outcome| match outcome {
            Some(Ok(result)) => result,
            Some(Err(panic)) => resume_unwind(panic),
            None => Err(Error::io("handing blocking work over: no thread could take it")),
        })
    }
}

/// A job for the pool, and the future of its outcome. `after` runs on the pool too, when the job is done.
fn package<T: Send + 'static>(
    job: impl FnOnce() -> Result<T> + Send + 'static,
    after: impl FnOnce() + Send + 'static,
) -> (Job, Running<T>) {
    let (promise, promised) = promise();
    let package = Box::new(move |before_answer: &mut dyn FnMut()| {
        let outcome = catch_unwind(AssertUnwindSafe(job));
        after();
        before_answer();
        promise.keep(outcome);
    });
    (package, Running(promised))
}

impl Shared {
    fn crew(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cpu(&self) -> usize {
        let cpu = self.placement.as_ref().map_or(0, |placement| placement.current_cpu());
        cpu.min(self.lanes.len() - 1)
    }

    fn admit_wait(self: &Arc<Self>) -> Option<Wait> {
        let mut crew = self.crew();
        if crew.waits >= self.limits.waits_max as usize {
            return None;
        }
        crew.waits += 1;
        self.note(&crew);
        Some(Wait(self.clone()))
    }

    /// To be called after every change of the crew, before its lock is given up.
    fn note(&self, crew: &Crew) {
        let look = crew.closed || !crew.backlog.is_empty() || crew.threads > self.threads_max(crew);
        self.look.store(look, Ordering::SeqCst);
    }

    fn submit(self: &Arc<Self>, job: Job) {
        let cpu = self.cpu();
        if let Some(seat) = self.lanes[cpu].pop() {
            return seat.give(Order::Run(job));
        }
        let mut crew = self.crew();
        if crew.closed {
            drop(crew);
            // Without a lock, because the job's destructors are the author's; whoever awaits it is told.
            return drop(job);
        }
        if crew.threads < self.threads_max(&crew) {
            crew.threads += 1;
            drop(crew);
            return self.hire(cpu, job);
        }
        self.add_to_backlog(crew, job);
    }

    fn threads_max(&self, crew: &Crew) -> usize {
        self.limits.threads_max.max(1) as usize + crew.waits
    }

    fn add_to_backlog(&self, mut crew: MutexGuard<'_, Crew>, job: Job) {
        crew.backlog.push_back(job);
        self.note(&crew);
        drop(crew);
        // A thread may have become idle since its lane was looked at, or be idle on another CPU.
        if let Some(seat) = self.lanes.iter().find_map(Lane::pop) {
            seat.give(Order::Look);
        }
    }

    /// Starts a thread, which has been counted, with its first job.
    fn hire(self: &Arc<Self>, cpu: usize, job: Job) {
        // If no thread can be had, the job is wanted back.
        let first = Arc::new(Mutex::new(Some(job)));
        let (shared, theirs) = (self.clone(), first.clone());
        let spawned = std::thread::Builder::new().name("wharf-pool".into()).spawn(move || {
            if let Some(placement) = &shared.placement {
                placement.pin_to(cpu);
            }
            let job = theirs.lock().unwrap_or_else(PoisonError::into_inner).take();
            Worker { shared: &shared, cpu, seat: Arc::default() }.work(job);
        });
        let Err(error) = spawned else { return };
        log::warn!("no thread for blocking work: {error}");
        let Some(job) = first.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let mut crew = self.crew();
        crew.threads -= 1;
        self.note(&crew);
        if crew.threads > 0 {
            self.add_to_backlog(crew, job);
        } else {
            drop(crew);
            drop(job);
        }
    }

    fn close(&self) {
        let mut crew = self.crew();
        crew.closed = true;
        self.note(&crew);
        drop(crew);
        for lane in &self.lanes {
            while let Some(seat) = lane.pop() {
                seat.give(Order::Look);
            }
        }
    }
}

#[cfg(test)]
mod tests;
