//! Which directories have a snapshot: what was listed of them once, mapped by every client that asks, until something
//! changes there.
//!
//! From the moment a change begins until it has ended there is none, and what is listed meanwhile becomes none: whoever
//! saw a change finds that every snapshot of before is over. One listing serves all who ask while it is made. All
//! snapshots together, and what is listed for new ones, keep to one budget; who was asked for longest ago goes first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wharf::Errno;
use wharf::notice::Notice;
use wharf_mem::Snapshot;

use super::cache::Waiter;

/// Bytes of the greatest snapshot. Directories with more are listed part by part.
const SNAPSHOT_BYTES_MAX: usize = 16 << 20;
/// Snapshots at a time. Each takes a descriptor.
const SNAPSHOTS_MAX: usize = 256;
/// What all of them may take of what sections may.
const PART_OF_SECTIONS: u64 = 8;

/// The snapshots of one volume.
#[derive(Debug)]
pub(super) struct Snapshots {
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By inode number: those of which something is to be known.
    directories: HashMap<u64, Directory>,
    /// Bytes of all snapshots, and of listings for new ones.
    bytes: u64,
    count: usize,
    /// Counts who asked.
    asked: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Directory {
    /// Changes under way.
    changing: u32,
    kept: Option<Kept>,
    build: Option<Build>,
}

/// A snapshot that is current.
#[derive(Debug)]
struct Kept {
    snapshot: Arc<Snapshot>,
    whole: bool,
    asked: u64,
}

/// A listing under way, for one.
#[derive(Debug, Default)]
struct Build {
    waiting: Vec<Waiter>,
    bytes: u64,
    /// Something changed meanwhile.
    outdated: bool,
}

/// What is to be done for who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// There is one.
    There,
    /// Somebody lists already.
    Wait,
    /// List.
    Build,
}

impl State {
    /// Ends the snapshot of a directory. What is returned is to be dropped without the lock.
    fn end(&mut self, directory: u64) -> Option<Arc<Snapshot>> {
        let kept = self.directories.get_mut(&directory)?.kept.take()?;
        kept.snapshot.end();
        self.bytes -= kept.snapshot.memory_bytes();
        self.count -= 1;
        self.tidy(directory);
        Some(kept.snapshot)
    }

    /// Forgets a directory of which nothing is to be known.
    fn tidy(&mut self, directory: u64) {
        let idle = |known: &Directory| known.changing == 0 && known.kept.is_none() && known.build.is_none();
        if self.directories.get(&directory).is_some_and(idle) {
            self.directories.remove(&directory);
        }
    }

    /// What was asked for longest ago.
    fn oldest(&self) -> Option<u64> {
        let kept = |(inode, known): (&u64, &Directory)| Some((known.kept.as_ref()?.asked, *inode));
        self.directories.iter().filter_map(kept).min().map(|(_, inode)| inode)
    }

    /// Something changed: the snapshot is over, and what is being listed becomes none.
    fn outdate(&mut self, directory: u64) -> Option<Arc<Snapshot>> {
        if let Some(build) = self.directories.get_mut(&directory).and_then(|known| known.build.as_mut()) {
            build.outdated = true;
        }
        self.end(directory)
    }

    fn outdate_all(&mut self, which: impl Fn(&Kept) -> bool) -> Vec<Arc<Snapshot>> {
        self.directories.values_mut().filter_map(|known| known.build.as_mut()).for_each(|build| {
            build.outdated = true;
        });
        let over =
            |(inode, known): (&u64, &Directory)| known.kept.as_ref().is_some_and(&which).then_some(*inode);
        let over: Vec<u64> = self.directories.iter().filter_map(over).collect();
        over.into_iter().filter_map(|inode| self.end(inode)).collect()
    }
}

impl Snapshots {
    pub(super) fn new(sections_bytes_max: u64) -> Arc<Snapshots> {
        Arc::new(Snapshots { bytes_max: sections_bytes_max / PART_OF_SECTIONS, state: Mutex::default() })
    }

    /// Somebody asks for the snapshot of a directory.
    pub(super) fn ask(&self, directory: u64, waiter: Waiter) -> Asked {
        let mut state = self.lock();
        state.asked += 1;
        let asked = state.asked;
        let known = state.directories.entry(directory).or_default();
        if let Some(kept) = &mut known.kept {
            kept.asked = asked;
            return Asked::There;
        }
        if let Some(build) = &mut known.build {
            build.waiting.push(waiter);
            return Asked::Wait;
        }
        known.build = Some(Build { waiting: vec![waiter], ..Build::default() });
        Asked::Build
    }

