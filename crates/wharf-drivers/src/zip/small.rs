//! Small members: unpacked whole at the first read, and checked before any of it is given out.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use wharf::Error;
use wharf::error::Kind;

use super::contents::Contents;
use super::index::{Member, Number};

/// A small member that somebody has open.
#[derive(Debug)]
pub(super) struct Small {
    contents: Arc<Contents>,
    number: Number,
    member: Member,
    step: Mutex<Step>,
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    Packed,
    /// And who waits.
    Unpacking(Vec<Waker>),
    Unpacked(Arc<[u8]>),
    Failed(Kind),
}

impl Small {
    /// For who has taken room for it, which goes back when this is dropped.
    pub(super) fn new(contents: Arc<Contents>, number: Number, member: Member) -> Small {
        Small { contents, number, member, step: Mutex::default() }
    }

    /// Its bytes, unpacked now if nobody has asked before.
    pub(super) async fn bytes(self: &Arc<Self>) -> wharf::Result<Arc<[u8]>> {
        poll_fn(|cx| {
            let mut step = self.lock();
            match &mut *step {
                Step::Unpacked(bytes) => return Poll::Ready(Ok(bytes.clone())),
                Step::Failed(kind) => return Poll::Ready(Err(Error::new(*kind))),
                Step::Unpacking(waiting) => {
                    if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                        waiting.push(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
                Step::Packed => *step = Step::Unpacking(vec![cx.waker().clone()]),
            }
            drop(step);
            let job = Job(self.clone());
            // Not awaited: several may wait for it.
            self.contents.start_quick(move || job.run());
            Poll::Pending
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Step> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, step: Step) {
        let before = std::mem::replace(&mut *self.lock(), step);
        if let Step::Unpacking(waiting) = before {
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.contents.forget_small(self.number);
        self.contents.give_back(self.member.size);
    }
}

/// The unpacking of a small member. However it ends, nobody waits for ever.
struct Job(Arc<Small>);

impl Job {
    fn run(self) {
        let small = &self.0;
        small.end(match small.contents.whole(small.number, &small.member) {
            Ok(bytes) => Step::Unpacked(bytes.into()),
            Err(error) => Step::Failed(error.kind()),
        });
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if matches!(*self.0.lock(), Step::Unpacking(_)) {
            self.0.end(Step::Failed(Kind::Io));
        }
    }
}
