//! Random histories of a whole volume, by seed, against a table from paths to bytes.
//!
//! The reference knows nothing of nodes: a hard link there is a number that several paths share.

use std::collections::BTreeMap;
use std::sync::Arc;

use wharf::op::{Fallocate, FallocateMode, RenameHow};
use wharf::{Kind, Result};

use super::{Memory, Random, name, names_of, pattern, small};
use crate::memory::inode::Inode;

const BYTES_MAX: u64 = 8 << 20;

#[derive(Default)]
struct Model {
    /// Paths of one or two names.
    paths: BTreeMap<(String, String), u64>,
    files: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

/// The names that histories use; an empty directory name is the root.
const DIRECTORIES: [&str; 3] = ["", "d", "e"];
const FILES: [&str; 6] = ["a", "b", "c", "longer name", "x", "y"];

struct Play {
    volume: Memory,
    model: Model,
    random: Random,
}

impl Play {
    fn new(seed: u64) -> Play {
        let volume = small(BYTES_MAX, 100);
        DIRECTORIES[1..].iter().for_each(|at| drop(volume.dir(at)));
        Play { volume, model: Model::default(), random: Random::new(seed) }
    }

    fn directory(&self, at: &str) -> Arc<Inode> {
        if at.is_empty() { self.volume.top().clone() } else { self.volume.get(at).unwrap() }
    }

    fn path(&mut self) -> (String, String) {
        let directory = DIRECTORIES[self.random.below(3) as usize];
        (directory.into(), FILES[self.random.below(6) as usize].into())
    }

    fn find(&self, path: &(String, String)) -> Result<Arc<Inode>> {
        self.volume.find(&self.directory(&path.0), name(&path.1))
    }

    fn step(&mut self) {
        let path = self.path();
        let parent = self.directory(&path.0);
        let known = self.model.paths.get(&path).copied();
        match self.random.below(9) {
            0 | 1 => {
                let made = self.volume.make_in(&parent, &path.1, Kind::File);
                assert_eq!(made.is_ok(), known.is_none());
                if made.is_ok() {
                    self.model.next += 1;
                    self.model.files.insert(self.model.next, Vec::new());
                    self.model.paths.insert(path, self.model.next);
                }
            }
            2 => {
                assert_eq!(self.volume.unlink(&parent, name(&path.1)).is_ok(), known.is_some());
                self.model.paths.remove(&path);
            }
            3 => {
                let to = self.path();
                let Some(file) = known else { return };
                let taken = self.model.paths.contains_key(&to);
                let linked =
                    self.volume.link(&self.find(&path).unwrap(), &self.directory(&to.0), name(&to.1));
                assert_eq!(linked.is_err(), taken);
                self.model.paths.entry(to).or_insert(file);
            }
            4 => self.rename(&path, known),
            _ => self.change(&path, known),
        }
    }

    fn rename(&mut self, path: &(String, String), known: Option<u64>) {
        let to = self.path();
        let how =
            [RenameHow::Replace, RenameHow::NoReplace, RenameHow::Exchange][self.random.below(3) as usize];
        let target = self.model.paths.get(&to).copied();
        let (parent, new_parent) = (self.directory(&path.0), self.directory(&to.0));
        let done = self.volume.move_between((&parent, &path.1), (&new_parent, &to.1), how).is_ok();
        let (Some(file), true) = (known, done) else {
            let refused = match how {
                RenameHow::NoReplace => target.is_some(),
                RenameHow::Exchange => target.is_none(),
                _ => false,
            };
            assert!(known.is_none() || refused, "{path:?} to {to:?} by {how:?}");
            return;
        };
        match (how, target) {
            (RenameHow::Exchange, Some(other)) => {
                self.model.paths.insert(path.clone(), other);
                self.model.paths.insert(to, file);
            }
            (_, Some(other)) if other == file => {}
            _ => {
                self.model.paths.remove(path);
                self.model.paths.insert(to, file);
            }
        }
    }

