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
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use wharf::Error;
use wharf::error::Kind as Why;

use super::Result;
use super::cache::{BLOCK_BYTES, Cache};
use super::engine::Engine;
use super::failure::Failure;
use super::meta::Version;
use super::store::Store;
use super::tree::inside;

/// Blocks that one request asks for. More would keep the other connections idle.
const FETCH_BLOCKS_MAX: u32 = 16;

/// What all contents of a volume share.
#[derive(Debug)]
pub(super) struct Supply {
    pub(super) store: Arc<Store>,
    pub(super) engine: Engine,
    pub(super) cache: Cache,
}

/// Contents that were read lately, by their paths: what the kernel forgets, it may ask for again.
#[derive(Debug, Default)]
pub(super) struct Lately {
    by_path: HashMap<Arc<str>, (Arc<Content>, u64)>,
    uses: u64,
}

/// So many are remembered; each takes some hundred bytes. Their blocks are the cache's.
const LATELY_MAX: usize = 16 << 10;

impl Lately {
    /// This version of what is at a path.
    pub(super) fn get(&mut self, path: &Arc<str>, version: &Version) -> Arc<Content> {
        self.uses += 1;
        if let Some((content, used)) = self.by_path.get_mut(path)
            && content.version.is_same(version)
        {
            *used = self.uses;
            return content.clone();
        }
        if self.by_path.len() >= LATELY_MAX {
            let old = self.uses - LATELY_MAX as u64 / 2;
            self.by_path.retain(|_, (_, used)| *used > old);
        }
        let content = Content::new(path.clone(), version.clone());
        self.by_path.insert(path.clone(), (content.clone(), self.uses));
        content
    }

    /// What is at a path is changed here.
    pub(super) fn forget(&mut self, path: &str) {
        if let Some((content, _)) = self.by_path.remove(path) {
            content.end();
        }
    }

    /// A directory is moved or replaced here.
    pub(super) fn forget_below(&mut self, directory: &str) {
        let prefix = inside(directory, "");
        for (_, (content, _)) in self.by_path.extract_if(|path, _| path.starts_with(&prefix)) {
            content.end();
        }
    }
}

/// One version of one file.
#[derive(Debug)]
pub(super) struct Content {
    /// For the cache: no other contents ever have it.
    id: u64,
    path: Mutex<Arc<str>>,
    pub(super) version: Version,
    on_their_way: Mutex<HashMap<u32, Flight>>,
    /// A change was made here, or is about to be: the path has other contents.
    ended: AtomicBool,
    /// All of a short file that was replaced here, for those who were on their way to it.
    held: OnceLock<Bytes>,
}

type Flight = watch::Receiver<State>;

#[derive(Clone, Debug)]
enum State {
    Flying,
    Landed(Bytes),
    Failed(Why),
}

/// A block, now or soon.
enum Block {
    Here(Bytes),
    Flying(Flight),
}

