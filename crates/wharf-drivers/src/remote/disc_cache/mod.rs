//! The cache on disc: what was read of the service is found again, also by the next mount.
//!
//! Blocks are written as they arrive, one behind the other, into segments; the oldest segment goes when room is
//! needed, and what is still used of it is written again before. A block is found by its path and exactly its
//! version, and counts only if its checksum is right: a file that is torn, or not ours, is worth nothing.
//!
//! One thread writes. What it cannot keep up with is not cached. Whatever goes wrong with the disc, one line says
//! so, and from then on all is as without it: nobody's read fails.

mod index;
mod record;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use wharf::Time;

use super::content::Content;

use index::Index;

/// A disc that takes longer than this to read a block is worse than the service.
const PATIENCE: Duration = Duration::from_secs(2);
/// Reads at once: a disc that hangs must not hold all threads that may block.
const READS_MAX: usize = 8;
/// Bytes that wait for being written, at most.
const WAITING_BYTES_MAX: u64 = 16 << 20;
/// How long making a cache waits for what is there to be found; and ending one, for what is still to be written.
const START_PATIENCE: Duration = Duration::from_secs(2);
const END_PATIENCE: Duration = Duration::from_secs(2);

/// The cache of one mount on disc.
#[derive(Debug)]
pub(super) struct DiscCache {
    shared: Arc<Shared>,
    /// Taken when dropped. Sent to with the index locked, so that what is written is in its order.
    work: Option<Sender<Work>>,
    /// Says when the thread has ended, by hanging up.
    ended: Mutex<Receiver<()>>,
    reads: Semaphore,
}

/// What its thread has as well.
#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    bytes_max: u64,
    index: Mutex<Index>,
    /// Something went wrong: it is not used any more.
    off: AtomicBool,
    waiting_bytes: AtomicU64,
}

/// What its thread is to write.
#[derive(Debug)]
enum Work {
    Block(Arc<Content>, u32, Bytes),
    Gone { path: Arc<str>, below: bool },
}

impl DiscCache {
    /// The cache in a directory, with what is there already. Blocks, but not for long.
    pub(super) fn open(directory: &Path, bytes_max: u64) -> io::Result<DiscCache> {
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            bytes_max,
            index: Mutex::default(),
            off: AtomicBool::new(false),
            waiting_bytes: AtomicU64::new(0),
        });
        let writer = writer::Writer::new(shared.clone())?;
        let (work, works) = mpsc::channel();
        let (found, finding) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        std::thread::Builder::new().name("wharf-disc-cache".into()).spawn(move || {
            writer.run(found, works);
            drop(ends);
        })?;
        // It goes on behind our back if there is very much.
        let _ = finding.recv_timeout(START_PATIENCE);
        Ok(DiscCache { shared, work: Some(work), ended: Mutex::new(ended), reads: Semaphore::new(READS_MAX) })
    }

    /// Whether a block of these contents is there.
    pub(super) fn has(&self, content: &Content, index: u32) -> bool {
        let len = content.block_bytes(index);
        let path = content.path();
        let known = self.shared.lock();
        known.find(&path, &content.version, index).is_some_and(|place| u64::from(place.len) == len)
    }

    /// Reads a block, on a thread that may block. `None` if it is not there, or not what it should be.
    pub(super) async fn read(&self, content: &Content, index: u32) -> Option<Bytes> {
        let path = content.path();
        let place = self.shared.lock().find(&path, &content.version, index)?.clone();
        let number = place.number;
        let reading = async {
            let _turn = self.reads.acquire().await;
            tokio::task::spawn_blocking(move || place.read()).await.map_err(io::Error::other)?
        };
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(Some(bytes))) if bytes.len() as u64 == content.block_bytes(index) => return Some(bytes),
            Ok(Ok(_)) => {
                log::debug!("{path}: block {index} is damaged in {}", self.shared.directory.display());
                self.shared.lock().drop_block(&path, index, number);
            }
            Ok(Err(error)) => self.shared.give_up(&error),
            Err(_) => self.shared.give_up(&"it takes too long"),
        }
        None
    }

    /// A block has arrived from somewhere: it is written, if it may be found again and is not there.
    pub(super) fn put(&self, content: &Arc<Content>, index: u32, bytes: &Bytes) {
        if !content.version.lasts(Time::now()) || self.shared.off.load(Ordering::Relaxed) {
            return;
        }
        let path = content.path();
        let known = self.shared.lock();
        let is_there = known
            .find(&path, &content.version, index)
            .is_some_and(|place| !known.is_old(place.number, self.shared.bytes_max));
        let waiting = &self.shared.waiting_bytes;
        let len = bytes.len() as u64;
        if content.is_ended() || is_there || waiting.load(Ordering::SeqCst) + len > WAITING_BYTES_MAX {
            return;
        }
        waiting.fetch_add(len, Ordering::SeqCst);
        self.send(Work::Block(content.clone(), index, bytes.clone()));
    }

    /// What is at a path, or also below it, is changed here. All contents of before have ended already.
    pub(super) fn forget(&self, path: &str, below: bool) {
        let mut known = self.shared.lock();
        if !known.knows(path, below) && self.shared.waiting_bytes.load(Ordering::SeqCst) == 0 {
            return;
        }
        known.forget(path, below);
        self.send(Work::Gone { path: path.into(), below });
    }

    /// With the index locked.
    fn send(&self, work: Work) {
        if let Some(sender) = &self.work {
            // Nobody hears it when the cache is given up.
            let _ = sender.send(work);
        }
    }
}

impl Drop for DiscCache {
    /// Writes what is waiting, unless the disc hangs.
    fn drop(&mut self) {
        drop(self.work.take());
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(END_PATIENCE);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on all is as without a cache on disc.
    fn give_up(&self, why: &dyn std::fmt::Display) {
        if !self.off.swap(true, Ordering::SeqCst) {
            log::warn!("the cache in {} is not used any more ({why})", self.directory.display());
        }
        self.lock().clear();
    }
}

#[cfg(test)]
mod tests;
