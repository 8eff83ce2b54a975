//! I/O on local files through the queue that runs the operation: nobody blocks, and it completes on
//! the same thread.
//!
//! An author calls [`Io`]'s methods in an operation. A transport is the other side: it gets
//! [`Request`]s, hands them to the kernel and reports what became of them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use wharf_mem::{Data, Lease, OwnedData, OwnedWindow, Payload, Window};

use crate::context::Host;
use crate::error::{Error, Result};
use crate::promise::{Promise, Promised, promise};

/// The queue's I/O, from [`Context::io`](crate::Context::io).
///
/// A future that is dropped does not stop the I/O; the bytes it uses stay put until it is over.
#[derive(Clone, Copy, Debug)]
pub struct Io<'a> {
    pub(crate) host: &'a dyn Host,
}

impl Io<'_> {
    /// Reads from `offset` until the window is full or the file ends. Returns the number of bytes.
    ///
    /// # Errors
    /// What the kernel says, as its number.
    pub async fn read(self, file: &Arc<OwnedFd>, offset: u64, into: Window<'_>) -> Result<usize> {
        let into = into.detach();
        self.run(Transfer::Read { file: file.clone(), offset, into }).await
    }

    /// Writes all of `data` at `offset`. Returns the number of bytes, which is less only after an error
    /// part of the way.
    ///
    /// # Errors
    /// What the kernel says, as its number.
    pub async fn write(self, file: &Arc<OwnedFd>, offset: u64, data: Data<'_>) -> Result<usize> {
        let data = data.detach();
        self.run(Transfer::Write { file: file.clone(), offset, data }).await
    }

    /// Brings the file to its store.
    ///
    /// # Errors
    /// What the kernel says, as its number.
    pub async fn fsync(self, file: &Arc<OwnedFd>, data_only: bool) -> Result<()> {
        self.run(Transfer::Fsync { file: file.clone(), data_only }).await.map(drop)
    }

    /// Begins an I/O. What the kernel says of it comes later.
    pub(crate) fn begin(self, transfer: Transfer) -> Promised<io::Result<usize>> {
        let (promise, promised) = promise();
        self.host.submit(Request { transfer, done: 0, promise });
        promised
    }

    async fn run(self, transfer: Transfer) -> Result<usize> {
        match self.begin(transfer).await {
            Some(result) => Ok(result?),
            None => Err(Error::io("waiting for an I/O that the queue gave up")),
        }
    }
}

/// Memory of an author's own for I/O: whole pages, so that any disc's alignment is met.
#[derive(Debug)]
pub struct Buffer {
    lease: Lease,
    _payload: Payload,
}

impl Buffer {
    /// At least `len` bytes, all zero.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(len: usize) -> Result<Buffer> {
        let mut payload = Payload::anonymous(len)?;
        let lease = payload.lease().ok_or(Error::io("taking fresh memory"))?;
        Ok(Buffer { lease, _payload: payload })
    }

    /// Bytes that fit.
    pub fn len(&self) -> usize {
        self.lease.len()
    }

    /// True if nothing fits.
    pub fn is_empty(&self) -> bool {
        self.lease.is_empty()
    }

    /// The first `len` bytes to fill, by an I/O or otherwise.
    ///
    /// # Errors
    /// While an I/O that nobody waits for any more still uses the buffer.
    pub fn window(&mut self, len: usize) -> Result<Window<'_>> {
        self.lease.window(len).ok_or(Error::io("using memory that an I/O was left with"))
    }

    /// The first `len` bytes to read, by an I/O or otherwise.
    ///
    /// # Errors
    /// While an I/O that nobody waits for any more still uses the buffer.
    pub fn data(&mut self, len: usize) -> Result<Data<'_>> {
        self.lease.data(len).ok_or(Error::io("using memory that an I/O was left with"))
    }
}

/// What is to be moved. Keeps the file and the bytes alive until the kernel is done.
#[derive(Debug)]
pub enum Transfer {
    /// From a file into a window.
    Read {
        /// From here,
        file: Arc<OwnedFd>,
        /// at this offset,
        offset: u64,
        /// into this.
        into: OwnedWindow,
    },
    /// From data to a file.
    Write {
        /// To here,
        file: Arc<OwnedFd>,
        /// at this offset,
        offset: u64,
        /// from this.
        data: OwnedData,
    },
    /// To the store.
    Fsync {
        /// This file;
        file: Arc<OwnedFd>,
        /// only contents, as fdatasync(2).
        data_only: bool,
    },
}

impl Transfer {
    fn len(&self) -> usize {
        match self {
            Transfer::Read { into, .. } => into.len(),
            Transfer::Write { data, .. } => data.len(),
            Transfer::Fsync { .. } => 0,
        }
    }
}

/// One I/O on its way. Dropping it answers the author with an error.
#[derive(Debug)]
pub struct Request {
    transfer: Transfer,
    /// Bytes already moved.
    done: usize,
    promise: Promise<io::Result<usize>>,
}

impl Request {
    /// What is to be done. Of its bytes the first [`done`](Self::done) have been moved already.
    pub fn transfer(&mut self) -> &mut Transfer {
        &mut self.transfer
    }

    /// Bytes already moved, to be skipped in file and memory.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Reports what the kernel said: bytes moved, or an error. Returns the request again when there is
    /// more to move, to be handed to the kernel once more.
    pub fn completed(mut self, result: io::Result<usize>) -> Option<Request> {
        let result = match result {
            Ok(moved) => {
                let len = self.transfer.len();
                self.done = (self.done + moved).min(len);
                if moved > 0 && self.done < len {
                    return Some(self);
                }
                Ok(self.done)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Some(self),
            Err(_) if self.done > 0 => Ok(self.done),
            Err(error) => Err(error),
        };
        let Request { transfer, promise, .. } = self;
        // First, so that who waits finds the bytes free.
        drop(transfer);
        promise.keep(result);
        None
    }
}
