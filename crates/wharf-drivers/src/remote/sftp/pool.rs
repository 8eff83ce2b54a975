//! The connections to one server: one as a rule, and a few when much is under way.
//!
//! One connection carries as much within a round trip as its window holds, and that is 2 MiB with OpenSSH.

use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as AsyncMutex;
use wharf::Error;
use wharf::error::Kind as Why;

use super::super::Result;
use super::super::engine::within;
use super::super::failure::Failure;
use super::session::Session;
use super::ssh::Target;

/// Connections to one server.
const SESSIONS_MAX: usize = 4;
/// A server that refused us is not asked again so soon: many lock out who keeps knocking.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// With so many users of a connection another one is opened.
const USERS_MANY: usize = 4;

#[derive(Debug)]
pub(super) struct Pool {
    target: Target,
    deadline: Duration,
    sessions: Mutex<Vec<Arc<Session>>>,
    /// Held by who opens one.
    opening: Arc<AsyncMutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The server takes no more than it has.
    full: bool,
    /// It lets us in no more: since when, and why.
    refused: Option<(Instant, Why, String)>,
}

impl Pool {
    pub(super) fn new(target: Target, deadline: Duration) -> Arc<Pool> {
        Arc::new(Pool { target, deadline, sessions: Mutex::default(), opening: Arc::default() })
    }

    /// The connection that is used least, or a first one.
    pub(super) async fn session(self: &Arc<Self>) -> Result<Arc<Session>, Failure> {
        match self.least_used() {
            Some(session) => Ok(session),
            // The wait for others that try is part of it.
            None => self.in_time(self.first()).await,
        }
    }

    async fn first(self: &Arc<Self>) -> Result<Arc<Session>, Failure> {
        // All wait for one, and if that fails the next one tries.
        let mut opening = self.opening.lock().await;
        if let Some(session) = self.least_used() {
            return Ok(session);
        }
        if let Some((since, kind, why)) = &opening.refused
            && since.elapsed() < REFUSED_FOR
        {
            return Err(Failure::of(Error::new(*kind).doing("connecting").because(why.clone())));
        }
        let opened = self.open().await;
        opening.refused = match &opened {
            Err(Failure { error, again: false }) if error.kind() == Why::PermissionDenied => {
                let why = error.source().map(ToString::to_string).unwrap_or_default();
                Some((Instant::now(), error.kind(), why))
            }
            _ => None,
        };
        opened
    }

    async fn open(&self) -> Result<Arc<Session>, Failure> {
        // Half of the deadline, so that there is time for another connection when this one falls silent.
        let session = Arc::new(Session::connect(&self.target, self.deadline / 2).await?);
        self.lock().push(session.clone());
        Ok(session)
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        within(self.deadline, "connecting", async { Ok(work.await) }).await.map_err(Failure::of)?
    }

    fn least_used(self: &Arc<Self>) -> Option<Arc<Session>> {
        let mut sessions = self.lock();
        sessions.retain(|session| !session.has_ended());
        let session = sessions.iter().min_by_key(|session| Arc::strong_count(session))?.clone();
        // The list and this one do not count.
        if Arc::strong_count(&session) - 2 >= USERS_MANY && sessions.len() < SESSIONS_MAX {
            self.open_another();
        }
        Some(session)
    }

    /// Has another connection opened, and waits for nothing.
    fn open_another(self: &Arc<Self>) {
        let Ok(mut opening) = self.opening.clone().try_lock_owned() else { return };
        if opening.full {
            return;
        }
        let pool = self.clone();
        tokio::spawn(async move {
            if pool.in_time(pool.open()).await.is_err() {
                log::debug!("{} takes no further connection; there will be no more", pool.target.host);
                opening.full = true;
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
