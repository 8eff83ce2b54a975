//! Which nodes the kernel knows, how often it was told of each, and the author's value for it.
//!
//! Sharded by inode number, so that two CPUs seldom meet at one lock. Ids carry a generation: an id that
//! was forgotten never names the node that took its place.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::NodeId;

use super::caught::drop_caught;

const SHARDS: u64 = 32;
const GENERATION_SHIFT: u32 = 40;
const GENERATION_MASK: u64 = (1 << (64 - GENERATION_SHIFT)) - 1;
/// 0 names nothing and 1 is the root.
const FIRST_ID: u64 = 2;

struct Known<N> {
    node: N,
    inode: u64,
    lookups: u64,
}

struct Place<N> {
    generation: u64,
    known: Option<Known<N>>,
}

struct Shard<N> {
    places: Vec<Place<N>>,
    free: Vec<u32>,
    by_inode: HashMap<u64, u32>,
}

// Two shards in one cache line would undo the sharding.
#[repr(align(128))]
struct Locked<N>(RwLock<Shard<N>>);

pub(crate) struct Nodes<N> {
    root: N,
    root_inode: std::sync::OnceLock<u64>,
    shards: Box<[Locked<N>]>,
}

struct Address {
    shard: usize,
    place: usize,
    generation: u64,
}

impl Address {
    fn of(id: NodeId) -> Option<Address> {
        let raw = id.get();
        let position = (raw & ((1 << GENERATION_SHIFT) - 1)).checked_sub(FIRST_ID)?;
        Some(Address {
            shard: (position % SHARDS) as usize,
            place: usize::try_from(position / SHARDS).ok()?,
            generation: raw >> GENERATION_SHIFT,
        })
    }

    fn id(&self) -> NodeId {
        let position = self.place as u64 * SHARDS + self.shard as u64 + FIRST_ID;
        NodeId::new(self.generation << GENERATION_SHIFT | position).expect("positions begin above zero")
    }
}

impl<N: Clone> Nodes<N> {
    pub(crate) fn new(root: N) -> Nodes<N> {
        let shard = || Shard { places: Vec::new(), free: Vec::new(), by_inode: HashMap::new() };
        let shards = (0..SHARDS).map(|_| Locked(RwLock::new(shard()))).collect();
        Nodes { root, root_inode: std::sync::OnceLock::new(), shards }
    }

    /// The author's value; `None` for an id that is not, or no longer, known.
    pub(crate) fn get(&self, id: NodeId) -> Option<N> {
        if id == NodeId::ROOT {
            return Some(self.root.clone());
        }
        let address = Address::of(id)?;
        let shard = self.read(address.shard);
        let place = shard.places.get(address.place).filter(|place| place.generation == address.generation)?;
        place.known.as_ref().map(|known| known.node.clone())
    }

    /// Learns the root's inode number, from its attributes.
    pub(crate) fn root_is(&self, inode: u64) {
        let _ = self.root_inode.set(inode);
    }

    pub(crate) fn inode(&self, id: NodeId) -> Option<u64> {
        if id == NodeId::ROOT {
            return self.root_inode.get().copied();
        }
        let address = Address::of(id)?;
        let shard = self.read(address.shard);
        let place = shard.places.get(address.place).filter(|place| place.generation == address.generation)?;
        place.known.as_ref().map(|known| known.inode)
    }

    /// The id for an inode number that the kernel knows.
    pub(crate) fn find(&self, inode: u64) -> Option<NodeId> {
        if self.root_inode.get() == Some(&inode) {
            return Some(NodeId::ROOT);
        }
        let shard_index = shard_of(inode);
        let shard = self.read(shard_index);
        let place = *shard.by_inode.get(&inode)?;
        let generation = shard.places[place as usize].generation;
        Some(Address { shard: shard_index, place: place as usize, generation }.id())
    }

    /// Counts one lookup of this node and names it.
    pub(crate) fn found(&self, inode: u64, node: N) -> NodeId {
        if self.root_inode.get() == Some(&inode) {
            return NodeId::ROOT;
        }
        let shard_index = shard_of(inode);
        let mut shard = self.write(shard_index);
        let Shard { places, free, by_inode } = &mut *shard;
        let place = match by_inode.entry(inode) {
            MapEntry::Occupied(entry) => *entry.get(),
            MapEntry::Vacant(entry) => {
                let place = free.pop().unwrap_or_else(|| {
                    places.push(Place { generation: 0, known: None });
                    (places.len() - 1) as u32
                });
                places[place as usize].known = Some(Known { node, inode, lookups: 0 });
                *entry.insert(place)
            }
        };
        let Place { generation, known } = &mut places[place as usize];
        if let Some(known) = known {
            known.lookups += 1;
        }
        Address { shard: shard_index, place: place as usize, generation: *generation }.id()
    }

