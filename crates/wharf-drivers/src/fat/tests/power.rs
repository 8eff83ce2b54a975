//! The power fails: after any of the writes that the disc was given, what is on it must make sense.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use wharf::op::{OpenFlags, RenameHow, SetAttributes};
use wharf::testing::Volume;

use super::{Dice, Image};
use crate::fat::medium::Event;

/// What fsck.fat may find, because it loses nothing; see the table in `flush`.
const HARMLESS: [&str; 17] = [
    "Dirty bit is set",
    "Dirty bit was set",
    "Automatically removing dirty bit",
    // The mark of being in use is in the boot sector, not in its copy.
    "There are differences between boot sector and its backup",
    "This is mostly harmless",
    "65:01/00",
    "Not automatically fixing this",
    "Free cluster summary wrong",
    "Auto-correcting",
    "Reclaimed",
    // A chain that is longer than its file; see below.
    "File size is",
    "Truncating file to",
    // The second copy of the table is written after the first.
    "FATs differ but appear to be intact",
    "Using first FAT",
    "Leaving filesystem unchanged",
    "Fs was not properly unmounted",
    "/",
];

/// A move between two sectors has both names for a moment.
const OF_A_MOVE: [&str; 2] = ["share clusters", "Truncating second to"];

struct Recorded {
    image: Image,
    base: Vec<u8>,
    events: Vec<Event>,
    /// Files that were brought to the disc, each by the number of events then: they never change again, but may
    /// have another name.
    safe: Vec<(usize, Vec<String>, Vec<u8>)>,
}

fn record(seed: u64, arguments: &[&str], bytes: u64) -> Recorded {
    let image = Image::new(bytes, arguments);
    let base = std::fs::read(image.path()).unwrap();
    let (mut volume, shared) = image.volume();
    *shared.medium.journal.lock().unwrap() = Some(Vec::new());
    let count = || shared.medium.journal.lock().unwrap().as_ref().map_or(0, Vec::len);
    let mut dice = Dice::new(seed);
    let mut safe = Vec::new();
    let mut scratch: BTreeMap<String, ()> = BTreeMap::new();
    volume.mkdir("d").unwrap();
    for round in 0..60u32 {
        let name = format!("d/scratch {}", dice.below(12));
        match dice.below(8) {
            0..3 => {
                let len = dice.below(6000) as usize + 1;
                let bytes = dice.bytes(len);
                let at = dice.below(3000);
                let file = match scratch.contains_key(&name) {
                    true => volume.open(&name, OpenFlags::READ_WRITE).unwrap(),
                    false => volume.create(&name).unwrap(),
                };
                volume.write_at(file, at, &bytes).unwrap();
                volume.close(file).unwrap();
                scratch.insert(name, ());
            }
            3 if scratch.remove(&name).is_some() => volume.unlink(&name).unwrap(),
            4 if scratch.remove(&name).is_some() => {
                let to = format!("moved {}", dice.below(4));
                volume.rename(&name, &to, RenameHow::Replace).unwrap();
            }
            5 if scratch.contains_key(&name) => {
                let set = SetAttributes { size: Some(dice.below(4000)), ..SetAttributes::default() };
                volume.setattr(&name, set).unwrap();
            }
            6 => {
                let name = format!("safe file number {round}");
                let len = dice.below(9000) as usize;
                let bytes = dice.bytes(len);
                let file = volume.create(&name).unwrap();
                volume.write_at(file, 0, &bytes).unwrap();
                volume.fsync(file).unwrap();
                volume.close(file).unwrap();
                safe.push((count(), vec![name], bytes));
            }
            7 if !safe.is_empty() => {
                // Its new name need not be there after a cut, but then the old one is.
                let at = dice.below(safe.len() as u64) as usize;
                let (_, names, _): &mut (usize, Vec<String>, Vec<u8>) = &mut safe[at];
                let to = format!("d/safe and moved {round}");
                volume.rename(names.last().unwrap(), &to, RenameHow::Replace).unwrap();
                names.push(to);
            }
            _ => {}
        }
        if dice.below(6) == 0 {
            volume.forget_all();
        }
    }
    assert_eq!(volume.unmount(), 0);
    image.expect_clean();
    let events = shared.medium.journal.lock().unwrap().take().unwrap();
    Recorded { image, base, events, safe }
}

impl Recorded {
    /// The disc with the first `count` events on it, and of those that come before the next barrier only some.
    fn cut(&self, count: usize, some: Option<&mut Dice>) {
        let mut bytes = self.base.clone();
        let mut put = |event: &Event| {
            if let Event::Write { offset, bytes: new } = event {
                bytes[*offset as usize..][..new.len()].copy_from_slice(new);
            }
        };
        self.events[..count].iter().for_each(&mut put);
        if let Some(dice) = some {
            let window = self.events[count..].iter().take_while(|event| !matches!(event, Event::Barrier));
            window.filter(|_| dice.below(2) == 0).for_each(&mut put);
        }
        self.image.file().write_all_at(&bytes, 0).unwrap();
    }

    fn check(&self, count: usize, what: &str) {
        let complaints = self.image.complaints();
        // What of two files a check makes one, it cuts off the other.
        let moved = complaints.iter().any(|complaint| complaint.contains(OF_A_MOVE[0]));
        for complaint in complaints {
            let harmless = HARMLESS.iter().any(|known| complaint.starts_with(known))
                || OF_A_MOVE.iter().any(|known| complaint.contains(known));
            let shorter = complaint.starts_with("File size is") && !complaint.contains("length is >");
            assert!(
                harmless && (moved || !shorter),
                "after {count} events of {}, {what}: {complaint}",
                self.events.len()
            );
        }
        let mut volume = Volume::new(self.image.fat(false));
        for (since, names, bytes) in self.safe.iter().filter(|(since, ..)| *since <= count) {
            let found = names.iter().any(|name| volume.read(name).is_ok_and(|read| read == *bytes));
            assert!(found, "after {count} events, {what}: {names:?} of event {since} is lost");
        }
    }
}

#[test]
fn whenever_the_power_fails_nothing_is_worse_than_lost_clusters_and_nothing_synced_is_lost() {
    for (seed, arguments, bytes) in [
        (1, &["-F", "12", "-s", "1"][..], 400 << 10),
        (2, &["-F", "32", "-s", "1", "-a"], 600 << 10),
        (3, &["-F", "12", "-s", "4"], 800 << 10),
    ] {
        let recorded = record(seed, arguments, bytes);
        let mut dice = Dice::new(seed);
        let step = (recorded.events.len() / 60).max(1);
        for count in (0..recorded.events.len()).step_by(step) {
            recorded.cut(count, None);
            recorded.check(count, "in order");
        }
        let barriers = (0..recorded.events.len()).filter(|at| matches!(recorded.events[*at], Event::Barrier));
        let windows: Vec<usize> = barriers.map(|at| at + 1).collect();
        for count in windows.iter().step_by((windows.len() / 40).max(1)) {
            recorded.cut(*count, Some(&mut dice));
            recorded.check(*count, "in any order");
        }
    }
}
