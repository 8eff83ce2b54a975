//! What is done with names: making, linking, removing. Renaming has a file of its own.
//!
//! Every step is under the lock of the directory it changes; see `inode` for the order of locks.

use std::ffi::OsStr;
use std::sync::{Arc, PoisonError};

use wharf::error::Kind as ErrorKind;
use wharf::op::SetXattrHow;
use wharf::{Attributes, Error, Kind, Name, Result, Time};

use super::acl::Acl;
use super::contents::Contents;
use super::directory::{self, Directory};
use super::inode::{Birth, Body, GROUP_EXECUTE, Inode, SETGID, State};
use super::xattrs::{ACCESS_ACL, DEFAULT_ACL};
use super::{LINKS_MAX, Memory, NAME_BYTES_MAX};

/// Who makes a node.
pub(super) struct Maker<'a> {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether they are in a group; asked only where it matters.
    pub(super) is_in_group: &'a dyn Fn(u32) -> bool,
}

/// What is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Make<'a> {
    pub(super) kind: Kind,
    /// As they were asked for.
    pub(super) permissions: u16,
    /// What the maker does not want of them, where the directory has no default list.
    pub(super) umask: u16,
    pub(super) device: u32,
    /// Where a symbolic link leads.
    pub(super) target: &'a [u8],
}

impl Make<'_> {
    pub(super) fn new(kind: Kind, permissions: u16, umask: u16) -> Make<'static> {
        Make { kind, permissions, umask, device: 0, target: b"" }
    }
}

impl Memory {
    /// Finds a name.
    pub(super) fn find(&self, parent: &Inode, name: Name<'_>) -> Result<Arc<Inode>> {
        check_length(name)?;
        parent.state().directory()?.find(name).cloned()
    }

    /// Makes a node with a name.
    pub(super) fn make(
        &self,
        maker: &Maker<'_>,
        parent: &Arc<Inode>,
        name: Name<'_>,
        make: &Make<'_>,
    ) -> Result<(Arc<Inode>, Attributes)> {
        check_length(name)?;
        let mut state = parent.state_mut();
        if state.directory_mut()?.get(name).is_some() {
            return Err(Error::exists());
        }
        if make.kind == Kind::Directory && state.links >= LINKS_MAX {
            return Err(Error::new(ErrorKind::TooManyLinks));
        }
        let inode = self.new_inode(maker, parent, &state, make)?;
        let attributes = inode.attributes();
        self.space.charge(directory::cost(name))?;
        state.directory_mut()?.attach(name, inode.clone());
        if inode.is_directory() {
            state.links += 1;
        }
        state.modified_at(attributes.changed);
        Ok((inode, attributes))
    }

    /// Makes a file without a name, which may get one later if it is `linkable`.
    pub(super) fn make_unnamed(
        &self,
        maker: &Maker<'_>,
        parent: &Arc<Inode>,
        make: &Make<'_>,
        linkable: bool,
    ) -> Result<(Arc<Inode>, Attributes)> {
        let state = parent.state();
        state.directory()?;
        let inode = self.new_inode(maker, parent, &state, make)?;
        drop(state);
        let mut state = inode.state_mut();
        (state.links, state.linkable) = (0, linkable);
        let attributes = inode.attributes_as_of(&state);
        drop(state);
        Ok((inode, attributes))
    }

    /// Gives a node one more name.
    pub(super) fn link(&self, inode: &Arc<Inode>, parent: &Inode, name: Name<'_>) -> Result<Attributes> {
        check_length(name)?;
        if inode.is_directory() {
            return Err(Error::not_permitted());
        }
        let mut directory = parent.state_mut();
        if directory.directory_mut()?.get(name).is_some() {
            return Err(Error::exists());
        }
        let mut state = inode.state_mut();
        if state.links == 0 && !state.linkable {
            return Err(Error::not_found());
        }
        if state.links >= LINKS_MAX {
            return Err(Error::new(ErrorKind::TooManyLinks));
        }
        self.space.charge(directory::cost(name))?;
        directory.directory_mut()?.attach(name, inode.clone());
        let now = Time::now();
        directory.modified_at(now);
        state.links += 1;
        state.linkable = false;
        state.changed = now;
        Ok(inode.attributes_as_of(&state))
    }

