//! The names in a directory, all at once.

use crate::error::{Error, Result};
use crate::name::OwnedName;
use crate::{Kind, Listed, Name};

/// The names in a directory, as [`FileSystem::list`](super::FileSystem::list) tells them.
#[derive(Debug, Default)]
pub struct Names(Vec<Named>);

/// What was in a directory when its listing began. Cursors are places in it, so they stay good.
pub(super) type Snapshot = Vec<Named>;

#[derive(Debug)]
pub(super) struct Named {
    name: OwnedName,
    kind: Kind,
    inode: u64,
}

impl Names {
    /// Adds a name. `.` and `..` are left out: they are Wharf's.
    ///
    /// # Errors
    /// If it cannot be the name of anything.
    pub fn add(&mut self, name: impl AsRef<[u8]>, kind: Kind) -> Result<()> {
        self.add_numbered(name, kind, 0)
    }

    /// Adds a name with the inode number of what has it, for those who look at numbers in listings.
    ///
    /// # Errors
    /// If it cannot be the name of anything.
    pub fn add_numbered(&mut self, name: impl AsRef<[u8]>, kind: Kind, inode: u64) -> Result<()> {
        let name = name.as_ref();
        if matches!(name, b"." | b"..") {
            return Ok(());
        }
        let name = Name::new(name).ok_or(Error::io("listing a directory: empty, or with a slash or NUL"))?;
        self.0.push(Named { name: name.to_owned(), kind, inode });
        Ok(())
    }

    pub(super) fn into_snapshot(self) -> Snapshot {
        self.0
    }
}

/// The inode number of what was not looked up yet, where nobody gave one: the kernel's own choice too.
const UNKNOWN_INODE: u64 = 0xFFFF_FFFF;

impl Named {
    pub(super) fn name(&self) -> Name<'_> {
        self.name.as_name()
    }

    /// The entry at `index` of a snapshot. `known`: the number of its node, if that is known.
    pub(super) fn listed(&self, index: usize, known: Option<u64>) -> Listed<'_> {
        let told = (self.inode != 0).then_some(self.inode);
        Listed {
            name: self.name(),
            inode: told.or(known).unwrap_or(UNKNOWN_INODE),
            kind: self.kind,
            cursor: index as u64 + 1,
        }
    }
}
