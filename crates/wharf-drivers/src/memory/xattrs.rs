//! The extended attributes of one node: names and values, paid for.
//!
//! What the names mean is not known here, but for which name spaces there are.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use wharf::error::Kind;
use wharf::op::SetXattrHow;
use wharf::{Error, Result};

use super::space::Space;

/// What an attribute takes beside its name and value.
const ATTRIBUTE_BYTES: u64 = 64;
/// Limits that Linux has for all file systems.
const NAME_BYTES_MAX: usize = 255;
const VALUE_BYTES_MAX: usize = 65_536;
const LIST_BYTES_MAX: usize = 65_536;

pub(super) const ACCESS_ACL: &str = "system.posix_acl_access";
pub(super) const DEFAULT_ACL: &str = "system.posix_acl_default";
pub(super) const CAPABILITY: &str = "security.capability";

#[derive(Debug, Default)]
pub(super) struct Xattrs {
    values: BTreeMap<Box<[u8]>, Box<[u8]>>,
    list_bytes: usize,
    charged: u64,
}

fn cost(name: &[u8], value: &[u8]) -> u64 {
    ATTRIBUTE_BYTES + (name.len() + value.len()) as u64
}

/// Whether attributes of this name are kept here.
///
/// # Errors
/// For a name space that nobody has, and for the kernel's own things that are none of ours.
pub(super) fn check_name(name: &OsStr) -> Result<()> {
    let known = ["user.", "trusted.", "security."];
    let name = name.as_bytes();
    let listed = known.iter().any(|space| name.len() > space.len() && name.starts_with(space.as_bytes()));
    match listed || name == ACCESS_ACL.as_bytes() || name == DEFAULT_ACL.as_bytes() {
        true if name.len() <= NAME_BYTES_MAX => Ok(()),
        true => Err(Error::new(Kind::OutOfRange)),
        false => Err(Error::not_supported()),
    }
}

impl Xattrs {
    pub(super) fn charged(&self) -> u64 {
        self.charged
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(super) fn get(&self, name: &OsStr) -> Option<&[u8]> {
        self.values.get(name.as_bytes()).map(|value| &**value)
    }

    /// # Errors
    /// When it is there and must not be, or the other way round; when it is too large, or there is no space.
    pub(super) fn set(&mut self, name: &OsStr, value: &[u8], how: SetXattrHow, space: &Space) -> Result<()> {
        check_name(name)?;
        let name = name.as_bytes();
        let old = self.values.get_mut(name);
        match (how, &old) {
            (SetXattrHow::Create, Some(_)) => return Err(Error::exists()),
            (SetXattrHow::Replace, None) => return Err(Error::no_attribute()),
            _ if value.len() > VALUE_BYTES_MAX => return Err(Error::new(Kind::OutOfRange)),
            (_, None) if self.list_bytes + name.len() + 1 > LIST_BYTES_MAX => return Err(Error::no_space()),
            _ => {}
        }
        let before = old.as_ref().map_or(0, |old| cost(name, old));
        let after = cost(name, value);
        space.recharge(before, after)?;
        self.charged = self.charged - before + after;
        match old {
            Some(old) => *old = value.into(),
            None => {
                self.list_bytes += name.len() + 1;
                self.values.insert(name.into(), value.into());
            }
        }
        Ok(())
    }

    /// # Errors
    /// When it is not there.
    pub(super) fn remove(&mut self, name: &OsStr, space: &Space) -> Result<()> {
        let Some(value) = self.values.remove(name.as_bytes()) else { return Err(Error::no_attribute()) };
        let cost = cost(name.as_bytes(), &value);
        self.list_bytes -= name.len() + 1;
        self.charged -= cost;
        space.release(cost);
        Ok(())
    }

    /// The names, but those only root may know of if the caller is somebody else.
    pub(super) fn names(&self, trusted: bool) -> impl Iterator<Item = &[u8]> {
        self.values.keys().map(|name| &**name).filter(move |name| trusted || !name.starts_with(b"trusted."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(xattrs: &mut Xattrs, name: &str, value: &[u8], how: SetXattrHow, space: &Space) -> Result<()> {
        xattrs.set(OsStr::new(name), value, how, space)
    }

    #[test]
    fn create_and_replace_ask_for_opposites() {
        let (mut xattrs, space) = (Xattrs::default(), Space::new(1000, 1));
        let wrong = set(&mut xattrs, "user.a", b"1", SetXattrHow::Replace, &space).unwrap_err();
        assert_eq!(wrong.kind(), Kind::NoAttribute);
        set(&mut xattrs, "user.a", b"1", SetXattrHow::Create, &space).unwrap();
        let wrong = set(&mut xattrs, "user.a", b"2", SetXattrHow::Create, &space).unwrap_err();
        assert_eq!(wrong.kind(), Kind::Exists);
        set(&mut xattrs, "user.a", b"2", SetXattrHow::Replace, &space).unwrap();
        assert_eq!(xattrs.get(OsStr::new("user.a")), Some(&b"2"[..]));
    }

    #[test]
    fn an_attribute_is_paid_for_and_given_back() {
        let (mut xattrs, space) = (Xattrs::default(), Space::new(200, 1));
        set(&mut xattrs, "user.a", &[1; 100], SetXattrHow::Any, &space).unwrap();
        assert!(set(&mut xattrs, "user.b", &[1; 100], SetXattrHow::Any, &space).is_err());
        assert!(set(&mut xattrs, "user.a", &[1; 131], SetXattrHow::Any, &space).is_err());
        assert_eq!(xattrs.get(OsStr::new("user.a")).unwrap().len(), 100);
        set(&mut xattrs, "user.a", &[1; 130], SetXattrHow::Any, &space).unwrap();
        xattrs.remove(OsStr::new("user.a"), &space).unwrap();
        assert_eq!((space.free(), xattrs.charged()), (200, 0));
        assert!(xattrs.remove(OsStr::new("user.a"), &space).is_err());
    }

    #[test]
    fn only_known_name_spaces_are_kept() {
        for good in ["user.x", "trusted.x", "security.capability", ACCESS_ACL, DEFAULT_ACL] {
            assert!(check_name(OsStr::new(good)).is_ok(), "{good}");
        }
        for bad in ["user.", "x", "system.nfs4_acl", "system.posix_acl_access2", "btrfs.compression"] {
            assert_eq!(check_name(OsStr::new(bad)).unwrap_err().kind(), Kind::NotSupported, "{bad}");
        }
    }

    #[test]
    fn trusted_attributes_are_listed_for_root_only() {
        let (mut xattrs, space) = (Xattrs::default(), Space::new(1000, 1));
        set(&mut xattrs, "user.a", b"", SetXattrHow::Any, &space).unwrap();
        set(&mut xattrs, "trusted.b", b"", SetXattrHow::Any, &space).unwrap();
        assert_eq!(xattrs.names(true).count(), 2);
        assert_eq!(xattrs.names(false).collect::<Vec<_>>(), [b"user.a"]);
    }
}
