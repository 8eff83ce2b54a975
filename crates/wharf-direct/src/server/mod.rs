//! The host's end: who may come in, what they may use, and the queues that answer them.

mod cache;
mod control;
mod guest;
mod handles;
mod host;
mod place;
mod queue;
mod rest;
mod snapshots;
mod tickets;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};
use wharf::session::{Doorbell as _, Serve};
use wharf_queue::{Bell, Ending, Phase, QueueHost, cpu};

use cache::{Cache, Evictor, Keeper, Shelf, Surroundings, Waiter};
use control::Control;
use guest::Direct;
use host::{Host, Post, Watcher};
use rest::Rest;
use snapshots::Snapshots;
use tickets::Tickets;

/// Connections that wait to be taken.
const BACKLOG: i32 = 16;

/// A volume's direct server: its threads, its socket, what it keeps. Ends when dropped, or [told](Self::end) to.
pub struct Server {
    host: Arc<Host>,
    path: PathBuf,
    bell: Bell,
    bells: Vec<rest::WordBell>,
    threads: Mutex<Option<Threads>>,
}

/// Those that are waited for one by one.
struct Threads {
    evictor: Evictor,
    keeper: Keeper,
    control: JoinHandle<()>,
}

/// What a direct server has in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in sections.
    pub sections_bytes: u64,
    /// Sections.
    pub sections: usize,
    /// Files of which something is known.
    pub files: usize,
    /// Bytes in snapshots of directories, and in listings for new ones.
    pub snapshots_bytes: u64,
    /// Snapshots.
    pub snapshots: usize,
}

impl Server {
    /// Begins to serve `session` directly, on a socket in `directory`, which is made if it is not there.
    /// Sockets of this user's hosts that were killed are removed from it.
    ///
    /// # Errors
    /// When the socket cannot be made, or there are no threads or descriptors for it.
    pub fn start(session: Arc<dyn Serve>, directory: &Path) -> io::Result<Server> {
        let mut random = [0; 8];
        getrandom(&mut random, GetRandomFlags::empty())?;
        let volume = u64::from_ne_bytes(random);
        let (listener, path) = place::listen(directory, volume, BACKLOG)?;
        let served = Server::over(session, volume, listener, &path);
        if served.is_err() {
            let _ = fs::remove_file(&path);
        }
        served
    }

