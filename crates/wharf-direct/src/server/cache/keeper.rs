//! Putting what was read into sections, on a thread of its own: to have the memory for a block takes longer than all
//! the rest of a request, and who asked for the block has his answer without it.
//!
//! The bytes wait in the payloads that they were read into, a few at a time. Where there are more the queue that has read
//! them does it itself: what comes faster than it can be kept has to wait somewhere.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use wharf_mem::{Fill, Payload};

use super::{Began, File, Waiter, locked};

/// Blocks that wait to be kept: 1 MiB, which the processor's cache still has.
const WAITING_MAX: usize = 16;

/// A block that has been read, all of it.
pub(in super::super) struct Block {
    pub(in super::super) file: Arc<File>,
    pub(in super::super) began: Began,
    pub(in super::super) fill: Fill,
    pub(in super::super) payload: Payload,
    /// Bytes of the payload.
    pub(in super::super) len: usize,
}

impl Block {
    /// Puts it into the section. Returns the payload, who waited for the block, and whether it is there.
    pub(in super::super) fn keep(self) -> (Payload, Vec<Waiter>, bool) {
        let Block { file, began, fill, mut payload, len } = self;
        let bytes = payload.bytes_mut().and_then(|bytes| bytes.get(..len));
        let (waiting, there) = file.filled(began, Some(fill), bytes);
        (payload, waiting, there)
    }
}

/// Where queues put what is to be kept.
#[derive(Default)]
pub(in super::super) struct Shelf {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Block>,
    /// Memory of those that were kept, to be used again.
    spare: Vec<Payload>,
    sleeps: bool,
    over: bool,
}

impl Shelf {
    /// Has a block kept.
    ///
    /// # Errors
    /// The block, when there are too many: whoever has it keeps it himself.
    pub(in super::super) fn put(&self, block: Block) -> Result<(), Box<Block>> {
        let mut state = locked(&self.state);
        if state.over || state.waiting.len() >= WAITING_MAX {
            return Err(Box::new(block));
        }
        state.waiting.push_back(block);
        // Nobody is woken who is awake: that costs as much as a small request.
        if std::mem::take(&mut state.sleeps) {
            drop(state);
            self.rung.notify_one();
        }
        Ok(())
    }

    /// Memory that is not in use any more.
    pub(in super::super) fn spare(&self) -> Option<Payload> {
        locked(&self.state).spare.pop()
    }

    /// The next block; at the end none, when all have been kept.
    fn next(&self, spare: Option<Payload>) -> Option<Block> {
        let mut state = locked(&self.state);
        if state.spare.len() < WAITING_MAX {
            state.spare.extend(spare);
        }
        loop {
            let next = state.waiting.pop_front();
            if next.is_some() || state.over {
                return next;
            }
            state.sleeps = true;
            state = self.rung.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn end(&self) {
        locked(&self.state).over = true;
        self.rung.notify_one();
    }
}

/// The thread. When it is dropped it keeps what is waiting still, and ends.
pub(in super::super) struct Keeper {
    shelf: Arc<Shelf>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// `tell` is told of everybody who waited for a block, and whether it is there.
    pub(in super::super) fn start(
        shelf: Arc<Shelf>,
        tell: impl Fn(Waiter, bool) + Send + 'static,
    ) -> io::Result<Keeper> {
        let shared = shelf.clone();
        let thread = thread::Builder::new().name("wharf-keep".into()).spawn(move || {
            let mut spare = None;
            while let Some(block) = shared.next(spare.take()) {
                let (payload, waiting, there) = block.keep();
                waiting.into_iter().for_each(|waiter| tell(waiter, there));
                spare = Some(payload).filter(Payload::is_free);
            }
        })?;
        Ok(Keeper { shelf, thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shelf.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
