//! Bringing changes to the disc in an order in which every moment is a volume that makes sense.
//!
//! | stage | written | if the power fails before the next |
//! |---|---|---|
//! | 1 | new chains, new clusters of directories; bytes of files are there already | clusters that are nobody's |
//! | 2 | links from old chains to new ones | a chain that is longer than its file |
//! | 3 | names that something is moved to | one file of two names |
//! | 4 | all other entries | clusters that are nobody's; chains longer than their files |
//! | 5 | ends of chains that were cut | clusters that are nobody's |
//! | 6 | free clusters, and how many there are | nothing |
//!
//! Between two stages the disc is waited for. What is freed is given to nobody before stage 4 is on the disc.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wharf::Result;

use crate::desk::block_on;

use super::cache::Stage;
use super::index::Home;
use super::medium::Lane;
use super::names::OF_DIRECTORY;
use super::node::Inode;
use super::table::Link;
use super::volume::{Bell, Freed, Shared, State};

/// Marks and places in the sector that tells how many clusters are free.
const INFO_MARKS: [(u64, [u8; 4]); 2] = [(0, *b"RRaA"), (484, *b"rrAa")];
const INFO_FREE: u64 = 488;

impl Shared {
    /// Brings everything that was changed until now to the disc.
    ///
    /// # Errors
    /// Those of the disc. What it did not take is tried again by the next flush.
    pub(super) async fn flush(&self, state: &mut State, lane: Lane<'_>) -> Result<()> {
        self.bury(state);
        self.flush_some(state, lane, None).await
    }

    /// Brings a file to the disc, with all directories, in the same order. What other files have become stays here, but
    /// for those of which the directories tell already; and so does what they and this one gave up: no cluster becomes
    /// free.
    ///
    /// # Errors
    /// As for all.
    pub(super) async fn flush_file(&self, state: &mut State, lane: Lane<'_>, inode: &Inode) -> Result<()> {
        self.flush_some(state, lane, Some(inode.number)).await
    }

    async fn flush_some(&self, state: &mut State, lane: Lane<'_>, only: Option<u64>) -> Result<()> {
        self.medium.still_there()?;
        let dirty = match only {
            None => std::mem::take(&mut *self.dirty()),
            Some(number) => {
                let meant = |other: &u64, inode: &mut Arc<Inode>| *other == number || inode.facts().told;
                self.dirty().extract_if(meant).collect()
            }
        };
        let data = self.data_written.swap(false, Ordering::AcqRel);
        let flushed = self.flush_stages(state, lane, &dirty, data, only.is_none()).await;
        if flushed.is_err() {
            self.data_written.fetch_or(data, Ordering::AcqRel);
            let mut again = self.dirty();
            for (number, inode) in dirty {
                again.entry(number).or_insert(inode);
            }
        }
        flushed
    }

    async fn flush_stages(
        &self,
        state: &mut State,
        lane: Lane<'_>,
        dirty: &HashMap<u64, Arc<Inode>>,
        data: bool,
        all: bool,
    ) -> Result<()> {
        let meant = |owner: u64| all || owner & OF_DIRECTORY != 0 || dirty.contains_key(&owner);
        for inode in dirty.values() {
            self.write_entry(state, lane, inode).await?;
        }
        let pending = &state.pending;
        let changes = !pending.links.is_empty()
            || !pending.cuts.is_empty()
            || !pending.frees.is_empty()
            || [Stage::Fresh, Stage::First, Stage::Entries].iter().any(|stage| state.cache.any_waits(*stage));
        if changes && !state.marked {
            self.mark(state, lane, true).await?;
        }
        if data || state.cache.any_waits(Stage::Fresh) {
            self.stage(state, lane, Stage::Fresh).await?;
        }
        let links = state.pending.links.iter().filter(|link| meant(link.owner));
        let links: Vec<_> = links.map(|link| (link.tail, link.to)).collect();
        if !links.is_empty() {
            for (tail, to) in links {
                self.access(lane).set(&mut state.cache, tail, Link::Next(to)).await?;
            }
            self.stage(state, lane, Stage::Fresh).await?;
            state.pending.links.retain(|link| !meant(link.owner));
        }
        self.linked(state, dirty);
        for stage in [Stage::First, Stage::Entries] {
            if state.cache.any_waits(stage) {
                self.stage(state, lane, stage).await?;
            }
        }
        state.pending.last.clear();
        let cuts: Vec<_> =
            state.pending.cuts.iter().filter(|cut| meant(cut.owner)).map(|cut| cut.tail).collect();
        if !cuts.is_empty() {
            for tail in cuts {
                self.access(lane).set(&mut state.cache, tail, Link::End).await?;
            }
            self.stage(state, lane, Stage::Fresh).await?;
            state.pending.cuts.retain(|cut| !meant(cut.owner));
        }
        // What others gave up is still theirs, as far as the disc knows.
        if all { self.free_clusters(state, lane).await } else { Ok(()) }
    }

    async fn stage(&self, state: &mut State, lane: Lane<'_>, stage: Stage) -> Result<()> {
        let geometry = &self.geometry;
        state.cache.flush(&self.medium, lane, stage, &geometry.table, &geometry.copies).await?;
        self.medium.barrier(lane).await
    }

