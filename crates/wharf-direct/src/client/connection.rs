//! A process's connection to the host of one volume.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::thread::sched_getcpu;
use rustix::time::{ClockId, clock_gettime};
use wharf_mem::{HandedOut, Home, Pending, Pins, SectionReader, Slot, SnapshotReader, Waited};

use crate::lane::{Answered, ClientLane, DESCRIPTORS, WAIT, of_host};
use crate::layout::{Ask, Message, Opened, Secret, Welcome};
use crate::socket::{self, Heard};

use super::fallback::moved_away;

/// How long a host may take to say something over its socket, which waits for nobody.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often somebody who only reads sections looks whether the host still lives.
const LOOK_EVERY_MS: u64 = 100;
/// Bytes that the snapshot of a directory has at the most.
const SNAPSHOT_BYTES_MAX: u64 = 128 << 20;
/// As many processors as a kernel can have.
const CHANNELS_MAX: u32 = 8192;

/// One connection. Requests of any number of threads go over it at once.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Mutex<OwnedFd>,
    lanes: Vec<ClientLane>,
    pins: Pins,
    whole: bool,
    /// The process that it belongs to: a child has to make its own.
    home: Home,
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

/// Where the connection to one host is kept. Who makes it holds the lock: one host that is slow to speak keeps nobody
/// from the others.
type Place = Arc<Mutex<Weak<Connection>>>;

/// Connections of this process, one a volume.
static ALL: Mutex<Option<HashMap<PathBuf, Place>>> = Mutex::new(None);

impl Connection {
    /// The connection of this process to the host at `path`.
    pub(super) fn to(path: &Path) -> io::Result<Arc<Connection>> {
        let place = Connection::place(path);
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = place.upgrade()
            && there.is_ours()
            && !there.is_lost()
        {
            return Ok(there);
        }
        let made = Arc::new(Connection::new(path)?);
        *place = Arc::downgrade(&made);
        Ok(made)
    }

    fn place(path: &Path) -> Place {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let all = all.get_or_insert_default();
        // Those that nobody uses: who looks at one just now has it too.
        all.retain(|_, place| {
            Arc::strong_count(place) > 1 || place.try_lock().is_ok_and(|place| place.strong_count() > 0)
        });
        all.entry(path.to_owned()).or_default().clone()
    }

    fn new(path: &Path) -> io::Result<Connection> {
        let socket = moved_away(socket::connected(path, PATIENCE)?);
        socket::send(&socket, Message::Hello, &[])?;
        let (message, descriptors) = hear(&socket)?;
        let Message::Welcome(welcome) = message else { return Err(refusal(message)) };
        let Ok(files) = <[OwnedFd; DESCRIPTORS]>::try_from(descriptors) else { return Err(nonsense()) };
        let Welcome { channels, whole, .. } = welcome;
        if !(1..=CHANNELS_MAX).contains(&channels) {
            return Err(nonsense());
        }
        // Those that are kept are not to be among the program's own.
        let (lanes, pins) = of_host(channels as usize, files.map(moved_away))?;
        let (lost, looked) = (AtomicBool::new(false), AtomicU64::new(now_ms()));
        let (socket, home) = (Mutex::new(socket), Home::here()?);
        Ok(Connection { socket, lanes, pins, whole, home, lost, looked })
    }

    /// Whether nodes may be named without tickets.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(super) fn pins(&self) -> &Pins {
        &self.pins
    }

    fn is_ours(&self) -> bool {
        self.home.is_here()
    }

    /// Whether the host is known to have gone.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether the host has gone, as far as was known a moment ago. For a child it has: not all of what is shared with it
    /// is in the child's memory.
    pub(super) fn is_lost_lately(&self) -> bool {
        if !self.is_ours() {
            return true;
        }
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
                // Reading anything else could wait for ever.
                if !FileType::from_raw_mode(fstat(&file)?.st_mode).is_file() {
                    return Err(nonsense());
                }
                Ok(Found::Backing(moved_away(file)))
            }
            Message::NoSection => Ok(Found::Nothing),
            other => Err(refusal(other)),
        }
    }

    /// The snapshot of an open directory, if there is one, and whether its lines have records.
    pub(super) fn snapshot(&self, handle: u64) -> io::Result<Option<(SnapshotReader, bool)>> {
        let (message, descriptors) = self.converse(Message::Snapshot { handle })?;
        match message {
            Message::SnapshotIs { memory_bytes, whole } if memory_bytes <= SNAPSHOT_BYTES_MAX => {
                let Ok([file]) = <[OwnedFd; 1]>::try_from(descriptors) else { return Err(nonsense()) };
                Ok(Some((SnapshotReader::of_host(moved_away(file), memory_bytes)?, whole)))
            }
            Message::NoSection => Ok(None),
            other => Err(refusal(other)),
        }
    }

    fn converse(&self, message: Message) -> io::Result<(Message, Vec<OwnedFd>)> {
        if self.is_lost() || !self.is_ours() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_lost() {
            // Found out by whoever spoke before.
            return Err(io::ErrorKind::NotConnected.into());
        }
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

    /// Asks for something whose answer nobody waits for. False, and nothing asked, if there is no slot for it now.
    pub(super) fn tell(&self, ask: Ask) -> bool {
        if self.is_lost() || !self.is_ours() {
            return false;
        }
        let Some(lane) = self.lanes.get(sched_getcpu() % self.lanes.len().max(1)) else { return false };
        let Some(slot) = lane.channel.claim() else { return false };
        let pending = lane.submit(slot, ask, &[]);
        lane.channel.ring();
        lane.channel.abandon(pending);
        true
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
        let mut waited = None;
        loop {
            pending = match lane.finish(pending) {
                Ok(answered) => return Ok(answered),
                Err(pending) => pending,
            };
            match waited {
                None => {}
                Some(Waited::Gone) => self.lost.store(true, Ordering::Relaxed),
                // An answer that has gone again is no reason not to look.
                Some(Waited::TimedOut | Waited::Answered) => self.look(),
            }
            if self.is_lost() {
                lane.channel.abandon(pending);
                return Err(io::ErrorKind::NotConnected.into());
            }
            waited = Some(lane.channel.wait(&pending, WAIT));
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
    let until = Instant::now() + PATIENCE;
    let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    // However many signals come meanwhile.
    while polled[0].revents().is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        let time = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut polled, Some(&time)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) if !left.is_zero() => {}
            Err(error) => return Err(error.into()),
        }
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
