//! One open file, read by the shortest way there is.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use super::connection::Connection;
use super::direct::Direct;
use super::fallback::{self, Stamp};
use super::{Piece, View, ticket};

/// Bytes of a view that are read before more memory is taken.
const VIEW_STEP: usize = 4 << 20;

/// A file, to be read at any offset, by any number of threads at once.
#[derive(Debug)]
pub struct Reader {
    /// What is read where there is no direct path, or none any more.
    file: Option<OwnedFd>,
    direct: Option<Direct>,
    seen: Mutex<Option<Stamp>>,
}

impl Reader {
    /// A reader of an open file. It keeps the file open by a descriptor of its own.
    ///
    /// # Errors
    /// When the file cannot be duplicated or asked for its size. That there is no direct path is not an error:
    /// the file itself is read then.
    pub fn attach(file: impl AsFd) -> io::Result<Reader> {
        let kept = fallback::duplicate(&file)?;
        let direct = direct(&file).ok();
        Reader::new(Some(kept), direct)
    }

    /// A reader that uses the direct path and nothing else: it keeps no descriptor of the file.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) where there is no direct path, or what the host says. Later, when the
    /// host has gone, every read fails with [`NotConnected`](io::ErrorKind::NotConnected).
    pub fn attach_only(file: impl AsFd) -> io::Result<Reader> {
        Reader::new(None, Some(direct(&file)?))
    }

    pub(super) fn of(direct: Direct) -> io::Result<Reader> {
        Reader::new(None, Some(direct))
    }

    fn new(file: Option<OwnedFd>, direct: Option<Direct>) -> io::Result<Reader> {
        let reader = Reader { file, direct, seen: Mutex::new(None) };
        let seen = reader.stamp()?;
        *reader.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(reader)
    }

    /// Whether reads go past the kernel at present.
    pub fn is_direct(&self) -> bool {
        self.direct.as_ref().is_some_and(|direct| !direct.is_lost())
    }

    /// Does something the direct way, or if there is none (any more) by the file itself.
    fn either<R>(
        &self,
        by_direct: impl FnOnce(&Direct) -> io::Result<R>,
        by_file: impl FnOnce(&OwnedFd) -> io::Result<R>,
    ) -> io::Result<R> {
        let direct = self.direct.as_ref().filter(|direct| self.file.is_none() || !direct.is_lost());
        match (direct.map(by_direct), &self.file) {
            (Some(Err(error)), Some(file)) if error.kind() == io::ErrorKind::NotConnected => by_file(file),
            (Some(result), _) => result,
            (None, Some(file)) => by_file(file),
            (None, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads from `offset` until `into` is full or the file ends. Returns the number of bytes.
    ///
    /// Of what was changed before the call began, it sees all; what is changed meanwhile it may see or not.
    ///
    /// # Errors
    /// What the file system says. Nothing when some bytes could be read first.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        // Two closures would both want the buffer.
        if let Some(direct) = &self.direct {
            match direct.read_at(offset, into) {
                Err(error) if error.kind() == io::ErrorKind::NotConnected && self.file.is_some() => {}
                result => return result,
            }
        }
        match &self.file {
            Some(file) => fallback::read_at(file.as_fd(), offset, into),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Does several reads, in any order and where possible at once; each has its own result.
    pub fn read_many(&self, pieces: &mut [Piece<'_>]) {
        if let Some(direct) = self.direct.as_ref().filter(|direct| !direct.is_lost()) {
            direct.read_many(pieces);
        } else {
            pieces.iter_mut().for_each(|piece| piece.result = Err(io::ErrorKind::NotConnected.into()));
        }
        for piece in pieces {
            if piece.result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotConnected) {
                piece.result = self.read_at(piece.offset, piece.into);
            }
        }
    }

    /// Writes all of `data` at `offset`, if the file was opened for that. Returns the number of bytes, fewer only
    /// after an error part of the way. What was written is read from then on, by everybody.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<usize> {
        self.either(
            |direct| direct.write_at(offset, data),
            |file| Ok(rustix::io::pwrite(file, data, offset)?),
        )
    }

    /// Brings what was written to its store.
    ///
    /// # Errors
    /// What the file system says.
    pub fn sync(&self, data_only: bool) -> io::Result<()> {
        self.either(
            |direct| direct.sync(data_only),
            |file| {
                let synced = if data_only { rustix::fs::fdatasync(file) } else { rustix::fs::fsync(file) };
                Ok(synced?)
            },
        )
    }

    /// Lends a part of the file; shorter where the file ends.
    ///
    /// # Errors
    /// As for [`read_at`](Self::read_at); [`OutOfMemory`](io::ErrorKind::OutOfMemory) for more than fits into memory.
    pub fn view(&self, range: Range<u64>) -> io::Result<View<'_>> {
        if let Some(pinned) = self.direct.as_ref().and_then(|direct| direct.pin(range.clone())) {
            return Ok(View::held(pinned));
        }
        let len = self.len()?.min(range.end).saturating_sub(range.start);
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        // Memory is taken for what comes, not for what is said to be there.
        while bytes.len() < len {
            let done = bytes.len();
            let step = (len - done).min(done.max(VIEW_STEP));
            bytes.try_reserve_exact(step).map_err(|_| io::ErrorKind::OutOfMemory)?;
            bytes.resize(done + step, 0);
            let read = self.read_at(range.start + done as u64, &mut bytes[done..])?;
            bytes.truncate(done + read);
            if read < step {
                break;
            }
        }
        Ok(View::owned(bytes))
    }

    /// Says that these bytes will be read soon. Returns at once.
    pub fn prefetch(&self, range: Range<u64>) {
        let len = range.end.saturating_sub(range.start);
        // A hint.
        let _ = self.either(
            |direct| {
                direct.prefetch(range.start, len);
                Ok(())
            },
            |file| {
                fallback::prefetch(file.as_fd(), range.clone());
                Ok(())
            },
        );
    }

    /// Bytes in the file now.
    ///
    /// # Errors
    /// What the file system says.
    #[expect(clippy::len_without_is_empty, reason = "it asks, and may fail")]
    pub fn len(&self) -> io::Result<u64> {
        self.either(Direct::len, |file| fallback::len(file.as_fd()))
    }

    /// Whether the file may have changed since this was asked last, or since the reader was made. It never says
    /// no when it has.
    ///
    /// # Errors
    /// What the file system says.
    pub fn changed(&self) -> io::Result<bool> {
        let now = self.stamp()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(seen.replace(now) != Some(now))
    }

    fn stamp(&self) -> io::Result<Stamp> {
        self.either(|direct| Ok(direct.attributes()?.into()), |file| fallback::stamp(file.as_fd()))
    }
}

/// The direct path to an open file.
pub(super) fn direct(file: &impl AsFd) -> io::Result<Direct> {
    let ticket = ticket::of(file).ok_or(io::ErrorKind::NotFound)?;
    let connection: Arc<Connection> = Connection::to(&ticket.socket)?;
    let opened = connection.redeem(ticket.secret)?;
    Ok(Direct::new(connection, opened.handle, opened.writes, opened.section))
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
        reader.write_at(0, b"x").unwrap();
        file.write_all(b"yz").unwrap();
        assert!(reader.changed().unwrap());
        assert!(!reader.changed().unwrap());
    }
}
