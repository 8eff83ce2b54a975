//! Clients and hosts that break every rule: they harm themselves.

mod client;
mod host;

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, sendmsg,
    socket_with,
};
use wharf_direct::layout::Message;

/// Numbers that repeat with their seed.
struct Random(u64);

impl Random {
    /// Of a seed that is told, so that a failure can be had again by `WHARF_HOSTILE_SEED`.
    fn told() -> Random {
        let seed = number("WHARF_HOSTILE_SEED").unwrap_or(std::process::id().into());
        println!("seed {seed}");
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 17) ^ (self.0 << 20)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 8) % limit
    }

    /// Small numbers mostly, which mean something more often, and those about the last one.
    fn word(&mut self) -> u64 {
        match self.below(6) {
            0 => self.next(),
            1 => self.below(16),
            2 => self.below(16) | (1 << 16),
            3 => (u64::MAX >> self.below(3)) << self.below(18),
            _ => self.below(70_000),
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = (0..len.div_ceil(8)).flat_map(|_| self.word().to_ne_bytes());
        words.take(len).collect()
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// How long it goes on. Longer by hand: `WHARF_HOSTILE_SECONDS=600`.
fn time() -> Duration {
    Duration::from_secs(number("WHARF_HOSTILE_SECONDS").unwrap_or(2))
}

fn socket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

fn connected(path: &Path) -> OwnedFd {
    let socket = socket();
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

/// Whether it could be sent at once.
fn send(socket: impl AsFd, bytes: &[u8], files: &[OwnedFd]) -> bool {
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(files.is_empty() || control.push(SendAncillaryMessage::ScmRights(&files)));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags).is_ok()
}

fn receive(socket: impl AsFd) -> Option<(Message, Vec<OwnedFd>)> {
    let mut bytes = [0; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags).ok()?;
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            files.extend(more);
        }
    }
    Some((Message::decode(&bytes).ok()?, files))
}
