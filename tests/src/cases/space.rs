//! Where a file has bytes and where it has none: holes, `fallocate(2)`, and copies that the kernel makes.

use std::{fs::File, io::Seek, os::unix::fs::MetadataExt};

use rustix::{
    fs::{FallocateFlags, OFlags, SeekFrom, copy_file_range, fallocate, seek, sendfile},
    io::{Errno, Result},
};

use super::{Case, case};
use crate::dir::{Dir, must_fail, pattern, read_at, same_bytes, size, write_at};

pub(super) const CASES: &[Case] = &[
    case!(data_and_holes_are_found, HOLES),
    case!(a_file_without_holes_has_one_at_its_end, HOLES),
    case!(an_empty_file_has_neither_data_nor_holes, HOLES),
    case!(a_hole_takes_no_blocks, HOLES),
    case!(fallocate_extends_with_zeroes, FALLOCATE),
    case!(fallocate_keeps_what_is_there, FALLOCATE),
    case!(keep_size_keeps_the_size, FALLOCATE),
    case!(fallocate_takes_blocks, FALLOCATE | HOLES),
    case!(fallocate_refuses_nonsense, FALLOCATE),
    case!(a_punched_hole_reads_as_zeroes, PUNCH_HOLE),
    case!(a_punched_hole_gives_back_blocks, PUNCH_HOLE | HOLES),
    case!(a_punched_hole_is_seen_by_who_has_the_bytes_cached, PUNCH_HOLE | MMAP),
    case!(a_hole_past_the_end_changes_nothing, PUNCH_HOLE),
    case!(a_zeroed_range_reads_as_zeroes, ZERO_RANGE),
    case!(a_zeroed_range_may_extend_the_file, ZERO_RANGE),
    case!(a_collapsed_range_is_gone, COLLAPSE_RANGE),
    case!(an_inserted_range_makes_room, COLLAPSE_RANGE),
    case!(copy_file_range_copies_between_files, COPY_RANGE),
    case!(copy_file_range_moves_the_offsets_it_was_not_given, COPY_RANGE),
    case!(copy_file_range_stops_at_the_end, COPY_RANGE),
    case!(copy_file_range_copies_within_a_file, COPY_RANGE),
    case!(copy_file_range_refuses_overlap, COPY_RANGE),
    case!(copy_file_range_sees_what_was_just_written, COPY_RANGE | MMAP),
    case!(sendfile_copies_in_and_out),
    case!(a_splice_brings_bytes_through_a_pipe),
];

const MIB: u64 = 1 << 20;

/// A file of 4 MiB with bytes in its second and fourth MiB.
fn sparse(dir: &Dir) -> File {
    let file = dir.create("file");
    rustix::fs::ftruncate(&file, 4 * MIB).expect("to grow");
    write_at(&file, MIB, &pattern(1, MIB as usize));
    write_at(&file, 3 * MIB, &pattern(2, MIB as usize));
    file
}

fn data_and_holes_are_found(dir: &Dir) {
    let file = sparse(dir);
    assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(MIB));
    assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(0));
    assert_eq!(seek(&file, SeekFrom::Hole(MIB)), Ok(2 * MIB));
    assert_eq!(seek(&file, SeekFrom::Data(MIB + 5)), Ok(MIB + 5));
    assert_eq!(seek(&file, SeekFrom::Data(2 * MIB)), Ok(3 * MIB));
    assert_eq!(rustix::fs::tell(&file), Ok(3 * MIB));
    assert_eq!(seek(&file, SeekFrom::Hole(3 * MIB)), Ok(4 * MIB));
    must_fail(seek(&file, SeekFrom::Data(4 * MIB)), Errno::NXIO);
    must_fail(seek(&file, SeekFrom::Hole(4 * MIB)), Errno::NXIO);
}

fn a_file_without_holes_has_one_at_its_end(dir: &Dir) {
    dir.file("file", pattern(1, 10_000));
    let file = dir.open("file", OFlags::RDONLY);
    assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(10_000));
    assert_eq!(seek(&file, SeekFrom::Data(9999)), Ok(9999));
}

