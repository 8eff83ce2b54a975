//! The two limits of a volume, and what is used of them. Also the buffers that files have no more use for.
//!
//! Whoever takes space gives it back; nothing here knows what it was for. The counts are exact: a charge that
//! does not fit changes nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use wharf::{Error, Result, Statfs};

/// The unit in which files take space.
pub(super) const BLOCK_BYTES: usize = 4096;
/// The unit in which they take buffers.
pub(super) const CHUNK_BYTES: usize = 16 * BLOCK_BYTES;
/// Chunk buffers kept for the next file: 16 MiB at the most. Memory that was touched lately costs a tenth of
/// memory fresh from the system.
const SPARE_CHUNKS_MAX: usize = 256;

/// How much there is, and how much of it is used.
#[derive(Debug)]
pub(super) struct Space {
    bytes_max: u64,
    inodes_max: u64,
    bytes: AtomicU64,
    inodes: AtomicU64,
    /// Buffers of `CHUNK_BYTES` capacity, empty.
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Space {
    pub(super) fn new(bytes_max: u64, inodes_max: u64) -> Space {
        Space {
            bytes_max,
            inodes_max,
            bytes: AtomicU64::new(0),
            inodes: AtomicU64::new(0),
            spare: Mutex::new(Vec::new()),
        }
    }

    /// Takes all of `bytes` or nothing.
    pub(super) fn charge(&self, bytes: u64) -> Result<()> {
        take(&self.bytes, bytes, self.bytes_max)
    }

    /// Takes as many of these blocks as there are, and says how many.
    pub(super) fn charge_blocks_up_to(&self, blocks: u64) -> u64 {
        let block = BLOCK_BYTES as u64;
        let mut granted = 0;
        let grant = |used: u64| {
            granted = blocks.min(self.bytes_max.saturating_sub(used) / block);
            Some(used + granted * block)
        };
        // The closure never refuses, so neither does the update.
        let _ = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grant);
        granted
    }

    /// Gives back what was taken.
    pub(super) fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Gives back blocks that were taken.
    pub(super) fn release_blocks(&self, blocks: u64) {
        self.release(blocks * BLOCK_BYTES as u64);
    }

    /// Moves a charge from one amount to another; only growing can fail.
    pub(super) fn recharge(&self, from: u64, to: u64) -> Result<()> {
        match to.checked_sub(from) {
            Some(more) => self.charge(more),
            None => {
                self.release(from - to);
                Ok(())
            }
        }
    }

    /// Takes an inode.
    pub(super) fn charge_inode(&self) -> Result<()> {
        take(&self.inodes, 1, self.inodes_max)
    }

    /// Gives an inode back.
    pub(super) fn release_inode(&self) {
        self.inodes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bytes that are free now.
    pub(super) fn free(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used())
    }

    /// Bytes that are taken now.
    pub(super) fn used(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Both limits as statfs(2) tells them.
    pub(super) fn statfs(&self) -> Statfs {
        let free = self.free() / BLOCK_BYTES as u64;
        Statfs {
            block_size: BLOCK_BYTES as u32,
            blocks: self.bytes_max / BLOCK_BYTES as u64,
            blocks_free: free,
            blocks_available: free,
            files: self.inodes_max,
            files_free: self.inodes_max.saturating_sub(self.inodes.load(Ordering::Relaxed)),
            name_bytes_max: super::NAME_BYTES_MAX as u32,
        }
    }

    /// An empty buffer with room for a whole chunk.
    pub(super) fn buffer(&self) -> Vec<u8> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES))
    }

    /// Takes a buffer that is no longer needed, to be used again if it is one of a whole chunk.
    pub(super) fn recycle(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() != CHUNK_BYTES {
            return;
        }
        buffer.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_CHUNKS_MAX {
            spare.push(buffer);
        }
    }
}

fn take(used: &AtomicU64, count: u64, max: u64) -> Result<()> {
    let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        used.checked_add(count).filter(|sum| *sum <= max)
    });
    match taken {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::no_space()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_that_does_not_fit_changes_nothing() {
        let space = Space::new(10_000, 1);
        space.charge(9_000).unwrap();
        assert!(space.charge(1_001).is_err());
        assert!(space.charge(u64::MAX).is_err());
        assert_eq!(space.free(), 1_000);
        space.recharge(9_000, 10_000).unwrap();
        assert!(space.recharge(10_000, 10_001).is_err());
        space.recharge(10_000, 0).unwrap();
        assert_eq!(space.free(), 10_000);
        space.charge_inode().unwrap();
        assert!(space.charge_inode().is_err());
        space.release_inode();
        space.charge_inode().unwrap();
    }

    #[test]
    fn blocks_are_granted_as_far_as_they_go() {
        let space = Space::new(4 * 4096 + 100, 1);
        space.charge(101).unwrap();
        assert_eq!(space.charge_blocks_up_to(2), 2);
        assert_eq!(space.charge_blocks_up_to(5), 1);
        assert_eq!(space.charge_blocks_up_to(5), 0);
        space.release_blocks(3);
        assert_eq!(space.charge_blocks_up_to(u64::MAX), 3);
    }

    #[test]
    fn only_whole_chunks_are_kept_for_later() {
        let space = Space::new(0, 0);
        let mut whole = space.buffer();
        whole.push(1);
        space.recycle(whole);
        space.recycle(vec![0; 100]);
        assert_eq!(space.spare.lock().unwrap().len(), 1);
        assert!(space.buffer().is_empty());
    }
}
