//! Reads of files that lie in runs on a disc.

use std::any::Any;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex};

use wharf::op::{self, OpenFlags};
use wharf::testing::{Open, Volume};
use wharf::{
    Attributes, Capabilities, Context, Disc, Entry, Errno, Extents, FileSystem, Opened, Result, Run, Source,
};

const DISC_BYTES: usize = 1 << 20;
const O_DIRECT: i32 = 0o40000;

/// One file, laid out as a test wants it.
struct Layout {
    disc: Disc,
    runs: Mutex<Vec<Run>>,
    len: u64,
    held: Arc<()>,
    /// Strong counts of `held` that `runs` saw.
    seen: Mutex<Vec<usize>>,
}

impl Extents for Layout {
    fn disc(&self) -> &Disc {
        &self.disc
    }

    fn len_bytes(&self) -> u64 {
        self.len
    }

    fn runs(&self, range: Range<u64>, into: &mut Vec<Run>) -> Result<()> {
        self.seen.lock().unwrap().push(Arc::strong_count(&self.held));
        let runs = self.runs.lock().unwrap();
        let first = runs.partition_point(|run| run.offset + run.len <= range.start);
        into.extend(runs[first..].iter().take_while(|run| run.offset < range.end));
        Ok(())
    }

    fn hold(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self.held.clone())
    }
}

struct Scattered(Arc<Layout>);

impl FileSystem for Scattered {
    type Node = u64;
    type File = ();

    fn capabilities(&self) -> Capabilities {
        Capabilities::empty()
    }

    fn root(&self) -> u64 {
        1
    }

    async fn lookup(&self, _cx: &Context, _parent: &u64, _op: op::Lookup<'_>) -> Result<Entry<u64>> {
        Ok(Entry::new(2, Attributes::file(2, self.0.len)))
    }

    async fn getattr(&self, _cx: &Context, node: &u64, _file: Option<&()>) -> Result<Attributes> {
        Ok(Attributes::file(*node, self.0.len))
    }

    async fn open(&self, _cx: &Context, _node: &u64, _op: op::Open) -> Result<Opened<()>> {
        Ok(Opened::new(()).source(Source::Extents(self.0.clone())))
    }
}

/// Numbers that are the same in every run of a test.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut dice = Dice(0x5EED);
    (0..len).map(|_| dice.below(255) as u8 + 1).collect()
}

