//! Connections that are logged in: few, each used for one thing at a time, then again.
//!
//! There are never more than the volume may have operations under way. Somebody who holds one for later, and does
//! nothing with it, gives it up when another is in need of it.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{Either, select};
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::tokio_rustls::TlsConnector;
use suppaftp::types::FileType;
use suppaftp::{FtpError, FtpResult};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Who logs in where.
pub(in super::super) struct Login {
    /// Host and port.
    pub(in super::super) address: String,
    /// The host alone, for its certificate; `None`: no TLS.
    pub(in super::super) secure: Option<(String, Arc<rustls::ClientConfig>)>,
    pub(in super::super) user: String,
    pub(in super::super) password: String,
}

/// The connections of one volume.
pub(super) struct Pool {
    login: Login,
    /// Those that nobody uses just now.
    idle: Mutex<Vec<Connection>>,
    /// A permit for each that there is.
    room: Arc<Semaphore>,
    came_back: Notify,
    wanted: Notify,
}

/// One connection that is logged in. Dropped, it is closed.
pub(super) struct Connection {
    stream: AsyncRustlsFtpStream,
    _room: OwnedSemaphorePermit,
}

impl Deref for Connection {
    type Target = AsyncRustlsFtpStream;

    fn deref(&self) -> &AsyncRustlsFtpStream {
        &self.stream
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut AsyncRustlsFtpStream {
        &mut self.stream
    }
}

impl Pool {
    pub(super) fn new(login: Login, connections_max: u32) -> Arc<Pool> {
        let room = Arc::new(Semaphore::new(connections_max as usize));
        let (came_back, wanted) = (Notify::new(), Notify::new());
        Arc::new(Pool { login, idle: Mutex::default(), room, came_back, wanted })
    }

    /// A connection, as soon as there is one. To be called by one who may have an operation under way: so there is
    /// one that is idle, or room for one more, or somebody holds one for later.
    pub(super) async fn take(&self) -> FtpResult<Connection> {
        let room = loop {
            let came_back = self.came_back.notified();
            if let Some(connection) = self.idle().pop() {
                return Ok(connection);
            }
            if let Ok(room) = self.room.clone().try_acquire_owned() {
                break room;
            }
            self.wanted.notify_one();
            match select(pin!(self.room.clone().acquire_owned()), pin!(came_back)).await {
                Either::Left((Ok(room), _)) => break room,
                Either::Left((Err(_), _)) => unreachable!("the room is never closed"),
                Either::Right(_) => {}
            }
        };
        Ok(Connection { stream: self.connect().await?, _room: room })
    }

    /// For those who come next.
    pub(super) fn give_back(&self, connection: Connection) {
        self.idle().push(connection);
        self.came_back.notify_waiters();
    }

    /// What ended one connection, a server that was started anew or that grew tired of waiting, has ended those that
    /// were not used meanwhile, too.
    pub(super) fn distrust(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }

    /// Comes when a connection is to be given up that is only held for later.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    async fn connect(&self) -> FtpResult<AsyncRustlsFtpStream> {
        let Login { address, secure, user, password } = &self.login;
        let mut connection = AsyncRustlsFtpStream::connect(address).await?;
        let _ = connection.get_ref().set_nodelay(true);
        if let Some((host, config)) = secure {
            let connector = AsyncRustlsConnector::from(TlsConnector::from(config.clone()));
            connection = connection.into_secure(connector, host).await?;
        }
        connection.login(user, password).await?;
        connection.transfer_type(FileType::Binary).await?;
        // Servers behind a translation of addresses tell the address that they have themselves.
        connection.set_passive_nat_workaround(true);
        Ok(connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection is as good as before: what was asked was done, or refused.
pub(super) fn is_usable<T>(outcome: &Result<T, FtpError>) -> bool {
    outcome.as_ref().err().is_none_or(|error| super::is_unknown(error) || super::is_refused(error))
}
