//! The device or image that a volume is on, and the two ways to do I/O on it.
//!
//! Nothing is kept here: what is asked for is read, what is given is written, in whole sectors.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::future::poll_fn;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use rustix::fs::OFlags;
use rustix::io::Errno;
use wharf::io::{Buffer, Io};
use wharf::{Data, Disc, Error, Result, Window};

use super::partition;

/// Bytes read to find out what alignment a descriptor wants.
const PROBE_BYTES: usize = 4096;
/// Runs that are written at a time.
const FLIGHTS_MAX: usize = 64;

/// Who does the I/O.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lane<'a> {
    /// The queue of the operation: nobody blocks.
    Queue(Io<'a>),
    /// This thread, which may block: before the volume is served, after it, and beside it.
    Thread,
}

/// Where on a disc the volume is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// From this byte on.
    Offset(u64),
    /// In the partition of this number, by the disc's MBR or GPT. The first is 1.
    Partition(u32),
}

/// What has happened to a medium, for tests that cut the power.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(super) enum Event {
    Write { offset: u64, bytes: Vec<u8> },
    Barrier,
}

/// A span of a disc.
#[derive(Debug)]
pub(super) struct Medium {
    disc: Disc,
    base: u64,
    bytes: u64,
    #[cfg(test)]
    pub(super) journal: std::sync::Mutex<Option<Vec<Event>>>,
}

impl Medium {
    /// Opens a device or an image, past the page cache where that can be.
    ///
    /// # Errors
    /// What the system says, or that there is no such partition.
    pub(super) fn open(path: &Path, part: Part, write: bool) -> Result<Medium> {
        let open = |direct: bool| {
            let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
            OpenOptions::new().read(true).write(write).custom_flags(flags.bits() as i32).open(path)
        };
        let (file, alignment) = match open(true) {
            Ok(file) => match alignment(&file) {
                Some(alignment) => (file, alignment),
                None => (open(false)?, 1),
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => (open(false)?, 1),
            Err(error) => return Err(error.into()),
        };
        let disc_bytes = (&file).seek(SeekFrom::End(0))?;
        let medium = Medium::over(file, alignment, (0, disc_bytes));
        let (base, bytes) = match part {
            Part::Whole => (0, disc_bytes),
            Part::Offset(base) => (base, disc_bytes.saturating_sub(base)),
            Part::Partition(number) => {
                let (base, bytes) = partition::find(&|at, into| medium.read_now(at, into), number)?;
                (base, bytes.min(disc_bytes.saturating_sub(base)))
            }
        };
        let file = medium.disc.file().try_clone()?.into();
        if base.is_multiple_of(alignment.into()) {
            return Ok(Medium::over(file, alignment, (base, bytes)));
        }
        log::info!("{} is read through the page cache: the volume is not on a whole sector", path.display());
        Ok(Medium::over(open(false)?, 1, (base, bytes)))
    }

    fn over(file: File, alignment: u32, (base, bytes): (u64, u64)) -> Medium {
        Medium {
            disc: Disc::new(Arc::new(OwnedFd::from(file)), alignment).with_len(base + bytes),
            base,
            bytes,
            #[cfg(test)]
            journal: std::sync::Mutex::default(),
        }
    }

    /// The same through the page cache, for a volume whose sectors are smaller than the disc's.
    pub(super) fn buffered(self, path: &Path, write: bool) -> Result<Medium> {
        let file = OpenOptions::new().read(true).write(write).open(path)?;
        Ok(Medium::over(file, 1, (self.base, self.bytes)))
    }

    pub(super) fn disc(&self) -> &Disc {
        &self.disc
    }

    /// Where the volume begins on the disc.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Bytes from there to the end.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn alignment(&self) -> usize {
        self.disc.alignment_bytes() as usize
    }

    /// Fills the window from `offset`, which must suit the alignment as the window's length must.
    pub(super) async fn read(&self, lane: Lane<'_>, offset: u64, into: Window<'_>) -> Result<()> {
        self.disc.check()?;
        let needed = into.len();
        let at = self.place(offset, needed)?;
        let file = self.disc.file();
        let read = match lane {
            Lane::Queue(io) => io.read(file, at, into).await,
            Lane::Thread => read_all(file, at, into),
        };
        self.all(read, at, needed, "reading from the disc")
    }

    /// Writes all of `data` at `offset`; both must suit the alignment.
    pub(super) async fn write(&self, lane: Lane<'_>, offset: u64, data: Data<'_>) -> Result<()> {
        self.disc.check()?;
        let needed = data.len();
        let at = self.place(offset, needed)?;
        #[cfg(test)]
        self.note(|| Event::Write { offset, bytes: data.to_vec() });
        let file = self.disc.file();
        let written = match lane {
            Lane::Queue(io) => io.write(file, at, data).await,
            Lane::Thread => write_all(file, at, &data),
        };
        self.all(written, at, needed, "writing to the disc")
    }

