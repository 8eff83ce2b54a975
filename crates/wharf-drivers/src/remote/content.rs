//! The contents of one version of one file: blocks that are here, blocks that are on their way, and all that
//! is asked for from the service by ranges.
//!
//! A block is fetched once however many wait for it. It is never made of two versions: all of a file's blocks
//! belong to the version that was opened, and the service is asked for exactly that.
//!
//! What a service says of a version, a size and a time, may be the same before and after a change that is made
//! here. So contents end with every such change, whatever the service says: what is fetched of them from then
//! on is thrown away, and the next who reads begins with new ones.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::watch;
use wharf::Error;

use super::Result;
use super::arrivals::{Arrivals, Flight, State, bring, landed};
use super::cache::{BLOCK_BYTES, Cache};
use super::disc_cache::DiscCache;
use super::engine::Engine;
use super::meta::Version;
use super::store::Store;
use super::stream::Stream;

/// What all contents of a volume share.
#[derive(Debug)]
pub(super) struct Supply {
    pub(super) store: Arc<Store>,
    pub(super) engine: Engine,
    pub(super) cache: Cache,
    pub(super) disc: Option<DiscCache>,
}

impl Supply {
    fn is_on_disc(&self, content: &Content, index: u32) -> bool {
        self.disc.as_ref().is_some_and(|disc| disc.has(content, index))
    }
}

/// One version of one file.
#[derive(Debug)]
pub(super) struct Content {
    /// For the cache: no other contents ever have it.
    pub(super) id: u64,
    path: Mutex<Arc<str>>,
    pub(super) version: Version,
    on_their_way: Mutex<HashMap<u32, Flight>>,
    /// Long requests that may be extended. Locked only by who has locked what is on its way.
    streams: Mutex<Vec<Weak<Stream>>>,
    /// A change was made here, or is about to be: the path has other contents.
    ended: AtomicBool,
    /// All of a short file that was replaced here, for those who were on their way to it.
    held: OnceLock<Bytes>,
}

/// A block, now or soon.
enum Block {
    Here(Bytes),
    Flying(Flight),
}

