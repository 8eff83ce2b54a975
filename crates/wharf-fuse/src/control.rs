//! What the kernel tells rather than asks: nodes forgotten, callers gone, and what notices asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wharf::notice::Pending;
use wharf::session::{Ready, Session, interrupt};
use wharf::{Errno, Error, FileSystem, RequestId};

use crate::awake::Awake;
use crate::protocol::Fuse;
use crate::wire::{self, Control};

/// Retrievals that wait for the kernel's answer, by their number.
pub(crate) type Retrievals = Mutex<HashMap<u64, Pending>>;

/// Takes what needs no answer. Shared by all who read the device.
pub(crate) struct Controls<F: FileSystem> {
    pub(crate) session: Arc<Session<F, Fuse>>,
    pub(crate) queues: OnceLock<Vec<Arc<Ready>>>,
    pub(crate) retrievals: Arc<Retrievals>,
    /// Keeps processors awake while requests come.
    pub(crate) awake: Option<Arc<Awake>>,
    /// Answers are kept in large pages.
    pub(crate) large_pages: bool,
}

/// What is to be done about a request.
pub(crate) enum Handling {
    /// It is an operation: begin it.
    Begin,
    /// It is done, and nothing is answered.
    Done,
    /// It is refused with this.
    Refuse(Errno),
}

impl<F: FileSystem> Controls<F> {
    pub(crate) fn handle(&self, header: &wire::Header, head: &[u8]) -> Handling {
        if header.makes_operation() {
            if let Some(awake) = &self.awake {
                awake.used();
            }
            return Handling::Begin;
        }
        match wire::control(head) {
            Ok(None) => return Handling::Begin,
            Ok(Some(Control::Forget { node, count })) => self.session.forget(node, count),
            Ok(Some(Control::BatchForget(nodes))) => {
                nodes.for_each(|(node, count)| self.session.forget(node, count));
            }
            Ok(Some(Control::Interrupt { target })) => {
                // Not answered: EAGAIN would have the kernel repeat it, and nobody waits for anything else.
                interrupt(self.queues.get().map_or(&[], Vec::as_slice), target);
            }
            Ok(Some(Control::NotifyReply { unique, bytes, .. })) => {
                if let Some(pending) = self.take_retrieval(unique) {
                    pending.confirm(Ok(bytes.to_vec()));
                }
            }
            // The end is seen at the device, which answers ENODEV from now on; until then it needs an answer.
            Ok(Some(Control::Destroy)) => return Handling::Refuse(Errno::ENOSYS),
            Ok(Some(Control::Init)) => return Handling::Refuse(Errno::EIO),
            Err(errno) => {
                log::warn!("the kernel sent something that is no request: {errno}");
                return Handling::Refuse(errno);
            }
        }
        Handling::Done
    }

    fn take_retrieval(&self, unique: RequestId) -> Option<Pending> {
        self.retrievals.lock().unwrap_or_else(PoisonError::into_inner).remove(&unique.0)
    }
}

impl<F: FileSystem> Drop for Controls<F> {
    fn drop(&mut self) {
        for (_, pending) in self.retrievals.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            pending.confirm(Err(Error::io("retrieving from the kernel's cache: the volume has ended")));
        }
    }
}
