//! Finding out whether what is mounted below the root is the very volume that shows it.
//!
//! To go there would be to ask oneself, without end, and a queue that waits for itself waits for ever. A mount
//! does not say whose it is. But a question about it is heard here, if it is ours.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, StatxFlags, statx};

/// How often is asked. Others may ask about the same node at the same moment, but not every time.
const QUESTIONS: u32 = 3;

/// Listens for our own questions.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// One at a time.
    asking: Mutex<()>,
    /// The inode number of the node in question; 0 for none.
    node: AtomicU64,
    heard: AtomicU64,
}

impl Echo {
    /// A node's attributes are being asked for.
    pub(super) fn hear(&self, node: u64) {
        if self.node.load(Ordering::Acquire) == node {
            self.heard.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether `place`, which has this inode number, is served by us. Not to be called by a queue: it may have
    /// to answer.
    pub(super) fn comes_from(&self, place: BorrowedFd<'_>, number: u64) -> bool {
        let _one = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        self.node.store(number, Ordering::Release);
        let heard = (0..QUESTIONS).all(|_| {
            let before = self.heard.load(Ordering::Acquire);
            let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
            let asked = statx(place, "", flags, StatxFlags::BASIC_STATS);
            asked.is_ok() && self.heard.load(Ordering::Acquire) > before
        });
        self.node.store(0, Ordering::Release);
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn only_who_is_asked_is_taken_for_the_one_who_answers() {
        let (echo, place) = (Echo::default(), tempfile::tempfile().unwrap());
        assert!(!echo.comes_from(place.as_fd(), 7));
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let hear = |number| {
                while !over.load(Ordering::Relaxed) {
                    echo.hear(number)
                }
            };
            scope.spawn(move || hear(8));
            assert!(!echo.comes_from(place.as_fd(), 7), "others are asked about all the time");
            over.store(true, Ordering::Relaxed);
        });
    }
}
