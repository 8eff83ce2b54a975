//! What a client and one queue of the host share: request slots, a bitmap of those that were submitted,
//! answers, and bells for both.
//!
//! Two memories, one for each direction. The client may write the requests; the host may write the answers, and
//! the client maps those read-only, so no client can forge what another one reads, nor what it is told.
//!
//! ```text
//! client                                           host, one thread
//!   request words, submitted |= bit      ──►         take: submitted = 0; copy each request once
//!   rings if the host sleeps                         …
//!   sees its generation in the answer    ◄──         answer words, then the generation
//!                                                    rings who sleeps, once for a batch
//! ```
//!
//! Each side tells the other that it sleeps, then looks once more, then sleeps; who has something for the other
//! publishes it, then looks whether the other sleeps. Between the two steps of either is a full fence, so one
//! of them sees the other.

mod client;
mod host;

pub use client::{ClientChannel, Pending, Slot, Waited};
pub use host::{CHANNELS_MAX, HostChannel, Sleep, Taken, TakenRequest, ring_own};

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::mapping::Access;
use crate::shared::Shared;
use crate::words::{WORD_BYTES, Words};

/// Requests that a channel can have in flight.
pub const SLOTS: usize = if cfg!(loom) { 2 } else { 64 };
/// Words that a request, or an answer, has for its transport to fill.
pub const BODY_WORDS: usize = 7;

/// Bytes of one channel in each of both memories.
const CHANNEL_BYTES: u64 = WORDS as u64 * WORD_BYTES;
const WORDS: usize = HEADER_WORDS + SLOTS * SLOT_WORDS;
/// Words of one request or answer: a cache line.
const SLOT_WORDS: usize = 8;
/// Words before those of the slots: as many, so that each half has a page. (A model has no lines and no pages.)
const HEADER_WORDS: usize = if cfg!(loom) { 5 } else { 512 };
/// Words of a pair of cache lines, which is what processors fetch at a time.
const PAIR: usize = if cfg!(loom) { 1 } else { 16 };
const _: () = assert!(cfg!(loom) || CHANNEL_BYTES == 8192);

// Places of words. Those that different threads write are in different pairs of cache lines.

/// Of the requests: a bit for each slot whose request is to be taken.
const SUBMITTED: usize = 0;
/// Of the requests: a bit for each slot whose answer somebody sleeps for.
const SLEEPERS: usize = PAIR;
/// Of the requests: what the host sleeps on (by half), which counts how often it was rung.
const BELL: usize = 2 * PAIR;
/// Of the requests: for each slot what its client sleeps on (by half). Here and not among the answers, although it
/// is the host that changes it: of a word that may not be written the kernel finds out slowly what it is.
const SLOT_BELLS: usize = 3 * PAIR;
const _: () = assert!(SLOT_BELLS + SLOTS <= HEADER_WORDS);
/// Of the requests: word 0 of each has the generation, the others are the body.
const REQUESTS: usize = HEADER_WORDS;

/// Of the answers: which of its sleeps the host is in; 0 while it is awake.
const HOST_SLEEPS: usize = 0;
/// Of the answers: the CPU of the host's thread, plus one; 0 if it has none of its own.
const HOST_CPU: usize = PAIR;
/// Of the answers: 1 while the host serves the channel.
const ALIVE: usize = PAIR + 1;
/// Of the answers: word 0 of each has the generation (by half), the others are the body.
const ANSWERS: usize = HEADER_WORDS;

/// All channels of one client, as the host makes them: one for each queue.
#[derive(Debug)]
pub struct Channels {
    requests: Shared,
    answers: Shared,
    count: usize,
}

impl Channels {
    /// Makes the memory for `count` channels: 16 KiB each.
    ///
    /// # Errors
    /// When there is no memory or descriptor left.
    pub fn create(count: usize) -> io::Result<Channels> {
        let bytes = bytes_for(count);
        let requests = Shared::create("wharf-requests", bytes)?;
        let answers = Shared::create("wharf-answers", bytes)?;
        requests.allocate(0, bytes)?;
        answers.allocate(0, bytes)?;
        Ok(Channels { requests, answers, count })
    }

    /// The host's end of one of them; to be made once for each.
    ///
    /// `None` if there are not so many.
    pub fn host(&self, index: usize) -> Option<HostChannel> {
        let (requests, answers) = (self.words(&self.requests, index)?, self.words(&self.answers, index)?);
        Some(HostChannel::new(requests, answers))
    }

    /// What the client is given: the requests, which it may write, and the answers, which it may read.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn hand_out(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        Ok((self.requests.writable()?, self.answers.read_only()?))
    }

    /// The client's ends of `count` channels that a host handed out.
    ///
    /// They are left out of processes that this one forks.
    ///
    /// # Errors
    /// If the memories are not what they should be.
    pub fn of_host(requests: OwnedFd, answers: OwnedFd, count: usize) -> io::Result<Vec<Arc<ClientChannel>>> {
        let requests = Shared::of_stranger(requests, bytes_for(count), Access::Write)?;
        let answers = Shared::of_stranger(answers, bytes_for(count), Access::Read)?;
        requests.mapping().keep_from_children()?;
        answers.mapping().keep_from_children()?;
        let channels = Channels { requests, answers, count };
        let client = |index| {
            let requests = channels.words(&channels.requests, index)?;
            Some(Arc::new(ClientChannel::new(requests, channels.words(&channels.answers, index)?)))
        };
        (0..count).map(client).collect::<Option<_>>().ok_or(io::ErrorKind::InvalidInput.into())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    fn words(&self, shared: &Shared, index: usize) -> Option<Words> {
        let at = (index as u64).checked_mul(CHANNEL_BYTES)?;
        if index < self.count { Words::of(shared, at, WORDS) } else { None }
    }
}

/// Saturates: a client that asks for that many finds no memory of this size.
fn bytes_for(count: usize) -> u64 {
    (count as u64).saturating_mul(CHANNEL_BYTES)
}

/// The words of a request or an answer in slot `slot`.
fn place(base: usize, slot: usize) -> usize {
    base + slot * SLOT_WORDS
}

/// The set bits of a word, lowest first.
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (bit < u64::BITS as usize).then_some(bit)
    })
}

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;
