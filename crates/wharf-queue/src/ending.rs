//! How a volume's threads learn that it ends, and how the volume learns that they have.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wharf::session::{Completion, Queue};

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Operations run as long as they like.
    Serve = 0,
    /// They are told that nobody waits any more.
    Cancel = 1,
    /// They are dropped.
    Abandon = 2,
}

/// The state of the end, shared by all threads of a volume.
#[derive(Debug, Default)]
pub struct Ending {
    /// A [`Phase`] as a number.
    phase: AtomicU8,
    threads: Mutex<usize>,
    fewer: Condvar,
}

impl Ending {
    /// How far it has come.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Serve,
            1 => Phase::Cancel,
            _ => Phase::Abandon,
        }
    }

    /// Goes on to `phase`, never back.
    pub fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
    }

    /// Does to a queue what the phase demands; given-up operations go to `done`. True when it has nothing more
    /// to do.
    pub fn enforce(&self, queue: &mut (impl Queue + ?Sized), done: &mut dyn FnMut(Completion)) -> bool {
        match self.phase() {
            Phase::Serve => false,
            Phase::Cancel => {
                queue.cancel_all();
                false
            }
            Phase::Abandon => {
                queue.abandon(done);
                true
            }
        }
    }

    /// Counts a thread as running until the guard is dropped.
    pub fn thread(self: &std::sync::Arc<Self>) -> Running {
        *self.threads.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Running(self.clone())
    }

    /// Waits until no thread runs. False if some still do when the time is over; `None` waits for ever.
    pub fn wait(&self, at_most: Option<Duration>) -> bool {
        self.wait_for(0, at_most)
    }

    /// Waits until no more than `few` threads run.
    pub fn wait_for(&self, few: usize, at_most: Option<Duration>) -> bool {
        let deadline = at_most.map(|wait| Instant::now() + wait);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        while *threads > few {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            threads = match left {
                None => self.fewer.wait(threads).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    self.fewer.wait_timeout(threads, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}

/// One running thread.
#[derive(Debug)]
pub struct Running(std::sync::Arc<Ending>);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.fewer.notify_all();
    }
}
