//! What extra fields of the directory tell of a member: when it was changed, and whose it is.
//!
//! The library reads sizes and names from them; this reads the rest. A field that makes no sense is as good
//! as none: nothing here is needed to read a member.

use wharf::Time;

const EXTENDED_TIMES: u16 = 0x5455;
const UNIX_OWNER: u16 = 0x7875;
const NTFS: u16 = 0x000a;
const UNIX_TIMES: u16 = 0x5855;

/// 100 ns steps from 1601 to 1970.
const NTFS_EPOCH: i64 = 116_444_736_000_000_000;
const NTFS_STEPS: i64 = 10_000_000;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extra {
    pub(super) modified: Option<Time>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

/// Reads the extra fields of one entry of the directory.
pub(super) fn read(mut bytes: &[u8]) -> Extra {
    let mut extra = Extra::default();
    let mut modified_ntfs = None;
    while let Some((id, rest)) = number(bytes) {
        let Some((len, rest)) = number(rest) else { break };
        let Some((field, rest)) = rest.split_at_checked(len.into()) else { break };
        bytes = rest;
        match id {
            EXTENDED_TIMES if field.first().is_some_and(|present| present & 1 != 0) => {
                extra.modified = seconds(field.get(1..)).or(extra.modified);
            }
            UNIX_TIMES => extra.modified = extra.modified.or_else(|| seconds(field.get(4..))),
            UNIX_OWNER => (extra.uid, extra.gid) = owner(field),
            NTFS => modified_ntfs = ntfs(field),
            _ => {}
        }
    }
    // The more exact one.
    extra.modified = modified_ntfs.or(extra.modified);
    extra
}

fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u16::from_le_bytes(*number), rest))
}

fn seconds(field: Option<&[u8]>) -> Option<Time> {
    let seconds = i32::from_le_bytes(*field?.first_chunk()?);
    Some(Time { seconds: seconds.into(), nanoseconds: 0 })
}

/// Version 1: the size of a number, the number, and again for the group.
fn owner(field: &[u8]) -> (Option<u32>, Option<u32>) {
    let Some(([1, size], rest)) = field.split_first_chunk() else { return (None, None) };
    let Some((uid, rest)) = rest.split_at_checked((*size).into()) else { return (None, None) };
    let gid = rest.split_first().and_then(|(size, rest)| rest.get(..usize::from(*size)));
    (id(uid), gid.and_then(id))
}

/// An id in as few bytes as it needs. One that Linux cannot have is none.
fn id(bytes: &[u8]) -> Option<u32> {
    let value = bytes
        .iter()
        .rev()
        .try_fold(0u64, |value, byte| value.checked_mul(256).map(|value| value + u64::from(*byte)))?;
    u32::try_from(value).ok().filter(|id| *id != u32::MAX)
}

fn ntfs(field: &[u8]) -> Option<Time> {
    let mut attributes = field.get(4..)?;
    loop {
        let (tag, rest) = number(attributes)?;
        let (len, rest) = number(rest)?;
        let (attribute, rest) = rest.split_at_checked(len.into())?;
        if tag == 1 {
            let steps = i64::try_from(u64::from_le_bytes(*attribute.first_chunk()?)).ok()? - NTFS_EPOCH;
            let nanoseconds = steps.rem_euclid(NTFS_STEPS) as u32 * 100;
            return Some(Time { seconds: steps.div_euclid(NTFS_STEPS), nanoseconds });
        }
        attributes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_owners_are_read_and_nonsense_is_none() {
        let mut fields =
            b"UT\x05\x00\x03\x80\x51\x01\x00ux\x0b\x00\x01\x04\xe8\x03\x00\x00\x04\xe9\x03\x00\x00".to_vec();
        let found = read(&fields);
        assert_eq!(found.modified, Some(Time { seconds: 86_400, nanoseconds: 0 }));
        assert_eq!((found.uid, found.gid), (Some(1000), Some(1001)));
        // 100 ns after 1970, beside the other time.
        fields.extend_from_slice(b"\x0a\x00\x20\x00\0\0\0\0\x01\x00\x18\x00");
        fields.extend_from_slice(&(NTFS_EPOCH as u64 + 1).to_le_bytes());
        fields.extend_from_slice(&[0; 16]);
        assert_eq!(read(&fields).modified, Some(Time { seconds: 0, nanoseconds: 100 }));
        for end in 0..fields.len() {
            let _ = read(&fields[..end]);
        }
        assert_eq!(read(b"ux\x03\x00\x01\xff\x00"), Extra::default());
        assert_eq!(
            read(b"UT\x05\x00\x01\xff\xff\xff\xff").modified,
            Some(Time { seconds: -1, nanoseconds: 0 })
        );
    }
}
