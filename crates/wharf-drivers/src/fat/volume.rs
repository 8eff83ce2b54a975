//! A volume that is served: what all its operations share, and how nodes come and go.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use wharf::io::Buffer;
use wharf::{Error, Notifier, Result, Time};

use crate::desk::{Desk, Taken};

use super::Options;
use super::cache::{Cache, Stage};
use super::geometry::{BOOT_BYTES, Geometry, Root, SLOT_BYTES, Width};
use super::index::{Entry, Home, Index, SLOTS_MAX, root_key};
use super::medium::{Lane, Medium, Part};
use super::node::{Facts, Inode, Place};
use super::runs::{Bits, Span};
use super::slot::{END, Slot};
use super::table::{Access, Space};
use super::time::Zone;

/// Bytes of a buffer for parts of sectors and for zeros.
pub(super) const BUFFER_BYTES: usize = 128 << 10;
const BUFFERS_KEPT: usize = 4;
/// Bytes of a directory that are read at once.
const READ_BYTES: u64 = 64 << 10;
/// Directories that are kept in memory.
const INDEXES_KEPT: usize = 512;
/// A second number for an entry whose own is still somebody else's.
const NUMBERS_APART: u64 = 1 << 40;
/// The inode number of the root, which no entry can have.
pub(super) const ROOT_NUMBER: u64 = 1;
/// Blocks with changes before an operation has them flushed first.
const WAITING_MAX: usize = 1024;

/// What all operations share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) medium: Medium,
    pub(super) geometry: Geometry,
    pub(super) options: Options,
    /// The volume was in use when it was opened: somebody did not unmount it.
    pub(super) was_in_use: bool,
    pub(super) desk: Desk<State>,
    /// Whose entries are to be written. In this list a node lives on until they are.
    pub(super) dirty: Mutex<HashMap<u64, Arc<Inode>>>,
    gone: Mutex<Vec<Gone>>,
    /// Memory for parts of sectors and for zeros.
    buffers: Mutex<Vec<Buffer>>,
    /// Bytes of files were written since the disc was last waited for.
    pub(super) data_written: AtomicBool,
    /// Tells the kernel, once an operation has brought it.
    pub(super) notifier: OnceLock<Notifier>,
    /// Rung when there is something to flush, and at the end.
    pub(super) bell: (Mutex<Bell>, Condvar),
}

/// What the thread that flushes is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Bell {
    #[default]
    Quiet,
    Changed,
    Over,
}

/// The clusters of a node that nobody knows any more.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) spans: Vec<Span>,
    /// They are nobody's now.
    pub(super) free: bool,
    pub(super) claimed: bool,
}

/// What one operation at a time may look at and change.
#[derive(Debug)]
pub(super) struct State {
    pub(super) cache: Cache,
    /// `None` where nothing may be changed.
    pub(super) space: Option<Space>,
    /// Clusters of files and directories that are known here.
    claims: Bits,
    pub(super) indexes: HashMap<u32, Index>,
    places: HashMap<Place, Weak<Inode>>,
    numbers: HashMap<u64, Weak<Inode>>,
    /// How many of them there may be before those that have gone are thrown out.
    purge_at: usize,
    pub(super) pending: Pending,
    /// The disc says that the volume is in use.
    pub(super) marked: bool,
    /// How many clusters are free, as the disc was told last; where nothing is written, as they were counted.
    pub(super) told_free: Option<u32>,
}

/// Changes of the table that must wait for others; see `flush`.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) links: Vec<Link>,
    pub(super) cuts: Vec<Cut>,
    pub(super) frees: Vec<Freed>,
    /// Sectors that lose a name which a flush must first write elsewhere, and the directories they are in.
    pub(super) last: HashMap<u64, u32>,
}

/// A chain that gets longer: the owner's `tail`, which the disc has, is to lead to `to`.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) owner: u64,
    pub(super) tail: u32,
    pub(super) to: u32,
}

/// A chain that gets shorter: `tail` is to be its end.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) owner: u64,
    pub(super) tail: u32,
}

/// Clusters that are nobody's once those who read them are done.
#[derive(Debug)]
pub(super) struct Freed {
    pub(super) spans: Vec<Span>,
    pub(super) token: Option<Arc<()>>,
}

