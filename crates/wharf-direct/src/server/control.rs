//! The thread that listens: clients come, show tickets, ask for sections, and go.
//!
//! The kernel tells when a client has gone, however it went: its socket hangs up.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_send_buffer_size, socket_peercred};
use rustix::net::{SocketFlags, accept_with};
use wharf::session::Pass;
use wharf::{Caller, Errno, Source};
use wharf_queue::Bell;

use crate::lane::ClientMemory;
use crate::layout::{Message, Opened, Welcome};
use crate::socket::{Heard, receive, send};

use super::handles::Open;
use super::host::{Client, Host, Mail};

/// Clients that a queue can wait for at a time, beside what else rings it.
const CLIENTS_MAX: usize = wharf_mem::CHANNELS_MAX;

/// Bytes on their way to one client: the kernel makes some messages of them. Who asks on without having heard what was
/// answered is hung up, before the descriptors on their way to it are all that this process may have there.
const ANSWERS_BYTES: usize = 4096;

/// One connection.
struct Line {
    socket: OwnedFd,
    caller: Caller,
    /// Once it has said who it is.
    client: Option<Arc<Client>>,
}

/// What listens.
pub(super) struct Control {
    pub(super) host: Arc<Host>,
    pub(super) listener: OwnedFd,
    pub(super) bell: Bell,
    lines: Vec<Line>,
    next: u64,
}

impl Control {
    pub(super) fn new(host: Arc<Host>, listener: OwnedFd, bell: Bell) -> Control {
        Control { host, listener, bell, lines: Vec::new(), next: 1 }
    }

