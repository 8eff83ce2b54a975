//! What a queue of a transport does for operations, done here without one.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::context::Host;
use crate::io::{Request, Transfer};
use crate::session::Doorbell;

/// Performs I/O at once, on the thread that asks for it.
#[derive(Debug, Default)]
pub(super) struct Here {
    pub(super) groups: Mutex<HashMap<u32, Vec<u32>>>,
}

impl Host for Here {
    fn submit(&self, request: Request) {
        let mut next = Some(request);
        while let Some(mut request) = next {
            let moved = transfer(&mut request);
            next = request.completed(moved);
        }
    }

    fn groups(&self, pid: u32) -> io::Result<Vec<u32>> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(groups.get(&pid).cloned().unwrap_or_default())
    }
}

fn transfer(request: &mut Request) -> io::Result<usize> {
    let done = request.done();
    let open = |file: &OwnedFd| file.try_clone().map(File::from);
    match request.transfer() {
        Transfer::Read { file, offset, into } => {
            let (file, offset) = (open(file)?, *offset + done as u64);
            into.fill(|buffer| file.read_at(&mut buffer[done..], offset))
        }
        Transfer::Write { file, offset, data } => open(file)?.write_at(&data[done..], *offset + done as u64),
        Transfer::Fsync { file, data_only: true } => open(file)?.sync_data().map(|()| 0),
        Transfer::Fsync { file, data_only: false } => open(file)?.sync_all().map(|()| 0),
    }
}

/// The doorbell of a queue that sleeps on a condition.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    came: Condvar,
}

impl Bell {
    /// Sleeps until the bell rings or `deadline` is over.
    pub(super) fn sleep(&self, deadline: Instant) {
        let patience = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let slept = self.came.wait_timeout_while(rung, patience, |rung| !*rung);
        *slept.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// A bell that the queue and the volume share.
pub(super) struct SharedBell(pub(super) std::sync::Arc<Bell>);

impl Doorbell for SharedBell {
    fn ring(&self) {
        *self.0.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.came.notify_one();
    }
}