/// A disc with noise on it.
fn disc(name: &str, flags: i32, len: usize) -> Arc<OwnedFd> {
    let path = format!("{}/scatter-{name}-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let mut made = OpenOptions::new().write(true).create(true).truncate(true).open(&path).unwrap();
    made.write_all(&noise(len)).unwrap();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    Arc::new(file.into())
}

fn layout(file: Arc<OwnedFd>, alignment: u32, runs: Vec<Run>, len: u64) -> Arc<Layout> {
    let (runs, seen) = (Mutex::new(runs), Mutex::default());
    Arc::new(Layout { disc: Disc::new(file, alignment), runs, len, held: Arc::default(), seen })
}

fn open(layout: &Arc<Layout>) -> (Volume<Scattered>, Open) {
    let mut volume = Volume::new(Scattered(layout.clone()));
    let open = volume.open("file", OpenFlags::empty()).unwrap();
    (volume, open)
}

/// Runs of whole units anywhere on the disc, some of them holes, and the bytes they amount to.
fn random_runs(dice: &mut Dice, unit: u64) -> (Vec<Run>, Vec<u8>) {
    let noise = noise(DISC_BYTES);
    let (mut runs, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..dice.below(60) + 1 {
        let len = (dice.below(16) + 1) * unit;
        let place = dice.below((DISC_BYTES as u64 - len) / unit) * unit;
        let disc_offset = (dice.below(4) > 0).then_some(place);
        runs.push(Run { offset: bytes.len() as u64, disc_offset, len });
        match disc_offset {
            Some(_) => bytes.extend(&noise[place as usize..(place + len) as usize]),
            None => bytes.resize(bytes.len() + len as usize, 0),
        }
    }
    // The last bytes of the last run are not the file's.
    bytes.truncate(bytes.len() - dice.below(unit) as usize);
    (runs, bytes)
}

#[test]
fn any_read_of_any_runs_brings_the_bytes_of_the_file() {
    for (name, flags, alignment) in [("direct", O_DIRECT, 512), ("buffered", 0, 1)] {
        let file = disc(name, flags, DISC_BYTES);
        let mut dice = Dice(7);
        for round in 0..30 {
            // Every third layout has runs that no whole sectors fit.
            let unit = if round % 3 == 0 { 100 } else { 512 };
            let (runs, bytes) = random_runs(&mut dice, unit);
            let layout = layout(file.clone(), alignment, runs, bytes.len() as u64);
            let (mut volume, open) = open(&layout);
            for _ in 0..20 {
                let mut offset = dice.below(bytes.len() as u64 + 2000);
                if dice.below(2) == 0 {
                    offset -= offset % 512;
                }
                let size = dice.below(100_000) as usize;
                let end = bytes.len().min(offset as usize + size);
                let expected = bytes.get(offset as usize..end).unwrap_or_default();
                let read = volume.read_at(open, offset, size as u32).unwrap();
                assert!(read == expected, "{name}, round {round}: {size} bytes at {offset}");
            }
        }
    }
}

#[test]
fn many_small_runs_are_read_in_one_go() {
    let file = disc("many", O_DIRECT, DISC_BYTES);
    // Backwards, so that no two are adjacent.
    let runs = (0..256).map(|at| Run { offset: at * 512, disc_offset: Some((500 - at) * 512), len: 512 });
    let layout = layout(file, 512, runs.collect(), 256 * 512);
    let (mut volume, open) = open(&layout);
    let noise = noise(DISC_BYTES);
    let expected: Vec<u8> = (0..256usize).flat_map(|at| &noise[(500 - at) * 512..][..512]).copied().collect();
    assert!(volume.read_at(open, 0, 128 * 1024).unwrap() == expected);
}

#[test]
fn what_holds_the_runs_is_held_while_they_are_read_and_not_longer() {
    let runs = vec![Run { offset: 0, disc_offset: Some(0), len: 512 }];
    let layout = layout(disc("hold", 0, 512), 1, runs, 512);
    let (mut volume, open) = open(&layout);
    assert_eq!(volume.read_at(open, 0, 512).unwrap().len(), 512);
    assert_eq!(*layout.seen.lock().unwrap(), [2]);
    assert_eq!(Arc::strong_count(&layout.held), 1);
}

#[test]
fn a_run_that_cannot_be_read_fails_the_read_and_no_other() {
    let runs = vec![
        Run { offset: 0, disc_offset: Some(0), len: 512 },
        // The disc ends inside this one.
        Run { offset: 512, disc_offset: Some(512), len: 1024 },
        Run { offset: 1536, disc_offset: Some(0), len: 512 },
        Run { offset: 2048, disc_offset: Some(u64::MAX - 511), len: 512 },
    ];
    for (name, flags, alignment) in [("short-direct", O_DIRECT, 512), ("short", 0, 1)] {
        let layout = layout(disc(name, flags, 1024), alignment, runs.clone(), 2560);
        let (mut volume, open) = open(&layout);
        assert_eq!(volume.read_at(open, 0, 1024).unwrap(), noise(1024));
        for (offset, size) in [(0, 2048), (1024, 512), (1100, 1), (2048, 512), (1536, 1024)] {
            assert_eq!(volume.read_at(open, offset, size), Err(Errno::EIO), "{size} bytes at {offset}");
        }
        assert_eq!(volume.read_at(open, 1536, 512).unwrap(), noise(512));
    }
}

#[test]
fn an_error_of_the_disc_is_an_io_error_whatever_its_number() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let runs = vec![Run { offset: 0, disc_offset: Some(0), len: 512 }];
    let layout = layout(Arc::new(reader.into()), 1, runs, 512);
    let (mut volume, open) = open(&layout);
    assert_eq!(volume.read_at(open, 0, 512), Err(Errno::EIO), "a pipe has no offsets: ESPIPE");
}

#[test]
fn a_disc_that_has_gone_fails_at_once() {
    let runs = vec![Run { offset: 0, disc_offset: Some(0), len: 512 }];
    let layout = layout(disc("gone", 0, 512), 1, runs, 512);
    let (mut volume, open) = open(&layout);
    assert_eq!(volume.read_at(open, 0, 512).unwrap(), noise(512));
    layout.disc.lose();
    assert_eq!(volume.read_at(open, 0, 512), Err(Errno::EIO));
    assert_eq!(layout.seen.lock().unwrap().len(), 1, "not even the runs are asked for");
    assert_eq!(volume.unmount(), 0);
}

#[test]
fn runs_that_make_no_sense_are_an_io_error_and_those_that_end_early_end_the_file() {
    let run = |offset, len| Run { offset, disc_offset: Some(0), len };
    let file = disc("nonsense", 0, 4096);
    let check = |runs: Vec<Run>, expected: std::result::Result<usize, Errno>| {
        let layout = layout(file.clone(), 1, runs.clone(), 4096);
        let (mut volume, open) = open(&layout);
        let read = volume.read_at(open, 0, 4096).map(|bytes| bytes.len());
        assert_eq!(read, expected, "{runs:?}");
    };
    check(vec![run(0, 512), run(1024, 512)], Err(Errno::EIO));
    check(vec![run(512, 512)], Err(Errno::EIO));
    check(vec![run(1, u64::MAX)], Err(Errno::EIO));
    check(vec![run(0, 512), run(0, 1024)], Ok(1024));
    check(vec![run(0, 1000)], Ok(1000));
    check(vec![], Ok(0));
}