    /// Takes room for more lines, of which so many are listed by now.
    ///
    /// # Errors
    /// EAGAIN if they are old already; EFBIG if there are too many; ENOMEM without room.
    pub(super) fn grow(&self, directory: u64, bytes: usize) -> Result<(), Errno> {
        let mut over = Vec::new();
        let mut state = self.lock();
        let build = state.directories.get(&directory).and_then(|known| known.build.as_ref());
        let Some(build) = build.filter(|build| !build.outdated) else { return Err(Errno::EAGAIN) };
        let more = (bytes as u64).saturating_sub(build.bytes);
        if bytes > SNAPSHOT_BYTES_MAX || bytes as u64 > self.bytes_max {
            return Err(Errno::EFBIG);
        }
        while state.bytes + more > self.bytes_max {
            let Some(oldest) = state.oldest() else { return Err(Errno::ENOMEM) };
            over.extend(state.end(oldest));
        }
        state.bytes += more;
        if let Some(build) = state.directories.get_mut(&directory).and_then(|known| known.build.as_mut()) {
            build.bytes += more;
        }
        drop(state);
        drop(over);
        Ok(())
    }

    /// All lines are there. Returns who waits for it, and whether there is a snapshot now.
    pub(super) fn publish(
        &self,
        directory: u64,
        lines: &[u8],
        whole: bool,
    ) -> (Vec<Waiter>, Result<(), Errno>) {
        let made = Snapshot::create(lines);
        let (mut over, mut state) = (Vec::new(), self.lock());
        let Some(build) = state.directories.get_mut(&directory).and_then(|known| known.build.take()) else {
            return (Vec::new(), Err(Errno::EAGAIN));
        };
        state.bytes -= build.bytes;
        let changing = state.directories.get(&directory).is_some_and(|known| known.changing > 0);
        let result = match made {
            _ if build.outdated || changing || state.closed => Err(Errno::EAGAIN),
            Err(error) => {
                log::warn!("no memory for the snapshot of a directory: {error}");
                Err(Errno::ENOMEM)
            }
            Ok(snapshot) => {
                while state.count >= SNAPSHOTS_MAX {
                    let Some(oldest) = state.oldest() else { break };
                    over.extend(state.end(oldest));
                }
                state.bytes += snapshot.memory_bytes();
                state.count += 1;
                let kept = Kept { snapshot: Arc::new(snapshot), whole, asked: state.asked };
                state.directories.entry(directory).or_default().kept = Some(kept);
                Ok(())
            }
        };
        state.tidy(directory);
        drop(state);
        drop(over);
        (build.waiting, result)
    }

    /// There will be none of this listing. Returns who waits for it.
    pub(super) fn give_up(&self, directory: u64) -> Vec<Waiter> {
        let mut state = self.lock();
        let build = state.directories.get_mut(&directory).and_then(|known| known.build.take());
        let Some(build) = build else { return Vec::new() };
        state.bytes -= build.bytes;
        state.tidy(directory);
        build.waiting
    }

    /// The snapshot of a directory, and whether it has records.
    pub(super) fn find(&self, directory: u64) -> Option<(Arc<Snapshot>, bool)> {
        let state = self.lock();
        let kept = state.directories.get(&directory)?.kept.as_ref()?;
        Some((kept.snapshot.clone(), kept.whole))
    }

    /// Names of a directory begin to change, or have changed.
    pub(super) fn names(&self, directory: u64, begins: bool) {
        let mut state = self.lock();
        if begins {
            state.directories.entry(directory).or_default().changing += 1;
        } else if let Some(known) = state.directories.get_mut(&directory) {
            known.changing = known.changing.saturating_sub(1);
        }
        let over = state.outdate(directory);
        state.tidy(directory);
        drop(state);
        drop(over);
    }

    /// The file system tells of what nobody here has done.
    pub(super) fn noticed(&self, notice: &Notice) {
        let mut state = self.lock();
        if state.directories.is_empty() {
            return;
        }
        let mut over = Vec::new();
        match notice {
            Notice::EntryGone { parent, .. }
            | Notice::EntryExpired { parent, .. }
            | Notice::Deleted { parent, .. } => over.extend(state.outdate(*parent)),
            Notice::Contents { inode, .. } => {
                over.extend(state.outdate(*inode));
                over.append(&mut state.outdate_all(|kept| kept.whole));
            }
            // In which directories it has names, nobody knows.
            Notice::Attributes { .. } => over = state.outdate_all(|kept| kept.whole),
            Notice::Epoch => over = state.outdate_all(|_| true),
            _ => {}
        }
        drop(state);
        drop(over);
    }

