//! One file: which of its blocks were asked for, which are kept, which are on their way.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use wharf_mem::{BLOCK_BYTES, Fill, Filling, Section};

use super::{Room, Waiter, locked};

/// Files smaller than this are not worth a section.
const SECTION_FROM_BYTES: u64 = 16 * 1024;

/// Blocks that are fetched ahead at the most.
const AHEAD_MAX: u64 = 16;

/// What to do about a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Plan {
    /// Answer it in the client's slot.
    Plain,
    /// The bytes are in the section.
    InSection,
    /// They will be; the waiter has been noted.
    Wait,
    /// Learn the file's size, then say so to [`File::measured`]. The waiter has been noted.
    Measure(Began),
    /// Read this block, then say so to [`File::filled`]. The waiter has been noted.
    Fill(Began),
}

/// Something that takes a while, about a block, and how often the file had changed when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Began {
    pub(in super::super) block: u64,
    changes: u64,
}

/// A section, and the number by which clients hold parts of it.
#[derive(Debug)]
pub(in super::super) struct Kept {
    pub(in super::super) number: u64,
    pub(in super::super) section: Arc<Section>,
}

/// What is known of one file.
#[derive(Debug)]
pub(in super::super) struct File {
    pub(super) inode: u64,
    pub(super) opens: AtomicUsize,
    room: Arc<Room>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    changes: u64,
    /// Blocks that were asked for once, in the state that the file is in.
    asked: HashSet<u64>,
    section: Option<Arc<Kept>>,
    /// Blocks that can be read in the section.
    valid: HashSet<u64>,
    /// Blocks that take memory in it.
    taken: HashSet<u64>,
    /// Blocks on their way, into the section or out of it, and who waits for that.
    busy: HashMap<u64, Vec<Waiter>>,
    /// Blocks that were found in it by who asked the host.
    used: HashSet<u64>,
    /// Where reading goes on if it goes straight on, and how far it was fetched ahead.
    expected: Option<u64>,
    ahead: u64,
    /// It is too small for a section.
    plain: bool,
    /// Whether nobody has it open for writing where bytes can be stored that nobody hears of.
    quiet: bool,
}

impl File {
    pub(super) fn new(inode: u64, room: Arc<Room>) -> File {
        File { inode, opens: AtomicUsize::new(0), room, state: Mutex::default() }
    }

    /// What to do about a read of `len` bytes that `waiter` asks for.
    pub(in super::super) fn plan(&self, offset: u64, len: u32, waiter: Waiter) -> Plan {
        let last = offset.checked_add(u64::from(len)).and_then(|end| end.checked_sub(1));
        let block = offset / BLOCK_BYTES;
        if len == 0 || last.is_none_or(|last| last / BLOCK_BYTES != block) {
            return Plan::Plain;
        }
        self.decide(block, Some(waiter))
    }

    /// What to do about a block that will be asked for.
    pub(in super::super) fn want(&self, block: u64) -> Plan {
        self.decide(block, None)
    }

    /// The blocks to fetch beside one that is being filled: more each time that reading goes straight on.
    pub(in super::super) fn ahead(&self, began: Began) -> Range<u64> {
        let mut state = locked(&self.state);
        let next = began.block + 1;
        state.ahead =
            if state.expected == Some(began.block) { (2 * state.ahead).clamp(1, AHEAD_MAX) } else { 0 };
        let end = next + state.ahead;
        state.expected = Some(end);
        next..end
    }

