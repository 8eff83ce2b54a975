//! A ring for the I/O of a queue's operations. Made at the first use.
#![expect(unsafe_code, reason = "entries carry addresses; the transfers keep what is behind them")]

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use io_uring::types::{FutexWaitV, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use wharf::Host;

use crate::bell::Bell;
use crate::futex::{FUTEXES_MAX, Futex};
use crate::host::{BlockingHost, QueueHost};
use crate::transfers::Transfers;

const ENTRIES: u32 = 256;

/// Marks above all places.
const WATCH: u64 = 1 << 32;
const CANCEL: u64 = 2 << 32;

/// A ring, as soon as there is I/O.
pub struct IoRing {
    ring: Option<IoUring>,
    transfers: Transfers,
    /// Rung by what completes; `None` if the queue waits in the ring itself.
    bell: Option<Bell>,
    /// Completions that were seen while waiting: places and results.
    arrived: Vec<(u32, i32)>,
    /// The kernel has been asked to watch words.
    watching: bool,
    /// It cannot.
    watches_nothing: bool,
    taken: Vec<wharf::io::Request>,
    /// There is no io_uring here: I/O is done at once.
    refused: bool,
}

impl IoRing {
    /// No ring yet. What completes rings `bell`; without one, the queue waits by [`wait`](Self::wait).
    pub fn new(bell: Option<Bell>) -> IoRing {
        IoRing {
            ring: None,
            transfers: Transfers::default(),
            bell,
            arrived: Vec::new(),
            watching: false,
            watches_nothing: false,
            taken: Vec::new(),
            refused: false,
        }
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
        for completion in ring.completion() {
            if completion.user_data() < WATCH {
                self.arrived.push((completion.user_data() as u32, completion.result()));
            }
        }
        let mut again = Vec::new();
        for (place, result) in self.arrived.drain(..) {
            again.extend(self.transfers.complete(place, result, 0));
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

    /// Waits until I/O has completed, one of the words has another value and was rung, or time is over. Of the
    /// words the first 128 count. For when there [is](Self::in_flight) I/O; without, it returns at once.
    pub fn wait(&mut self, futexes: &[Futex], at_most: Option<Duration>) {
        if self.ring.is_none() || self.in_flight() == 0 {
            return;
        }
        if self.watches_nothing {
            // A kernel before 6.7: who rings is noticed a little later.
            return self.submit_and_wait(Some(Duration::from_millis(1)));
        }
        const SIZE_U32: u32 = 2;
        const PRIVATE: u32 = 128;
        let watched = futexes.iter().take(FUTEXES_MAX);
        let waits: Vec<FutexWaitV> = watched
            .map(|futex| {
                let wait = FutexWaitV::new().uaddr(futex.address as u64).val(futex.value.into());
                wait.flags(if futex.own { SIZE_U32 | PRIVATE } else { SIZE_U32 })
            })
            .collect();
        let watch = opcode::FutexWaitV::new(waits.as_ptr(), waits.len() as u32).build().user_data(WATCH);
        self.watching = self.push(&watch);
        self.submit_and_wait(at_most);
        if self.watching {
            self.push(&opcode::AsyncCancel::new(WATCH).build().user_data(CANCEL));
            while self.watching {
                self.submit_and_wait(None);
            }
        }
        // Not before the kernel is done with it.
        drop(waits);
    }

    fn push(&mut self, entry: &squeue::Entry) -> bool {
        let Some(ring) = &mut self.ring else { return false };
        // SAFETY: the list that a watch names is kept until the watch has ended; a cancellation names nothing.
        unsafe { ring.submission().push(entry) }.is_ok()
    }

    fn submit_and_wait(&mut self, at_most: Option<Duration>) {
        let Some(ring) = &mut self.ring else { return };
        let waited = match at_most {
            None => ring.submit_and_wait(1),
            Some(at_most) => {
                let timeout = Timespec::from(at_most);
                ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        };
        if let Err(error) = waited {
            log::trace!("waiting in a ring: {error}");
        }
        for completion in ring.completion() {
            match completion.user_data() {
                WATCH => {
                    self.watching = false;
                    self.watches_nothing |= completion.result() == -rustix::io::Errno::INVAL.raw_os_error();
                }
                CANCEL => {}
                place => self.arrived.push((place as u32, completion.result())),
            }
        }
    }

    fn open(&mut self) {
        let made = IoUring::builder().setup_submit_all().setup_cqsize(4 * ENTRIES).build(ENTRIES);
        match made.and_then(|ring| {
            if let Some(bell) = &self.bell {
                ring.submitter().register_eventfd(bell.as_fd().as_raw_fd())?;
            }
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
        self.arrived.drain(..).for_each(|(place, _)| self.transfers.forget(place));
        while self.transfers.in_flight() > 0 {
            if let Err(error) = ring.submit_and_wait(1)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                log::error!("waiting for I/O in the kernel: {error}");
                // Leaking is the only safe way left: the kernel may still write into these bytes.
                std::mem::forget(std::mem::take(&mut self.transfers));
                return;
            }
            for completion in ring.completion().filter(|completion| completion.user_data() < WATCH) {
                self.transfers.forget(completion.user_data() as u32);
            }
        }
    }
}