    /// Ends all of them, for good.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let over = state.outdate_all(|_| true);
        drop(state);
        drop(over);
    }

    /// Bytes in use, and snapshots.
    pub(super) fn usage(&self) -> (u64, usize) {
        let state = self.lock();
        (state.bytes, state.count)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(client: u64) -> Waiter {
        Waiter { queue: 0, client, slot: 0 }
    }

    /// Makes one of so many bytes.
    fn make(snapshots: &Snapshots, directory: u64, bytes: usize) -> Result<(), Errno> {
        assert_eq!(snapshots.ask(directory, waiter(1)), Asked::Build);
        match snapshots.grow(directory, bytes) {
            Ok(()) => snapshots.publish(directory, &vec![0; bytes], false).1,
            Err(errno) => {
                assert_eq!(snapshots.give_up(directory), [waiter(1)]);
                Err(errno)
            }
        }
    }

    #[test]
    fn the_budget_is_kept_and_who_was_asked_for_longest_ago_goes() {
        let snapshots = Snapshots::new(PART_OF_SECTIONS * 10_000);
        for directory in 1..=3 {
            make(&snapshots, directory, 3000).unwrap();
        }
        assert_eq!(snapshots.ask(1, waiter(1)), Asked::There);
        let second = snapshots.find(2).unwrap().0;
        make(&snapshots, 4, 3000).unwrap();
        assert!(snapshots.find(2).is_none() && snapshots.find(1).is_some());
        assert_eq!(snapshots.usage(), (3 * (second.memory_bytes()), 3));
        assert_eq!(make(&snapshots, 5, 10_001), Err(Errno::EFBIG));
        make(&snapshots, 5, 9_000).unwrap();
        assert_eq!(snapshots.usage().1, 1, "all others went for it");
        // What is being listed counts, and nobody goes for it who is not there.
        assert_eq!(snapshots.ask(6, waiter(1)), Asked::Build);
        snapshots.grow(6, 6_000).unwrap();
        assert_eq!(make(&snapshots, 7, 6_000), Err(Errno::ENOMEM));
        assert_eq!(snapshots.give_up(6), [waiter(1)]);
        assert_eq!(snapshots.usage(), (0, 0));
        assert!(snapshots.lock().directories.is_empty(), "nothing is known of anything");
    }

    #[test]
    fn there_are_only_so_many() {
        let snapshots = Snapshots::new(1 << 30);
        for directory in 0..SNAPSHOTS_MAX as u64 + 3 {
            make(&snapshots, directory, 8).unwrap();
        }
        assert_eq!(snapshots.usage().1, SNAPSHOTS_MAX);
        assert!(snapshots.find(2).is_none() && snapshots.find(3).is_some());
    }

    #[test]
    fn from_the_beginning_of_a_change_to_its_end_there_is_none() {
        let snapshots = Snapshots::new(1 << 30);
        make(&snapshots, 1, 8).unwrap();
        snapshots.names(1, true);
        assert!(snapshots.find(1).is_none());
        assert_eq!(make(&snapshots, 1, 8), Err(Errno::EAGAIN), "it has begun before and has not ended");
        snapshots.names(1, true);
        snapshots.names(1, false);
        assert_eq!(make(&snapshots, 1, 8), Err(Errno::EAGAIN), "one of two has ended");
        assert_eq!(snapshots.ask(1, waiter(1)), Asked::Build);
        snapshots.names(1, false);
        assert_eq!(snapshots.grow(1, 8), Err(Errno::EAGAIN), "something changed while it was listed");
        assert_eq!(snapshots.ask(1, waiter(2)), Asked::Wait);
        assert_eq!(snapshots.publish(1, &[0; 8], false), (vec![waiter(1), waiter(2)], Err(Errno::EAGAIN)));
        make(&snapshots, 1, 8).unwrap();
        make(&snapshots, 2, 8).unwrap();
        snapshots.names(3, true);
        snapshots.names(3, false);
        assert_eq!(snapshots.usage().1, 2, "others are as they were");
        snapshots.close();
        assert_eq!(make(&snapshots, 1, 8), Err(Errno::EAGAIN), "nobody hears of changes any more");
        assert_eq!(snapshots.usage(), (0, 0));
    }
}
