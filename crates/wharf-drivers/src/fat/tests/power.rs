//! The power fails: after any of the writes that the disc was given, what is on it must make sense.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use wharf::op::{OpenFlags, RenameHow, SetAttributes};
use wharf::testing::{Open, Volume};

use super::{Dice, Image};
use crate::fat::Fat;
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
    safe: Vec<Safe>,
}

/// What was brought to the disc of a file.
struct Safe {
    /// The number of events by then, and by when it may be gone.
    since: usize,
    until: usize,
    /// Of all that it had since, one is there.
    names: Vec<String>,
    bytes: Vec<u8>,
    /// More may follow these.
    grows: bool,
}

/// What is done to a volume, and what must be found of it whenever the power fails.
type Schedule = fn(&mut Volume<Fat>, &dyn Fn() -> usize, &mut Dice) -> Vec<Safe>;

fn record(seed: u64, arguments: &[&str], bytes: u64, schedule: Schedule) -> Recorded {
    let image = Image::new(bytes, arguments);
    let base = std::fs::read(image.path()).unwrap();
    let (mut volume, shared) = image.volume();
    *shared.medium.journal.lock().unwrap() = Some(Vec::new());
    let count = || shared.medium.journal.lock().unwrap().as_ref().map_or(0, Vec::len);
    let safe = schedule(&mut volume, &count, &mut Dice::new(seed));
    assert_eq!(volume.unmount(), 0);
    image.expect_clean();
    let events = shared.medium.journal.lock().unwrap().take().unwrap();
    Recorded { image, base, events, safe }
}

/// Files that are written once and synced, among others that come and go.
fn files_that_stay(volume: &mut Volume<Fat>, count: &dyn Fn() -> usize, dice: &mut Dice) -> Vec<Safe> {
    let mut safe: Vec<Safe> = Vec::new();
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
                let (since, until) = (count(), usize::MAX);
                safe.push(Safe { since, until, names: vec![name], bytes, grows: false });
            }
            7 if !safe.is_empty() => {
                // Its new name need not be there after a cut, but then the old one is.
                let at = dice.below(safe.len() as u64) as usize;
                let names = &mut safe[at].names;
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
    safe
}

/// Files that stay open, grow in turns, and are synced each for itself, while others have changes that are not.
fn files_that_grow(volume: &mut Volume<Fat>, count: &dyn Fn() -> usize, dice: &mut Dice) -> Vec<Safe> {
    let mut safe: Vec<Safe> = Vec::new();
    // By the last of its names, and what of `safe` tells of it.
    let mut files: Vec<(Open, String, Vec<u8>, Vec<usize>)> = Vec::new();
    for round in 0..150u32 {
        let at = dice.below(files.len() as u64) as usize;
        match dice.below(12) {
            0 | 1 if files.len() < 8 => {
                let mut name = format!("growing file number {round}");
                if dice.below(2) == 0 {
                    // As new as the file.
                    volume.mkdir(&format!("directory {round}")).unwrap();
                    name = format!("directory {round}/{name}");
                }
                files.push((volume.create(&name).unwrap(), name, Vec::new(), Vec::new()));
            }
            _ if files.is_empty() => {}
            2..7 => {
                let (open, _, bytes, _) = &mut files[at];
                let len = dice.below(1500) as usize + 1;
                let more = dice.bytes(len);
                volume.write_at(*open, bytes.len() as u64, &more).unwrap();
                bytes.extend(more);
            }
            7..10 => {
                let (open, name, bytes, told) = &mut files[at];
                volume.fsync(*open).unwrap();
                told.push(safe.len());
                let (names, bytes) = (vec![name.clone()], bytes.clone());
                safe.push(Safe { since: count(), until: usize::MAX, names, bytes, grows: true });
            }
            10 => {
                let (_, name, bytes, told) = &mut files[at];
                let len = dice.below(bytes.len() as u64 + 1);
                told.drain(..).for_each(|at| safe[at].until = count());
                volume.setattr(name, SetAttributes { size: Some(len), ..SetAttributes::default() }).unwrap();
                bytes.truncate(len as usize);
            }
            _ => {
                let (_, name, _, told) = &mut files[at];
                let to = format!("renamed in round {round}");
                volume.rename(name, &to, RenameHow::Replace).unwrap();
                told.iter().for_each(|at| safe[*at].names.push(to.clone()));
                *name = to;
            }
        }
    }
    files.into_iter().for_each(|(open, ..)| volume.close(open).unwrap());
    safe
}

impl Recorded {
    /// The disc with the first `count` events on it, and of those that come before the next barrier only some. Returns
    /// the number of the last that may be there.
    fn cut(&self, count: usize, some: Option<&mut Dice>) -> usize {
        let mut last = count;
        let mut bytes = self.base.clone();
        let mut put = |event: &Event| {
            if let Event::Write { offset, bytes: new } = event {
                bytes[*offset as usize..][..new.len()].copy_from_slice(new);
            }
        };
        self.events[..count].iter().for_each(&mut put);
        if let Some(dice) = some {
            let window = self.events[count..].iter().take_while(|event| !matches!(event, Event::Barrier));
            last += window.clone().count();
            window.filter(|_| dice.below(2) == 0).for_each(&mut put);
        }
        self.image.file().write_all_at(&bytes, 0).unwrap();
        last
    }

    /// Of the first `count` events all are on the disc, and none after `last`.
    fn check(&self, count: usize, last: usize, what: &str) {
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
        for safe in self.safe.iter().filter(|safe| safe.since <= count && last <= safe.until) {
            let Safe { since, names, bytes, grows, .. } = safe;
            let is_there = |read: Vec<u8>| read.starts_with(bytes) && (*grows || read.len() == bytes.len());
            let found = names.iter().any(|name| volume.read(name).is_ok_and(is_there));
            assert!(found, "after {count} events, {what}: {names:?} of event {since} is lost");
        }
    }
}

/// Cuts the power at about `cuts` moments of each kind.
fn cut_all_over(recorded: &Recorded, seed: u64, cuts: usize) {
    let mut dice = Dice::new(seed);
    let step = (recorded.events.len() / cuts).max(1);
    for count in (0..recorded.events.len()).step_by(step) {
        let last = recorded.cut(count, None);
        recorded.check(count, last, "in order");
    }
    let barriers = (0..recorded.events.len()).filter(|at| matches!(recorded.events[*at], Event::Barrier));
    let windows: Vec<usize> = barriers.map(|at| at + 1).collect();
    for count in windows.iter().step_by((windows.len() / cuts).max(1)) {
        let last = recorded.cut(*count, Some(&mut dice));
        recorded.check(*count, last, "in any order");
    }
}

#[test]
fn whenever_the_power_fails_nothing_is_worse_than_lost_clusters_and_nothing_synced_is_lost() {
    for (seed, arguments, bytes) in [
        (1, &["-F", "12", "-s", "1"][..], 400 << 10),
        (2, &["-F", "32", "-s", "1", "-a"], 600 << 10),
        (3, &["-F", "12", "-s", "4"], 800 << 10),
    ] {
        cut_all_over(&record(seed, arguments, bytes, files_that_stay), seed, 50);
    }
}

#[test]
fn whenever_the_power_fails_what_was_synced_of_a_file_that_grows_is_there() {
    for (seed, arguments, bytes) in
        [(4, &["-F", "12", "-s", "1"][..], 600 << 10), (5, &["-F", "32", "-s", "1", "-a"], 800 << 10)]
    {
        cut_all_over(&record(seed, arguments, bytes, files_that_grow), seed, 50);
    }
}
