//! A volume that is mounted: asked about, waited for, and ended in order.
//!
//! The order of the end: the mount goes, so that no operation is new; outstanding ones finish, or are
//! cancelled past the deadline, or given up past the next; open files are released, nodes forgotten, and last
//! the file system is shut down, once.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wharf::session::{Doorbell, Serve, Session};
use wharf::{FileSystem, Limits, Notifier};
use wharf_queue::{BlockingHost, Phase, block_on};

use crate::mount::{self, Connection, Mode};
use crate::protocol::Fuse;
use crate::serve::Threads;

/// The way requests reach a mounted volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// `uring` where the kernel offers it, else `dev`.
    #[default]
    Auto,
    /// Read from `/dev/fuse`.
    Dev,
    /// Through rings shared with the kernel (Linux 6.14, and switched on there).
    Uring,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Auto => "auto",
            Transport::Dev => "dev",
            Transport::Uring => "uring",
        })
    }
}

/// A volume that is mounted and served by threads of its own.
///
/// Dropping it ends it as [`unmount`](Self::unmount) with [`Mode::Lazy`] does.
///
/// Do not unmount from inside one of the volume's own operations: it would wait for itself.
#[derive(Clone)]
pub struct Handle {
    serving: Arc<dyn Serving>,
}

/// The one owner of a volume that is mounted. See [`Handle`] for what can be done with it; it derefs to that.
pub struct Volume {
    handle: Handle,
}

/// A volume without the type of its file system.
pub(crate) trait Serving: Send + Sync {
    fn connection(&self) -> &Connection;
    fn threads(&self) -> &Threads;
    fn limits(&self) -> &Limits;
    fn notifier(&self) -> &Notifier;
    fn transport(&self) -> (Transport, &str);
    fn counts(&self) -> (usize, usize);
    fn session(&self) -> Arc<dyn Serve>;
    fn guests(&self) -> &Guests;
    /// Releases, forgets and shuts down. False if that took too long.
    fn close(&self, at_most: Duration) -> bool;
    /// True for the first who asks.
    fn finishes(&self) -> std::sync::MutexGuard<'_, bool>;
}

pub(crate) struct Served<F: FileSystem> {
    pub(crate) session: Arc<Session<F, Fuse>>,
    pub(crate) connection: Connection,
    pub(crate) threads: Threads,
    pub(crate) transport: Transport,
    pub(crate) why: String,
    pub(crate) finished: Mutex<bool>,
    pub(crate) guests: Guests,
}

/// What ends the transports beside this one.
pub(crate) type Guests = Mutex<Vec<Box<dyn FnOnce() + Send>>>;

impl<F: FileSystem> Serving for Served<F> {
    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn threads(&self) -> &Threads {
        &self.threads
    }

    fn limits(&self) -> &Limits {
        self.session.limits()
    }

    fn notifier(&self) -> &Notifier {
        self.session.notifier()
    }

    fn transport(&self) -> (Transport, &str) {
        (self.transport, &self.why)
    }

    fn counts(&self) -> (usize, usize) {
        self.session.counts()
    }

    fn session(&self) -> Arc<dyn Serve> {
        self.session.clone()
    }

    fn guests(&self) -> &Guests {
        &self.guests
    }

    fn close(&self, at_most: Duration) -> bool {
        block_on(self.session.close(Arc::new(BlockingHost)), at_most).is_some()
    }

    fn finishes(&self) -> std::sync::MutexGuard<'_, bool> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Volume {
    pub(crate) fn new(served: Arc<dyn Serving>) -> Volume {
        Volume { handle: Handle { serving: served } }
    }

    /// A handle for another thread, to unmount from a signal handler's thread, say.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl std::ops::Deref for Volume {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if let Err(error) = self.handle.unmount(Mode::Lazy) {
            log::error!("{error}");
        }
    }
}

