//! One thread of a direct server: the requests of all clients that come by one processor's channels.
//!
//! It stays on that processor, beside the kernel's queue there: a client that asks is on it too, and a hand-over on
//! one processor is a fraction of what waking another costs. It never spins.
//!
//! What a client wrote is copied once, then checked, then used. Every request that was taken is answered,
//! whatever it is; an answer goes to the slot that the client itself set aside.

mod begin;
mod land;
mod snapshot;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wharf::session::Queue;
use wharf::{Errno, NodeId};
use wharf_mem::{Fill, Payload};
use wharf_queue::{Phase, QueueHost};

use crate::lane::HostLane;
use crate::layout::{Answer, Ask, SLOTS};

use super::cache::{Began, File, Waiter};
use super::host::{Client, Host, Mail};
use super::rest::Rest;

pub(super) use snapshot::Listing;

/// A client, as this queue knows it.
struct Seat {
    client: Arc<Client>,
    lane: HostLane,
    asks: [Ask; SLOTS],
}

/// What an operation is for.
enum Flight {
    /// A slot of a client's.
    Slot { client: u64, slot: usize },
    /// The size of a file, for its section.
    Measure { file: Arc<File>, began: Began },
    /// A block of a file, for its section.
    Fill { file: Arc<File>, began: Began, fill: Option<Fill> },
    /// A part of a directory, for its snapshot.
    List(Box<Listing>),
    /// Something is closed, and its node given back if it was held.
    Close { node: Option<NodeId> },
}

/// One thread's loop.
pub(super) struct Server {
    host: Arc<Host>,
    number: usize,
    queue: Box<dyn Queue + Send>,
    io: Arc<QueueHost>,
    rest: Rest,
    seats: Vec<Seat>,
    flights: Vec<Option<Flight>>,
    free: Vec<u32>,
    requests: u64,
    heads: Vec<Vec<u8>>,
    /// Memory of fills and closings, to be used again.
    spare: Vec<Payload>,
    mail: Vec<Mail>,
    trimmed: Instant,
}

impl Server {
    pub(super) fn new(
        host: Arc<Host>,
        number: usize,
        queue: Box<dyn Queue + Send>,
        io: Arc<QueueHost>,
        rest: Rest,
    ) -> Server {
        Server {
            host,
            number,
            queue,
            io,
            rest,
            seats: Vec::new(),
            flights: Vec::new(),
            free: Vec::new(),
            requests: 0,
            heads: Vec::new(),
            spare: Vec::new(),
            mail: Vec::new(),
            trimmed: Instant::now(),
        }
    }

    /// Serves until the end, and until nothing is pending.
    pub(super) fn run(mut self) {
        let mut ended = Vec::new();
        loop {
            self.queue.take_wakes();
            self.read_mail();
            self.take_requests();
            self.queue.advance(&mut |completion| ended.push(completion));
            ended.drain(..).for_each(|completion| self.finish(completion));
            self.rest.turn(&self.io);
            let phase = self.host.ending.phase();
            if phase > Phase::Serve {
                let over =
                    self.host.ending.enforce(&mut *self.queue, &mut |completion| ended.push(completion));
                ended.drain(..).for_each(|completion| self.finish(completion));
                if over {
                    break;
                }
            }
            let idle = self.queue.pending() == 0 && self.host.queues[self.number].is_empty();
            if idle && self.host.empty.load(Ordering::SeqCst) {
                break;
            }
            self.sleep();
        }
    }

    fn read_mail(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        self.host.queues[self.number].take(&mut mail);
        for mail in mail.drain(..) {
            match mail {
                Mail::Join(client) => self.join(client),
                Mail::Leave(number) => self.leave(number),
                Mail::Answer(waiter, answer) => self.answer(waiter.client, waiter.slot, answer),
                Mail::Again(waiter) => self.again(waiter),
                Mail::List(listing) => self.list_on(listing),
                Mail::Release(open) => open.into_iter().for_each(|open| self.close(&open)),
            }
        }
        self.mail = mail;
    }

    fn join(&mut self, client: Arc<Client>) {
        let Some(lane) = client.memory.lane(self.number) else { return };
        self.seats.push(Seat { client, lane, asks: [Ask::Ping; SLOTS] });
    }

    /// Operations under way end by themselves; their answers find nobody.
    fn leave(&mut self, number: u64) {
        self.seats.retain(|seat| seat.client.number != number);
    }

    /// Takes what clients have asked, of each as much as its channel has slots.
    fn take_requests(&mut self) {
        let mut at = 0;
        while at < self.seats.len() {
            let seat = &mut self.seats[at];
            let Some(mut bits) = seat.lane.channel.take() else {
                // Asked again before it was answered: no honest client does that. It hears no more from this queue.
                log::warn!(
                    "direct client {} uses a slot twice and is not served any more",
                    seat.client.number
                );
                self.seats.swap_remove(at);
                continue;
            };
            while bits != 0 {
                let slot = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                self.take(at, slot);
            }
            at += 1;
        }
    }

    fn take(&mut self, at: usize, slot: usize) {
        let seat = &mut self.seats[at];
        let client = seat.client.number;
        let Some(body) = seat.lane.request(slot) else { return };
        let begun = match Ask::decode(body) {
            Ok(ask) => {
                seat.asks[slot] = ask;
                self.begin(at, slot, ask)
            }
            Err(_) => Err(Errno::EINVAL),
        };
        if let Err(errno) = begun {
            self.answer(client, slot, Answer::Failed(errno.get()));
        }
    }

    fn again(&mut self, waiter: Waiter) {
        let Some(at) = self.seats.iter().position(|seat| seat.client.number == waiter.client) else { return };
        let ask = self.seats[at].asks[waiter.slot];
        if let Err(errno) = self.begin(at, waiter.slot, ask) {
            self.answer(waiter.client, waiter.slot, Answer::Failed(errno.get()));
        }
    }

    fn seat(&mut self, client: u64) -> Option<&mut Seat> {
        self.seats.iter_mut().find(|seat| seat.client.number == client)
    }

    /// Answers a slot. Once: what comes a second time, or for somebody who has gone, is dropped.
    fn answer(&mut self, client: u64, slot: usize, answer: Answer) {
        if let Some(seat) = self.seat(client) {
            seat.lane.answer(slot, answer);
        }
    }

    /// Rings for all that was answered in this turn, who is awake is spared it, and waits for a client, a waker, mail or
    /// I/O, unless there is something already.
    fn sleep(&mut self) {
        let spare = self.queue.spare() > 0;
        let idle = Duration::from_millis(self.host.session.limits().slot_idle_ms.into());
        let Server { rest, seats, queue, host, io, number, .. } = self;
        let channels = seats.iter().map(|seat| &seat.lane.channel);
        let is_idle = || queue.may_sleep() && host.queues[*number].is_empty() && !io.has_left();
        rest.sleep(channels, is_idle, spare.then_some(idle));
        self.queue.woke();
        if spare && self.trimmed.elapsed() > idle {
            self.trimmed = Instant::now();
            self.queue.trim();
            self.heads.truncate(self.queue.pending() + 8);
            self.spare.truncate(8);
        }
    }
}
