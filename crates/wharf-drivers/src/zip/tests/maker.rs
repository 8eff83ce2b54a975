//! Archives made by hand, so that anything in them can be wrong.

use std::io::Write as _;

/// One member, and what its headers say of it. Each part can be changed before it is written.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) crc: u32,
    pub(crate) packed: Vec<u8>,
    pub(crate) packed_len: u64,
    pub(crate) size: u64,
    /// `0xSSVV`: the system and the version of whoever made it.
    pub(crate) made_by: u16,
    pub(crate) external: u32,
    pub(crate) extra: Vec<u8>,
    /// Where the local header is said to be, if not where it is.
    pub(crate) header: Option<u32>,
    /// Sizes and place are told in 64 bits.
    pub(crate) large: bool,
}

const UNIX: u16 = 0x031e;

impl Part {
    pub(crate) fn stored(name: &str, bytes: &[u8]) -> Part {
        Part::packed(name, 0, bytes, bytes.to_vec())
    }

    pub(crate) fn deflated(name: &str, bytes: &[u8]) -> Part {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("to memory");
        Part::packed(name, 8, bytes, encoder.finish().expect("to memory"))
    }

    pub(crate) fn packed(name: &str, method: u16, bytes: &[u8], packed: Vec<u8>) -> Part {
        Part {
            name: name.into(),
            method,
            flags: 0,
            crc: crc32fast::hash(bytes),
            packed_len: packed.len() as u64,
            packed,
            size: bytes.len() as u64,
            made_by: UNIX,
            external: 0o100_644 << 16,
            extra: Vec::new(),
            header: None,
            large: false,
        }
    }

    pub(crate) fn link(name: &str, target: &str) -> Part {
        Part { external: 0o120_777 << 16, ..Part::stored(name, target.as_bytes()) }
    }

    pub(crate) fn mode(self, mode: u32) -> Part {
        Part { external: mode << 16, ..self }
    }

    fn numbers(&self) -> Vec<u8> {
        let told = |number: u64| if self.large { u32::MAX } else { number as u32 };
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.flags.to_le_bytes());
        bytes.extend_from_slice(&self.method.to_le_bytes());
        // Noon of the first of January 2000.
        bytes.extend_from_slice(&[0x00, 0x60, 0x21, 0x28]);
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        bytes.extend_from_slice(&told(self.packed_len).to_le_bytes());
        bytes.extend_from_slice(&told(self.size).to_le_bytes());
        bytes
    }

    fn extra(&self, header: u64, central: bool) -> Vec<u8> {
        let mut extra = self.extra.clone();
        if self.large {
            extra.extend_from_slice(&[1, 0, if central { 24 } else { 16 }, 0]);
            extra.extend_from_slice(&self.size.to_le_bytes());
            extra.extend_from_slice(&self.packed_len.to_le_bytes());
            if central {
                extra.extend_from_slice(&header.to_le_bytes());
            }
        }
        extra
    }
}

fn lens(into: &mut Vec<u8>, name: &[u8], extra: &[u8]) {
    into.extend_from_slice(&(name.len() as u16).to_le_bytes());
    into.extend_from_slice(&(extra.len() as u16).to_le_bytes());
}

/// An archive of these members, with a comment at its end.
pub(crate) fn archive_with(parts: &[Part], comment: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut central = Vec::new();
    for part in parts {
        let header = bytes.len() as u64;
        let extra = part.extra(header, false);
        bytes.extend_from_slice(b"PK\x03\x04\x14\x00");
        bytes.extend_from_slice(&part.numbers());
        lens(&mut bytes, &part.name, &extra);
        bytes.extend_from_slice(&part.name);
        bytes.extend_from_slice(&extra);
        bytes.extend_from_slice(&part.packed);

        let extra = part.extra(header, true);
        central.extend_from_slice(b"PK\x01\x02");
        central.extend_from_slice(&part.made_by.to_le_bytes());
        central.extend_from_slice(b"\x14\x00");
        central.extend_from_slice(&part.numbers());
        lens(&mut central, &part.name, &extra);
        central.extend_from_slice(&[0; 6]);
        central.extend_from_slice(&part.external.to_le_bytes());
        let told = if part.large { u32::MAX } else { part.header.unwrap_or(header as u32) };
        central.extend_from_slice(&told.to_le_bytes());
        central.extend_from_slice(&part.name);
        central.extend_from_slice(&extra);
    }
    let (start, count) = (bytes.len() as u64, parts.len() as u64);
    bytes.extend_from_slice(&central);
    if parts.iter().any(|part| part.large) || count > 0xfffe {
        let end = bytes.len() as u64;
        bytes.extend_from_slice(b"PK\x06\x06");
        bytes.extend_from_slice(&44u64.to_le_bytes());
        bytes.extend_from_slice(&[0x2d, 3, 0x2d, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [count, count, central.len() as u64, start] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0");
        bytes.extend_from_slice(&end.to_le_bytes());
        bytes.extend_from_slice(&1u32.to_le_bytes());
        bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        bytes.extend_from_slice(&[0xff; 12]);
    } else {
        bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        for count in [count, count] {
            bytes.extend_from_slice(&(count as u16).to_le_bytes());
        }
        for number in [central.len() as u64, start] {
            bytes.extend_from_slice(&(number as u32).to_le_bytes());
        }
    }
    bytes.extend_from_slice(&(comment.len() as u16).to_le_bytes());
    bytes.extend_from_slice(comment);
    bytes
}

pub(crate) fn archive(parts: &[Part]) -> Vec<u8> {
    archive_with(parts, b"")
}

/// Bytes that pack, but not to nothing.
pub(crate) fn text(len: usize) -> Vec<u8> {
    let mut number = 0x2545_f491_4f6c_dd1du64;
    let mut bytes = Vec::with_capacity(len + 12);
    while bytes.len() < len {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(format!("{:08}", number >> 40).as_bytes());
        bytes.extend_from_slice(b"and ");
    }
    bytes.truncate(len);
    bytes
}
