//! What a queue does for its operations: it takes their I/O, and knows their callers' groups.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wharf::Host;
use wharf::io::{Request, Transfer};
use wharf::session::Ready;

/// I/O that was left; `Ended` when nobody takes it any more.
enum Left {
    Here(Vec<Request>),
    Ended,
}

impl Default for Left {
    fn default() -> Left {
        Left::Here(Vec::new())
    }
}

/// Where operations leave their I/O for the queue's own ring.
#[derive(Default)]
pub struct QueueHost {
    left: Mutex<Left>,
    has_left: AtomicBool,
    /// To be roused when an adapter's thread leaves something.
    ready: OnceLock<Arc<Ready>>,
}

impl QueueHost {
    /// Has the queue of this ready list roused when something is left.
    pub fn rouses(&self, ready: Arc<Ready>) {
        let _ = self.ready.set(ready);
    }

    /// Whether I/O was left.
    pub fn has_left(&self) -> bool {
        self.has_left.load(Ordering::SeqCst)
    }

    /// Takes the I/O that was left, to the end of `into`.
    pub fn take(&self, into: &mut Vec<Request>) {
        if !self.has_left.load(Ordering::Relaxed) || !self.has_left.swap(false, Ordering::SeqCst) {
            return;
        }
        if let Left::Here(left) = &mut *self.left.lock().unwrap_or_else(PoisonError::into_inner) {
            into.append(left);
        }
    }

    /// The queue ends: what was left is answered with an error, and what still comes (from a thread that
    /// outlives its operation) is done at once, where it comes from.
    pub fn end(&self) {
        let left =
            std::mem::replace(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner), Left::Ended);
        drop(left);
    }
}

impl Host for QueueHost {
    fn submit(&self, request: Request) {
        match &mut *self.left.lock().unwrap_or_else(PoisonError::into_inner) {
            Left::Here(left) => left.push(request),
            Left::Ended => {
                BlockingHost.submit(request);
                return;
            }
        }
        self.has_left.store(true, Ordering::SeqCst);
        if let Some(ready) = self.ready.get() {
            ready.rouse();
        }
    }

    fn groups(&self, pid: u32) -> io::Result<Vec<u32>> {
        groups(pid)
    }
}

impl std::fmt::Debug for QueueHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("QueueHost")
    }
}

/// Does every I/O at once, on the thread that asks. For the start and the end of a volume, when there is
/// no queue, and for machines without io_uring.
#[derive(Debug)]
pub struct BlockingHost;

impl Host for BlockingHost {
    fn submit(&self, request: Request) {
        let mut next = Some(request);
        while let Some(mut request) = next {
            let result = transfer_now(&mut request);
            next = request.completed(result);
        }
    }

    fn groups(&self, pid: u32) -> io::Result<Vec<u32>> {
        groups(pid)
    }
}

fn transfer_now(request: &mut Request) -> io::Result<usize> {
    let done = request.done();
    Ok(match request.transfer() {
        Transfer::Read { file, offset, into } => {
            let offset = offset.saturating_add(done as u64);
            into.fill(|bytes| rustix::io::pread(&*file, &mut bytes[done..], offset))?
        }
        Transfer::Write { file, offset, data } => {
            rustix::io::pwrite(&*file, &data[done..], offset.saturating_add(done as u64))?
        }
        Transfer::Fsync { file, data_only: true } => rustix::fs::fdatasync(&*file).map(|()| 0)?,
        Transfer::Fsync { file, data_only: false } => rustix::fs::fsync(&*file).map(|()| 0)?,
    })
}

/// The supplementary groups of a thread, as `/proc` tells them.
fn groups(pid: u32) -> io::Result<Vec<u32>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    let line = line.ok_or(io::ErrorKind::InvalidData)?;
    Ok(line.split_whitespace().filter_map(|group| group.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_groups_are_found() {
        let mut expected: Vec<u32> =
            rustix::process::getgroups().unwrap().into_iter().map(|gid| gid.as_raw()).collect();
        let mut found = groups(std::process::id()).unwrap();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
        assert!(groups(u32::MAX).is_err());
    }
}
