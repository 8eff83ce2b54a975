//! A process's connection to the host of one volume.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, getpid};
use rustix::thread::sched_getcpu;
use rustix::time::{ClockId, clock_gettime};
use wharf_mem::{HandedOut, Pending, Pins, SectionReader, Slot, Waited};

use crate::lane::{Answered, ClientLane, DESCRIPTORS, WAIT, of_host};
use crate::layout::{Ask, Message, Opened, Secret, Welcome};
use crate::socket::{self, Heard};

use super::fallback::moved_away;

/// How long a host may take to say something over its socket, which waits for nobody.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// How often somebody who only reads sections looks whether the host still lives.
const LOOK_EVERY_MS: u64 = 100;
/// More processors than a machine has.
const CHANNELS_MAX: u32 = 65_536;

/// One connection. Requests of any number of threads go over it at once.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Mutex<OwnedFd>,
    lanes: Vec<ClientLane>,
    pins: Pins,
    whole: bool,
    /// The process that it belongs to: a child has to make its own.
    process: Pid,
    lost: AtomicBool,
    /// When the socket was looked at last, in milliseconds.
    looked: AtomicU64,
}

/// Where the bytes of a file are to be found.
#[derive(Debug)]
pub(super) enum Found {
    Section(SectionReader, u64),
    Backing(OwnedFd),
    Nothing,
}

/// Connections of this process, one a volume.
static ALL: Mutex<Option<HashMap<PathBuf, Weak<Connection>>>> = Mutex::new(None);

