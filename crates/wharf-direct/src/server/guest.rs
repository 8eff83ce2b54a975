//! The tasks of a direct queue, as the session takes them: a head of our own making, so that what a client wrote
//! has been checked and translated before it is looked at here.

use wharf::op::{self, OpenFlags};
use wharf::session::{EntryForm, Guest, Line, ListForm, Operation, Request};
use wharf::{Attributes, Caller, Data, Errno, HandleId, Name, NodeId, Pattern, Time, Window};

use crate::layout::{Listed, RECORD_BYTES, Record, line_bytes};

/// What is to be done, with the session's own ids. Names come behind it in the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Read { node: NodeId, handle: HandleId, offset: u64, len: u32 },
    Write { node: NodeId, handle: HandleId, offset: u64 },
    Fsync { node: NodeId, handle: HandleId, data_only: bool },
    Attributes { node: NodeId, handle: Option<HandleId> },
    Lookup { node: NodeId },
    Open { node: NodeId, writes: bool },
    OpenDirectory { node: NodeId },
    List { node: NodeId, handle: HandleId, cursor: u64, len: u32, whole: bool },
    ReadLink { node: NodeId },
    Release { node: NodeId, handle: HandleId, directory: bool },
}

const WORDS: usize = 6;

impl Task {
    /// The head of a request; `name` goes behind it.
    pub(super) fn encode(self, caller: Caller, name: &[u8], head: &mut Vec<u8>) {
        let none = HandleId(0);
        let (code, node, handle, place, len) = match self {
            Task::Read { node, handle, offset, len } => (1, node, handle, offset, len),
            Task::Write { node, handle, offset } => (2, node, handle, offset, 0),
            Task::Fsync { node, handle, data_only } => (3, node, handle, 0, data_only.into()),
            Task::Attributes { node, handle } => {
                (4, node, handle.unwrap_or(none), 0, handle.is_some().into())
            }
            Task::Lookup { node } => (5, node, none, 0, 0),
            Task::Open { node, writes } => (6, node, none, 0, writes.into()),
            Task::OpenDirectory { node } => (7, node, none, 0, 0),
            Task::List { node, handle, cursor, len, whole } => {
                (if whole { 11 } else { 8 }, node, handle, cursor, len)
            }
            Task::ReadLink { node } => (9, node, none, 0, 0),
            Task::Release { node, handle, directory } => (10, node, handle, 0, directory.into()),
        };
        head.clear();
        let ids = u64::from(caller.uid) | u64::from(caller.gid) << 32;
        let kind = code | u64::from(len) << 32;
        for word in [kind, node.get(), handle.0, place, ids, caller.pid.into()] {
            head.extend_from_slice(&word.to_ne_bytes());
        }
        head.extend_from_slice(name);
    }

    /// Its name, for logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Task::Read { .. } => "direct read",
            Task::Write { .. } => "direct write",
            Task::Fsync { .. } => "direct fsync",
            Task::Attributes { .. } => "direct attributes",
            Task::Lookup { .. } => "direct lookup",
            Task::Open { .. } => "direct open",
            Task::OpenDirectory { .. } => "direct opendir",
            Task::List { .. } => "direct list",
            Task::ReadLink { .. } => "direct readlink",
            Task::Release { .. } => "direct release",
        }
    }
}

/// How tasks are decoded and listings are written.
pub(super) struct Direct;

