//! Random histories of a whole volume, by seed, against a table from paths to bytes.

use std::collections::BTreeMap;

use wharf::Errno;
use wharf::op::{OpenFlags, RenameHow, SetAttributes};
use wharf::testing::Volume;

use super::{Dice, Image};
use crate::fat::Fat;

const DIRECTORIES: [&str; 3] = ["", "d/", "another directory/"];
const FILES: [&str; 6] =
    ["a", "B.TXT", "a longer name.text", "x", "Ümlaut", "yet another quite long name for a file"];

/// What the volume holds, by path.
type Model = BTreeMap<String, Vec<u8>>;

struct Play {
    volume: Volume<Fat>,
    model: Model,
    dice: Dice,
}

impl Play {
    fn path(&mut self) -> String {
        let directory = DIRECTORIES[self.dice.below(3) as usize];
        format!("{directory}{}", FILES[self.dice.below(6) as usize])
    }

    fn step(&mut self) {
        let path = self.path();
        let known = self.model.contains_key(&path);
        match self.dice.below(10) {
            0..3 => {
                let file = match known {
                    true => self.volume.open(&path, OpenFlags::READ_WRITE).unwrap(),
                    false => self.volume.create(&path).unwrap(),
                };
                let bytes = self.model.entry(path).or_default();
                let (at, len) = (self.dice.below(20_000) as usize, self.dice.below(12_000) as usize + 1);
                let new = self.dice.bytes(len);
                assert_eq!(self.volume.write_at(file, at as u64, &new), Ok(len));
                bytes.resize(bytes.len().max(at + len), 0);
                bytes[at..at + len].copy_from_slice(&new);
                if self.dice.below(4) == 0 {
                    self.volume.fsync(file).unwrap();
                }
                self.volume.close(file).unwrap();
            }
            3 => {
                let size = self.dice.below(30_000);
                let set = SetAttributes { size: Some(size), ..SetAttributes::default() };
                let done = self.volume.setattr(&path, set);
                assert_eq!(done.is_ok(), known, "{done:?}");
                if let Some(bytes) = self.model.get_mut(&path) {
                    bytes.resize(size as usize, 0);
                }
            }
            4 => {
                let expected = if known { Ok(()) } else { Err(Errno::ENOENT) };
                assert_eq!(self.volume.unlink(&path), expected);
                self.model.remove(&path);
            }
            5 | 6 => {
                let to = self.path();
                let how = if self.dice.below(3) == 0 { RenameHow::NoReplace } else { RenameHow::Replace };
                let taken = self.model.contains_key(&to);
                let expected = match (known, taken && how == RenameHow::NoReplace) {
                    (false, _) => Err(Errno::ENOENT),
                    (true, true) => Err(Errno::EEXIST),
                    (true, false) => Ok(()),
                };
                assert_eq!(self.volume.rename(&path, &to, how), expected, "{path} to {to}");
                if expected.is_ok()
                    && let Some(bytes) = self.model.remove(&path)
                {
                    self.model.insert(to, bytes);
                }
            }
            7 => {
                // A file that loses its name while it is open and keeps its bytes.
                let Some(bytes) = self.model.remove(&path) else { return };
                let file = self.volume.open(&path, OpenFlags::READ_WRITE).unwrap();
                self.volume.unlink(&path).unwrap();
                assert!(self.volume.read_at(file, 0, 30_000).unwrap() == bytes[..bytes.len().min(30_000)]);
                assert_eq!(self.volume.write_at(file, bytes.len() as u64, b"more"), Ok(4));
                self.volume.close(file).unwrap();
            }
            8 => self.volume.forget_all(),
            _ => match self.model.get(&path) {
                Some(bytes) => assert!(self.volume.read(&path).unwrap() == *bytes, "{path}"),
                None => assert_eq!(self.volume.read(&path), Err(Errno::ENOENT)),
            },
        }
    }

    fn compare(&mut self) {
        for directory in DIRECTORIES {
            let mut listed = self.volume.list(directory.trim_end_matches('/')).unwrap();
            listed.retain(|name| {
                !matches!(name.as_str(), "." | "..") && !DIRECTORIES.contains(&&*format!("{name}/"))
            });
            listed.sort();
            let inside = self.model.keys().filter_map(|path| path.strip_prefix(directory));
            let mut expected: Vec<&str> = inside.filter(|name| !name.contains('/')).collect();
            expected.sort_unstable();
            assert_eq!(listed, expected, "in {directory}");
        }
        for (path, bytes) in &self.model {
            assert!(self.volume.read(path).unwrap() == *bytes, "{path}");
        }
    }
}

#[test]
fn any_history_of_a_volume_is_that_of_a_table_of_paths() {
    for seed in 0..12u64 {
        let arguments: &[&str] = match seed % 3 {
            0 => &["-F", "12", "-s", "1"],
            1 => &["-F", "16", "-s", "1"],
            _ => &["-F", "32", "-s", "1"],
        };
        let image = Image::new([1, 16, 36][seed as usize % 3] << 20, arguments);
        let mut model = Model::new();
        for round in 0..3 {
            let (mut volume, _) = image.volume();
            if round == 0 {
                for directory in &DIRECTORIES[1..] {
                    volume.mkdir(directory.trim_end_matches('/')).unwrap();
                }
            }
            let mut play = Play { volume, model, dice: Dice::new(seed * 100 + round) };
            play.compare();
            for _ in 0..120 {
                play.step();
            }
            play.compare();
            assert_eq!(play.volume.unmount(), 0, "seed {seed}");
            model = play.model;
            assert_eq!(image.complaints(), [] as [String; 0], "seed {seed}, round {round}");
        }
    }
}