impl Freed {
    pub(super) fn count(&self) -> u32 {
        self.spans.iter().map(|span| span.count).sum()
    }
}

impl Shared {
    /// Opens a volume. Blocks this thread.
    pub(super) fn open(path: &Path, part: Part, options: Options) -> Result<Shared> {
        let mut medium = Medium::open(path, part, options.write)?;
        let mut boot = [0; BOOT_BYTES];
        medium.read_now(0, &mut boot).map_err(|error| error.doing("reading the boot sector"))?;
        let geometry = Geometry::parse(&boot).map_err(|words| {
            let words = format!("this is no FAT volume: it says that it has {words}");
            Error::invalid().doing("reading the boot sector").because(words)
        })?;
        if geometry.bytes > medium.bytes() && options.write {
            let words = format!(
                "the volume has {} bytes and the disc only {}; it can be read, not written",
                geometry.bytes,
                medium.bytes()
            );
            return Err(Error::invalid().doing("opening the volume").because(words));
        }
        if medium.alignment() > geometry.sector_bytes as usize {
            medium = medium.buffered(path, options.write)?;
        }
        let was_in_use = boot[geometry.state as usize] & 1 != 0;
        if was_in_use {
            log::warn!("{}: the volume was not unmounted cleanly; check it with fsck.fat", path.display());
        }
        let cache = Cache::new(geometry.bytes.min(medium.bytes()))?;
        let space = if options.write { Some(Space::scan(&geometry, &medium)?) } else { None };
        // FAT12 and FAT16 do not say how many clusters are free, and their tables are small.
        let told_free = if geometry.width == Width::Fat32 || options.write {
            None
        } else {
            Space::scan(&geometry, &medium).ok().map(|space| space.free())
        };
        let state = State {
            cache,
            space,
            claims: Bits::default(),
            indexes: HashMap::new(),
            places: HashMap::new(),
            numbers: HashMap::new(),
            purge_at: 1024,
            pending: Pending::default(),
            marked: was_in_use,
            told_free,
        };
        Ok(Shared {
            medium,
            geometry,
            options,
            was_in_use,
            desk: Desk::new(state),
            dirty: Mutex::default(),
            gone: Mutex::default(),
            buffers: Mutex::default(),
            data_written: AtomicBool::new(false),
            notifier: OnceLock::new(),
            bell: Default::default(),
        })
    }

    pub(super) fn zone(&self) -> Zone {
        Zone { minutes_east: self.options.minutes_east }
    }

    pub(super) fn now(&self) -> Time {
        Time::now()
    }

    pub(super) fn access<'a>(&'a self, lane: Lane<'a>) -> Access<'a> {
        Access { geometry: &self.geometry, medium: &self.medium, lane }
    }

