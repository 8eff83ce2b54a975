//! What is said over the socket: how a conversation begins, and how files are taken over from tickets.

use super::ticket::Secret;
use super::{MAGIC, Malformed, VERSION};

/// Bytes of every message.
pub const MESSAGE_BYTES: usize = 64;

/// A message. Descriptors may come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A client begins.
    Hello,
    /// The host takes it in; the memory of both comes along.
    Welcome(Welcome),
    /// The host does not do what was asked, for this reason (a number of errno(3)).
    Refused(u32),
    /// A client shows a ticket.
    Redeem(Secret),
    /// The file that the ticket was for.
    Opened(Opened),
    /// A client asks for the section of a file, or for the file that has its bytes.
    Section {
        /// The file.
        handle: u64,
    },
    /// The section: its bytes and its map come along.
    SectionIs {
        /// Bytes of the first.
        bytes_max: u64,
        /// The number by which parts of it are held fast; 0 if they need not be.
        number: u64,
    },
    /// There is none now.
    NoSection,
    /// The file that has exactly these bytes comes along.
    BackingIs,
    /// A client asks for the snapshot of a directory, after a request for it was answered that there is one.
    Snapshot {
        /// The directory.
        handle: u64,
    },
    /// The snapshot: its memory comes along. If there is none any more the answer is as for sections.
    SnapshotIs {
        /// Bytes of the memory.
        memory_bytes: u64,
        /// Whether its lines have records.
        whole: bool,
    },
}

/// The terms of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Channels: one for each processor.
    pub channels: u32,
    /// Which volume; another number is another volume.
    pub volume: u64,
    /// Whether nodes may be looked up and opened without tickets.
    pub whole: bool,
}

/// A file that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its handle, for requests.
    pub handle: u64,
    /// Whether it may be written to.
    pub writes: bool,
    /// Whether a section or a file can be had now.
    pub section: bool,
}

impl Message {
    /// As it is sent.
    pub fn encode(self) -> [u8; MESSAGE_BYTES] {
        let half = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
        let words = match self {
            Message::Hello => [1, MAGIC, VERSION.into(), 0, 0, 0, 0, 0],
            Message::Welcome(Welcome { channels, volume, whole }) => {
                let terms = u64::from(channels) << 32 | u64::from(VERSION);
                [2, MAGIC, terms, volume, whole.into(), 0, 0, 0]
            }
            Message::Refused(errno) => [3, MAGIC, VERSION.into(), errno.into(), 0, 0, 0, 0],
            Message::Redeem(secret) => [4, half(&secret[..8]), half(&secret[8..]), 0, 0, 0, 0, 0],
            Message::Opened(Opened { handle, writes, section }) => {
                [5, handle, u64::from(writes) | u64::from(section) << 1, 0, 0, 0, 0, 0]
            }
            Message::Section { handle } => [6, handle, 0, 0, 0, 0, 0, 0],
            Message::SectionIs { bytes_max, number } => [7, bytes_max, number, 0, 0, 0, 0, 0],
            Message::NoSection => [8, 0, 0, 0, 0, 0, 0, 0],
            Message::BackingIs => [9, 0, 0, 0, 0, 0, 0, 0],
            Message::Snapshot { handle } => [10, handle, 0, 0, 0, 0, 0, 0],
            Message::SnapshotIs { memory_bytes, whole } => [11, memory_bytes, whole.into(), 0, 0, 0, 0, 0],
        };
        let mut bytes = [0; MESSAGE_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// What was received.
    ///
    /// # Errors
    /// For everything that [`encode`](Self::encode) does not make: other lengths and versions too.
    pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
        let bytes: &[u8; MESSAGE_BYTES] = bytes.try_into().map_err(|_| Malformed)?;
        let mut words = [0u64; 8];
        for (word, place) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(place.try_into().map_err(|_| Malformed)?);
        }
        let [kind, first, second, third, fourth, ..] = words;
        let message = match kind {
            1 => Message::Hello,
            2 => Message::Welcome(Welcome {
                channels: (second >> 32) as u32,
                volume: third,
                whole: fourth == 1,
            }),
            3 => Message::Refused(third as u32),
            4 => {
                let mut secret = Secret::default();
                secret[..8].copy_from_slice(&first.to_ne_bytes());
                secret[8..].copy_from_slice(&second.to_ne_bytes());
                Message::Redeem(secret)
            }
            5 => Message::Opened(Opened { handle: first, writes: second & 1 != 0, section: second & 2 != 0 }),
            6 => Message::Section { handle: first },
            7 => Message::SectionIs { bytes_max: first, number: second },
            8 => Message::NoSection,
            9 => Message::BackingIs,
            10 => Message::Snapshot { handle: first },
            11 => Message::SnapshotIs { memory_bytes: first, whole: second == 1 },
            _ => return Err(Malformed),
        };
        if message.encode() == *bytes { Ok(message) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_and_other_versions_are_none() {
        let welcome = Welcome { channels: 2, volume: 3, whole: true };
        for message in [
            Message::Hello,
            Message::Welcome(welcome),
            Message::Refused(13),
            Message::Redeem([9; 16]),
            Message::Opened(Opened { handle: u64::MAX, writes: true, section: false }),
            Message::Section { handle: 1 },
            Message::SectionIs { bytes_max: 1 << 40, number: 3 },
            Message::NoSection,
            Message::BackingIs,
            Message::Snapshot { handle: 1 },
            Message::SnapshotIs { memory_bytes: 1 << 20, whole: true },
        ] {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Ok(message));
            assert_eq!(Message::decode(&bytes[1..]), Err(Malformed));
            let mut longer = bytes;
            longer[63] = 1;
            assert_eq!(Message::decode(&longer), Err(Malformed), "{message:?}");
        }
        let mut hello = Message::Hello.encode();
        hello[16] = 1;
        assert_eq!(Message::decode(&hello), Err(Malformed));
    }
}
