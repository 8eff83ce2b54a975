//! Changes of attributes, extended attributes, and what ties them together: permission bits and access
//! control lists say the same.
//!
//! Whether the caller may is the kernel's to check.

use std::ffi::OsStr;

use wharf::op::{SetAttributes, SetTime, SetXattr, SetXattrHow};
use wharf::{Attributes, Error, Result, Time};

use super::acl::Acl;
use super::inode::{Inode, SETGID, State};
use super::space::Space;
use super::xattrs::{ACCESS_ACL, DEFAULT_ACL, check_name};

impl Inode {
    /// Changes all that is asked for, or nothing. `is_in_group` tells of the caller, who may be root.
    pub(super) fn set_attributes(
        &self,
        op: &SetAttributes,
        is_in_group: impl FnOnce(u32) -> bool,
    ) -> Result<Attributes> {
        let mut state = self.state_mut();
        let now = Time::now();
        if let Some(size) = op.size {
            // The only part that can fail, so it comes first.
            state.contents_mut()?.set_size(size, &self.space)?;
            state.modified = now;
        }
        if op.size.is_some() || op.uid.is_some() || op.gid.is_some() {
            state.drop_capability(&self.space);
        }
        if op.kill_privileges {
            let all = state.permissions & SETGID != 0 && !is_in_group(state.gid);
            state.drop_set_ids(all);
        }
        state.uid = op.uid.unwrap_or(state.uid);
        state.gid = op.gid.unwrap_or(state.gid);
        if let Some(permissions) = op.permissions {
            state.chmod(permissions, &self.space);
        }
        state.accessed = time(op.accessed, state.accessed, now);
        state.modified = time(op.modified, state.modified, now);
        state.changed = op.changed.unwrap_or(now);
        Ok(self.attributes_as_of(&state))
    }

    pub(super) fn set_xattr(&self, op: &SetXattr<'_>) -> Result<()> {
        check_name(op.name)?;
        let mut state = self.state_mut();
        if op.name == ACCESS_ACL {
            state.set_access_acl(op, &self.space)?;
        } else if op.name == DEFAULT_ACL {
            if !self.is_directory() {
                return Err(Error::permission_denied());
            }
            match Acl::parse(op.value)? {
                Some(_) => state.xattrs.set(op.name, op.value, op.how, &self.space)?,
                None => state.forget_acl(op.name, &self.space),
            }
        } else {
            state.xattrs.set(op.name, op.value, op.how, &self.space)?;
        }
        state.changed = Time::now();
        Ok(())
    }

    pub(super) fn get_xattr(&self, name: &OsStr, put: impl FnOnce(&[u8])) -> Result<usize> {
        check_name(name)?;
        let state = self.state();
        let value = state.xattrs.get(name).ok_or_else(Error::no_attribute)?;
        put(value);
        Ok(value.len())
    }

    /// Gives each name to `each`; those that are root's only if `trusted`.
    pub(super) fn list_xattrs(&self, trusted: bool, each: impl FnMut(&[u8])) {
        self.state().xattrs.names(trusted).for_each(each);
    }

    pub(super) fn remove_xattr(&self, name: &OsStr) -> Result<()> {
        check_name(name)?;
        let mut state = self.state_mut();
        if name == ACCESS_ACL || name == DEFAULT_ACL {
            // A list that is not there says what the bits say: there is nothing to miss.
            state.forget_acl(name, &self.space);
        } else {
            state.xattrs.remove(name, &self.space)?;
        }
        state.changed = Time::now();
        Ok(())
    }
}

impl State {
    /// Sets the permission bits, and in the access list what stands for them.
    fn chmod(&mut self, permissions: u16, space: &Space) {
        self.permissions = permissions & 0o7777;
        let name = OsStr::new(ACCESS_ACL);
        // What is stored was checked when it was set, and stays as long as it is.
        if let Some(Ok(Some(mut acl))) = self.xattrs.get(name).map(Acl::parse) {
            acl.chmod(permissions);
            let _ = self.xattrs.set(name, &acl.to_bytes(), SetXattrHow::Replace, space);
        }
    }

    /// Sets the access list, and the permission bits to what it says. One that says no more than they do
    /// is not kept.
    fn set_access_acl(&mut self, op: &SetXattr<'_>, space: &Space) -> Result<()> {
        match Acl::parse(op.value)? {
            Some(acl) => {
                if acl.is_minimal() {
                    self.forget_acl(op.name, space);
                } else {
                    self.xattrs.set(op.name, op.value, op.how, space)?;
                }
                self.permissions = self.permissions & 0o7000 | acl.permissions();
            }
            None => self.forget_acl(op.name, space),
        }
        if op.kill_setgid {
            self.permissions &= !SETGID;
        }
        Ok(())
    }

    fn forget_acl(&mut self, name: &OsStr, space: &Space) {
        // It may well not be there.
        let _ = self.xattrs.remove(name, space);
    }
}

fn time(set: Option<SetTime>, old: Time, now: Time) -> Time {
    match set {
        None => old,
        Some(SetTime::Now) => now,
        Some(SetTime::At(time)) => time,
    }
}
