//! Files whose bytes are made in memory: decompressed, generated, fetched.
//!
//! Made by an author with the file's length; filled by its [`Filler`], from any thread and in any order; read by
//! whoever has the file open, while it is filled as well as afterwards. Readers wait for the bytes they
//! want without holding up a queue. Every byte is filled once and never changes.

mod filler;
mod progress;
mod spans;

use std::ops::Range;
use std::sync::Arc;

use wharf_mem::{Section, Window};

use crate::error::{Error, Result};

pub use filler::Filler;

use progress::{Filled, Progress};

/// The contents of one file, in memory. To be opened as [`Source::Memory`](crate::Source::Memory).
///
/// The memory is shared: the kernel may read it by itself once it is complete (passthrough), and clients on the
/// same machine map it. It is given back when the last `Arc` is gone, and with it every open file and
/// mapping of it.
///
/// It takes two descriptors and a mapping. Small files are better answered from `read`.
#[derive(Debug)]
pub struct Memory {
    section: Section,
    len: u64,
    progress: Arc<Progress>,
}

impl Memory {
    /// Memory for a file of `len` bytes, and what fills it.
    ///
    /// # Errors
    /// When there is no address space or descriptor left for it. Its pages are taken as they are filled.
    pub fn new(len: u64) -> Result<(Arc<Memory>, Filler)> {
        let section =
            Section::create(len, len).map_err(|error| Error::from(error).doing("making a file in memory"))?;
        // Opens that write are refused.
        section.set_quiet(true);
        let progress = Arc::<Progress>::default();
        let memory = Arc::new(Memory { section, len, progress: progress.clone() });
        let filler = Filler::new(&memory, progress);
        Ok((memory, filler))
    }

    /// Memory that holds a copy of `bytes`.
    ///
    /// # Errors
    /// When there is no memory or descriptor left for it.
    pub fn holding(bytes: &[u8]) -> Result<Arc<Memory>> {
        let (memory, mut filler) = Memory::new(bytes.len() as u64)?;
        filler.append(bytes)?;
        filler.finish()?;
        Ok(memory)
    }

    /// The length of the file, in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True for a file of no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether all its bytes are there.
    pub fn is_complete(&self) -> bool {
        self.progress.is_complete()
    }

    /// Bytes of memory that it occupies now.
    pub fn allocated_bytes(&self) -> u64 {
        self.section.allocated_bytes()
    }

    /// Waits until the bytes of `range` are there, as far as the file goes.
    ///
    /// # Errors
    /// The error that the filler [failed](Filler::fail) with, if it did before these bytes were there.
    pub async fn filled(&self, range: Range<u64>) -> Result<()> {
        let range = range.start.min(self.len)..range.end.min(self.len);
        if range.is_empty() || self.is_complete() {
            return Ok(());
        }
        Filled::new(&self.progress, range).await
    }

    /// Reads from `offset` until the window is full or the file ends, when those bytes are there. Returns the number
    /// of bytes.
    ///
    /// # Errors
    /// As for [`filled`](Self::filled).
    pub async fn read(&self, offset: u64, mut into: Window<'_>) -> Result<usize> {
        self.filled(offset..offset.saturating_add(into.len() as u64)).await?;
        Ok(self.copy_out(offset, &mut into))
    }

    /// What [`read`](Self::read) does once the bytes are there.
    pub(crate) fn copy_out(&self, offset: u64, into: &mut Window<'_>) -> usize {
        into.fill(|buffer| self.section.copy_out(offset, buffer))
    }

    /// The memory as transports share it.
    pub fn section(&self) -> &Section {
        &self.section
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.progress.abandon();
    }
}

#[cfg(test)]
mod tests;
