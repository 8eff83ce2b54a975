//! Reads of bytes that are there already: from a section by its reader, beside pread(2) on tmpfs and on the page
//! cache of a disc's file system, in turn, in one process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use wharf_mem::{PinTable, Pins, Read, Section, SectionReader};

const FILE_BYTES: u64 = 1 << 30;
const SMALL: usize = 4096;
const LARGE: usize = 1 << 20;
const ROUNDS: usize = 9;
const SMALL_READS: u64 = 200_000;

/// A place that bytes are read from.
struct Place<'a> {
    name: &'static str,
    /// Reads at an offset into the buffer; looks at the bytes instead if it lends them.
    read: Reading<'a>,
}

type Reading<'a> = Box<dyn FnMut(u64, &mut [u8]) + 'a>;

/// What is measured, and how often each place has done it in how many nanoseconds.
struct Work {
    name: &'static str,
    bytes: usize,
    reads: u64,
    offset: fn(u64) -> u64,
}

const WORKS: [Work; 3] = [
    Work { name: "4 KiB, hot", bytes: SMALL, reads: SMALL_READS, offset: |_| 12_345 * SMALL as u64 },
    Work { name: "4 KiB, random over 1 GiB", bytes: SMALL, reads: SMALL_READS, offset: scattered },
    Work {
        name: "1 MiB, sequential",
        bytes: LARGE,
        reads: FILE_BYTES / LARGE as u64,
        offset: |read| read * LARGE as u64 % FILE_BYTES,
    },
];

/// The same offsets for all.
fn scattered(read: u64) -> u64 {
    let mixed = (read + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32 & (FILE_BYTES - 1) & !(SMALL as u64 - 1)
}

/// Files that go away with this.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub fn run(directory: &Path) -> io::Result<()> {
    let block: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    let section = Section::create(FILE_BYTES, FILE_BYTES)?;
    for at in (0..FILE_BYTES).step_by(LARGE) {
        section.put(at, &block)?;
    }
    section.publish(0..FILE_BYTES);
    let reader = SectionReader::new(section.hand_out()?)?;
    let table = PinTable::create()?;
    let pins = Pins::of_host(table.hand_out()?)?;
    let (tmpfs, _tmpfs) = file(Path::new("/dev/shm"), &block)?;
    let (disc, _disc) = file(directory, &block)?;

    let pread = |file: File| {
        move |at: u64, into: &mut [u8]| assert_eq!(file.read_at(into, at).expect("read"), into.len())
    };
    let mut places = [
        Place {
            name: "section",
            read: Box::new(|at, into| assert_eq!(reader.read_at(at, into), Read::Done(into.len()))),
        },
        Place {
            name: "view (summed)",
            read: Box::new(|at, into| {
                let view = reader.pin(&pins, 1, at..at + into.len() as u64).expect("valid");
                // SAFETY: nobody writes this section.
                std::hint::black_box(sum(unsafe { view.as_slice() }));
            }),
        },
        Place { name: "pread tmpfs", read: Box::new(pread(tmpfs)) },
        Place { name: "pread disc's cache", read: Box::new(pread(disc)) },
    ];

    println!("| work | place | median | GB/s | spread | to the faster pread |\n|---|---|---|---|---|---|");
    let mut buffer = vec![0; LARGE];
    for work in WORKS {
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); places.len()];
        for round in 0..=ROUNDS {
            for (place, times) in places.iter_mut().zip(&mut times) {
                let begun = Instant::now();
                for read in 0..work.reads {
                    (place.read)((work.offset)(read), &mut buffer[..work.bytes]);
                }
                let each = begun.elapsed().as_nanos() as f64 / work.reads as f64;
                // The first round maps pages and warms caches.
                if round > 0 {
                    times.push(each);
                }
            }
        }
        report(&work, &places, times);
    }
    Ok(())
}

fn report(work: &Work, places: &[Place<'_>], mut times: Vec<Vec<f64>>) {
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let median = |times: &[f64]| times[times.len() / 2];
    let peers = places.iter().zip(&times).filter(|(place, _)| place.name.starts_with("pread"));
    let best = peers.map(|(_, times)| median(times)).fold(f64::MAX, f64::min);
    for (place, times) in places.iter().zip(&times) {
        let each = median(times);
        println!(
            "| {} | {} | {each:.0} ns | {:.1} | {:.0}..{:.0} | {:.2} x |",
            work.name,
            place.name,
            work.bytes as f64 / each,
            times[0],
            times[times.len() - 1],
            best / each,
        );
    }
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.as_chunks::<8>().0;
    words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_ne_bytes(*word)))
}

fn file(directory: &Path, block: &[u8]) -> io::Result<(File, Scratch)> {
    let path = directory.join(format!("wharf-bench-{}", std::process::id()));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    let scratch = Scratch(path);
    for _ in 0..FILE_BYTES / LARGE as u64 {
        file.write_all(block)?;
    }
    file.sync_all()?;
    Ok((file, scratch))
}
