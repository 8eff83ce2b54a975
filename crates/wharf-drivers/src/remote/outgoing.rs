//! A local copy on its way to the service, piece by piece.

use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use wharf::Error;

use super::Result;
use super::failure::Failure;

/// A local copy on its way to the service.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) file: Arc<OwnedFd>,
    pub(super) size: u64,
    /// How many of its bytes have been taken, as far as is known.
    pub(super) sent: Arc<AtomicU64>,
}

impl Outgoing {
    /// The next piece: what is before it has been taken.
    pub(super) async fn piece(&self, at: u64, len: u64) -> Result<Bytes, Failure> {
        self.sent.store(at, Ordering::Relaxed);
        piece(&self.file, at, len).await
    }
}

/// Reads a piece of a local copy, off the threads that talk to the service.
pub(super) async fn piece(file: &Arc<OwnedFd>, at: u64, len: u64) -> Result<Bytes, Failure> {
    let file = file.clone();
    let read = move || {
        let mut bytes = vec![0; len as usize];
        std::fs::File::from(file.try_clone()?).read_exact_at(&mut bytes, at)?;
        Ok::<_, std::io::Error>(Bytes::from(bytes))
    };
    let read = tokio::task::spawn_blocking(read).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(Failure::of(error.into())),
        Err(error) => Err(Failure::of(Error::io("reading a local copy").because(error))),
    }
}
