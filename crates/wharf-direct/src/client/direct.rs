//! A file that is read past the kernel.

mod resident;

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use wharf_mem::{BLOCK_BYTES, Pending, Pinned, Read, SectionReader};

use crate::lane::{Answered, ClientLane};
use crate::layout::{Answer, Ask, FILE_BYTES_MAX, INBOX_BYTES, RECORD_BYTES, Record, SLOT_BYTES};

use super::connection::{Connection, Found};
use super::{Piece, fallback};

/// Requests of one read that are in flight at a time.
const WINDOW: usize = 16;
/// Sections that one open file has had before no more are asked for.
const SECTIONS_MAX: usize = 64;
/// The same of several reads: all that a channel has.
const WINDOW_MANY: usize = 64;

/// One open file of a connection's.
#[derive(Debug)]
pub(super) struct Direct {
    connection: Arc<Connection>,
    handle: u64,
    writes: bool,
    /// Sections that the file has had, the last of which may be good. Those before are of no use any more, but
    /// views may still look at them.
    sections: OnceLock<Box<Link>>,
    /// The file that has the bytes, where the host gave it away.
    backing: OnceLock<OwnedFd>,
}

/// One section of a file's.
#[derive(Debug)]
struct Link {
    reader: SectionReader,
    number: u64,
    next: OnceLock<Box<Link>>,
}

impl Direct {
    pub(super) fn new(connection: Arc<Connection>, handle: u64, writes: bool, look: bool) -> Direct {
        let (sections, backing) = (OnceLock::new(), OnceLock::new());
        let direct = Direct { connection, handle, writes, sections, backing };
        if look {
            direct.find();
        }
        direct
    }

    /// Whether the host is known to have gone.
    pub(super) fn is_lost(&self) -> bool {
        self.connection.is_lost_lately()
    }

    /// Asks the host where the bytes are. Without an answer they are asked for one by one.
    fn find(&self) {
        let mut place = &self.sections;
        let mut before = 0;
        while let Some(link) = place.get() {
            (place, before) = (&link.next, before + 1);
        }
        // A file that changes all the time is not worth a section each time.
        if before >= SECTIONS_MAX {
            return;
        }
        match self.connection.section(self.handle) {
            // If two threads ask at once, the first has brought what the second need not keep.
            Ok(Found::Section(reader, number)) => {
                let _ = place.set(Box::new(Link { reader, number, next: OnceLock::new() }));
            }
            Ok(Found::Backing(file)) => _ = self.backing.set(file),
            Ok(Found::Nothing) | Err(_) => {}
        }
    }

    /// The section, if there is one that is good as far as is known.
    fn section(&self) -> Option<&Link> {
        let mut last = self.sections.get()?;
        while let Some(next) = last.next.get() {
            last = next;
        }
        Some(last)
    }

    /// Reads what the section has. Returns the bytes read, and whether that is all there is to read.
    fn read_section(&self, offset: u64, into: &mut [u8]) -> (usize, bool) {
        match self.section().map(|link| link.reader.read_at(offset, into)) {
            Some(Read::Done(count)) => (count, true),
            Some(Read::Missing { done, .. }) => (done, false),
            Some(Read::Invalid) | None => (0, false),
        }
    }

    /// The same before anything was asked. The host hears of nothing that is read so, and would take it for forgotten.
    fn hit(&self, offset: u64, into: &mut [u8]) -> (usize, bool) {
        let (count, all) = self.read_section(offset, into);
        if let Some(link) = self.section() {
            self.touch(link, offset, count);
        }
        (count, all)
    }

    /// Says that so many bytes have been read of a section without asking.
    fn touch(&self, link: &Link, offset: u64, count: usize) {
        if count > 0 && link.number != 0 {
            let blocks = offset / BLOCK_BYTES..(offset + count as u64).div_ceil(BLOCK_BYTES);
            self.connection.pins().touch(link.number, blocks);
        }
    }

