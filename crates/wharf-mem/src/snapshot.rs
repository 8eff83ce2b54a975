//! Bytes that are handed out whole, once, with a word that says whether they are still right.
//!
//! The memory: word 0 is 1 while they are, and never again when it once was not; the bytes begin at
//! [`HEADER_BYTES`]. They are not written again: when something else is right, that is another snapshot.

use std::io;
use std::os::fd::OwnedFd;

use crate::mapping::Access;
use crate::shared::Shared;
use crate::sync::{Ordering, fence};
use crate::words::Words;

const HEADER_BYTES: u64 = 64;
const CURRENT: u64 = 1;
const OVER: u64 = 2;

/// The host's end. When dropped, the snapshot is over, and its memory is given back however many have it mapped.
#[derive(Debug)]
pub struct Snapshot {
    shared: Shared,
    words: Words,
}

impl Snapshot {
    /// Makes one of these bytes.
    ///
    /// # Errors
    /// When there is no memory or descriptor left for it.
    pub fn create(bytes: &[u8]) -> io::Result<Snapshot> {
        let shared = Shared::create("wharf-snapshot", HEADER_BYTES + bytes.len() as u64)?;
        shared.allocate(0, shared.len_bytes())?;
        shared.copy_in(HEADER_BYTES, bytes);
        let words = Words::of(&shared, 0, 1).ok_or(io::ErrorKind::OutOfMemory)?;
        words.word(0).store(CURRENT, Ordering::Release);
        Ok(Snapshot { shared, words })
    }

    /// A descriptor to be handed out: it can be read, and nothing else.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn hand_out(&self) -> io::Result<OwnedFd> {
        self.shared.read_only()
    }

    /// Bytes of the memory, as [`SnapshotReader::of_host`] wants them.
    pub fn memory_bytes(&self) -> u64 {
        self.shared.len_bytes()
    }

    /// The bytes are not right any more. Whoever looks from now on sees that.
    pub fn end(&self) {
        self.words.word(0).store(OVER, Ordering::SeqCst);
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.end();
        // Who copies bytes that have gone already finds, when it looks at the word afterwards, that it is over.
        fence(Ordering::Release);
        let page = rustix::param::page_size() as u64;
        let behind = self.shared.len_bytes().next_multiple_of(page).saturating_sub(page);
        // Without this a client that keeps its mappings would keep the memory of all snapshots that it ever had.
        if let Err(error) = self.shared.punch(page, behind) {
            debug_assert!(false, "giving memory of our own back: {error}");
        }
    }
}

/// A client's end of a snapshot. The host is a stranger: it can write anything at any time.
#[derive(Debug)]
pub struct SnapshotReader {
    shared: Shared,
    words: Words,
}

impl SnapshotReader {
    /// Maps what a host handed out, who says that the memory has `memory_bytes`.
    ///
    /// # Errors
    /// If it is no sealed memory of this size.
    pub fn of_host(file: OwnedFd, memory_bytes: u64) -> io::Result<SnapshotReader> {
        if memory_bytes < HEADER_BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let shared = Shared::of_stranger(file, memory_bytes, Access::Read)?;
        let words = Words::of(&shared, 0, 1).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(SnapshotReader { shared, words })
    }

    /// Whether the bytes are right, as far as the host says.
    pub fn is_current(&self) -> bool {
        // Who knows of a change has heard of it by something that orders this load behind the host's store.
        let current = self.words.word(0).load(Ordering::Relaxed) == CURRENT;
        fence(Ordering::Acquire);
        current
    }

    /// Bytes of it.
    pub fn len_bytes(&self) -> u64 {
        self.shared.len_bytes() - HEADER_BYTES
    }

    /// Copies bytes from `at` on, and returns how many: fewer than asked at the end. `None` if the snapshot is over, and
    /// what was copied may be anything.
    pub fn copy_out(&self, at: u64, into: &mut [u8]) -> Option<usize> {
        let at = at.min(self.len_bytes());
        let count = self.shared.copy_out(HEADER_BYTES + at, into);
        fence(Ordering::Acquire);
        self.is_current().then_some(count)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn taken(snapshot: &Snapshot) -> SnapshotReader {
        SnapshotReader::of_host(snapshot.hand_out().unwrap(), snapshot.memory_bytes()).unwrap()
    }

    #[test]
    fn a_snapshot_is_read_until_it_is_over() {
        let bytes: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
        let snapshot = Snapshot::create(&bytes).unwrap();
        let reader = taken(&snapshot);
        let mut into = vec![0; 70_000];
        assert!(reader.is_current() && reader.len_bytes() == 100_000);
        assert_eq!(reader.copy_out(50_000, &mut into), Some(50_000));
        assert_eq!(into[..50_000], bytes[50_000..]);
        assert_eq!(reader.copy_out(u64::MAX, &mut into), Some(0));
        snapshot.end();
        assert!(!reader.is_current());
        assert_eq!(reader.copy_out(0, &mut into), None);
    }

    #[test]
    fn memory_of_one_that_is_over_is_given_back_though_it_is_mapped() {
        let snapshot = Snapshot::create(&vec![7; 1 << 20]).unwrap();
        let reader = taken(&snapshot);
        assert!(snapshot.shared.allocated_bytes().unwrap() >= 1 << 20);
        drop(snapshot);
        assert!(!reader.is_current());
        assert_eq!(reader.shared.allocated_bytes().unwrap(), rustix::param::page_size() as u64);
    }

    #[test]
    fn an_empty_snapshot_is_one() {
        let reader = taken(&Snapshot::create(&[]).unwrap());
        assert_eq!((reader.len_bytes(), reader.is_current()), (0, false), "its host has dropped it");
        let snapshot = Snapshot::create(&[]).unwrap();
        assert!(taken(&snapshot).is_current());
    }

    #[test]
    fn what_a_host_claims_is_checked() {
        let snapshot = Snapshot::create(b"x").unwrap();
        for claimed in [0, 63, 64, 66, u64::MAX] {
            assert!(SnapshotReader::of_host(snapshot.hand_out().unwrap(), claimed).is_err(), "{claimed}");
        }
        assert!(SnapshotReader::of_host(snapshot.hand_out().unwrap(), 65).is_ok());
    }
}
