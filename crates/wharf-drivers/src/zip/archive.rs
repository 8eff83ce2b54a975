//! The archive as a file: a window for whoever parses its directory, and streams of its parts.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use wharf::{Disc, Extents, Run};

/// Read at once of the directory.
const WINDOW_BYTES: usize = 256 << 10;
/// Read at once of a packed member.
const STREAM_BYTES: u64 = 128 << 10;
/// A local header without name and extra field.
const LOCAL_BYTES: u64 = 30;
const LOCAL_SIGNATURE: &[u8] = b"PK\x03\x04";

/// An archive, open for reading.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    /// The same, for the queue's I/O.
    disc: Arc<Disc>,
    len: u64,
}

impl Archive {
    pub(super) fn open(path: &Path) -> io::Result<Archive> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let disc = Arc::new(Disc::new(Arc::new(OwnedFd::from(file.try_clone()?)), 1));
        Ok(Archive { file, disc, len: about.len() })
    }

    /// A part of the archive that is the contents of a file.
    pub(super) fn part(&self, start: u64, len: u64) -> Part {
        Part { disc: self.disc.clone(), start, len }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// A window on the whole, that moves where it is read.
    pub(super) fn window(&self) -> Window<'_> {
        Window { archive: self, at: 0, begin: 0, held: Vec::new() }
    }

    /// Where the bytes of a member begin, whose local header is at `header`. They lie within the archive.
    ///
    /// # Errors
    /// When there is no such header, or not as many bytes.
    pub(super) fn data_start(&self, header: u64, packed: u64) -> io::Result<u64> {
        let mut local = [0; LOCAL_BYTES as usize];
        self.file.read_exact_at(&mut local, header)?;
        if !local.starts_with(LOCAL_SIGNATURE) {
            return Err(damaged("there is no local header where the directory says"));
        }
        let len_at = |at: usize| u64::from(u16::from_le_bytes([local[at], local[at + 1]]));
        let start = header.checked_add(LOCAL_BYTES + len_at(26) + len_at(28));
        start
            .filter(|start| start.checked_add(packed).is_some_and(|end| end <= self.len))
            .ok_or_else(|| damaged("its bytes lie beyond the end of the archive"))
    }

    /// The bytes from `start` on, `len` of them.
    pub(super) fn stream(self: &Arc<Self>, start: u64, len: u64) -> Stream {
        Stream { archive: self.clone(), at: start, left: len, buffer: Vec::new(), next: 0 }
    }
}

/// Bytes of the archive that are a file's.
#[derive(Debug)]
pub(super) struct Part {
    disc: Arc<Disc>,
    start: u64,
    len: u64,
}

impl Extents for Part {
    fn disc(&self) -> &Disc {
        &self.disc
    }

    fn len_bytes(&self) -> u64 {
        self.len
    }

    fn runs(&self, _: Range<u64>, into: &mut Vec<Run>) -> wharf::Result<()> {
        into.push(Run { offset: 0, disc_offset: Some(self.start), len: self.len });
        Ok(())
    }
}

/// What is wrong with an archive, as an error of input.
pub(super) fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A reader that may go anywhere, and reads the file again only where it has not just been.
#[derive(Debug)]
pub(super) struct Window<'a> {
    archive: &'a Archive,
    at: u64,
    /// Where what is held begins in the file.
    begin: u64,
    held: Vec<u8>,
}

impl Window<'_> {
    /// What is held from the position on; nothing only at the end of the file.
    fn ahead(&mut self) -> io::Result<&[u8]> {
        let inside =
            |at: u64, begin: u64, len: usize| at.checked_sub(begin).filter(|skip| *skip < len as u64);
        if inside(self.at, self.begin, self.held.len()).is_none() {
            self.held.resize(WINDOW_BYTES, 0);
            let read = self.archive.file.read_at(&mut self.held, self.at);
            self.held.truncate(*read.as_ref().unwrap_or(&0));
            self.begin = self.at;
            read?;
        }
        let skip = inside(self.at, self.begin, self.held.len()).unwrap_or(self.held.len() as u64);
        Ok(&self.held[skip as usize..])
    }
}

impl Read for Window<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let ahead = self.ahead()?;
        let count = ahead.len().min(into.len());
        into[..count].copy_from_slice(&ahead[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.archive.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// The bytes of a part, from its beginning to its end.
#[derive(Debug)]
pub(super) struct Stream {
    archive: Arc<Archive>,
    at: u64,
    left: u64,
    buffer: Vec<u8>,
    next: usize,
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.next == self.buffer.len() && self.left > 0 {
            self.next = 0;
            self.buffer.resize(self.left.min(STREAM_BYTES) as usize, 0);
            let read = self.archive.file.read_at(&mut self.buffer, self.at);
            let count = *read.as_ref().unwrap_or(&0);
            self.buffer.truncate(count);
            read?;
            if count == 0 {
                return Err(damaged("the archive has become shorter"));
            }
            self.at += count as u64;
            self.left -= count as u64;
        }
        Ok(&self.buffer[self.next..])
    }

    fn consume(&mut self, count: usize) {
        self.next = (self.next + count).min(self.buffer.len());
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let ahead = self.fill_buf()?;
        let count = ahead.len().min(into.len());
        into[..count].copy_from_slice(&ahead[..count]);
        self.consume(count);
        Ok(count)
    }
}