impl Guest for Direct {
    fn decode<'a>(&'a self, head: &'a [u8], data: Option<Data<'a>>) -> Result<Request<'a>, Errno> {
        let (words, name) = head.split_at_checked(WORDS * 8).ok_or(Errno::EINVAL)?;
        let word = |index: usize| {
            let place = words[index * 8..index * 8 + 8].try_into();
            place.map_or(0, u64::from_ne_bytes)
        };
        let (code, len) = (word(0) as u32, (word(0) >> 32) as u32);
        let node = NodeId::new(word(1)).ok_or(Errno::EINVAL)?;
        let (handle, place) = (HandleId(word(2)), word(3));
        let caller = Caller { uid: word(4) as u32, gid: (word(4) >> 32) as u32, pid: word(5) as u32 };
        let flags = OpenFlags::empty();
        let operation = match code {
            1 => Operation::Read { handle, op: op::Read { offset: place, size: len, flags, owner: None } },
            2 => {
                let (data, flags) = (data.ok_or(Errno::EINVAL)?, OpenFlags::READ_WRITE);
                // Who writes past the kernel has setuid bits cleared as anybody else.
                let (from_cache, kill_privileges, owner) = (false, true, None);
                Operation::Write {
                    handle,
                    op: op::Write { offset: place, data, flags, owner, from_cache, kill_privileges },
                }
            }
            3 => Operation::Fsync { handle, op: op::Fsync { data_only: len != 0 } },
            4 => Operation::GetAttributes { handle: (len != 0).then_some(handle) },
            5 => Operation::Lookup { op: op::Lookup { name: Name::new(name).ok_or(Errno::EINVAL)? } },
            6 => {
                let flags = if len != 0 { OpenFlags::READ_WRITE } else { flags };
                Operation::Open { op: op::Open { flags, kill_privileges: false } }
            }
            7 => Operation::OpenDirectory { op: op::Open { flags, kill_privileges: false } },
            8 | 11 => {
                let pattern = (!name.is_empty()).then(|| Pattern::new(name));
                let op = op::List { cursor: place };
                Operation::List { handle, op, size: len, entries: code == 11, pattern }
            }
            9 => Operation::ReadLink,
            10 => {
                let op = op::Release { flags, owner: None, unlock_flock: false };
                if len != 0 {
                    Operation::ReleaseDirectory { handle, op }
                } else {
                    Operation::Release { handle, op }
                }
            }
            _ => return Err(Errno::EINVAL),
        };
        Ok(Request { node, caller, operation })
    }
}

impl ListForm for Direct {
    fn bytes(&self, name_bytes: usize, form: EntryForm) -> usize {
        line_bytes(name_bytes, form == EntryForm::Whole)
    }

    fn put(&self, into: &mut Window<'_>, at: usize, line: &Line<'_>) {
        let whole = line.form == EntryForm::Whole;
        let head = Listed::head(line.inode, line.cursor, line.kind.dirent_type(), line.name.len(), whole);
        into.put_at(at, &head);
        let mut end = at + head.len();
        if whole {
            let about = line.attributes.map_or_else(Record::default, |attributes| record(0, attributes));
            into.put_at(end, &about.encode());
            end += RECORD_BYTES;
        }
        into.put_at(end, line.name);
        end += line.name.len();
        into.zero(end..at + line_bytes(line.name.len(), whole));
    }
}

/// What a node is like, as clients are told.
pub(super) fn record(node: u64, attributes: &Attributes) -> Record {
    let time = |time: Time| (time.seconds, time.nanoseconds);
    Record {
        node,
        inode: attributes.inode,
        mode: attributes.kind.mode_bits() | u32::from(attributes.permissions),
        links: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        device: attributes.device,
        block_size: attributes.block_size,
        size: attributes.size,
        blocks: attributes.blocks,
        times: [time(attributes.accessed), time(attributes.modified), time(attributes.changed)],
        born: attributes.born.map(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_an_operation() {
        let (node, handle) = (NodeId::ROOT, HandleId(7));
        let caller = Caller { uid: 1, gid: 2, pid: 3 };
        for (task, name) in [
            (Task::Read { node, handle, offset: 5, len: 6 }, "Read"),
            (Task::Fsync { node, handle, data_only: true }, "Fsync"),
            (Task::Attributes { node, handle: None }, "GetAttributes"),
            (Task::Lookup { node }, "Lookup"),
            (Task::Open { node, writes: true }, "Open"),
            (Task::OpenDirectory { node }, "OpenDirectory"),
            (Task::List { node, handle, cursor: 8, len: 9, whole: false }, "List"),
            (Task::List { node, handle, cursor: 8, len: 9, whole: true }, "List"),
            (Task::ReadLink { node }, "ReadLink"),
            (Task::Release { node, handle, directory: true }, "ReleaseDirectory"),
        ] {
            let mut head = vec![1, 2, 3];
            task.encode(caller, b"name", &mut head);
            let request = Direct.decode(&head, None).unwrap();
            assert_eq!((request.node, request.caller), (node, caller));
            assert_eq!(request.operation.name(), name);
        }
        assert!(Direct.decode(&[0; 48], None).is_err());
        assert!(Direct.decode(&[0; 7], None).is_err());
    }
}
