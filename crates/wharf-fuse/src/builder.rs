//! Mounting, from a file system to a volume.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use wharf::session::{Session, Setup};
use wharf::{Capabilities, Defaults, FileSystem, Limits};
use wharf_queue::{BlockingHost, block_on};

use crate::awake::Awake;
use crate::mount::{self, Mode, Options, prepare};
use crate::protocol::Fuse;
use crate::serve::{Threads, start_dev, start_uring};
use crate::volume::{Served, Transport, Volume};
use crate::wire::{Terms, Wanted};
use crate::{handshake, uring};

/// How long a file system may take to start.
const START_AT_MOST: Duration = Duration::from_secs(300);

/// Why a file system could not be mounted.
#[derive(Debug)]
pub enum Error {
    /// The mount point, the permission or the kernel's side of it.
    Mount(mount::Error),
    /// The file system said no at its start.
    FileSystem(wharf::Error),
    /// The chosen transport cannot be had.
    Transport(Transport, io::Error),
    /// The connection broke before it was of use, or there was no memory or thread for it.
    Connection(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Mount(error) => error.fmt(f),
            Error::FileSystem(error) => write!(f, "the file system did not start: {error}"),
            Error::Transport(transport, error) => {
                write!(
                    f,
                    "the transport {transport} cannot be had: {error}; leave it out to take what there is"
                )
            }
            Error::Connection(error) => write!(f, "the connection to the kernel failed: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Mount(error) => Some(error),
            Error::FileSystem(error) => Some(error),
            Error::Transport(_, error) | Error::Connection(error) => Some(error),
        }
    }
}

impl From<mount::Error> for Error {
    fn from(error: mount::Error) -> Error {
        Error::Mount(error)
    }
}

/// A file system about to be mounted.
///
/// ```no_run
/// # fn mount<F: wharf::FileSystem>(fs: F) -> Result<(), Box<dyn std::error::Error>> {
/// use wharf_fuse::{Mount, mount::Options};
///
/// let volume = Mount::new(fs, Options::new("hello", "hello:")?).at("/mnt/hello")?;
/// volume.wait();
/// # Ok(())
/// # }
/// ```
pub struct Mount<F> {
    fs: F,
    options: Options,
    setup: Setup,
    transport: Transport,
    passthrough: bool,
    low_latency: bool,
    large_pages: bool,
    read_ahead: Option<u32>,
}

impl<F: FileSystem> Mount<F> {
    /// A mount with default limits, over whatever transport there is.
    pub fn new(fs: F, options: Options) -> Mount<F> {
        let (setup, transport) = (Setup::default(), Transport::Auto);
        let (low_latency, large_pages, read_ahead) = (false, false, None);
        Mount { fs, options, setup, transport, passthrough: true, low_latency, large_pages, read_ahead }
    }

    /// Over this transport, or not at all.
    pub fn transport(self, transport: Transport) -> Mount<F> {
        Mount { transport, ..self }
    }

    /// With these limits.
    pub fn limits(mut self, limits: Limits) -> Mount<F> {
        self.setup.limits = limits;
        self
    }

    /// With these answers where the file system leaves them open.
    pub fn defaults(mut self, defaults: Defaults) -> Mount<F> {
        self.setup.defaults = defaults;
        self
    }

    /// Whether the kernel may read and write backing files by itself where it can.
    pub fn passthrough(self, passthrough: bool) -> Mount<F> {
        Mount { passthrough, ..self }
    }

    /// Whether idle processors are kept from deep sleep while the volume is in use, until 200 ms after its last request.
    ///
    /// A request that crosses processors is answered sooner then, most of all on virtual machines. It is the
    /// whole machine that pays, in power or in time of its host, so it is for volumes whose answers are waited for one
    /// by one. It needs root; without, the volume is mounted all the same and the log says so.
    pub fn low_latency(self, low_latency: bool) -> Mount<F> {
        Mount { low_latency, ..self }
    }

