//! What the two ends of one connection share, with its places: requests and answers of the channels, bytes that
//! clients bring in the inbox, bytes that they fetch in the arena. Slot `s` of channel `c` has place `64 c + s` of the
//! inbox; where in the arena its answer is, the answer says.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wharf_mem::{
    Arena, ArenaReader, Channels, ClientChannel, HostChannel, Inbox, InboxWriter, Payload, Pending, PinTable,
    Pins, Slot, Taken,
};

use crate::layout::{Answer, Ask, INBOX_BYTES, SLOT_BYTES, SLOTS};

/// Descriptors of a connection: requests, answers, inbox, arena, pins.
pub(crate) const DESCRIPTORS: usize = 5;

/// How long a client sleeps before it looks whether the host still lives.
pub(crate) const WAIT: Duration = Duration::from_millis(50);

const _: () = assert!(SLOTS == wharf_mem::SLOTS);

fn inbox_bytes(channels: usize) -> u64 {
    (channels as u64).saturating_mul((SLOTS * INBOX_BYTES) as u64)
}

fn arena_slots(channels: usize) -> u32 {
    u32::try_from(channels.saturating_mul(SLOTS)).unwrap_or(u32::MAX)
}

/// All memory of one client, as its host makes it.
#[derive(Debug)]
pub(crate) struct ClientMemory {
    channels: Channels,
    arena: Arc<Mutex<Arena>>,
    inbox: Arc<Inbox>,
    pub(crate) pins: PinTable,
    /// The host's ends, until the queues take them. They are there from the start: a client may ask at once.
    lanes: Mutex<Vec<Option<HostLane>>>,
}

impl ClientMemory {
    pub(crate) fn create(count: usize) -> io::Result<ClientMemory> {
        let arena = Arc::new(Mutex::new(Arena::create(arena_slots(count), SLOT_BYTES)?));
        let inbox = Arc::new(Inbox::create(inbox_bytes(count))?);
        let channels = Channels::create(count)?;
        let mut lanes = Vec::new();
        for index in 0..count {
            let channel = channels.host(index).ok_or(io::ErrorKind::InvalidInput)?;
            channel.set_cpu(index);
            let (arena, inbox, first) = (arena.clone(), inbox.clone(), index * SLOTS);
            let (taken, spans) = ([const { None }; SLOTS], [const { Span::None }; SLOTS]);
            lanes.push(Some(HostLane { channel, arena, inbox, first, taken, spans }));
        }
        Ok(ClientMemory { channels, arena, inbox, pins: PinTable::create()?, lanes: Mutex::new(lanes) })
    }

    /// In the order of [`DESCRIPTORS`].
    pub(crate) fn hand_out(&self) -> io::Result<[OwnedFd; DESCRIPTORS]> {
        let (requests, answers) = self.channels.hand_out()?;
        let arena = self.arena.lock().unwrap_or_else(PoisonError::into_inner).hand_out()?;
        Ok([requests, answers, self.inbox.hand_out()?, arena, self.pins.hand_out()?])
    }

    /// The host's end of one channel. Once.
    pub(crate) fn lane(&self, index: usize) -> Option<HostLane> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index)?.take()
    }
}

/// Where the answers of a slot go. Once it has a place in the arena it keeps it: a client uses few slots, and the same
/// ones again, so that their bytes stay in the cache.
#[derive(Debug)]
enum Span {
    None,
    Free(u32, Payload),
    /// An operation has it; for good if that was given up.
    InUse(u32),
}

/// The host's end of one channel.
#[derive(Debug)]
pub(crate) struct HostLane {
    pub(crate) channel: HostChannel,
    arena: Arc<Mutex<Arena>>,
    inbox: Arc<Inbox>,
    first: usize,
    taken: [Option<Taken>; SLOTS],
    spans: [Span; SLOTS],
}

impl HostLane {
    /// Copies the request of a slot that was taken.
    pub(crate) fn request(&mut self, slot: usize) -> Option<[u64; 7]> {
        let request = self.channel.request(slot)?;
        self.taken[slot] = Some(request.taken);
        Some(request.body)
    }

