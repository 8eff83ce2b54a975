//! Making room: the blocks that have been kept longest go, in batches, on a thread of its own.
//!
//! A block that was asked for since it was looked at last gets a second chance.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use wharf_mem::BLOCK_BYTES;

use super::{Cache, File, Kept, Waiter, locked};

/// Blocks that go in one batch.
const BATCH: usize = 256;

/// Every block that takes memory, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Clock {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct State {
    blocks: VecDeque<(Weak<File>, u64)>,
    /// Sections of no use any more, with the blocks that they are charged for.
    discarded: Vec<(Arc<Kept>, u64)>,
    rung: bool,
    over: bool,
}

impl Clock {
    pub(super) fn add(&self, file: Weak<File>, block: u64) {
        locked(&self.state).blocks.push_back((file, block));
    }

    pub(super) fn discard(&self, section: Arc<Kept>, blocks: u64) {
        locked(&self.state).discarded.push((section, blocks));
        self.rung.notify_one();
    }

    /// There is little room left.
    pub(super) fn ring(&self) {
        locked(&self.state).rung = true;
        self.rung.notify_one();
    }

    fn end(&self) {
        locked(&self.state).over = true;
        self.rung.notify_one();
    }

    /// Waits for something to do. `None` at the end.
    fn wait(&self) -> Option<Vec<(Arc<Kept>, u64)>> {
        let mut state = locked(&self.state);
        while !state.rung && !state.over && state.discarded.is_empty() {
            state = self.rung.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.rung = false;
        let discarded = std::mem::take(&mut state.discarded);
        (!state.over || !discarded.is_empty()).then_some(discarded)
    }

    /// The next blocks in the order of the clock.
    fn batch(&self) -> Vec<(Weak<File>, u64)> {
        let mut state = locked(&self.state);
        let count = state.blocks.len().min(BATCH);
        state.blocks.drain(..count).collect()
    }
}

/// What eviction has to ask others about.
pub(in super::super) trait Surroundings: Send + 'static {
    /// Whether a client looks at this block of the section with this number.
    fn is_pinned(&self, section: u64, block: u64) -> bool;

    /// Has a read planned again.
    fn again(&self, waiter: Waiter);
}

/// The thread that makes room. Ends when dropped.
#[derive(Debug)]
pub(in super::super) struct Evictor {
    cache: Arc<Cache>,
    thread: Option<JoinHandle<()>>,
}

impl Evictor {
    pub(in super::super) fn start(cache: Arc<Cache>, around: impl Surroundings) -> io::Result<Evictor> {
        let shared = cache.clone();
        let thread = thread::Builder::new().name("wharf-evict".into()).spawn(move || {
            while let Some(discarded) = shared.room.clock.wait() {
                discarded.into_iter().for_each(|(section, blocks)| shared.destroy(&section, blocks));
                shared.make_room(&around);
            }
        })?;
        Ok(Evictor { cache, thread: Some(thread) })
    }
}

impl Drop for Evictor {
    fn drop(&mut self) {
        self.cache.room.clock.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Cache {
    /// Gives the memory of a section back that clients may still have mapped.
    fn destroy(&self, Kept { section, .. }: &Kept, blocks: u64) {
        section.evict(0..section.len_bytes_max().div_ceil(BLOCK_BYTES), |_| false);
        self.room.give_blocks(blocks);
        self.room.give_section();
    }

    fn make_room(&self, around: &impl Surroundings) {
        if self.room.bytes.load(Ordering::Relaxed) <= self.room.high() {
            return;
        }
        // Each block is looked at twice at the most: those that get a second chance come around once more.
        let mut left = 2 * locked(&self.room.clock.state).blocks.len();
        while self.room.bytes.load(Ordering::Relaxed) > self.room.low() && left > 0 {
            let batch = self.room.clock.batch();
            left = left.saturating_sub(batch.len().max(1));
            let mut by_file: HashMap<u64, (Arc<File>, Vec<u64>)> = HashMap::new();
            for (file, block) in batch {
                let Some(file) = file.upgrade() else { continue };
                if file.was_used(block) {
                    self.room.clock.add(Arc::downgrade(&file), block);
                } else {
                    by_file.entry(file.inode).or_insert_with(|| (file, Vec::new())).1.push(block);
                }
            }
            for (file, blocks) in by_file.into_values() {
                self.evict(&file, blocks, around);
            }
        }
        self.tidy();
    }

    fn evict(&self, file: &Arc<File>, mut blocks: Vec<u64>, around: &impl Surroundings) {
        blocks.sort_unstable();
        let asked: HashSet<u64> = blocks.iter().copied().collect();
        let Some(going) = file.begin_evict(&blocks) else { return };
        let mut kept = HashSet::new();
        let kept_section = going.section.clone();
        let Kept { number, section } = &*kept_section;
        for run in going.blocks.chunk_by(|a, b| a + 1 == *b) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            section.evict(*first..last + 1, |block| {
                let pinned = around.is_pinned(*number, block);
                if pinned {
                    kept.insert(block);
                }
                pinned
            });
        }
        // What is pinned or on its way comes around again.
        let went: HashSet<u64> = going.blocks.iter().copied().filter(|block| !kept.contains(block)).collect();
        asked.difference(&went).for_each(|block| self.room.clock.add(Arc::downgrade(file), *block));
        file.evicted(going, &kept).into_iter().for_each(|waiter| around.again(waiter));
    }
}
