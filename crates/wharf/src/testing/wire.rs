//! A protocol that stays in memory: a request's head is the number of an [`Ask`](super::Ask) and its strings.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wharf_mem::{Data, Window};

use crate::error::Errno;
use crate::session::{BackingId, EntryForm, Line, ListForm, Passed, Protocol, Request};
use crate::{Caller, Kind, NodeId};

use super::ask::Shared;

/// The requests in flight.
#[derive(Default)]
pub(super) struct Wire(Mutex<Table>);

#[derive(Default)]
struct Table {
    asked: Vec<Option<(Arc<Shared>, Caller)>>,
    free: Vec<usize>,
    files_open: usize,
}

const HEAD_BYTES: usize = size_of::<u64>();

impl Wire {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the head of a request; returns the number to give it up by.
    pub(super) fn encode(
        &self,
        shared: &Arc<Shared>,
        caller: Caller,
        strings: &[u8],
        head: &mut Vec<u8>,
    ) -> u64 {
        let mut table = self.table();
        let asked = Some((shared.clone(), caller));
        let number = match table.free.pop() {
            Some(number) => {
                table.asked[number] = asked;
                number
            }
            None => {
                table.asked.push(asked);
                table.asked.len() - 1
            }
        } as u64;
        head.clear();
        head.extend_from_slice(&number.to_le_bytes());
        head.extend_from_slice(strings);
        number
    }

    pub(super) fn give_up(&self, number: u64) {
        let mut table = self.table();
        table.asked[number as usize] = None;
        table.free.push(number as usize);
    }

    /// Files of which a transport was told that they are open.
    pub(super) fn files_open(&self) -> usize {
        self.table().files_open
    }
}

impl Protocol for Wire {
    fn decode<'a>(&'a self, head: &'a [u8], data: Option<Data<'a>>) -> Result<Request<'a>, Errno> {
        let (number, strings) = head.split_first_chunk::<HEAD_BYTES>().ok_or(Errno::EINVAL)?;
        let number = u64::from_le_bytes(*number) as usize;
        let asked = self.table().asked.get(number).cloned().flatten();
        let (shared, caller) = asked.ok_or(Errno::EINVAL)?;
        shared.decode(caller, strings, data)
    }

    /// Bytes are always moved by Wharf here.
    fn backing_open(&self, node: NodeId, _backing: &OwnedFd) -> Passed {
        self.handler_open(node)
    }

    fn handler_open(&self, _node: NodeId) -> Passed {
        self.table().files_open += 1;
        Passed::No
    }

    fn closed(&self, _node: NodeId, _backing: Option<BackingId>) {
        self.table().files_open -= 1;
    }
}

/// Length of the name, kind; then inode, cursor, node (0 for none). The name follows.
const LINE_BYTES: usize = 3 + 3 * size_of::<u64>();

impl ListForm for Wire {
    fn bytes(&self, name_bytes: usize, _form: EntryForm) -> usize {
        LINE_BYTES + name_bytes
    }

    fn put(&self, into: &mut Window<'_>, at: usize, line: &Line<'_>) {
        let len = (line.name.len() as u16).to_le_bytes();
        let kind = [line.kind.dirent_type()];
        let node = line.entry.map_or(0, |entry| entry.node.get());
        let mut at = at;
        for part in [&len[..], &kind] {
            at += into.put_at(at, part);
        }
        for number in [line.inode, line.cursor, node] {
            at += into.put_at(at, &number.to_le_bytes());
        }
        into.put_at(at, line.name);
    }
}

/// One entry of a listing, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The name, `.` and `..` included.
    pub name: Vec<u8>,
    /// Its inode number.
    pub inode: u64,
    /// What it is.
    pub kind: Kind,
    /// Where a listing goes on after it.
    pub cursor: u64,
    /// Its node, if the file system gave it. One lookup has been counted for it.
    pub node: Option<NodeId>,
}

/// Reads a listing back. Stops at what it cannot read.
pub(super) fn lines(mut bytes: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some((seen, rest)) = line(bytes) {
        all.push(seen);
        bytes = rest;
    }
    all
}

fn line(bytes: &[u8]) -> Option<(Seen, &[u8])> {
    let (len, bytes) = bytes.split_first_chunk()?;
    let ([kind], mut bytes) = bytes.split_first_chunk()?;
    let mut number = || {
        let (number, rest) = bytes.split_first_chunk()?;
        bytes = rest;
        Some(u64::from_le_bytes(*number))
    };
    let (inode, cursor, node) = (number()?, number()?, number()?);
    let (name, rest) = bytes.split_at_checked(u16::from_le_bytes(*len).into())?;
    let kind = Kind::from_mode(u32::from(*kind) << 12)?;
    Some((Seen { name: name.to_vec(), inode, kind, cursor, node: NodeId::new(node) }, rest))
}
