//! Unpacks a member: its bytes in order, each block as it comes, checked against what the directory says.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use wharf::Error;

use super::archive::{Archive, Stream, damaged};
use super::index::Member;

/// Given to the taker at once.
const BLOCK_BYTES: usize = 256 << 10;
/// What a decoder may take for itself, whatever a header asks for: the dictionaries of all usual settings fit.
const DECODER_BYTES_MAX: u32 = 256 << 20;

/// Methods by their numbers.
pub(super) const STORED: u16 = 0;
const DEFLATE: u16 = 8;
const DEFLATE64: u16 = 9;
const BZIP2: u16 = 12;
const LZMA: u16 = 14;
const ZSTD: u16 = 93;
const XZ: u16 = 95;

/// Why a member did not come out whole.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is not what the archive says. Trying again is of no use.
    Damaged(io::Error),
    /// It could not be read or taken this time.
    Failed(Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        // What the system said has a number; what a decoder says has none.
        if error.raw_os_error().is_some() { Trouble::Failed(error.into()) } else { Trouble::Damaged(error) }
    }
}

/// Whether members packed by this method can be unpacked.
pub(super) fn is_known(method: u16) -> bool {
    matches!(method, STORED | DEFLATE | DEFLATE64 | BZIP2 | LZMA | ZSTD | XZ)
}

/// What a method is called.
pub(super) fn method_name(method: u16) -> String {
    let name = match method {
        STORED => "stored",
        DEFLATE => "deflate",
        DEFLATE64 => "deflate64",
        BZIP2 => "bzip2",
        LZMA => "lzma",
        ZSTD => "zstd",
        XZ => "xz",
        other => return format!("method {other}"),
    };
    name.into()
}

/// Gives the bytes of a member to `take`, block by block. Only when this returns without an error has the sum of
/// all of them been found right.
///
/// # Errors
/// [`Trouble`]; that of `take` ends it at once.
pub(super) fn unpack(
    archive: &Arc<Archive>,
    member: &Member,
    mut take: impl FnMut(&[u8]) -> wharf::Result<()>,
) -> Result<(), Trouble> {
    let mut pass = Pass::new(archive, member)?;
    let mut block = vec![0; BLOCK_BYTES.min(usize::try_from(member.size).unwrap_or(BLOCK_BYTES))];
    while let count @ 1.. = pass.next(&mut block)? {
        take(&block[..count]).map_err(Trouble::Failed)?;
    }
    pass.finish()
}

/// One member being unpacked, from its first byte on.
pub(super) struct Pass {
    decoder: Box<dyn Read + Send>,
    sum: crc32fast::Hasher,
    left: u64,
    crc: u32,
}

impl Pass {
    /// Nothing is unpacked yet.
    ///
    /// # Errors
    /// [`Trouble`], as for all of it.
    pub(super) fn new(archive: &Arc<Archive>, member: &Member) -> Result<Pass, Trouble> {
        let start = archive.data_start(member.header, member.packed)?;
        let decoder = decoder(member, archive.stream(start, member.packed))?;
        Ok(Pass { decoder, sum: crc32fast::Hasher::new(), left: member.size, crc: member.crc })
    }

    /// Unpacks what comes next until `into` is full or the member's length is reached. Returns how many bytes;
    /// none, or less than there is room for, only at the end.
    pub(super) fn next(&mut self, into: &mut [u8]) -> Result<usize, Trouble> {
        let wanted = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = fill(&mut self.decoder, &mut into[..wanted])?;
        if count < wanted {
            return Err(damaged("it ends before the length that the directory says").into());
        }
        self.sum.update(&into[..count]);
        self.left -= count as u64;
        Ok(count)
    }

    /// After the last byte: whether they were the right ones, and no more of them.
    pub(super) fn finish(mut self) -> Result<(), Trouble> {
        // Decoders check their own sums at the end.
        if fill(&mut self.decoder, &mut [0])? > 0 {
            return Err(damaged("it is longer than the directory says").into());
        }
        if self.sum.finalize() != self.crc {
            return Err(damaged("its checksum is wrong").into());
        }
        Ok(())
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("left", &self.left).finish_non_exhaustive()
    }
}

fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match from.read(&mut into[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn decoder(member: &Member, packed: Stream) -> io::Result<Box<dyn Read + Send>> {
    Ok(match member.method {
        STORED => Box::new(packed),
        DEFLATE => Box::new(flate2::bufread::DeflateDecoder::new(packed)),
        DEFLATE64 => Box::new(deflate64::Deflate64Decoder::with_buffer(packed)),
        BZIP2 => Box::new(bzip2::bufread::BzDecoder::new(packed)),
        LZMA => Box::new(lzma(packed, member.size)?),
        ZSTD => {
            let window = u64::from(DECODER_BYTES_MAX);
            let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(packed, window);
            Box::new(decoder.map_err(|error| damaged(&error.to_string()))?)
        }
        XZ => Box::new(lzma_rust2::XzReader::new_mem_limit(packed, true, DECODER_BYTES_MAX / 1024)),
        _ => return Err(damaged("it is packed by an unknown method")),
    })
}

/// Before the stream: the version of whoever packed it, and the properties with their length.
fn lzma(mut packed: Stream, size: u64) -> io::Result<lzma_rust2::LzmaReader<Stream>> {
    let mut header = [0; 9];
    packed.read_exact(&mut header)?;
    let [_, _, 5, 0, properties, dictionary @ ..] = header else {
        return Err(damaged("its properties have an unknown form"));
    };
    let dictionary = u32::from_le_bytes(dictionary);
    let wanted = lzma_rust2::lzma_get_memory_usage_by_props(dictionary, properties)?;
    if wanted > DECODER_BYTES_MAX / 1024 {
        return Err(damaged("it asks for a dictionary that is too large"));
    }
    lzma_rust2::LzmaReader::new_with_props(packed, size, properties, dictionary, None)
}
