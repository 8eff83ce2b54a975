//! The bytes of members while they are wanted: unpacked once, however many have them open, and within a limit.
//!
//! A *small* member is unpacked whole when it is first read, and nothing of it is given out before its checksum
//! was found right. It goes when nobody has it open: the kernel keeps what it read. A *large* member
//! is unpacked from the moment it is opened into [`Memory`], where its bytes are read as they come, all but the
//! last ones, which wait for the checksum. When it is whole it stays, until others need the room. A member for
//! which there is no room is *streamed*: unpacked while it is read.
//!
//! Everything slow happens on pools of threads: unpacking, and giving large memory back.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use wharf::blocking::{Pool, PoolLimits};
use wharf::error::Kind;
use wharf::{Error, Filler, Memory};

use crate::processors::Processors;

use super::archive::{Archive, damaged};
use super::index::{Index, Member, Number};
use super::small::Small;
use super::streamed::{Streamed, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN};
use super::unpack::{Trouble, unpack};

/// Up to this size a member is small.
pub(super) const SMALL_BYTES_MAX: u64 = 1 << 20;
/// Bytes at the end of a large member that nobody gets before its checksum was found right.
pub(super) const HELD_BACK_BYTES: u64 = 128 << 10;
/// How often, at the most, and how long memory waits to be the last to know of itself before it is given back.
const GIVE_BACK_TRIES_MAX: u32 = 100;
const GIVE_BACK_PAUSE: Duration = Duration::from_millis(1);

/// An archive with its index, and what is unpacked of it.
pub(super) struct Contents {
    pub(super) archive: Arc<Archive>,
    pub(super) index: Index,
    /// For what takes less time than waking another processor.
    quick: Pool,
    /// For what takes long: on any processor, beside whoever reads.
    long: Pool,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: u64,
    /// Goes up with every use.
    clock: u64,
    small: HashMap<Number, Weak<Small>>,
    large: HashMap<Number, Large>,
    /// Members that are not what the archive says.
    damaged: HashSet<Number>,
}

#[derive(Debug)]
struct Large {
    memory: Arc<Memory>,
    opens: u32,
    used: u64,
    /// Its checksum is right: what is still to come of it is at hand.
    checked: bool,
}

impl Contents {
    pub(super) fn new(archive: Archive, index: Index, bytes_max: u64) -> Contents {
        let threads = available_parallelism().map_or(2, usize::from).saturating_mul(2).max(4);
        let limits = PoolLimits { threads_max: threads as u32, ..PoolLimits::default() };
        Contents {
            archive: Arc::new(archive),
            index,
            quick: Pool::placed(PoolLimits::default(), Processors),
            long: Pool::new(limits),
            bytes_max,
            state: Mutex::default(),
        }
    }

