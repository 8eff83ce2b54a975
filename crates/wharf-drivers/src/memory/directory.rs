//! The entries of one directory: found by name, listed by cursor.
//!
//! Every entry gets a number when it is made, larger than all before it in this directory. The number is its
//! cursor, so a listing that goes on after a cursor finds every entry that stayed exactly once, whatever was
//! made or removed meanwhile. Nothing here knows what the nodes are, no child is ever locked, and whoever adds or
//! removes an entry pays for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use wharf::{Error, Name, Result};

/// What an entry takes beside its name: its places in the two indices.
const ENTRY_BYTES: u64 = 96;

/// See the [module](self). `N` is what its entries lead to.
#[derive(Debug)]
pub(super) struct Directory<N> {
    by_name: HashMap<Arc<[u8]>, Entry<N>>,
    by_cursor: BTreeMap<u64, Listed<N>>,
    next_cursor: u64,
    charged: u64,
    /// Where it is, to see whether a directory would be moved into itself. Changed by renames only.
    parent: Weak<N>,
}

#[derive(Debug)]
struct Entry<N> {
    cursor: u64,
    inode: Arc<N>,
}

/// An entry as a listing sees it.
#[derive(Debug)]
pub(super) struct Listed<N> {
    pub(super) name: Arc<[u8]>,
    pub(super) inode: Arc<N>,
}

impl<N> Clone for Listed<N> {
    fn clone(&self) -> Listed<N> {
        Listed { name: self.name.clone(), inode: self.inode.clone() }
    }
}

/// What an entry of this name takes of the volume's bytes.
pub(super) fn cost(name: Name<'_>) -> u64 {
    ENTRY_BYTES + name.as_bytes().len() as u64
}

impl<N> Directory<N> {
    pub(super) fn new(parent: Weak<N>) -> Directory<N> {
        Directory {
            by_name: HashMap::new(),
            by_cursor: BTreeMap::new(),
            // Zero is the cursor of the start.
            next_cursor: 1,
            charged: 0,
            parent,
        }
    }

    pub(super) fn parent(&self) -> Option<Arc<N>> {
        self.parent.upgrade()
    }

    pub(super) fn moved_to(&mut self, parent: &Arc<N>) {
        self.parent = Arc::downgrade(parent);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Bytes that the entries take.
    pub(super) fn charged(&self) -> u64 {
        self.charged
    }

    /// Bytes of the names alone, which is what its size is said to be.
    pub(super) fn names_bytes(&self) -> u64 {
        self.charged - ENTRY_BYTES * self.by_name.len() as u64
    }

    pub(super) fn get(&self, name: Name<'_>) -> Option<&Arc<N>> {
        self.by_name.get(name.as_bytes()).map(|entry| &entry.inode)
    }

    /// # Errors
    /// When there is no such entry.
    pub(super) fn find(&self, name: Name<'_>) -> Result<&Arc<N>> {
        self.get(name).ok_or_else(Error::not_found)
    }

    /// Makes an entry lead elsewhere; it stays where it is in listings. Gives what it led to.
    pub(super) fn replace(&mut self, name: Name<'_>, inode: Arc<N>) -> Option<Arc<N>> {
        let entry = self.by_name.get_mut(name.as_bytes())?;
        if let Some(listed) = self.by_cursor.get_mut(&entry.cursor) {
            listed.inode = inode.clone();
        }
        Some(std::mem::replace(&mut entry.inode, inode))
    }

    /// Takes an entry out. What it took of the volume's bytes is the caller's to give back.
    pub(super) fn detach(&mut self, name: Name<'_>) -> Option<Arc<N>> {
        let entry = self.by_name.remove(name.as_bytes())?;
        self.by_cursor.remove(&entry.cursor);
        self.charged -= cost(name);
        if self.by_name.capacity() > 64 && self.by_name.len() < self.by_name.capacity() / 8 {
            self.by_name.shrink_to(self.by_name.len() * 2);
        }
        Some(entry.inode)
    }

    /// Puts an entry in that is paid for; there is none of this name.
    pub(super) fn attach(&mut self, name: Name<'_>, inode: Arc<N>) {
        self.charged += cost(name);
        let cursor = self.next_cursor;
        self.next_cursor += 1;
        let name: Arc<[u8]> = name.as_bytes().into();
        self.by_cursor.insert(cursor, Listed { name: name.clone(), inode: inode.clone() });
        self.by_name.insert(name, Entry { cursor, inode });
    }

    /// The cursor that the next entry will get.
    pub(super) fn end(&self) -> u64 {
        self.next_cursor
    }

    /// The entries after a cursor and before another.
    pub(super) fn list(&self, after: u64, end: u64) -> impl Iterator<Item = (u64, &Listed<N>)> {
        let start = after.saturating_add(1).min(end);
        self.by_cursor.range(start..end).map(|(cursor, listed)| (*cursor, listed))
    }

    /// Takes all entries out, when the directory itself goes.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Arc<N>> + use<N> {
        self.by_cursor.clear();
        std::mem::take(&mut self.by_name).into_values().map(|entry| entry.inode)
    }
}
