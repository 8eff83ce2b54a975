//! The bytes of files: writing them to their clusters, and changing how many there are.
//!
//! Bytes go to the disc at once, past every cache of ours, and so before the entry that tells of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wharf::error::Kind;
use wharf::{Data, Error, Result};

use super::medium::Lane;
use super::node::{Facts, Inode};
use super::runs::Span;
use super::slot::ARCHIVE;
use super::table;
use super::volume::{BUFFER_BYTES, Cut, Freed, Link, Shared, State};

/// The longest file.
pub(super) const FILE_BYTES_MAX: u64 = u32::MAX as u64;

impl Shared {
    /// Takes free clusters, and strings them together.
    ///
    /// # Errors
    /// `NoSpace`, if not even those would do that wait to become free.
    pub(super) async fn allocate(
        &self,
        state: &mut State,
        lane: Lane<'_>,
        count: u32,
        after: Option<u32>,
    ) -> Result<Vec<Span>> {
        if self.free(state) < count {
            let waiting: u32 = state.pending.frees.iter().map(Freed::count).sum();
            if self.free(state).saturating_add(waiting) < count {
                return Err(Error::no_space());
            }
            self.flush(state, lane).await?;
        }
        let space = state.space.as_mut().ok_or_else(Error::read_only)?;
        let spans = space.allocate(count, after)?;
        state.claim(spans.iter().copied());
        if let Err(error) = self.access(lane).string(&mut state.cache, &spans).await {
            state.pending.frees.push(Freed { spans, token: None });
            return Err(error);
        }
        Ok(spans)
    }

    /// Clusters that are free this moment.
    pub(super) fn free(&self, state: &State) -> u32 {
        state.space.as_ref().map_or(0, |space| space.free())
    }

    /// Writes to a file. Returns how many bytes: fewer than there are if the disc or the longest file is full.
    pub(super) async fn write(
        &self,
        lane: Lane<'_>,
        inode: &Arc<Inode>,
        offset: u64,
        data: Data<'_>,
    ) -> Result<usize> {
        if offset >= FILE_BYTES_MAX && !data.is_empty() {
            return Err(Error::new(Kind::TooLarge));
        }
        let mut data = data.part(0..(FILE_BYTES_MAX - offset).min(data.len() as u64) as usize);
        if data.is_empty() {
            return Ok(0);
        }
        self.medium.disc().check()?;
        let align = self.medium.alignment() as u64;
        let mut end = offset + data.len() as u64;
        let whole = offset.is_multiple_of(align) && end.is_multiple_of(align);
        let inside = end <= u64::from(inode.facts().slot.size());
        // Parts of sectors are read, changed and written; two at once would lose one.
        let _gate = if whole && inside { None } else { Some(inode.gate.take().await) };
        let (size, have) = {
            let facts = inode.facts();
            facts.sound()?;
            (u64::from(facts.slot.size()), facts.runs.as_ref().map_or(0, |runs| runs.len()))
        };
        let each = u64::from(self.geometry.cluster_bytes);
        let need = end.div_ceil(each) as u32;
        if need > have {
            let reach = self.grow(lane, inode, have, need, offset).await?;
            data = data.part(0..(reach - offset).min(data.len() as u64) as usize);
            end = offset + data.len() as u64;
        }
        let done = self.fill(lane, inode, size, offset, data).await;
        if let Err(error) = done {
            if need > have {
                self.shrink(lane, inode, size).await;
            }
            return Err(error);
        }
        let (stamp, _) = self.zone().stamp(self.now());
        {
            let mut facts = inode.facts();
            if end > u64::from(facts.slot.size()) {
                facts.slot.set_size(end as u32);
            }
            facts.slot.set_modified(stamp);
            let attributes = facts.slot.attributes() | ARCHIVE;
            facts.slot.set_attributes(attributes);
        }
        self.data_written.store(true, Ordering::Release);
        self.touch(inode);
        Ok((end - offset) as usize)
    }

    /// Gives a file clusters from `have` to `need`, or as many as there are. Returns how far they reach, which is
    /// beyond `offset`.
    async fn grow(
        &self,
        lane: Lane<'_>,
        inode: &Arc<Inode>,
        have: u32,
        need: u32,
        offset: u64,
    ) -> Result<u64> {
        let mut state = self.state_to_change(lane).await?;
        let each = u64::from(self.geometry.cluster_bytes);
        match self.lengthen_file(&mut state, lane, inode, need - have).await {
            Ok(()) => Ok(u64::from(need) * each),
            Err(error) if error.kind() == Kind::NoSpace => {
                let free = self.free(&state).min(need - have);
                let reach = u64::from(have + free) * each;
                if reach <= offset {
                    return Err(error);
                }
                if free > 0 {
                    self.lengthen_file(&mut state, lane, inode, free).await?;
                }
                Ok(reach)
            }
            Err(error) => Err(error),
        }
    }

