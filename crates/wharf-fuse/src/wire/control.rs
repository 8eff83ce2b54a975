//! Requests that make no operation: they are for the transport or the session itself.

use wharf::{Errno, NodeId, RequestId};

use super::abi::{BatchForgetIn, ForgetIn, ForgetOne, InterruptIn, RetrieveIn};
use super::body::{Body, MALFORMED};
use super::{IN_HEADER_BYTES, Opcode, header};

/// A request that makes no operation. Only [`Init`](Control::Init) and [`Destroy`](Control::Destroy) are
/// answered.
#[derive(Clone, Debug)]
pub enum Control<'a> {
    /// The kernel gives lookups of a node back.
    Forget {
        /// The node.
        node: NodeId,
        /// How many.
        count: u64,
    },
    /// The same for many nodes.
    BatchForget(Forgets<'a>),
    /// The caller of a request gave up.
    Interrupt {
        /// The request.
        target: RequestId,
    },
    /// The mount is gone; nothing follows.
    Destroy,
    /// What the kernel had of the bytes that a notice asked for.
    NotifyReply {
        /// The number that the notice had.
        unique: RequestId,
        /// First byte.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The first request: see [`negotiate`](super::negotiate).
    Init,
}

/// The nodes of a `BATCH_FORGET`, each with the number of lookups that are given back.
#[derive(Clone, Debug)]
pub struct Forgets<'a> {
    entries: Body<'a>,
}

impl Iterator for Forgets<'_> {
    type Item = (NodeId, u64);

    fn next(&mut self) -> Option<(NodeId, u64)> {
        loop {
            let raw: ForgetOne = self.entries.take().ok()?;
            if let Some(node) = NodeId::new(raw.nodeid) {
                return Some((node, raw.nlookup));
            }
        }
    }
}

/// Reads a request that makes no operation; `None` if it makes one (or is not known at all) and is for
/// [`decode`](super::decode).
///
/// # Errors
/// The number to answer with, if the request is one that is answered.
pub fn control(head: &[u8]) -> Result<Option<Control<'_>>, Errno> {
    let header = header(head).ok_or(MALFORMED)?;
    let Ok(opcode) = header.opcode else { return Ok(None) };
    let mut body = Body::new(head.get(IN_HEADER_BYTES..).unwrap_or_default());
    Ok(Some(match opcode {
        Opcode::Forget => {
            let raw: ForgetIn = body.take()?;
            let node = NodeId::new(header.node).ok_or(Errno::EINVAL)?;
            Control::Forget { node, count: raw.nlookup }
        }
        Opcode::BatchForget => {
            let raw: BatchForgetIn = body.take()?;
            let count = usize::try_from(raw.count).map_err(|_| MALFORMED)?;
            let bytes = count.checked_mul(size_of::<ForgetOne>()).ok_or(MALFORMED)?;
            Control::BatchForget(Forgets { entries: Body::new(body.bytes(bytes)?) })
        }
        Opcode::Interrupt => {
            let raw: InterruptIn = body.take()?;
            Control::Interrupt { target: RequestId(raw.unique) }
        }
        Opcode::Destroy => Control::Destroy,
        Opcode::NotifyReply => {
            let raw: RetrieveIn = body.take()?;
            let bytes = body.bytes(usize::try_from(raw.size).map_err(|_| MALFORMED)?)?;
            Control::NotifyReply { unique: header.unique, offset: raw.offset, bytes }
        }
        Opcode::Init => Control::Init,
        _ => return Ok(None),
    }))
}
