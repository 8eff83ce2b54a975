//! The side of a file in memory that makes its bytes.

use std::future::poll_fn;
use std::ops::Range;
use std::sync::{Arc, Weak};

use crate::error::{Error, Kind, Result};

use super::Memory;
use super::progress::{Progress, Wanted};

/// What fills a [`Memory`], from any thread. There is one for each.
///
/// It does not keep the memory: when nobody has that any more, filling fails with [`Kind::Stale`], and
/// waiting to be wanted ends. Dropped before [`finish`](Self::finish), it leaves an I/O error to those who
/// read what is missing.
#[derive(Debug)]
pub struct Filler {
    memory: Weak<Memory>,
    progress: Arc<Progress>,
    len: u64,
    /// Where [`append`](Self::append) goes on.
    appended: u64,
    ended: bool,
}

impl Filler {
    pub(super) fn new(memory: &Arc<Memory>, progress: Arc<Progress>) -> Filler {
        Filler { memory: Arc::downgrade(memory), progress, len: memory.len(), appended: 0, ended: false }
    }

    /// The length of the file, in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True for a file of no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills the bytes that follow those appended before; the first ones are those at offset 0.
    ///
    /// # Errors
    /// As for [`fill`](Self::fill).
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.fill(self.appended, bytes)?;
        self.appended += bytes.len() as u64;
        Ok(())
    }

    /// Fills the bytes from `offset` on. Who waits for them is woken.
    ///
    /// # Errors
    /// When there is no memory left; [`Kind::Invalid`] if the file has no such bytes or they have been filled already;
    /// [`Kind::Stale`] if nobody has the memory any more. The filler can go on, but for that last case.
    pub fn fill(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let Some(memory) = self.memory.upgrade() else { return Err(Error::new(Kind::Stale)) };
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.len);
        let Some(end) = end else { return Err(Error::invalid().doing("filling a file beyond its length")) };
        let range = offset..end;
        if range.is_empty() {
            return Ok(());
        }
        if self.progress.meets(&range) {
            return Err(Error::invalid().doing("filling bytes of a file twice"));
        }
        memory
            .section
            .put(offset, bytes)
            .map_err(|error| Error::from(error).doing("filling a file in memory"))?;
        let grown = self.progress.add(range);
        // Only the pages that these bytes have completed are news.
        memory.section.publish(page_start(offset).max(grown.start)..grown.end.min(page_end(end)));
        Ok(())
    }

    /// All bytes are there.
    ///
    /// # Errors
    /// If they are not: whoever reads the rest gets an I/O error too.
    pub fn finish(mut self) -> Result<()> {
        if self.progress.finish(self.len) {
            self.ended = true;
            return Ok(());
        }
        Err(Error::io("finishing a file in memory of which bytes are missing"))
    }

    /// The rest will not come. Whoever reads it gets an error of this kind; what is there stays readable.
    pub fn fail(mut self, error: &Error) {
        self.progress.fail(error.kind(), "reading a file whose contents could not be made");
        self.ended = true;
    }

    /// The range for which somebody has been waiting longest; `None` if nobody waits.
    pub fn wanted(&self) -> Option<Range<u64>> {
        named(self.progress.wanted())
    }

    /// Waits until somebody waits for bytes, and returns which. `None` if nobody has the memory any more.
    pub async fn until_wanted(&self) -> Option<Range<u64>> {
        named(poll_fn(|cx| self.progress.poll_wanted(cx)).await)
    }

    /// Blocks this thread until somebody waits for bytes, and returns which. `None` if nobody has the memory any more.
    pub fn wait_until_wanted(&self) -> Option<Range<u64>> {
        named(self.progress.wait_until_wanted())
    }

    /// Whether nobody has the memory any more, so that the work can end.
    pub fn is_abandoned(&self) -> bool {
        matches!(self.progress.wanted(), Wanted::Abandoned)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        if !self.ended {
            self.progress.fail(Kind::Io, "reading a file whose contents were given up");
        }
    }
}

fn named(wanted: Wanted) -> Option<Range<u64>> {
    match wanted {
        Wanted::This(range) => Some(range),
        Wanted::Nothing | Wanted::Abandoned => None,
    }
}

fn page_start(at: u64) -> u64 {
    at / wharf_mem::PAGE_BYTES * wharf_mem::PAGE_BYTES
}

fn page_end(at: u64) -> u64 {
    at.next_multiple_of(wharf_mem::PAGE_BYTES)
}
