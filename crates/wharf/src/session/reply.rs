//! What a transport sends back, with ids where the author gave values.

use std::time::Duration;

use crate::error::Errno;
use crate::{Attributes, Cache, Caller, Extended, HandleId, IoctlDone, NodeId, RequestId, Statfs, op};

use super::Operation;

/// The number under which a transport knows a backing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackingId(pub u32);

/// Whether the kernel reads and writes an open file by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// No: it asks.
    No,
    /// Yes, on this backing file.
    Yes(BackingId),
    /// No, but it does so for another open file of the same node, on this backing file; it must then be
    /// told the same number, and to keep nothing.
    Beside(BackingId),
}

/// One decoded request.
#[derive(Debug)]
pub struct Request<'a> {
    /// What it is about.
    pub node: NodeId,
    /// Who asks.
    pub caller: Caller,
    /// What for.
    pub operation: Operation<'a>,
}

/// The answer to an operation. Bytes are in the payload, from its start.
#[derive(Debug)]
pub enum Reply {
    /// It is done.
    Nothing,
    /// A node was found or made.
    Entry(EntryReply),
    /// There is no such name, and that may be remembered.
    Absent(Duration),
    /// Attributes, and how long they hold.
    Attributes(Attributes, Duration),
    /// Something was opened.
    Opened(OpenReply),
    /// A file was made and opened.
    Created(EntryReply, OpenReply),
    /// So many bytes of payload.
    Bytes(usize),
    /// So many bytes were written.
    Written(usize),
    /// How full the volume is.
    Statfs(Statfs),
    /// The length of an extended attribute or of their names.
    Length(usize),
    /// The lock in the way, if any.
    Lock(Option<op::Lock>),
    /// An offset found.
    Offset(u64),
    /// So many bytes were copied; `true` for the answer that may exceed 32 bits.
    Copied(u64, bool),
    /// A block found.
    Block(u64),
    /// The answer of an ioctl; its bytes are in the payload.
    Ioctl(IoctlDone),
    /// Events that are there now.
    Events(u32),
    /// Attributes in the terms of statx(2), and how long they hold.
    Extended(Extended, Duration),
}

/// A node found or made.
#[derive(Clone, Copy, Debug)]
pub struct EntryReply {
    /// Its id. One lookup has been counted for it.
    pub node: NodeId,
    /// What it is like.
    pub attributes: Attributes,
    /// How long the name leads there.
    pub entry_lifetime: Duration,
    /// How long the attributes hold.
    pub attributes_lifetime: Duration,
}

/// Something opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenReply {
    /// Its handle.
    pub handle: HandleId,
    /// What the kernel may keep.
    pub cache: Cache,
    /// No positions in it.
    pub stream: bool,
    /// Several direct writes may come at once.
    pub parallel_direct_writes: bool,
    /// No `flush` is wanted.
    pub no_flush: bool,
    /// It is a directory.
    pub directory: bool,
    /// The backing file that stands in for it.
    pub backing: Option<BackingId>,
}

/// What is left when an operation has ended.
#[derive(Debug)]
pub struct Completion {
    /// The transport's own mark, from [`Arrival`](super::Arrival).
    pub tag: u64,
    /// The request.
    pub request: RequestId,
    /// The answer.
    pub result: Result<Reply, Errno>,
    /// The payload, free again, with the answer's bytes.
    pub payload: wharf_mem::Payload,
    /// The buffer of the request's head, to be used again.
    pub head: Vec<u8>,
}
