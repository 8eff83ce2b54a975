//! One request, and its answer.

use super::{FILE_BYTES_MAX, INBOX_BYTES, Malformed, SLOT_BYTES};

/// A request, as it stands in a slot. Bytes that come with it are in the slot's place of the inbox; bytes of the
/// answer come in the slot's place of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nothing; answered at once.
    Ping,
    /// Bytes of an open file.
    Read {
        /// The file.
        handle: u64,
        /// First byte.
        offset: u64,
        /// How many.
        len: u32,
        /// In the slot, whatever is in a section.
        plain: bool,
    },
    /// Bytes to an open file.
    Write {
        /// The file.
        handle: u64,
        /// First byte.
        offset: u64,
        /// How many, in the inbox.
        len: u32,
    },
    /// To its store with an open file.
    Fsync {
        /// The file.
        handle: u64,
        /// Contents only.
        data_only: bool,
    },
    /// What an open file is like.
    AttributesOfFile {
        /// The file.
        handle: u64,
    },
    /// An open file or directory is no longer needed.
    Release {
        /// Which.
        handle: u64,
    },
    /// These bytes will be asked for.
    Prefetch {
        /// The file.
        handle: u64,
        /// First byte.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// A name in a directory; the name is in the inbox.
    Lookup {
        /// The directory.
        node: u64,
        /// Its length in bytes.
        name_bytes: u32,
    },
    /// What a node is like.
    Attributes {
        /// The node.
        node: u64,
    },
    /// Lookups are given back.
    Forget {
        /// The node.
        node: u64,
        /// How many.
        count: u64,
    },
    /// A file is to be opened.
    Open {
        /// The node.
        node: u64,
        /// For writing too.
        writes: bool,
    },
    /// A directory is to be opened.
    OpenDirectory {
        /// The node.
        node: u64,
    },
    /// Entries of an open directory; a pattern that describes the names that are wanted may be in the inbox.
    List {
        /// The directory.
        handle: u64,
        /// Where to go on; 0 for the beginning.
        cursor: u64,
        /// Bytes that the pattern has; 0 for all names.
        pattern_bytes: u32,
        /// With what they are like.
        whole: bool,
    },
    /// Where a symbolic link leads.
    ReadLink {
        /// The link.
        node: u64,
    },
    /// A snapshot of an open directory is to be made, if there is none; it is asked for over the socket then.
    Snapshot {
        /// The directory.
        handle: u64,
    },
}

const FLAG: u64 = 1 << 16;

impl Ask {
    /// As it stands in a slot.
    pub fn encode(self) -> [u64; 7] {
        let (code, object, place, len, flag) = match self {
            Ask::Ping => (1, 0, 0, 0, false),
            Ask::Read { handle, offset, len, plain } => (2, handle, offset, len.into(), plain),
            Ask::Write { handle, offset, len } => (3, handle, offset, len.into(), false),
            Ask::Fsync { handle, data_only } => (4, handle, 0, 0, data_only),
            Ask::AttributesOfFile { handle } => (5, handle, 0, 0, false),
            Ask::Release { handle } => (6, handle, 0, 0, false),
            Ask::Prefetch { handle, offset, len } => (7, handle, offset, len, false),
            Ask::Lookup { node, name_bytes } => (8, node, 0, name_bytes.into(), false),
            Ask::Attributes { node } => (9, node, 0, 0, false),
            Ask::Forget { node, count } => (10, node, count, 0, false),
            Ask::Open { node, writes } => (11, node, 0, 0, writes),
            Ask::OpenDirectory { node } => (12, node, 0, 0, false),
            Ask::List { handle, cursor, pattern_bytes, whole } => {
                (13, handle, cursor, pattern_bytes.into(), whole)
            }
            Ask::ReadLink { node } => (14, node, 0, 0, false),
            Ask::Snapshot { handle } => (15, handle, 0, 0, false),
        };
        [code | if flag { FLAG } else { 0 }, object, place, len, 0, 0, 0]
    }

    /// What a slot says.
    ///
    /// # Errors
    /// For everything that [`encode`](Self::encode) does not make, for more bytes than a slot has room for, and for
    /// bytes that no file has.
    pub fn decode(words: [u64; 7]) -> Result<Ask, Malformed> {
        let [head, object, place, long, rest @ ..] = words;
        let (code, flag) = (head & !FLAG, head & FLAG != 0);
        let len = u32::try_from(long).ok().filter(|len| *len as usize <= SLOT_BYTES);
        let len = len.ok_or(Malformed);
        let brought = len.and_then(|len| if len as usize <= INBOX_BYTES { Ok(len) } else { Err(Malformed) });
        let ask = match code {
            1 => Ask::Ping,
            2 => Ask::Read { handle: object, offset: place, len: len?, plain: flag },
            3 => Ask::Write { handle: object, offset: place, len: brought? },
            4 => Ask::Fsync { handle: object, data_only: flag },
            5 => Ask::AttributesOfFile { handle: object },
            6 => Ask::Release { handle: object },
            7 => Ask::Prefetch { handle: object, offset: place, len: long },
            8 => Ask::Lookup { node: object, name_bytes: brought? },
            9 => Ask::Attributes { node: object },
            10 => Ask::Forget { node: object, count: place },
            11 => Ask::Open { node: object, writes: flag },
            12 => Ask::OpenDirectory { node: object },
            13 => Ask::List { handle: object, cursor: place, pattern_bytes: brought?, whole: flag },
            14 => Ask::ReadLink { node: object },
            15 => Ask::Snapshot { handle: object },
            _ => return Err(Malformed),
        };
        if !ask.is_within_a_file() {
            return Err(Malformed);
        }
        // Whatever else is set has a meaning that we do not know.
        if rest == [0; 3] && ask.encode() == words { Ok(ask) } else { Err(Malformed) }
    }

