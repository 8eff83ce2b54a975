//! Which nodes the kernel knows, and how many descriptors they hold.
//!
//! The table does not keep nodes alive: the session does that as long as the kernel may ask. It makes sure
//! that two names of one file lead to one node, and that descriptors never run out: past a limit the nodes
//! that were not used lately give theirs up. Where that is not possible it names those which the kernel may
//! be asked to forget.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use wharf::Kind;

use super::node::{Inode, Place};
use super::region::Key;
use super::region::{Region, Regions};

const SHARDS: usize = 16;

/// The nodes known now.
#[derive(Debug)]
pub(super) struct Table {
    shards: [Shard; SHARDS],
    /// Descriptors that nodes hold.
    descriptors: AtomicUsize,
    descriptors_max: usize,
    /// Files are found by handles, which only root may do.
    handles: bool,
    /// More descriptors than this make the table look for some to give up.
    sweep_above: AtomicUsize,
    next_swept: AtomicUsize,
    pub(super) regions: Regions,
}

// Two shards in one cache line would make two CPUs meet there.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Shard(Mutex<HashMap<Key, Weak<Inode>>>);

impl Shard {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<Inode>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    pub(super) fn new(descriptors_max: usize, handles: bool) -> Arc<Table> {
        Arc::new(Table {
            shards: Default::default(),
            descriptors: AtomicUsize::new(0),
            descriptors_max,
            handles,
            sweep_above: AtomicUsize::new(descriptors_max),
            next_swept: AtomicUsize::new(0),
            regions: Regions::default(),
        })
    }

    /// The node of a file just found, new or known.
    pub(super) fn node(
        self: &Arc<Self>,
        region: &Arc<Region>,
        inode: u64,
        kind: Kind,
        found: OwnedFd,
    ) -> Arc<Inode> {
        let key = Key { region: region.index, inode };
        let mut shard = self.shard(key).lock();
        let known = shard.get(&key).and_then(Weak::upgrade);
        if let Some(known) = &known
            && known.is(found.as_fd())
        {
            // `found` is closed, and `known` perhaps dropped, without the lock.
            drop(shard);
            return known.clone();
        }
        // A known node that is another file had given up its descriptor, was removed, and its number used
        // again. The kernel still knows it by that number, so this one needs another.
        let number = if known.is_some() { self.regions.fresh_number() } else { self.regions.number(key) };
        let place = Place { table: self, region };
        let new = Arc::new(Inode::new(key, number, kind, place, found));
        shard.insert(key, Arc::downgrade(&new));
        drop(shard);
        drop(known);
        self.descriptor_opened();
        new
    }

    /// A node is gone. Called when it is dropped.
    pub(super) fn forgotten(&self, inode: &Inode, had_descriptor: bool) {
        let mut shard = self.shard(inode.key).lock();
        // Another may have taken its place already.
        if shard.get(&inode.key).is_some_and(|weak| std::ptr::eq(weak.as_ptr(), inode)) {
            shard.remove(&inode.key);
        }
        drop(shard);
        if had_descriptor {
            self.descriptors.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A node opened its descriptor. If there are too many now, others give theirs up.
    pub(super) fn descriptor_opened(&self) {
        let count = self.descriptors.fetch_add(1, Ordering::Relaxed) + 1;
        if self.handles && self.sweep_is_due(count) {
            self.sweep();
        }
    }

    /// Gives up descriptors, shard by shard, until there are few enough. What was used since the last round
    /// stays in the first, so the second finds what the first did not.
    fn sweep(&self) {
        for _ in 0..2 * SHARDS {
            let given_up = self.next_shard().iter().filter(|node| node.give_up_descriptor()).count();
            let before = self.descriptors.fetch_sub(given_up, Ordering::Relaxed);
            if before - given_up <= self.descriptors_max {
                self.sweep_above.store(self.descriptors_max, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Whether so many descriptors are too many. Not for a while afterwards, or lookups would do nothing else
    /// while all nodes are in use.
    fn sweep_is_due(&self, count: usize) -> bool {
        let above = self.sweep_above.load(Ordering::Relaxed);
        if count <= self.descriptors_max {
            if above != self.descriptors_max {
                self.sweep_above.store(self.descriptors_max, Ordering::Relaxed);
            }
            return false;
        }
        let pause = count + (self.descriptors_max / SHARDS).max(1);
        count > above
            && self.sweep_above.compare_exchange(above, pause, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Numbers of nodes that were not used lately, if there are more descriptors than there should be and
    /// nodes cannot do without.
    pub(super) fn surplus(&self) -> Vec<u64> {
        if self.handles || !self.sweep_is_due(self.descriptors.load(Ordering::Relaxed)) {
            return Vec::new();
        }
        let wanted = self.descriptors_max / 4;
        let mut surplus = Vec::new();
        for _ in 0..SHARDS {
            let nodes = self.next_shard();
            surplus.extend(nodes.iter().filter(|node| !node.was_used()).map(|node| node.number));
            if surplus.len() >= wanted {
                break;
            }
        }
        surplus
    }

    /// The nodes of the shard whose turn it is. They may be the last to hold them, so no lock is held after.
    fn next_shard(&self) -> Vec<Arc<Inode>> {
        let turn = self.next_swept.fetch_add(1, Ordering::Relaxed) % SHARDS;
        self.shards[turn].lock().values().filter_map(Weak::upgrade).collect()
    }

    fn shard(&self, key: Key) -> &Shard {
        // Consecutive numbers go to different shards; the multiplication spreads those that share low bits.
        let mixed = (key.inode ^ u64::from(key.region) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &self.shards[(mixed >> 60) as usize % SHARDS]
    }

    /// Descriptors that nodes hold now.
    #[cfg(test)]
    pub(super) fn descriptors(&self) -> usize {
        self.descriptors.load(Ordering::Relaxed)
    }
}
