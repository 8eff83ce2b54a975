//! Which files and directories are open, and the author's value for each.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::op::OpenFlags;
use crate::{HandleId, NodeId, Source};

use super::BackingId;

const SHARDS: usize = 16;

/// One open file or directory.
pub(crate) struct OpenFile<F> {
    pub(crate) file: F,
    pub(crate) node: NodeId,
    pub(crate) directory: bool,
    pub(crate) flags: OpenFlags,
    /// Its inode number, as long as it is counted among those that write; else 0.
    pub(crate) writes: AtomicU64,
    /// Opened by a guest: the first transport knows nothing of it.
    pub(crate) guest: bool,
    pub(crate) source: Source,
    pub(crate) backing: Option<BackingId>,
}

struct Place<F> {
    generation: u32,
    open: Option<Arc<OpenFile<F>>>,
}

struct Shard<F> {
    places: Vec<Place<F>>,
    free: Vec<u32>,
}

#[repr(align(128))]
struct Locked<F>(RwLock<Shard<F>>);

pub(crate) struct Handles<F> {
    shards: Box<[Locked<F>]>,
    next_shard: AtomicUsize,
}

impl<F> Handles<F> {
    pub(crate) fn new() -> Handles<F> {
        let shard = || Locked(RwLock::new(Shard { places: Vec::new(), free: Vec::new() }));
        Handles { shards: (0..SHARDS).map(|_| shard()).collect(), next_shard: AtomicUsize::new(0) }
    }

    pub(crate) fn insert(&self, open: OpenFile<F>) -> HandleId {
        let shard_index = self.next_shard.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = self.shards[shard_index].0.write().unwrap_or_else(PoisonError::into_inner);
        let place = shard.free.pop().unwrap_or_else(|| {
            // Generations begin at one: no handle is ever zero, which is what a file without opening has.
            shard.places.push(Place { generation: 1, open: None });
            (shard.places.len() - 1) as u32
        });
        let slot = &mut shard.places[place as usize];
        slot.open = Some(Arc::new(open));
        HandleId(u64::from(slot.generation) << 32 | (u64::from(place) * SHARDS as u64 + shard_index as u64))
    }

    pub(crate) fn get(&self, handle: HandleId) -> Option<Arc<OpenFile<F>>> {
        let (shard, place, generation) = address(handle);
        let shard = self.shards[shard].0.read().unwrap_or_else(PoisonError::into_inner);
        shard.places.get(place).filter(|place| place.generation == generation)?.open.clone()
    }

    pub(crate) fn remove(&self, handle: HandleId) -> Option<Arc<OpenFile<F>>> {
        let (shard, place, generation) = address(handle);
        let mut shard = self.shards[shard].0.write().unwrap_or_else(PoisonError::into_inner);
        let slot = shard.places.get_mut(place).filter(|place| place.generation == generation)?;
        let open = slot.open.take()?;
        slot.generation = slot.generation.wrapping_add(1).max(1);
        shard.free.push(place as u32);
        Some(open)
    }

    /// Takes out everything that is still open.
    pub(crate) fn drain(&self) -> Vec<Arc<OpenFile<F>>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.0.write().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.places.iter_mut().filter_map(|place| place.open.take()));
            shard.places.clear();
            shard.free.clear();
        }
        all
    }

    /// Files and directories open now.
    pub(crate) fn len(&self) -> usize {
        let count = |shard: &Locked<F>| {
            let shard = shard.0.read().unwrap_or_else(PoisonError::into_inner);
            shard.places.len() - shard.free.len()
        };
        self.shards.iter().map(count).sum()
    }
}

fn address(handle: HandleId) -> (usize, usize, u32) {
    let position = (handle.0 & u64::from(u32::MAX)) as usize;
    (position % SHARDS, position / SHARDS, (handle.0 >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(file: u32) -> OpenFile<u32> {
        let flags = OpenFlags::empty();
        let (node, source) = (NodeId::ROOT, Source::Handler);
        let writes = AtomicU64::new(0);
        OpenFile { file, node, directory: false, flags, writes, guest: false, source, backing: None }
    }

    #[test]
    fn a_closed_handle_never_names_the_file_that_took_its_place() {
        let handles = Handles::new();
        let all: Vec<_> = (0..100).map(|file| handles.insert(open(file))).collect();
        assert_eq!(handles.len(), 100);
        for (file, handle) in all.iter().enumerate() {
            assert_eq!(handles.get(*handle).unwrap().file, file as u32);
            assert!(handles.remove(*handle).is_some());
            assert!(handles.remove(*handle).is_none());
        }
        let again: Vec<_> = (0..100).map(|file| handles.insert(open(file))).collect();
        assert!(all.iter().all(|handle| handles.get(*handle).is_none() && !again.contains(handle)));
        assert!(handles.get(HandleId(0)).is_none());
        assert!(handles.get(HandleId(u64::MAX)).is_none());
    }
}
