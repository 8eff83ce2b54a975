//! The doorbell of a queue: an eventfd that other threads write and the queue's thread waits for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use wharf::session::Doorbell;

/// A doorbell. Clones ring the same one.
#[derive(Clone, Debug)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    /// A bell that is not ringing.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> io::Result<Bell> {
        Ok(Bell(Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)))
    }

    /// Takes all rings there were.
    pub fn silence(&self) {
        // Without a ring it would block, which is as well.
        let _ = rustix::io::read(&*self.0, &mut [0; 8]);
    }
}

impl Doorbell for Bell {
    fn ring(&self) {
        // Full only after 2^64 - 1 rings nobody took: then it is ringing anyway.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
