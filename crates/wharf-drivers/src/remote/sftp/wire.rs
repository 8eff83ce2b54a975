//! SFTP, version 3, as bytes: requests become packets, and packets replies.
//!
//! Nothing here waits, or knows a connection. Names and handles are bytes, whatever the server takes them for; what
//! a server says of lengths and counts is checked against what is there.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest packet that is taken: OpenSSH sends no longer one.
pub(super) const PACKET_BYTES_MAX: usize = 256 << 10;
/// Bytes that every server reads and writes in one request.
pub(super) const PIECE_BYTES: u32 = 32 << 10;

/// As a server names an open file or directory.
pub(super) type Handle = Bytes;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// To be written, and made: it must not be there.
    New,
}

/// What is asked. The names in the drafts of the protocol stand beside their numbers, in [`encode`](Request::encode).
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    Open {
        path: &'a str,
        access: Access,
    },
    Close {
        handle: &'a Handle,
    },
    Read {
        handle: &'a Handle,
        at: u64,
        len: u32,
    },
    Write {
        handle: &'a Handle,
        at: u64,
        bytes: &'a [u8],
    },
    /// What a name is, be it a link.
    NameStat {
        path: &'a str,
    },
    /// What is behind a name.
    Stat {
        path: &'a str,
    },
    FileStat {
        handle: &'a Handle,
    },
    SetMode {
        handle: &'a Handle,
        mode: u32,
    },
    OpenDirectory {
        path: &'a str,
    },
    ReadDirectory {
        handle: &'a Handle,
    },
    MakeDirectory {
        path: &'a str,
    },
    Remove {
        path: &'a str,
    },
    RemoveDirectory {
        path: &'a str,
    },
    /// Moves a name to where none is.
    Rename {
        from: &'a str,
        to: &'a str,
    },
    /// Moves a name, and replaces. Not every server does.
    Replace {
        from: &'a str,
        to: &'a str,
    },
}

/// The extension that [`Request::Replace`] needs.
const REPLACE: &str = "posix-rename@openssh.com";
const VERSION: u32 = 3;

const INIT: u8 = 1;
const EXTENDED: u8 = 200;
const READ_ACCESS: u32 = 0x01;
const WRITE_ACCESS: u32 = 0x02;
const CREATE: u32 = 0x08;
const EXCLUSIVE: u32 = 0x20;

const HAS_SIZE: u32 = 0x01;
const HAS_OWNERS: u32 = 0x02;
const HAS_MODE: u32 = 0x04;
const HAS_TIMES: u32 = 0x08;
const HAS_MORE: u32 = 0x8000_0000;

/// The first packet of all.
pub(super) fn hello() -> Bytes {
    packet(INIT, VERSION, |_| {})
}

