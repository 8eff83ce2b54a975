//! Making room: the blocks that have been kept longest go, in batches, on a thread of its own.
//!
//! A block that was read since it was looked at last gets a second chance: that it was asked for, or that a client says
//! so, who needs not ask. One that a client holds fast stays; but
//! when pins have stood in the way of room for too long, who holds most is hung up, and the next, until there is room.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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
    /// The number of a client that looks at this block of the section with this number, or says so.
    fn who_pins(&self, section: u64, block: u64) -> Option<u64>;

    /// Whether a client has read this block without asking since this was asked last, or says so.
    fn was_touched(&self, section: u64, block: u64) -> bool;

    /// Has a client hung up. Its pins count no more from now on.
    fn hang_up(&self, client: u64);

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
    /// Pins may stand in the way of room for `pins_wait`.
    pub(in super::super) fn start(
        cache: Arc<Cache>,
        around: impl Surroundings,
        pins_wait: Duration,
    ) -> io::Result<Evictor> {
        let shared = cache.clone();
        let mut patience = Patience { limit: pins_wait, held: None };
        let thread = thread::Builder::new().name("wharf-evict".into()).spawn(move || {
            while let Some(discarded) = shared.room.clock.wait() {
                discarded.into_iter().for_each(|(section, blocks)| shared.destroy(&section, blocks));
                let mut holders = shared.make_room(&around);
                while patience.is_over(!holders.is_empty(), Instant::now())
                    && let Some((client, _)) = holders.into_iter().max_by_key(|(_, blocks)| *blocks)
                {
                    around.hang_up(client);
                    holders = shared.make_room(&around);
                }
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

/// For how long pins have stood in the way.
struct Patience {
    limit: Duration,
    /// Since when, and when that was seen last.
    held: Option<(Instant, Instant)>,
}

impl Patience {
    fn is_over(&mut self, is_held: bool, now: Instant) -> bool {
        let (since, seen) = self.held.unwrap_or((now, now));
        // If nobody wanted room for so long, it is another time.
        let since = if now.duration_since(seen) > self.limit { now } else { since };
        self.held = is_held.then_some((since, now));
        is_held && now.duration_since(since) >= self.limit
    }
}

impl Cache {
    /// Gives the memory of a section back that clients may still have mapped.
    fn destroy(&self, Kept { section, .. }: &Kept, blocks: u64) {
        section.evict(0..section.len_bytes_max().div_ceil(BLOCK_BYTES), |_| false);
        self.room.give_blocks(blocks);
        self.room.give_section();
    }

    /// Returns how many blocks each client held, if room could not be made for them.
    fn make_room(&self, around: &impl Surroundings) -> HashMap<u64, u64> {
        let mut holders = HashMap::new();
        if self.room.bytes.load(Ordering::Relaxed) <= self.room.high() {
            return holders;
        }
        // Each block is looked at twice at the most: those that get a second chance come around once more.
        let all = locked(&self.room.clock.state).blocks.len();
        let mut left = 2 * all;
        while self.room.bytes.load(Ordering::Relaxed) > self.room.low() && left > 0 {
            let batch = self.room.clock.batch();
            // What clients say counts once: they cannot say so again while room is made.
            let hears = left > all;
            left = left.saturating_sub(batch.len().max(1));
            let mut by_file: HashMap<u64, (Arc<File>, Vec<u64>)> = HashMap::new();
            for (file, block) in batch {
                let Some(file) = file.upgrade() else { continue };
                let touched = || file.section().is_some_and(|kept| around.was_touched(kept.number, block));
                if file.was_used(block) || (hears && touched()) {
                    self.room.clock.add(Arc::downgrade(&file), block);
                } else {
                    by_file.entry(file.inode).or_insert_with(|| (file, Vec::new())).1.push(block);
                }
            }
            for (file, blocks) in by_file.into_values() {
                self.evict(&file, blocks, around, &mut holders);
            }
        }
        self.tidy();
        if self.room.bytes.load(Ordering::Relaxed) <= self.room.low() {
            holders.clear();
        }
        holders
    }

    fn evict(
        &self,
        file: &Arc<File>,
        mut blocks: Vec<u64>,
        around: &impl Surroundings,
        holders: &mut HashMap<u64, u64>,
    ) {
        blocks.sort_unstable();
        let asked: HashSet<u64> = blocks.iter().copied().collect();
        let Some(going) = file.begin_evict(&blocks) else { return };
        let mut kept = HashSet::new();
        let kept_section = going.section.clone();
        let Kept { number, section } = &*kept_section;
        for run in going.blocks.chunk_by(|a, b| a + 1 == *b) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            section.evict(*first..last + 1, |block| {
                let holder = around.who_pins(*number, block);
                if let Some(client) = holder {
                    kept.insert(block);
                    *holders.entry(client).or_default() += 1;
                }
                holder.is_some()
            });
        }
        // What is pinned or on its way comes around again.
        let went: HashSet<u64> = going.blocks.iter().copied().filter(|block| !kept.contains(block)).collect();
        asked.difference(&went).for_each(|block| self.room.clock.add(Arc::downgrade(file), *block));
        file.evicted(going, &kept).into_iter().for_each(|waiter| around.again(waiter));
    }
}
