//! Operations that are carried to another thread: what they borrow is copied here, and lent again there.
//!
//! The bytes of a write are not copied; they stay in the payload they came in.

use std::ffi::{OsStr, OsString};

use wharf_mem::{Data, OwnedData};

use crate::name::OwnedName;
use crate::op::{self, LockOwner, OpenFlags, SetXattrHow};
use crate::{Kind, Name};

/// What can be carried to another thread.
pub(super) trait Carry {
    type Carried: Lend;
    /// Takes along what is borrowed.
    fn carry(self) -> Self::Carried;
}

/// What was carried.
pub(super) trait Lend: Send + 'static {
    /// What it was before.
    type Lent<'a>;
    fn lend(&self) -> Self::Lent<'_>;
}

/// What borrows nothing.
macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Carry for $type {
            type Carried = $type;
            fn carry(self) -> $type {
                self
            }
        }
        impl Lend for $type {
            type Lent<'a> = $type;
            fn lend(&self) -> $type {
                self.clone()
            }
        }
    )*};
}

plain!(bool, u16, u32, u64, Kind, LockOwner, OpenFlags, SetXattrHow, op::RenameHow);
plain!(op::Access, op::Bmap, op::CopyRange, op::Fallocate, op::Flock, op::Flush, op::Fsync, op::GetLock);
plain!(op::Open, op::Poll, op::Read, op::Release, op::Seek, op::SetAttributes, op::SetLock, op::Statx);
plain!(op::Tmpfile);

/// What is borrowed, its owner, and the way there and back.
macro_rules! borrowed {
    ($($borrowed:ty => $owner:ty: $carry:expr, $lend:expr;)*) => {$(
        impl<'b> Carry for $borrowed {
            type Carried = $owner;
            fn carry(self) -> $owner {
                let carry: fn($borrowed) -> $owner = $carry;
                carry(self)
            }
        }
        impl Lend for $owner {
            type Lent<'b> = $borrowed;
            fn lend<'b>(&'b self) -> $borrowed {
                let lend: fn(&'b $owner) -> $borrowed = $lend;
                lend(self)
            }
        }
    )*};
}

borrowed! {
    Name<'b> => OwnedName: Name::to_owned, OwnedName::as_name;
    &'b OsStr => OsString: OsStr::to_owned, OsString::as_os_str;
    &'b [u8] => Vec<u8>: <[u8]>::to_vec, Vec::as_slice;
    Data<'b> => OwnedData: Data::detach, OwnedData::lend;
}

impl<T: Carry> Carry for Option<T> {
    type Carried = Option<T::Carried>;
    fn carry(self) -> Self::Carried {
        self.map(T::carry)
    }
}

impl<T: Lend> Lend for Option<T> {
    type Lent<'a> = Option<T::Lent<'a>>;
    fn lend(&self) -> Self::Lent<'_> {
        self.as_ref().map(T::lend)
    }
}

impl<A: Carry, B: Carry> Carry for (A, B) {
    type Carried = (A::Carried, B::Carried);
    fn carry(self) -> Self::Carried {
        (self.0.carry(), self.1.carry())
    }
}

impl<A: Lend, B: Lend> Lend for (A, B) {
    type Lent<'a> = (A::Lent<'a>, B::Lent<'a>);
    fn lend(&self) -> Self::Lent<'_> {
        (self.0.lend(), self.1.lend())
    }
}

/// Operations of which some fields borrow. A field that is missing here does not compile.
macro_rules! operations {
    ($($op:ident => $owner:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        pub(super) struct $owner {
            $($field: $type),*
        }
        impl Carry for op::$op<'_> {
            type Carried = $owner;
            fn carry(self) -> $owner {
                $owner { $($field: self.$field.carry()),* }
            }
        }
        impl Lend for $owner {
            type Lent<'a> = op::$op<'a>;
            fn lend(&self) -> op::$op<'_> {
                op::$op { $($field: self.$field.lend()),* }
            }
        }
    )*};
}

operations! {
    Lookup => OwnedLookup { name: OwnedName }
    Remove => OwnedRemove { name: OwnedName }
    Link => OwnedLink { name: OwnedName }
    Rename => OwnedRename { from: OwnedName, to: OwnedName, how: op::RenameHow }
    New => OwnedNew {
        name: OwnedName,
        permissions: u16,
        umask: u16,
        security: Option<(OsString, Vec<u8>)>,
        group: Option<u32>,
    }
    Symlink => OwnedSymlink { new: OwnedNew, target: Vec<u8> }
    MakeNode => OwnedMakeNode { new: OwnedNew, kind: Kind, device: u32 }
    MakeDirectory => OwnedMakeDirectory { new: OwnedNew }
    Create => OwnedCreate { new: OwnedNew, flags: OpenFlags, kill_privileges: bool }
    Write => OwnedWrite {
        offset: u64,
        data: OwnedData,
        flags: OpenFlags,
        owner: Option<LockOwner>,
        from_cache: bool,
        kill_privileges: bool,
    }
    SetXattr => OwnedSetXattr { name: OsString, value: Vec<u8>, how: SetXattrHow, kill_setgid: bool }
    GetXattr => OwnedGetXattr { name: OsString }
    RemoveXattr => OwnedRemoveXattr { name: OsString }
    Ioctl => OwnedIoctl {
        command: u32,
        argument: u64,
        input: Vec<u8>,
        output_bytes_max: u32,
        compat: bool,
    }
}
