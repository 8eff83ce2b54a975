//! One file, directory or link: what it is, under one lock.
//!
//! What is done with the parts is in `bytes` (contents), `change` (attributes) and `names` (entries).
//! A node lives as long as an entry, an open file or the kernel holds it; its space is given back with it.
//!
//! # Locks
//!
//! A directory is locked before what is in it that is no directory. Two directories are only locked together,
//! in any order, by who holds the volume's lock for renames. Two files, only by a copy, the lower
//! number first. Nothing else is waited for under a lock.

use std::ffi::OsStr;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use wharf::{Attributes, Error, Kind, Result, Time};

use super::contents::Contents;
use super::directory::Directory;
use super::space::{BLOCK_BYTES, Space};
use super::xattrs::{CAPABILITY, Xattrs};

pub(super) const SETUID: u16 = 0o4000;
pub(super) const SETGID: u16 = 0o2000;
pub(super) const GROUP_EXECUTE: u16 = 0o010;

/// What stat(2) says of how files are best read. Programs that buffer by it send fewer requests.
const FILE_BLOCK_BYTES: u32 = 65_536;

pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) kind: Kind,
    device: u32,
    born: Time,
    pub(super) space: Arc<Space>,
    state: RwLock<State>,
}

/// What can change of a node.
#[derive(Debug)]
pub(super) struct State {
    pub(super) permissions: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    /// It was made without a name and may still get one.
    pub(super) linkable: bool,
    pub(super) accessed: Time,
    pub(super) modified: Time,
    pub(super) changed: Time,
    pub(super) xattrs: Xattrs,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    File(Contents),
    Directory(Box<Directory<Inode>>),
    /// Where it leads.
    Symlink(Box<[u8]>),
    /// A pipe, socket or device: the kernel does the rest.
    Special,
}

impl Body {
    fn charged(&self) -> u64 {
        match self {
            Body::File(contents) => contents.held_blocks() * BLOCK_BYTES as u64,
            Body::Directory(directory) => directory.charged(),
            Body::Symlink(target) => target.len() as u64,
            Body::Special => 0,
        }
    }
}

/// What is known of a new node when it is made.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) device: u32,
    pub(super) permissions: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    pub(super) body: Body,
}

impl Inode {
    /// Makes a node, and pays for it and for the target of a link.
    ///
    /// # Errors
    /// When there is no inode left, or no space.
    pub(super) fn new(birth: Birth, space: &Arc<Space>) -> Result<Inode> {
        let charged = birth.body.charged();
        space.charge(charged)?;
        space.charge_inode().inspect_err(|_| space.release(charged))?;
        let now = Time::now();
        let state = State {
            permissions: birth.permissions,
            uid: birth.uid,
            gid: birth.gid,
            links: birth.links,
            linkable: false,
            accessed: now,
            modified: now,
            changed: now,
            xattrs: Xattrs::default(),
            body: birth.body,
        };
        Ok(Inode {
            number: birth.number,
            kind: birth.kind,
            device: birth.device,
            born: now,
            space: space.clone(),
            state: RwLock::new(state),
        })
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn attributes(&self) -> Attributes {
        self.attributes_as_of(&self.state())
    }

    /// The attributes, from a state that is locked already.
    pub(super) fn attributes_as_of(&self, state: &State) -> Attributes {
        let charged = state.body.charged();
        let (size, block_size) = match &state.body {
            Body::File(contents) => (contents.size(), FILE_BLOCK_BYTES),
            Body::Directory(directory) => (directory.names_bytes(), BLOCK_BYTES as u32),
            Body::Symlink(_) | Body::Special => (charged, BLOCK_BYTES as u32),
        };
        Attributes {
            permissions: state.permissions,
            links: state.links,
            uid: state.uid,
            gid: state.gid,
            device: self.device,
            size,
            blocks: charged.div_ceil(512),
            block_size,
            accessed: state.accessed,
            modified: state.modified,
            changed: state.changed,
            born: Some(self.born),
            ..Attributes::new(self.number, self.kind, 0)
        }
    }

    /// Gives back all but the inode itself; what was in it comes out.
    fn end(&mut self) -> Vec<Arc<Inode>> {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.space.release(std::mem::take(&mut state.xattrs).charged());
        match std::mem::replace(&mut state.body, Body::Special) {
            Body::File(mut contents) => contents.clear(&self.space),
            Body::Directory(mut directory) => {
                self.space.release(directory.charged());
                return directory.drain().collect();
            }
            body => self.space.release(body.charged()),
        }
        Vec::new()
    }
}

impl Drop for Inode {
    /// Goes through a whole tree without recursion: a deep one would not fit on the stack.
    fn drop(&mut self) {
        let mut pending = self.end();
        while let Some(child) = pending.pop() {
            if let Some(mut child) = Arc::into_inner(child) {
                pending.append(&mut child.end());
            }
        }
        self.space.release_inode();
    }
}

impl fmt::Debug for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inode")
            .field("number", &self.number)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl State {
    /// # Errors
    /// When it has no bytes to read or write.
    pub(super) fn contents(&self) -> Result<&Contents> {
        match &self.body {
            Body::File(contents) => Ok(contents),
            Body::Directory(_) => Err(Error::is_a_directory()),
            _ => Err(Error::invalid()),
        }
    }

    /// # Errors
    /// As for `contents`.
    pub(super) fn contents_mut(&mut self) -> Result<&mut Contents> {
        match &mut self.body {
            Body::File(contents) => Ok(contents),
            Body::Directory(_) => Err(Error::is_a_directory()),
            _ => Err(Error::invalid()),
        }
    }

    /// # Errors
    /// When it is none.
    pub(super) fn directory(&self) -> Result<&Directory<Inode>> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Error::not_a_directory()),
        }
    }

    /// A directory to put something into.
    ///
    /// # Errors
    /// When it is none, or was removed.
    pub(super) fn directory_mut(&mut self) -> Result<&mut Directory<Inode>> {
        match &mut self.body {
            Body::Directory(_) if self.links == 0 => Err(Error::not_found()),
            Body::Directory(directory) => Ok(directory),
            _ => Err(Error::not_a_directory()),
        }
    }

    /// What is in it changed.
    pub(super) fn modified_at(&mut self, now: Time) {
        (self.modified, self.changed) = (now, now);
    }

    /// The bytes changed: what was granted to the program they were is granted no longer. `kill` takes
    /// the set-ID bits too.
    pub(super) fn bytes_changed(&mut self, kill: bool, space: &Space) {
        self.modified_at(Time::now());
        self.drop_capability(space);
        if kill {
            self.drop_set_ids(false);
        }
    }

    /// Drops file capabilities.
    pub(super) fn drop_capability(&mut self, space: &Space) {
        if !self.xattrs.is_empty() {
            // Usually there is none.
            let _ = self.xattrs.remove(OsStr::new(CAPABILITY), space);
        }
    }

    /// Drops set-user-ID, and set-group-ID where it means that, or `all` the same.
    pub(super) fn drop_set_ids(&mut self, all: bool) {
        self.permissions &= !SETUID;
        if all || self.permissions & GROUP_EXECUTE != 0 {
            self.permissions &= !SETGID;
        }
    }

    /// Whether a read moves the time of access, by the rule that Linux calls relatime without its day.
    pub(super) fn access_is_behind(&self) -> bool {
        self.accessed <= self.modified || self.accessed <= self.changed
    }

    /// The same with its day.
    pub(super) fn access_is_due(&self, now: Time) -> bool {
        self.access_is_behind() || now.seconds.saturating_sub(self.accessed.seconds) >= 86_400
    }
}
