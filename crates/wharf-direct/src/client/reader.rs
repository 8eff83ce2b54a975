//! One open file, read by the shortest way there is.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use super::fallback::{self, Stamp};
use super::{Piece, View};

/// A file, to be read at any offset, by any number of threads at once.
#[derive(Debug)]
pub struct Reader {
    file: OwnedFd,
    seen: Mutex<Stamp>,
}

impl Reader {
    /// A reader of an open file. It keeps the file open by a descriptor of its own.
    ///
    /// # Errors
    /// When the file cannot be duplicated or asked for its size. That there is no direct path is not an error:
    /// the file itself is read then.
    pub fn attach(file: impl AsFd) -> io::Result<Reader> {
        let file = fallback::duplicate(file)?;
        let seen = Mutex::new(fallback::stamp(file.as_fd())?);
        Ok(Reader { file, seen })
    }

    /// A reader that uses the direct path and nothing else: it keeps no descriptor of the file.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) where there is no direct path. Later, when the host has gone, every
    /// read fails with [`NotConnected`](io::ErrorKind::NotConnected).
    pub fn attach_only(file: impl AsFd) -> io::Result<Reader> {
        let _ = file;
        Err(io::ErrorKind::NotFound.into())
    }

    /// Whether reads go past the kernel at present.
    pub fn is_direct(&self) -> bool {
        false
    }

    /// Reads from `offset` until `into` is full or the file ends. Returns the number of bytes.
    ///
    /// Of what was changed before the call began, it sees all; what is changed meanwhile it may see or not.
    ///
    /// # Errors
    /// What the file system says. Nothing when some bytes could be read first.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        fallback::read_at(self.file.as_fd(), offset, into)
    }

    /// Does several reads, in any order and where possible at once; each has its own result.
    pub fn read_many(&self, pieces: &mut [Piece<'_>]) {
        for piece in pieces {
            piece.result = self.read_at(piece.offset, piece.into);
        }
    }

    /// Lends a part of the file; shorter where the file ends.
    ///
    /// # Errors
    /// As for [`read_at`](Self::read_at); [`OutOfMemory`](io::ErrorKind::OutOfMemory) for more than fits into memory.
    pub fn view(&self, range: Range<u64>) -> io::Result<View<'_>> {
        let len = self.len()?.min(range.end).saturating_sub(range.start);
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.resize(len, 0);
        let read = self.read_at(range.start, &mut bytes)?;
        bytes.truncate(read);
        Ok(View::owned(bytes))
    }

    /// Says that these bytes will be read soon. Returns at once.
    pub fn prefetch(&self, range: Range<u64>) {
        fallback::prefetch(self.file.as_fd(), range);
    }

    /// Bytes in the file now.
    ///
    /// # Errors
    /// What the file system says.
    #[expect(clippy::len_without_is_empty, reason = "it asks, and may fail")]
    pub fn len(&self) -> io::Result<u64> {
        fallback::len(self.file.as_fd())
    }

    /// Whether the file may have changed since this was asked last, or since the reader was made. It never says
    /// no when it has.
    ///
    /// # Errors
    /// What the file system says.
    pub fn changed(&self) -> io::Result<bool> {
        let now = fallback::stamp(self.file.as_fd())?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut *seen, now) != now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_without_a_direct_path_is_read_by_the_kernel() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let reader = Reader::attach(&file).unwrap();
        assert!(!reader.is_direct());
        assert_eq!(reader.len().unwrap(), 10);
        let mut bytes = [0; 8];
        assert_eq!(reader.read_at(4, &mut bytes).unwrap(), 6);
        assert_eq!(&bytes[..6], b"456789");
        assert_eq!(reader.read_at(10, &mut bytes).unwrap(), 0);
        let view = reader.view(2..4).unwrap();
        assert_eq!((view.len(), view.copy_to(1, &mut bytes)), (2, 1));
        assert_eq!(bytes[0], b'3');
        let (mut first, mut second) = ([0; 2], [0; 2]);
        let mut pieces = [Piece::new(0, &mut first), Piece::new(9, &mut second)];
        reader.read_many(&mut pieces);
        assert_eq!(pieces.map(|piece| piece.result.unwrap()), [2, 1]);
        assert!(Reader::attach_only(&file).is_err());
    }

    #[test]
    fn a_change_is_told_once() {
        let mut file = tempfile::tempfile().unwrap();
        let reader = Reader::attach(&file).unwrap();
        assert!(!reader.changed().unwrap());
        file.write_all(b"x").unwrap();
        assert!(reader.changed().unwrap());
        assert!(!reader.changed().unwrap());
    }
}
