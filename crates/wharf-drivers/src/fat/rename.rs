//! Moving names. Two sectors of a disc cannot change together, so the new name is written before the old one
//! goes: a power cut between the two leaves both, never none.

use std::sync::Arc;

use wharf::op::RenameHow;
use wharf::{Error, Result};

use super::cache::Stage;
use super::index::{Home, SLOTS_MAX};
use super::medium::Lane;
use super::node::{Inode, Place};
use super::slot::Slot;
use super::volume::{Shared, State};

/// From where to where.
pub(super) struct Move<'a> {
    pub(super) parent: &'a Arc<Inode>,
    pub(super) from: &'a str,
    pub(super) new_parent: &'a Arc<Inode>,
    pub(super) to: &'a str,
    pub(super) how: RenameHow,
}

impl Shared {
    /// Moves a name, and removes what had the new one.
    pub(super) async fn rename(
        self: &Arc<Self>,
        state: &mut State,
        lane: Lane<'_>,
        names: Move<'_>,
    ) -> Result<()> {
        if !matches!(names.how, RenameHow::Replace | RenameHow::NoReplace) {
            return Err(Error::invalid());
        }
        let (inode, _) = self.find(state, lane, names.parent, names.from).await?;
        let from = inode.facts().place.ok_or_else(Error::not_found)?;
        let new_key = names.new_parent.key()?;
        if inode.is_directory() {
            self.not_below(state, lane, inode.key()?, new_key).await?;
        }
        let there = match self.find(state, lane, names.new_parent, names.to).await {
            Ok((there, exact)) => Some((there, exact)),
            Err(error) if error.kind() == wharf::error::Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        match there {
            Some((there, _)) if there.number == inode.number => {
                if names.how == RenameHow::NoReplace {
                    return Err(Error::exists());
                }
                self.shift(state, lane, &inode, from, new_key, names.to).await?;
            }
            Some(_) if names.how == RenameHow::NoReplace => return Err(Error::exists()),
            Some((there, exact)) => {
                self.replace(state, lane, &inode, from, &there, (new_key, names.to, exact)).await?
            }
            None => self.shift(state, lane, &inode, from, new_key, names.to).await?,
        }
        self.changed(names.parent);
        self.changed(names.new_parent);
        Ok(())
    }

    /// Fails if a directory would come to lie in itself.
    async fn not_below(&self, state: &mut State, lane: Lane<'_>, moved: u32, target: u32) -> Result<()> {
        let mut at = target;
        for _ in 0..SLOTS_MAX {
            if at == moved {
                return Err(Error::invalid());
            }
            if self.is_root_key(at) {
                return Ok(());
            }
            match self.index(state, lane, at).await?.parent {
                None | Some(0) => return Ok(()),
                Some(above) => at = above,
            }
        }
        Err(Error::io("looking for the directories above one").because("they lead in a circle"))
    }

    /// Moves an entry to a name that nothing has, or that only differs in case.
    async fn shift(
        self: &Arc<Self>,
        state: &mut State,
        lane: Lane<'_>,
        inode: &Arc<Inode>,
        from: Place,
        new_key: u32,
        to: &str,
    ) -> Result<()> {
        let slot = inode.facts().slot;
        self.settle(state, lane, from, new_key).await?;
        let (place, _, entry) = self.enter(state, lane, new_key, to, slot, Stage::First).await?;
        self.go(state, lane, inode, from, place, entry.slot).await
    }

    /// Puts a node's entry in the place of another's, which is removed.
    async fn replace(
        self: &Arc<Self>,
        state: &mut State,
        lane: Lane<'_>,
        inode: &Arc<Inode>,
        from: Place,
        there: &Arc<Inode>,
        (new_key, to, exact): (u32, &str, bool),
    ) -> Result<()> {
        let directory = there.is_directory();
        match (inode.is_directory(), directory) {
            (true, false) => return Err(Error::not_a_directory()),
            (false, true) => return Err(Error::is_a_directory()),
            _ => {}
        }
        let place = there.facts().place.ok_or_else(Error::not_found)?;
        let key = if directory { Some(there.key()?) } else { None };
        match key {
            Some(key) => self.empty(state, lane, key).await?,
            None => self.load(state, lane, there).await?,
        }
        self.settle(state, lane, from, new_key).await?;
        let gone = |state: &mut State| match key {
            Some(key) => self.removed_directory(state, there, place, key),
            None => self.removed(state, there, place),
        };
        if !exact {
            // The name as it is written now is not the one that was asked for.
            self.leave(state, lane, place, Stage::First).await?;
            gone(state);
            return self.shift(state, lane, inode, from, new_key, to).await;
        }
        let old = self.index(state, lane, place.0).await?.entry(place.1).ok_or_else(Error::not_found)?.slot;
        let mut slot = inode.facts().slot;
        slot.name(old.short(), old.case());
        self.put_slots(state, lane, place.0, place.1, &[slot.0], Stage::First).await?;
        if let Some(entry) = self.index(state, lane, place.0).await?.entry_mut(place.1) {
            entry.slot = slot;
        }
        gone(state);
        self.go(state, lane, inode, from, place, slot).await
    }

    /// The second half of a move: the node has its new entry, and loses the old one.
    async fn go(
        self: &Arc<Self>,
        state: &mut State,
        lane: Lane<'_>,
        inode: &Arc<Inode>,
        from: Place,
        to: Place,
        slot: Slot,
    ) -> Result<()> {
        {
            let mut facts = inode.facts();
            let (short, case) = (slot.short(), slot.case());
            facts.slot.name(short, case);
            facts.place = Some(to);
            facts.told = true;
        }
        state.moved(from, Some(to));
        let (old, new) = (self.sector_of(state, lane, from).await?, self.sector_of(state, lane, to).await?);
        if old == new {
            // Both change at once.
            self.leave(state, lane, from, Stage::First).await?;
        } else {
            if state.cache.waits(old, Stage::First) {
                self.flush(state, lane).await?;
            }
            self.leave(state, lane, from, Stage::Entries).await?;
            state.pending.last.insert(old, from.0);
        }
        if inode.is_directory() && from.0 != to.0 {
            self.move_above(state, lane, inode.key()?, to.0).await?;
        }
        self.touch(inode);
        Ok(())
    }

    /// Tells a directory that it has another one above it.
    async fn move_above(&self, state: &mut State, lane: Lane<'_>, key: u32, parent: u32) -> Result<()> {
        let above = self.above(parent);
        let index = self.index(state, lane, key).await?;
        index.parent = Some(above);
        let Home::Chain(_) = index.home else { return Ok(()) };
        let Some(at) = index.home.offset(&self.geometry, 1) else { return Ok(()) };
        let mut bytes = [0; 32];
        state.cache.read(&self.medium, lane, at, &mut bytes).await?;
        let mut slot = Slot(bytes);
        if slot.short() == *b"..         " {
            slot.set_first(above, self.geometry.width);
            state.cache.write(&self.medium, lane, at, &slot.0, Stage::Entries).await?;
        }
        Ok(())
    }

    /// Has everything flushed if an earlier move wants the sectors of this one in another order: one that waits
    /// to lose a name must not be written early, nor one that waits to get a name late.
    async fn settle(&self, state: &mut State, lane: Lane<'_>, from: Place, to: u32) -> Result<()> {
        let old = self.sector_of(state, lane, from).await?;
        let conflict =
            state.cache.waits(old, Stage::First) || state.pending.last.values().any(|key| *key == to);
        if conflict { self.flush(state, lane).await } else { Ok(()) }
    }

    async fn sector_of(&self, state: &mut State, lane: Lane<'_>, (key, slot): Place) -> Result<u64> {
        let offset = self.index(state, lane, key).await?.home.offset(&self.geometry, slot);
        offset.map(|offset| self.sector(offset)).ok_or(Error::io("finding an entry"))
    }
}
