//! A listing that is filled on another thread, and told afterwards.

use std::fmt;
use std::sync::Arc;

use crate::session::{EntryForm, ListForm, Sieve};
use crate::{Entry, Kind, Listed, Name, Pattern};

/// A directory listing on its way to the caller. See [`FileSystem::readdir`](super::FileSystem::readdir).
pub struct Listing<N> {
    form: EntryForm,
    sieve: Sieve<'static>,
    writer: Arc<dyn ListForm>,
    /// Bytes left in the answer.
    room: usize,
    /// All names, one after the other.
    names: Vec<u8>,
    entries: Vec<Added<N>>,
}

struct Added<N> {
    name_bytes: usize,
    inode: u64,
    kind: Kind,
    cursor: u64,
    entry: Option<Entry<N>>,
}

impl<N: Clone> Listing<N> {
    /// With as much room as there is in `list`.
    pub(super) fn apart_from(list: &mut crate::Listing<'_, N>) -> Listing<N> {
        let sieve = list.sieve().apart();
        let (form, room, writer) = list.room();
        Listing { form, sieve, writer: writer.clone(), room, names: Vec::new(), entries: Vec::new() }
    }

    /// Whether whole entries are wanted: then give them with [`add_entry`](Self::add_entry) where that is
    /// cheap, and save the lookups that would follow.
    pub fn wants_entries(&self) -> bool {
        self.form == EntryForm::Whole
    }

    /// The pattern that describes the names that are wanted, if not all are. A file system that can find such names by
    /// itself need not [add](Self::add) others; those are left out here.
    pub fn pattern(&self) -> Option<&Pattern<'static>> {
        self.sieve.pattern()
    }

    /// Whether a name is wanted, for those to whom it costs something to make an entry. Add the name all the same.
    pub fn wants(&self, name: Name<'_>) -> bool {
        self.sieve.wants(name.as_bytes())
    }

    /// Whether there is room for an entry of this name, for those to whom it costs something to compose it.
    pub fn fits(&self, name: Name<'_>) -> bool {
        self.writer.bytes(name.as_bytes().len(), self.form) <= self.room
    }

    /// Adds an entry. False when there is no room, or enough was left out for now: stop, the listing goes on later after
    /// the last cursor.
    #[must_use = "without room the listing must stop"]
    pub fn add(&mut self, listed: Listed<'_>) -> bool {
        self.push(listed, None)
    }

    /// Adds an entry with its node. False when there is no room.
    #[must_use = "without room the listing must stop"]
    pub fn add_entry(&mut self, listed: Listed<'_>, entry: Entry<N>) -> bool {
        self.push(listed, Some(entry))
    }

    fn push(&mut self, listed: Listed<'_>, entry: Option<Entry<N>>) -> bool {
        let Listed { name, inode, kind, cursor } = listed;
        if let Some(goes_on) = self.sieve.passes(name.as_bytes(), cursor) {
            return goes_on;
        }
        if !self.fits(name) {
            return false;
        }
        let name = name.as_bytes();
        self.room -= self.writer.bytes(name.len(), self.form);
        self.names.extend_from_slice(name);
        self.entries.push(Added { name_bytes: name.len(), inode, kind, cursor, entry });
        true
    }

    /// Tells the entries.
    pub(super) fn pour(self, list: &mut crate::Listing<'_, N>) {
        let mut names = &self.names[..];
        for Added { name_bytes, inode, kind, cursor, entry } in self.entries {
            let (name, rest) = names.split_at(name_bytes);
            names = rest;
            let Some(name) = Name::new(name) else { continue };
            let listed = Listed { name, inode, kind, cursor };
            let fits = match entry {
                Some(entry) => list.add_entry(listed, entry),
                None => list.add(listed),
            };
            debug_assert!(fits, "the room was counted");
        }
        list.sieve().follows(&self.sieve);
    }
}

impl<N> fmt::Debug for Listing<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("room", &self.room).field("form", &self.form).finish_non_exhaustive()
    }
}
