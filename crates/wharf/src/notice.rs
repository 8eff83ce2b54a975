//! What a volume tells others unasked: contents changed, a name gone, attributes stale.
//!
//! Notices may be sent from any thread, at any time, also inside an operation. They are queued here and
//! sent by a thread of the transport's that holds no lock and runs no operation: the kernel may keep a
//! notice waiting until a read of the same file has been answered, and whoever waited for the notice
//! there would wait for ever. So inside an operation, send and go on; do not await the confirmation of a
//! notice about the file that the operation itself is busy with.
//!
//! Change your own state first, then send the notice: what the kernel asks next must get the new answer.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;

use crate::error::{Error, Kind, Result};
use crate::op::PollWaker;
use crate::promise::{Promise, Promised, promise};
use crate::session::Watch;

/// One notice. Nodes are named by their inode numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Notice {
    /// Bytes of a file changed (`u64::MAX` as the end: all that follow), and so did its attributes.
    Contents {
        /// The file.
        inode: u64,
        /// The bytes.
        range: Range<u64>,
    },
    /// Attributes changed; contents did not.
    Attributes {
        /// The node.
        inode: u64,
    },
    /// A name may lead elsewhere now, or nowhere. The kernel forgets it, with all below it.
    EntryGone {
        /// The directory.
        parent: u64,
        /// The name.
        name: OsString,
    },
    /// The lifetime of a name is over; it is asked for again at the next use.
    EntryExpired {
        /// The directory.
        parent: u64,
        /// The name.
        name: OsString,
    },
    /// A name was removed elsewhere. Those who watch it (inotify) are told.
    Deleted {
        /// The directory.
        parent: u64,
        /// What had the name.
        child: u64,
        /// The name.
        name: OsString,
    },
    /// Puts bytes into the kernel's cache of a file.
    Store {
        /// The file.
        inode: u64,
        /// First byte.
        offset: u64,
        /// The bytes.
        bytes: Arc<[u8]>,
    },
    /// Asks for bytes that the kernel's cache has of a file. The confirmation brings them.
    Retrieve {
        /// The file.
        inode: u64,
        /// First byte.
        offset: u64,
        /// Bytes at the most.
        size: u32,
    },
    /// Asks the kernel to give up what it does not need of these nodes.
    Prune {
        /// The nodes.
        inodes: Vec<u64>,
    },
    /// Ends the lifetime of every name at once.
    Epoch,
    /// Something happened to a file that somebody polls.
    Poll {
        /// Who waits.
        waker: PollWaker,
    },
}

impl Notice {
    /// Whether saying it once is as good as saying it twice.
    fn can_merge(&self) -> bool {
        !matches!(self, Notice::Store { .. } | Notice::Retrieve { .. })
    }
}

/// What became of a notice: bytes for [`Notice::Retrieve`], nothing for the others.
pub type Answer = Result<Vec<u8>>;

/// A notice on its way to the kernel, with those who wait for it.
#[derive(Debug)]
pub struct Pending {
    /// What is to be told.
    pub notice: Notice,
    waiting: Vec<Promise<Answer>>,
}

impl Pending {
    /// Tells those who wait. An error of the kind [`Kind::NotFound`] is success: who does not know a thing
    /// needs no notice of it.
    pub fn confirm(self, answer: Answer) {
        let answer = match answer {
            Err(error) if error.kind().errno() == Kind::NotFound.errno() => Ok(Vec::new()),
            other => other,
        };
        let kind = answer.as_ref().err().map(Error::kind);
        let mut answer = Some(answer);
        for promise in self.waiting {
            // Merged notices carry no bytes, so the first may have the answer and the rest a copy of its kind.
            promise.keep(answer.take().unwrap_or(match kind {
                None => Ok(Vec::new()),
                Some(kind) => Err(Error::new(kind)),
            }));
        }
    }
}

/// The confirmation of a notice: a future, or [`wait`](Self::wait). It may be dropped.
#[derive(Debug)]
pub struct Confirmation(Promised<Answer>);

impl Confirmation {
    /// Blocks this thread until the notice has reached the kernel. Never call it inside an operation.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Answer {
        self.0.wait().unwrap_or_else(gone)
    }
}

impl Future for Confirmation {
    type Output = Answer;

    /// Errors: [`Kind::Busy`] when there was no room for the notice, [`Kind::NotSupported`] when the kernel
    /// does not know it, [`Kind::Io`] when the volume ended first.
    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Answer> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or_else(gone))
    }
}

fn gone() -> Answer {
    Err(Error::io("sending a notice: the volume has ended"))
}

/// Sends notices. Cheap to clone; from [`Context::notifier`](crate::Context::notifier) or the volume.
#[derive(Clone, Debug)]
pub struct Notifier {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    came: Condvar,
    notices_max: usize,
    watch: OnceLock<Arc<dyn Watch>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    /// Where notices that can merge are, counted from the first notice ever.
    places: HashMap<Notice, u64>,
    taken: u64,
    closed: bool,
}

impl Notifier {
    /// A queue of at most `notices_max` notices.
    pub fn new(notices_max: u32) -> Notifier {
        let shared = Shared {
            queue: Mutex::default(),
            came: Condvar::new(),
            notices_max: notices_max as usize,
            watch: OnceLock::new(),
        };
        Notifier { shared: Arc::new(shared) }
    }

