//! Locks of whole files (flock(2)), taken on the backing files: they hold against those, too, who use the
//! directory without the mirror.
//!
//! Locks of byte ranges are not passed on: they belong to processes, and here all processes would be one. The
//! kernel keeps them, for those who use the mount.

use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use wharf::Cancellation;
use wharf::op::LockKind;

use super::Result;
use super::files::OpenFile;

/// How long a thread that waits sleeps between two attempts: at first, and at the most. A thread that slept
/// in flock(2) itself could only be woken by a signal, and signals belong to the program around the mirror.
const SLEEP_MIN: Duration = Duration::from_millis(1);
const SLEEP_MAX: Duration = Duration::from_millis(32);

/// Takes a lock or gives it up, without waiting.
///
/// # Errors
/// `EWOULDBLOCK` if somebody else has it.
pub(super) fn lock(file: &OpenFile, kind: LockKind) -> Result<()> {
    let operation = match kind {
        LockKind::Shared => FlockOperation::NonBlockingLockShared,
        LockKind::Exclusive => FlockOperation::NonBlockingLockExclusive,
        LockKind::Unlock => FlockOperation::NonBlockingUnlock,
    };
    flock(&file.descriptor, operation)
}

/// Takes a lock when it can be had.
///
/// # Errors
/// `EINTR` when the caller gives up.
pub(super) fn wait_for_lock(file: &OpenFile, kind: LockKind, caller: &Cancellation) -> Result<()> {
    let mut pause = SLEEP_MIN;
    loop {
        match lock(file, kind) {
            Err(Errno::WOULDBLOCK) if caller.is_cancelled() => return Err(Errno::INTR),
            Err(Errno::WOULDBLOCK) => sleep(pause),
            done => return done,
        }
        pause = (pause * 2).min(SLEEP_MAX);
    }
}
