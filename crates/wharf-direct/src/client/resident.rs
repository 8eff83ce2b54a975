//! What of an open file can be read without asking anybody.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::direct::Direct;
use super::reader;

/// Bytes that are asked for ahead at a time.
const STRETCH: u64 = 1 << 20;

/// How often the host is asked whether there is a section by now.
const LOOKS_MAX: u32 = 4;

/// A file of which only that is read what its host keeps in shared memory, and only while every program that reads it by
/// the kernel sees the same. Everything else is left to the caller, who has the file.
///
/// No descriptor of the file is kept. Any number of threads may use it at once.
#[derive(Debug)]
pub struct Resident {
    direct: Direct,
    /// The last stretch that was asked for, counted from one.
    asked: AtomicU64,
    looks: AtomicU32,
}

impl Resident {
    /// Takes an open file.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) where there is no direct path, [`Unsupported`](io::ErrorKind::Unsupported)
    /// where the bytes are a file's, which the kernel reads as fast as anybody; or what the host says.
    pub fn attach(file: impl AsFd) -> io::Result<Resident> {
        let direct = reader::direct(&file)?;
        if direct.is_backed() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Resident { direct, asked: AtomicU64::new(0), looks: AtomicU32::new(0) })
    }

    /// Whether anything could be there: the host keeps bytes of the file, and nobody has it open for writing.
    pub fn is_ready(&self) -> bool {
        self.direct.is_quiet()
    }

    /// Whether all bytes of a range are there just now. It costs some nanoseconds.
    pub fn has(&self, range: Range<u64>) -> bool {
        self.direct.has(range)
    }

    /// Reads from `offset` until `into` is full or the file ends, and returns the number of bytes. `None` if not all
    /// of that is there: what is in `into` then means nothing.
    ///
    /// What was stored before the call began, by a write or through a mapping, is in what it reads.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Option<usize> {
        self.direct.read_resident(offset, into)
    }

    /// Whether the host may keep bytes by now of which this does not know yet: [`look`](Self::look).
    pub fn may_have_come(&self) -> bool {
        let asked = self.asked.load(Relaxed) != 0;
        asked && !self.direct.has_section() && self.looks.load(Relaxed) < LOOKS_MAX
    }

    /// Asks the host whether it keeps bytes of the file by now, and waits for the answer: some microseconds.
    pub fn look(&self) {
        self.looks.fetch_add(1, Relaxed);
        self.direct.look();
    }

    /// Says that the file is worth keeping, and that these bytes come next. Waits for nobody.
    pub fn want(&self, range: Range<u64>) {
        if self.direct.has_section() && !self.direct.is_quiet() {
            // Somebody writes: they could not be used.
            return;
        }
        let stretch = range.start / STRETCH;
        if self.asked.swap(stretch + 1, Relaxed) != stretch + 1 {
            self.direct.prefetch(stretch * STRETCH, STRETCH);
        }
    }

    /// Has these bytes brought, and waits for them. For who would rather wait than read by the kernel.
    pub fn fetch(&self, range: Range<u64>) {
        self.direct.bring(range);
    }
}
