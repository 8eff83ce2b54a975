//! Authors' I/O on its way through a queue's ring.
//!
//! A transfer keeps its file and its bytes until the kernel has completed it, whatever becomes of the
//! operation that asked: that is what makes the addresses in these entries good.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};
use wharf::io::{Request, Transfer};

/// The kernel's limit for one read or write.
const TRANSFER_BYTES_MAX: usize = 0x7fff_f000;

/// Transfers in flight, by place.
#[derive(Default)]
pub struct Transfers {
    places: Vec<Option<Request>>,
    free: Vec<u32>,
}

impl Transfers {
    /// Keeps a request and makes the entry for it; its `user_data` is `mark | place`.
    ///
    /// The entry must reach the kernel, and its completion come back to [`complete`](Self::complete), before this value is dropped.
    pub fn begin(&mut self, mut request: Request, mark: u64) -> squeue::Entry {
        let entry = entry(&mut request);
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            (self.places.len() - 1) as u32
        });
        self.places[place as usize] = Some(request);
        entry.user_data(mark | u64::from(place))
    }

    /// Takes what the kernel says of the transfer at `place`. Returns an entry if there is more to move.
    pub fn complete(&mut self, place: u32, result: i32, mark: u64) -> Option<squeue::Entry> {
        let request = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        let result = match usize::try_from(result) {
            Ok(moved) => Ok(moved),
            Err(_) => Err(io::Error::from_raw_os_error(result.wrapping_neg())),
        };
        Some(self.begin(request.completed(result)?, mark))
    }

    /// Takes note that the kernel is done with the transfer at `place`, for whom nobody waits any more.
    pub fn forget(&mut self, place: u32) {
        if self.places.get_mut(place as usize).and_then(Option::take).is_some() {
            self.free.push(place);
        }
    }

    /// Transfers that have begun and not ended.
    pub fn in_flight(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

fn entry(request: &mut Request) -> squeue::Entry {
    let done = request.done();
    let rest = |len: usize| (len - done).min(TRANSFER_BYTES_MAX) as u32;
    match request.transfer() {
        Transfer::Read { file, offset, into } => {
            let start = into.as_ptr().as_ptr().wrapping_add(done);
            opcode::Read::new(Fd(file.as_raw_fd()), start, rest(into.len()))
                .offset(offset.saturating_add(done as u64))
                .build()
        }
        Transfer::Write { file, offset, data } => {
            let start = data.as_ptr().wrapping_add(done);
            opcode::Write::new(Fd(file.as_raw_fd()), start, rest(data.len()))
                .offset(offset.saturating_add(done as u64))
                .build()
        }
        Transfer::Fsync { file, data_only } => {
            let flags = if *data_only { FsyncFlags::DATASYNC } else { FsyncFlags::empty() };
            opcode::Fsync::new(Fd(file.as_raw_fd())).flags(flags).build()
        }
    }
}
