//! The mounted file systems (and subvolumes) that the tree extends over.
//!
//! Inode numbers are unique within a region only. The region of the root keeps its own; numbers of the
//! others get the region's index in their upper bits, and those for which that does not do are made up
//! and remembered.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

use rustix::fs::{FsWord, Mode, OFlags, fstatfs, open};

use super::echo::Echo;
use super::link::magic_link;

/// What tells one region from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RegionId {
    /// The mount, so that what is mounted in two places is two things: a directory can have only one parent.
    pub(super) mount: u64,
    /// The device, because subvolumes of one mount have devices and inode numbers of their own.
    pub(super) device: (u32, u32),
}

/// One of them.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) id: RegionId,
    pub(super) index: u32,
    /// It answers from memory, or from a disc of this machine: what it says of files in use comes at once.
    pub(super) local: bool,
    /// It is the mirror itself, mounted below its own root.
    pub(super) own: bool,
    /// Its files have the sizes that they claim to have.
    pub(super) sized: bool,
    /// Something open on it, for finding files by their handles.
    anchor: OnceLock<OwnedFd>,
    no_handles: AtomicBool,
}

impl Region {
    /// The region of this id, of which `entrance` is a part. Asks the file system, which may be slow.
    fn new(id: RegionId, entrance: BorrowedFd<'_>, own: impl FnOnce() -> bool) -> Region {
        let kind = fstatfs(entrance).map(|statfs| statfs.f_type).unwrap_or_default();
        let region = Region {
            id,
            index: 0,
            local: LOCAL.contains(&kind),
            own: kind == FUSE && own(),
            sized: !SIZELESS.contains(&kind),
            anchor: OnceLock::new(),
            no_handles: AtomicBool::new(false),
        };
        // Only a directory can be opened without side effects; what is below a mount begins with one.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if region.local
            && let Ok(anchor) = open(magic_link(entrance), flags, Mode::empty())
        {
            let _ = region.anchor.set(anchor);
        }
        region
    }

    /// Something open on the region, for calls that want more than a place.
    pub(super) fn anchor(&self) -> Option<BorrowedFd<'_>> {
        self.anchor.get().map(AsFd::as_fd)
    }

    /// Whether files can be found by handles.
    pub(super) fn has_handles(&self) -> bool {
        self.anchor.get().is_some() && !self.no_handles.load(Ordering::Relaxed)
    }

    /// Notes that they cannot.
    pub(super) fn lacks_handles(&self) {
        self.no_handles.store(true, Ordering::Relaxed);
    }
}

/// What a node is to the backing file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The region's index.
    pub(super) region: u32,
    /// Its inode number there.
    pub(super) inode: u64,
}

/// All regions, and the numbers of nodes.
#[derive(Debug, Default)]
pub(super) struct Regions {
    known: RwLock<HashMap<RegionId, Known>>,
    made_up: Mutex<MadeUp>,
    pub(super) echo: Echo,
}

/// A region that was met. Its nodes keep it: with the last of them its descriptor goes, which would keep it
/// from being unmounted. Its index stays, so that its numbers are the same when it is met again.
#[derive(Debug)]
struct Known {
    index: u32,
    region: Weak<Region>,
}

#[derive(Debug, Default)]
struct MadeUp {
    numbers: HashMap<Key, u64>,
    next: u64,
}

/// Inode numbers below this leave the upper bits free.
const INODE_BITS: u32 = 48;
/// Regions beyond this share the range of made-up numbers.
const INDEX_MAX: u32 = 0x7FFE;
const MADE_UP_FIRST: u64 = 0x7FFF << INODE_BITS;

impl Regions {
    /// The region of this id, of which `entrance` (with its inode number there) is a part. `near` is a guess.
    pub(super) fn get(
        &self,
        id: RegionId,
        near: Option<&Arc<Region>>,
        (entrance, inode): (BorrowedFd<'_>, u64),
    ) -> Arc<Region> {
        if let Some(near) = near.filter(|near| near.id == id) {
            return near.clone();
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(region) = known.get(&id).and_then(|known| known.region.upgrade()) {
            return region;
        }
        drop(known);
        let new = Region::new(id, entrance, || self.echo.comes_from(entrance, inode));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let index = known.len() as u32;
        let known = known.entry(id).or_insert(Known { index, region: Weak::new() });
        // Another thread may have been first.
        known.region.upgrade().unwrap_or_else(|| {
            let region = Arc::new(Region { index: known.index, ..new });
            known.region = Arc::downgrade(&region);
            region
        })
    }

    /// The number of a node in the volume: always the same for the same node.
    pub(super) fn number(&self, key: Key) -> u64 {
        match key.region {
            _ if key.inode >> INODE_BITS != 0 => self.made_up(key),
            region @ 0..=INDEX_MAX => u64::from(region) << INODE_BITS | key.inode,
            _ => self.made_up(key),
        }
    }

    /// A number that no other node has or had.
    pub(super) fn fresh_number(&self) -> u64 {
        self.made_up.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    fn made_up(&self, key: Key) -> u64 {
        let mut made_up = self.made_up.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = made_up.numbers.get(&key) {
            return *number;
        }
        let number = made_up.next();
        made_up.numbers.insert(key, number);
        number
    }
}

impl MadeUp {
    fn next(&mut self) -> u64 {
        let number = MADE_UP_FIRST + self.next;
        self.next += 1;
        number
    }
}

/// The magic number of FUSE.
const FUSE: FsWord = 0x6573_5546;

/// File systems (by their magic numbers) that answer from memory or from a local disc.
const LOCAL: [FsWord; 8] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683E, // Btrfs
    0x0102_1994, // tmpfs
    0xF2F5_2010, // F2FS
    0x2FC1_2FC1, // ZFS
    0xCA45_1A4E, // bcachefs
    0x794C_7630, // overlayfs
];

/// File systems whose files are made up as they are read, and say that they are empty.
const SIZELESS: [FsWord; 8] = [
    0x9FA0,      // proc
    0x6265_6572, // sysfs
    0x6367_7270, // cgroup2
    0x0027_E0EB, // cgroup
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x6265_6570, // configfs
    0x7363_6673, // securityfs
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_different_regions_never_meet() {
        let regions = Regions::default();
        let big = 1 << 60;
        let keys = [(0, 5), (1, 5), (2, 5), (0, big), (1, big), (INDEX_MAX + 1, 5), (INDEX_MAX + 2, 5)];
        let number = |(region, inode)| regions.number(Key { region, inode });
        let numbers: Vec<_> = keys.map(number).into();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), keys.len());
        assert_eq!(numbers, keys.map(number), "asked again, the same");
        assert_eq!(numbers[0], 5, "the root's region keeps its numbers");
    }
}
