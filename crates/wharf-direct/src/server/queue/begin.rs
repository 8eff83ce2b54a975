//! From what a client asks to an operation of the session's.

use std::ops::Range;
use std::sync::Arc;

use wharf::session::Arrival;
use wharf::{Caller, Capabilities, Errno, NodeId, RequestId};
use wharf_mem::{BLOCK_BYTES, Payload};

use crate::layout::{Answer, Ask, SLOT_BYTES};

use super::super::cache::{Began, File, Plan, Waiter};
use super::super::guest::Task;
use super::super::handles::Open;
use super::{Flight, Server};

impl Server {
    /// Begins what a client asks.
    pub(super) fn begin(&mut self, at: usize, slot: usize, ask: Ask) -> Result<(), Errno> {
        let number = self.seats[at].client.number;
        let task = match ask {
            Ask::Ping => {
                self.answer(number, slot, Answer::Done(0));
                return Ok(());
            }
            Ask::Read { handle, offset, len, plain } => {
                let open = self.open(at, handle)?;
                if let (Some(file), false) = (&open.file, plain) {
                    return self.plan(at, slot, &open, file, ask);
                }
                Task::Read { node: open.node, handle: open.handle, offset, len }
            }
            Ask::Write { handle, offset, len } => {
                let open = self.open(at, handle)?;
                if !open.writes {
                    return Err(Errno::EBADF);
                }
                let task = Task::Write { node: open.node, handle: open.handle, offset };
                return self.write(at, slot, task, len as usize);
            }
            Ask::Fsync { handle, data_only } => {
                let open = self.open(at, handle)?;
                Task::Fsync { node: open.node, handle: open.handle, data_only }
            }
            Ask::AttributesOfFile { handle } => {
                let open = self.open(at, handle)?;
                Task::Attributes { node: open.node, handle: Some(open.handle) }
            }
            Ask::Prefetch { handle, offset, len } => {
                let open = self.open(at, handle)?;
                self.answer(number, slot, Answer::Done(0));
                self.prefetch(&open, offset, len);
                return Ok(());
            }
            Ask::Release { handle } => {
                let open = self.seats[at].client.handles().remove(handle).ok_or(Errno::EBADF)?;
                self.answer(number, slot, Answer::Done(0));
                self.close(&open);
                return Ok(());
            }
            Ask::Forget { node, count } => {
                let node = NodeId::new(node).ok_or(Errno::ESTALE)?;
                let count = self.seats[at].client.forgets(node, count);
                self.host.session.forget(node, count);
                self.answer(number, slot, Answer::Done(count));
                return Ok(());
            }
            Ask::Snapshot { handle } => {
                let open = self.open(at, handle)?;
                return self.snapshot(at, slot, open);
            }
            Ask::Lookup { node: parent, .. } => Task::Lookup { node: self.node(at, parent)? },
            Ask::Attributes { node: raw } => Task::Attributes { node: self.node(at, raw)?, handle: None },
            Ask::Open { node: raw, writes } => Task::Open { node: self.node(at, raw)?, writes },
            Ask::OpenDirectory { node: raw } => Task::OpenDirectory { node: self.node(at, raw)? },
            Ask::ReadLink { node: raw } => Task::ReadLink { node: self.node(at, raw)? },
            Ask::List { handle, cursor, whole, .. } => {
                let Open { node, handle, .. } = self.open(at, handle)?;
                // Who never gives whole entries is not asked for them.
                let whole = whole && self.host.session.capabilities().contains(Capabilities::LIST_ENTRIES);
                Task::List { node, handle, cursor, len: SLOT_BYTES as u32, whole }
            }
        };
        let mut name = vec![0; ask.inbox_bytes()];
        if !self.seats[at].lane.inbox(slot, &mut name) {
            return Err(Errno::EINVAL);
        }
        self.begin_in_slot(at, slot, task, &name)
    }

    /// What the client has open under this number.
    fn open(&self, at: usize, handle: u64) -> Result<Open, Errno> {
        self.seats[at].client.handles().get(handle).cloned().ok_or(Errno::EBADF)
    }

    /// A node that the client may name.
    fn node(&self, at: usize, raw: u64) -> Result<NodeId, Errno> {
        self.seats[at].client.node(raw).ok_or(Errno::ESTALE)
    }

    /// Begins an operation whose bytes come in the client's slot.
    pub(super) fn begin_in_slot(
        &mut self,
        at: usize,
        slot: usize,
        task: Task,
        name: &[u8],
    ) -> Result<(), Errno> {
        let seat = &mut self.seats[at];
        let payload = seat.lane.take_span(slot).ok_or(Errno::ENOMEM)?;
        let (client, caller) = (seat.client.number, seat.client.caller);
        self.start(Flight::Slot { client, slot }, task, caller, name, None, payload);
        Ok(())
    }