    fn change(&mut self, path: &(String, String), known: Option<u64>) {
        let found = self.find(path);
        assert_eq!(found.is_ok(), known.is_some());
        let (Ok(inode), Some(bytes)) = (found, known.and_then(|file| self.model.files.get_mut(&file))) else {
            return;
        };
        let (start, len) = (self.random.below(200_000) as usize, 1 + self.random.below(50_000) as usize);
        match self.random.below(4) {
            0 | 1 => {
                let data = pattern(start as u8, len);
                // There may be too little space for all of it.
                let count = inode.put(start as u64, &data).unwrap_or(0);
                if count > 0 {
                    bytes.resize(bytes.len().max(start + count), 0);
                    bytes[start..start + count].copy_from_slice(&data[..count]);
                }
            }
            2 => {
                let size = Some(start as u64);
                let change = wharf::op::SetAttributes { size, ..Default::default() };
                inode.set_attributes(&change, |_| true).unwrap();
                bytes.resize(start, 0);
            }
            _ => {
                let range = start as u64..(start + len) as u64;
                let punch = Fallocate { range, mode: FallocateMode::PunchHole, keep_size: true };
                inode.fallocate(&punch, false).unwrap();
                let (start, end) = (start.min(bytes.len()), (start + len).min(bytes.len()));
                bytes[start..end].fill(0);
            }
        }
    }

    fn check(&self) {
        for directory in DIRECTORIES {
            let mut got = names_of(&self.directory(directory));
            got.retain(|name| !DIRECTORIES.contains(&name.as_str()));
            got.sort();
            let here = self.model.paths.keys().filter(|path| path.0 == directory);
            let mut want: Vec<_> = here.map(|path| path.1.clone()).collect();
            want.sort();
            assert_eq!(got, want);
        }
        let mut held = 0;
        for (file, bytes) in &self.model.files {
            let paths: Vec<_> = self.model.paths.iter().filter(|(_, to)| *to == file).collect();
            for (number, (path, _)) in paths.iter().enumerate() {
                let inode = self.find(path).unwrap();
                assert_eq!(inode.links() as usize, paths.len(), "{path:?}");
                assert!(inode.bytes() == *bytes, "{path:?}");
                held += if number == 0 { inode.attributes().blocks * 512 } else { 0 };
            }
        }
        let charged = |at| self.directory(at).state().directory().unwrap().charged();
        let entries: u64 = DIRECTORIES.into_iter().map(charged).sum();
        assert_eq!(self.volume.bytes_used(), held + entries, "what is used is what the files and names take");
        let files = self.model.files.keys().filter(|file| self.model.paths.values().any(|to| to == *file));
        assert_eq!(self.volume.inodes_used(), files.count() as u64 + DIRECTORIES.len() as u64);
    }
}

#[test]
fn any_history_of_a_volume_is_that_of_a_plain_table() {
    for seed in 0..40 {
        let mut play = Play::new(seed);
        for _ in 0..10 {
            (0..30).for_each(|_| play.step());
            play.check();
        }
    }
}

#[test]
fn renames_links_and_removals_at_once_neither_block_nor_lose() {
    let volume = small(64 << 20, 10_000);
    let places = [volume.dir("p"), volume.dir("q"), volume.dir("r")];
    let inner = volume.make_in(&places[0], "inner", Kind::Directory).unwrap();
    let all = [&places[0], &places[1], &places[2], &inner];
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let volume = &volume;
            scope.spawn(move || {
                let mut random = Random::new(seed + 1);
                for _ in 0..3_000 {
                    let from = all[random.below(4) as usize];
                    let to = all[random.below(4) as usize];
                    let (at, other) = (FILES[random.below(6) as usize], FILES[random.below(6) as usize]);
                    // Most of these fail, as they should: what matters is that all come to an end.
                    let _ = match random.below(8) {
                        0 => volume.make_in(from, at, Kind::File).map(drop),
                        1 => volume.make_in(from, at, Kind::Directory).map(drop),
                        2 => volume.unlink(from, name(at)),
                        3 => volume.rmdir(from, name(at)),
                        4 => volume.move_between((from, at), (to, other), RenameHow::Replace),
                        5 => volume.move_between((from, at), (to, other), RenameHow::Exchange),
                        6 => {
                            volume.move_between((&all[0].clone(), "inner"), (to, "inner"), RenameHow::Replace)
                        }
                        _ => volume.find(from, name(at)).and_then(|inode| {
                            inode.put(random.below(5_000), b"bytes").ok();
                            volume.link(&inode, to, name(other)).map(drop)
                        }),
                    };
                }
            });
        }
    });
    let space = volume.space.clone();
    drop((places, inner, volume));
    assert_eq!((space.free(), space.statfs().files_free), (64 << 20, 10_001));
}
