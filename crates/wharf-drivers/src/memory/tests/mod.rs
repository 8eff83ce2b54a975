//! The plain methods, without a kernel. Rules are stated in `names`, `contents` and `attributes`; `model` plays
//! random histories against a simple reference.

mod attributes;
mod contents;
mod model;
mod names;
mod volume;

use std::ops::Range;
use std::sync::Arc;

use wharf::error::Kind as ErrorKind;
use wharf::{Kind, Name, Result};

use super::bytes::Touch;
use super::contents::Sink;
use super::inode::Inode;
use super::names::{Make, Maker};
use super::rename::Places;
use super::{Memory, Options};

/// Bytes to read into, full of what must not be taken for read.
struct Buffer(Vec<u8>);

impl Buffer {
    fn new(len: usize) -> Buffer {
        Buffer(vec![0xAA; len])
    }
}

impl Sink for Buffer {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn zero(&mut self, range: Range<usize>) {
        self.0[range].fill(0);
    }
}

/// A xorshift generator: the same seed, the same history.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

const ROOT: Maker<'static> = Maker { uid: 0, gid: 0, is_in_group: &|_| true };
const USER: Maker<'static> = Maker { uid: 1000, gid: 1000, is_in_group: &|gid| gid == 1000 };

/// Bytes that differ from block to block.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=250).map(|at| at ^ seed).collect::<Vec<_>>().repeat(len / 251 + 1);
    bytes.truncate(len);
    bytes
}

fn name(name: &str) -> Name<'_> {
    Name::new(name.as_bytes()).unwrap()
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T>, want: ErrorKind) {
    assert_eq!(result.unwrap_err().kind(), want);
}

fn volume() -> Memory {
    Memory::new(Options::new(64 << 20))
}

/// A volume of so many bytes and inodes beside the root.
fn small(bytes_max: u64, inodes: u64) -> Memory {
    Memory::new(Options { inodes_max: inodes + 1, ..Options::new(bytes_max) })
}

impl Memory {
    fn top(&self) -> &Arc<Inode> {
        &self.root.0
    }

    fn make_in(&self, parent: &Arc<Inode>, at: &str, kind: Kind) -> Result<Arc<Inode>> {
        let permissions = if kind == Kind::Directory { 0o777 } else { 0o666 };
        Ok(self.make(&ROOT, parent, name(at), &Make::new(kind, permissions, 0o022))?.0)
    }

    fn file(&self, at: &str) -> Arc<Inode> {
        self.make_in(self.top(), at, Kind::File).unwrap()
    }

    fn dir(&self, at: &str) -> Arc<Inode> {
        self.make_in(self.top(), at, Kind::Directory).unwrap()
    }

    fn get(&self, at: &str) -> Result<Arc<Inode>> {
        self.find(self.top(), name(at))
    }

    fn move_between(
        &self,
        (parent, from): (&Arc<Inode>, &str),
        (new_parent, to): (&Arc<Inode>, &str),
        how: wharf::op::RenameHow,
    ) -> Result<()> {
        self.rename(&ROOT, Places { parent, from: name(from), new_parent, to: name(to) }, how)
    }

    fn move_top(&self, from: &str, to: &str) -> Result<()> {
        self.move_between((self.top(), from), (self.top(), to), wharf::op::RenameHow::Replace)
    }

    fn bytes_used(&self) -> u64 {
        self.space.used()
    }

    fn inodes_used(&self) -> u64 {
        let statfs = self.space.statfs();
        statfs.files - statfs.files_free
    }
}

impl Inode {
    fn bytes(&self) -> Vec<u8> {
        let size = self.attributes().size as usize;
        let mut buffer = Buffer::new(size);
        assert_eq!(self.read(0, size + 10, &mut buffer, Touch::Never).unwrap(), size);
        buffer.0
    }

    fn put(&self, offset: u64, data: &[u8]) -> Result<usize> {
        self.write(offset, data, false)
    }

    fn links(&self) -> u32 {
        self.attributes().links
    }
}

fn names_of(directory: &Inode) -> Vec<String> {
    let state = directory.state();
    let entries = state.directory().unwrap().list(0, u64::MAX);
    entries.map(|(_, listed)| String::from_utf8_lossy(&listed.name).into_owned()).collect()
}