    /// Removes a name of something that is no directory.
    pub(super) fn unlink(&self, parent: &Inode, name: Name<'_>) -> Result<()> {
        check_length(name)?;
        let mut state = parent.state_mut();
        let entries = state.directory_mut()?;
        if entries.find(name)?.is_directory() {
            return Err(Error::is_a_directory());
        }
        let gone = entries.detach(name);
        self.space.release(directory::cost(name));
        let now = Time::now();
        state.modified_at(now);
        if let Some(gone) = &gone {
            gone.state_mut().lose_link(now);
        }
        // The node may end here, and its end may take long.
        drop(state);
        drop(gone);
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) fn rmdir(&self, parent: &Inode, name: Name<'_>) -> Result<()> {
        check_length(name)?;
        // Two directories are locked here.
        let _alone = self.renames.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = parent.state_mut();
        let entries = state.directory_mut()?;
        let gone = entries.find(name)?.clone();
        let mut gone_state = gone.state_mut();
        if !gone_state.directory()?.is_empty() {
            return Err(Error::not_empty());
        }
        entries.detach(name);
        self.space.release(directory::cost(name));
        let now = Time::now();
        gone_state.links = 0;
        gone_state.changed = now;
        state.links -= 1;
        state.modified_at(now);
        Ok(())
    }

    /// A new node, with what it inherits from its directory.
    pub(super) fn new_inode(
        &self,
        maker: &Maker<'_>,
        parent: &Arc<Inode>,
        state: &State,
        make: &Make<'_>,
    ) -> Result<Arc<Inode>> {
        let kind = make.kind;
        let inherits_group = state.permissions & SETGID != 0;
        let gid = if inherits_group { state.gid } else { maker.gid };
        let mut inherited = None;
        let mut permissions = make.permissions & 0o7777;
        if kind == Kind::Symlink {
            permissions = 0o777;
        } else {
            match state.xattrs.get(OsStr::new(DEFAULT_ACL)).map(Acl::parse) {
                Some(Ok(Some(acl))) => {
                    let mut access = acl.clone();
                    access.restrict(permissions);
                    permissions = permissions & 0o7000 | access.permissions();
                    inherited = Some((acl, access));
                }
                _ => permissions &= !make.umask,
            }
        }
        if inherits_group {
            let privileged = SETGID | GROUP_EXECUTE;
            if kind == Kind::Directory {
                permissions |= SETGID;
            } else if permissions & privileged == privileged && maker.uid != 0 && !(maker.is_in_group)(gid) {
                permissions &= !SETGID;
            }
        }
        let body = match kind {
            Kind::File => Body::File(Contents::default()),
            Kind::Directory => Body::Directory(Box::new(Directory::new(Arc::downgrade(parent)))),
            Kind::Symlink => Body::Symlink(make.target.into()),
            Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => Body::Special,
        };
        let links = if kind == Kind::Directory { 2 } else { 1 };
        let birth = Birth {
            number: self.next_number(),
            kind,
            device: make.device,
            permissions,
            uid: maker.uid,
            gid,
            links,
            body,
        };
        let inode = Inode::new(birth, &self.space)?;
        if let Some((default, access)) = inherited {
            // With the node would go what was charged for the first, should the second fail.
            let mut new = inode.state_mut();
            let mut set = |name, acl: &Acl| {
                new.xattrs.set(OsStr::new(name), &acl.to_bytes(), SetXattrHow::Any, &self.space)
            };
            if kind == Kind::Directory {
                set(DEFAULT_ACL, &default)?;
            }
            if !access.is_minimal() {
                set(ACCESS_ACL, &access)?;
            }
        }
        Ok(Arc::new(inode))
    }
}

impl State {
    /// One name fewer.
    pub(super) fn lose_link(&mut self, now: Time) {
        self.links = self.links.saturating_sub(1);
        self.changed = now;
    }
}

pub(super) fn check_length(name: Name<'_>) -> Result<()> {
    if name.as_bytes().len() > NAME_BYTES_MAX { Err(Error::new(ErrorKind::NameTooLong)) } else { Ok(()) }
}