    /// Runs what is short and may block.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Contents) -> wharf::Result<T> + Send + 'static,
    ) -> wharf::Result<T> {
        let contents = self.clone();
        self.quick.run(move || job(&contents)).await
    }

    /// Starts what is short and may block. Nobody waits for it here.
    pub(super) fn start_quick(&self, job: impl FnOnce() + Send + 'static) {
        drop(self.quick.run(move || {
            job();
            Ok(())
        }));
    }

    /// Runs what takes long.
    pub(super) async fn run_long<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> wharf::Result<T> + Send + 'static,
    ) -> wharf::Result<T> {
        self.long.run(job).await
    }

    /// The bytes of a small member or a link, all of them.
    pub(super) fn whole(&self, number: Number, member: &Member) -> wharf::Result<Vec<u8>> {
        self.check(number)?;
        let mut bytes = Vec::with_capacity(usize::try_from(member.size).unwrap_or(0));
        let take = |block: &[u8]| {
            bytes.extend_from_slice(block);
            Ok(())
        };
        match unpack(&self.archive, member, take) {
            Ok(()) => Ok(bytes),
            Err(trouble) => Err(self.failed(number, trouble)),
        }
    }

    /// Where the bytes of a stored member begin.
    pub(super) fn stored(&self, number: Number, member: &Member) -> wharf::Result<u64> {
        self.check(number)?;
        let start = self.archive.data_start(member.header, member.packed).and_then(|start| {
            let same = member.packed == member.size;
            if same { Ok(start) } else { Err(damaged("it is stored, but its two lengths differ")) }
        });
        start.map_err(|error| self.failed(number, error.into()))
    }

    /// Opens a packed member.
    ///
    /// # Errors
    /// When it is known to be damaged, or there is not even room to read it in order.
    pub(super) fn open(self: &Arc<Self>, number: Number, member: Member) -> wharf::Result<Open> {
        self.check(number)?;
        let mut state = self.lock();
        if let Some(small) = state.small.get(&number).and_then(Weak::upgrade) {
            return Ok(Open::Small(small));
        }
        state.clock += 1;
        let now = state.clock;
        if let Some(large) = state.large.get_mut(&number) {
            (large.opens, large.used) = (large.opens + 1, now);
            let memory = large.memory.clone();
            return Ok(Open::Large(OpenLarge { contents: self.clone(), number, memory }));
        }
        if self.reserve(&mut state, member.size) {
            if member.size > SMALL_BYTES_MAX {
                return self.start_large(state, number, member).map(Open::Large);
            }
            let small = Arc::new(Small::new(self.clone(), number, member));
            state.small.insert(number, Arc::downgrade(&small));
            return Ok(Open::Small(small));
        }
        let mut windows = [WINDOW_BYTES_MAX, WINDOW_BYTES_MIN].into_iter();
        if let Some(window) = windows.find(|window| self.reserve(&mut state, *window)) {
            log::debug!(
                "zip: {} is unpacked as it is read: it is too large to be held",
                self.index.path(number)
            );
            return Ok(Open::Streamed(Arc::new(Streamed::new(self.clone(), number, member, window))));
        }
        log::warn!(
            "zip: {} has {} bytes unpacked, for which there is no room beside what is open; \
             the limit is {} bytes (option cache)",
            self.index.path(number),
            member.size,
            self.bytes_max
        );
        Err(Error::new(Kind::OutOfMemory))
    }

    /// Has a large member unpacked, for which room was taken.
    fn start_large(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        number: Number,
        member: Member,
    ) -> wharf::Result<OpenLarge> {
        let (memory, filler) = match Memory::new(member.size) {
            Ok(made) => made,
            Err(error) => {
                state.bytes -= member.size;
                return Err(error);
            }
        };
        let used = state.clock;
        state.large.insert(number, Large { memory: memory.clone(), opens: 1, used, checked: false });
        drop(state);
        let (contents, filled) = (self.clone(), Arc::downgrade(&memory));
        // Not awaited: who reads waits for the bytes.
        drop(self.long.run(move || {
            contents.fill(number, &member, &filled, filler);
            Ok(())
        }));
        Ok(OpenLarge { contents: self.clone(), number, memory })
    }

    fn fill(&self, number: Number, member: &Member, filled: &Weak<Memory>, mut filler: Filler) {
        let mut left = member.size.saturating_sub(HELD_BACK_BYTES);
        let mut held_back = Vec::new();
        let unpacked = unpack(&self.archive, member, |block| {
            let now = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            left -= now as u64;
            held_back.extend_from_slice(&block[now..]);
            filler.append(&block[..now])
        });
        let rest = unpacked.and_then(|()| {
            // Whoever reads the last bytes may close it before this thread goes on.
            self.set_checked(number, filled, true);
            filler.append(&held_back).map_err(Trouble::Failed)
        });
        if rest.is_err() {
            self.set_checked(number, filled, false);
        }
        match rest {
            Ok(()) => {
                if let Err(error) = filler.finish() {
                    log::warn!("zip: {}: {error}", self.index.path(number));
                }
            }
            // Nobody has it open any more.
            Err(Trouble::Failed(error)) if error.kind() == Kind::Stale => {}
            Err(trouble) => filler.fail(&self.failed(number, trouble)),
        }
    }

    /// Says whether a member is as good as whole, if this is still what is held of it.
    fn set_checked(&self, number: Number, filled: &Weak<Memory>, checked: bool) {
        let mut state = self.lock();
        let Some(large) = state.large.get_mut(&number) else { return };
        if Arc::as_ptr(&large.memory) != filled.as_ptr() {
            return;
        }
        large.checked = checked;
        if !checked && large.opens == 0 {
            self.remove(&mut state, number);
        }
    }

    /// Makes an error of what went wrong with a member, tells the log, and remembers what will not get better.
    pub(super) fn failed(&self, number: Number, trouble: Trouble) -> Error {
        let path = self.index.path(number);
        match trouble {
            Trouble::Damaged(error) => {
                self.lock().damaged.insert(number);
                log::warn!("zip: {path} is damaged: {error}");
                Error::new(Kind::Io)
            }
            Trouble::Failed(error) => {
                log::warn!("zip: {path} cannot be unpacked: {error}");
                error
            }
        }
    }

    /// Fails if a member was found to be damaged.
    pub(super) fn check(&self, number: Number) -> wharf::Result<()> {
        // The log has been told when it was found.
        if self.lock().damaged.contains(&number) { Err(Error::new(Kind::Io)) } else { Ok(()) }
    }

    /// Takes room, that of members which nobody has open if need be. False, and nobody loses his, if even that
    /// is not enough.
    fn reserve(&self, state: &mut State, bytes: u64) -> bool {
        let unused = |large: &&Large| large.opens == 0;
        let evictable: u64 = state.large.values().filter(unused).map(|large| large.memory.len()).sum();
        let least = (state.bytes - evictable).checked_add(bytes);
        if least.is_none_or(|least| least > self.bytes_max) {
            return false;
        }
        while state.bytes + bytes > self.bytes_max {
            let unused = state.large.iter().filter(|(_, large)| large.opens == 0);
            let Some((&oldest, _)) = unused.min_by_key(|(_, large)| large.used) else { break };
            self.remove(state, oldest);
        }
        state.bytes += bytes;
        true
    }

    /// Takes back what was [reserved](Self::reserve).
    pub(super) fn give_back(&self, bytes: u64) {
        self.lock().bytes -= bytes;
    }

    /// Takes note that nobody has a small member open any more.
    pub(super) fn forget_small(&self, number: Number) {
        let mut state = self.lock();
        // Another may have been opened meanwhile.
        if state.small.get(&number).is_some_and(|small| small.strong_count() == 0) {
            state.small.remove(&number);
        }
    }

    fn remove(&self, state: &mut State, number: Number) {
        let Some(Large { memory, .. }) = state.large.remove(&number) else { return };
        state.bytes -= memory.len();
        // Giving back a gigabyte takes a while, so whoever is the last to know of it should not be on a queue.
        drop(self.long.run(move || {
            for _ in 0..GIVE_BACK_TRIES_MAX {
                if Arc::strong_count(&memory) == 1 {
                    break;
                }
                sleep(GIVE_BACK_PAUSE);
            }
            Ok(())
        }));
    }

    /// Bytes of all that is unpacked or being unpacked.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("archive", &self.archive).finish_non_exhaustive()
    }
}

/// A packed member that somebody has open.
#[derive(Debug)]
pub(super) enum Open {
    Small(Arc<Small>),
    Large(OpenLarge),
    Streamed(Arc<Streamed>),
}

/// A large member that somebody has open.
#[derive(Debug)]
pub(super) struct OpenLarge {
    contents: Arc<Contents>,
    number: Number,
    pub(super) memory: Arc<Memory>,
}

impl Drop for OpenLarge {
    fn drop(&mut self) {
        let mut state = self.contents.lock();
        let Some(large) = state.large.get_mut(&self.number) else { return };
        large.opens -= 1;
        // What is not whole is of no use to anybody, and stops being unpacked.
        if large.opens == 0 && !large.checked {
            self.contents.remove(&mut state, self.number);
        }
    }
}