    /// Keeps answers of the transport `uring` in large pages, where the system has any to give.
    ///
    /// A device that reads straight into an answer ([`Source::Extents`](wharf::Source::Extents)) does so in one piece instead
    /// of hundreds, which can double its speed. A large page (2 MiB, usually) is occupied at the first touch: each queue
    /// takes one or two for who asks for one thing after the other, and 32 MiB if it ever has 32 requests at once.
    pub fn large_pages(self, large_pages: bool) -> Mount<F> {
        Mount { large_pages, ..self }
    }

    /// How far the kernel reads ahead of whoever reads a file from its start on, in bytes; 0 for not at all. Without it
    /// the kernel chooses: 128 KiB, usually.
    ///
    /// More is faster for large files that are read through, if the file system answers large reads well, and a waste
    /// where files are read here and there. More than the kernel's own choice needs root; without, the volume is
    /// mounted all the same and the log says so.
    pub fn read_ahead(self, bytes: u32) -> Mount<F> {
        Mount { read_ahead: Some(bytes), ..self }
    }

    /// Runs every batch of polls inside `around`: to enter a runtime, whose timers and sockets the file system uses.
    ///
    /// With tokio: `.around(move |poll| { let _guard = runtime.enter(); poll() })`.
    pub fn around(mut self, around: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) -> Mount<F> {
        self.setup.around = Some(Arc::new(around));
        self
    }

    /// Mounts at `path` and returns at once; threads of the volume's own serve it.
    ///
    /// # Errors
    /// [`Error`], with the way out in its words. Nothing is left mounted then.
    pub fn at(self, path: impl AsRef<Path>) -> Result<Volume, Error> {
        let Mount { fs, options, setup, transport, passthrough, low_latency, large_pages, read_ahead } = self;
        let fs = Arc::new(fs);
        let around = setup.around.clone();
        let started = entered(around.as_ref(), || block_on(fs.start(), START_AT_MOST));
        match started {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(Error::FileSystem(error)),
            None => return Err(Error::FileSystem(wharf::Error::io("starting: it took too long"))),
        }
        let path = path.as_ref();
        let (fs_of, options, setup_of) = (&fs, &options, &setup);
        let attempt = Attempt {
            fs: fs_of,
            options,
            setup: setup_of,
            transport,
            passthrough,
            low_latency,
            large_pages,
            read_ahead,
            path,
        };
        let mounted = attempt.over();
        if mounted.is_err() {
            entered(around.as_ref(), || block_on(fs.shutdown(), setup.limits.drain()));
        }
        mounted
    }
}

/// Runs `work` as polls are run.
fn entered<T>(around: Option<&wharf::session::Around>, work: impl FnOnce() -> T) -> T {
    let Some(around) = around else { return work() };
    let mut work = Some(work);
    let mut value = None;
    around(&mut || value = work.take().map(|work| work()));
    value.expect("`around` runs what it is given")
}

/// One or two attempts share all this.
struct Attempt<'a, F> {
    fs: &'a Arc<F>,
    options: &'a Options,
    setup: &'a Setup,
    transport: Transport,
    passthrough: bool,
    low_latency: bool,
    large_pages: bool,
    read_ahead: Option<u32>,
    path: &'a Path,
}

