//! How others name what a volume holds. Authors never see these: they get their own `Node` and `File`.

use std::fmt;
use std::num::NonZeroU64;

/// A node as the kernel or a client names it: never zero, valid within one volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NonZeroU64);

impl NodeId {
    /// The root of every volume; fixed by the FUSE protocol.
    pub const ROOT: NodeId = NodeId(NonZeroU64::MIN);

    /// `None` for zero, which names nothing.
    pub fn new(raw: u64) -> Option<NodeId> {
        NonZeroU64::new(raw).map(NodeId)
    }

    /// The number on the wire.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

/// An open file or directory as the kernel or a client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandleId(pub u64);

/// One request in flight. Unique until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {:#x}", self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}
