//! What is measured. Less is better everywhere.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};

use crate::server::{PATIENCE, Server};

pub struct Sample {
    pub work: &'static str,
    pub unit: &'static str,
    pub value: f64,
}

/// Reads of the large file end after this, however far they came.
const READ_TIME_MAX: Duration = Duration::from_secs(20);
const RANDOM_TIME_MAX: Duration = Duration::from_secs(2);
const RANDOM_READS: usize = 5_000;

pub fn memory(work: &'static str, server: &Server) -> Sample {
    Sample { work, unit: "MiB", value: server.memory().unwrap_or(0) as f64 / f64::from(1 << 20) }
}

pub fn list(work: &'static str, point: &Path, entries: u64) -> io::Result<Sample> {
    let begun = Instant::now();
    let mut count = 0u64;
    walk(point, &mut |path| {
        fs::symlink_metadata(path)?;
        count += 1;
        in_time(begun)
    })?;
    assert_eq!(count, entries);
    Ok(Sample { work, unit: "ms", value: begun.elapsed().as_secs_f64() * 1e3 })
}

pub fn read_all(work: &'static str, point: &Path) -> io::Result<Sample> {
    let begun = Instant::now();
    let mut bytes = 0;
    walk(point, &mut |path| {
        bytes += fs::read(path)?.len();
        in_time(begun)
    })?;
    assert_eq!(bytes, 5_000 * 20_480);
    Ok(Sample { work, unit: "ms", value: begun.elapsed().as_secs_f64() * 1e3 })
}

/// The time for all of it, as reckoned from a part if that took long.
pub fn read_once(work: &'static str, path: &Path) -> io::Result<Sample> {
    let begun = Instant::now();
    let mut file = File::open(path)?;
    let mut block = vec![0; 1 << 20];
    let mut bytes = 0;
    while bytes < 1 << 30 && begun.elapsed() < READ_TIME_MAX {
        match file.read(&mut block)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes += count,
        }
    }
    let part = bytes as f64 / f64::from(1 << 30);
    Ok(Sample { work, unit: "ms", value: begun.elapsed().as_secs_f64() * 1e3 / part })
}

/// Microseconds for a read, with nothing of the file in the page cache.
pub fn random(work: &'static str, path: &Path) -> io::Result<Sample> {
    let file = File::open(path)?;
    let mut block = vec![0; 4096];
    let mut number = 0x9e37_79b9_7f4a_7c15u64;
    // The kernel's read-ahead would hide the server.
    fadvise(&file, 0, None, Advice::Random)?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    let begun = Instant::now();
    let mut reads = 0;
    while reads < RANDOM_READS && begun.elapsed() < RANDOM_TIME_MAX {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        file.read_exact_at(&mut block, (number >> 20) % ((1 << 30) - 4096))?;
        reads += 1;
    }
    Ok(Sample { work, unit: "µs", value: begun.elapsed().as_secs_f64() * 1e6 / reads as f64 })
}

/// What is read again, of which the kernel has all that it wants to have.
const AGAIN_BYTES: u64 = 64 << 20;

/// Microseconds for 4 KiB anywhere.
pub fn random_again(work: &'static str, path: &Path) -> io::Result<Sample> {
    const READS: usize = 50_000;
    let file = File::open(path)?;
    let mut block = vec![0; 4096];
    let mut number = 0x9e37_79b9_7f4a_7c15u64;
    through(&file)?;
    let begun = Instant::now();
    for _ in 0..READS {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        file.read_exact_at(&mut block, (number >> 20) % (AGAIN_BYTES - 4096))?;
    }
    Ok(Sample { work, unit: "µs", value: begun.elapsed().as_secs_f64() * 1e6 / READS as f64 })
}

/// Milliseconds for a gigabyte, a MiB at a time.
pub fn sequential_again(work: &'static str, path: &Path) -> io::Result<Sample> {
    const ROUNDS: u64 = 8;
    let file = File::open(path)?;
    through(&file)?;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        through(&file)?;
    }
    let part = (ROUNDS * AGAIN_BYTES) as f64 / f64::from(1 << 30);
    Ok(Sample { work, unit: "ms", value: begun.elapsed().as_secs_f64() * 1e3 / part })
}

fn through(file: &File) -> io::Result<()> {
    let mut block = vec![0; 1 << 20];
    (0..AGAIN_BYTES >> 20).try_for_each(|at| file.read_exact_at(&mut block, at << 20))
}

/// Fails when the time for a work is over.
fn in_time(begun: Instant) -> io::Result<()> {
    let late =
        || io::Error::new(io::ErrorKind::TimedOut, format!("not done within {} s", PATIENCE.as_secs()));
    if begun.elapsed() > PATIENCE { Err(late()) } else { Ok(()) }
}

fn walk(directory: &Path, each: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), each)?;
        } else {
            each(&entry.path())?;
        }
    }
    Ok(())
}