fn an_empty_file_has_neither_data_nor_holes(dir: &Dir) {
    let file = dir.create("file");
    must_fail(seek(&file, SeekFrom::Data(0)), Errno::NXIO);
    must_fail(seek(&file, SeekFrom::Hole(0)), Errno::NXIO);
}

fn a_hole_takes_no_blocks(dir: &Dir) {
    let file = dir.create("file");
    rustix::fs::ftruncate(&file, 100 * MIB).expect("to grow");
    write_at(&file, 50 * MIB, b"middle");
    file.sync_all().expect("fsync");
    let stat = dir.stat("file");
    assert_eq!(stat.len(), 100 * MIB);
    assert!((1..=256).contains(&stat.blocks()), "{} blocks for one page of bytes", stat.blocks());
}

fn fallocate_extends_with_zeroes(dir: &Dir) {
    dir.file("file", "bytes");
    let file = dir.open("file", OFlags::RDWR);
    fallocate(&file, FallocateFlags::empty(), 0, 100_000).expect("fallocate");
    assert_eq!(dir.stat("file").len(), 100_000);
    same_bytes(&dir.bytes("file"), &[b"bytes".to_vec(), vec![0; 99_995]].concat());
}

fn fallocate_keeps_what_is_there(dir: &Dir) {
    let bytes = pattern(1, 100_000);
    dir.file("file", &bytes);
    let file = dir.open("file", OFlags::RDWR);
    fallocate(&file, FallocateFlags::empty(), 10_000, 50_000).expect("fallocate");
    same_bytes(&dir.bytes("file"), &bytes);
}

fn keep_size_keeps_the_size(dir: &Dir) {
    dir.file("file", "bytes");
    let file = dir.open("file", OFlags::RDWR);
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 100_000).expect("fallocate");
    assert_eq!((size(&file), dir.stat("file").len()), (5, 5));
    assert_eq!(dir.bytes("file"), b"bytes");
}

fn fallocate_takes_blocks(dir: &Dir) {
    let file = dir.create("file");
    fallocate(&file, FallocateFlags::empty(), 0, MIB).expect("fallocate");
    assert!(dir.stat("file").blocks() >= 2048);
}

fn fallocate_refuses_nonsense(dir: &Dir) {
    dir.file("file", "bytes");
    let file = dir.open("file", OFlags::RDWR);
    must_fail(fallocate(&file, FallocateFlags::empty(), 0, 0), Errno::INVAL);
    must_fail(fallocate(&file, FallocateFlags::PUNCH_HOLE, 0, 4096), Errno::OPNOTSUPP);
    must_fail(fallocate(dir.open("file", OFlags::RDONLY), FallocateFlags::empty(), 0, 10), Errno::BADF);
    assert_eq!(dir.bytes("file"), b"bytes");
}

fn punch(file: &File, offset: u64, length: u64) -> Result<()> {
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length)
}

fn a_punched_hole_reads_as_zeroes(dir: &Dir) {
    let mut bytes = pattern(1, 200_000);
    dir.file("file", &bytes);
    let file = dir.open("file", OFlags::RDWR);
    for (offset, length) in [(0, 10), (5000, 1), (10_000, 100_000), (199_000, 1000)] {
        punch(&file, offset, length).expect("to punch a hole");
        bytes[offset as usize..(offset + length) as usize].fill(0);
        same_bytes(&dir.bytes("file"), &bytes);
    }
}

fn a_punched_hole_gives_back_blocks(dir: &Dir) {
    let file = sparse(dir);
    file.sync_all().expect("fsync");
    let before = dir.stat("file").blocks();
    punch(&file, MIB, MIB).expect("to punch a hole");
    assert_eq!(dir.stat("file").blocks(), before - MIB / 512);
    assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(3 * MIB));
    punch(&file, 0, 4 * MIB).expect("to punch all");
    must_fail(seek(&file, SeekFrom::Data(0)), Errno::NXIO);
}

