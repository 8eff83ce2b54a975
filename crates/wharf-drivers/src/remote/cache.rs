//! Blocks of contents in memory, under one budget of bytes. The one that was not used for longest goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Bytes in a block: what the kernel asks for at once when it reads ahead.
pub(super) const BLOCK_BYTES: u64 = 128 << 10;

/// Which block: of which contents, and its number there.
pub(super) type Key = (u64, u32);

/// Blocks in memory.
#[derive(Debug)]
pub(super) struct Cache {
    blocks: Mutex<Blocks>,
    bytes_max: u64,
}

#[derive(Debug, Default)]
struct Blocks {
    by_key: HashMap<Key, (Bytes, u64)>,
    /// By the moment of the last use.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: u64,
}

impl Cache {
    pub(super) fn new(bytes_max: u64) -> Cache {
        Cache { blocks: Mutex::default(), bytes_max }
    }

    /// The block, if it is here.
    pub(super) fn get(&self, key: Key) -> Option<Bytes> {
        let mut blocks = self.lock();
        let now = blocks.tick();
        let (bytes, used) = blocks.by_key.get_mut(&key)?;
        let (bytes, before) = (bytes.clone(), std::mem::replace(used, now));
        blocks.by_use.remove(&before);
        blocks.by_use.insert(now, key);
        Some(bytes)
    }

    /// Whether the block is here. Does not count as a use.
    pub(super) fn has(&self, key: Key) -> bool {
        self.lock().by_key.contains_key(&key)
    }

    /// Keeps a block, at the cost of others.
    pub(super) fn put(&self, key: Key, bytes: Bytes) {
        let len = bytes.len() as u64;
        if len > self.bytes_max {
            return;
        }
        let mut blocks = self.lock();
        blocks.remove(key);
        while blocks.bytes + len > self.bytes_max {
            let Some((_, oldest)) = blocks.by_use.first_key_value() else { break };
            let oldest = *oldest;
            blocks.remove(oldest);
        }
        let now = blocks.tick();
        blocks.by_key.insert(key, (bytes, now));
        blocks.by_use.insert(now, key);
        blocks.bytes += len;
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocks {
    fn tick(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn remove(&mut self, key: Key) {
        if let Some((bytes, used)) = self.by_key.remove(&key) {
            self.by_use.remove(&used);
            self.bytes -= bytes.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_the_budget_holds() {
        let cache = Cache::new(3 * 1000);
        for index in 0..3 {
            cache.put((1, index), vec![index as u8; 1000].into());
        }
        assert_eq!(cache.get((1, 0)).unwrap()[0], 0);
        cache.put((1, 3), vec![3; 1000].into());
        assert!(cache.has((1, 0)) && !cache.has((1, 1)) && cache.has((1, 2)) && cache.has((1, 3)));
        cache.put((1, 3), vec![4; 2500].into());
        let blocks = cache.lock();
        assert_eq!((blocks.bytes, blocks.by_use.len(), blocks.by_key.len()), (2500, 1, 1));
        drop(blocks);
        cache.put((2, 0), vec![0; 3001].into());
        assert!(!cache.has((2, 0)) && cache.has((1, 3)), "what never fits displaces nothing");
    }
}