    async fn lengthen_file(
        &self,
        state: &mut State,
        lane: Lane<'_>,
        inode: &Arc<Inode>,
        count: u32,
    ) -> Result<()> {
        if state.pending.cuts.iter().any(|cut| cut.owner == inode.number) {
            // The disc must first know of the old end.
            self.flush(state, lane).await?;
        }
        let tail = inode.facts().runs.as_ref().and_then(|runs| runs.last());
        let spans = self.allocate(state, lane, count, tail).await?;
        let fresh = {
            let mut facts = inode.facts();
            let gone = facts.is_gone();
            let linked = facts.linked;
            let runs = facts.runs.get_or_insert_default();
            let fresh = runs.len() > linked;
            spans.iter().for_each(|span| runs.push(*span));
            match tail {
                None => facts.slot.set_first(spans[0].first, self.geometry.width),
                Some(tail) if !fresh && !gone => {
                    state.pending.links.push(Link { owner: inode.number, tail, to: spans[0].first });
                }
                Some(_) => {}
            }
            fresh && !gone
        };
        if let Some(tail) = tail.filter(|_| fresh) {
            let next = table::Link::Next(spans[0].first);
            self.access(lane).set(&mut state.cache, tail, next).await?;
        }
        self.touch(inode);
        Ok(())
    }

    /// Zeros from the end of the file to `offset`, then the data.
    async fn fill(
        &self,
        lane: Lane<'_>,
        inode: &Inode,
        size: u64,
        offset: u64,
        data: Data<'_>,
    ) -> Result<()> {
        if offset > size {
            let mut zeros = self.buffer()?;
            zeros.window(BUFFER_BYTES)?.zero(0..BUFFER_BYTES);
            let mut at = size;
            while at < offset {
                let count = (offset - at).min(BUFFER_BYTES as u64 - at % BUFFER_BYTES as u64) as usize;
                self.put(lane, inode, at, zeros.data(count)?, size).await?;
                at += count as u64;
            }
            self.buffer_back(zeros);
        }
        self.put(lane, inode, offset, data, size).await
    }