fn a_punched_hole_is_seen_by_who_has_the_bytes_cached(dir: &Dir) {
    dir.file("file", [b'x'; 16_384]);
    let (file, other) = (dir.open("file", OFlags::RDWR), dir.open("file", OFlags::RDONLY));
    let mapping = crate::sys::Mapping::shared(&other, 0, 16_384, false).expect("a mapping");
    assert_eq!(read_at(&other, 4096, 2), b"xx");
    assert_eq!(mapping.read(8000, 2), b"xx");
    punch(&file, 4096, 8192).expect("to punch a hole");
    assert_eq!(read_at(&other, 4094, 4), b"xx\0\0");
    assert_eq!(mapping.read(8000, 2), b"\0\0");
    assert_eq!(mapping.read(12_288, 2), b"xx");
}

fn a_hole_past_the_end_changes_nothing(dir: &Dir) {
    dir.file("file", "bytes");
    let file = dir.open("file", OFlags::RDWR);
    punch(&file, 1000, 1000).expect("a hole past the end");
    assert_eq!(dir.bytes("file"), b"bytes");
    punch(&file, 3, 1000).expect("a hole across the end");
    assert_eq!(dir.bytes("file"), b"byt\0\0");
}

fn a_zeroed_range_reads_as_zeroes(dir: &Dir) {
    let mut bytes = pattern(1, 200_000);
    dir.file("file", &bytes);
    let file = dir.open("file", OFlags::RDWR);
    let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
    for (offset, length) in [(7, 10), (10_000, 100_000), (199_000, 5000)] {
        fallocate(&file, flags, offset, length).expect("to zero a range");
        bytes[offset as usize..].iter_mut().take(length as usize).for_each(|byte| *byte = 0);
        same_bytes(&dir.bytes("file"), &bytes);
    }
}

fn a_zeroed_range_may_extend_the_file(dir: &Dir) {
    dir.file("file", "bytes");
    let file = dir.open("file", OFlags::RDWR);
    fallocate(&file, FallocateFlags::ZERO_RANGE, 3, 10_000).expect("to zero a range");
    assert_eq!(dir.stat("file").len(), 10_003);
    same_bytes(&dir.bytes("file"), &[b"byt".to_vec(), vec![0; 10_000]].concat());
}

/// The size of the blocks that ranges are collapsed and inserted in.
fn block(dir: &Dir) -> u64 {
    dir.stat(".").blksize().max(4096)
}

fn a_collapsed_range_is_gone(dir: &Dir) {
    let block = block(dir);
    let bytes = pattern(1, 8 * block as usize);
    dir.file("file", &bytes);
    let file = dir.open("file", OFlags::RDWR);
    fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 2 * block, 3 * block).expect("to collapse a range");
    same_bytes(&dir.bytes("file"), &[&bytes[..2 * block as usize], &bytes[5 * block as usize..]].concat());
}

fn an_inserted_range_makes_room(dir: &Dir) {
    let block = block(dir);
    let bytes = pattern(1, 4 * block as usize);
    dir.file("file", &bytes);
    let file = dir.open("file", OFlags::RDWR);
    fallocate(&file, FallocateFlags::INSERT_RANGE, block, 2 * block).expect("to insert a range");
    let (before, behind) = bytes.split_at(block as usize);
    same_bytes(&dir.bytes("file"), &[before, &vec![0; 2 * block as usize], behind].concat());
}

/// Copies until it is done or the source ends; answers how much that was.
#[track_caller]
fn copy(from: &File, mut at: u64, to: &File, mut into: u64, length: usize) -> usize {
    let mut done = 0;
    while done < length {
        match copy_file_range(from, Some(&mut at), to, Some(&mut into), length - done)
            .expect("copy_file_range")
        {
            0 => break,
            count => done += count,
        }
    }
    done
}

fn copy_file_range_copies_between_files(dir: &Dir) {
    let bytes = pattern(1, 3_000_000);
    dir.file("from", &bytes);
    dir.file("to", "head");
    let (from, to) = (dir.open("from", OFlags::RDONLY), dir.open("to", OFlags::RDWR));
    assert_eq!(copy(&from, 1000, &to, 4, 2_000_000), 2_000_000);
    assert_eq!(dir.stat("to").len(), 2_000_004);
    same_bytes(&dir.bytes("to"), &[b"head", &bytes[1000..2_001_000]].concat());
    assert_eq!(rustix::fs::tell(&from), Ok(0));
}

