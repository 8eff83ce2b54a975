//! How a direct queue waits: for clients, wakers, mail and I/O at once, without spinning.

use std::sync::Arc;
use std::time::Duration;

use wharf::session::Doorbell;
use wharf_mem::sync::{AtomicU32, Ordering};
use wharf_mem::{HostChannel, Sleep, ring_own};
use wharf_queue::{Futex, IoRing, QueueHost};

/// The bell of one queue: a word that its thread sleeps on beside those of its clients.
#[derive(Clone, Debug)]
pub(super) struct WordBell(Arc<AtomicU32>);

impl Doorbell for WordBell {
    fn ring(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        ring_own(&self.0);
    }
}

/// What one queue's thread rests on.
pub(super) struct Rest {
    bell: Arc<AtomicU32>,
    io: IoRing,
}

impl Rest {
    pub(super) fn new() -> Rest {
        Rest { bell: Arc::new(AtomicU32::new(0)), io: IoRing::new(None) }
    }

    pub(super) fn doorbell(&self) -> WordBell {
        WordBell(self.bell.clone())
    }

    /// Hands new I/O to the kernel and takes what it has completed.
    pub(super) fn turn(&mut self, host: &QueueHost) {
        self.io.turn(host);
    }

    /// Rings the clients that were answered, and sleeps until something is to be done; unless `is_idle`, which is asked
    /// after all who might ring know that they have to, says that there is something already.
    pub(super) fn sleep<'a>(
        &mut self,
        channels: impl Iterator<Item = &'a HostChannel> + Clone,
        is_idle: impl FnOnce() -> bool,
        at_most: Option<Duration>,
    ) {
        let rung = self.bell.load(Ordering::SeqCst);
        channels.clone().for_each(HostChannel::ring);
        let Some(sleep) = Sleep::begin(channels).filter(|_| is_idle()) else { return };
        if self.io.in_flight() == 0 {
            return sleep.sleep((&self.bell, rung), at_most);
        }
        let own = Futex { address: Arc::as_ptr(&self.bell), value: rung, own: true };
        let words = sleep.words().map(|(word, value)| Futex { address: word, value, own: false });
        let words: Vec<Futex> = std::iter::once(own).chain(words).collect();
        self.io.wait(&words, at_most);
    }
}
