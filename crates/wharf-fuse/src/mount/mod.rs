//! A connected `/dev/fuse` descriptor with a mount in front of it, and the way to take that mount away again.
//!
//! Nothing here knows what travels over the descriptor: no request is read and none answered. Two steps, because
//! somebody must serve the descriptor while it is being mounted:
//!
//! 1. [`prepare`] checks the mount point and gives the descriptor ([`Prepared::device`]).
//! 2. A thread of the caller's begins to read it. INIT comes first.
//! 3. [`Prepared::mount`] puts the file system in its place and gives the [`Connection`].
//!
//! Root mounts by the kernel's calls (`direct`), others by `fusermount3` (`helper`). With the latter the mount
//! exists after `prepare` already, and its first user waits until INIT is answered.
//!
//! Invariant: no mount is ever asked about itself from a thread that must go on; a server may hang.

mod direct;
mod error;
mod helper;
mod options;
mod point;
mod release;
mod table;
mod watcher;

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::device::{self, BackingId};
pub use error::Error;
pub use options::{Access, Allow, Atime, Options};
pub use point::{Liveness, probe};
pub use release::{Holder, Mode, abort, unmount};
pub use table::{Mounted, list};

use point::Point;
use table::Entry;
use watcher::Watcher;

/// Checks everything that can be checked, opens the device, and mounts as far as nobody sees it.
pub fn prepare(path: &Path, options: &Options) -> Result<Prepared, Error> {
    let point = Point::find(path)?;
    let way = match direct::Context::new(options, &point)? {
        Some(context) => Way::Direct(context),
        None => {
            let (device, entry) = helper::mount(options, &point)?;
            Way::Mounted(Box::new(Connection::new(Arc::new(device), &entry, options)?))
        }
    };
    Ok(Prepared { point, options: options.clone(), way })
}

/// Both steps in one, for a caller who serves the device afterwards; INIT is asynchronous then.
pub fn attach(path: &Path, options: &Options) -> Result<Connection, Error> {
    let mut options = options.clone();
    options.sync_init = false;
    prepare(path, &options)?.mount()
}

/// A device that is about to be mounted.
///
/// **Reading it.** Begin to read right before calling [`mount`](Self::mount), from another thread.
/// Without synchronous INIT the connection exists already and INIT can be read at once. With it, reading waits
/// (whatever `O_NONBLOCK` says, and `poll` waits too) until `mount` attaches the device,
/// and `mount` waits until INIT has been answered: with nobody reading it waits for ever.
///
/// **If `mount` fails**, or this is dropped, whoever reads is told ENODEV. One exception: with synchronous
/// INIT, until the kernel has made the connection, a reader can only be woken by a signal. So a caller should
/// not start readers that it may then not mount for.
pub struct Prepared {
    point: Point,
    options: Options,
    way: Way,
}

enum Way {
    Direct(direct::Context),
    Mounted(Box<Connection>),
}

impl Prepared {
    /// The device, for the thread that serves it. The connection ends when the last owner drops it.
    pub fn device(&self) -> Arc<OwnedFd> {
        Arc::clone(match &self.way {
            Way::Direct(context) => &context.device,
            Way::Mounted(connection) => connection.device(),
        })
    }

    /// The device, borrowed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Direct(context) => context.device.as_fd(),
            Way::Mounted(connection) => connection.fd(),
        }
    }

    /// [`mount`](Self::mount) will wait until INIT has been answered.
    pub fn sync_init(&self) -> bool {
        match &self.way {
            Way::Direct(context) => context.sync_init,
            Way::Mounted(_) => false,
        }
    }

    /// Where it will be mounted: absolute, without links.
    pub fn point(&self) -> &Path {
        &self.point.path
    }

    /// Puts the file system in its place.
    pub fn mount(self) -> Result<Connection, Error> {
        match self.way {
            Way::Direct(context) => {
                let device = Arc::clone(&context.device);
                let entry = context.mount(&self.options, &self.point)?;
                Connection::new(device, &entry, &self.options)
            }
            Way::Mounted(connection) => Ok(*connection),
        }
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Prepared")
            .field("point", &self.point.path)
            .field("sync_init", &self.sync_init())
            .finish()
    }
}

