//! The ring of a `dev` queue, for the I/O of its operations. Made at the first use.
#![expect(unsafe_code, reason = "entries carry addresses; the transfers keep what is behind them")]

use std::os::fd::{AsFd, AsRawFd};

use io_uring::IoUring;
use wharf::Host;

use crate::bell::Bell;
use crate::host::{BlockingHost, QueueHost};
use crate::transfers::Transfers;

const ENTRIES: u32 = 256;

/// A ring, as soon as there is I/O.
pub struct IoRing {
    ring: Option<IoUring>,
    transfers: Transfers,
    bell: Bell,
    taken: Vec<wharf::io::Request>,
    /// There is no io_uring here: I/O is done at once.
    refused: bool,
}

impl IoRing {
    /// No ring yet. What completes rings `bell`.
    pub fn new(bell: Bell) -> IoRing {
        IoRing { ring: None, transfers: Transfers::default(), bell, taken: Vec::new(), refused: false }
    }

    /// I/O that the kernel has.
    pub fn in_flight(&self) -> usize {
        self.transfers.in_flight()
    }

    /// Hands new I/O to the kernel and takes what it has completed.
    pub fn turn(&mut self, host: &QueueHost) {
        host.take(&mut self.taken);
        if self.taken.is_empty() && self.in_flight() == 0 {
            return;
        }
        if self.ring.is_none() && !self.refused {
            self.open();
        }
        let Some(ring) = &mut self.ring else {
            for request in self.taken.drain(..) {
                BlockingHost.submit(request);
            }
            return;
        };
        let mut again = Vec::new();
        for completion in ring.completion() {
            let place = completion.user_data() as u32;
            again.extend(self.transfers.complete(place, completion.result(), 0));
        }
        let fresh = self.taken.drain(..).map(|request| self.transfers.begin(request, 0));
        for entry in again.into_iter().chain(fresh) {
            // SAFETY: `Transfers` keeps the file and the bytes of every entry until it is completed.
            while unsafe { ring.submission().push(&entry) }.is_err() {
                if let Err(error) = ring.submit() {
                    log::warn!("handing I/O to the kernel: {error}");
                    std::thread::yield_now();
                }
            }
        }
        if let Err(error) = ring.submit() {
            // What was not taken stays in the ring and goes with the next turn.
            log::debug!("handing I/O to the kernel: {error}");
        }
    }

    fn open(&mut self) {
        let made = IoUring::builder().setup_submit_all().setup_cqsize(4 * ENTRIES).build(ENTRIES);
        match made.and_then(|ring| {
            ring.submitter().register_eventfd(self.bell.as_fd().as_raw_fd())?;
            Ok(ring)
        }) {
            Ok(ring) => self.ring = Some(ring),
            Err(error) => {
                log::warn!("no io_uring here ({error}): queues wait for the I/O of their operations");
                self.refused = true;
            }
        }
    }
}

impl Drop for IoRing {
    /// Waits for what the kernel still has, because its bytes and files go with us.
    fn drop(&mut self) {
        let Some(ring) = &mut self.ring else { return };
        while self.transfers.in_flight() > 0 {
            if let Err(error) = ring.submit_and_wait(1)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                log::error!("waiting for I/O in the kernel: {error}");
                // Leaking is the only safe way left: the kernel may still write into these bytes.
                std::mem::forget(std::mem::take(&mut self.transfers));
                return;
            }
            for completion in ring.completion() {
                self.transfers.forget(completion.user_data() as u32);
            }
        }
    }
}
