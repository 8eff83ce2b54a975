//! Directories are listed for their snapshots: a part in a turn, so that others are served between.

use wharf::session::Reply;
use wharf::{Capabilities, Errno};
use wharf_mem::Payload;

use crate::layout::{Answer, SLOT_BYTES, line};

use super::super::cache::Waiter;
use super::super::guest::Task;
use super::super::handles::Open;
use super::super::host::Mail;
use super::super::snapshots::Asked;
use super::{Flight, Server};

/// A directory that is being listed.
pub(in super::super) struct Listing {
    inode: u64,
    /// As the first who asked has it open.
    open: Open,
    whole: bool,
    lines: Vec<u8>,
    cursor: u64,
}

impl Server {
    /// A client asks for the snapshot of a directory.
    pub(super) fn snapshot(&mut self, at: usize, slot: usize, open: Open) -> Result<(), Errno> {
        let inode = self.host.session.inode(open.node).filter(|_| open.known);
        let inode = inode.ok_or(Errno::EOPNOTSUPP)?;
        let client = self.seats[at].client.number;
        match self.host.snapshots.ask(inode, Waiter { queue: self.number, client, slot }) {
            Asked::There => self.answer(client, slot, Answer::Done(0)),
            Asked::Wait => {}
            Asked::Build => {
                // Where somebody can write, the kernel may do so without telling: what files are like is not known.
                let can = self.host.session.capabilities();
                let whole = can.contains(Capabilities::LIST_ENTRIES) && !can.contains(Capabilities::WRITE);
                self.list_on(Box::new(Listing { inode, open, whole, lines: Vec::new(), cursor: 0 }));
            }
        }
        Ok(())
    }

    /// Lists the next part.
    pub(super) fn list_on(&mut self, listing: Box<Listing>) {
        let Listing { ref open, whole, cursor, .. } = *listing;
        let (node, handle, len) = (open.node, open.handle, SLOT_BYTES as u32);
        self.start_inside(Flight::List(listing), Task::List { node, handle, cursor, len, whole });
    }

    /// A part is there, or what was wrong.
    pub(super) fn listed(
        &mut self,
        mut listing: Box<Listing>,
        result: Result<Reply, Errno>,
        payload: Option<&mut Payload>,
    ) {
        let part = match (result, payload) {
            (Ok(Reply::Bytes(count)), Some(payload)) => {
                payload.bytes_mut().and_then(|bytes| bytes.get(..count)).ok_or(Errno::EIO)
            }
            (Err(errno), _) => Err(errno),
            (Ok(_), _) => Err(Errno::EIO),
        };
        match part {
            Ok([]) => {
                let Listing { inode, lines, whole, .. } = *listing;
                let (waiting, made) = self.host.snapshots.publish(inode, &lines, whole);
                self.tell_all(waiting, made);
            }
            Ok(part) => {
                let added = listing.add(part);
                match added.and_then(|()| self.host.snapshots.grow(listing.inode, listing.lines.len())) {
                    Ok(()) => self.host.queues[self.number].send(Mail::List(listing)),
                    Err(errno) => {
                        let waiting = self.host.snapshots.give_up(listing.inode);
                        self.tell_all(waiting, Err(errno));
                    }
                }
            }
            Err(errno) => {
                // Perhaps because the first who asked has closed it. Others have it open themselves.
                let mut waiting = self.host.snapshots.give_up(listing.inode).into_iter();
                self.tell_all(waiting.next().into_iter().collect(), Err(errno));
                for waiter in waiting {
                    self.tell(waiter, Mail::Again(waiter));
                }
            }
        }
    }

    fn tell_all(&mut self, waiting: Vec<Waiter>, made: Result<(), Errno>) {
        let answer = match made {
            Ok(()) => Answer::Done(0),
            Err(errno) => Answer::Failed(errno.get()),
        };
        for waiter in waiting {
            self.tell(waiter, Mail::Answer(waiter, answer));
        }
    }
}

impl Listing {
    /// Takes the lines of a part; none of `.` and `..`.
    fn add(&mut self, mut part: &[u8]) -> Result<(), Errno> {
        while !part.is_empty() {
            let (line, after) = line(part).map_err(|_| Errno::EIO)?;
            if line.name != b"." && line.name != b".." {
                self.lines.extend_from_slice(line.bytes);
            }
            self.cursor = line.cursor;
            part = after;
        }
        Ok(())
    }
}