impl Handle {
    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        self.serving.connection().point()
    }

    /// The kernel's number of the connection, as in `/sys/fs/fuse/connections`.
    pub fn connection(&self) -> u32 {
        self.serving.connection().number()
    }

    /// The transport in use. Never [`Transport::Auto`].
    pub fn transport(&self) -> Transport {
        self.serving.transport().0
    }

    /// Why this transport, in words.
    pub fn transport_reason(&self) -> &str {
        self.serving.transport().1
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        self.serving.limits()
    }

    /// Tells the kernel of changes that were not made through the mount.
    pub fn notifier(&self) -> &Notifier {
        self.serving.notifier()
    }

    /// Nodes that the kernel knows, and files and directories that are open.
    pub fn counts(&self) -> (usize, usize) {
        self.serving.counts()
    }

    /// The session, for a transport beside this one; its end is told by [`at_end`](Self::at_end).
    pub fn session(&self) -> Arc<dyn Serve> {
        self.serving.session()
    }

    /// Has `end` called when the kernel asks no more, before open files are released and the file system is shut
    /// down: for what ends a transport beside this one. At once if that has been.
    pub fn at_end(&self, end: impl FnOnce() + Send + 'static) {
        let finished = self.serving.finishes();
        if *finished {
            drop(finished);
            return end();
        }
        self.serving.guests().lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(end));
    }

    /// Takes the mount away and ends the volume, waiting for what is outstanding.
    ///
    /// With [`Mode::Lazy`] programs that use it keep what they have open until the deadline of the limits
    /// (`drain_ms`); then they get errors.
    ///
    /// # Errors
    /// [`mount::Error`] if the mount is busy (with [`Mode::Clean`]) or cannot be taken away. The volume is
    /// served on then.
    pub fn unmount(&self, mode: Mode) -> Result<(), mount::Error> {
        self.serving.connection().unmount(mode)?;
        self.finish();
        Ok(())
    }

    /// Ends the connection without anybody's help, and takes the mount from sight: for who cannot wait for an end in
    /// order. Calls on the mount fail from now on, and what was not stored yet is lost. Waits for nothing.
    ///
    /// # Errors
    /// [`mount::Error`] if the kernel refuses one or the other; both are tried.
    pub fn abort(&self) -> Result<(), mount::Error> {
        // First the connection, so that nothing the mount still waits for can keep its end waiting.
        let aborted = self.serving.connection().abort();
        self.serving.connection().unmount(Mode::Lazy).and(aborted)
    }

    /// Waits until the volume has been unmounted, by whomever, and ends it in order.
    pub fn wait(&self) {
        self.wait_for_queues(None);
        self.finish();
    }

    fn finish(&self) {
        let mut finished = self.serving.finishes();
        if *finished {
            return;
        }
        let limits = *self.serving.limits();
        let ended = self.wait_for_queues(Some(limits.drain()))
            || self.enforce(Phase::Cancel, limits.cancel())
            || self.enforce(Phase::Abandon, limits.cancel());
        if !ended {
            log::error!(
                "{}: a thread of the file system's is stuck in it and is left behind",
                self.point().display()
            );
        }
        for end in std::mem::take(&mut *self.serving.guests().lock().unwrap_or_else(PoisonError::into_inner))
        {
            end();
        }
        if let Some(awake) = &self.serving.threads().awake {
            awake.end();
        }
        self.serving.notifier().close();
        let closing = limits.drain() + limits.cancel();
        if !self.serving.close(closing) {
            log::error!("{}: the file system did not shut down in time", self.point().display());
        }
        self.serving.threads().ending.wait(Some(limits.cancel()));
        *finished = true;
    }

    /// The thread for notices is the last: it ends when told to.
    fn wait_for_queues(&self, at_most: Option<Duration>) -> bool {
        self.serving.threads().ending.wait_for(1, at_most)
    }

    fn enforce(&self, phase: Phase, at_most: Duration) -> bool {
        log::warn!("{}: operations are outstanding past the deadline", self.point().display());
        if phase == Phase::Cancel
            && let Err(error) = self.serving.connection().abort()
        {
            log::warn!("{error}");
        }
        let Threads { ending, bells, .. } = self.serving.threads();
        ending.advance(phase);
        bells.iter().for_each(Doorbell::ring);
        self.wait_for_queues(Some(at_most))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("point", &self.point()).field("transport", &self.transport()).finish()
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Volume").field(&self.handle).finish()
    }
}
