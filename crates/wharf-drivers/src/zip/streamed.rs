//! Members for which there is no room: unpacked as they are read, by each who has them open for himself.
//!
//! Only what was unpacked last is held. A read further on unpacks what lies between; a read of what is no longer
//! held begins again at the first byte, however far that is: to read from the beginning to the end costs what
//! unpacking costs, to jump about costs that for each jump back.
//!
//! Every pass begins at the first byte, so at the end of each the checksum is known. The last bytes are given out
//! after that, as those of other large members are.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use wharf::{Cancellation, Context, Error, Window};

use crate::desk::Desk;

use super::contents::{Contents, HELD_BACK_BYTES};
use super::index::{Member, Number};
use super::unpack::{Pass, Trouble};

/// Bytes that are held of a member, if there is room: the kernel reads ahead, and not always in order.
pub(super) const WINDOW_BYTES_MAX: u64 = 4 << 20;
/// With less room than this there is no reading: the last bytes and a step before them are held at once.
pub(super) const WINDOW_BYTES_MIN: u64 = HELD_BACK_BYTES + 2 * STEP_BYTES as u64;
/// Unpacked at once.
const STEP_BYTES: usize = 64 << 10;

/// A member that somebody has open, and for which there is no room.
#[derive(Debug)]
pub(super) struct Streamed {
    contents: Arc<Contents>,
    number: Number,
    member: Member,
    window_bytes: u64,
    place: Desk<Option<Place>>,
}

/// How far a pass has come. It may have to begin again, so there is not always one.
#[derive(Debug)]
struct Place {
    /// `None` at the end, when all was found right.
    pass: Option<Pass>,
    /// Bytes unpacked by now,
    unpacked: u64,
    /// and the last of them.
    held: VecDeque<u8>,
}

impl Streamed {
    /// For who has taken `window_bytes` of room, which go back when this is dropped.
    pub(super) fn new(
        contents: Arc<Contents>,
        number: Number,
        member: Member,
        window_bytes: u64,
    ) -> Streamed {
        Streamed { contents, number, member, window_bytes, place: Desk::new(None) }
    }

    /// Reads from `offset` until the window is full or the member ends. Returns the number of bytes.
    ///
    /// # Errors
    /// When it is damaged, cannot be unpacked this time, or nobody waits any more.
    pub(super) async fn read(
        self: &Arc<Self>,
        cx: &Context,
        offset: u64,
        mut into: Window<'_>,
    ) -> wharf::Result<usize> {
        let end = self.member.size.min(offset.saturating_add(into.len() as u64));
        // So much can be held beside the end.
        let piece = self.window_bytes - HELD_BACK_BYTES - STEP_BYTES as u64;
        let mut place = cx.unless_cancelled(async { Ok(self.place.take().await) }).await?;
        let mut at = offset;
        while at < end {
            let wanted = at..end.min(at + piece);
            // Also when it is held: others may have found meanwhile that it is not right.
            self.contents.check(self.number)?;
            if !place.as_ref().is_some_and(|place| place.holds(&wanted, self.member.size)) {
                let (mut from, cancellation) = (place.take(), cx.cancellation().clone());
                let (streamed, wanted) = (self.clone(), wanted.clone());
                let reach = move || {
                    let reached = streamed.reach(&mut from, &wanted, &cancellation);
                    Ok((from, reached))
                };
                let reached;
                (*place, reached) = self.contents.run_long(reach).await?;
                reached?;
            }
            let Some(place) = &*place else { break };
            let [first, second] = place.held(&wanted);
            let done = (at - offset) as usize;
            into.put_at(done, first);
            into.put_at(done + first.len(), second);
            at = wanted.end;
        }
        Ok(at.saturating_sub(offset) as usize)
    }

    /// Unpacks until a range may be given out, or nobody waits for it any more. Blocks.
    fn reach(
        &self,
        place: &mut Option<Place>,
        wanted: &Range<u64>,
        cancellation: &Cancellation,
    ) -> wharf::Result<()> {
        match self.unpack(place, wanted, cancellation) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::interrupted()),
            Err(trouble) => {
                *place = None;
                Err(self.contents.failed(self.number, trouble))
            }
        }
    }

    /// True when the range is held.
    fn unpack(
        &self,
        place: &mut Option<Place>,
        wanted: &Range<u64>,
        cancellation: &Cancellation,
    ) -> Result<bool, Trouble> {
        let size = self.member.size;
        // What is no longer held is unpacked once more.
        if place.as_ref().is_some_and(|place| place.begin() > wanted.start) {
            *place = None;
        }
        let place = match place {
            Some(place) => place,
            None => place.insert(Place {
                pass: Some(Pass::new(&self.contents.archive, &self.member)?),
                unpacked: 0,
                held: VecDeque::new(),
            }),
        };
        let mut step = vec![0; STEP_BYTES];
        while !place.holds(wanted, size) {
            if cancellation.is_cancelled() {
                return Ok(false);
            }
            let Some(pass) = &mut place.pass else { return Ok(false) };
            let count = pass.next(&mut step)?;
            let room = self.window_bytes as usize - STEP_BYTES;
            place.held.drain(..place.held.len().saturating_sub(room));
            place.held.extend(&step[..count]);
            place.unpacked += count as u64;
            if place.unpacked == size
                && let Some(pass) = place.pass.take()
            {
                pass.finish()?;
            }
        }
        Ok(true)
    }
}

impl Place {
    fn begin(&self) -> u64 {
        self.unpacked - self.held.len() as u64
    }

    /// Whether a range can be given out: it is held, and if it is of the last bytes, they are right.
    fn holds(&self, range: &Range<u64>, size: u64) -> bool {
        let known = range.end <= size.saturating_sub(HELD_BACK_BYTES) || self.pass.is_none();
        known && self.begin() <= range.start && range.end <= self.unpacked
    }

    /// The bytes of a range that is held, in two parts.
    fn held(&self, range: &Range<u64>) -> [&[u8]; 2] {
        let (first, second) = self.held.as_slices();
        let (start, end) = ((range.start - self.begin()) as usize, (range.end - self.begin()) as usize);
        let split = first.len();
        [
            &first[start.min(split)..end.min(split)],
            &second[start.saturating_sub(split)..end.saturating_sub(split)],
        ]
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.contents.give_back(self.window_bytes);
    }
}
