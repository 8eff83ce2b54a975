//! What a volume tells the kernel unasked, as bytes for one write(2) to the device.
//!
//! Which thread writes them, and when, matters a great deal: see `wharf::notice`. Not here.

use wharf::NodeId;
use zerocopy::{Immutable, IntoBytes};

use super::abi::{
    NotifyDelete, NotifyInvalEntry, NotifyInvalInode, NotifyPollWakeup, NotifyPrune, NotifyRetrieve,
    NotifyStore, OutHeader,
};
use super::{InitFlags, OUT_HEADER_BYTES, Terms};

const EXPIRE_ONLY: u32 = 1 << 0;

/// Bytes that one [`Message::Store`] takes at the most; what is beyond them is left out.
pub const STORE_BYTES_MAX: usize = 1 << 30;

/// The first number for [`Message::Retrieve`]; the next are greater by [`RETRIEVAL_STEP`].
///
/// Over io_uring the kernel keeps retrievals and requests in one table, by number, so that both must
/// differ. Requests count from zero and will not get here; the bits at both ends have a meaning.
pub const RETRIEVAL_FIRST: u64 = 1 << 62;
/// From one number to the next. Odd ones are interrupts.
pub const RETRIEVAL_STEP: u64 = 2;

/// One notice, with ids as the kernel knows them.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    /// Something happened to a file that somebody polls.
    Poll {
        /// Who: [`PollWaker`](wharf::op::PollWaker).
        waker: u64,
    },
    /// Attributes of a node are stale, and so are contents unless `offset` is negative.
    InvalInode {
        /// The node.
        node: NodeId,
        /// First stale byte.
        offset: i64,
        /// How many; 0 or less for all that follow.
        length: i64,
    },
    /// A name is stale.
    InvalEntry {
        /// The directory.
        parent: NodeId,
        /// The name.
        name: &'a [u8],
        /// Only its lifetime is over: who uses it goes on. Needs [`InitFlags::HAS_EXPIRE_ONLY`].
        expire_only: bool,
    },
    /// A name is gone; those who watch it are told.
    Delete {
        /// The directory.
        parent: NodeId,
        /// What had the name.
        child: NodeId,
        /// The name.
        name: &'a [u8],
    },
    /// Puts bytes into the cache of a file, which grows if it is shorter.
    Store {
        /// The file.
        node: NodeId,
        /// First byte.
        offset: u64,
        /// The bytes, up to [`STORE_BYTES_MAX`].
        bytes: &'a [u8],
    },
    /// Asks for what the cache of a file has. The answer is a request, [`Control::NotifyReply`].
    ///
    /// [`Control::NotifyReply`]: super::Control::NotifyReply
    Retrieve {
        /// Will come back with the answer; see [`RETRIEVAL_FIRST`].
        unique: u64,
        /// The file.
        node: NodeId,
        /// First byte.
        offset: u64,
        /// How many at the most.
        size: u32,
    },
    /// Asks the kernel to send again what it has sent and got no answer to. Needs
    /// [`InitFlags::HAS_RESEND`].
    Resend,
    /// Ends the lifetime of every name. Since minor version 44.
    IncEpoch,
    /// Asks the kernel to give up what it does not need of these nodes. Since minor version 45.
    Prune {
        /// The nodes.
        nodes: Vec<NodeId>,
    },
}

impl Message<'_> {
    /// Whether the kernel of this mount knows such a notice. It answers EINVAL to others.
    pub fn is_known(&self, terms: &Terms) -> bool {
        match self {
            Message::Poll { .. } | Message::InvalInode { .. } => true,
            Message::InvalEntry { expire_only, .. } => {
                !expire_only || terms.flags.contains(InitFlags::HAS_EXPIRE_ONLY)
            }
            Message::Store { .. } | Message::Retrieve { .. } => terms.minor >= 15,
            Message::Delete { .. } => terms.minor >= 18,
            Message::Resend => terms.flags.contains(InitFlags::HAS_RESEND),
            Message::IncEpoch => terms.minor >= 44,
            Message::Prune { .. } => terms.minor >= 45,
        }
    }

    /// `enum fuse_notify_code`.
    fn code(&self) -> i32 {
        match self {
            Message::Poll { .. } => 1,
            Message::InvalInode { .. } => 2,
            Message::InvalEntry { .. } => 3,
            Message::Store { .. } => 4,
            Message::Retrieve { .. } => 5,
            Message::Delete { .. } => 6,
            Message::Resend => 7,
            Message::IncEpoch => 8,
            Message::Prune { .. } => 9,
        }
    }
}

/// The bytes of a notice, its header included.
pub fn encode(message: &Message<'_>) -> Vec<u8> {
    match message {
        Message::Poll { waker } => assemble(message, &NotifyPollWakeup { kh: *waker }, &[]),
        Message::InvalInode { node, offset, length } => {
            assemble(message, &NotifyInvalInode { ino: node.get(), off: *offset, len: *length }, &[])
        }
        Message::InvalEntry { parent, name, expire_only } => {
            let flags = if *expire_only { EXPIRE_ONLY } else { 0 };
            let fixed = NotifyInvalEntry { parent: parent.get(), namelen: count(name), flags };
            assemble(message, &fixed, &[name, b"\0"])
        }
        Message::Delete { parent, child, name } => {
            let namelen = count(name);
            let fixed = NotifyDelete { parent: parent.get(), child: child.get(), namelen, padding: 0 };
            assemble(message, &fixed, &[name, b"\0"])
        }
        Message::Store { node, offset, bytes } => {
            let bytes = &bytes[..bytes.len().min(STORE_BYTES_MAX)];
            let fixed = NotifyStore { nodeid: node.get(), offset: *offset, size: count(bytes), padding: 0 };
            assemble(message, &fixed, &[bytes])
        }
        Message::Retrieve { unique, node, offset, size } => {
            let fixed = NotifyRetrieve {
                notify_unique: *unique,
                nodeid: node.get(),
                offset: *offset,
                size: *size,
                padding: 0,
            };
            assemble(message, &fixed, &[])
        }
        Message::Resend | Message::IncEpoch => assemble(message, &(), &[]),
        Message::Prune { nodes } => {
            let ids: Vec<u64> = nodes.iter().map(|node| node.get()).collect();
            let fixed = NotifyPrune { count: count(nodes), ..NotifyPrune::default() };
            assemble(message, &fixed, &[ids.as_bytes()])
        }
    }
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

fn assemble<T: IntoBytes + Immutable>(message: &Message<'_>, fixed: &T, rest: &[&[u8]]) -> Vec<u8> {
    let len = OUT_HEADER_BYTES + size_of::<T>() + rest.iter().map(|part| part.len()).sum::<usize>();
    // A notice is told from an answer by the request that it does not name.
    let header = OutHeader { len: u32::try_from(len).unwrap_or(u32::MAX), error: message.code(), unique: 0 };
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(fixed.as_bytes());
    rest.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}
