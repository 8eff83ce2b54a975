//! Processes that read a section while its host writes, evicts and fills it again.
//!
//! Every word of the file says which page it belongs to and how often its block was written. Readers accept
//! nothing torn, nothing of another place, no zeros of memory that was given back, and nothing older than what they
//! saw before. Meanwhile the section stays within its budget.
//!
//! `WHARF_TORTURE_SECONDS` makes it longer than its few seconds.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wharf_mem::{BLOCK_BYTES, Filling, HandedOut, PAGE_BYTES, PinTable, Pins, Read, Section, SectionReader};

const SECTION_BYTES: u64 = 64 << 20;
const BLOCKS: u64 = SECTION_BYTES / BLOCK_BYTES;
/// Blocks at the start that everybody wants, so that they meet there.
const HOT_BLOCKS: u64 = 6;
const BUDGET_BYTES: u64 = 4 << 20;
/// Not a power of two, so that the hosts's blocks and the readers' ranges do not line up.
const READ_BYTES_MAX: u64 = 300_000;
const READERS: usize = 2;
const SECTION: u64 = 7;
const CHILD: &str = "WHARF_TORTURE_CHILD";

fn time() -> Duration {
    let seconds = std::env::var("WHARF_TORTURE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(4))
}

/// xorshift64*: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % bound
    }
}

/// What every word of a page says.
fn word(page: u64, version: u32) -> [u8; 8] {
    (u64::from(version) << 32 | (page + 1)).to_ne_bytes()
}

fn block_bytes(block: u64, version: u32) -> Vec<u8> {
    let first = block * BLOCK_BYTES / PAGE_BYTES;
    let pages = first..first + BLOCK_BYTES / PAGE_BYTES;
    pages.flat_map(|page| word(page, version).repeat(PAGE_BYTES as usize / 8)).collect()
}

#[test]
fn readers_accept_nothing_torn_or_gone_while_the_host_writes_evicts_and_fills() {
    if let Ok(files) = std::env::var(CHILD) {
        return child(&files);
    }
    let section = Arc::new(Section::create(SECTION_BYTES, SECTION_BYTES).unwrap());
    let pins: Vec<PinTable> = (0..READERS).map(|_| PinTable::create().unwrap()).collect();
    let readers: Vec<_> =
        pins.iter().enumerate().map(|(number, pins)| reader(number, &section, pins)).collect();
    let most = host(&section, &pins, time());
    println!("at most {} KiB of {} KiB", most >> 10, BUDGET_BYTES >> 10);
    assert!(most <= BUDGET_BYTES + BUDGET_BYTES / 20, "{most} bytes");
    for mut reader in readers {
        drop(reader.stdin.take());
        let lines = BufReader::new(reader.stdout.take().unwrap()).lines();
        let said: Vec<String> = lines.map(Result::unwrap).collect();
        assert!(reader.wait().unwrap().success(), "{said:#?}");
        println!("{}", said.iter().find(|line| line.starts_with("accepted")).expect("the reader's figures"));
    }
}

/// Writes, evicts and fills until the time is over. Returns the most memory that the section had.
fn host(section: &Arc<Section>, pins: &[PinTable], time: Duration) -> u64 {
    let mut random = Random(1);
    let mut versions = vec![1u32; BLOCKS as usize];
    let mut kept = VecDeque::new();
    let mut most = 0;
    let end = Instant::now() + time;
    while Instant::now() < end {
        let block = if random.below(4) > 0 { random.below(HOT_BLOCKS) } else { random.below(BLOCKS) };
        let range = block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES;
        match random.below(8) {
            0..=2 => {
                versions[block as usize] += 1;
                section.write(range.start, &block_bytes(block, versions[block as usize]));
            }
            3 => {
                versions[block as usize] += 1;
                section.forget(range.start + 5..range.end - 5);
            }
            4 => {
                section.evict(block..block + 1, |block| pins.iter().any(|pins| pins.holds(SECTION, block)));
            }
            _ => {
                if let Filling::Begun(mut fill) = section.begin_fill(range) {
                    let bytes = block_bytes(block, versions[block as usize]);
                    let (range, start) = (fill.range(), block * BLOCK_BYTES);
                    fill.put(
                        range.start,
                        &bytes[(range.start - start) as usize..(range.end - start) as usize],
                    )
                    .unwrap();
                    assert!(fill.publish(range.end - range.start));
                    kept.push_back(block);
                }
            }
        }
        // As a cache does: room first, in batches.
        let mut tries = kept.len();
        while section.allocated_bytes() > BUDGET_BYTES - (1 << 20) && tries > 0 {
            let Some(block) = kept.pop_front() else { break };
            tries -= 1;
            if section.evict(block..block + 4, |block| pins.iter().any(|pins| pins.holds(SECTION, block)))
                == 0
            {
                kept.push_back(block);
            }
        }
        most = most.max(section.allocated_bytes());
    }
    most
}

