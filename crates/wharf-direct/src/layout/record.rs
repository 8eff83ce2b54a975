//! What a node is like, and the lines of a listing, as they come in the arena.

use super::Malformed;

/// Bytes of a record.
pub const RECORD_BYTES: usize = 17 * 8;

/// What a node is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The node, in answers that name one; else 0.
    pub node: u64,
    /// Inode number.
    pub inode: u64,
    /// Kind and permissions, as `st_mode` has them.
    pub mode: u32,
    /// Number of names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number.
    pub device: u32,
    /// Bytes that are best read at once.
    pub block_size: u32,
    /// Bytes.
    pub size: u64,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Last read, change of contents, change of anything: seconds and nanoseconds.
    pub times: [(i64, u32); 3],
    /// When it was made, where that is known.
    pub born: Option<(i64, u32)>,
}

impl Record {
    /// As it stands in the arena.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let born = self.born.unwrap_or_default();
        let mut words = [0; RECORD_BYTES / 8];
        words[..7].copy_from_slice(&[
            self.node,
            self.inode,
            pair(self.mode, self.links),
            pair(self.uid, self.gid),
            pair(self.device, self.block_size),
            self.size,
            self.blocks,
        ]);
        for (place, (seconds, part)) in
            words[7..15].chunks_exact_mut(2).zip(self.times.into_iter().chain([born]))
        {
            place.copy_from_slice(&[seconds.cast_unsigned(), part.into()]);
        }
        words[15] = self.born.is_some().into();
        let mut bytes = [0; RECORD_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// What stands there. Every pattern of bytes is a record.
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Record {
        let word = |index: usize| {
            let place = bytes[index * 8..index * 8 + 8].try_into();
            place.map_or(0, u64::from_ne_bytes)
        };
        let (low, high) = (|index| word(index) as u32, |index| (word(index) >> 32) as u32);
        let time = |index| (word(index).cast_signed(), word(index + 1) as u32);
        Record {
            node: word(0),
            inode: word(1),
            mode: low(2),
            links: high(2),
            uid: low(3),
            gid: high(3),
            device: low(4),
            block_size: high(4),
            size: word(5),
            blocks: word(6),
            times: [time(7), time(9), time(11)],
            born: (word(15) != 0).then(|| time(13)),
        }
    }
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// Its inode number.
    pub inode: u64,
    /// What it is, as `d_type` has it.
    pub kind: u8,
    /// Where a listing goes on after it.
    pub cursor: u64,
    /// What it is like, where that was asked and is known.
    pub about: Option<Box<Record>>,
}

/// Inode number, cursor; then kind, whether a record follows, and the length of the name in one word. The record
/// follows, then the name, and zeros to a multiple of 8.
const LINE_BYTES: usize = 24;
const HAS_RECORD: u64 = 1 << 8;

/// Bytes that a line with a name of `name_bytes` takes; with a record if it is `whole`.
pub fn line_bytes(name_bytes: usize, whole: bool) -> usize {
    LINE_BYTES + if whole { RECORD_BYTES } else { 0 } + name_bytes.next_multiple_of(8)
}

impl Listed {
    /// The fixed part of a line.
    pub fn head(inode: u64, cursor: u64, kind: u8, name_bytes: usize, whole: bool) -> [u8; LINE_BYTES] {
        let mut bytes = [0; LINE_BYTES];
        bytes[..8].copy_from_slice(&inode.to_ne_bytes());
        bytes[8..16].copy_from_slice(&cursor.to_ne_bytes());
        let flags = if whole { HAS_RECORD } else { 0 };
        bytes[16..].copy_from_slice(&(u64::from(kind) | flags | (name_bytes as u64) << 32).to_ne_bytes());
        bytes
    }
}

/// A line of a listing, where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRead<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Its inode number.
    pub inode: u64,
    /// What it is, as `d_type` has it.
    pub kind: u8,
    /// Where a listing goes on after it.
    pub cursor: u64,
    record: Option<&'a [u8; RECORD_BYTES]>,
    /// All of it.
    pub bytes: &'a [u8],
}

