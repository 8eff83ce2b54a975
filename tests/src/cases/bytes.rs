//! Reading and writing: every byte where it was put, and zeroes where none was.

use std::{
    fs::File,
    io::{IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
};

use rustix::{
    fs::{Advice, OFlags},
    io::Errno,
    process::{Resource, Rlimit, Signal},
};

use super::{Case, case};
use crate::{
    dir::{Dir, must_fail, pattern, read_at, same_bytes, size, write_at},
    sys::{self, Mapping},
};

pub(super) const CASES: &[Case] = &[
    case!(what_is_written_is_read),
    case!(writes_and_reads_move_the_offset),
    case!(pread_and_pwrite_leave_the_offset_alone),
    case!(a_read_at_or_past_the_end_gives_nothing),
    case!(a_read_across_the_end_is_short),
    case!(a_write_past_the_end_leaves_zeroes_between),
    case!(a_write_at_2_to_the_40_works, HOLES),
    case!(a_write_is_seen_at_once_through_another_descriptor),
    case!(size_is_seen_at_once_by_path),
    case!(single_bytes_add_up),
    case!(eight_mebibytes_go_in_one_call),
    case!(a_large_file_is_read_back_in_small_pieces),
    case!(blocks_written_backwards_are_read_forwards),
    case!(random_writes_reads_and_truncations_match_a_model),
    case!(vectors_are_written_and_read_in_order),
    case!(an_empty_write_changes_nothing),
    case!(seeking_finds_start_place_and_end),
    case!(seeking_before_the_start_fails),
    case!(what_was_dropped_from_the_cache_is_read_again),
    case!(a_write_over_the_file_size_limit_fails),
    case!(a_bad_buffer_fails_and_harms_nothing),
    case!(direct_writes_are_read_directly, DIRECT),
    case!(direct_and_buffered_see_each_other, DIRECT),
    case!(a_direct_read_at_the_end_is_short, DIRECT),
    case!(a_direct_write_extends_the_file, DIRECT),
    case!(large_direct_reads_and_writes_are_whole, DIRECT),
];

fn what_is_written_is_read(dir: &Dir) {
    for length in [0, 1, 511, 512, 4095, 4096, 4097, 65_536, 131_072, 131_073, 1_000_003] {
        let bytes = pattern(length as u64, length);
        dir.file("file", &bytes);
        same_bytes(&dir.bytes("file"), &bytes);
        assert_eq!(dir.stat("file").len(), length as u64);
    }
}

fn writes_and_reads_move_the_offset(dir: &Dir) {
    let mut file = dir.create("file");
    file.write_all(b"one").expect("to write");
    file.write_all(b"two").expect("to write");
    assert_eq!(file.stream_position().expect("an offset"), 6);
    file.rewind().expect("to rewind");
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes).expect("to read");
    assert_eq!(&bytes, b"onet");
    file.write_all(b"W").expect("to write where the read ended");
    assert_eq!(dir.bytes("file"), b"onetWo");
}

fn pread_and_pwrite_leave_the_offset_alone(dir: &Dir) {
    dir.file("file", "0123456789");
    let mut file = dir.open("file", OFlags::RDWR);
    file.seek(SeekFrom::Start(3)).expect("to seek");
    write_at(&file, 7, b"xyz");
    assert_eq!(read_at(&file, 6, 4), b"6xyz");
    assert_eq!(file.stream_position().expect("an offset"), 3);
}

fn a_read_at_or_past_the_end_gives_nothing(dir: &Dir) {
    dir.file("file", "bytes");
    let file = dir.open("file", OFlags::RDONLY);
    for offset in [5, 6, 4096, 1 << 40] {
        assert_eq!(file.read_at(&mut [0; 100], offset).expect("to read"), 0, "at {offset}");
    }
}

fn a_read_across_the_end_is_short(dir: &Dir) {
    dir.file("file", pattern(1, 5000));
    let file = dir.open("file", OFlags::RDONLY);
    assert_eq!(file.read_at(&mut [0; 8192], 0).expect("to read"), 5000);
    assert_eq!(file.read_at(&mut [0; 8192], 4999).expect("to read"), 1);
}

