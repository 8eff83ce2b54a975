//! What is written on disc: records, one behind the other, each a head, a note and perhaps the bytes of a block.
//!
//! Bytes to records and back, and nothing else. A head has a checksum of itself and of its note, and one of the
//! bytes: what does not fit them is no record, whoever wrote it.

use std::sync::Arc;

use super::super::cache::BLOCK_BYTES;
use super::super::meta::Version;
use super::super::note::{note, noted};

/// Bytes of a head.
pub(super) const HEAD_BYTES: usize = 28;
/// The longest note: a long path with every letter escaped.
const NOTE_BYTES_MAX: usize = 16 << 10;
/// Bytes that hold any head with its note.
pub(super) const LABEL_BYTES_MAX: usize = HEAD_BYTES + NOTE_BYTES_MAX;

/// How a record of this form begins.
const MAGIC: u32 = u32::from_le_bytes(*b"WRB1");

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// Behind it are the bytes of a block of this version of a file.
    Block { path: Arc<str>, version: Version, index: u32, len: u32, checksum: u32 },
    /// What earlier records say of a path, or of everything below it, holds no more.
    Gone { path: Arc<str>, below: bool },
}

impl Label {
    /// Bytes of the block behind it.
    pub(super) fn bytes(&self) -> u32 {
        match self {
            Label::Block { len, .. } => *len,
            Label::Gone { .. } => 0,
        }
    }

    /// As it is written; `None` for what would be too long.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let (note, kind, index, len, checksum) = match self {
            Label::Block { path, version, index, len, checksum } => {
                (note(path, Some(version)), 1_u32, *index, *len, *checksum)
            }
            Label::Gone { path, below } => (note(path, None), if *below { 3 } else { 2 }, 0, 0, 0),
        };
        if note.len() > NOTE_BYTES_MAX {
            return None;
        }
        let mut rest = Vec::with_capacity(HEAD_BYTES + note.len());
        for word in [note.len() as u32, kind, index, len, checksum] {
            rest.extend_from_slice(&word.to_le_bytes());
        }
        rest.extend_from_slice(note.as_bytes());
        let mut text = MAGIC.to_le_bytes().to_vec();
        text.extend_from_slice(&crc32fast::hash(&rest).to_le_bytes());
        text.extend_from_slice(&rest);
        Some(text)
    }

    /// Reads a label and tells how long it is; `None` for bytes that begin with none.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Label, usize)> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<4>()?));
        if word(0)? != MAGIC {
            return None;
        }
        let note_bytes = word(8)? as usize;
        let end = HEAD_BYTES + note_bytes;
        let (kind, index, len, checksum) = (word(12)?, word(16)?, word(20)?, word(24)?);
        if note_bytes > NOTE_BYTES_MAX || crc32fast::hash(bytes.get(8..end)?) != word(4)? {
            return None;
        }
        let (path, version) = noted(std::str::from_utf8(&bytes[HEAD_BYTES..end]).ok()?)?;
        let path = path.into();
        let label = match (kind, version) {
            (1, Some(version)) if u64::from(len) <= BLOCK_BYTES => {
                Label::Block { path, version, index, len, checksum }
            }
            (2, None) => Label::Gone { path, below: false },
            (3, None) => Label::Gone { path, below: true },
            _ => return None,
        };
        Some((label, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> [Label; 3] {
        let version = Version { size: 7, modified: None, etag: Some("\"a\"".into()) };
        [
            Label::Block { path: "a/b ü".into(), version, index: 3, len: 7, checksum: 0xdead_beef },
            Label::Gone { path: "a".into(), below: true },
            Label::Gone { path: "a".into(), below: false },
        ]
    }

    #[test]
    fn a_record_says_what_was_written_or_nothing() {
        for label in labels() {
            let mut text = label.encode().unwrap();
            let len = text.len();
            assert_eq!(Label::decode(&text), Some((label.clone(), len)));
            text.extend_from_slice(b"bytes behind it");
            assert_eq!(Label::decode(&text), Some((label.clone(), len)));
            for at in 0..len {
                assert_eq!(Label::decode(&text[..at]), None, "cut off at {at}");
                let mut other = text.clone();
                other[at] ^= 4;
                assert_eq!(Label::decode(&other), None, "changed at {at}");
            }
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_not_written() {
        let path = "/".repeat(NOTE_BYTES_MAX).into();
        assert_eq!(Label::Gone { path, below: false }.encode(), None);
    }
}
