//! Reads: waiting for each, many at a time by one task, through the page cache, and of a slow file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use io_uring::{IoUring, opcode, types};
use rustix::fs::{Advice, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, OwnedFd};

use wharf_benches::works::{Order, source};

use crate::Result;
use crate::measure::{Bench, Measured};

const PAGE_BYTES: usize = 4096;
/// A part of the file: enough for read-ahead to run, little enough to stay in recycled memory.
const FIRST_READ_BYTES: u64 = 256 << 20;

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    Ok(rustix::fs::open(path, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

fn bytes_of(file: &OwnedFd) -> Result<u64> {
    Ok(rustix::fs::fstat(file)?.st_size as u64)
}

/// Memory that direct I/O accepts.
struct Aligned {
    memory: Vec<u8>,
    from: usize,
    bytes: usize,
}

impl Aligned {
    fn new(bytes: usize) -> Self {
        let memory = vec![1; bytes + PAGE_BYTES];
        let from = memory.as_ptr().align_offset(PAGE_BYTES);
        Self { memory, from, bytes }
    }

    fn get(&mut self) -> &mut [u8] {
        &mut self.memory[self.from..][..self.bytes]
    }
}

/// Where the next read goes: xorshift, or on and around.
struct Offsets {
    order: Order,
    bytes: u64,
    blocks: u64,
    state: u64,
}

impl Offsets {
    fn new(order: Order, bytes: usize, file_bytes: u64, seed: usize) -> Self {
        let blocks = file_bytes / bytes as u64;
        let state = match order {
            Order::Random => 0x9E37_79B9_7F4A_7C15 ^ ((seed as u64 + 1) << 17),
            Order::Sequential => 0,
        };
        Self { order, bytes: bytes as u64, blocks, state }
    }

    fn next(&mut self) -> u64 {
        let block = match self.order {
            Order::Random => {
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                self.state % self.blocks
            }
            Order::Sequential => {
                self.state += 1;
                (self.state - 1) % self.blocks
            }
        };
        block * self.bytes
    }
}

fn expect(read: usize, wanted: usize) -> Result<()> {
    if read == wanted { Ok(()) } else { Err(format!("{read} bytes came instead of {wanted}").into()) }
}

pub fn waiting(dir: &Path, bytes: usize, order: Order, jobs: usize, bench: &Bench) -> Result<Measured> {
    bench.steady(jobs, bytes as u64, |number| {
        let file = open(&dir.join("big"), OFlags::DIRECT)?;
        let mut offsets = Offsets::new(order, bytes, bytes_of(&file)?, number);
        let mut buffer = Aligned::new(bytes);
        Ok(move || expect(rustix::io::pread(&file, buffer.get(), offsets.next())?, bytes))
    })
}

pub fn deep(dir: &Path, bytes: usize, order: Order, depth: usize, bench: &Bench) -> Result<Measured> {
    let file = open(&dir.join("big"), OFlags::DIRECT)?;
    let mut offsets = Offsets::new(order, bytes, bytes_of(&file)?, 0);
    let mut buffers: Vec<_> = (0..depth).map(|_| Aligned::new(bytes)).collect();
    let mut began = vec![Instant::now(); depth];
    let mut free: Vec<usize> = (0..depth).collect();
    let mut ring = IoUring::new(depth as u32)?;
    let measured = bench.turns(bytes as u64, |ended| {
        while let Some(slot) = free.pop() {
            let target = buffers[slot].get();
            let read = opcode::Read::new(types::Fd(file.as_raw_fd()), target.as_mut_ptr(), bytes as u32)
                .offset(offsets.next())
                .build()
                .user_data(slot as u64);
            began[slot] = Instant::now();
            // SAFETY: the buffer and the file outlive the ring's last completion, which is awaited below.
            unsafe { ring.submission().push(&read)? };
        }
        ring.submit_and_wait(1)?;
        let now = Instant::now();
        for completion in ring.completion() {
            let slot = completion.user_data() as usize;
            if completion.result() < 0 {
                return Err(std::io::Error::from_raw_os_error(-completion.result()).into());
            }
            expect(completion.result() as usize, bytes)?;
            ended(now - began[slot]);
            free.push(slot);
        }
        Ok(())
    });
    while free.len() < depth && measured.is_ok() {
        ring.submit_and_wait(1)?;
        free.extend(ring.completion().map(|completion| completion.user_data() as usize));
    }
    if measured.is_err() {
        // Reads may still be on their way into the buffers.
        std::mem::forget(buffers);
    }
    measured
}

pub fn first(dir: &Path, bench: &Bench) -> Result<Measured> {
    const STEP_BYTES: usize = 128 << 10;
    let path = dir.join("cached");
    let mut buffer = Aligned::new(STEP_BYTES);
    let forget = || -> Result<()> {
        Ok(rustix::fs::fadvise(open(&path, OFlags::empty())?, 0, None, Advice::DontNeed)?)
    };
    let measured =
        bench.passes(true, FIRST_READ_BYTES / STEP_BYTES as u64, STEP_BYTES as u64, forget, || {
            let file = open(&path, OFlags::empty())?;
            for at in (0..FIRST_READ_BYTES).step_by(STEP_BYTES) {
                expect(rustix::io::pread(&file, buffer.get(), at)?, STEP_BYTES)?;
            }
            Ok(())
        });
    forget()?;
    measured
}

/// Of the tiny file system its cached file, of a mirrored directory the file made for it.
fn held(dir: &Path) -> PathBuf {
    let file = dir.join(source::FILE);
    if file.exists() { file } else { dir.join("cached") }
}

pub fn cached(dir: &Path, bytes: usize, order: Order, bench: &Bench) -> Result<Measured> {
    const STEP_BYTES: usize = 1 << 20;
    let file = open(&held(dir), OFlags::empty())?;
    let mut buffer = Aligned::new(STEP_BYTES);
    for at in (0..source::FILE_BYTES).step_by(STEP_BYTES) {
        expect(rustix::io::pread(&file, buffer.get(), at)?, STEP_BYTES)?;
    }
    let file = &file;
    bench.steady(1, bytes as u64, |number| {
        let mut offsets = Offsets::new(order, bytes, source::FILE_BYTES, number);
        let mut buffer = Aligned::new(bytes);
        Ok(move || expect(rustix::io::pread(file, buffer.get(), offsets.next())?, bytes))
    })
}

pub fn write(dir: &Path, bytes: usize, bench: &Bench) -> Result<Measured> {
    let file = rustix::fs::open(dir.join(source::FILE), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let file = &file;
    bench.steady(1, bytes as u64, |number| {
        let mut offsets = Offsets::new(Order::Sequential, bytes, source::FILE_BYTES, number);
        let mut buffer = Aligned::new(bytes);
        Ok(move || expect(rustix::io::pwrite(file, buffer.get(), offsets.next())?, bytes))
    })
}

pub fn pending(dir: &Path, reads: usize, bench: &Bench) -> Result<Measured> {
    let file = File::from(open(&dir.join("slow"), OFlags::DIRECT)?);
    let file = &file;
    bench.steady(reads, PAGE_BYTES as u64, |number| {
        let mut offsets = Offsets::new(Order::Random, PAGE_BYTES, tiny::BIG_BYTES, number);
        let mut buffer = Aligned::new(PAGE_BYTES);
        Ok(move || {
            loop {
                match rustix::io::pread(file, buffer.get(), offsets.next()) {
                    Err(Errno::AGAIN) => std::thread::yield_now(),
                    read => return expect(read?, PAGE_BYTES),
                }
            }
        })
    })
}