    fn decide(&self, block: u64, waiter: Option<Waiter>) -> Plan {
        let mut state = locked(&self.state);
        if state.plain {
            return Plan::Plain;
        }
        if let Some(waiting) = state.busy.get_mut(&block) {
            waiting.extend(waiter);
            return Plan::Wait;
        }
        if state.valid.contains(&block) {
            state.used.insert(block);
            return Plan::InSection;
        }
        if state.asked.insert(block) && waiter.is_some() {
            return Plan::Plain;
        }
        if let Some(Kept { section, .. }) = state.section.as_deref() {
            // Beyond the end there is nothing to keep.
            let inside = block * BLOCK_BYTES < section.len_bytes();
            if !inside || !(state.taken.contains(&block) || self.room.take_block()) {
                return Plan::Plain;
            }
            state.taken.insert(block);
        } else if !self.room.take_section() {
            return Plan::Plain;
        }
        state.busy.insert(block, waiter.into_iter().collect());
        let began = Began { block, changes: state.changes };
        if state.section.is_some() { Plan::Fill(began) } else { Plan::Measure(began) }
    }

    /// The file has `size` bytes, or its size could not be learnt. Returns those who waited: they are to ask
    /// again, and find a section or none.
    pub(in super::super) fn measured(&self, began: Began, size: Option<u64>) -> Vec<Waiter> {
        let mut state = locked(&self.state);
        let waiting = state.busy.remove(&began.block).unwrap_or_default();
        let size = size.filter(|_| state.changes == began.changes && state.section.is_none());
        let section = match size {
            Some(size) if size >= SECTION_FROM_BYTES => Section::create(size, size)
                .inspect_err(|error| log::debug!("no section for a file of {size} bytes: {error}"))
                .ok(),
            Some(_) => {
                state.plain = true;
                None
            }
            None => None,
        };
        match section {
            Some(section) => {
                section.set_quiet(state.quiet);
                let number = self.room.next.fetch_add(1, Ordering::Relaxed);
                state.section = Some(Arc::new(Kept { number, section: Arc::new(section) }));
            }
            None => {
                self.room.give_section();
                // Who waited is answered in its slot then, and does not begin it all again.
                state.asked.remove(&began.block);
            }
        }
        // They have asked for it twice by now.
        waiting
    }

    /// The right to fill a block; to be taken before it is read. `None` if the section has gone meanwhile.
    pub(in super::super) fn begin_fill(&self, began: Began) -> Option<Fill> {
        let Kept { section, .. } = &*self.section()?;
        let start = began.block * BLOCK_BYTES;
        match section.begin_fill(start..start + BLOCK_BYTES) {
            Filling::Begun(fill) if fill.range().start == start => Some(fill),
            Filling::Begun(_) | Filling::Valid | Filling::Busy => None,
        }
    }

    /// Those of one queue's who wait for a block that has been read whole: they can have their bytes of it at once, unless
    /// the file has changed since it was begun. Everybody else waits until it is kept.
    pub(in super::super) fn served(&self, began: Began, queue: usize) -> Vec<Waiter> {
        let mut state = locked(&self.state);
        if state.changes != began.changes {
            return Vec::new();
        }
        let waiting = state.busy.get_mut(&began.block);
        waiting.map_or_else(Vec::new, |all| all.extract_if(.., |waiter| waiter.queue == queue).collect())
    }

    /// A block has been read; `None` if that failed. Returns those who waited for it, and whether it is in the
    /// section now; else they are to ask again.
    pub(in super::super) fn filled(
        self: &Arc<Self>,
        began: Began,
        fill: Option<Fill>,
        bytes: Option<&[u8]>,
    ) -> (Vec<Waiter>, bool) {
        let Began { block, changes } = began;
        // A file that is shorter than it said is not kept. The bytes are copied by a call, which takes the memory for
        // them in one go; to fill it in place would be a fault for every page.
        let put = fill.zip(bytes).and_then(|(mut fill, bytes)| {
            let Range { start, end } = fill.range();
            let whole = bytes.len() as u64 == end - start;
            (whole && fill.put(start, bytes).is_ok()).then_some(fill)
        });
        let mut state = locked(&self.state);
        let waiting = state.busy.remove(&block).unwrap_or_default();
        let same = state.changes == changes;
        let published = put.filter(|_| same).is_some_and(|fill| fill.publish(BLOCK_BYTES));
        if published {
            state.valid.insert(block);
        } else {
            state.asked.remove(&block);
        }
        if state.taken.contains(&block) {
            // Valid or not, it takes memory and has to go some day.
            self.room.clock.add(Arc::downgrade(self), block);
        }
        (waiting, published)
    }