impl Content {
    fn new(path: Arc<str>, version: Version) -> Arc<Content> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Arc::new(Content {
            id,
            path: Mutex::new(path),
            version,
            on_their_way: Mutex::default(),
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

    fn path(&self) -> Arc<str> {
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
    }

    /// Has the blocks of `range` fetched, as far as they are not here, and waits for nothing.
    pub(super) fn prefetch(self: &Arc<Self>, supply: &Arc<Supply>, range: &Range<u64>) {
        if self.is_ended() {
            return;
        }
        let mut flights = self.lock();
        let wanted = indices(range);
        let missing =
            wanted.filter(|index| !flights.contains_key(index) && !supply.cache.has((self.id, *index)));
        let missing = missing.collect();
        self.fetch(supply, &mut flights, missing);
    }

    /// The blocks of `range`: those that are here, and all others on their way.
    fn start(self: &Arc<Self>, supply: &Arc<Supply>, range: &Range<u64>) -> Vec<(u32, Block)> {
        let mut flights = self.lock();
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

    /// Starts fetching blocks, in rising order, that follow each other in one request.
    fn fetch(self: &Arc<Self>, supply: &Arc<Supply>, flights: &mut HashMap<u32, Flight>, missing: Vec<u32>) {
        let mut rest = &missing[..];
        while let Some(&first) = rest.first() {
            let follows = |(step, index): &(usize, &u32)| **index == first + *step as u32;
            let run = rest.iter().enumerate().take_while(follows).take(FETCH_BLOCKS_MAX as usize).count();
            let mut senders = Vec::with_capacity(run);
            for index in first..first + run as u32 {
                let (sender, flight) = watch::channel(State::Flying);
                flights.insert(index, flight);
                senders.push(sender);
            }
            senders.reverse();
            let arrivals = Arrivals {
                content: self.clone(),
                supply: supply.clone(),
                index: first,
                waiting: senders,
                block: BytesMut::new(),
                why: Why::Io,
            };
            supply.engine.detach(bring(arrivals));
            rest = &rest[run..];
        }
    }

    fn block_bytes(&self, index: u32) -> u64 {
        (self.version.size - u64::from(index) * BLOCK_BYTES).min(BLOCK_BYTES)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Flight>> {
        self.on_their_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

async fn landed(mut flight: Flight) -> Result<Bytes> {
    const DOING: &str = "reading a file";
    let state = flight.wait_for(|state| !matches!(state, State::Flying)).await;
    match state.as_deref() {
        Ok(State::Landed(bytes)) => Ok(bytes.clone()),
        // The cause was logged where it was met.
        Ok(State::Failed(why)) => Err(Error::new(*why)),
        Ok(State::Flying) | Err(_) => Err(Error::io(DOING)),
    }
}

/// Where the bytes of one request arrive: they fill block after block.
struct Arrivals {
    content: Arc<Content>,
    supply: Arc<Supply>,
    /// The block that is being filled.
    index: u32,
    /// Who is told of this block (the last) and the following ones.
    waiting: Vec<watch::Sender<State>>,
    block: BytesMut,
    /// What to tell those whose block does not come.
    why: Why,
}

impl Arrivals {
    /// What is still to come.
    fn rest(&self) -> Range<u64> {
        let begin = u64::from(self.index) * BLOCK_BYTES;
        let end = begin + self.waiting.len() as u64 * BLOCK_BYTES;
        begin + self.block.len() as u64..end.min(self.content.version.size)
    }

    fn take(&mut self, mut piece: Bytes) {
        while !piece.is_empty() && !self.waiting.is_empty() {
            let len = self.content.block_bytes(self.index) as usize;
            if self.block.is_empty() {
                self.block.reserve(len);
            }
            let part = piece.split_to(piece.len().min(len - self.block.len()));
            self.block.extend_from_slice(&part);
            if self.block.len() == len {
                let bytes = self.block.split().freeze();
                self.end(State::Landed(bytes));
            }
        }
    }

    /// The present block is there, or will never be.
    fn end(&mut self, mut state: State) {
        if self.content.is_ended() {
            // Perhaps the service had the change already when it sent this.
            state = State::Failed(Why::Stale);
        }
        if let State::Landed(bytes) = &state {
            self.supply.cache.put((self.content.id, self.index), bytes.clone());
        }
        self.content.lock().remove(&self.index);
        if let Some(sender) = self.waiting.pop() {
            sender.send_replace(state);
        }
        self.index += 1;
    }
}

impl Drop for Arrivals {
    /// However it ended, nobody waits on. The next who wants such a block asks again.
    fn drop(&mut self) {
        while !self.waiting.is_empty() {
            self.end(State::Failed(self.why));
        }
    }
}

async fn bring(arrivals: Arrivals) {
    const DOING: &str = "reading a file";
    let store = arrivals.supply.store.clone();
    let content = arrivals.content.clone();
    let arrivals = Mutex::new(arrivals);
    let lock = || arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    let attempt = || async {
        // What has arrived is not asked for a second time.
        let rest = lock().rest();
        if content.is_ended() {
            return Err(Failure::stale(DOING));
        }
        store.read(&content.path(), rest, &content.version, &mut |piece| lock().take(piece)).await
    };
    let brought = store.tried(DOING, attempt).await;
    if let Err(error) = brought {
        lock().why = error.kind();
        if !content.is_ended() {
            log::warn!("{}: {error}", content.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::credentials::Credentials;
    use super::super::location::Location;
    use super::*;

    #[test]
    fn contents_are_remembered_by_path_and_version_and_not_without_end() {
        let mut lately = Lately::default();
        let version = |size| Version { size, ..Version::default() };
        let first = lately.get(&"a".into(), &version(1));
        assert!(Arc::ptr_eq(&first, &lately.get(&"a".into(), &version(1))));
        assert!(!Arc::ptr_eq(&first, &lately.get(&"a".into(), &version(2))));
        for number in 0..3 * LATELY_MAX {
            lately.get(&number.to_string().into(), &version(1));
        }
        assert!(lately.by_path.len() <= LATELY_MAX);
    }

    #[test]
    fn a_change_made_here_makes_new_contents_however_alike_their_versions() {
        let mut lately = Lately::default();
        let version = Version { size: 5, ..Version::default() };
        let paths: [Arc<str>; 3] = ["a/x".into(), "a/y".into(), "a".into()];
        let [x, y, a] = paths.clone().map(|path| lately.get(&path, &version));
        lately.forget("a/x");
        assert!(x.is_ended() && !y.is_ended());
        assert_ne!(lately.get(&paths[0], &version).id, x.id);
        lately.forget_below("a");
        assert!(y.is_ended() && !a.is_ended());
        assert_ne!(lately.get(&paths[1], &version).id, y.id);
    }

    #[test]
    fn what_was_asked_for_before_a_change_and_comes_after_it_is_thrown_away() {
        let store = Store::new(&Location::parse("file:///").unwrap(), &Credentials::default()).unwrap();
        let engine = Engine::start().unwrap();
        let supply = Arc::new(Supply { store: Arc::new(store), engine, cache: Cache::new(1 << 20) });
        let version = Version { size: 5, ..Version::default() };
        for ends in [false, true] {
            let content = Content::new("a".into(), version.clone());
            let (sender, flight) = watch::channel(State::Flying);
            let (content_too, supply_too) = (content.clone(), supply.clone());
            let mut arrivals = Arrivals {
                content: content_too,
                supply: supply_too,
                index: 0,
                waiting: vec![sender],
                block: BytesMut::new(),
                why: Why::Io,
            };
            arrivals.take(Bytes::from_static(b"by"));
            if ends {
                content.end();
            }
            arrivals.take(Bytes::from_static(b"tes"));
            let told = wharf::testing::block_on(landed(flight));
            assert_eq!(told.is_err_and(|error| error.kind() == Why::Stale), ends);
            assert_eq!(supply.cache.has((content.id, 0)), !ends);
        }
    }

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