impl Connection {
    /// The connection of this process to the host at `path`.
    pub(super) fn to(path: &Path) -> io::Result<Arc<Connection>> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let all = all.get_or_insert_default();
        if let Some(there) = all.get(path).and_then(Weak::upgrade)
            && there.is_ours()
            && !there.is_lost()
        {
            return Ok(there);
        }
        let made = Arc::new(Connection::new(path)?);
        all.retain(|_, connection| connection.strong_count() > 0);
        all.insert(path.to_owned(), Arc::downgrade(&made));
        Ok(made)
    }

    fn new(path: &Path) -> io::Result<Connection> {
        let socket = moved_away(socket::connected(path)?);
        socket::send(&socket, Message::Hello, &[])?;
        let (message, descriptors) = hear(&socket)?;
        let Message::Welcome(welcome) = message else { return Err(refusal(message)) };
        let Ok(files) = <[OwnedFd; DESCRIPTORS]>::try_from(descriptors) else { return Err(nonsense()) };
        let Welcome { channels, whole, .. } = welcome;
        if !(1..=CHANNELS_MAX).contains(&channels) {
            return Err(nonsense());
        }
        let (lanes, pins) = of_host(channels as usize, files)?;
        let (lost, looked) = (AtomicBool::new(false), AtomicU64::new(now_ms()));
        Ok(Connection { socket: Mutex::new(socket), lanes, pins, whole, process: getpid(), lost, looked })
    }

    /// Whether nodes may be named without tickets.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(super) fn pins(&self) -> &Pins {
        &self.pins
    }

    fn is_ours(&self) -> bool {
        self.process == getpid()
    }

    /// Whether the host is known to have gone.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether the host has gone, as far as was known a moment ago.
    pub(super) fn is_lost_lately(&self) -> bool {
        let now = now_ms();
        let looked = self.looked.load(Ordering::Relaxed);
        if now.wrapping_sub(looked) >= LOOK_EVERY_MS {
            self.looked.store(now, Ordering::Relaxed);
            self.look();
        }
        self.is_lost()
    }

    /// Asks the kernel whether the host has gone.
    fn look(&self) {
        let Ok(socket) = self.socket.try_lock() else { return };
        let mut polled = [PollFd::new(&*socket, PollFlags::empty())];
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut polled, Some(&zero)).is_ok_and(|count| count > 0) {
            self.lost.store(true, Ordering::Relaxed);
        }
    }

    /// Takes a file over from a ticket.
    pub(super) fn redeem(&self, secret: Secret) -> io::Result<Opened> {
        match self.converse(Message::Redeem(secret))? {
            (Message::Opened(opened), _) => Ok(opened),
            (other, _) => Err(refusal(other)),
        }
    }

    /// Where the bytes of a file are to be found.
    pub(super) fn section(&self, handle: u64) -> io::Result<Found> {
        let (message, descriptors) = self.converse(Message::Section { handle })?;
        match message {
            Message::SectionIs { bytes_max, number } => {
                let Ok([bytes, residency]) = <[OwnedFd; 2]>::try_from(descriptors) else {
                    return Err(nonsense());
                };
                let (bytes, residency) = (moved_away(bytes), moved_away(residency));
                let out = HandedOut { bytes, len_bytes_max: bytes_max, residency };
                Ok(Found::Section(SectionReader::new(out)?, number))
            }
            Message::BackingIs => {
                let Ok([file]) = <[OwnedFd; 1]>::try_from(descriptors) else { return Err(nonsense()) };
                Ok(Found::Backing(moved_away(file)))
            }
            Message::NoSection => Ok(Found::Nothing),
            other => Err(refusal(other)),
        }
    }

    fn converse(&self, message: Message) -> io::Result<(Message, Vec<OwnedFd>)> {
        if self.is_lost() || !self.is_ours() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = socket::send(&*socket, message, &[]).and_then(|()| hear(&socket));
        if let Err(error) = &answer {
            // After half a conversation nobody knows what the next answer is to.
            self.lost.store(true, Ordering::Relaxed);
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Err(io::ErrorKind::NotConnected.into());
            }
        }
        answer
    }

    /// Asks one thing and waits for the answer. `data` comes along; `with` may take the bytes of the answer.
    pub(super) fn ask<R>(
        &self,
        ask: Ask,
        data: &[u8],
        with: impl FnOnce(&Answered, &ClientLane) -> R,
    ) -> io::Result<R> {
        let (lane, slot) = self.claim()?;
        let pending = lane.submit(slot, ask, data);
        lane.channel.ring();
        let (slot, answered) = self.wait(lane, pending)?;
        let result = with(&answered, lane);
        lane.channel.release(slot);
        Ok(result)
    }

    /// A free slot, on the channel of the processor that this thread is on.
    pub(super) fn claim(&self) -> io::Result<(&ClientLane, Slot)> {
        loop {
            if self.is_lost() || !self.is_ours() {
                return Err(io::ErrorKind::NotConnected.into());
            }
            let (here, count) = (sched_getcpu(), self.lanes.len());
            for step in 0..count {
                let lane = &self.lanes[(here + step) % count];
                if let Some(slot) = lane.channel.claim() {
                    return Ok((lane, slot));
                }
            }
            // More threads than slots. Those that hold them do not need this one.
            std::thread::yield_now();
        }
    }

    /// Waits for the answer of a request, as long as the host lives.
    ///
    /// After an error the slot stays in use: who has gone may have written half an answer.
    pub(super) fn wait(&self, lane: &ClientLane, pending: Pending) -> io::Result<(Slot, Answered)> {
        let mut pending = pending;
        loop {
            pending = match lane.finish(pending) {
                Ok(answered) => return Ok(answered),
                Err(pending) => pending,
            };
            match lane.channel.wait(&pending, WAIT) {
                Waited::Answered => {}
                Waited::TimedOut => self.look(),
                Waited::Gone => self.lost.store(true, Ordering::Relaxed),
            }
            if self.is_lost() {
                // It may have answered with its last breath; nobody needs that.
                lane.channel.abandon(pending);
                return Err(io::ErrorKind::NotConnected.into());
            }
        }
    }
}

/// A coarse clock: it costs a few nanoseconds, and no call.
fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec.cast_unsigned() * 1000 + now.tv_nsec.cast_unsigned() / 1_000_000
}

/// The next message. A host that says nothing is taken for one that has gone.
fn hear(socket: &OwnedFd) -> io::Result<(Message, Vec<OwnedFd>)> {
    let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    while poll(&mut polled, Some(&PATIENCE)) == Err(rustix::io::Errno::INTR) {}
    if polled[0].revents().is_empty() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    match socket::receive(socket)? {
        Heard::Message(message, descriptors) => Ok((message, descriptors)),
        Heard::Nonsense => Err(nonsense()),
        Heard::Nothing => Err(io::ErrorKind::NotConnected.into()),
    }
}

fn nonsense() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the host speaks another language, or another version of this one",
    )
}

/// What a host said instead of what was asked for.
fn refusal(message: Message) -> io::Error {
    match message {
        Message::Refused(errno) => io::Error::from_raw_os_error(errno.cast_signed()),
        _ => nonsense(),
    }
}