impl Content {
    pub(super) fn new(path: Arc<str>, version: Version) -> Arc<Content> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Arc::new(Content {
            id,
            path: Mutex::new(path),
            version,
            on_their_way: Mutex::default(),
            streams: Mutex::default(),
            ended: AtomicBool::new(false),
            held: OnceLock::new(),
        })
    }

    /// From now on nothing that arrives belongs to it.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Whether there are newer contents to be asked for.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Contents that nothing needs to be fetched of any more.
    pub(super) fn held(path: Arc<str>, version: Version, bytes: Bytes) -> Arc<Content> {
        let content = Content::lost(path, version);
        content.held.get_or_init(|| bytes);
        content
    }

    /// Contents that cannot be had any more.
    pub(super) fn lost(path: Arc<str>, version: Version) -> Arc<Content> {
        let content = Content::new(path, version);
        content.end();
        content
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.get().is_some()
    }

    /// All of a file of one block, if it is here.
    pub(super) fn whole(&self, supply: &Supply) -> Option<Bytes> {
        let whole = |bytes: &Bytes| bytes.len() as u64 == self.version.size;
        match self.version.size {
            0 => Some(Bytes::new()),
            _ => supply.cache.get((self.id, 0)).filter(whole),
        }
    }

    /// All of a file of one block is known without being fetched.
    pub(super) fn fill(&self, supply: &Supply, bytes: Bytes) {
        if !bytes.is_empty() && bytes.len() as u64 == self.version.size && self.version.size <= BLOCK_BYTES {
            supply.cache.put((self.id, 0), bytes);
        }
    }

    /// The file has another path now.
    pub(super) fn moved(&self, path: Arc<str>) {
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }

    pub(super) fn path(&self) -> Arc<str> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives the bytes of `range`, which lies within the file, to `take`, piece by piece and in order.
    pub(super) async fn read(
        self: &Arc<Self>,
        supply: &Arc<Supply>,
        range: Range<u64>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<()> {
        let blocks = self.start(supply, &range);
        let is_waited_for = blocks.iter().any(|(_, block)| matches!(block, Block::Flying(_)));
        let read = async {
            for (index, block) in blocks {
                let bytes = match block {
                    Block::Here(bytes) => bytes,
                    Block::Flying(flight) => landed(flight).await?,
                };
                let begin = u64::from(index) * BLOCK_BYTES;
                let from = range.start.saturating_sub(begin) as usize;
                let to = (range.end - begin).min(bytes.len() as u64) as usize;
                let piece =
                    bytes.get(from..to).ok_or_else(|| Error::io("reading a file: a block is too short"))?;
                take(piece);
            }
            Ok(())
        };
        if is_waited_for {
            // Each may be behind many others, each of which comes in time.
            supply.engine.await_within(supply.store.deadline, "reading a file", read).await
        } else {
            read.await
        }
    }

    /// Has the blocks of `range` fetched, as far as they are not here, and waits for nothing.
    pub(super) fn prefetch(self: &Arc<Self>, supply: &Arc<Supply>, range: &Range<u64>) {
        if self.is_ended() {
            return;
        }
        let mut flights = self.flights();
        let wanted = indices(range);
        let missing =
            wanted.filter(|index| !flights.contains_key(index) && !supply.cache.has((self.id, *index)));
        let missing = missing.collect();
        self.fetch(supply, &mut flights, missing);
    }

    /// As [`prefetch`](Self::prefetch), for a reader that goes on, by one long request. The one that it used before is
    /// extended if it can be; else it is let go of for another.
    pub(super) fn stream(
        self: &Arc<Self>,
        supply: &Arc<Supply>,
        range: &Range<u64>,
        stream: &mut Option<Arc<Stream>>,
    ) {
        if self.is_ended() {
            return;
        }
        let mut flights = self.flights();
        let wanted = indices(range);
        let is_missing = |index: &u32| !flights.contains_key(index) && !supply.cache.has((self.id, *index));
        // What is read next, behind all that is here in part.
        let goes_on = |index: &u32| is_missing(index) && !supply.is_on_disc(self, *index);
        let count = wanted.clone().rev().take_while(goes_on).count() as u32;
        let first = wanted.end - count;
        let before = (wanted.start..first).filter(is_missing).collect();
        self.fetch(supply, &mut flights, before);
        if count == 0 {
            return;
        }
        let senders = fly(&mut flights, first..wanted.end);
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| stream.strong_count() > 0);
        let open = streams.iter().filter_map(Weak::upgrade).find(|open| open.goes_on_with(first));
        let senders = match open {
            Some(open) => match open.extend(senders) {
                Ok(()) => {
                    *stream = Some(open);
                    return;
                }
                Err(senders) => senders,
            },
            None => senders,
        };
        let begun = Stream::start(self, supply, first, senders);
        streams.push(Arc::downgrade(&begun));
        *stream = Some(begun);
    }

    /// The blocks of `range`: those that are here, and all others on their way.
    fn start(self: &Arc<Self>, supply: &Arc<Supply>, range: &Range<u64>) -> Vec<(u32, Block)> {
        let mut flights = self.flights();
        let mut blocks: Vec<(u32, Option<Block>)> = Vec::new();
        for index in indices(range) {
            // A block lands in the cache before it leaves the list, so it is in one of both.
            let held = self.held.get().cloned().map(Block::Here);
            let flying = || flights.get(&index).cloned().map(Block::Flying);
            let here = || supply.cache.get((self.id, index)).map(Block::Here);
            blocks.push((index, held.or_else(flying).or_else(here)));
        }
        let missing = blocks.iter().filter(|(_, block)| block.is_none()).map(|(index, _)| *index);
        let missing = missing.collect();
        self.fetch(supply, &mut flights, missing);
        let flight = |index| Block::Flying(flights.get(&index).expect("all that was missing flies").clone());
        blocks.into_iter().map(|(index, block)| (index, block.unwrap_or_else(|| flight(index)))).collect()
    }

    /// Starts fetching blocks, in rising order, that follow each other in one request, and those on disc from there.
    fn fetch(self: &Arc<Self>, supply: &Arc<Supply>, flights: &mut HashMap<u32, Flight>, missing: Vec<u32>) {
        let run_max = (supply.store.range_bytes_max() / BLOCK_BYTES) as usize;
        let mut rest = &missing[..];
        while let Some(&first) = rest.first() {
            let from_disc = supply.is_on_disc(self, first);
            let follows = |(step, index): &(usize, &u32)| {
                **index == first + *step as u32
                    && (*step == 0 || supply.is_on_disc(self, **index) == from_disc)
            };
            let run = rest.iter().enumerate().take_while(follows).take(run_max).count();
            let senders = fly(flights, first..first + run as u32);
            let arrivals = Arrivals::new(self.clone(), supply.clone(), first, senders);
            supply.engine.detach(bring(arrivals));
            rest = &rest[run..];
        }
    }

    /// A block has left the list: it is in the cache, or will not come.
    pub(super) fn landed(&self, index: u32) {
        self.flights().remove(&index);
    }

    pub(super) fn block_bytes(&self, index: u32) -> u64 {
        (self.version.size - u64::from(index) * BLOCK_BYTES).min(BLOCK_BYTES)
    }

    /// The blocks that are on their way.
    pub(super) fn flights(&self) -> MutexGuard<'_, HashMap<u32, Flight>> {
        self.on_their_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes that blocks are on their way; returns who is told of each.
fn fly(flights: &mut HashMap<u32, Flight>, blocks: Range<u32>) -> Vec<watch::Sender<State>> {
    let fly = |index| {
        let (sender, flight) = watch::channel(State::Flying);
        flights.insert(index, flight);
        sender
    };
    blocks.map(fly).collect()
}

/// The blocks that `range` touches.
fn indices(range: &Range<u64>) -> Range<u32> {
    if range.is_empty() {
        return 0..0;
    }
    // A file of more than 512 TiB has no such numbers; nobody opens one.
    let index = |offset: u64| u32::try_from(offset / BLOCK_BYTES).unwrap_or(u32::MAX - 1);
    index(range.start)..index(range.end - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_touches_the_blocks_of_its_first_and_last_byte() {
        for (range, blocks) in [
            (0..0, 0..0),
            (0..1, 0..1),
            (BLOCK_BYTES - 1..BLOCK_BYTES, 0..1),
            (BLOCK_BYTES - 1..BLOCK_BYTES + 1, 0..2),
            (5 * BLOCK_BYTES..7 * BLOCK_BYTES, 5..7),
        ] {
            assert_eq!(indices(&range), blocks, "{range:?}");
        }
    }
}