    /// Takes the memory for the slot's answer; `None` if there is none, or an operation has it still.
    pub(crate) fn take_span(&mut self, slot: usize) -> Option<Payload> {
        match std::mem::replace(&mut self.spans[slot], Span::None) {
            Span::Free(number, payload) => {
                self.spans[slot] = Span::InUse(number);
                Some(payload)
            }
            Span::None => {
                let taken = self.arena.lock().unwrap_or_else(PoisonError::into_inner).take();
                let (number, payload) = taken.ok().flatten()?;
                self.spans[slot] = Span::InUse(number);
                Some(payload)
            }
            in_use @ Span::InUse(_) => {
                self.spans[slot] = in_use;
                None
            }
        }
    }

    /// Takes it back.
    pub(crate) fn put_span(&mut self, slot: usize, payload: Payload) {
        if let Span::InUse(number) = self.spans[slot] {
            self.spans[slot] = Span::Free(number, payload);
        }
    }

    /// Copies what came with a request. False if there is no room for so much.
    #[must_use]
    pub(crate) fn inbox(&self, slot: usize, into: &mut [u8]) -> bool {
        into.len() <= INBOX_BYTES && self.inbox.copy_out(((self.first + slot) * INBOX_BYTES) as u64, into)
    }

    /// Answers a slot, if an answer is owed.
    pub(crate) fn answer(&mut self, slot: usize, answer: Answer) {
        let Some(taken) = self.taken[slot].take() else { return };
        let [first, second] = answer.encode();
        let span = match self.spans[slot] {
            Span::Free(number, _) | Span::InUse(number) => number.into(),
            Span::None => 0,
        };
        self.channel.answer(taken, [first, second, span, 0, 0, 0, 0]);
    }
}

/// The client's end of one channel.
#[derive(Debug)]
pub(crate) struct ClientLane {
    pub(crate) channel: Arc<ClientChannel>,
    arena: Arc<ArenaReader>,
    inbox: Arc<InboxWriter>,
    first: usize,
}

/// What a host said of a request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    /// Where bytes are that came with it.
    span: u32,
}

/// A client's ends of everything that a host handed out.
pub(crate) fn of_host(count: usize, files: [OwnedFd; DESCRIPTORS]) -> io::Result<(Vec<ClientLane>, Pins)> {
    let [requests, answers, inbox, arena, pins] = files;
    let channels = Channels::of_host(requests, answers, count)?;
    let inbox = Arc::new(InboxWriter::of_host(inbox, inbox_bytes(count))?);
    let arena = Arc::new(ArenaReader::of_host(arena, arena_slots(count), SLOT_BYTES)?);
    let lane = |(index, channel)| {
        let (arena, inbox, first) = (arena.clone(), inbox.clone(), index * SLOTS);
        ClientLane { channel, arena, inbox, first }
    };
    Ok((channels.into_iter().enumerate().map(lane).collect(), Pins::of_host(pins)?))
}

impl ClientLane {
    /// Hands a request to the host, with the bytes that come with it. It is not told before the next ring.
    pub(crate) fn submit(&self, slot: Slot, ask: Ask, data: &[u8]) -> Pending {
        let at = ((self.first + slot.index()) * INBOX_BYTES) as u64;
        self.inbox.copy_in(at, &data[..data.len().min(INBOX_BYTES)]);
        self.channel.submit(slot, ask.encode())
    }

    /// The answer, if it is there. Until the slot is released the bytes that came with it stay where they are.
    pub(crate) fn finish(&self, pending: Pending) -> Result<(Slot, Answered), Pending> {
        let (slot, [first, second, span, ..]) = self.channel.finish(pending)?;
        Ok((slot, Answered { answer: Answer::decode([first, second]), span: span as u32 }))
    }

    /// Copies what came with an answer.
    pub(crate) fn take(&self, answered: &Answered, into: &mut [u8]) -> usize {
        self.arena.copy_out(answered.span, into)
    }
}