fn copy_file_range_moves_the_offsets_it_was_not_given(dir: &Dir) {
    dir.file("from", "0123456789");
    let (mut from, mut to) = (dir.open("from", OFlags::RDONLY), dir.create("to"));
    assert_eq!(copy_file_range(&from, None, &to, None, 4), Ok(4));
    assert_eq!(copy_file_range(&from, None, &to, None, 3), Ok(3));
    assert_eq!((from.stream_position().ok(), to.stream_position().ok()), (Some(7), Some(7)));
    assert_eq!(dir.bytes("to"), b"0123456");
}

fn copy_file_range_stops_at_the_end(dir: &Dir) {
    dir.file("from", "0123456789");
    let (from, to) = (dir.open("from", OFlags::RDONLY), dir.create("to"));
    assert_eq!(copy(&from, 4, &to, 0, 1000), 6);
    assert_eq!(copy(&from, 10, &to, 6, 1000), 0);
    assert_eq!(copy(&from, 1000, &to, 6, 1000), 0);
    assert_eq!(dir.bytes("to"), b"456789");
}

fn copy_file_range_copies_within_a_file(dir: &Dir) {
    let bytes = pattern(1, 50_000);
    dir.file("file", &bytes);
    let file = dir.open("file", OFlags::RDWR);
    assert_eq!(copy(&file, 0, &file, 50_000, 50_000), 50_000);
    same_bytes(&dir.bytes("file"), &[&bytes[..], &bytes].concat());
}

fn copy_file_range_refuses_overlap(dir: &Dir) {
    dir.file("file", pattern(1, 50_000));
    let file = dir.open("file", OFlags::RDWR);
    let copied = copy_file_range(&file, Some(&mut 0), &file, Some(&mut 10_000), 20_000);
    must_fail(copied, Errno::INVAL);
    let appending = dir.open("file", OFlags::WRONLY | OFlags::APPEND);
    must_fail(copy_file_range(&file, Some(&mut 0), &appending, None, 10), Errno::BADF);
    same_bytes(&dir.bytes("file"), &pattern(1, 50_000));
}

fn copy_file_range_sees_what_was_just_written(dir: &Dir) {
    // Neither bytes on their way to the source nor old ones of the target in a cache may show.
    dir.file("from", [b'o'; 20_000]);
    dir.file("to", [b'o'; 20_000]);
    let (from, to) = (dir.open("from", OFlags::RDWR), dir.open("to", OFlags::RDWR));
    let mapping = crate::sys::Mapping::shared(&from, 0, 20_000, true).expect("a mapping");
    assert_eq!(read_at(&to, 0, 20_000), [b'o'; 20_000]);
    write_at(&from, 0, b"written");
    mapping.write(10_000, b"stored");
    assert_eq!(copy(&from, 0, &to, 0, 20_000), 20_000);
    assert_eq!(read_at(&to, 0, 7), b"written");
    assert_eq!(read_at(&to, 10_000, 6), b"stored");
}

fn sendfile_copies_in_and_out(dir: &Dir) {
    let bytes = pattern(1, 1_000_000);
    dir.file("from", &bytes);
    let (from, to) = (dir.open("from", OFlags::RDONLY), dir.create("to"));
    let mut at = 1000;
    while at < 1_000_000 {
        let count = sendfile(&to, &from, Some(&mut at), 1_000_000).expect("sendfile");
        assert!(count > 0, "sendfile stopped at {at}");
    }
    same_bytes(&dir.bytes("to"), &bytes[1000..]);
}

fn a_splice_brings_bytes_through_a_pipe(dir: &Dir) {
    use rustix::pipe::{SpliceFlags, splice};
    let bytes = pattern(1, 50_000);
    dir.file("from", &bytes);
    let (from, to) = (dir.open("from", OFlags::RDONLY), dir.create("to"));
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    let (mut at, mut into) = (0, 0);
    while at < 50_000 {
        let mut left =
            splice(&from, Some(&mut at), &writer, None, 30_000, SpliceFlags::empty()).expect("splice in");
        assert!(left > 0, "splice stopped at {at}");
        while left > 0 {
            left -=
                splice(&reader, None, &to, Some(&mut into), left, SpliceFlags::empty()).expect("splice out");
        }
    }
    same_bytes(&dir.bytes("to"), &bytes);
}