impl Request<'_> {
    /// The packet that asks, under a number that the reply repeats.
    pub(super) fn encode(&self, id: u32) -> Bytes {
        match *self {
            // SSH_FXP_OPEN
            Request::Open { path, access } => packet(3, id, |out| {
                put(out, path.as_bytes());
                out.put_u32(match access {
                    Access::Read => READ_ACCESS,
                    Access::New => WRITE_ACCESS | CREATE | EXCLUSIVE,
                });
                out.put_u32(0);
            }),
            // SSH_FXP_CLOSE
            Request::Close { handle } => packet(4, id, |out| put(out, handle)),
            // SSH_FXP_READ
            Request::Read { handle, at, len } => packet(5, id, |out| {
                put(out, handle);
                out.put_u64(at);
                out.put_u32(len);
            }),
            // SSH_FXP_WRITE
            Request::Write { handle, at, bytes } => packet(6, id, |out| {
                put(out, handle);
                out.put_u64(at);
                put(out, bytes);
            }),
            // SSH_FXP_LSTAT
            Request::NameStat { path } => packet(7, id, |out| put(out, path.as_bytes())),
            // SSH_FXP_FSTAT
            Request::FileStat { handle } => packet(8, id, |out| put(out, handle)),
            // SSH_FXP_FSETSTAT
            Request::SetMode { handle, mode } => packet(10, id, |out| {
                put(out, handle);
                out.put_u32(HAS_MODE);
                out.put_u32(mode);
            }),
            // SSH_FXP_OPENDIR
            Request::OpenDirectory { path } => packet(11, id, |out| put(out, path.as_bytes())),
            // SSH_FXP_READDIR
            Request::ReadDirectory { handle } => packet(12, id, |out| put(out, handle)),
            // SSH_FXP_REMOVE
            Request::Remove { path } => packet(13, id, |out| put(out, path.as_bytes())),
            // SSH_FXP_MKDIR
            Request::MakeDirectory { path } => packet(14, id, |out| {
                put(out, path.as_bytes());
                out.put_u32(0);
            }),
            // SSH_FXP_RMDIR
            Request::RemoveDirectory { path } => packet(15, id, |out| put(out, path.as_bytes())),
            // SSH_FXP_STAT
            Request::Stat { path } => packet(17, id, |out| put(out, path.as_bytes())),
            // SSH_FXP_RENAME
            Request::Rename { from, to } => packet(18, id, |out| {
                put(out, from.as_bytes());
                put(out, to.as_bytes());
            }),
            // SSH_FXP_EXTENDED
            Request::Replace { from, to } => packet(EXTENDED, id, |out| {
                put(out, REPLACE.as_bytes());
                put(out, from.as_bytes());
                put(out, to.as_bytes());
            }),
        }
    }
}

fn packet(kind: u8, number: u32, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    out.put_u32(0);
    out.put_u8(kind);
    out.put_u32(number);
    fill(&mut out);
    // What is sent at once is far shorter than 4 GiB.
    let len = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&len.to_be_bytes());
    out.freeze()
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Status(Status),
    Handle(Handle),
    Data(Bytes),
    Names(Vec<(Bytes, Attributes)>),
    Attributes(Attributes),
}

/// How something ended, and the server's words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: u32,
    pub(super) words: String,
}

impl Status {
    pub(super) const OK: u32 = 0;
    pub(super) const END: u32 = 1;
    pub(super) const NO_SUCH_FILE: u32 = 2;
    pub(super) const PERMISSION_DENIED: u32 = 3;
    /// Anything that has no number of its own.
    pub(super) const FAILURE: u32 = 4;
    pub(super) const UNSUPPORTED: u32 = 8;
}

/// What a file is like, as far as it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) mode: Option<u32>,
    /// Seconds since 1970.
    pub(super) modified: Option<u32>,
}

/// Whether a server that answers the first packet so can replace names; `None`: it is none for us.
pub(super) fn decode_hello(mut packet: Bytes) -> Option<bool> {
    const VERSION_REPLY: u8 = 2;
    if packet.try_get_u8().ok()? != VERSION_REPLY || packet.try_get_u32().ok()? != VERSION {
        return None;
    }
    let mut replaces = false;
    while packet.has_remaining() {
        let (name, data) = (take(&mut packet)?, take(&mut packet)?);
        replaces |= name == REPLACE && data == "1";
    }
    Some(replaces)
}

/// A reply, and the number of what was asked; `None`: no such thing is ever sent.
pub(super) fn decode(mut packet: Bytes) -> Option<(u32, Reply)> {
    let kind = packet.try_get_u8().ok()?;
    let id = packet.try_get_u32().ok()?;
    let reply = match kind {
        101 => {
            let code = packet.try_get_u32().ok()?;
            // The first servers sent no words.
            let words = take(&mut packet).unwrap_or_default();
            Reply::Status(Status { code, words: String::from_utf8_lossy(&words).into_owned() })
        }
        102 => Reply::Handle(take(&mut packet)?),
        103 => Reply::Data(take(&mut packet)?),
        104 => {
            let count = packet.try_get_u32().ok()?;
            let mut names = Vec::new();
            for _ in 0..count {
                let (name, _for_people) = (take(&mut packet)?, take(&mut packet)?);
                names.push((name, attributes(&mut packet)?));
            }
            Reply::Names(names)
        }
        105 => Reply::Attributes(attributes(&mut packet)?),
        _ => return None,
    };
    Some((id, reply))
}