    /// Puts what is known of a node into its directory.
    async fn write_entry(&self, state: &mut State, lane: Lane<'_>, inode: &Inode) -> Result<()> {
        let (place, slot) = {
            let mut facts = inode.facts();
            let Some(place) = facts.place else { return Ok(()) };
            facts.told = true;
            (place, facts.slot)
        };
        let index = self.index(state, lane, place.0).await?;
        match index.entry_mut(place.1) {
            Some(entry) if entry.slot != slot => entry.slot = slot,
            _ => return Ok(()),
        }
        self.put_slots(state, lane, place.0, place.1, &[slot.0], Stage::Entries).await
    }

    /// The disc has all chains as they are here.
    fn linked(&self, state: &mut State, dirty: &HashMap<u64, Arc<Inode>>) {
        for inode in dirty.values() {
            let mut facts = inode.facts();
            facts.linked = facts.runs.as_ref().map_or(0, |runs| runs.len());
            facts.told = false;
        }
        for index in state.indexes.values_mut() {
            if let Home::Chain(runs) = &index.home {
                index.linked = runs.len();
            }
        }
    }

    /// Frees what nobody reads any more.
    async fn free_clusters(&self, state: &mut State, lane: Lane<'_>) -> Result<()> {
        let read = |freed: &Freed| freed.token.as_ref().is_some_and(|token| Arc::strong_count(token) > 1);
        let (kept, frees): (Vec<Freed>, Vec<Freed>) =
            std::mem::take(&mut state.pending.frees).into_iter().partition(read);
        state.pending.frees = kept;
        let before = state.space.as_ref().map(|space| space.free());
        for freed in frees {
            for span in &freed.spans {
                for cluster in span.first..span.first + span.count {
                    self.access(lane).set(&mut state.cache, cluster, Link::Free).await?;
                }
            }
            state.unclaim(&freed.spans);
            if let Some(space) = &mut state.space {
                freed.spans.iter().for_each(|span| space.release(*span));
            }
        }
        let after = state.space.as_ref().map(|space| space.free());
        if let Some(info) = self.geometry.info
            && (state.cache.any_waits(Stage::Fresh) || before != after || state.told_free != after)
        {
            self.write_info(state, lane, info).await?;
            state.told_free = after;
        }
        let (table, copies) = (&self.geometry.table, &self.geometry.copies);
        state.cache.flush(&self.medium, lane, Stage::Fresh, table, copies).await
    }

    /// How many clusters are free, as the volume says.
    pub(super) async fn read_info(&self, state: &mut State, lane: Lane<'_>) -> Result<Option<u32>> {
        let Some(info) = self.geometry.info else { return Ok(None) };
        for (at, mark) in INFO_MARKS {
            let mut there = [0; 4];
            state.cache.read(&self.medium, lane, info + at, &mut there).await?;
            if there != mark {
                return Ok(None);
            }
        }
        let mut free = [0; 4];
        state.cache.read(&self.medium, lane, info + INFO_FREE, &mut free).await?;
        Ok(Some(u32::from_le_bytes(free)))
    }

    async fn write_info(&self, state: &mut State, lane: Lane<'_>, info: u64) -> Result<()> {
        let Some(space) = &state.space else { return Ok(()) };
        let told = [space.free().to_le_bytes(), space.next().to_le_bytes()].concat();
        if self.read_info(state, lane).await?.is_none() {
            return Ok(());
        }
        state.cache.write(&self.medium, lane, info + INFO_FREE, &told, Stage::Fresh).await
    }

    /// Says on the disc whether the volume is in use.
    async fn mark(&self, state: &mut State, lane: Lane<'_>, in_use: bool) -> Result<()> {
        let mut byte = [0];
        state.cache.read(&self.medium, lane, self.geometry.state, &mut byte).await?;
        byte[0] = byte[0] & !1 | u8::from(in_use);
        state.cache.write(&self.medium, lane, self.geometry.state, &byte, Stage::Fresh).await?;
        state.marked = in_use;
        Ok(())
    }

    /// The last flush: afterwards the disc says that it was unmounted cleanly.
    pub(super) async fn close(&self) -> Result<()> {
        let mut state = self.state().await?;
        if state.space.is_none() {
            return Ok(());
        }
        self.flush(&mut state, Lane::Thread).await?;
        self.medium.barrier(Lane::Thread).await?;
        if state.marked && !self.was_in_use {
            self.mark(&mut state, Lane::Thread, false).await?;
            self.stage(&mut state, Lane::Thread, Stage::Fresh).await?;
        }
        Ok(())
    }

    /// The life of the thread that flushes what has waited for a while.
    pub(super) fn keep_flushing(&self, after: Duration) {
        let (bell, rope) = &self.bell;
        let mut failing = false;
        loop {
            let mut state = bell.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            while *state == Bell::Quiet {
                state = rope.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
            }
            let over = |state: &mut Bell| *state != Bell::Over;
            let waited = rope.wait_timeout_while(state, after, over);
            let (mut state, _) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            if *state == Bell::Over {
                return;
            }
            *state = Bell::Quiet;
            drop(state);
            let flushed = block_on(async {
                let mut state = self.state().await?;
                self.flush(&mut state, Lane::Thread).await
            });
            match flushed {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        log::error!("what was changed cannot be written: {error}");
                    }
                    if self.medium.disc().is_lost() {
                        return;
                    }
                    self.ring(Bell::Changed);
                }
            }
        }
    }
}
