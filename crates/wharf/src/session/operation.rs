//! The closed set of what a transport may ask for, with ids where the author will see values.

use std::fmt;

use crate::{HandleId, NodeId, Pattern, op};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $({ $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })?,)*) => {
        /// One decoded request. The node it is about comes beside it.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each is the FileSystem method of the same name")]
        pub enum Operation<'a> {
            $($(#[$doc])* $name $({ $($(#[$field_doc])* $field: $type),* })?,)*
        }

        impl Operation<'_> {
            /// Its name, for logs.
            pub fn name(&self) -> &'static str {
                match self { $(Operation::$name { .. } => stringify!($name),)* }
            }
        }
    };
}

operations! {
    Lookup { op: op::Lookup<'a> },
    GetAttributes { handle: Option<HandleId> },
    SetAttributes { handle: Option<HandleId>, op: op::SetAttributes },
    ReadLink,
    Symlink { op: op::Symlink<'a> },
    MakeNode { op: op::MakeNode<'a> },
    MakeDirectory { op: op::MakeDirectory<'a> },
    Unlink { op: op::Remove<'a> },
    RemoveDirectory { op: op::Remove<'a> },
    Rename { new_parent: NodeId, op: op::Rename<'a> },
    /// The node beside it is the new parent; `node` is what gets a name.
    Link { node: NodeId, op: op::Link<'a> },
    Open { op: op::Open },
    OpenDirectory { op: op::Open },
    Create { op: op::Create<'a> },
    Tmpfile { op: op::Tmpfile },
    Read { handle: HandleId, op: op::Read },
    Write { handle: HandleId, op: op::Write<'a> },
    Flush { handle: HandleId, op: op::Flush },
    Release { handle: HandleId, op: op::Release },
    ReleaseDirectory { handle: HandleId, op: op::Release },
    Fsync { handle: HandleId, op: op::Fsync },
    FsyncDirectory { handle: HandleId, op: op::Fsync },
    SyncFs,
    /// `size` bounds the bytes of the listing; `entries` asks for whole entries; `pattern` leaves names out.
    List { handle: HandleId, op: op::List, size: u32, entries: bool, pattern: Option<Pattern<'a>> },
    Statfs,
    SetXattr { op: op::SetXattr<'a> },
    /// `size` 0 asks for the length only.
    GetXattr { op: op::GetXattr<'a>, size: u32 },
    ListXattr { size: u32 },
    RemoveXattr { op: op::RemoveXattr<'a> },
    GetLock { handle: HandleId, op: op::GetLock },
    SetLock { handle: HandleId, op: op::SetLock },
    Flock { handle: HandleId, op: op::Flock },
    Access { op: op::Access },
    Fallocate { handle: HandleId, op: op::Fallocate },
    Seek { handle: HandleId, op: op::Seek },
    /// `long`: the answer may exceed 32 bits.
    CopyRange { from: HandleId, to: HandleId, to_node: NodeId, op: op::CopyRange, long: bool },
    Bmap { op: op::Bmap },
    Ioctl { handle: HandleId, directory: bool, op: op::Ioctl<'a> },
    Poll { handle: HandleId, op: op::Poll },
    Statx { handle: Option<HandleId>, op: op::Statx },
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
