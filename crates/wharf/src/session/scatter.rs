//! Reads of files that lie in runs on a disc: all runs at once, straight to their places in the reply.
//!
//! What alignment forbids to read in place goes through a bounce: a last part that is no whole sector, or a run
//! whose offset and place in memory differ within a sector.

use std::collections::VecDeque;

use wharf_mem::{Lease, Payload, Window};

use crate::error::{Error, Result};
use crate::extents::{Disc, Extents, Run};
use crate::io::{Io, Transfer};
use crate::promise::Promised;

/// Transfers of one read that are in flight at a time. Enough for a reply of 1 MiB in runs of 4 KiB.
const FLIGHTS_MAX: usize = 256;

/// Reads `size` bytes from `offset`, or until the file ends, to the start of the lease. Returns how many.
///
/// On an error transfers may still be in flight. They hold their parts of the reply, which is not sent before they end.
pub(super) async fn read(
    io: Io<'_>,
    extents: &dyn Extents,
    offset: u64,
    lease: Option<&mut Lease>,
    size: usize,
) -> Result<usize> {
    let disc = extents.disc();
    disc.check()?;
    let lease = lease.ok_or(Error::io("reading without room for an answer"))?;
    let window = lease.window(size).ok_or(Error::io("taking the reply window: something holds it"))?;
    let room = window.len() as u64;
    // Before the runs are asked for, so that nothing can be given away in between.
    let _hold = extents.hold();
    let end = extents.len_bytes().min(offset.saturating_add(room));
    if offset >= end {
        return Ok(0);
    }
    let mut runs = Vec::new();
    extents.runs(offset..end, &mut runs)?;
    let mut scatter = Scatter { io, disc, window: Some(window), flights: VecDeque::new() };
    let mut at = offset;
    for run in runs {
        let Some(run) = clip(run, at, end)? else { continue };
        at += run.len;
        scatter.part(run, at == end).await?;
    }
    while scatter.land().await? {}
    let read = (at - offset) as usize;
    if at == end
        && let Some(mut window) = lease.window(size)
    {
        // What lies on the disc behind the end of the file is not this file's.
        window.zero(read..read.next_multiple_of(disc.alignment_bytes() as usize));
    }
    Ok(read)
}

/// The part of a run between `at`, where it must not begin behind, and `end`. `None` if nothing is left.
fn clip(run: Run, at: u64, end: u64) -> Result<Option<Run>> {
    let run_end = run.offset.checked_add(run.len);
    let (true, Some(run_end)) = (run.offset <= at, run_end) else {
        return Err(Error::io("reading runs: the file system left a gap between two"));
    };
    let end = end.min(run_end);
    if end <= at {
        return Ok(None);
    }
    let disc_offset = match run.disc_offset {
        None => None,
        Some(begin) => {
            let begin = begin.checked_add(at - run.offset);
            // Widening to whole sectors must not run over either.
            let begin =
                begin.filter(|begin| begin.checked_add(end - at).is_some_and(|end| end < i64::MAX as u64));
            Some(begin.ok_or(Error::io("reading runs: one lies where no disc can have it"))?)
        }
    };
    Ok(Some(Run { offset: at, disc_offset, len: end - at }))
}

struct Scatter<'a> {
    io: Io<'a>,
    disc: &'a Disc,
    /// What is not yet given to a run.
    window: Option<Window<'a>>,
    flights: VecDeque<Flight<'a>>,
}

/// One transfer.
struct Flight<'a> {
    promised: Promised<std::io::Result<usize>>,
    /// Where on the disc it began.
    offset: u64,
    /// Bytes that must come.
    needed: usize,
    bounce: Option<Bounce<'a>>,
}

/// Bytes that are read elsewhere first.
struct Bounce<'a> {
    payload: Payload,
    /// Bytes of the payload before those that were asked for.
    skipped: usize,
    target: Window<'a>,
}

impl<'a> Scatter<'a> {
    /// Begins to read the next run, which is as long as the window is at the most.
    async fn part(&mut self, run: Run, last: bool) -> Result<()> {
        let len = run.len as usize;
        let Some(mut window) = self.window.take() else { return Ok(()) };
        let Some(disc_offset) = run.disc_offset else {
            window.zero(0..len);
            self.window = Some(window.split(len).1);
            return Ok(());
        };
        let sector = self.disc.alignment_bytes() as usize;
        let place = window.fill(|bytes| bytes.as_ptr().addr());
        let aligned = disc_offset % sector as u64 == 0 && place.is_multiple_of(sector);
        let whole = if !aligned {
            0
        } else if last && len.next_multiple_of(sector) <= window.len() {
            // Nothing else is read to the rest of the last sector, so it may come here whole.
            len.next_multiple_of(sector)
        } else {
            len - len % sector
        };
        let (first, rest) = window.split(whole);
        if whole > 0 {
            self.direct(disc_offset, first, whole.min(len)).await?;
        }
        let (rest, window) = rest.split(len.saturating_sub(whole));
        if !rest.is_empty() {
            self.bounced(disc_offset + whole as u64, rest).await?;
        }
        self.window = Some(window);
        Ok(())
    }

    async fn direct(&mut self, offset: u64, target: Window<'a>, needed: usize) -> Result<()> {
        let file = self.disc.file().clone();
        let transfer = Transfer::Read { file, offset, into: target.detach() };
        self.launch(transfer, needed, None).await
    }

    async fn bounced(&mut self, offset: u64, target: Window<'a>) -> Result<()> {
        let sector = u64::from(self.disc.alignment_bytes());
        let begin = offset - offset % sector;
        let needed = (offset - begin) as usize + target.len();
        let wide = needed.next_multiple_of(sector as usize);
        let no_memory = |cause| Error::io("reading around the alignment of a disc").because(cause);
        let mut payload = Payload::anonymous(wide).map_err(no_memory)?;
        let into = payload.lease().and_then(|mut lease| lease.window(wide).map(Window::detach));
        let into = into.ok_or(Error::io("taking fresh memory"))?;
        let transfer = Transfer::Read { file: self.disc.file().clone(), offset: begin, into };
        let bounce = Bounce { payload, skipped: (offset - begin) as usize, target };
        self.launch(transfer, needed, Some(bounce)).await
    }

    async fn launch(&mut self, transfer: Transfer, needed: usize, bounce: Option<Bounce<'a>>) -> Result<()> {
        if self.flights.len() >= FLIGHTS_MAX {
            self.land().await?;
        }
        let offset = if let Transfer::Read { offset, .. } = &transfer { *offset } else { 0 };
        let promised = self.io.begin(transfer);
        self.flights.push_back(Flight { promised, offset, needed, bounce });
        Ok(())
    }

    /// Waits for the transfer that began first. False if there is none.
    async fn land(&mut self) -> Result<bool> {
        let Some(Flight { promised, offset, needed, bounce }) = self.flights.pop_front() else {
            return Ok(false);
        };
        let read = promised.await.ok_or(Error::io("waiting for an I/O that the queue gave up"))?;
        self.disc.heed(offset, needed, &read);
        // Whatever the number is, to a program it is a file whose disc fails.
        let read = read.map_err(|cause| Error::io("reading from a disc").because(cause))?;
        if read < needed {
            return Err(Error::io("reading from a disc that ends before the file does"));
        }
        if let Some(Bounce { mut payload, skipped, mut target }) = bounce {
            let bytes = payload.bytes_mut().ok_or(Error::io("taking back memory that an I/O has left"))?;
            target.put(&bytes[skipped..needed]);
        }
        Ok(true)
    }
}