    /// Writes all of these, each at its offset, as [`write`](Self::write) does: many at once.
    ///
    /// # Errors
    /// The first. None is under way any more then.
    pub(super) async fn write_runs(&self, lane: Lane<'_>, runs: Vec<(u64, Data<'_>)>) -> Result<()> {
        let mut runs = runs.into_iter().map(|(offset, data)| self.write(lane, offset, data));
        let mut flights = VecDeque::new();
        let mut result = Ok(());
        loop {
            while result.is_ok()
                && flights.len() < FLIGHTS_MAX
                && let Some(run) = runs.next()
            {
                let mut flight = Box::pin(run);
                // Begun now, and waited for later.
                match poll_fn(|cx| Poll::Ready(flight.as_mut().poll(cx))).await {
                    Poll::Ready(written) => result = result.and(written),
                    Poll::Pending => flights.push_back(flight),
                }
            }
            let Some(flight) = flights.pop_front() else { return result };
            result = result.and(flight.await);
        }
    }

    /// Waits until the disc has what was written.
    pub(super) async fn barrier(&self, lane: Lane<'_>) -> Result<()> {
        self.disc.check()?;
        let file = self.disc.file();
        let synced = match lane {
            Lane::Queue(io) => io.fsync(file, true).await,
            Lane::Thread => rustix::fs::fdatasync(file).map_err(|error| io::Error::from(error).into()),
        };
        self.all(synced.map(|()| 0), 0, 0, "waiting for the disc")?;
        #[cfg(test)]
        self.note(|| Event::Barrier);
        Ok(())
    }

    /// Fails if the disc has gone, also if that is only to be seen by its length: an image that was cut off would take
    /// what is written behind its end.
    pub(super) fn still_there(&self) -> Result<()> {
        if rustix::fs::seek(self.disc.file(), rustix::fs::SeekFrom::End(0))
            .is_ok_and(|len| len < self.disc.len_bytes())
        {
            self.disc.lose();
        }
        self.disc.check()
    }

    /// Reads on this thread, whatever the alignment.
    pub(super) fn read_now(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let align = self.alignment() as u64;
        let begin = offset - offset % align;
        let skipped = (offset - begin) as usize;
        let len = (skipped + into.len()).next_multiple_of(align as usize);
        let mut buffer = Buffer::new(len)?;
        let at = self.place(begin, 0)?;
        let read = read_all(self.disc.file(), at, buffer.window(len)?)?;
        if read < skipped + into.len() {
            return Err(Error::io("reading behind the end of the disc"));
        }
        into.copy_from_slice(&buffer.data(len)?[skipped..skipped + into.len()]);
        Ok(())
    }

    fn place(&self, offset: u64, len: usize) -> Result<u64> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.bytes);
        end.and_then(|_| self.base.checked_add(offset)).ok_or(Error::io("going behind the end of the disc"))
    }

    fn all(&self, moved: Result<usize>, at: u64, needed: usize, doing: &'static str) -> Result<()> {
        match moved {
            Ok(moved) if moved >= needed => Ok(()),
            Ok(moved) => {
                self.disc.heed(at, needed, &Ok(moved));
                self.still_there()?;
                Err(Error::io(doing).because("it ends before the volume does"))
            }
            Err(error) => {
                self.disc.heed(at, needed, &Err(io::Error::from_raw_os_error(error.errno().get())));
                Err(Error::io(doing).because(error))
            }
        }
    }

    #[cfg(test)]
    fn note(&self, event: impl FnOnce() -> Event) {
        if let Some(journal) = &mut *self.journal.lock().unwrap() {
            journal.push(event());
        }
    }
}

/// What a descriptor with `O_DIRECT` wants; `None` if it cannot be found out.
fn alignment(file: &File) -> Option<u32> {
    let mut buffer = Buffer::new(2 * PROBE_BYTES).ok()?;
    [512u32, 1024, 2048, 4096].into_iter().find(|size| {
        let Ok(mut window) = buffer.window(*size as usize) else { return false };
        // At an odd sector: a disc with larger ones refuses that.
        window.fill(|bytes| rustix::io::pread(file, bytes, u64::from(*size))).is_ok()
    })
}

fn read_all(file: &OwnedFd, at: u64, mut into: Window<'_>) -> Result<usize> {
    into.fill(|bytes| {
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::pread(file, &mut bytes[done..], at + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Ok(done)
    })
}

fn write_all(file: &OwnedFd, at: u64, data: &[u8]) -> Result<usize> {
    let mut done = 0;
    while done < data.len() {
        match rustix::io::pwrite(file, &data[done..], at + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    Ok(done)
}