/// A mount, and the device behind it.
///
/// Dropping it takes the mount away [lazily](Mode::Lazy) if [`unmount`](Self::unmount) did not before.
#[derive(Debug)]
pub struct Connection {
    device: Arc<OwnedFd>,
    point: PathBuf,
    mount_id: u64,
    number: u32,
    allow: Allow,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Mounted(Option<Watcher>),
    Gone,
}

impl Connection {
    fn new(device: Arc<OwnedFd>, entry: &Entry, options: &Options) -> Result<Connection, Error> {
        let connection = Connection {
            device,
            point: entry.point.clone(),
            mount_id: entry.id,
            number: entry.connection(),
            allow: options.allow,
            state: Mutex::new(State::Mounted(None)),
        };
        if options.auto_unmount {
            // If this fails the drop of the connection unmounts.
            let watcher = Watcher::start(entry)?;
            *connection.lock() = State::Mounted(Some(watcher));
        }
        Ok(connection)
    }

    /// The device, for all who serve it. The connection ends when its last owner drops it.
    pub fn device(&self) -> &Arc<OwnedFd> {
        &self.device
    }

    /// The device, borrowed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// Where it was mounted: absolute, without links.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// The kernel's number of the connection, as in `/sys/fs/fuse/connections`.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Who may use the mount. [`Allow::Root`] is for the server to enforce: the kernel lets everybody through.
    pub fn allow(&self) -> Allow {
        self.allow
    }

    /// A second descriptor with a queue of its own; see [`device::clone`].
    pub fn clone_device(&self) -> io::Result<OwnedFd> {
        device::clone(self.fd())
    }

    /// Registers a file for passthrough; see [`device::backing_open`].
    pub fn backing_open(&self, file: BorrowedFd<'_>) -> io::Result<BackingId> {
        device::backing_open(self.fd(), file)
    }

    /// Gives a file for passthrough back; see [`device::backing_close`].
    pub fn backing_close(&self, id: BackingId) -> io::Result<()> {
        device::backing_close(self.fd(), id)
    }

    /// Has the kernel read `bytes` (whole KiB) ahead of who reads a file from its start on.
    ///
    /// # Errors
    /// When the file for it cannot be written: it is root's, and `/sys` may not be there.
    pub fn read_ahead(&self, bytes: u32) -> io::Result<()> {
        let (major, minor) = (self.number >> 20, self.number & 0xf_ffff);
        let file = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
        std::fs::write(file, bytes.div_ceil(1024).to_string())
    }

    /// Takes the mount away, wherever it was moved to. If somebody else did so before, that is well.
    ///
    /// The device must still be served meanwhile: a clean unmount writes back what is dirty.
    pub fn unmount(&self, mode: Mode) -> Result<(), Error> {
        if matches!(*self.lock(), State::Gone) {
            return Ok(());
        }
        // Not under the lock: a clean unmount waits for the server, and a lazy one must be able to overtake it.
        match release::unmount_exactly(self.mount_id, self.number, self.is_connected(), mode) {
            Ok(()) | Err(Error::NotMounted { .. }) => {}
            Err(error) => return Err(error),
        }
        let before = mem::replace(&mut *self.lock(), State::Gone);
        if let State::Mounted(Some(watcher)) = before {
            watcher.dismiss();
        }
        Ok(())
    }

    /// Ends the connection without the server's help; see [`abort`]. The mount stays until it is unmounted.
    pub fn abort(&self) -> Result<(), Error> {
        // Its number may be another's by now if it has ended already.
        if self.is_connected() { abort(self.number) } else { Ok(()) }
    }

    /// Whether requests may still come: neither has the mount gone, nor was the connection aborted.
    fn is_connected(&self) -> bool {
        let mut device = [PollFd::new(&self.device, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut device, Some(&at_once)).is_err() || !device[0].revents().contains(PollFlags::ERR)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Err(error) = self.unmount(Mode::Lazy) {
            log::warn!("a mount is left behind: {error}");
        }
    }
}

fn device_error(cause: io::Error) -> Error {
    match cause.kind() {
        io::ErrorKind::NotFound => Error::NoDevice,
        io::ErrorKind::PermissionDenied => Error::DeviceDenied,
        // There is a node but no driver behind it.
        _ if cause.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => Error::NoDevice,
        _ => Error::Kernel { doing: "opening /dev/fuse", cause, why: String::new() },
    }
}