    /// Listens until the end.
    pub(super) fn run(mut self) {
        while !self.host.closing.load(Ordering::SeqCst) {
            if let Err(error) = self.turn() {
                log::error!("listening for direct clients: {error}");
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        for line in std::mem::take(&mut self.lines) {
            self.hang_up(line);
        }
        // What was given out and not shown goes too.
        let late = self.host.tickets.close().iter().map(|pass| self.open(pass)).collect();
        self.host.release(late);
    }

    fn turn(&mut self) -> io::Result<()> {
        let timeout = self.host.tickets.next_expiry().map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        let mut polled = vec![
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN),
        ];
        polled.extend(self.lines.iter().map(|line| PollFd::new(&line.socket, PollFlags::IN)));
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        if ready[1] {
            self.bell.silence();
        }
        // From behind, so that those which go move nobody who is looked at later.
        for at in (0..self.lines.len()).rev().filter(|at| ready[at + 2]) {
            if !self.hear(at) {
                let line = self.lines.swap_remove(at);
                self.hang_up(line);
            }
        }
        if ready[0] {
            self.accept()?;
        }
        self.hang_up_condemned();
        let late = self.host.tickets.expire(Instant::now());
        let late = late.into_iter().map(|pass| self.open(&pass)).collect();
        self.host.release(late);
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let socket = match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => socket,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        set_socket_send_buffer_size(&socket, ANSWERS_BYTES)?;
        let peer = socket_peercred(&socket)?;
        let pid = u32::try_from(peer.pid.as_raw_nonzero().get()).unwrap_or(0);
        let caller = Caller { uid: peer.uid.as_raw(), gid: peer.gid.as_raw(), pid };
        let max = (self.host.session.limits().clients_max as usize).min(CLIENTS_MAX);
        if self.lines.len() >= max {
            log::warn!("a direct client was refused: there are {} already", self.lines.len());
            let _ = send(&socket, Message::Refused(Errno::EBUSY.get().unsigned_abs()), &[]);
            return Ok(());
        }
        self.lines.push(Line { socket, caller, client: None });
        Ok(())
    }

    /// Hears one message. False if the connection is of no use any more.
    fn hear(&mut self, at: usize) -> bool {
        let message = match receive(&self.lines[at].socket) {
            // What comes along is closed: nobody asked for it.
            Ok(Heard::Message(message, _)) => message,
            Ok(Heard::Nonsense) => {
                self.refuse(at, Errno::EINVAL);
                return false;
            }
            Ok(Heard::Nothing) => return false,
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        };
        let client = self.lines[at].client.clone();
        match (message, client) {
            (Message::Hello, None) => self.welcome(at),
            (Message::Redeem(secret), Some(client)) => {
                match self.host.tickets.redeem(&secret, client.caller.uid) {
                    Some(pass) => self.hand_over(at, &client, &pass),
                    None => self.refuse(at, Errno::ENOENT),
                }
            }
            (Message::Section { handle }, Some(client)) => self.section(at, &client, handle),
            (Message::Snapshot { handle }, Some(client)) => self.snapshot(at, &client, handle),
            _ => {
                self.refuse(at, Errno::EINVAL);
                false
            }
        }
    }

    fn welcome(&mut self, at: usize) -> bool {
        let channels = self.host.queues.len();
        let memory = match ClientMemory::create(channels) {
            Ok(memory) => memory,
            Err(error) => {
                log::warn!("no memory for a direct client: {error}");
                return self.refuse(at, Errno::ENOMEM);
            }
        };
        let Ok(files) = memory.hand_out() else { return self.refuse(at, Errno::ENOMEM) };
        let caller = self.lines[at].caller;
        let whole = caller.uid == 0 || caller.uid == self.host.owner;
        let welcome =
            Message::Welcome(Welcome { channels: channels as u32, volume: self.host.volume, whole });
        let client = Arc::new(Client::new(self.next, caller, whole, memory));
        self.next += 1;
        // The queues know it before it is told that they do.
        self.host.queues.iter().for_each(|queue| queue.send(Mail::Join(client.clone())));
        self.host.clients.write().unwrap_or_else(PoisonError::into_inner).push(client.clone());
        self.lines[at].client = Some(client);
        self.say(at, welcome, &files)
    }

    /// The file behind a ticket becomes one of the client's.
    fn hand_over(&mut self, at: usize, client: &Client, pass: &Pass) -> bool {
        let open = self.open(pass);
        let source = self.host.session.source(open.handle);
        let section = matches!(source, Some(Source::Memory(_)))
            || self.is_backed(client, &open)
            || open.file.as_ref().is_some_and(|file| file.section().is_some());
        let inserted = client.handles().insert(open);
        match inserted {
            Ok(handle) => self.say(at, Message::Opened(Opened { handle, writes: pass.writes, section }), &[]),
            Err(open) => {
                self.host.release(vec![open]);
                self.refuse(at, Errno::ENOMEM)
            }
        }
    }

    fn open(&self, pass: &Pass) -> Open {
        let Pass { node, handle, writes, keeps, .. } = *pass;
        Open { holds_node: true, ..self.host.opened(node, handle, false, writes, keeps) }
    }

    /// Whether the client may have the file itself that has the bytes.
    ///
    /// Only one of the host's own user's: with a descriptor one can do more than read, where the permissions of
    /// the file behind it allow more than the mount does.
    fn is_backed(&self, client: &Client, open: &Open) -> bool {
        client.whole && matches!(self.host.session.source(open.handle), Some(Source::Backing(_)))
    }

    fn section(&mut self, at: usize, client: &Client, handle: u64) -> bool {
        let Some(open) = client.handles().get(handle).cloned() else {
            return self.refuse(at, Errno::EBADF);
        };
        if self.is_backed(client, &open)
            && let Some(Source::Backing(file)) = self.host.session.source(open.handle)
        {
            return match read_only(&file) {
                Ok(file) => self.say(at, Message::BackingIs, &[file]),
                Err(_) => self.say(at, Message::NoSection, &[]),
            };
        }
        let memory = match self.host.session.source(open.handle) {
            Some(Source::Memory(memory)) => Some(memory),
            _ => None,
        };
        let kept = open.file.and_then(|file| file.section());
        let out = match (&memory, &kept) {
            // What an author keeps in memory is not evicted while it is open: it needs no number.
            (Some(memory), _) => memory.section().hand_out().ok().map(|out| (0, out)),
            (None, Some(kept)) => kept.section.hand_out().ok().map(|out| (kept.number, out)),
            (None, None) => None,
        };
        match out {
            Some((number, out)) => {
                let message = Message::SectionIs { bytes_max: out.len_bytes_max, number };
                self.say(at, message, &[out.bytes, out.residency])
            }
            None => self.say(at, Message::NoSection, &[]),
        }
    }

    fn snapshot(&mut self, at: usize, client: &Client, handle: u64) -> bool {
        let Some(open) = client.handles().get(handle).cloned() else {
            return self.refuse(at, Errno::EBADF);
        };
        let inode = self.host.session.inode(open.node).filter(|_| open.known);
        let found = inode.and_then(|inode| self.host.snapshots.find(inode));
        let out = found.and_then(|(snapshot, whole)| Some((snapshot.hand_out().ok()?, snapshot, whole)));
        match out {
            Some((file, snapshot, whole)) => {
                let memory_bytes = snapshot.memory_bytes();
                self.say(at, Message::SnapshotIs { memory_bytes, whole }, &[file])
            }
            None => self.say(at, Message::NoSection, &[]),
        }
    }

    /// True, for a connection that goes on.
    fn refuse(&mut self, at: usize, errno: Errno) -> bool {
        self.say(at, Message::Refused(errno.get().unsigned_abs()), &[])
    }

    /// A client that does not listen is not waited for.
    fn say(&mut self, at: usize, message: Message, descriptors: &[OwnedFd]) -> bool {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        send(&self.lines[at].socket, message, &descriptors).is_ok()
    }

    fn hang_up_condemned(&mut self) {
        let condemned = |line: &mut Line| line.client.as_ref().is_some_and(|client| client.is_condemned());
        let lines: Vec<Line> = self.lines.extract_if(.., condemned).collect();
        lines.into_iter().for_each(|line| self.hang_up(line));
    }

    fn hang_up(&self, line: Line) {
        let Some(client) = line.client else { return };
        // What it held fast can go.
        let mut clients = self.host.clients.write().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|other| other.number != client.number);
        drop(clients);
        let (open, nodes) = client.leaves();
        self.host.queues.iter().for_each(|queue| queue.send(Mail::Leave(client.number)));
        self.host.release(open);
        nodes.into_iter().for_each(|(node, count)| self.host.session.forget(node, count));
    }
}

/// The same file, for reading only.
fn read_only(file: &OwnedFd) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, open};
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?)
}