fn a_write_past_the_end_leaves_zeroes_between(dir: &Dir) {
    let file = dir.create("file");
    write_at(&file, 0, b"start");
    write_at(&file, 100_000, b"end");
    assert_eq!(size(&file), 100_003);
    let bytes = dir.bytes("file");
    assert_eq!(&bytes[..5], b"start");
    assert!(bytes[5..100_000].iter().all(|byte| *byte == 0));
    assert_eq!(&bytes[100_000..], b"end");
}

fn a_write_at_2_to_the_40_works(dir: &Dir) {
    let file = dir.create("file");
    write_at(&file, 1 << 40, b"far");
    assert_eq!(dir.stat("file").len(), (1 << 40) + 3);
    assert_eq!(read_at(&file, (1 << 40) - 2, 5), b"\0\0far");
    assert_eq!(read_at(&file, 1 << 33, 4), [0; 4]);
}

fn a_write_is_seen_at_once_through_another_descriptor(dir: &Dir) {
    let writer = dir.create("file");
    let reader = dir.open("file", OFlags::RDONLY);
    for round in 0..100_u32 {
        write_at(&writer, u64::from(round % 7) * 1000, &round.to_le_bytes());
        assert_eq!(read_at(&reader, u64::from(round % 7) * 1000, 4), round.to_le_bytes());
    }
}

fn size_is_seen_at_once_by_path(dir: &Dir) {
    let writer = dir.create("file");
    for round in 1..50_u64 {
        write_at(&writer, round * 100, b"x");
        assert_eq!(dir.stat("file").len(), round * 100 + 1);
    }
}

fn single_bytes_add_up(dir: &Dir) {
    let bytes = pattern(2, 5000);
    let mut file = dir.create("file");
    for byte in &bytes {
        assert_eq!(file.write(&[*byte]).expect("to write a byte"), 1);
    }
    same_bytes(&dir.bytes("file"), &bytes);
}

fn eight_mebibytes_go_in_one_call(dir: &Dir) {
    let bytes = pattern(3, 8 << 20);
    let mut file = dir.create("file");
    assert_eq!(file.write(&bytes).expect("to write"), bytes.len());
    let mut back = vec![0; bytes.len()];
    assert_eq!(file.read_at(&mut back, 0).expect("to read"), bytes.len());
    same_bytes(&back, &bytes);
}

fn a_large_file_is_read_back_in_small_pieces(dir: &Dir) {
    let bytes = pattern(4, 4 << 20);
    dir.file("file", &bytes);
    forget_cached(&dir.open("file", OFlags::RDWR));
    let mut file = dir.open("file", OFlags::RDONLY);
    let mut back = Vec::new();
    let mut piece = [0; 3000];
    loop {
        match file.read(&mut piece).expect("to read") {
            0 => break,
            count => back.extend_from_slice(&piece[..count]),
        }
    }
    same_bytes(&back, &bytes);
}

fn blocks_written_backwards_are_read_forwards(dir: &Dir) {
    let bytes = pattern(5, 300_000);
    let file = dir.create("file");
    for (number, block) in bytes.chunks(7001).enumerate().collect::<Vec<_>>().into_iter().rev() {
        write_at(&file, number as u64 * 7001, block);
    }
    same_bytes(&dir.bytes("file"), &bytes);
}

fn random_writes_reads_and_truncations_match_a_model(dir: &Dir) {
    const LENGTH_MAX: usize = 300_000;
    let file = dir.create("file");
    let mut model: Vec<u8> = Vec::new();
    let choices = pattern(6, 600 * 8);
    for (step, choice) in choices.chunks_exact(8).enumerate() {
        let number = |at: usize| usize::from(u16::from_le_bytes([choice[at], choice[at + 1]]));
        let (offset, length) = (number(0) * LENGTH_MAX / 65_536, number(2) % 20_000);
        match number(4) % 8 {
            0 => {
                file.set_len(offset as u64).expect("to truncate");
                model.resize(offset, 0);
            }
            1..=4 => {
                let bytes = pattern(step as u64, length);
                write_at(&file, offset as u64, &bytes);
                if length > 0 {
                    model.resize(model.len().max(offset + length), 0);
                    model[offset..offset + length].copy_from_slice(&bytes);
                }
            }
            _ => {
                let mut bytes = vec![0; length];
                let count = file.read_at(&mut bytes, offset as u64).expect("to read");
                let rest = model.get(offset..).unwrap_or_default();
                same_bytes(&bytes[..count], &rest[..rest.len().min(length)]);
            }
        }
        assert_eq!(size(&file), model.len() as u64, "after step {step}");
    }
    same_bytes(&dir.bytes("file"), &model);
}

