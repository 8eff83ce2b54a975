//! Bytes: sparse, counted, and the same as a plain vector's whatever is done to them.

use std::ops::Range;

use wharf::error::Kind as ErrorKind;

use super::{Buffer, Random, fails, pattern};
use crate::memory::contents::Contents;
use crate::memory::space::Space;

const MIB: u64 = 1 << 20;
const BLOCK: u64 = 4096;

fn space() -> Space {
    Space::new(256 * MIB, 1)
}

fn read(contents: &Contents, range: Range<u64>) -> Vec<u8> {
    let mut buffer = Buffer::new((range.end - range.start) as usize);
    let len = buffer.0.len();
    let read = contents.read(range.start, len, &mut buffer);
    buffer.0.truncate(read);
    buffer.0
}

#[test]
fn a_hole_reads_as_zeros_and_takes_nothing() {
    let (mut contents, space) = (Contents::default(), space());
    contents.set_size(100 * MIB, &space).unwrap();
    contents.write(50 * MIB, b"middle", &space).unwrap();
    assert_eq!((contents.held_blocks(), space.used()), (1, BLOCK));
    assert_eq!(read(&contents, 50 * MIB - 2..50 * MIB + 8), b"\0\0middle\0\0");
    assert_eq!(read(&contents, 99 * MIB..101 * MIB).len() as u64, MIB);
    assert!(read(&contents, 100 * MIB..101 * MIB).is_empty());
}

#[test]
fn a_file_of_a_tebibyte_with_a_byte_at_its_end_is_one_block() {
    let (mut contents, space) = (Contents::default(), space());
    contents.write(1 << 40, b"x", &space).unwrap();
    assert_eq!(contents.size(), (1 << 40) + 1);
    assert_eq!(contents.next_data(0), Some(1 << 40));
    contents.write(0, b"y", &space).unwrap();
    assert_eq!(contents.held_blocks(), 2);
    assert_eq!(contents.next_hole(0), Some(BLOCK));
    assert_eq!(contents.next_data(BLOCK), Some(1 << 40));
}

#[test]
fn a_file_does_not_grow_beyond_what_can_be_counted() {
    let (mut contents, space) = (Contents::default(), space());
    let end = i64::MAX as u64;
    assert_eq!(contents.write(end - 1, b"xy", &space).unwrap(), 1);
    fails(contents.write(end, b"x", &space), ErrorKind::TooLarge);
    fails(contents.write(u64::MAX, b"x", &space), ErrorKind::TooLarge);
    fails(contents.set_size(end + 1, &space), ErrorKind::TooLarge);
    fails(contents.allocate(0..end + 1, &space), ErrorKind::TooLarge);
    fails(contents.allocate(0..end, &space), ErrorKind::NoSpace);
    contents.punch(0..u64::MAX, &space);
    assert_eq!((contents.size(), contents.held_blocks()), (end, 0));
}

#[test]
fn a_write_without_space_writes_what_fits() {
    let (mut contents, space) = (Contents::default(), Space::new(2 * BLOCK, 1));
    assert_eq!(contents.write(100, &[7; 10_000], &space).unwrap(), 2 * BLOCK as usize - 100);
    assert_eq!(contents.size(), 2 * BLOCK);
    fails(contents.write(2 * BLOCK, b"x", &space), ErrorKind::NoSpace);
    assert_eq!(contents.write(0, &[8; 100], &space).unwrap(), 100, "what is there can be overwritten");
    contents.set_size(BLOCK, &space).unwrap();
    assert_eq!(contents.write(10 * BLOCK, b"x", &space).unwrap(), 1);
}