    fn is_within_a_file(self) -> bool {
        match self {
            Ask::Read { offset, len, .. } | Ask::Write { offset, len, .. } => {
                offset.checked_add(len.into()).is_some_and(|end| end <= FILE_BYTES_MAX)
            }
            Ask::Prefetch { offset, .. } => offset <= FILE_BYTES_MAX,
            _ => true,
        }
    }

    /// Bytes that come with it in the inbox.
    pub fn inbox_bytes(self) -> usize {
        match self {
            Ask::Write { len, .. } => len as usize,
            Ask::Lookup { name_bytes, .. } => name_bytes as usize,
            Ask::List { pattern_bytes, .. } => pattern_bytes as usize,
            _ => 0,
        }
    }

    /// Its name, for logs.
    pub fn name(self) -> &'static str {
        match self {
            Ask::Ping => "Ping",
            Ask::Read { .. } => "Read",
            Ask::Write { .. } => "Write",
            Ask::Fsync { .. } => "Fsync",
            Ask::AttributesOfFile { .. } => "AttributesOfFile",
            Ask::Release { .. } => "Release",
            Ask::Prefetch { .. } => "Prefetch",
            Ask::Lookup { .. } => "Lookup",
            Ask::Attributes { .. } => "Attributes",
            Ask::Forget { .. } => "Forget",
            Ask::Open { .. } => "Open",
            Ask::OpenDirectory { .. } => "OpenDirectory",
            Ask::List { .. } => "List",
            Ask::ReadLink { .. } => "ReadLink",
            Ask::Snapshot { .. } => "Snapshot",
        }
    }
}

/// What a host says of a request that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So much: bytes in the arena or written, or the number of a handle.
    Done(u64),
    /// The bytes are in the section of the file, from where they are to be read.
    InSection,
    /// It failed, with this number.
    Failed(i32),
}

const IN_SECTION: u64 = 1 << 32;

impl Answer {
    /// Two words.
    pub fn encode(self) -> [u64; 2] {
        match self {
            Answer::Done(value) => [0, value],
            Answer::InSection => [IN_SECTION, 0],
            Answer::Failed(errno) => [u64::from(errno.unsigned_abs()), 0],
        }
    }

    /// What two words say. What is not understood is an I/O error.
    pub fn decode(words: [u64; 2]) -> Answer {
        const EIO: i32 = 5;
        match words {
            [0, value] => Answer::Done(value),
            [IN_SECTION, 0] => Answer::InSection,
            [errno @ 1..4096, 0] => Answer::Failed(errno as i32),
            _ => Answer::Failed(EIO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Ask; 18] = [
        Ask::Ping,
        Ask::Read { handle: 7, offset: FILE_BYTES_MAX - 65_536, len: 65_536, plain: false },
        Ask::Read { handle: 7, offset: 0, len: 1, plain: true },
        Ask::Write { handle: 7, offset: 1, len: 0 },
        Ask::Fsync { handle: 7, data_only: true },
        Ask::Fsync { handle: 7, data_only: false },
        Ask::AttributesOfFile { handle: 7 },
        Ask::Release { handle: u64::MAX },
        Ask::Prefetch { handle: 1, offset: 2, len: u64::MAX },
        Ask::Lookup { node: 1, name_bytes: 255 },
        Ask::Attributes { node: 1 },
        Ask::Forget { node: 1, count: 2 },
        Ask::Open { node: 3, writes: true },
        Ask::OpenDirectory { node: 1 },
        Ask::List { handle: 4, cursor: 5, pattern_bytes: 6, whole: false },
        Ask::List { handle: 4, cursor: 0, pattern_bytes: 0, whole: true },
        Ask::ReadLink { node: 9 },
        Ask::Snapshot { handle: 7 },
    ];

    #[test]
    fn what_is_asked_is_understood() {
        for ask in ALL {
            assert_eq!(Ask::decode(ask.encode()), Ok(ask));
        }
    }

    #[test]
    fn what_nobody_asks_is_refused() {
        for ask in ALL {
            let words = ask.encode();
            for (word, bit) in [(0, 20), (0, 63), (4, 0), (6, 63)] {
                let mut changed = words;
                changed[word] ^= 1 << bit;
                assert_eq!(Ask::decode(changed), Err(Malformed), "{ask:?}");
            }
        }
        assert_eq!(Ask::decode([0; 7]), Err(Malformed));
        assert_eq!(Ask::decode([2, 7, 0, 65_537, 0, 0, 0]), Err(Malformed), "more than a slot has");
        for code in [2, 3, 7] {
            for beyond in [FILE_BYTES_MAX + 1, u64::MAX] {
                assert_eq!(Ask::decode([code, 7, beyond, 1, 0, 0, 0]), Err(Malformed), "{code} at {beyond}");
            }
        }
        assert_eq!(
            Ask::decode([2, 7, FILE_BYTES_MAX, 1, 0, 0, 0]),
            Err(Malformed),
            "the last byte is beyond"
        );
        assert_eq!(Ask::decode([5, 7, 1, 0, 0, 0, 0]), Err(Malformed), "a place where none belongs");
    }

    #[test]
    fn answers_survive_and_nonsense_is_an_error() {
        for answer in [Answer::Done(0), Answer::Done(u64::MAX), Answer::InSection, Answer::Failed(2)] {
            assert_eq!(Answer::decode(answer.encode()), answer);
        }
        for words in [[4096, 0], [2, 1], [IN_SECTION, 1], [IN_SECTION | 1, 0], [u64::MAX, 0]] {
            assert_eq!(Answer::decode(words), Answer::Failed(5));
        }
    }
}
