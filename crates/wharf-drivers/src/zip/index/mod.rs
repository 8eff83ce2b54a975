//! What an archive holds, as a tree in one table.
//!
//! The whole index is one vector of nodes and one of bytes for their names, some 130 bytes a member. The entries of a
//! directory lie together, sorted by name, so a lookup is a binary search and a listing a slice. Nothing changes
//! after it was built: it needs no lock.

mod build;
mod extra;
mod names;
mod read;

use std::ops::Range;

use wharf::{Attributes, Kind, Time};

pub(super) use names::NAME_BYTES_MAX;

/// A place in the table. The root is 0.
pub(super) type Number = u32;
pub(super) const ROOT: Number = 0;

/// The files, directories and links of an archive.
#[derive(Debug)]
pub(super) struct Index {
    nodes: Vec<Node>,
    /// The paths of all members, each once.
    paths: Vec<u8>,
    pub(super) summary: Summary,
}

/// One file, directory or link. Laid out by hand: there may be millions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Of a directory: where its entries begin in the table. Else: where the local header is in the archive.
    at: u64,
    /// Of a directory: how many entries it has. Else: bytes when unpacked.
    size: u64,
    /// Bytes in the archive.
    packed: u64,
    modified_seconds: i64,
    modified_nanoseconds: u32,
    uid: u32,
    gid: u32,
    crc: u32,
    /// Its last component is its name.
    path: u32,
    path_len: u16,
    name_len: u8,
    what: What,
    permissions: u16,
    method: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    File,
    /// Its bytes need a key.
    Encrypted,
    Symlink,
    Directory,
}

/// How to get the bytes of a file or link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Where its local header is.
    pub(super) header: u64,
    pub(super) packed: u64,
    pub(super) size: u64,
    pub(super) crc: u32,
    pub(super) method: u16,
    pub(super) encrypted: bool,
}

/// What was found while the index was built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) files: u64,
    pub(super) links: u64,
    /// Without the root.
    pub(super) directories: u64,
    pub(super) packed: u64,
    pub(super) size: u64,
    pub(super) encrypted: u64,
    /// Entries whose names have no place.
    pub(super) refused: u64,
    /// Entries that another of the same name replaces.
    pub(super) replaced: u64,
    /// How many members each method has packed.
    pub(super) methods: Vec<(u16, u64)>,
}

/// Whose the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Whose the archive says; where it does not, this user's and group's.
    Archive {
        /// User of what has none.
        uid: u32,
        /// Group of what has none.
        gid: u32,
    },
    /// All this user's and group's, who may read all of it.
    One {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

impl Index {
    /// Files, directories and links, the root included.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node with this name in a directory; `None` also if that is none.
    pub(super) fn find(&self, directory: Number, name: &[u8]) -> Option<Number> {
        let entries = self.entries(directory)?;
        let nodes = &self.nodes[entries.start as usize..entries.end as usize];
        let found = nodes.binary_search_by(|node| self.name_of(node).cmp(name)).ok()?;
        Some(entries.start + found as u32)
    }

    /// The entries of a directory; `None` if it is none.
    pub(super) fn entries(&self, number: Number) -> Option<Range<Number>> {
        let node = self.node(number);
        (node.what == What::Directory).then(|| node.at as u32..(node.at + node.size) as u32)
    }

    /// How to get the bytes of a file or link; `None` for a directory.
    pub(super) fn member(&self, number: Number) -> Option<Member> {
        let node = self.node(number);
        (node.what != What::Directory).then(|| Member {
            header: node.at,
            packed: node.packed,
            size: node.size,
            crc: node.crc,
            method: node.method,
            encrypted: node.what == What::Encrypted,
        })
    }

    pub(super) fn name(&self, number: Number) -> &[u8] {
        self.name_of(self.node(number))
    }

    /// The path, for people.
    pub(super) fn path(&self, number: Number) -> String {
        let node = self.node(number);
        String::from_utf8_lossy(self.path_of(node)).escape_debug().to_string()
    }

    pub(super) fn kind(&self, number: Number) -> Kind {
        match self.node(number).what {
            What::File | What::Encrypted => Kind::File,
            What::Symlink => Kind::Symlink,
            What::Directory => Kind::Directory,
        }
    }

    pub(super) fn inode(number: Number) -> u64 {
        u64::from(number) + 1
    }

    pub(super) fn attributes(&self, number: Number) -> Attributes {
        let node = self.node(number);
        let modified = Time { seconds: node.modified_seconds, nanoseconds: node.modified_nanoseconds };
        let size = if node.what == What::Directory { 0 } else { node.size };
        // Nobody has counted subdirectories: programs that would rely on it know what 1 means then.
        let links = 1;
        Attributes {
            uid: node.uid,
            gid: node.gid,
            size,
            blocks: size.div_ceil(512),
            links,
            accessed: modified,
            modified,
            changed: modified,
            ..Attributes::new(Index::inode(number), self.kind(number), node.permissions)
        }
    }

    fn node(&self, number: Number) -> &Node {
        &self.nodes[number as usize]
    }

    fn path_of(&self, node: &Node) -> &[u8] {
        &self.paths[node.path as usize..][..usize::from(node.path_len)]
    }

    fn name_of(&self, node: &Node) -> &[u8] {
        let path = self.path_of(node);
        &path[path.len() - usize::from(node.name_len)..]
    }
}