    /// The section, to be handed out.
    pub(in super::super) fn section(&self) -> Option<Arc<Kept>> {
        locked(&self.state).section.clone()
    }

    /// Somebody can store bytes that nobody hears of at once, or nobody can.
    pub(in super::super) fn written(&self, by_somebody: bool) {
        let mut state = locked(&self.state);
        state.quiet = !by_somebody;
        if let Some(Kept { section, .. }) = state.section.as_deref() {
            section.set_quiet(!by_somebody);
        }
    }

    pub(super) fn has_section(&self) -> bool {
        locked(&self.state).section.is_some()
    }

    /// Contents changed. Told before whoever changed them is answered.
    pub(super) fn changed(&self, range: Range<u64>) {
        let mut state = locked(&self.state);
        state.changes += 1;
        state.asked.clear();
        state.plain = false;
        let Some(Kept { section, .. }) = state.section.as_deref() else { return };
        if range.end > section.len_bytes() {
            // Its size may be another one now.
            self.give_up(&mut state);
            return;
        }
        let blocks = range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
        section.forget(blocks.start * BLOCK_BYTES..blocks.end * BLOCK_BYTES);
        state.valid.retain(|block| !blocks.contains(block));
    }

    pub(super) fn drop_section(&self) {
        self.give_up(&mut locked(&self.state));
    }

    /// The section is of no use any more. Clients may still have it mapped, so its memory is given back by the
    /// thread that evicts.
    fn give_up(&self, state: &mut State) {
        let Some(section) = state.section.take() else { return };
        section.section.invalidate();
        state.valid.clear();
        state.used.clear();
        let blocks = std::mem::take(&mut state.taken).len() as u64;
        self.room.clock.discard(section, blocks);
    }

    /// Whether a block was asked for since this was asked last.
    pub(super) fn was_used(&self, block: u64) -> bool {
        locked(&self.state).used.remove(&block)
    }

    /// Marks those of `blocks` that can go as on their way out.
    pub(super) fn begin_evict(&self, blocks: &[u64]) -> Option<Going> {
        let mut state = locked(&self.state);
        let section = state.section.clone()?;
        let free = |block: &u64| state.taken.contains(block) && !state.busy.contains_key(block);
        let blocks: Vec<u64> = blocks.iter().copied().filter(free).collect();
        let valid = blocks.iter().copied().filter(|block| state.valid.remove(block)).collect();
        for block in &blocks {
            state.busy.insert(*block, Vec::new());
            state.asked.remove(block);
        }
        Some(Going { section, changes: state.changes, blocks, valid })
    }

    /// They have gone, but for those that somebody held. Returns who waited: they are to ask again.
    pub(super) fn evicted(&self, going: Going, kept: &HashSet<u64>) -> Vec<Waiter> {
        let mut state = locked(&self.state);
        let waiting = going.blocks.iter().filter_map(|block| state.busy.remove(block)).flatten().collect();
        if !state.section.as_ref().is_some_and(|is| Arc::ptr_eq(is, &going.section)) {
            return waiting;
        }
        let mut gone = 0;
        for block in going.blocks.iter().filter(|block| !kept.contains(block)) {
            gone += u64::from(state.taken.remove(block));
        }
        self.room.give_blocks(gone);
        if state.changes == going.changes {
            state.valid.extend(going.valid.iter().copied().filter(|block| kept.contains(block)));
        }
        if state.taken.is_empty() && state.busy.is_empty() {
            self.give_up(&mut state);
        }
        waiting
    }
}

/// Blocks on their way out of a section.
pub(super) struct Going {
    pub(super) section: Arc<Kept>,
    pub(super) blocks: Vec<u64>,
    valid: Vec<u64>,
    changes: u64,
}