    fn over(
        session: Arc<dyn Serve>,
        volume: u64,
        listener: std::os::fd::OwnedFd,
        path: &Path,
    ) -> io::Result<Server> {
        // Who comes in is asked for a ticket, or for its credentials.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        rustix::io::ioctl_fionbio(&listener, true)?;
        let bell = Bell::new()?;
        let ending = Arc::new(Ending::default());
        let cache = Cache::new(session.limits().sections_bytes_max);
        let snapshots = Snapshots::new(session.limits().sections_bytes_max);
        let tickets = Arc::new(Tickets::new(path.to_owned(), bell.clone()));
        let owner = rustix::process::geteuid().as_raw();
        let guest = Arc::new(Direct);
        let count = cpu::possible();
        let slots = (session.limits().requests_max as usize / count).max(crate::layout::SLOTS);
        let (mut posts, mut parts) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (rest, io) = (Rest::new(), Arc::new(QueueHost::default()));
            let (queue, ready) =
                session.clone().guest_queue(guest.clone(), slots, io.clone(), Box::new(rest.doorbell()));
            io.rouses(ready.clone());
            posts.push(Post::new(ready));
            parts.push((queue, io, rest));
        }
        let (closing, empty) = (AtomicBool::new(false), AtomicBool::new(false));
        let (queues, cache_too, clients) = (posts, cache.clone(), RwLock::default());
        let host = Arc::new(Host {
            session,
            cache,
            snapshots: snapshots.clone(),
            shelf: Arc::new(Shelf::default()),
            tickets,
            queues,
            clients,
            ending,
            closing,
            empty,
            volume,
            owner,
        });
        // Before anybody comes in who is to be told.
        host.session.watch(Arc::new(Watcher { cache: host.cache.clone(), snapshots }));
        let bells = parts.iter().map(|(_, _, rest)| rest.doorbell()).collect();
        let wait = Duration::from_millis(host.session.limits().pins_wait_ms.into());
        let evictor = Evictor::start(cache_too, Around(host.clone(), bell.clone()), wait)?;
        let tells = host.clone();
        let keeper = Keeper::start(host.shelf.clone(), move |waiter, there| tells.kept(waiter, there))?;
        let control = Control::new(host.clone(), listener, bell.clone());
        let control = thread::Builder::new().name("wharf-direct".into()).spawn(move || control.run())?;
        let threads = Mutex::new(Some(Threads { evictor, keeper, control }));
        let server = Server { host: host.clone(), path: path.to_owned(), bell, bells, threads };
        for (number, (queue, io, rest)) in parts.into_iter().enumerate() {
            let running = host.ending.thread();
            let host = host.clone();
            thread::Builder::new().name(format!("wharf-direct-{number}")).spawn(move || {
                cpu::pin_to(number);
                queue::Server::new(host, number, queue, io.clone(), rest).run();
                io.end();
                drop(running);
            })?;
        }
        host.session.tickets(host.tickets.clone());
        Ok(server)
    }

    /// Where clients connect.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in use now.
    pub fn usage(&self) -> Usage {
        let (sections_bytes, sections) = self.host.cache.usage();
        let (snapshots_bytes, snapshots) = self.host.snapshots.usage();
        let files = self.host.cache.files();
        Usage { sections_bytes, sections, files, snapshots_bytes, snapshots }
    }

    /// Ends it: clients are hung up, what they had open is closed, operations under way are waited for as the
    /// limits say. To be called before the session is closed.
    pub fn end(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Threads { evictor, keeper, control }) = threads else { return };
        let _ = fs::remove_file(&self.path);
        let Host { ending, closing, session, snapshots, .. } = &*self.host;
        // Nobody hears of changes any more.
        snapshots.close();
        // First who lets clients in: what they leave is for the queues to close.
        closing.store(true, Ordering::SeqCst);
        self.bell.ring();
        let _ = control.join();
        self.host.empty.store(true, Ordering::SeqCst);
        let limits = *session.limits();
        let ends = |phase, at_most| {
            ending.advance(phase);
            self.bells.iter().for_each(wharf::session::Doorbell::ring);
            ending.wait(Some(at_most))
        };
        let ended = ends(Phase::Serve, limits.drain())
            || ends(Phase::Cancel, limits.cancel())
            || ends(Phase::Abandon, limits.cancel());
        if !ended {
            log::error!("a direct queue is stuck in the file system and is left behind");
        }
        // Sections read no more, in whatever process they are mapped.
        self.host.cache.clear();
        drop(keeper);
        drop(evictor);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("path", &self.path)
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

/// What eviction asks of the rest.
struct Around(Arc<Host>, Bell);

impl Surroundings for Around {
    fn who_pins(&self, section: u64, block: u64) -> Option<u64> {
        let clients = self.0.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.iter().find(|client| client.pins(section, block)).map(|client| client.number)
    }

    fn was_touched(&self, section: u64, block: u64) -> bool {
        let clients = self.0.clients.read().unwrap_or_else(PoisonError::into_inner);
        // All of them are asked, so that it is news the next time.
        clients.iter().fold(false, |touched, client| touched | client.memory.pins.take_touch(section, block))
    }

    fn hang_up(&self, client: u64) {
        let clients = self.0.clients.read().unwrap_or_else(PoisonError::into_inner);
        let Some(client) = clients.iter().find(|known| known.number == client) else { return };
        log::warn!(
            "process {} holds so much of files fast that no room could be made for others; it is hung up",
            client.caller.pid
        );
        client.condemn();
        // Who listens sees to it.
        self.1.ring();
    }

    fn again(&self, waiter: Waiter) {
        self.0.again(waiter);
    }
}
