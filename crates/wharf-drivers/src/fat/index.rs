//! One directory in memory: its entries by slot and by name, and which of its slots are free.
//!
//! Made by reading the directory once; every change is made here and in the cache together.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::geometry::{Geometry, Root, SLOT_BYTES};
use super::name::{self, Short};
use super::runs::{Runs, Span};
use super::slot::{LABEL, LongName, SLOT, Seen, Slot};

/// The most slots of a directory: 2 MiB.
pub(super) const SLOTS_MAX: u32 = 65_536;

/// Where a directory's slots are.
#[derive(Clone, Debug)]
pub(super) enum Home {
    Fixed { offset: u64, slots: u32 },
    Chain(Runs),
}

impl Home {
    pub(super) fn slots(&self, geometry: &Geometry) -> u32 {
        match self {
            Home::Fixed { slots, .. } => *slots,
            Home::Chain(runs) => runs.len().saturating_mul(geometry.slots_per_cluster()).min(SLOTS_MAX),
        }
    }

    /// Where a slot lies.
    pub(super) fn offset(&self, geometry: &Geometry, slot: u32) -> Option<u64> {
        match self {
            Home::Fixed { offset, slots } => {
                (slot < *slots).then(|| offset + u64::from(slot) * u64::from(SLOT_BYTES))
            }
            Home::Chain(runs) => {
                let each = geometry.slots_per_cluster();
                let cluster = runs.at(slot / each)?;
                Some(geometry.offset(cluster) + u64::from(slot % each * SLOT_BYTES))
            }
        }
    }

    /// Its spans on the volume, in order.
    pub(super) fn spans(&self, geometry: &Geometry) -> Vec<(u64, u64)> {
        match self {
            Home::Fixed { offset, slots } => vec![(*offset, u64::from(slots * SLOT_BYTES))],
            Home::Chain(runs) => {
                let each = u64::from(geometry.cluster_bytes);
                runs.spans()
                    .map(|Span { first, count }| (geometry.offset(first), u64::from(count) * each))
                    .collect()
            }
        }
    }
}

/// The number by which a directory is known: that of its first cluster, 0 for a root in a place of its own.
pub(super) fn root_key(geometry: &Geometry) -> u32 {
    match geometry.root {
        Root::Fixed { .. } => 0,
        Root::Chain { first } => first,
    }
}

/// One entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Box<str>,
    pub(super) slot: Slot,
    /// Slots of its long name, right before.
    pub(super) parts: u32,
}

/// A directory.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) home: Home,
    /// Clusters that the disc has linked.
    pub(super) linked: u32,
    entries: BTreeMap<u32, Entry>,
    names: HashMap<String, u32>,
    shorts: HashSet<Short>,
    /// For each slot before the end: whether it is in use.
    used: Vec<bool>,
    /// No free slot lies before this one.
    free_from: u32,
    /// The first cluster of the directory above, as `..` has it.
    pub(super) parent: Option<u32>,
    pub(super) label: Option<Short>,
}

impl Index {
    /// Reads a directory's bytes.
    pub(super) fn parse(home: Home, linked: u32, bytes: &[u8], geometry: &Geometry) -> Index {
        let mut index = Index {
            home,
            linked,
            entries: BTreeMap::new(),
            names: HashMap::new(),
            shorts: HashSet::new(),
            used: Vec::new(),
            free_from: 0,
            parent: None,
            label: None,
        };
        let mut long = LongName::default();
        for (number, bytes) in (0..).zip(bytes.as_chunks::<SLOT>().0) {
            match long.take(bytes) {
                Seen::End => break,
                Seen::Free => index.used.push(false),
                Seen::Part => index.used.push(true),
                Seen::Entry(slot, long) => {
                    index.used.push(true);
                    index.see(number, slot, long, geometry);
                }
            }
        }
        index
    }

    fn see(&mut self, number: u32, slot: Slot, long: Option<(Vec<u16>, u32)>, geometry: &Geometry) {
        if slot.attributes() & LABEL != 0 {
            self.label.get_or_insert(slot.short());
            return;
        }
        if slot.short() == *b"..         " {
            self.parent = Some(slot.first(geometry.width));
            return;
        }
        if slot.short() == *b".          " {
            return;
        }
        let parts = long.as_ref().map_or(0, |(_, slots)| *slots);
        let short = name::shown(&slot.short(), slot.case());
        let shown = long.and_then(|(units, _)| name::shown_long(&units));
        // Of two entries with one name the first is the file of that name; the other may have its short one.
        let names = [shown, short];
        let free = names.into_iter().flatten().find(|name| !self.names.contains_key(&name::folded(name)));
        match free {
            Some(name) => self.insert(number, Entry { name: name.into(), slot, parts }),
            None => log::warn!("an entry of a directory has no name that could be shown; it is left out"),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn entry(&self, slot: u32) -> Option<&Entry> {
        self.entries.get(&slot)
    }

    pub(super) fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.entries.get_mut(&slot)
    }

    /// The slot of a name, whatever its case.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(&name::folded(name)).copied()
    }

    /// The entries in slots from `slot` on.
    pub(super) fn from(&self, slot: u32) -> impl Iterator<Item = (u32, &Entry)> {
        self.entries.range(slot..).map(|(slot, entry)| (*slot, entry))
    }

    pub(super) fn shorts(&self) -> &HashSet<Short> {
        &self.shorts
    }

    /// Slots before the end.
    pub(super) fn end(&self) -> u32 {
        self.used.len() as u32
    }

    /// Where `count` slots in a row are free, in one sector if they fit there: then they are written together.
    /// What is returned may lie behind the end, and behind what there is room for.
    pub(super) fn room(&self, count: u32, per_sector: u32) -> u32 {
        let mut at = self.free_from;
        loop {
            let begin = at;
            if count <= per_sector && begin % per_sector + count > per_sector {
                at = begin.next_multiple_of(per_sector);
                continue;
            }
            match (begin..begin + count).rev().find(|slot| self.used.get(*slot as usize) == Some(&true)) {
                Some(taken) => at = taken + 1,
                None => return begin,
            }
        }
    }

    /// Takes an entry in; its parts and itself are in use from now on.
    pub(super) fn insert(&mut self, slot: u32, entry: Entry) {
        let first = slot - entry.parts.min(slot);
        if self.used.len() <= slot as usize {
            self.used.resize(slot as usize + 1, false);
        }
        self.used[first as usize..=slot as usize].fill(true);
        while self.used.get(self.free_from as usize) == Some(&true) {
            self.free_from += 1;
        }
        self.shorts.insert(entry.slot.short());
        self.names.insert(name::folded(&entry.name), slot);
        self.entries.insert(slot, entry);
    }

    /// Takes an entry out and returns the slots that are free now.
    pub(super) fn remove(&mut self, slot: u32) -> Option<std::ops::Range<u32>> {
        let entry = self.entries.remove(&slot)?;
        let folded = name::folded(&entry.name);
        if self.names.get(&folded) == Some(&slot) {
            self.names.remove(&folded);
        }
        self.shorts.remove(&entry.slot.short());
        let first = slot - entry.parts.min(slot);
        self.used[first as usize..=slot as usize].fill(false);
        self.free_from = self.free_from.min(first);
        Some(first..slot + 1)
    }
}