    /// Writes to clusters that the file has, to all runs of them at once. Behind `size` there is nothing to be kept.
    async fn put(&self, lane: Lane<'_>, inode: &Inode, offset: u64, data: Data<'_>, size: u64) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let align = self.medium.alignment();
        // What reads hold; so nobody is given these clusters before they are written.
        let (places, _token) = {
            let facts = inode.facts();
            (self.places(&facts, offset, data.len())?, facts.token.clone())
        };
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        let mut done = 0;
        for (place, count) in places {
            let piece = data.part(done..done + count);
            let fits = place.is_multiple_of(align as u64) && piece.as_ptr().addr().is_multiple_of(align);
            let sectors = if fits { count - count % align } else { 0 };
            if sectors > 0 {
                whole.push((place, piece.part(0..sectors)));
            }
            if sectors < count {
                let beyond = offset + (done + count) as u64 >= size;
                parts.push((place + sectors as u64, piece.part(sectors..count), beyond));
            }
            done += count;
        }
        self.medium.write_runs(lane, whole).await?;
        for (place, piece, beyond) in parts {
            self.put_parts(lane, place, piece, beyond).await?;
        }
        Ok(())
    }

    /// Where on the volume `len` bytes of a file lie, run by run.
    fn places(&self, facts: &Facts, offset: u64, len: usize) -> Result<Vec<(u64, usize)>> {
        let each = u64::from(self.geometry.cluster_bytes);
        let runs = facts.runs.as_ref().ok_or(Error::io("writing a file that was not opened"))?;
        let (mut places, mut done) = (Vec::new(), 0);
        for run in runs.from((offset / each) as u32) {
            if done == len {
                break;
            }
            let skip = offset + done as u64 - u64::from(run.index) * each;
            let room = u64::from(run.span.count) * each - skip;
            let count = (len - done).min(usize::try_from(room).unwrap_or(usize::MAX));
            places.push((self.geometry.offset(run.span.first) + skip, count));
            done += count;
        }
        if done < len {
            return Err(Error::io("writing behind the clusters of a file"));
        }
        Ok(places)
    }

    /// Writes what is no whole sectors, or not where a disc can take it from. With `beyond` nothing behind the data
    /// is to be kept.
    async fn put_parts(&self, lane: Lane<'_>, place: u64, data: Data<'_>, beyond: bool) -> Result<()> {
        let align = self.medium.alignment();
        let mut buffer = self.buffer()?;
        let mut done = 0;
        while done < data.len() {
            let at = place + done as u64;
            let skip = (at % align as u64) as usize;
            let begin = at - skip as u64;
            let count = (data.len() - done).min(BUFFER_BYTES - skip);
            let wide = (skip + count).next_multiple_of(align);
            let ends_short = skip + count < wide;
            let keeps_tail = ends_short && !(beyond && done + count == data.len());
            if keeps_tail || skip > 0 {
                self.medium.read(lane, begin, buffer.window(wide)?).await?;
            }
            let mut window = buffer.window(wide)?;
            window.put_at(skip, &data[done..done + count]);
            if ends_short && !keeps_tail {
                window.zero(skip + count..wide);
            }
            self.medium.write(lane, begin, buffer.data(wide)?).await?;
            done += count;
        }
        self.buffer_back(buffer);
        Ok(())
    }

    /// After a write that failed: the clusters behind the file's end go back.
    async fn shrink(&self, lane: Lane<'_>, inode: &Arc<Inode>, size: u64) {
        let Ok(mut state) = self.state().await else { return };
        let keep = size.div_ceil(self.geometry.cluster_bytes.into()) as u32;
        if let Err(error) = self.cut(&mut state, lane, inode, keep).await {
            log::warn!("file {}: clusters behind its end stay with it: {error}", inode.number);
        }
    }

    /// Makes a file shorter, or longer by zeros.
    pub(super) async fn resize(&self, lane: Lane<'_>, inode: &Arc<Inode>, size: u64) -> Result<()> {
        if size > FILE_BYTES_MAX {
            return Err(Error::new(Kind::TooLarge));
        }
        let _gate = inode.gate.take().await;
        let each = u64::from(self.geometry.cluster_bytes);
        let need = size.div_ceil(each) as u32;
        let old = {
            let mut state = self.state_to_change(lane).await?;
            self.load(&mut state, lane, inode).await?;
            let (old, have) = {
                let facts = inode.facts();
                facts.sound()?;
                (u64::from(facts.slot.size()), facts.runs.as_ref().map_or(0, |runs| runs.len()))
            };
            if size <= old {
                inode.facts().slot.set_size(size as u32);
                self.cut(&mut state, lane, inode, need).await?;
            } else if need > have {
                self.lengthen_file(&mut state, lane, inode, need - have).await?;
            }
            old
        };
        if size > old {
            let mut nothing = self.buffer()?;
            if let Err(error) = self.fill(lane, inode, old, size, nothing.data(0)?).await {
                self.shrink(lane, inode, old).await;
                return Err(error);
            }
            self.buffer_back(nothing);
            self.data_written.store(true, Ordering::Release);
            inode.facts().slot.set_size(size as u32);
        }
        let (stamp, _) = self.zone().stamp(self.now());
        inode.facts().slot.set_modified(stamp);
        self.touch(inode);
        Ok(())
    }

    /// Takes all clusters but the first `keep` from a file. They are free when no read sees them any more, and when
    /// the disc knows that the file is shorter.
    async fn cut(&self, state: &mut State, lane: Lane<'_>, inode: &Arc<Inode>, keep: u32) -> Result<()> {
        let fresh_tail = {
            let mut facts = inode.facts();
            let Some(runs) = &mut facts.runs else { return Ok(()) };
            let spans = runs.cut(keep);
            if spans.is_empty() {
                return Ok(());
            }
            let tail = runs.last();
            let token = std::mem::take(&mut facts.token);
            state.pending.frees.push(Freed { spans, token: Some(token) });
            if keep <= facts.linked {
                state.pending.links.retain(|link| link.owner != inode.number);
            }
            match tail {
                None => {
                    facts.slot.set_first(0, self.geometry.width);
                    facts.linked = 0;
                    None
                }
                Some(tail) if keep > facts.linked => Some(tail),
                Some(tail) => {
                    if keep < facts.linked && !facts.is_gone() {
                        state.pending.cuts.push(Cut { owner: inode.number, tail });
                    }
                    facts.linked = keep;
                    None
                }
            }
        };
        self.touch(inode);
        match fresh_tail {
            Some(tail) => self.access(lane).set(&mut state.cache, tail, table::Link::End).await,
            None => Ok(()),
        }
    }
}