    /// Counts one lookup more of a node that is known. Returns its inode number.
    pub(crate) fn hold(&self, id: NodeId) -> Option<u64> {
        if id == NodeId::ROOT {
            return self.root_inode.get().copied();
        }
        let address = Address::of(id)?;
        let mut shard = self.write(address.shard);
        let place =
            shard.places.get_mut(address.place).filter(|place| place.generation == address.generation)?;
        let known = place.known.as_mut()?;
        known.lookups += 1;
        Some(known.inode)
    }

    /// Takes back `count` lookups; with the last one the node goes. More than were counted are taken as all.
    pub(crate) fn forget(&self, id: NodeId, count: u64) {
        let Some(address) = Address::of(id) else { return };
        let mut shard = self.write(address.shard);
        let Shard { places, free, by_inode } = &mut *shard;
        let Some(place) =
            places.get_mut(address.place).filter(|place| place.generation == address.generation)
        else {
            return;
        };
        let Some(known) = &mut place.known else { return };
        known.lookups = known.lookups.saturating_sub(count);
        if known.lookups > 0 {
            return;
        }
        by_inode.remove(&known.inode);
        let gone = place.known.take();
        place.generation = (place.generation + 1) & GENERATION_MASK;
        free.push(address.place as u32);
        // The author's destructor may do anything, so not under the lock.
        drop(shard);
        drop_caught(gone);
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for index in 0..self.shards.len() {
            let mut shard = self.write(index);
            let empty = Shard { places: Vec::new(), free: Vec::new(), by_inode: HashMap::new() };
            let gone = std::mem::replace(&mut *shard, empty);
            drop(shard);
            drop_caught(gone);
        }
    }

    /// Nodes known, beside the root.
    pub(crate) fn len(&self) -> usize {
        (0..self.shards.len()).map(|shard| self.read(shard).by_inode.len()).sum()
    }

    fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard<N>> {
        self.shards[shard].0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard<N>> {
        self.shards[shard].0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shard_of(inode: u64) -> usize {
    // Consecutive numbers go to different shards; the multiplication spreads those that share low bits.
    (inode.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 59) as usize % SHARDS as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_node_lives_until_every_lookup_is_given_back() {
        let nodes = Nodes::new(Arc::new("root"));
        let file = Arc::new("file");
        let id = nodes.found(7, file.clone());
        assert_eq!(nodes.found(7, file.clone()), id);
        nodes.forget(id, 1);
        assert!(nodes.get(id).is_some());
        nodes.forget(id, 1);
        assert!(nodes.get(id).is_none());
        assert_eq!(Arc::strong_count(&file), 1, "the author's value is dropped");
        assert_eq!(nodes.len(), 0);
    }

    #[test]
    fn an_id_never_names_the_node_that_took_its_place() {
        let nodes = Nodes::new("root");
        let old = nodes.found(7, "old");
        nodes.forget(old, 1);
        let new = nodes.found(7, "new");
        assert_ne!(old, new);
        assert_eq!(nodes.get(old), None);
        nodes.forget(old, 1);
        assert_eq!(nodes.get(new), Some("new"));
    }

    #[test]
    fn forgetting_too_much_or_the_unknown_harms_nobody() {
        let nodes = Nodes::new("root");
        let id = nodes.found(7, "file");
        nodes.forget(NodeId::ROOT, 5);
        nodes.forget(NodeId::new(u64::MAX).unwrap(), 5);
        nodes.forget(NodeId::new(12_345).unwrap(), 5);
        assert_eq!(nodes.get(id), Some("file"));
        nodes.forget(id, u64::MAX);
        assert_eq!(nodes.get(id), None);
        assert_eq!(nodes.get(NodeId::ROOT), Some("root"));
    }

    #[test]
    fn the_root_is_found_by_its_number_and_never_counted() {
        let nodes = Nodes::new("root");
        nodes.root_is(2);
        assert_eq!(nodes.found(2, "root again"), NodeId::ROOT);
        assert_eq!(nodes.find(2), Some(NodeId::ROOT));
        assert_eq!(nodes.len(), 0);
    }

    #[test]
    fn many_nodes_keep_their_own_ids() {
        let nodes = Nodes::new(0);
        let ids: Vec<_> = (1..=5_000u64).map(|inode| nodes.found(inode, inode)).collect();
        for (inode, id) in (1..).zip(&ids) {
            assert_eq!(nodes.get(*id), Some(inode));
            assert_eq!(nodes.find(inode), Some(*id));
        }
        ids.iter().for_each(|id| nodes.forget(*id, 1));
        assert_eq!(nodes.len(), 0);
    }

    #[test]
    fn a_destructor_that_panics_harms_nobody() {
        #[derive(Clone)]
        struct Bomb(bool);
        impl Drop for Bomb {
            fn drop(&mut self) {
                assert!(!self.0, "on purpose");
            }
        }
        let nodes = Nodes::new(Bomb(false));
        let id = nodes.found(7, Bomb(true));
        nodes.forget(id, 1);
        nodes.found(7, Bomb(true));
        nodes.clear();
        assert_eq!(nodes.len(), 0);
    }
}
