//! Names: finding, listing, making and removing them.

use std::sync::Arc;

use wharf::{Error, Listed, Listing, Name, Result};

use super::cache::Stage;
use super::index::{Entry, Home, Index, SLOTS_MAX};
use super::medium::Lane;
use super::name::{self, Written};
use super::node::{Inode, Place};
use super::runs::{Runs, Span};
use super::slot::{ARCHIVE, DIRECTORY, END, FREE, SLOT, Slot, long_slots};
use super::volume::{Freed, Link, Shared, State};

impl Shared {
    /// The node of a name, and whether the name is written as it was asked for.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) async fn find(
        self: &Arc<Self>,
        state: &mut State,
        lane: Lane<'_>,
        parent: &Inode,
        name: &str,
    ) -> Result<(Arc<Inode>, bool)> {
        let key = parent.key()?;
        let geometry = &self.geometry;
        let index = self.index(state, lane, key).await?;
        let slot = index.find(name).ok_or_else(Error::not_found)?;
        let entry = index.entry(slot).ok_or_else(Error::not_found)?.clone();
        let offset = index.home.offset(geometry, slot).ok_or_else(Error::not_found)?;
        let exact = &*entry.name == name;
        Ok((self.inode(state, (key, slot), offset, &entry), exact))
    }

    /// Lists a directory from a cursor on: that of an entry is its slot and one.
    pub(super) async fn list(
        self: &Arc<Self>,
        state: &mut State,
        lane: Lane<'_>,
        directory: &Inode,
        cursor: u64,
        list: &mut Listing<'_, super::Node>,
    ) -> Result<()> {
        let key = directory.key()?;
        self.index(state, lane, key).await?;
        // Taken out while nodes are made of its entries, which want the state too.
        let Some(index) = state.indexes.remove(&key) else { return Ok(()) };
        let begin = u32::try_from(cursor).unwrap_or(u32::MAX);
        for (slot, entry) in index.from(begin) {
            let (Some(name), Some(offset)) =
                (Name::new(entry.name.as_bytes()), index.home.offset(&self.geometry, slot))
            else {
                continue;
            };
            let kind = if entry.slot.is_directory() { wharf::Kind::Directory } else { wharf::Kind::File };
            let inode = state.number((key, slot), offset);
            let listed = Listed { name, inode, kind, cursor: u64::from(slot) + 1 };
            let fitted = if list.wants_entries() {
                let inode = self.inode(state, (key, slot), offset, entry);
                let attributes = inode.attributes();
                list.add_entry(listed, wharf::Entry::new(super::Node(inode), attributes))
            } else {
                list.add(listed)
            };
            if !fitted {
                break;
            }
        }
        state.indexes.insert(key, index);
        Ok(())
    }

    /// Makes a file or a directory.
    ///
    /// # Errors
    /// `Exists`, `NoSpace`.
    pub(super) async fn make(
        self: &Arc<Self>,
        state: &mut State,
        lane: Lane<'_>,
        parent: &Arc<Inode>,
        name: &str,
        directory: bool,
        attributes: u8,
    ) -> Result<Arc<Inode>> {
        let key = parent.key()?;
        if self.index(state, lane, key).await?.find(name).is_some() {
            return Err(Error::exists());
        }
        let mut slot = Slot::new([0; 11], 0, attributes | if directory { DIRECTORY } else { ARCHIVE });
        let (stamp, hundredths) = self.zone().stamp(self.now());
        slot.set_born((stamp, hundredths));
        slot.set_modified(stamp);
        slot.set_accessed(stamp);
        let mut taken = None;
        if directory {
            let spans = self.allocate(state, lane, 1, None).await?;
            let first = spans[0].first;
            slot.set_first(first, self.geometry.width);
            let filled = self.fill_directory(state, lane, first, key, slot).await;
            taken = Some(spans);
            if let Err(error) = filled {
                self.give_back(state, taken.take());
                return Err(error);
            }
        }
        match self.enter(state, lane, key, name, slot, Stage::Entries).await {
            Ok((place, offset, entry)) => {
                self.changed(parent);
                Ok(self.inode(state, place, offset, &entry))
            }
            Err(error) => {
                for span in taken.iter().flatten() {
                    state.indexes.remove(&span.first);
                }
                self.give_back(state, taken);
                Err(error)
            }
        }
    }

    fn give_back(&self, state: &mut State, spans: Option<Vec<Span>>) {
        if let Some(spans) = spans {
            state.pending.frees.push(Freed { spans, token: None });
        }
    }

    /// A new directory's first cluster: itself, the one above, and nothing.
    async fn fill_directory(
        &self,
        state: &mut State,
        lane: Lane<'_>,
        first: u32,
        parent: u32,
        like: Slot,
    ) -> Result<()> {
        let geometry = &self.geometry;
        let offset = geometry.offset(first);
        let (medium, cluster) = (&self.medium, u64::from(geometry.cluster_bytes));
        state.cache.clear(medium, lane, offset, cluster).await?;
        let mut own = like;
        own.name(*b".          ", 0);
        let mut above = like;
        above.name(*b"..         ", 0);
        above.set_first(self.above(parent), geometry.width);
        let bytes = [own.0, above.0].concat();
        state.cache.write(medium, lane, offset, &bytes, Stage::Fresh).await?;
        let mut runs = Runs::default();
        runs.push(Span { first, count: 1 });
        let index = Index::parse(Home::Chain(runs), 0, &bytes, geometry);
        state.indexes.insert(first, index);
        Ok(())
    }

    /// How `..` names a directory: the root as 0, in all widths.
    pub(super) fn above(&self, key: u32) -> u32 {
        if self.is_root_key(key) { 0 } else { key }
    }

    /// Writes an entry into a directory. Returns where it is.
    ///
    /// # Errors
    /// `NoSpace` if the directory cannot grow, or no short name is free.
    pub(super) async fn enter(
        &self,
        state: &mut State,
        lane: Lane<'_>,
        key: u32,
        name: &str,
        mut slot: Slot,
        stage: Stage,
    ) -> Result<(Place, u64, Entry)> {
        let Written { short, case, long } =
            name::written(name, self.index(state, lane, key).await?.shorts())?;
        slot.name(short, case);
        let mut slots = long.map_or(Vec::new(), |units| long_slots(&units, &short));
        let parts = slots.len() as u32;
        slots.push(slot.0);
        let count = slots.len() as u32;
        let per_sector = self.slots_per_sector();
        let index = self.index(state, lane, key).await?;
        let first = index.room(count, per_sector);
        let end = index.end();
        while self.index(state, lane, key).await?.home.slots(&self.geometry) < first + count {
            self.lengthen(state, lane, key).await?;
        }
        // What is behind the end is not looked at, so it may be anything.
        if first + count > end {
            let skipped: Vec<[u8; SLOT]> = (end..first).map(|_| marked(FREE)).collect();
            self.put_slots(state, lane, key, end, &skipped, stage).await?;
            if first + count < self.index(state, lane, key).await?.home.slots(&self.geometry) {
                self.put_slots(state, lane, key, first + count, &[marked(END)], stage).await?;
            }
        }
        self.put_slots(state, lane, key, first, &slots, stage).await?;
        let place = first + parts;
        let entry = Entry { name: name.into(), slot, parts };
        let index = self.index(state, lane, key).await?;
        let offset = index.home.offset(&self.geometry, place).ok_or(Error::io("finding a new entry"))?;
        index.insert(place, entry.clone());
        Ok(((key, place), offset, entry))
    }

    /// Gives a directory one more cluster.
    async fn lengthen(&self, state: &mut State, lane: Lane<'_>, key: u32) -> Result<()> {
        let index = self.index(state, lane, key).await?;
        let Home::Chain(runs) = &index.home else { return Err(Error::no_space()) };
        if index.home.slots(&self.geometry) + self.geometry.slots_per_cluster() > SLOTS_MAX {
            return Err(Error::no_space());
        }
        let (tail, linked) =
            (runs.last().ok_or(Error::io("lengthening a directory without clusters"))?, index.linked);
        let old = runs.len();
        let spans = self.allocate(state, lane, 1, Some(tail)).await?;
        let first = spans[0].first;
        let offset = self.geometry.offset(first);
        let cleared = state.cache.clear(&self.medium, lane, offset, self.geometry.cluster_bytes.into()).await;
        if let Err(error) = cleared {
            self.give_back(state, Some(spans));
            return Err(error);
        }
        if old > linked {
            // The tail is as new as this one.
            self.access(lane).set(&mut state.cache, tail, super::table::Link::Next(first)).await?;
        } else {
            state.pending.links.push(Link { owner: u64::from(key) | OF_DIRECTORY, tail, to: first });
        }
        if let Home::Chain(runs) = &mut self.index(state, lane, key).await?.home {
            runs.push(spans[0]);
        }
        Ok(())
    }

    /// Takes an entry out of its directory.
    pub(super) async fn leave(
        &self,
        state: &mut State,
        lane: Lane<'_>,
        (key, slot): Place,
        stage: Stage,
    ) -> Result<()> {
        let freed = self.index(state, lane, key).await?.remove(slot);
        let Some(freed) = freed else { return Err(Error::not_found()) };
        for slot in freed.rev() {
            let index = self.index(state, lane, key).await?;
            let at = index.home.offset(&self.geometry, slot).ok_or(Error::io("removing an entry"))?;
            state.cache.write(&self.medium, lane, at, &[FREE], stage).await?;
        }
        Ok(())
    }

    /// Removes a file's name. Its bytes live on while somebody has it open.
    pub(super) async fn unlink(
        self: &Arc<Self>,
        state: &mut State,
        lane: Lane<'_>,
        parent: &Arc<Inode>,
        name: &str,
    ) -> Result<()> {
        let (inode, _) = self.find(state, lane, parent, name).await?;
        if inode.is_directory() {
            return Err(Error::is_a_directory());
        }
        self.load(state, lane, &inode).await?;
        let Some(place) = inode.facts().place else { return Err(Error::not_found()) };
        self.leave(state, lane, place, Stage::Entries).await?;
        self.removed(state, &inode, place);
        self.changed(parent);
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) async fn rmdir(
        self: &Arc<Self>,
        state: &mut State,
        lane: Lane<'_>,
        parent: &Arc<Inode>,
        name: &str,
    ) -> Result<()> {
        let (inode, _) = self.find(state, lane, parent, name).await?;
        let key = inode.key()?;
        self.empty(state, lane, key).await?;
        let Some(place) = inode.facts().place else { return Err(Error::not_found()) };
        self.leave(state, lane, place, Stage::Entries).await?;
        self.removed_directory(state, &inode, place, key);
        self.changed(parent);
        Ok(())
    }

    /// Fails unless a directory is empty.
    pub(super) async fn empty(&self, state: &mut State, lane: Lane<'_>, key: u32) -> Result<()> {
        if self.index(state, lane, key).await?.is_empty() { Ok(()) } else { Err(Error::not_empty()) }
    }

    /// A file's entry has gone.
    pub(super) fn removed(&self, state: &mut State, inode: &Arc<Inode>, place: Place) {
        state.moved(place, None);
        inode.facts().place = None;
        // What was to be changed of its chain does not matter any more.
        state.pending.links.retain(|link| link.owner != inode.number);
        self.dirty().remove(&inode.number);
    }

    /// A directory's entry has gone, and its clusters with it.
    pub(super) fn removed_directory(&self, state: &mut State, inode: &Arc<Inode>, place: Place, key: u32) {
        self.removed(state, inode, place);
        state.pending.links.retain(|link| link.owner != u64::from(key) | OF_DIRECTORY);
        let Some(index) = state.indexes.remove(&key) else { return };
        for (offset, len) in index.home.spans(&self.geometry) {
            state.cache.discard(offset, len);
        }
        if let Home::Chain(runs) = index.home {
            state.pending.frees.push(Freed { spans: runs.spans().collect(), token: None });
        }
    }

    /// A directory was changed: now.
    pub(super) fn changed(&self, directory: &Arc<Inode>) {
        let (stamp, _) = self.zone().stamp(self.now());
        directory.facts().slot.set_modified(stamp);
        self.touch(directory);
    }
}

/// Tells the owners of links that are directories from files.
pub(super) const OF_DIRECTORY: u64 = 1 << 63;

fn marked(first: u8) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[0] = first;
    slot
}
