//! From an operation that has ended to what a client is told.

use std::sync::Arc;

use wharf::session::{Completion, OpenReply, Reply};
use wharf::{Cache, Errno, HandleId, NodeId};
use wharf_mem::{BLOCK_BYTES, Fill, Payload, copy_streams};

use crate::layout::{Answer, Ask, RECORD_BYTES, Record};

use super::super::cache::{Began, Block, File, Waiter};
use super::super::guest::record;
use super::super::handles::Open;
use super::super::host::{Client, Mail};
use super::{Flight, Server};

impl Server {
    /// An operation has ended.
    pub(super) fn finish(&mut self, completion: Completion) {
        let Completion { tag, result, payload, head, .. } = completion;
        if head.capacity() > 0 {
            self.heads.push(head);
        }
        let Some(flight) = self.flights.get_mut(tag as usize).and_then(Option::take) else { return };
        self.free.push(tag as u32);
        // Bytes that somebody still holds are not used again.
        let payload = Some(payload).filter(Payload::is_free);
        self.land(flight, result, payload);
    }

    pub(super) fn land(
        &mut self,
        flight: Flight,
        result: Result<Reply, Errno>,
        mut payload: Option<Payload>,
    ) {
        match flight {
            Flight::Slot { client, slot } => return self.land_in_slot(client, slot, result, payload),
            Flight::Measure { file, began } => {
                let size = match result {
                    Ok(Reply::Attributes(attributes, _)) => Some(attributes.size),
                    _ => None,
                };
                for waiter in file.measured(began, size) {
                    self.tell(waiter, Mail::Again(waiter));
                }
            }
            Flight::Fill { file, began, fill } => {
                payload = self.land_block(&file, began, fill, result, payload);
            }
            Flight::List(listing) => self.listed(listing, result, payload.as_mut()),
            Flight::Close { node } => {
                if let Some(node) = node {
                    self.host.session.forget(node, 1);
                }
            }
        }
        self.spare.extend(payload);
    }

    /// A block has been read to be kept. Returns its memory, if that is not needed any more.
    fn land_block(
        &mut self,
        file: &Arc<File>,
        began: Began,
        fill: Option<Fill>,
        result: Result<Reply, Errno>,
        payload: Option<Payload>,
    ) -> Option<Payload> {
        let (payload, waiting, there) = match (&result, fill, payload) {
            (Ok(Reply::Bytes(len)), Some(fill), Some(mut payload)) => {
                // What is shorter than the file said is not kept, and nobody is told of it.
                if fill.range().end - fill.range().start == *len as u64 {
                    self.serve(file, began, &mut payload, *len);
                }
                let block = Block { file: file.clone(), began, fill, payload, len: *len };
                match self.host.shelf.put(block) {
                    Ok(()) => return None,
                    Err(block) => {
                        let (payload, waiting, there) = block.keep();
                        (Some(payload), waiting, there)
                    }
                }
            }
            (_, fill, payload) => {
                let (waiting, there) = file.filled(began, fill, None);
                (payload, waiting, there)
            }
        };
        for waiter in waiting {
            let mail = match result {
                _ if there => Mail::Answer(waiter, Answer::InSection),
                Err(errno) => Mail::Answer(waiter, Answer::Failed(errno.get())),
                Ok(_) => Mail::Again(waiter),
            };
            self.tell(waiter, mail);
        }
        payload
    }

    /// Answers those who wait for a block here with their bytes of it.
    fn serve(&mut self, file: &File, began: Began, payload: &mut Payload, len: usize) {
        let Some(bytes) = payload.bytes_mut().and_then(|bytes| bytes.get(..len)) else { return };
        for Waiter { client, slot, .. } in file.served(began, self.number) {
            let Some(seat) = self.seat(client) else { continue };
            let Ask::Read { offset, len, .. } = seat.asks[slot] else { continue };
            let start = usize::try_from(offset % BLOCK_BYTES).map_or(bytes.len(), |at| at.min(bytes.len()));
            let wanted = &bytes[start..bytes.len().min(start + len as usize)];
            let answer = match seat.lane.take_span(slot) {
                Some(mut span) => {
                    let room = span.bytes_mut().and_then(|room| room.get_mut(..wanted.len()));
                    let put = room.map(|room| copy_streams(room, wanted));
                    seat.lane.put_span(slot, span);
                    put.map(|()| Answer::Done(wanted.len() as u64))
                }
                None => None,
            };
            self.answer(client, slot, answer.unwrap_or(Answer::Failed(Errno::ENOMEM.get())));
        }
    }

