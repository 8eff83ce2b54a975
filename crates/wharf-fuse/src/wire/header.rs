//! The header before every request and the one before every answer.

use wharf::{Caller, Errno, RequestId};
use zerocopy::{FromBytes, IntoBytes};

use super::Opcode;
use super::abi::{InHeader, OutHeader};

/// Bytes of the header before every request.
pub const IN_HEADER_BYTES: usize = size_of::<InHeader>();
/// Bytes of the header before every answer.
pub const OUT_HEADER_BYTES: usize = size_of::<OutHeader>();

/// The header of a request.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Bytes of the whole request, this header included.
    pub len: u32,
    /// What is asked for, or a number that means nothing here.
    pub opcode: Result<Opcode, u32>,
    /// The request's name, which the answer repeats.
    pub unique: RequestId,
    /// What it is about; 0 where it is about nothing in particular.
    pub node: u64,
    /// The caller's file system user id.
    pub uid: u32,
    /// The caller's file system group id.
    pub gid: u32,
    /// The caller's thread id.
    pub pid: u32,
    /// Bytes of extensions at the end of the request, in units of eight.
    pub total_extlen: u16,
}

impl Header {
    /// The name of what is asked for, for logs.
    pub fn name(&self) -> &'static str {
        self.opcode.map_or("UNKNOWN", Opcode::name)
    }

    /// Whether it makes an operation, or none and is for [`control`](super::control). What is not known counts
    /// among the former.
    pub fn makes_operation(&self) -> bool {
        use Opcode as O;
        !matches!(
            self.opcode,
            Ok(O::Forget | O::BatchForget | O::Interrupt | O::Destroy | O::NotifyReply | O::Init)
        )
    }

    /// Who asks.
    pub fn caller(&self) -> Caller {
        Caller { uid: self.uid, gid: self.gid, pid: self.pid }
    }

    pub(super) fn extension_bytes(&self) -> usize {
        usize::from(self.total_extlen) * 8
    }
}

/// Reads the header at the start of a request; `None` if there are too few bytes for one.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let (raw, _) = InHeader::read_from_prefix(bytes).ok()?;
    Some(Header {
        len: raw.len,
        opcode: Opcode::try_from(raw.opcode),
        unique: RequestId(raw.unique),
        node: raw.nodeid,
        uid: raw.uid,
        gid: raw.gid,
        pid: raw.pid,
        total_extlen: raw.total_extlen,
    })
}

/// The header for an answer with `body_bytes` after it. With an error there is no body.
pub fn out_header(unique: RequestId, error: Option<Errno>, body_bytes: usize) -> [u8; OUT_HEADER_BYTES] {
    debug_assert!(error.is_none() || body_bytes == 0, "the kernel refuses an error with a body");
    let len = OUT_HEADER_BYTES.saturating_add(body_bytes);
    let raw = OutHeader {
        len: u32::try_from(len).unwrap_or(u32::MAX),
        error: error.map_or(0, |errno| -errno.get()),
        unique: unique.0,
    };
    let mut bytes = [0; OUT_HEADER_BYTES];
    bytes.copy_from_slice(raw.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_needs_all_its_bytes() {
        let raw = InHeader { len: 40, opcode: 17, unique: 8, nodeid: 1, ..InHeader::default() };
        let header = header(raw.as_bytes()).expect("there are enough bytes");
        assert_eq!((header.opcode, header.unique, header.node), (Ok(Opcode::Statfs), RequestId(8), 1));
        assert!(super::header(&raw.as_bytes()[..39]).is_none());
    }

    #[test]
    fn an_error_is_told_as_its_negative_number() {
        let bytes = out_header(RequestId(6), Some(Errno::ENOSYS), 0);
        assert_eq!(bytes[..4], 16u32.to_ne_bytes());
        assert_eq!(bytes[4..8], (-38i32).to_ne_bytes());
        assert_eq!(bytes[8..], 6u64.to_ne_bytes());
        assert_eq!(out_header(RequestId(6), None, 8)[..8], [24, 0, 0, 0, 0, 0, 0, 0]);
    }
}