fn vectors_are_written_and_read_in_order(dir: &Dir) {
    let file = dir.create("file");
    let parts = [pattern(7, 10), pattern(8, 5000), Vec::new(), pattern(9, 70_000)];
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    assert_eq!(rustix::io::pwritev(&file, &slices, 3).expect("pwritev"), 75_010);
    let (mut one, mut two) = (vec![0; 5013], vec![0; 70_000]);
    let mut into = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!(rustix::io::preadv(&file, &mut into, 0).expect("preadv"), 75_013);
    same_bytes(&[one, two].concat(), &[vec![0; 3], parts.concat()].concat());
}

fn an_empty_write_changes_nothing(dir: &Dir) {
    dir.file("file", "bytes");
    let file = dir.open("file", OFlags::RDWR);
    assert_eq!(file.write_at(b"", 1000).expect("to write nothing"), 0);
    assert_eq!(size(&file), 5);
}

fn seeking_finds_start_place_and_end(dir: &Dir) {
    dir.file("file", "0123456789");
    let mut file = dir.open("file", OFlags::RDWR);
    assert_eq!(file.seek(SeekFrom::End(-3)).expect("SEEK_END"), 7);
    assert_eq!(file.seek(SeekFrom::Current(1)).expect("SEEK_CUR"), 8);
    assert_eq!(file.seek(SeekFrom::Start(2)).expect("SEEK_SET"), 2);
    assert_eq!(file.seek(SeekFrom::End(90)).expect("SEEK_END past the end"), 100);
    assert_eq!(size(&file), 10);
    // The end is where another descriptor has moved it to.
    write_at(&dir.open("file", OFlags::WRONLY), 10, b"more");
    assert_eq!(file.seek(SeekFrom::End(0)).expect("SEEK_END"), 14);
}

fn seeking_before_the_start_fails(dir: &Dir) {
    dir.file("file", "0123456789");
    let file = dir.open("file", OFlags::RDWR);
    must_fail(rustix::fs::seek(&file, rustix::fs::SeekFrom::End(-11)), Errno::INVAL);
    must_fail(rustix::fs::seek(&file, rustix::fs::SeekFrom::Current(-1)), Errno::INVAL);
}

/// Writes a file out and drops it from the page cache, as far as the kernel follows such advice.
fn forget_cached(file: &File) {
    file.sync_all().expect("fsync");
    rustix::fs::fadvise(file, 0, None, Advice::DontNeed).expect("fadvise");
}

fn what_was_dropped_from_the_cache_is_read_again(dir: &Dir) {
    let bytes = pattern(10, 1 << 20);
    let file = dir.create("file");
    write_at(&file, 0, &bytes);
    forget_cached(&file);
    same_bytes(&read_at(&file, 0, bytes.len()), &bytes);
    for advice in [Advice::Sequential, Advice::Random, Advice::WillNeed, Advice::NoReuse, Advice::Normal] {
        rustix::fs::fadvise(&file, 0, None, advice).expect("fadvise");
        same_bytes(&read_at(&file, 500_000, 100_000), &bytes[500_000..600_000]);
    }
}

fn a_write_over_the_file_size_limit_fails(dir: &Dir) {
    sys::let_interrupt(Signal::XFSZ).expect("a handler for SIGXFSZ");
    let limit = Rlimit { current: Some(10_000), maximum: None };
    rustix::process::setrlimit(Resource::Fsize, limit).expect("a limit");
    let file = dir.create("file");
    assert_eq!(file.write_at(&[1; 8000], 5000).expect("a write across the limit is cut"), 5000);
    must_fail(rustix::io::pwrite(&file, b"x", 10_000), Errno::FBIG);
    must_fail(rustix::fs::ftruncate(&file, 10_001), Errno::FBIG);
    assert_eq!(size(&file), 10_000);
}

