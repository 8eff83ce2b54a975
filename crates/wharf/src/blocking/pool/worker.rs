//! One thread of a pool, and how it is found while it is idle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Job, Shared};

/// The idle threads of one CPU; the one that worked last is the last.
// Two lanes in one cache line would make two CPUs meet there.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct Lane(Mutex<Vec<Arc<Seat>>>);

/// Where an idle thread gets its next order.
#[derive(Default)]
pub(super) struct Seat {
    order: Mutex<Option<Order>>,
    came: Condvar,
}

pub(super) enum Order {
    Run(Job),
    /// At the crew.
    Look,
}

impl Lane {
    fn idle(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pop(&self) -> Option<Arc<Seat>> {
        self.idle().pop()
    }

    /// Takes one thread out; false if somebody was faster, whose order is then on its way.
    fn remove(&self, seat: &Arc<Seat>) -> bool {
        let mut idle = self.idle();
        let place = idle.iter().rposition(|other| Arc::ptr_eq(other, seat));
        place.map(|place| idle.remove(place)).is_some()
    }
}

impl Seat {
    fn order(&self) -> MutexGuard<'_, Option<Order>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn give(&self, order: Order) {
        *self.order() = Some(order);
        self.came.notify_one();
    }

    fn wait(&self) -> Order {
        let mut order = self.order();
        loop {
            if let Some(order) = order.take() {
                return order;
            }
            order = self.came.wait(order).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait_for(&self, patience: Duration) -> Option<Order> {
        let waited = self.came.wait_timeout_while(self.order(), patience, |order| order.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

/// One thread of the pool.
pub(super) struct Worker<'a> {
    pub(super) shared: &'a Shared,
    pub(super) cpu: usize,
    pub(super) seat: Arc<Seat>,
}

/// What a thread finds when it looks at the crew.
enum Found {
    Work(Job),
    Nothing,
    /// It has been counted out and must end.
    End,
}

impl Worker<'_> {
    pub(super) fn work(&self, first: Option<Job>) {
        let mut next = first;
        loop {
            let mut idle = false;
            if let Some(job) = next.take() {
                // The thread is idle before the answer is out: whoever gets it may submit the next job at once.
                let mut before_answer = || idle = self.become_idle();
                if catch_unwind(AssertUnwindSafe(|| job(&mut before_answer))).is_err() {
                    log::error!("blocking work panicked while its result was dropped");
                }
            }
            if !idle {
                match self.look(false) {
                    Found::Work(job) => next = Some(job),
                    Found::Nothing => idle = self.become_idle(),
                    Found::End => return,
                }
            }
            if idle {
                match self.rest() {
                    Found::Work(job) => next = Some(job),
                    Found::Nothing => {}
                    Found::End => return,
                }
            }
        }
    }

    /// Goes on the list of idle threads. False if there is something to look at first.
    fn become_idle(&self) -> bool {
        let lane = &self.shared.lanes[self.cpu];
        lane.idle().push(self.seat.clone());
        // After the push: whoever set the flag before it may not have seen this thread.
        !(self.shared.look.load(Ordering::SeqCst) && lane.remove(&self.seat))
    }

    /// Waits, as one of the idle, for an order.
    fn rest(&self) -> Found {
        let patience = Duration::from_millis(self.shared.limits.idle_ms.into());
        let order = match self.seat.wait_for(patience) {
            Some(order) => order,
            None if self.shared.lanes[self.cpu].remove(&self.seat) => return self.look(true),
            None => self.seat.wait(),
        };
        match order {
            Order::Run(job) => Found::Work(job),
            Order::Look => self.look(false),
        }
    }

    /// Looks at the crew for work, or a reason to end. `leaving`: without work, that is one.
    fn look(&self, leaving: bool) -> Found {
        let mut crew = self.shared.crew();
        // As many as may be are at work without this thread, where one that waited has come back.
        let surplus = crew.threads > self.shared.threads_max(&crew);
        if !surplus && let Some(job) = crew.backlog.pop_front() {
            self.shared.note(&crew);
            return Found::Work(job);
        }
        if !(leaving || surplus || crew.closed) {
            return Found::Nothing;
        }
        crew.threads -= 1;
        self.shared.note(&crew);
        if crew.threads == 0 {
            self.shared.ended.notify_all();
        }
        Found::End
    }
}
