//! Names: finding them, making them, moving them, removing them.
//!
//! Every step goes from a directory's descriptor to one name in it, so there is never a path for anybody to
//! redirect. A symbolic link at the name is itself what is found; none is ever followed here.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, linkat, mkdirat, mknodat, open, openat2,
    readlinkat_raw, renameat_with, symlinkat, unlinkat,
};
use rustix::io::Errno;
use wharf::op::RenameHow;
use wharf::{Attributes, Kind, Name};

use super::attributes::Stat;
use super::credentials::{Membership, NewMode, Who};
use super::link::magic_link;
use super::node::{Inode, Node};
use super::{Result, Tree};

/// One name, in the form that system calls take, to be taken along to another thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Component(CString);

impl From<Name<'_>> for Component {
    fn from(name: Name<'_>) -> Component {
        Component(CString::new(name.as_bytes()).expect("names have no NUL"))
    }
}

impl Component {
    pub(super) fn as_c_str(&self) -> &CStr {
        &self.0
    }
}

/// A node with its attributes.
pub(super) type Found = (Node, Attributes);

/// How the last step of a path is taken: beneath the directory, and never through a link of any sort.
const STEP: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// How often the kernel may ask to try again, because of a rename elsewhere.
const TRIES_MAX: usize = 64;

impl Tree {
    /// Finds a name.
    pub(super) fn lookup(&self, parent: &Inode, name: &CStr) -> Result<Found> {
        let parent_descriptor = parent.descriptor()?;
        let place = step(parent_descriptor.as_fd(), name, ResolveFlags::empty())?;
        self.found(parent, place)
    }

    /// Finds a name, if the system knows it by heart and nothing has to be waited for. `None` if not, or if
    /// another mount begins there: it might be this very volume.
    pub(super) fn lookup_at_hand(&self, parent: &Inode, name: &CStr) -> Option<Result<Found>> {
        let parent_descriptor = parent.descriptor_at_hand().filter(|_| parent.region.local)?;
        let flags = STEP | ResolveFlags::CACHED | ResolveFlags::NO_XDEV;
        let place = match openat2(&*parent_descriptor, name, PLACE, Mode::empty(), flags) {
            Err(Errno::AGAIN | Errno::XDEV) => return None,
            Err(error) => return Some(Err(error)),
            Ok(place) => place,
        };
        Some(self.found(parent, place))
    }

    /// The node of something just opened, whose parent was `near`.
    pub(super) fn found(&self, near: &Inode, place: OwnedFd) -> Result<Found> {
        let stat = Stat::of(&place)?;
        let entrance = (place.as_fd(), stat.inode());
        let region = self.table.regions.get(stat.region(), Some(&near.region), entrance);
        if region.own {
            return Err(Errno::DEADLK);
        }
        let inode = self.table.node(&region, stat.inode(), stat.kind()?, place);
        let attributes = stat.attributes(&inode);
        Ok((Node(inode), attributes))
    }

    /// Makes a directory.
    pub(super) fn make_directory(
        &self,
        who: &Who,
        parent: &Inode,
        name: &CStr,
        new: NewMode,
    ) -> Result<Found> {
        self.check_writable()?;
        let directory = parent.descriptor()?;
        self.credentials.make(who, new, |mode| mkdirat(&directory, name, mode))?;
        self.lookup(parent, name)
    }

    /// Makes a file, pipe, socket or device.
    pub(super) fn make_node(
        &self,
        who: &Who,
        parent: &Inode,
        name: &CStr,
        new: NewMode,
        (kind, device): (Kind, u32),
    ) -> Result<Found> {
        self.check_writable()?;
        let directory = parent.descriptor()?;
        let file_type = match kind {
            Kind::File => FileType::RegularFile,
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            Kind::Directory | Kind::Symlink => return Err(Errno::INVAL),
        };
        self.credentials.make(who, new, |mode| mknodat(&directory, name, file_type, mode, device.into()))?;
        self.lookup(parent, name)
    }

    /// Makes a symbolic link.
    pub(super) fn make_symlink(
        &self,
        who: &Who,
        parent: &Inode,
        name: &CStr,
        new: NewMode,
        target: &CStr,
    ) -> Result<Found> {
        self.check_writable()?;
        let directory = parent.descriptor()?;
        self.credentials.make(who, new, |_| symlinkat(target, &directory, name))?;
        self.lookup(parent, name)
    }

    /// Gives a node one more name.
    pub(super) fn link(&self, who: &Who, inode: &Inode, parent: &Inode, name: &CStr) -> Result<Found> {
        self.check_writable()?;
        let (node, directory) = (inode.descriptor()?, parent.descriptor()?);
        // A link to an empty path would need a capability; the magic link needs none, and makes the kernel
        // check what the caller may link to.
        let source = magic_link(&node);
        self.credentials.act(who, Membership::WhenRefused, || {
            linkat(CWD, &source, &directory, name, AtFlags::SYMLINK_FOLLOW)
        })?;
        self.lookup(parent, name)
    }

    /// Removes a name: that of an empty directory, or of anything else.
    pub(super) fn remove(&self, who: &Who, parent: &Inode, name: &CStr, directory: bool) -> Result<()> {
        self.check_writable()?;
        let parent = parent.descriptor()?;
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        self.credentials.act(who, Membership::WhenRefused, || unlinkat(&parent, name, flags))
    }

    /// Moves a name.
    pub(super) fn rename(
        &self,
        who: &Who,
        (parent, from): (&Inode, &CStr),
        (new_parent, to): (&Inode, &CStr),
        how: RenameHow,
    ) -> Result<()> {
        self.check_writable()?;
        let (parent, new_parent) = (parent.descriptor()?, new_parent.descriptor()?);
        let flags = match how {
            RenameHow::Replace => RenameFlags::empty(),
            RenameHow::NoReplace => RenameFlags::NOREPLACE,
            RenameHow::Exchange => RenameFlags::EXCHANGE,
            RenameHow::ReplaceWhiteout => RenameFlags::WHITEOUT,
            RenameHow::NoReplaceWhiteout => RenameFlags::WHITEOUT | RenameFlags::NOREPLACE,
        };
        self.credentials
            .act(who, Membership::WhenRefused, || renameat_with(&parent, from, &new_parent, to, flags))
    }

    /// Puts the target of a symbolic link into the buffer; returns its length.
    pub(super) fn read_link(&self, inode: &Inode, buffer: &mut [u8]) -> Result<usize> {
        if inode.kind != Kind::Symlink {
            return Err(Errno::INVAL);
        }
        readlinkat_raw(&*inode.descriptor()?, "", buffer)
    }
}

/// A place is not opened, only held: no permission is needed and no device notices.
pub(super) const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Takes one step from a directory to a name in it.
pub(super) fn step(directory: impl AsFd, name: &CStr, more: ResolveFlags) -> Result<OwnedFd> {
    for _ in 0..TRIES_MAX {
        match openat2(&directory, name, PLACE, Mode::empty(), STEP | more) {
            Err(Errno::AGAIN) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

/// The node of an open file, through a place of its own: what keeps the node must not keep the file open.
pub(super) fn place_of(file: impl AsFd) -> Result<OwnedFd> {
    open(magic_link(file), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}