#[test]
fn a_write_without_space_still_fills_blocks_that_are_held() {
    let (mut contents, space) = (Contents::default(), Space::new(3 * BLOCK, 1));
    contents.allocate(BLOCK..2 * BLOCK, &space).unwrap();
    space.charge(BLOCK).unwrap();
    assert_eq!(contents.write(0, &[7; 4 * BLOCK as usize], &space).unwrap(), 2 * BLOCK as usize);
    fails(contents.write(3 * BLOCK, b"x", &space), ErrorKind::NoSpace);
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let (mut contents, space) = (Contents::default(), space());
    contents.write(0, &[7; 200_000], &space).unwrap();
    contents.set_size(70_000, &space).unwrap();
    contents.set_size(200_000, &space).unwrap();
    let want: Vec<u8> = (0..200_000).map(|at| if at < 70_000 { 7 } else { 0 }).collect();
    assert!(read(&contents, 0..200_000) == want);
    assert_eq!(contents.held_blocks(), 18);
    contents.set_size(0, &space).unwrap();
    assert_eq!((contents.held_blocks(), space.used()), (0, 0));
}

#[test]
fn space_given_ahead_is_charged_once_and_reads_as_zeros() {
    let (mut contents, space) = (Contents::default(), space());
    contents.write(0, b"bytes", &space).unwrap();
    contents.allocate(0..100_000, &space).unwrap();
    assert_eq!((contents.size(), space.used()), (5, 25 * BLOCK));
    assert_eq!(contents.next_data(5), None, "what was never written is a hole, if a paid one");
    contents.write(50_000, b"more", &space).unwrap();
    contents.allocate(0..100_000, &space).unwrap();
    assert_eq!(space.used(), 25 * BLOCK);
    assert_eq!(read(&contents, 49_999..50_004), b"\0more");
    contents.set_size(5, &space).unwrap();
    contents.clear(&space);
    assert_eq!(space.used(), 0);
}

#[test]
fn an_allocation_is_all_or_nothing() {
    let (mut contents, space) = (Contents::default(), Space::new(10 * BLOCK, 1));
    contents.write(0, &[7; 5000], &space).unwrap();
    fails(contents.allocate(0..11 * BLOCK, &space), ErrorKind::NoSpace);
    assert_eq!(space.free(), 8 * BLOCK);
    contents.allocate(0..10 * BLOCK, &space).unwrap();
    assert_eq!(space.free(), 0);
}

#[test]
fn data_and_holes_are_found() {
    let (mut contents, space) = (Contents::default(), space());
    contents.set_size(4 * MIB, &space).unwrap();
    contents.write(MIB, &vec![1; MIB as usize], &space).unwrap();
    contents.write(3 * MIB, &vec![1; MIB as usize], &space).unwrap();
    assert_eq!((contents.next_data(0), contents.next_hole(0)), (Some(MIB), Some(0)));
    assert_eq!((contents.next_data(MIB + 5), contents.next_hole(MIB)), (Some(MIB + 5), Some(2 * MIB)));
    assert_eq!((contents.next_data(2 * MIB), contents.next_hole(3 * MIB)), (Some(3 * MIB), Some(4 * MIB)));
    assert_eq!((contents.next_data(4 * MIB), contents.next_hole(4 * MIB)), (None, None));
    contents.punch(0..4 * MIB, &space);
    assert_eq!((contents.next_data(0), space.used()), (None, 0));
}

#[test]
fn ranges_are_collapsed_and_inserted_in_whole_blocks() {
    let (mut contents, space) = (Contents::default(), space());
    contents.write(0, &[7; 100_000], &space).unwrap();
    fails(contents.collapse(0..100, &space), ErrorKind::Invalid);
    fails(contents.collapse(0..25 * BLOCK, &space), ErrorKind::Invalid);
    fails(contents.insert(25 * BLOCK..26 * BLOCK, &space), ErrorKind::Invalid);
    fails(contents.insert(0..i64::MAX as u64 / BLOCK * BLOCK, &space), ErrorKind::TooLarge);
    assert_eq!(contents.size(), 100_000);
}