impl<F: FileSystem> Attempt<'_, F> {
    /// Chooses the transport: `uring` if it can be had, unless told otherwise.
    fn over(&self) -> Result<Volume, Error> {
        let transport = self.transport;
        if transport == Transport::Dev {
            return self.mount(false, || "as chosen".into());
        }
        if let Err(error) = uring::probe() {
            return match transport {
                Transport::Uring => Err(Error::Transport(transport, error)),
                _ => self.mount(false, || format!("there is no io_uring of the kind needed: {error}")),
            };
        }
        match self.mount(true, String::new) {
            Err(Error::Transport(_, error)) if transport == Transport::Auto => {
                self.mount(false, || format!("the kernel refused its rings: {error}"))
            }
            result => result,
        }
    }

    fn mount(&self, offer_uring: bool, why_dev: impl FnOnce() -> String) -> Result<Volume, Error> {
        let prepared = prepare(self.path, self.options)?;
        let device = prepared.device();
        let wanted = Wanted {
            offer_uring,
            offer_passthrough: self.passthrough,
            default_permissions: self.options.default_permissions,
            read_ahead: self.read_ahead,
            page_bytes: u32::try_from(rustix::param::page_size()).unwrap_or(4096),
            ..Wanted::new(self.fs.capabilities() - self.access(), self.setup.limits)
        };
        // Not a scoped thread: if a synchronous mount fails before the kernel has made the connection, nothing
        // but a signal wakes the reader, and it must not hold the error up.
        let sync_init = prepared.sync_init();
        let (report, shaken) = mpsc::channel();
        let line = device.clone();
        let reader = thread::Builder::new().name("wharf-init".into());
        reader
            .spawn(move || {
                let _ = report.send(handshake::shake(line.as_fd(), &wanted));
            })
            .map_err(Error::Connection)?;
        let connection = prepared.mount();
        let terms = match &connection {
            Err(_) if sync_init => Err(io::ErrorKind::NotConnected.into()),
            // A mount that failed otherwise has told the reader ENODEV.
            _ => shaken.recv().unwrap_or_else(|_| Err(io::Error::other("INIT was not understood"))),
        };
        let connection = connection?;
        let terms: Terms = terms.map_err(Error::Connection)?;
        if let Some(bytes) = self.read_ahead.filter(|bytes| *bytes > terms.read_ahead)
            && let Err(error) = connection.read_ahead(bytes)
        {
            log::warn!("the kernel reads {} bytes ahead: more needs root ({error})", terms.read_ahead);
        }
        let uring = terms.uring;
        if self.transport == Transport::Uring && !uring {
            // Before there is a volume, whose end would shut the file system down as well.
            let advice = io::Error::other(
                "the kernel does not offer it (Linux 6.14 or newer, and as root: \
                 echo Y > /sys/module/fuse/parameters/enable_uring)",
            );
            return Err(Error::Transport(self.transport, advice));
        }
        let why = match (offer_uring, uring) {
            (_, true) => "the kernel offers it".into(),
            (true, false) => "the kernel does not offer FUSE over io_uring".into(),
            (false, false) => why_dev(),
        };
        let protocol = Fuse::new(terms, device.clone(), connection.allow());
        let session: Arc<Session<F, Fuse>> = Session::new(self.fs.clone(), protocol, self.setup.clone());
        let learnt = entered(self.setup.around.as_ref(), || {
            block_on(session.learn_root(Arc::new(BlockingHost)), START_AT_MOST)
        });
        match learnt {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(Error::FileSystem(error)),
            None => return Err(Error::FileSystem(wharf::Error::io("looking at its root: it took too long"))),
        }
        let transport = if uring { Transport::Uring } else { Transport::Dev };
        let awake = self.low_latency.then(Awake::start).transpose().unwrap_or_else(|error| {
            log::warn!("processors sleep as they like: keeping them awake needs root ({error})");
            None
        });
        let threads: Threads = if uring {
            start_uring(session.clone(), device, awake, self.large_pages).map_err(|error| {
                // Requests wait for the rings that were promised; only the end of the connection frees them.
                let _ = connection.abort();
                session.notifier().close();
                Error::Transport(transport, error)
            })?
        } else {
            start_dev(session.clone(), device, awake).map_err(|error| {
                let _ = connection.unmount(Mode::Lazy);
                session.notifier().close();
                Error::Connection(error)
            })?
        };
        log::info!("{}: served over {transport}: {why}", connection.point().display());
        let (finished, guests) = (Mutex::new(false), Mutex::default());
        Ok(Volume::new(Arc::new(Served { session, connection, threads, transport, why, finished, guests })))
    }

    /// What a read-only mount never asks for.
    fn access(&self) -> Capabilities {
        match self.options.access {
            mount::Access::Read => Capabilities::WRITEBACK,
            mount::Access::ReadWrite => Capabilities::empty(),
        }
    }
}

impl<F> fmt::Debug for Mount<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("options", &self.options).field("transport", &self.transport).finish()
    }
}