    /// Waits for the state, and tells it of nodes that have gone.
    ///
    /// # Errors
    /// At once if the disc has gone.
    pub(super) async fn state(&self) -> Result<Taken<'_, State>> {
        self.medium.disc().check()?;
        let mut state = self.desk.take().await;
        self.bury(&mut state);
        Ok(state)
    }

    /// The same for an operation that changes something.
    ///
    /// # Errors
    /// As above, and those of a flush that is due.
    pub(super) async fn state_to_change(&self, lane: Lane<'_>) -> Result<Taken<'_, State>> {
        let mut state = self.state().await?;
        if state.space.is_none() {
            return Err(Error::read_only());
        }
        if state.cache.waiting() > WAITING_MAX {
            self.flush(&mut state, lane).await?;
        }
        self.ring(Bell::Changed);
        Ok(state)
    }

    pub(super) fn ring(&self, bell: Bell) {
        let (state, bell_rope) = &self.bell;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != Bell::Over && *state != bell {
            *state = bell;
            bell_rope.notify_all();
        }
    }

    pub(super) fn dirty(&self) -> MutexGuard<'_, HashMap<u64, Arc<Inode>>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that a node's entry is to be written.
    pub(super) fn touch(&self, inode: &Arc<Inode>) {
        let facts = inode.facts();
        if facts.place.is_some() {
            drop(facts);
            self.dirty().insert(inode.number, inode.clone());
            self.ring(Bell::Changed);
        }
    }

    pub(super) fn went(&self, gone: Gone) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).push(gone);
    }

    /// Memory for an I/O of up to [`BUFFER_BYTES`].
    pub(super) fn buffer(&self) -> Result<Buffer> {
        let spare = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.map_or_else(|| Buffer::new(BUFFER_BYTES), Ok)
    }

    pub(super) fn buffer_back(&self, buffer: Buffer) {
        let mut spare = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < BUFFERS_KEPT {
            spare.push(buffer);
        }
    }

    /// Takes back what nodes had that nobody knows any more.
    pub(super) fn bury(&self, state: &mut State) {
        let gone = std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner));
        for Gone { spans, free, claimed } in gone {
            if free {
                state.pending.frees.push(Freed { spans, token: None });
            } else if claimed {
                state.unclaim(&spans);
            }
        }
        if state.numbers.len() > state.purge_at {
            state.places.retain(|_, inode| inode.strong_count() > 0);
            state.numbers.retain(|_, inode| inode.strong_count() > 0);
            state.purge_at = 2 * state.numbers.len() + 1024;
        }
    }

    /// The directory whose first cluster is `key`, read if it is not known.
    pub(super) async fn index<'s>(
        &self,
        state: &'s mut State,
        lane: Lane<'_>,
        key: u32,
    ) -> Result<&'s mut Index> {
        if !state.indexes.contains_key(&key) {
            let index = self.read_directory(state, lane, key).await?;
            if state.indexes.len() >= INDEXES_KEPT {
                self.forget_indexes(state);
            }
            state.indexes.insert(key, index);
        }
        state.indexes.get_mut(&key).ok_or(Error::io("looking for a directory that was read"))
    }

    fn forget_indexes(&self, state: &mut State) {
        let State { indexes, claims, .. } = state;
        indexes.retain(|_, index| {
            let Home::Chain(runs) = &index.home else { return true };
            if index.linked < runs.len() {
                return true;
            }
            runs.spans().for_each(|span| claims.set(span, false));
            false
        });
    }

    async fn read_directory(&self, state: &mut State, lane: Lane<'_>, key: u32) -> Result<Index> {
        let geometry = &self.geometry;
        let home = match geometry.root {
            Root::Fixed { offset, slots } if key == 0 => Home::Fixed { offset, slots },
            _ => {
                let most = (SLOTS_MAX * SLOT_BYTES).div_ceil(geometry.cluster_bytes);
                let (runs, wrong) = self.access(lane).chain(&mut state.cache, key, most).await?;
                if let Some(words) = wrong.or_else(|| state.claim(runs.spans())) {
                    return Err(Error::io("reading a directory").because(words));
                }
                Home::Chain(runs)
            }
        };
        let mut bytes = Vec::new();
        let limit = home.slots(geometry) as usize * SLOT_BYTES as usize;
        'all: for (begin, len) in home.spans(geometry) {
            let mut at = begin;
            while at < begin + len {
                let count = (begin + len - at).min(READ_BYTES) as usize;
                let done = bytes.len();
                bytes.resize(done + count, 0);
                state.cache.read(&self.medium, lane, at, &mut bytes[done..]).await?;
                at += count as u64;
                // Behind a slot that never was used there is nothing.
                let ended = bytes[done..].chunks(SLOT_BYTES as usize).any(|slot| slot[0] == END);
                if ended || bytes.len() >= limit {
                    break 'all;
                }
            }
        }
        bytes.truncate(limit);
        let linked = match &home {
            Home::Chain(runs) => runs.len(),
            Home::Fixed { .. } => 0,
        };
        Ok(Index::parse(home, linked, &bytes, geometry))
    }

    /// The node of an entry: the one that is known, or a new one.
    pub(super) fn inode(
        self: &Arc<Self>,
        state: &mut State,
        place: Place,
        entry_offset: u64,
        entry: &Entry,
    ) -> Arc<Inode> {
        if let Some(known) = state.places.get(&place).and_then(Weak::upgrade) {
            return known;
        }
        let number = state.number(place, entry_offset);
        let inode = Arc::new(Inode::new(number, self.clone(), Facts::new(Some(place), entry.slot)));
        state.places.insert(place, Arc::downgrade(&inode));
        state.numbers.insert(number, Arc::downgrade(&inode));
        inode
    }

    pub(super) fn root(self: &Arc<Self>) -> Arc<Inode> {
        let mut facts = Facts::new(None, Slot([0; SLOT_BYTES as usize]));
        facts.is_root = true;
        let (stamp, _) = self.zone().stamp(self.now());
        facts.slot.set_modified(stamp);
        facts.slot.set_accessed(stamp);
        Arc::new(Inode::new(ROOT_NUMBER, self.clone(), facts))
    }

    /// Makes sure that a file's chain is known.
    pub(super) async fn load(&self, state: &mut State, lane: Lane<'_>, inode: &Inode) -> Result<()> {
        let (first, size) = {
            let facts = inode.facts();
            if facts.runs.is_some() {
                return Ok(());
            }
            (facts.slot.first(self.geometry.width), facts.slot.size())
        };
        let most = size.div_ceil(self.geometry.cluster_bytes);
        let (runs, mut wrong) = match (first, most) {
            (0, _) => Default::default(),
            // A file without bytes that has clusters all the same: they are looked at to be given back.
            (first, most) => self.access(lane).chain(&mut state.cache, first, most.max(1)).await?,
        };
        if wrong.is_none() && runs.len() < most {
            wrong = Some("its chain of clusters ends before it does");
        }
        if wrong.is_none() {
            wrong = state.claim(runs.spans());
        }
        if let Some(words) = wrong {
            log::warn!("file {}: {words}; it is only read as far as that goes", inode.number);
        }
        let mut facts = inode.facts();
        facts.linked = runs.len();
        facts.runs = Some(runs);
        facts.wrong = wrong;
        Ok(())
    }

    /// The bytes of a volume's sector, for its smallest unit of writing.
    pub(super) fn slots_per_sector(&self) -> u32 {
        self.geometry.sector_bytes / SLOT_BYTES
    }

    /// The sector that a byte of the volume is in.
    pub(super) fn sector(&self, offset: u64) -> u64 {
        offset - offset % u64::from(self.geometry.sector_bytes)
    }

    /// Writes slots of a directory, in memory and to be flushed.
    pub(super) async fn put_slots(
        &self,
        state: &mut State,
        lane: Lane<'_>,
        key: u32,
        first: u32,
        slots: &[[u8; 32]],
        stage: Stage,
    ) -> Result<()> {
        for (slot, bytes) in (first..).zip(slots) {
            let index = self.index(state, lane, key).await?;
            let at =
                index.home.offset(&self.geometry, slot).ok_or(Error::io("writing behind a directory"))?;
            state.cache.write(&self.medium, lane, at, bytes, stage).await?;
        }
        Ok(())
    }

    /// Whether an inode is the root's directory key.
    pub(super) fn is_root_key(&self, key: u32) -> bool {
        key == root_key(&self.geometry)
    }
}

