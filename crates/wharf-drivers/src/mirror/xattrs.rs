//! Extended attributes, access control lists among them, of nodes of every kind.
//!
//! The calls for open files refuse mere places, and those for paths would have to walk one. A magic link leads
//! to the very node, also if that is a symbolic link.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{
    Mode, XattrFlags, chmod, getxattr, getxattr_query, listxattr, listxattr_query, removexattr, setxattr,
};
use rustix::io::Errno;
use wharf::op::SetXattrHow;

use super::attributes::Stat;
use super::credentials::{Membership, Who};
use super::link::magic_link;
use super::node::Inode;
use super::{Result, Tree};

/// Names under which Linux keeps access control lists begin so.
const ACL: &[u8] = b"system.posix_acl_";
/// Only root can see these.
const TRUSTED: &[u8] = b"trusted.";
/// These are contents: reading them takes the permission to read the file.
const USER: &[u8] = b"user.";

/// As much as Linux allows for the names of a file's attributes.
const LIST_BYTES_MAX: usize = 65_536;

impl Tree {
    /// Puts the value of an attribute into the buffer and returns its length; the length alone if the buffer
    /// is empty.
    pub(super) fn get_xattr(&self, who: &Who, inode: &Inode, name: &CStr, into: &mut [u8]) -> Result<usize> {
        let node = inode.descriptor()?;
        let path = magic_link(&node);
        // The buffer is lent for each of perhaps two attempts.
        let into = std::cell::RefCell::new(into);
        let get = || match &mut **into.borrow_mut() {
            [] => getxattr_query(&path, name),
            into => getxattr(&path, name, into),
        };
        let value = match name.to_bytes().starts_with(USER) {
            true => self.credentials.act(who, Membership::WhenRefused, get),
            false => get(),
        };
        match value {
            // Where there are no lists, no file has one. The kernel would take the truth for a failure.
            Err(Errno::OPNOTSUPP) if name.to_bytes().starts_with(ACL) => Err(Errno::NODATA),
            value => value,
        }
    }

    /// Puts the names of all attributes into the buffer, each with a NUL after it, and returns their length;
    /// the length alone if the buffer is empty.
    pub(super) fn list_xattrs(&self, who: &Who, inode: &Inode, into: &mut [u8]) -> Result<usize> {
        let node = inode.descriptor()?;
        let path = magic_link(&node);
        if who.is_root() || !self.credentials.switches() {
            return if into.is_empty() { listxattr_query(path) } else { listxattr(path, into) };
        }
        // We see more than the caller may.
        let mut all = vec![0; LIST_BYTES_MAX];
        let length = listxattr(path, &mut all[..])?;
        let mut used = 0;
        for name in all[..length].split_inclusive(|byte| *byte == 0) {
            if !name.starts_with(TRUSTED) {
                if let Some(room) = into.get_mut(used..used + name.len()) {
                    room.copy_from_slice(name);
                }
                used += name.len();
            }
        }
        Ok(used)
    }

    /// Sets an attribute.
    pub(super) fn set_xattr(
        &self,
        who: &Who,
        inode: &Inode,
        (name, value): (&CStr, &[u8]),
        how: SetXattrHow,
        kill_setgid: bool,
    ) -> Result<()> {
        self.check_writable()?;
        let node = inode.descriptor()?;
        let path = magic_link(&node);
        let flags = match how {
            SetXattrHow::Any => XattrFlags::empty(),
            SetXattrHow::Create => XattrFlags::CREATE,
            SetXattrHow::Replace => XattrFlags::REPLACE,
        };
        self.credentials.act(who, membership(name), || setxattr(&path, name, value, flags))?;
        if kill_setgid {
            let mode = Stat::of(node.as_fd())?.permissions();
            if mode & 0o2000 != 0 {
                chmod(&path, Mode::from_raw_mode((mode & !0o2000).into()))?;
            }
        }
        Ok(())
    }

    /// Removes an attribute.
    pub(super) fn remove_xattr(&self, who: &Who, inode: &Inode, name: &CStr) -> Result<()> {
        self.check_writable()?;
        let node = inode.descriptor()?;
        let path = magic_link(&node);
        self.credentials.act(who, membership(name), || removexattr(&path, name))
    }
}

/// A list that is set by somebody outside the file's group takes the set-group-ID bit away.
fn membership(name: &CStr) -> Membership {
    if name.to_bytes().starts_with(ACL) { Membership::Always } else { Membership::WhenRefused }
}