impl LineRead<'_> {
    /// The entry; what it is like only if `whole` is wanted.
    pub fn listed(&self, whole: bool) -> Listed {
        let LineRead { name, inode, kind, cursor, record, .. } = *self;
        let about = record.filter(|_| whole).map(Record::decode);
        // Nothing that there is has no kind.
        let about = about.filter(|record| record.mode != 0).map(Box::new);
        Listed { name: name.to_vec(), inode, kind, cursor, about }
    }
}

/// Reads the first line of a listing. Returns what follows, too.
///
/// # Errors
/// If the line is not whole, or says what is not understood.
pub fn line(bytes: &[u8]) -> Result<(LineRead<'_>, &[u8]), Malformed> {
    let (head, rest) = bytes.split_first_chunk::<LINE_BYTES>().ok_or(Malformed)?;
    let word = |at: usize| head[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
    if word(16) & 0xffff_fe00 != 0 {
        return Err(Malformed);
    }
    let (record, rest) = match word(16) & HAS_RECORD {
        0 => (None, rest),
        _ => rest
            .split_first_chunk::<RECORD_BYTES>()
            .map(|(record, rest)| (Some(record), rest))
            .ok_or(Malformed)?,
    };
    let name_bytes = (word(16) >> 32) as usize;
    let (name, after) = rest.split_at_checked(name_bytes.next_multiple_of(8)).ok_or(Malformed)?;
    let (name, bytes) = (&name[..name_bytes], &bytes[..bytes.len() - after.len()]);
    let (inode, cursor, kind) = (word(0), word(8), word(16) as u8);
    Ok((LineRead { name, inode, kind, cursor, record, bytes }, after))
}

/// Reads a listing.
///
/// # Errors
/// As [`line()`].
pub fn lines(mut bytes: &[u8]) -> Result<Vec<Listed>, Malformed> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (line, after) = line(bytes)?;
        all.push(line.listed(true));
        bytes = after;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives() {
        let record = Record {
            node: 1,
            inode: 2,
            mode: 3,
            links: 4,
            uid: 5,
            gid: 6,
            device: 7,
            block_size: 8,
            size: 9,
            blocks: 10,
            times: [(-1, 11), (12, 13), (14, 15)],
            born: Some((16, 17)),
        };
        assert_eq!(Record::decode(&record.encode()), record);
        assert_eq!(Record::decode(&Record::default().encode()), Record::default());
    }

    #[test]
    fn a_listing_survives_and_half_a_line_is_refused() {
        let mut bytes = Vec::new();
        let known = Record { mode: 0o100_644, size: 7, ..Record::default() };
        let names =
            [(&b"a"[..], None), (b"eight888", Some(Record::default())), (b"twelve 12345", Some(known))];
        for (name, record) in names {
            let at = bytes.len();
            bytes.extend(Listed::head(1, 2, 8, name.len(), record.is_some()));
            bytes.extend(record.iter().flat_map(Record::encode));
            bytes.extend(name);
            bytes.resize(at + line_bytes(name.len(), record.is_some()), 0);
        }
        let all = lines(&bytes).unwrap();
        assert_eq!(all.len(), 3);
        assert!(all[0].about.is_none() && all[1].about.is_none(), "not asked, not known");
        let about = Some(Box::new(known));
        assert_eq!(all[2], Listed { name: b"twelve 12345".to_vec(), inode: 1, kind: 8, cursor: 2, about });
        assert_eq!(lines(&bytes[..bytes.len() - 8]), Err(Malformed));
        assert_eq!(lines(&[255; 24]), Err(Malformed));
        assert_eq!(lines(&Listed::head(1, 2, 8, 0, true)), Err(Malformed), "the record is missing");
        let mut other = Listed::head(1, 2, 8, 0, false);
        other[17] = 2;
        assert_eq!(lines(&other), Err(Malformed), "a sign that means nothing");
    }
}
