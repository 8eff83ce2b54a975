//! Messages with descriptors over a Unix socket that keeps their borders.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, recvmsg,
    sendmsg, socket_with,
};

use crate::layout::{MESSAGE_BYTES, Malformed, Message};

/// Descriptors that come with one message at the most.
const DESCRIPTORS_MAX: usize = 8;

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// A socket that waits for clients at `path`, where nothing is.
pub(crate) fn listener(path: &Path, backlog: i32) -> io::Result<OwnedFd> {
    let socket = socket()?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, backlog)?;
    Ok(socket)
}

/// A connection to the host at `path`. Neither connecting nor sending waits longer than `patience` for a host that does
/// not listen.
pub(crate) fn connected(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let socket = socket()?;
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Whether the socket at `path` is one whose host has gone. Does not wait.
#[cfg(feature = "server")]
pub(crate) fn is_deserted(path: &Path) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let Ok(socket) = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None) else {
        return false;
    };
    let address = SocketAddrUnix::new(path);
    address.and_then(|address| connect(&socket, &address)) == Err(rustix::io::Errno::CONNREFUSED)
}

/// Sends a message with descriptors. Never waits for a client that does not read, if the socket does not block.
pub(crate) fn send(socket: impl AsFd, message: Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = message.encode();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What the other side says.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A message, with descriptors.
    Message(Message, Vec<OwnedFd>),
    /// Something that is none.
    Nonsense,
    /// It has gone.
    Nothing,
}

/// Receives a message. Interrupted calls are made again.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Heard> {
    let mut bytes = [0; MESSAGE_BYTES + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
        let received = match received {
            Err(rustix::io::Errno::INTR) => continue,
            received => received?,
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        if received.bytes == 0 {
            return Ok(Heard::Nothing);
        }
        let whole = !received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
        return Ok(match Message::decode(&bytes[..received.bytes]) {
            Ok(message) if whole => Heard::Message(message, descriptors),
            Ok(_) | Err(Malformed) => Heard::Nonsense,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::socketpair;

    #[test]
    fn messages_come_whole_with_their_descriptors() {
        let (one, two) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(&one, Message::NoSection, &[file.as_fd(), file.as_fd()]).unwrap();
        send(&one, Message::Hello, &[]).unwrap();
        rustix::io::write(&one, b"nonsense").unwrap();
        rustix::io::write(&one, &[0; 100]).unwrap();
        drop(one);
        let Heard::Message(Message::NoSection, descriptors) = receive(&two).unwrap() else { panic!("two") };
        assert_eq!(descriptors.len(), 2);
        assert!(matches!(receive(&two).unwrap(), Heard::Message(Message::Hello, none) if none.is_empty()));
        assert!(matches!(receive(&two).unwrap(), Heard::Nonsense));
        assert!(matches!(receive(&two).unwrap(), Heard::Nonsense));
        assert!(matches!(receive(&two).unwrap(), Heard::Nothing));
    }
}
