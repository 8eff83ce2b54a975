//! POSIX access control lists, in the form in which Linux hands them to file systems.
//!
//! The kernel checks access by them. What it leaves to the file system is here: that the permission bits
//! and the list say the same, and what a new node inherits from its directory.

use wharf::{Error, Result};

const VERSION: u32 = 2;
const HEADER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// A list that makes sense: owner, users, owning group, groups, perhaps a mask, others; in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acl(Vec<Entry>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    permissions: u16,
    id: u32,
}

impl Acl {
    /// `None` for an empty list, which means none.
    ///
    /// # Errors
    /// When it is none that makes sense.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Acl>> {
        let Some((version, entries)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Error::invalid());
        };
        let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
        match u32::from_le_bytes(*version) {
            VERSION if !rest.is_empty() => return Err(Error::invalid()),
            VERSION if entries.is_empty() => return Ok(None),
            VERSION => {}
            _ => return Err(Error::not_supported()),
        }
        let entry = |&[t0, t1, p0, p1, i0, i1, i2, i3]: &[u8; ENTRY_BYTES]| Entry {
            tag: u16::from_le_bytes([t0, t1]),
            permissions: u16::from_le_bytes([p0, p1]),
            id: u32::from_le_bytes([i0, i1, i2, i3]),
        };
        let acl = Acl(entries.iter().map(entry).collect());
        if acl.is_valid() { Ok(Some(acl)) } else { Err(Error::invalid()) }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            bytes.extend_from_slice(&entry.tag.to_le_bytes());
            bytes.extend_from_slice(&entry.permissions.to_le_bytes());
            bytes.extend_from_slice(&entry.id.to_le_bytes());
        }
        bytes
    }

    /// The permission bits that say the same, as far as bits can.
    pub(super) fn permissions(&self) -> u16 {
        self.of(USER_OBJ) << 6 | self.of(self.group_class()) << 3 | self.of(OTHER)
    }

    /// Whether the permission bits say all of it.
    pub(super) fn is_minimal(&self) -> bool {
        self.0.iter().all(|entry| matches!(entry.tag, USER_OBJ | GROUP_OBJ | OTHER))
    }

    /// Makes the list say what new permission bits say.
    pub(super) fn chmod(&mut self, permissions: u16) {
        let group = self.group_class();
        self.set(USER_OBJ, permissions >> 6);
        self.set(group, permissions >> 3);
        self.set(OTHER, permissions);
    }

    /// Makes a directory's default list into the list of a new node, made with these permission bits: what
    /// the bits lack is taken from the list.
    pub(super) fn restrict(&mut self, permissions: u16) {
        let both = self.permissions() & permissions;
        self.chmod(both);
    }

    /// The entry that the group bits stand for.
    fn group_class(&self) -> u16 {
        if self.0.iter().any(|entry| entry.tag == MASK) { MASK } else { GROUP_OBJ }
    }

    fn of(&self, tag: u16) -> u16 {
        self.0.iter().find(|entry| entry.tag == tag).map_or(0, |entry| entry.permissions)
    }

    fn set(&mut self, tag: u16, permissions: u16) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.tag == tag) {
            entry.permissions = permissions & 0o7;
        }
    }

    fn is_valid(&self) -> bool {
        let count = |tag| self.0.iter().filter(|entry| entry.tag == tag).count();
        let named = count(USER) + count(GROUP);
        self.0.iter().all(|entry| {
            let known = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER].contains(&entry.tag);
            known && entry.permissions <= 0o7
        }) && self.0.is_sorted_by_key(|entry| entry.tag)
            && [USER_OBJ, GROUP_OBJ, OTHER].into_iter().all(|tag| count(tag) == 1)
            && count(MASK) <= 1
            && (named == 0 || count(MASK) == 1)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A list from pairs of tag and permissions; named entries get the id 1000.
    pub(in super::super) fn acl(entries: &[(u16, u16)]) -> Vec<u8> {
        let entry = |&(tag, permissions): &(u16, u16)| Entry {
            tag,
            permissions,
            id: if matches!(tag, USER | GROUP) { 1000 } else { u32::MAX },
        };
        Acl(entries.iter().map(entry).collect()).to_bytes()
    }

    fn parsed(entries: &[(u16, u16)]) -> Acl {
        Acl::parse(&acl(entries)).unwrap().unwrap()
    }

    #[test]
    fn a_list_survives_its_bytes() {
        let bytes = acl(&[(USER_OBJ, 6), (USER, 4), (GROUP_OBJ, 4), (MASK, 6), (OTHER, 0)]);
        assert_eq!(Acl::parse(&bytes).unwrap().unwrap().to_bytes(), bytes);
        assert_eq!(Acl::parse(&VERSION.to_le_bytes()).unwrap(), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let lists: [&[(u16, u16)]; 6] = [
            &[(USER_OBJ, 6), (GROUP_OBJ, 4)],
            &[(USER_OBJ, 6), (USER, 4), (GROUP_OBJ, 4), (OTHER, 0)],
            &[(GROUP_OBJ, 6), (USER_OBJ, 4), (OTHER, 0)],
            &[(USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0), (OTHER, 0)],
            &[(USER_OBJ, 8), (GROUP_OBJ, 4), (OTHER, 0)],
            &[(USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0), (0x40, 0)],
        ];
        for list in lists {
            assert!(Acl::parse(&acl(list)).is_err(), "{list:?}");
        }
        assert!(Acl::parse(b"\x02\0\0").is_err());
        assert!(Acl::parse(b"\x01\0\0\0").is_err());
        assert!(Acl::parse(b"\x02\0\0\0\x01\0\x06\0").is_err());
    }

    #[test]
    fn the_mask_stands_for_the_group_bits() {
        let mut list = parsed(&[(USER_OBJ, 7), (USER, 7), (GROUP_OBJ, 4), (MASK, 5), (OTHER, 1)]);
        assert_eq!((list.permissions(), list.is_minimal()), (0o751, false));
        list.chmod(0o640);
        assert_eq!(list, parsed(&[(USER_OBJ, 6), (USER, 7), (GROUP_OBJ, 4), (MASK, 4), (OTHER, 0)]));
        let list = parsed(&[(USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0)]);
        assert_eq!((list.permissions(), list.is_minimal()), (0o640, true));
    }

    #[test]
    fn what_is_inherited_is_no_more_than_was_asked_for() {
        let mut list = parsed(&[(USER_OBJ, 7), (USER, 7), (GROUP_OBJ, 7), (MASK, 7), (OTHER, 5)]);
        list.restrict(0o640);
        assert_eq!(list, parsed(&[(USER_OBJ, 6), (USER, 7), (GROUP_OBJ, 7), (MASK, 4), (OTHER, 0)]));
        assert_eq!(list.permissions(), 0o640);
    }
}
