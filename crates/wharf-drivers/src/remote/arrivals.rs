//! Where the bytes of one request arrive, and how those who wait for its blocks are told.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use wharf::Error;
use wharf::error::Kind as Why;

use super::Result;
use super::cache::BLOCK_BYTES;
use super::content::{Content, Supply};
use super::failure::Failure;
use super::store::Store;

/// A block that is on its way.
pub(super) type Flight = watch::Receiver<State>;

#[derive(Clone, Debug)]
pub(super) enum State {
    Flying,
    Landed(Bytes),
    Failed(Why),
}

/// The block, when it is there.
pub(super) async fn landed(mut flight: Flight) -> Result<Bytes> {
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
pub(super) struct Arrivals {
    content: Arc<Content>,
    supply: Arc<Supply>,
    /// The block that is being filled.
    index: u32,
    /// Who is told of this block and the following ones.
    waiting: VecDeque<watch::Sender<State>>,
    block: BytesMut,
    /// What to tell those whose block does not come.
    pub(super) why: Why,
}

impl Arrivals {
    /// Blocks from `index` on, with who is told of each.
    pub(super) fn new(
        content: Arc<Content>,
        supply: Arc<Supply>,
        index: u32,
        waiting: Vec<watch::Sender<State>>,
    ) -> Arrivals {
        Arrivals { content, supply, index, waiting: waiting.into(), block: BytesMut::new(), why: Why::Io }
    }

    pub(super) fn content(&self) -> &Arc<Content> {
        &self.content
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.supply.store
    }

    /// More blocks are wanted, those behind the last.
    pub(super) fn extend(&mut self, waiting: Vec<watch::Sender<State>>) {
        self.waiting.extend(waiting);
    }

    /// Gives up the last blocks, as far as nobody waits for them: they were asked for ahead.
    pub(super) fn give_up(&mut self) {
        let mut flights = self.content.flights();
        // The list of those that are on their way has one receiver of each.
        while self.waiting.back().is_some_and(|sender| sender.receiver_count() <= 1) {
            self.waiting.pop_back();
            flights.remove(&(self.index + self.waiting.len() as u32));
        }
    }

    /// The block that is to be filled next.
    pub(super) fn next(&self) -> Option<u32> {
        (!self.waiting.is_empty()).then_some(self.index)
    }

    /// What is still to come.
    pub(super) fn rest(&self) -> Range<u64> {
        let begin = u64::from(self.index) * BLOCK_BYTES;
        let end = (begin + self.waiting.len() as u64 * BLOCK_BYTES).min(self.content.version.size);
        // What has come of a block that nobody waits for any more is none.
        (begin + self.block.len() as u64).min(end)..end
    }

    pub(super) fn take(&mut self, mut piece: Bytes) {
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
            if let Some(disc) = &self.supply.disc {
                disc.put(&self.content, self.index, bytes);
            }
        }
        self.content.landed(self.index);
        if let Some(sender) = self.waiting.pop_front() {
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

/// Brings what is on disc from there. The first that is not, and what is behind it, is left to the service.
async fn bring_from_disc(arrivals: &Mutex<Arrivals>) {
    let lock = || arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    let (content, supply) = {
        let arrivals = lock();
        (arrivals.content.clone(), arrivals.supply.clone())
    };
    let Some(disc) = &supply.disc else { return };
    loop {
        let next = lock().next();
        let Some(index) = next else { return };
        let Some(bytes) = disc.read(&content, index).await else { return };
        lock().take(bytes);
    }
}

/// Has the service send what is not on disc, with as many requests as that takes.
pub(super) async fn bring(arrivals: Arrivals) {
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
    bring_from_disc(&arrivals).await;
    if lock().next().is_none() {
        return;
    }
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
    use super::super::cache::Cache;
    use super::super::credentials::Credentials;
    use super::super::engine::Engine;
    use super::super::location::Location;
    use super::super::meta::Version;
    use super::*;

    #[test]
    fn what_was_asked_for_before_a_change_and_comes_after_it_is_thrown_away() {
        let store = Store::new(&Location::parse("file:///").unwrap(), &Credentials::default()).unwrap();
        let engine = Engine::start().unwrap();
        let supply =
            Arc::new(Supply { store: Arc::new(store), engine, cache: Cache::new(1 << 20), disc: None });
        let version = Version { size: 5, ..Version::default() };
        for ends in [false, true] {
            let content = Content::new("a".into(), version.clone());
            let (sender, flight) = watch::channel(State::Flying);
            let mut arrivals = Arrivals::new(content.clone(), supply.clone(), 0, vec![sender]);
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
}