    /// Queues a notice. Returns at once; never blocks.
    ///
    /// A notice that waits already is not queued a second time: both are confirmed when it is sent. When
    /// there is no room the confirmation says so, and the kernel has not been told.
    pub fn send(&self, notice: Notice) -> Confirmation {
        if let Some(watch) = self.shared.watch.get() {
            watch.noticed(&notice);
            if let Notice::Contents { inode, range } = &notice {
                watch.changed(*inode, range.clone());
            }
        }
        let (promise, promised) = promise();
        let confirmation = Confirmation(promised);
        let mut queue = self.lock();
        if queue.closed {
            return confirmation;
        }
        let place = queue.places.get(&notice).map(|place| (place - queue.taken) as usize);
        if let Some(pending) = place.and_then(|place| queue.waiting.get_mut(place)) {
            // Most senders do not wait: those are not collected without bound.
            if pending.waiting.len() == pending.waiting.capacity() {
                pending.waiting.retain(Promise::is_awaited);
            }
            pending.waiting.push(promise);
            return confirmation;
        }
        if queue.waiting.len() >= self.shared.notices_max {
            drop(queue);
            log::warn!("a notice was refused: {} are waiting already", self.shared.notices_max);
            promise.keep(Err(Error::new(Kind::Busy).doing("queueing a notice")));
            return confirmation;
        }
        if notice.can_merge() {
            let place = queue.taken + queue.waiting.len() as u64;
            queue.places.insert(notice.clone(), place);
        }
        queue.waiting.push_back(Pending { notice, waiting: vec![promise] });
        drop(queue);
        self.shared.came.notify_one();
        confirmation
    }

    /// Has `watch` told of changes.
    pub(crate) fn watch(&self, watch: Arc<dyn Watch>) {
        let _ = self.shared.watch.set(watch);
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.shared.watch.get().is_some()
    }

    /// Tells whoever watches; nobody else.
    pub(crate) fn changed(&self, inode: u64, range: &Range<u64>) {
        if let Some(watch) = self.shared.watch.get() {
            watch.changed(inode, range.clone());
        }
    }

    /// Tells whoever watches that a file is written to now, or no more.
    pub(crate) fn written(&self, inode: u64, by_somebody: bool) {
        if let Some(watch) = self.shared.watch.get() {
            watch.written(inode, by_somebody);
        }
    }

    /// Tells whoever watches that names of a directory begin to change, or have changed.
    pub(crate) fn names(&self, directory: u64, begins: bool) {
        if let Some(watch) = self.shared.watch.get() {
            watch.names(directory, begins);
        }
    }

    /// All contents of a file changed, and its attributes.
    pub fn contents(&self, inode: u64) -> Confirmation {
        self.send(Notice::Contents { inode, range: 0..u64::MAX })
    }

    /// Attributes of a node changed.
    pub fn attributes(&self, inode: u64) -> Confirmation {
        self.send(Notice::Attributes { inode })
    }

    /// A name may lead elsewhere now, or nowhere.
    pub fn entry_gone(&self, parent: u64, name: &OsStr) -> Confirmation {
        self.send(Notice::EntryGone { parent, name: name.to_owned() })
    }

    /// Something happened to a file that somebody polls.
    pub fn poll(&self, waker: PollWaker) -> Confirmation {
        self.send(Notice::Poll { waker })
    }

    /// Takes the next notice, for the transport's thread; waits for one. `None` when closed.
    pub fn next(&self) -> Option<Pending> {
        let mut queue = self.lock();
        loop {
            if let Some(pending) = queue.waiting.pop_front() {
                queue.taken += 1;
                queue.places.remove(&pending.notice);
                return Some(pending);
            }
            if queue.closed {
                return None;
            }
            queue = self.shared.came.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends it: what still waits is not sent, and whoever waits for it gets an error.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let unsent = std::mem::take(&mut queue.waiting);
        queue.places.clear();
        drop(queue);
        self.shared.came.notify_all();
        drop(unsent);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_that_waits_already_is_sent_once_and_confirmed_twice() {
        let notifier = Notifier::new(10);
        let first = notifier.contents(5);
        notifier.attributes(5);
        let second = notifier.contents(5);
        let sent = notifier.next().unwrap();
        assert_eq!(sent.notice, Notice::Contents { inode: 5, range: 0..u64::MAX });
        sent.confirm(Ok(Vec::new()));
        assert!(first.wait().is_ok() && second.wait().is_ok());
        assert_eq!(notifier.next().unwrap().notice, Notice::Attributes { inode: 5 });
        notifier.contents(5);
        assert!(matches!(notifier.next().unwrap().notice, Notice::Contents { .. }), "sent ones do not merge");
    }

    #[test]
    fn merged_notices_that_nobody_waits_for_take_no_room() {
        let notifier = Notifier::new(10);
        let first = notifier.contents(5);
        for _ in 0..10_000 {
            drop(notifier.contents(5));
        }
        let sent = notifier.next().unwrap();
        assert!(sent.waiting.len() < 100, "{} promises", sent.waiting.len());
        sent.confirm(Ok(Vec::new()));
        assert!(first.wait().is_ok());
    }

    #[test]
    fn without_room_the_sender_is_told() {
        let notifier = Notifier::new(1);
        notifier.contents(1);
        assert_eq!(notifier.contents(2).wait().unwrap_err().kind(), Kind::Busy);
    }

    #[test]
    fn what_the_kernel_does_not_know_needs_no_notice() {
        let notifier = Notifier::new(1);
        let confirmation = notifier.contents(1);
        notifier.next().unwrap().confirm(Err(Error::not_found()));
        assert!(confirmation.wait().is_ok());
    }

    #[test]
    fn closing_ends_every_wait() {
        let notifier = Notifier::new(1);
        let confirmation = notifier.contents(1);
        notifier.close();
        assert!(confirmation.wait().is_err());
        assert!(notifier.next().is_none());
        assert!(notifier.contents(1).wait().is_err());
    }
}