    /// At once if it is this queue's, else by mail.
    pub(super) fn tell(&mut self, waiter: Waiter, mail: Mail) {
        if waiter.queue != self.number {
            self.host.queues[waiter.queue].send(mail);
            return;
        }
        match mail {
            Mail::Answer(waiter, answer) => self.answer(waiter.client, waiter.slot, answer),
            Mail::Again(waiter) => self.again(waiter),
            Mail::Join(_) | Mail::Leave(_) | Mail::List(_) | Mail::Release(_) => {}
        }
    }

    fn land_in_slot(
        &mut self,
        client: u64,
        slot: usize,
        result: Result<Reply, Errno>,
        mut payload: Option<Payload>,
    ) {
        let Some(at) = self.seats.iter().position(|seat| seat.client.number == client) else {
            return self.lost(result);
        };
        let ask = self.seats[at].asks[slot];
        let answer = match (result, ask) {
            // Nothing needs to be opened there, and nobody says that contents are not to be kept.
            (Err(Errno::ENOSYS), Ask::Open { .. } | Ask::OpenDirectory { .. }) => {
                self.opened(at, ask, HandleId(0), true)
            }
            (Err(errno), _) => Answer::Failed(errno.get()),
            // Of a directory it is the listing that is kept, and only by who hears of all changes.
            (Ok(Reply::Opened(OpenReply { handle, cache, directory: true, .. })), _) => {
                self.opened(at, ask, handle, cache == Cache::Keep)
            }
            (Ok(Reply::Opened(OpenReply { handle, cache, stream, .. })), _) => {
                self.opened(at, ask, handle, cache != Cache::Direct && !stream)
            }
            (Ok(reply), _) => self.reply(at, reply, payload.as_mut()),
        };
        if let Some(payload) = payload {
            self.seats[at].lane.put_span(slot, payload);
        }
        self.answer(client, slot, answer);
    }

    /// What a client is told of a reply; bytes are put into its slot.
    fn reply(&mut self, at: usize, reply: Reply, payload: Option<&mut Payload>) -> Answer {
        let put = |record: Record| match room(payload) {
            Some(room) => {
                room[..RECORD_BYTES].copy_from_slice(&record.encode());
                Answer::Done(RECORD_BYTES as u64)
            }
            None => Answer::Failed(Errno::EIO.get()),
        };
        match reply {
            Reply::Nothing => Answer::Done(0),
            Reply::Written(count) | Reply::Bytes(count) => Answer::Done(count as u64),
            Reply::Attributes(attributes, _) => put(record(0, &attributes)),
            Reply::Entry(entry) if self.seats[at].client.told(entry.node) => {
                put(record(entry.node.get(), &entry.attributes))
            }
            Reply::Entry(entry) => {
                self.host.session.forget(entry.node, 1);
                Answer::Failed(Errno::ENOMEM.get())
            }
            Reply::Absent(_) => Answer::Failed(Errno::ENOENT.get()),
            _ => Answer::Failed(Errno::EIO.get()),
        }
    }

    /// A file or directory was opened for a client.
    fn opened(&mut self, at: usize, ask: Ask, handle: HandleId, keeps: bool) -> Answer {
        let client: Arc<Client> = self.seats[at].client.clone();
        let (node, writes, directory) = match ask {
            Ask::Open { node, writes } => (node, writes, false),
            Ask::OpenDirectory { node } => (node, false, true),
            _ => return Answer::Failed(Errno::EIO.get()),
        };
        let Some(node) = NodeId::new(node) else { return Answer::Failed(Errno::ESTALE.get()) };
        // The client may forget the node while it has it open.
        let holds_node = self.host.session.hold(node).is_some();
        let open = Open { holds_node, ..self.host.opened(node, handle, directory, writes, keeps) };
        let inserted = client.handles().insert(open);
        match inserted {
            Ok(number) => Answer::Done(number),
            Err(open) => {
                self.close(&open);
                Answer::Failed(Errno::ENOMEM.get())
            }
        }
    }

    /// What was done for somebody who has gone is undone.
    fn lost(&mut self, result: Result<Reply, Errno>) {
        match result {
            Ok(Reply::Entry(entry)) => self.host.session.forget(entry.node, 1),
            Ok(Reply::Opened(OpenReply { handle, directory, .. })) => {
                // Which node it was matters to no release.
                let open = self.host.opened(NodeId::ROOT, handle, directory, false, false);
                self.close(&open);
            }
            _ => {}
        }
    }
}

/// The bytes of a slot, while nobody else holds them.
fn room(payload: Option<&mut Payload>) -> Option<&mut [u8]> {
    payload.and_then(Payload::bytes_mut)
}