fn take(packet: &mut Bytes) -> Option<Bytes> {
    let len = packet.try_get_u32().ok()? as usize;
    (len <= packet.len()).then(|| packet.split_to(len))
}

fn attributes(packet: &mut Bytes) -> Option<Attributes> {
    let has = packet.try_get_u32().ok()?;
    let mut told = Attributes::default();
    if has & HAS_SIZE != 0 {
        told.size = Some(packet.try_get_u64().ok()?);
    }
    if has & HAS_OWNERS != 0 {
        packet.try_get_u64().ok()?;
    }
    if has & HAS_MODE != 0 {
        told.mode = Some(packet.try_get_u32().ok()?);
    }
    if has & HAS_TIMES != 0 {
        let _read = packet.try_get_u32().ok()?;
        told.modified = Some(packet.try_get_u32().ok()?);
    }
    if has & HAS_MORE != 0 {
        for _ in 0..packet.try_get_u32().ok()? {
            let _pair = (take(packet)?, take(packet)?);
        }
    }
    Some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server would send it, without the length in front.
    fn reply(kind: u8, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
        packet(kind, 7, fill).slice(4..)
    }

    #[test]
    fn a_request_is_what_the_protocol_says() {
        let handle = Bytes::from_static(&[0xff, 0]);
        let read = Request::Read { handle: &handle, at: 1 << 32, len: 5 };
        let expected = [0, 0, 0, 23, 5, 0, 0, 0, 9, 0, 0, 0, 2, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5];
        assert_eq!(read.encode(9)[..], expected);
        assert_eq!(hello()[..], [0, 0, 0, 5, 1, 0, 0, 0, 3]);
    }

    #[test]
    fn handles_and_names_are_any_bytes() {
        let odd = Bytes::from_static(&[0, 0, 0, 0x80]);
        let handle = reply(102, |out| put(out, &odd));
        assert_eq!(decode(handle), Some((7, Reply::Handle(odd.clone()))));
        let names = reply(104, |out| {
            out.put_u32(1);
            put(out, &odd);
            put(out, b"for people");
            out.put_u32(HAS_SIZE | HAS_OWNERS | HAS_MODE | HAS_TIMES | HAS_MORE);
            out.put_u64(3);
            out.put_u64(0);
            out.put_u32(0o100_644);
            out.put_u64(99);
            out.put_u32(1);
            put(out, b"a");
            put(out, b"b");
        });
        let attributes = Attributes { size: Some(3), mode: Some(0o100_644), modified: Some(99) };
        assert_eq!(decode(names), Some((7, Reply::Names(vec![(odd, attributes)]))));
    }

    #[test]
    fn whatever_a_server_sends_is_a_reply_or_none() {
        let whole = reply(104, |out| {
            out.put_u32(2);
            for name in [b"one", b"two"] {
                put(out, name);
                put(out, b"for people");
                out.put_u32(HAS_SIZE | HAS_MORE);
                out.put_u64(3);
                out.put_u32(0);
            }
        });
        assert!(decode(whole.clone()).is_some());
        for len in 0..whole.len() {
            assert_eq!(decode(whole.slice(..len)), None, "cut off after {len} bytes");
            for byte in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.to_vec();
                changed[len] = byte;
                let _ = decode(changed.clone().into());
                let _ = decode_hello(changed.into());
            }
        }
        assert_eq!(decode(reply(101, |out| out.put_u32(77))).map(|(id, _)| id), Some(7), "an unknown status");
    }

    #[test]
    fn a_server_says_what_it_can_beyond_the_protocol() {
        let version =
            |number: u32, fill: &dyn Fn(&mut BytesMut)| packet(2, number, |out| fill(out)).slice(4..);
        assert_eq!(decode_hello(version(3, &|_| {})), Some(false));
        let replaces = version(3, &|out| {
            put(out, REPLACE.as_bytes());
            put(out, b"1");
        });
        assert_eq!(decode_hello(replaces), Some(true));
        assert_eq!(decode_hello(version(2, &|_| {})), None, "another protocol");
    }
}