fn reader(number: usize, section: &Section, pins: &PinTable) -> std::process::Child {
    let HandedOut { bytes, residency, .. } = section.hand_out().unwrap();
    // A duplicate is not closed when another program begins.
    let files = [bytes, residency, pins.hand_out().unwrap()].map(|file| rustix::io::dup(&file).unwrap());
    let numbers = files.each_ref().map(|file| file.as_raw_fd().to_string()).join(",");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "--test-threads=1"]);
    command.arg("readers_accept_nothing_torn_or_gone_while_the_host_writes_evicts_and_fills");
    command.env(CHILD, format!("{number},{numbers}"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Reads until the host has ended, and says how often.
fn child(files: &str) {
    let numbers: Vec<i32> = files.split(',').map(|number| number.parse().unwrap()).collect();
    // SAFETY: the parent left these descriptors open for this process, and nothing else here knows them.
    let file = |number: i32| unsafe { OwnedFd::from_raw_fd(number) };
    let handed_out =
        HandedOut { bytes: file(numbers[1]), len_bytes_max: SECTION_BYTES, residency: file(numbers[2]) };
    let reader = SectionReader::new(handed_out).unwrap();
    let pins = Pins::of_host(file(numbers[3])).unwrap();
    let mut random = Random(100 + numbers[0] as u64);
    let mut seen = vec![0u32; BLOCKS as usize];
    let (mut accepted, mut missing, mut pinned) = (0u64, 0u64, 0u64);
    let mut bytes = vec![0; READ_BYTES_MAX as usize];
    let end = Instant::now() + time();
    while Instant::now() < end {
        let reach = if random.below(4) > 0 { HOT_BLOCKS * BLOCK_BYTES } else { SECTION_BYTES };
        let offset = random.below(reach / 8) * 8;
        let len = (random.below(READ_BYTES_MAX / 8) * 8).min(SECTION_BYTES - offset);
        // Half of them small: they fit between two changes more often.
        let len = if random.below(2) == 0 { len.min(4096) } else { len };
        let range = offset..offset + len;
        let done = match reader.read_at(offset, &mut bytes[..len as usize]) {
            Read::Done(done) => done,
            Read::Missing { done, .. } => {
                missing += 1;
                done
            }
            Read::Invalid => panic!("the section was not made invalid"),
        };
        if done > 0 {
            accepted += 1;
            check(offset, &bytes[..done], &mut seen);
        }
        if let Some(view) = reader.pin(&pins, SECTION, range) {
            pinned += 1;
            // Long enough for the host to try.
            std::thread::sleep(Duration::from_micros(200));
            view.copy_to(0, &mut bytes);
            // Written under our hands perhaps, but never gone.
            for (at, found) in bytes[..view.len()].chunks_exact(8).enumerate() {
                let page = (offset + at as u64 * 8) / PAGE_BYTES;
                let found = u64::from_ne_bytes(found.try_into().unwrap());
                assert_eq!(found as u32 as u64, page + 1, "pinned page {page}");
            }
        }
    }
    println!("\naccepted {accepted}, missing {missing}, pinned {pinned}");
    assert!(accepted > 100 && missing > 100 && pinned > 10, "too few to mean anything");
}

/// Each word is of its place; those of one block are of one version, which never goes back.
fn check(offset: u64, bytes: &[u8], seen: &mut [u32]) {
    let mut at = offset;
    for part in bytes.chunks_exact(8) {
        let found = u64::from_ne_bytes(part.try_into().unwrap());
        let (page, version) = (found as u32, (found >> 32) as u32);
        assert_eq!(u64::from(page), at / PAGE_BYTES + 1, "at {at}: version {version}");
        let block = &mut seen[(at / BLOCK_BYTES) as usize];
        let first_of_block = at == offset || at.is_multiple_of(BLOCK_BYTES);
        assert!(
            if first_of_block { version >= *block } else { version == *block },
            "at {at}: torn or old: {version}"
        );
        *block = version;
        at += 8;
    }
}