/// One step of a history, done to contents and to the vector that they must equal.
fn step(random: &mut Random, contents: &mut Contents, want: &mut Vec<u8>, space: &Space, reach: u64) {
    let start = random.below(reach);
    let len = 1 + if random.below(4) == 0 { random.below(reach / 2) } else { random.below(9_000) };
    let blocks = start / BLOCK * BLOCK..(start / BLOCK + 1 + len / BLOCK) * BLOCK;
    let (from, to) = (start as usize, (start + len) as usize);
    let cut = |want: &Vec<u8>| (from.min(want.len()), to.min(want.len()));
    match random.below(12) {
        0..=3 => {
            let data = pattern(random.below(255) as u8, len as usize);
            assert_eq!(contents.write(start, &data, space).unwrap(), data.len());
            want.resize(want.len().max(to), 0);
            want[from..to].copy_from_slice(&data);
        }
        4 => {
            contents.set_size(start, space).unwrap();
            want.resize(from, 0);
        }
        5 | 6 => {
            contents.punch(start..start + len, space);
            let (from, to) = cut(want);
            want[from..to].fill(0);
        }
        7 => {
            contents.zero(start..start + len, space);
            let (from, to) = cut(want);
            want[from..to].fill(0);
        }
        8 => contents.allocate(start..start + len, space).unwrap(),
        9 if blocks.end < contents.size() => {
            contents.collapse(blocks.clone(), space).unwrap();
            want.drain(blocks.start as usize..blocks.end as usize);
        }
        10 if blocks.start < contents.size() && contents.size() < 2 * reach => {
            contents.insert(blocks.clone(), space).unwrap();
            let zeros = vec![0; (blocks.end - blocks.start) as usize];
            want.splice(blocks.start as usize..blocks.start as usize, zeros);
        }
        11 => {
            let target = start + len + random.below(reach);
            let copied = contents.copy_within(start, target, len, space).unwrap() as usize;
            assert_eq!(copied, cut(want).1 - cut(want).0);
            if copied > 0 {
                let taken = want[from..from + copied].to_vec();
                want.resize(want.len().max(target as usize + copied), 0);
                want[target as usize..target as usize + copied].copy_from_slice(&taken);
            }
        }
        _ => {}
    }
}

#[test]
fn any_history_gives_the_bytes_of_a_plain_vector() {
    for seed in 0..30 {
        let (mut random, space) = (Random::new(seed), space());
        let reach = [20_000, 150_000, 400_000][seed as usize % 3];
        let (mut contents, mut want) = (Contents::default(), Vec::new());
        for number in 0..60 {
            step(&mut random, &mut contents, &mut want, &space, reach);
            assert_eq!(contents.size(), want.len() as u64, "seed {seed} step {number}");
            assert!(read(&contents, 0..contents.size() + 1) == want, "seed {seed} step {number}");
            assert_eq!(space.used(), contents.held_blocks() * BLOCK, "seed {seed} step {number}");
            holes_are_empty(&contents, &want);
        }
        contents.clear(&space);
        assert_eq!(space.used(), 0, "seed {seed}");
    }
}

/// Data and holes take turns up to the end, and all that is in holes is zero.
fn holes_are_empty(contents: &Contents, want: &[u8]) {
    let mut at = 0;
    while at < contents.size() {
        let data = contents.next_data(at).unwrap_or(contents.size());
        assert!(want[at as usize..data as usize] == vec![0; (data - at) as usize], "bytes in a hole at {at}");
        at = contents.next_hole(data).unwrap_or(contents.size());
        assert!(at > data || data == contents.size(), "no progress at {data}");
    }
}

#[test]
fn a_copy_has_the_bytes_and_the_holes_of_its_source() {
    let (mut source, mut target, space) = (Contents::default(), Contents::default(), space());
    source.write(MIB, &[7; 100_000], &space).unwrap();
    source.set_size(3 * MIB, &space).unwrap();
    target.write(0, &[9; 10_000], &space).unwrap();
    assert_eq!(target.copy(&source, 0, 5_000, u64::MAX, &space).unwrap(), 3 * MIB);
    let mut want = vec![0; 3 * MIB as usize + 5_000];
    want[..5_000].fill(9);
    want[MIB as usize + 5_000..MIB as usize + 105_000].fill(7);
    assert!(read(&target, 0..4 * MIB) == want);
    assert!(target.held_blocks() <= source.held_blocks() + 4);
    assert_eq!(target.copy(&source, 3 * MIB, 0, 10, &space).unwrap(), 0);
}