impl State {
    /// The number of the entry at a place: that of its position, if nobody has that from an earlier life.
    pub(super) fn number(&self, place: Place, offset: u64) -> u64 {
        if let Some(known) = self.places.get(&place).and_then(Weak::upgrade) {
            return known.number;
        }
        let mut number = offset / u64::from(SLOT_BYTES);
        while self.numbers.get(&number).is_some_and(|inode| inode.strong_count() > 0) {
            number += NUMBERS_APART;
        }
        number
    }

    /// The numbers of all nodes that somebody knows.
    pub(super) fn known(&self) -> Vec<u64> {
        let known = self.numbers.iter().filter(|(_, inode)| inode.strong_count() > 0);
        known.map(|(number, _)| *number).collect()
    }

    /// A node's entry has moved, or is gone.
    pub(super) fn moved(&mut self, from: Place, to: Option<Place>) {
        let Some(known) = self.places.remove(&from) else { return };
        if let Some(to) = to {
            self.places.insert(to, known);
        }
    }

    /// Takes clusters for somebody. Some words if they are somebody's already.
    pub(super) fn claim(&mut self, spans: impl Iterator<Item = Span> + Clone) -> Option<&'static str> {
        self.space.as_ref()?;
        if spans.clone().any(|span| self.claims.any(span)) {
            return Some("it shares clusters with another file or directory");
        }
        spans.for_each(|span| self.claims.set(span, true));
        None
    }

    pub(super) fn unclaim(&mut self, spans: &[Span]) {
        spans.iter().for_each(|span| self.claims.set(*span, false));
    }
}