fn a_bad_buffer_fails_and_harms_nothing(dir: &Dir) {
    dir.file("file", pattern(11, 10_000));
    dir.file("short", "");
    let file = dir.open("file", OFlags::RDWR);
    // Pages past the end of a shorter file cannot be touched, so neither can the kernel for us.
    let nothing = Mapping::shared(dir.open("short", OFlags::RDWR), 0, 8192, true);
    let nothing = nothing.expect("a mapping past the end");
    must_fail(nothing.store_to(&file, 0, 8192, 0), Errno::FAULT);
    must_fail(nothing.fill_from(&file, 0, 8192, 0), Errno::FAULT);
    same_bytes(&dir.bytes("file"), &pattern(11, 10_000));
}

fn direct(dir: &Dir, name: &str) -> File {
    dir.open(name, OFlags::RDWR | OFlags::CREATE | OFlags::DIRECT)
}

fn aligned(bytes: &[u8]) -> Mapping {
    let memory = Mapping::anonymous(bytes.len().next_multiple_of(4096)).expect("aligned memory");
    memory.write(0, bytes);
    memory
}

fn direct_writes_are_read_directly(dir: &Dir) {
    let bytes = pattern(12, 64 << 10);
    let file = direct(dir, "file");
    let memory = aligned(&bytes);
    assert_eq!(memory.store_to(&file, 0, 64 << 10, 0), Ok(64 << 10));
    let back = aligned(&[0; 64 << 10]);
    assert_eq!(back.fill_from(&file, 0, 4096, 8192), Ok(4096));
    same_bytes(&back.read(0, 4096), &bytes[8192..12_288]);
    assert_eq!(back.fill_from(&file, 0, 64 << 10, 0), Ok(64 << 10));
    same_bytes(&back.read(0, 64 << 10), &bytes);
}

fn direct_and_buffered_see_each_other(dir: &Dir) {
    let direct = direct(dir, "file");
    let buffered = dir.open("file", OFlags::RDWR);
    for round in 0..20_u64 {
        let bytes = pattern(round, 8192);
        write_at(&buffered, 0, &bytes);
        let memory = aligned(&[0; 8192]);
        assert_eq!(memory.fill_from(&direct, 0, 8192, 0), Ok(8192));
        same_bytes(&memory.read(0, 8192), &bytes);
        let bytes = pattern(round + 100, 4096);
        assert_eq!(aligned(&bytes).store_to(&direct, 0, 4096, 4096), Ok(4096));
        same_bytes(&read_at(&buffered, 4096, 4096), &bytes);
    }
}

fn a_direct_read_at_the_end_is_short(dir: &Dir) {
    dir.file("file", pattern(13, 5000));
    let file = direct(dir, "file");
    let memory = aligned(&[0; 16 << 10]);
    assert_eq!(memory.fill_from(&file, 0, 16 << 10, 0), Ok(5000));
    same_bytes(&memory.read(0, 5000), &pattern(13, 5000));
    assert_eq!(memory.fill_from(&file, 0, 4096, 8192), Ok(0));
}

fn a_direct_write_extends_the_file(dir: &Dir) {
    let file = direct(dir, "file");
    let bytes = pattern(14, 4096);
    assert_eq!(aligned(&bytes).store_to(&file, 0, 4096, 12_288), Ok(4096));
    assert_eq!(size(&file), 16_384);
    assert_eq!(dir.stat("file").len(), 16_384);
    same_bytes(&dir.bytes("file"), &[vec![0; 12_288], bytes].concat());
}

fn large_direct_reads_and_writes_are_whole(dir: &Dir) {
    // More than any single request of a mount can carry.
    let bytes = pattern(15, 5 << 20);
    let file = direct(dir, "file");
    assert_eq!(aligned(&bytes).store_to(&file, 0, 5 << 20, 0), Ok(5 << 20));
    let back = Mapping::anonymous(5 << 20).expect("memory");
    assert_eq!(back.fill_from(&file, 0, 5 << 20, 0), Ok(5 << 20));
    same_bytes(&back.read(0, 5 << 20), &bytes);
}