    /// The bytes are copied to where nobody else writes before anything looks at them.
    fn write(&mut self, at: usize, slot: usize, task: Task, len: usize) -> Result<(), Errno> {
        let seat = &mut self.seats[at];
        let mut payload = seat.lane.take_span(slot).ok_or(Errno::ENOMEM)?;
        let (client, caller) = (seat.client.number, seat.client.caller);
        let room = payload.bytes_mut().and_then(|bytes| bytes.get_mut(..len));
        if !room.is_some_and(|room| seat.lane.inbox(slot, room)) {
            seat.lane.put_span(slot, payload);
            return Err(Errno::EIO);
        }
        self.start(Flight::Slot { client, slot }, task, caller, &[], Some(len), payload);
        Ok(())
    }

    /// A read of a file whose blocks may be kept.
    fn plan(&mut self, at: usize, slot: usize, open: &Open, file: &Arc<File>, ask: Ask) -> Result<(), Errno> {
        let Ask::Read { offset, len, .. } = ask else { return Err(Errno::EINVAL) };
        let client = self.seats[at].client.number;
        let plan = file.plan(offset, len, Waiter { queue: self.number, client, slot });
        match plan {
            Plan::Plain => {
                let task = Task::Read { node: open.node, handle: open.handle, offset, len };
                return self.begin_in_slot(at, slot, task, &[]);
            }
            Plan::InSection => self.answer(client, slot, Answer::InSection),
            Plan::Wait => {}
            Plan::Measure(began) => self.measure(open, file, began),
            Plan::Fill(began) => {
                self.fill(open, file, began);
                let ahead = file.ahead(began);
                self.want(open, file, ahead);
            }
        }
        Ok(())
    }

    /// Has blocks filled that will be asked for. Nobody waits for them.
    fn prefetch(&mut self, open: &Open, offset: u64, len: u64) {
        const BLOCKS_MAX: u64 = 64;
        let Some(file) = open.file.as_ref().filter(|_| self.host.cache.admits()) else { return };
        let first = offset / BLOCK_BYTES;
        let blocks = len.div_ceil(BLOCK_BYTES).min(BLOCKS_MAX);
        self.want(open, file, first..first.saturating_add(blocks));
    }

    fn want(&mut self, open: &Open, file: &Arc<File>, blocks: Range<u64>) {
        for block in blocks {
            match file.want(block) {
                Plan::Measure(began) => return self.measure(open, file, began),
                Plan::Fill(began) => self.fill(open, file, began),
                Plan::Plain | Plan::InSection | Plan::Wait => {}
            }
        }
    }

    fn measure(&mut self, open: &Open, file: &Arc<File>, began: Began) {
        let task = Task::Attributes { node: open.node, handle: Some(open.handle) };
        self.start_inside(Flight::Measure { file: file.clone(), began }, task);
    }

    fn fill(&mut self, open: &Open, file: &Arc<File>, began: Began) {
        let (node, handle, len) = (open.node, open.handle, BLOCK_BYTES as u32);
        let task = Task::Read { node, handle, offset: began.block * BLOCK_BYTES, len };
        let filling = file.begin_fill(began);
        let flight = Flight::Fill { file: file.clone(), began, fill: filling };
        self.start_inside(flight, task);
    }

    pub(super) fn close(&mut self, open: &Open) {
        if let Some(file) = &open.file {
            self.host.cache.close(file);
        }
        let node = open.holds_node.then_some(open.node);
        let task = Task::Release { node: open.node, handle: open.handle, directory: open.directory };
        self.start_inside(Flight::Close { node }, task);
    }

    /// Begins an operation of the host's own, with memory of its own.
    pub(super) fn start_inside(&mut self, flight: Flight, task: Task) {
        let spare = self.spare.pop().or_else(|| self.host.shelf.spare());
        let payload = spare.map_or_else(|| Payload::anonymous(SLOT_BYTES), Ok);
        match payload {
            Ok(payload) => self.start(flight, task, Caller::KERNEL, &[], None, payload),
            Err(error) => {
                log::warn!("no memory for {}: {error}", task.name());
                self.land(flight, Err(Errno::ENOMEM), None);
            }
        }
    }

    fn start(
        &mut self,
        flight: Flight,
        task: Task,
        caller: Caller,
        name: &[u8],
        data: Option<usize>,
        payload: Payload,
    ) {
        let mut head = self.heads.pop().unwrap_or_default();
        task.encode(caller, name, &mut head);
        let place = self.free.pop().unwrap_or_else(|| {
            self.flights.push(None);
            (self.flights.len() - 1) as u32
        });
        self.flights[place as usize] = Some(flight);
        self.requests += 1;
        let request = RequestId(self.requests);
        let arrival = Arrival { tag: place.into(), request, name: task.name(), head, data, payload };
        if let Some(completion) = self.queue.begin(arrival) {
            self.finish(completion);
        }
    }
}