    /// A part of the file that is held where it is, if all of it is there.
    pub(super) fn pin(&self, range: Range<u64>) -> Option<Pinned<'_>> {
        if self.is_lost() {
            return None;
        }
        let link = self.section()?;
        link.reader.pin(self.connection.pins(), link.number, range)
    }

    /// Reads from `offset` until `into` is full or the file ends.
    pub(super) fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        if self.is_lost() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let room = usize::try_from(FILE_BYTES_MAX.saturating_sub(offset)).unwrap_or(usize::MAX);
        let room = room.min(into.len());
        let into = &mut into[..room];
        if let Some(file) = self.backing.get() {
            return fallback::read_at(file.as_fd(), offset, into);
        }
        let (mut done, all) = self.hit(offset, into);
        if all {
            return Ok(done);
        }
        while done < into.len() {
            match self.fetch(offset + done as u64, &mut into[done..]) {
                Ok((count, false)) => done += count,
                Ok((count, true)) => return Ok(done + count),
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Asks for as much as is asked for at once. Returns the bytes, and whether the file ends there.
    fn fetch(&self, offset: u64, into: &mut [u8]) -> io::Result<(usize, bool)> {
        let mut flights: [Option<Flight<'_>>; WINDOW] = [const { None }; WINDOW];
        let (mut rest, mut at, mut count) = (into, offset, 0);
        let (lane, first) = self.connection.claim()?;
        let mut slot = Some(first);
        while let Some(taken) = slot.take() {
            // To the next border of a block: what lies in one can be kept by the host.
            let len = (SLOT_BYTES - (at % SLOT_BYTES as u64) as usize).min(rest.len());
            let (into, behind) = std::mem::take(&mut rest).split_at_mut(len);
            let ask = Ask::Read { handle: self.handle, offset: at, len: len as u32, plain: false };
            let pending = lane.submit(taken, ask, &[]);
            flights[count] = Some(Flight { pending, offset: at, into });
            (rest, at, count) = (behind, at + len as u64, count + 1);
            slot = if count < WINDOW && !rest.is_empty() { lane.channel.claim() } else { None };
        }
        lane.channel.ring();
        let mut done = 0;
        let mut ended: Option<io::Result<bool>> = None;
        for Flight { pending, offset, into } in flights.into_iter().flatten() {
            // Every slot is waited for, whatever became of the others. Once the host has gone, that is at once.
            let got = self.land(lane, pending, offset, into);
            if ended.is_some() {
                continue;
            }
            match got {
                Ok(count) => {
                    done += count;
                    if count < into.len() {
                        ended = Some(Ok(true));
                    }
                }
                Err(error) => ended = Some(Err(error)),
            }
        }
        match ended {
            Some(Err(error)) if done == 0 => Err(error),
            Some(_) => Ok((done, true)),
            None => Ok((done, false)),
        }
    }

    /// Does several reads. What is in the section is copied; the rest is asked for, as much at once as fits.
    pub(super) fn read_many(&self, pieces: &mut [Piece<'_>]) {
        for window in pieces.chunks_mut(WINDOW_MANY) {
            self.read_window(window);
        }
    }

    fn read_window(&self, pieces: &mut [Piece<'_>]) {
        let mut pending: [Option<Pending>; WINDOW_MANY] = [const { None }; WINDOW_MANY];
        let mut asked_on: Option<&ClientLane> = None;
        for (piece, pending) in pieces.iter_mut().zip(&mut pending) {
            let (count, all) = self.hit(piece.offset, piece.into);
            piece.result = Ok(count);
            let border = SLOT_BYTES - (piece.offset % SLOT_BYTES as u64) as usize;
            let at_once = !piece.into.is_empty() && piece.into.len() <= border;
            if all || self.backing.get().is_some() || !at_once || !fits(piece.offset, piece.into.len()) {
                continue;
            }
            // All on one channel: one ring is enough for them.
            let claimed = match asked_on {
                None => self.connection.claim().ok(),
                Some(lane) => lane.channel.claim().map(|slot| (lane, slot)),
            };
            let Some((lane, slot)) = claimed else { continue };
            let (handle, offset, len) = (self.handle, piece.offset, piece.into.len() as u32);
            *pending = Some(lane.submit(slot, Ask::Read { handle, offset, len, plain: false }, &[]));
            asked_on = Some(lane);
        }
        if let Some(lane) = asked_on {
            lane.channel.ring();
        }
        for (piece, pending) in pieces.iter_mut().zip(pending) {
            if let (Some(lane), Some(pending)) = (asked_on, pending) {
                piece.result = self.land(lane, pending, piece.offset, piece.into);
            } else if piece.result.as_ref().is_ok_and(|count| *count < piece.into.len()) {
                piece.result = self.read_at(piece.offset, piece.into);
            }
        }
    }

    /// Takes the answer of one read that is on its way.
    fn land(&self, lane: &ClientLane, pending: Pending, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let (slot, answered) = self.connection.wait(lane, pending)?;
        let got = match answered.answer {
            Answer::Done(count) => Some(Ok(taken(lane, &answered, count, into))),
            Answer::InSection => None,
            Answer::Failed(errno) => Some(Err(io::Error::from_raw_os_error(errno))),
        };
        lane.channel.release(slot);
        got.unwrap_or_else(|| self.found_in_section(offset, into))
    }

    /// The host says that the bytes are in the section. If they have gone again they are asked for as they are.
    fn found_in_section(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let (count, all) = self.read_section(offset, into);
        if all {
            return Ok(count);
        }
        if self.section().is_none_or(|link| link.reader.len_bytes().is_none()) {
            self.find();
            let (count, all) = self.read_section(offset, into);
            if all {
                return Ok(count);
            }
        }
        let len = into.len() as u32;
        let ask = Ask::Read { handle: self.handle, offset, len, plain: true };
        self.connection.ask(ask, &[], |answered, lane| {
            let count = counted(answered.answer)?;
            Ok(taken(lane, answered, count, into))
        })?
    }

    /// What the file is like now.
    pub(super) fn attributes(&self) -> io::Result<Record> {
        record(&self.connection, Ask::AttributesOfFile { handle: self.handle })
    }

    /// Bytes in the file now.
    pub(super) fn len(&self) -> io::Result<u64> {
        let known = self.section().filter(|_| !self.is_lost()).and_then(|link| link.reader.len_bytes());
        match known {
            Some(len) => Ok(len),
            None => Ok(self.attributes()?.size),
        }
    }

    /// Writes all of `data` through the host. Returns the bytes written: fewer only after an error.
    pub(super) fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<usize> {
        if !self.writes {
            return Err(rustix::io::Errno::BADF.into());
        }
        if !fits(offset, data.len()) {
            return Err(rustix::io::Errno::FBIG.into());
        }
        let mut done = 0;
        for part in data.chunks(INBOX_BYTES) {
            let ask =
                Ask::Write { handle: self.handle, offset: offset + done as u64, len: part.len() as u32 };
            match self
                .connection
                .ask(ask, part, |answered, _| counted(answered.answer))
                .and_then(|result| result)
            {
                Ok(count) => {
                    done += (count as usize).min(part.len());
                    if (count as usize) < part.len() {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    pub(super) fn sync(&self, data_only: bool) -> io::Result<()> {
        let ask = Ask::Fsync { handle: self.handle, data_only };
        self.connection.ask(ask, &[], |answered, _| counted(answered.answer))?.map(drop)
    }

    pub(super) fn prefetch(&self, offset: u64, len: u64) {
        self.connection.tell(Ask::Prefetch { handle: self.handle, offset, len });
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        // Of a host that has gone there is nothing to give back.
        let release = Ask::Release { handle: self.handle };
        if !self.connection.tell(release) {
            let _ = self.connection.ask(release, &[], |_, _| ());
        }
    }
}

/// One of several requests of a read.
struct Flight<'a> {
    pending: Pending,
    offset: u64,
    into: &'a mut [u8],
}

/// Whether a file can have these bytes.
fn fits(offset: u64, len: usize) -> bool {
    offset.checked_add(len as u64).is_some_and(|end| end <= FILE_BYTES_MAX)
}

/// The number of a good answer.
pub(super) fn counted(answer: Answer) -> io::Result<u64> {
    match answer {
        Answer::Done(value) => Ok(value),
        Answer::InSection => Err(io::ErrorKind::InvalidData.into()),
        Answer::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Asks for something whose answer is a record.
pub(super) fn record(connection: &Connection, ask: Ask) -> io::Result<Record> {
    named_record(connection, ask, &[])
}

/// The same, with a name.
pub(super) fn named_record(connection: &Connection, ask: Ask, name: &[u8]) -> io::Result<Record> {
    connection.ask(ask, name, |answered, lane| {
        counted(answered.answer)?;
        let mut bytes = [0; RECORD_BYTES];
        lane.take(answered, &mut bytes);
        Ok(Record::decode(&bytes))
    })?
}

/// Copies as many bytes as the answer says, if it does not say too many.
fn taken(lane: &ClientLane, answered: &Answered, count: u64, into: &mut [u8]) -> usize {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(into.len());
    lane.take(answered, &mut into[..count])
}
