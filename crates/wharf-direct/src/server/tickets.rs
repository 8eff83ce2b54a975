//! Tickets that were given out and not shown yet.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::rand::{GetRandomFlags, getrandom};
use wharf::session::{Doorbell, Pass, TICKET_BYTES};
use wharf_queue::Bell;

use crate::layout::{Secret, Ticket};

/// How long a ticket is good.
pub(super) const LIFETIME: Duration = Duration::from_secs(10);
/// Tickets that wait to be shown. Beyond, files are read through the kernel.
const TICKETS_MAX: usize = 1024;

/// The tickets of one volume.
#[derive(Debug)]
pub(super) struct Tickets {
    socket: PathBuf,
    waiting: Mutex<HashMap<Secret, (Pass, Instant)>>,
    /// Rung when the first of them is given out: somebody has to look at the clock then.
    bell: Bell,
    closed: AtomicBool,
}

impl Tickets {
    pub(super) fn new(socket: PathBuf, bell: Bell) -> Tickets {
        Tickets { socket, waiting: Mutex::default(), bell, closed: AtomicBool::new(false) }
    }

    /// The file that a ticket is for, once; only to the user that it was given to, and to root.
    pub(super) fn redeem(&self, secret: &Secret, uid: u32) -> Option<Pass> {
        let mut waiting = self.lock();
        let (pass, _) = waiting.get(secret).filter(|(pass, _)| uid == pass.uid || uid == 0)?;
        let pass = *pass;
        waiting.remove(secret);
        Some(pass)
    }

    /// Takes those away that nobody showed in time.
    pub(super) fn expire(&self, now: Instant) -> Vec<Pass> {
        let mut waiting = self.lock();
        waiting.extract_if(|_, (_, until)| *until <= now).map(|(_, (pass, _))| pass).collect()
    }

    /// Takes all of them away, and gives no more out.
    pub(super) fn close(&self) -> Vec<Pass> {
        let mut waiting = self.lock();
        self.closed.store(true, Ordering::SeqCst);
        waiting.drain().map(|(_, (pass, _))| pass).collect()
    }

    /// When to look at the clock again.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.lock().values().map(|(_, until)| *until).min()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Secret, (Pass, Instant)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl wharf::session::Tickets for Tickets {
    fn issue(&self, pass: Pass) -> Option<[u8; TICKET_BYTES]> {
        let mut secret = Secret::default();
        if getrandom(&mut secret, GetRandomFlags::empty()) != Ok(secret.len()) {
            return None;
        }
        let ticket = Ticket::encode(secret, &self.socket)?;
        let mut waiting = self.lock();
        if waiting.len() >= TICKETS_MAX || self.closed.load(Ordering::SeqCst) {
            return None;
        }
        let first = waiting.is_empty();
        waiting.insert(secret, (pass, Instant::now() + LIFETIME));
        drop(waiting);
        if first {
            self.bell.ring();
        }
        Some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf::session::Tickets as _;
    use wharf::{HandleId, NodeId};

    #[test]
    fn a_ticket_is_good_once_for_a_time_and_for_its_user() {
        let tickets = Tickets::new("/run/x".into(), Bell::new().unwrap());
        let pass =
            Pass { node: NodeId::ROOT, handle: HandleId(1), inode: 1, uid: 1000, writes: false, keeps: true };
        let secret = |ticket: &[u8; TICKET_BYTES]| Ticket::decode(ticket).unwrap().secret;
        let first = secret(&tickets.issue(pass).unwrap());
        assert!(tickets.redeem(&first, 1001).is_none());
        assert!(tickets.redeem(&first, 1000).is_some());
        assert!(tickets.redeem(&first, 1000).is_none());
        let second = secret(&tickets.issue(pass).unwrap());
        assert_ne!(first, second);
        assert!(tickets.expire(Instant::now()).is_empty());
        assert_eq!(tickets.expire(Instant::now() + LIFETIME).len(), 1);
        assert!(tickets.redeem(&second, 0).is_none() && tickets.next_expiry().is_none());
        for _ in 0..TICKETS_MAX {
            assert!(tickets.issue(pass).is_some());
        }
        assert!(tickets.issue(pass).is_none());
    }
}
