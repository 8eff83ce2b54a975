//! Mappings: the same bytes as read and write see, and still the file's after its last descriptor went.

use rustix::{fs::OFlags, io::Errno, process::Signal};

use super::{Case, case};
use crate::{
    child::{Child, Gate},
    dir::{Dir, must_fail, pattern, read_at, same_bytes, write_at},
    sys::Mapping,
};

pub(super) const CASES: &[Case] = &[
    case!(a_mapping_shows_the_file),
    case!(a_private_mapping_keeps_its_stores),
    case!(a_mapping_at_an_offset_shows_that_part),
    case!(a_write_shows_in_a_mapping, MMAP),
    case!(a_store_is_read, MMAP),
    case!(a_store_outlasts_the_mapping, MMAP),
    case!(two_mappings_are_one_memory, MMAP),
    case!(two_processes_share_a_mapping, MMAP),
    case!(stores_after_the_last_close_arrive, MMAP),
    case!(stores_to_an_unlinked_file_are_read, MMAP),
    case!(stores_without_msync_are_seen_by_fsync_and_reopening, MMAP),
    case!(stores_across_a_large_file_arrive, MMAP),
    case!(stores_into_a_hole_fill_it, MMAP | HOLES),
    case!(bytes_behind_the_end_of_the_last_page_are_zero),
    case!(a_store_behind_the_end_does_not_grow_the_file, MMAP),
    case!(a_page_behind_the_end_raises_sigbus),
    case!(a_file_open_for_reading_is_mapped_for_reading_only),
    case!(a_file_open_for_writing_only_is_not_mapped),
    case!(a_mapping_of_a_renamed_file_is_still_its, MMAP),
    case!(a_mapping_of_a_replaced_file_keeps_the_old_one),
    case!(direct_writes_show_in_a_mapping, MMAP | DIRECT),
    case!(direct_reads_see_stores, MMAP | DIRECT),
    case!(a_file_is_written_from_its_own_mapping, MMAP),
];

const PAGE: usize = 4096;

#[track_caller]
fn map(dir: &Dir, length: usize) -> Mapping {
    Mapping::shared(dir.open("file", OFlags::RDWR), 0, length, true).expect("a shared mapping")
}

fn a_mapping_shows_the_file(dir: &Dir) {
    let bytes = pattern(1, 1_000_000);
    dir.file("file", &bytes);
    let mapping = Mapping::shared(dir.open("file", OFlags::RDONLY), 0, bytes.len(), false);
    // A private mapping is what programs are loaded with, so it must work even without shared ones.
    let private =
        Mapping::private(dir.open("file", OFlags::RDONLY), 0, bytes.len()).expect("a private mapping");
    same_bytes(&mapping.expect("a shared mapping").read(0, bytes.len()), &bytes);
    same_bytes(&private.read(0, bytes.len()), &bytes);
}

fn a_private_mapping_keeps_its_stores(dir: &Dir) {
    dir.file("file", [b'x'; 2 * PAGE]);
    let mapping = Mapping::private(dir.open("file", OFlags::RDONLY), 0, 2 * PAGE).expect("a private mapping");
    mapping.write(PAGE, b"mine");
    assert_eq!(mapping.read(PAGE, 5), b"minex");
    assert_eq!(dir.bytes("file"), [b'x'; 2 * PAGE]);
}

fn a_mapping_at_an_offset_shows_that_part(dir: &Dir) {
    let bytes = pattern(2, 20 * PAGE);
    dir.file("file", &bytes);
    let file = dir.open("file", OFlags::RDONLY);
    let mapping = Mapping::shared(&file, 13 * PAGE as u64, 3 * PAGE, false).expect("a shared mapping");
    same_bytes(&mapping.read(0, 3 * PAGE), &bytes[13 * PAGE..16 * PAGE]);
    must_fail(Mapping::shared(&file, 1, PAGE, false), Errno::INVAL);
}

fn a_write_shows_in_a_mapping(dir: &Dir) {
    dir.file("file", [b'x'; 4 * PAGE]);
    let mapping = map(dir, 4 * PAGE);
    let file = dir.open("file", OFlags::WRONLY);
    for round in 0..50 {
        let bytes = pattern(round, 5000);
        write_at(&file, round * 100, &bytes);
        same_bytes(&mapping.read(round as usize * 100, 5000), &bytes);
    }
}

fn a_store_is_read(dir: &Dir) {
    dir.file("file", [b'x'; 4 * PAGE]);
    let mapping = map(dir, 4 * PAGE);
    let file = dir.open("file", OFlags::RDONLY);
    for round in 0..50 {
        let bytes = pattern(round, 5000);
        mapping.write(round as usize * 100, &bytes);
        same_bytes(&read_at(&file, round * 100, 5000), &bytes);
    }
}

fn a_store_outlasts_the_mapping(dir: &Dir) {
    dir.file("file", [b'x'; 4 * PAGE]);
    let mapping = map(dir, 4 * PAGE);
    mapping.write(PAGE - 2, b"stored");
    mapping.sync().expect("msync");
    drop(mapping);
    assert_eq!(&dir.bytes("file")[PAGE - 3..PAGE + 5], b"xstoredx");
}

fn two_mappings_are_one_memory(dir: &Dir) {
    dir.file("file", [b'x'; 4 * PAGE]);
    let (one, two) = (map(dir, 4 * PAGE), map(dir, 2 * PAGE));
    one.write(100, b"from one");
    assert_eq!(two.read(100, 8), b"from one");
    two.write(PAGE, b"from two");
    assert_eq!(one.read(PAGE, 8), b"from two");
}

fn two_processes_share_a_mapping(dir: &Dir) {
    dir.file("file", [b'x'; PAGE]);
    let (asked, answered) = (Gate::new(), Gate::new());
    let other = Child::run(|| {
        let mapping = map(dir, PAGE);
        asked.pass();
        assert_eq!(mapping.read(0, 8), b"question");
        mapping.write(100, b"answer");
        answered.open();
    });
    let mapping = map(dir, PAGE);
    mapping.write(0, b"question");
    asked.open();
    answered.pass();
    assert_eq!(mapping.read(100, 6), b"answer");
    other.join();
}

fn stores_after_the_last_close_arrive(dir: &Dir) {
    dir.file("file", [b'x'; 4 * PAGE]);
    // `map` closes its descriptor: to the file system the file looks closed.
    let mapping = map(dir, 4 * PAGE);
    mapping.write(0, b"early");
    std::thread::sleep(std::time::Duration::from_millis(20));
    mapping.write(3 * PAGE, b"late");
    drop(mapping);
    let bytes = dir.bytes("file");
    assert_eq!(&bytes[..6], b"earlyx");
    assert_eq!(&bytes[3 * PAGE..3 * PAGE + 5], b"latex");
}

fn stores_to_an_unlinked_file_are_read(dir: &Dir) {
    dir.file("file", [b'x'; 2 * PAGE]);
    let file = dir.open("file", OFlags::RDWR);
    let mapping = map(dir, 2 * PAGE);
    dir.unlink("file");
    mapping.write(PAGE, b"stored");
    mapping.sync().expect("msync of what has no name");
    assert_eq!(read_at(&file, PAGE as u64, 6), b"stored");
    drop(file);
    mapping.write(0, b"after the last close");
    mapping.sync().expect("msync of what nobody can reach");
    assert_eq!(mapping.read(0, 20), b"after the last close");
}

fn stores_without_msync_are_seen_by_fsync_and_reopening(dir: &Dir) {
    dir.file("file", [b'x'; 2 * PAGE]);
    let mapping = map(dir, 2 * PAGE);
    mapping.write(10, b"stored");
    let file = dir.open("file", OFlags::RDWR);
    file.sync_all().expect("fsync");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("fadvise");
    drop((mapping, file));
    assert_eq!(&dir.bytes("file")[9..17], b"xstoredx");
}

fn stores_across_a_large_file_arrive(dir: &Dir) {
    const LENGTH: usize = 8 << 20;
    rustix::fs::ftruncate(dir.create("file"), LENGTH as u64).expect("to grow");
    let mapping = map(dir, LENGTH);
    let bytes = pattern(3, LENGTH);
    for (number, part) in bytes.chunks(100_003).enumerate() {
        mapping.write(number * 100_003, part);
    }
    drop(mapping);
    same_bytes(&dir.bytes("file"), &bytes);
}

fn stores_into_a_hole_fill_it(dir: &Dir) {
    rustix::fs::ftruncate(dir.create("file"), 1 << 30).expect("to grow");
    let mapping = map(dir, 1 << 30);
    assert_eq!(mapping.read(1 << 29, 4), [0; 4]);
    mapping.write(1 << 29, b"stored");
    mapping.sync().expect("msync");
    let file = dir.open("file", OFlags::RDONLY);
    assert_eq!(read_at(&file, (1 << 29) - 1, 8), b"\0stored\0");
    let found = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).expect("SEEK_DATA");
    assert!(found <= 1 << 29 && found > (1 << 29) - (1 << 21), "data was found at {found}");
}

fn bytes_behind_the_end_of_the_last_page_are_zero(dir: &Dir) {
    dir.file("file", [b'x'; 100]);
    let mapping = Mapping::shared(dir.open("file", OFlags::RDONLY), 0, PAGE, false).expect("a mapping");
    assert_eq!(mapping.read(98, 4), b"xx\0\0");
    assert_eq!(mapping.read(100, PAGE - 100), vec![0; PAGE - 100]);
}

fn a_store_behind_the_end_does_not_grow_the_file(dir: &Dir) {
    dir.file("file", [b'x'; 100]);
    let mapping = map(dir, PAGE);
    mapping.write(90, &[b'y'; 100]);
    mapping.sync().expect("msync");
    drop(mapping);
    assert_eq!(dir.bytes("file"), [[b'x'; 90].as_slice(), &[b'y'; 10]].concat());
}

fn a_page_behind_the_end_raises_sigbus(dir: &Dir) {
    dir.file("file", [b'x'; 100]);
    let mapping = Mapping::shared(dir.open("file", OFlags::RDONLY), 0, 2 * PAGE, false).expect("a mapping");
    let end = Child::run(|| drop(mapping.read(PAGE, 1))).end();
    assert_eq!(end.terminating_signal(), Some(Signal::BUS.as_raw()));
}

fn a_file_open_for_reading_is_mapped_for_reading_only(dir: &Dir) {
    dir.file("file", [b'x'; 100]);
    let file = dir.open("file", OFlags::RDONLY);
    must_fail(Mapping::shared(&file, 0, PAGE, true), Errno::ACCESS);
    let mapping = Mapping::shared(&file, 0, PAGE, false).expect("a mapping");
    must_fail(mapping.make_writable(), Errno::ACCESS);
}

fn a_file_open_for_writing_only_is_not_mapped(dir: &Dir) {
    dir.file("file", [b'x'; 100]);
    must_fail(Mapping::shared(dir.open("file", OFlags::WRONLY), 0, PAGE, false), Errno::ACCESS);
}

fn a_mapping_of_a_renamed_file_is_still_its(dir: &Dir) {
    dir.file("file", [b'x'; PAGE]);
    let mapping = map(dir, PAGE);
    dir.rename("file", "renamed");
    mapping.write(0, b"stored");
    mapping.sync().expect("msync");
    drop(mapping);
    assert_eq!(&dir.bytes("renamed")[..7], b"storedx");
}

fn a_mapping_of_a_replaced_file_keeps_the_old_one(dir: &Dir) {
    // How a running program keeps its library while a new version is installed.
    let old = pattern(4, 20 * PAGE);
    dir.file("file", &old);
    let mapping = Mapping::private(dir.open("file", OFlags::RDONLY), 0, 20 * PAGE).expect("a mapping");
    assert_eq!(mapping.read(0, 1), &old[..1]);
    dir.file("new", pattern(5, 20 * PAGE));
    dir.rename("new", "file");
    same_bytes(&mapping.read(0, 20 * PAGE), &old);
    same_bytes(&dir.bytes("file"), &pattern(5, 20 * PAGE));
}

fn direct_writes_show_in_a_mapping(dir: &Dir) {
    dir.file("file", [b'x'; 4 * PAGE]);
    let mapping = map(dir, 4 * PAGE);
    assert_eq!(mapping.read(PAGE, 1), b"x");
    let memory = Mapping::anonymous(PAGE).expect("memory");
    memory.write(0, &[b'y'; PAGE]);
    let file = dir.open("file", OFlags::RDWR | OFlags::DIRECT);
    assert_eq!(memory.store_to(&file, 0, PAGE, PAGE as u64), Ok(PAGE));
    assert_eq!(mapping.read(PAGE - 1, 2), b"xy");
}

fn direct_reads_see_stores(dir: &Dir) {
    dir.file("file", [b'x'; 4 * PAGE]);
    let mapping = map(dir, 4 * PAGE);
    mapping.write(PAGE, b"stored");
    let memory = Mapping::anonymous(PAGE).expect("memory");
    let file = dir.open("file", OFlags::RDONLY | OFlags::DIRECT);
    assert_eq!(memory.fill_from(&file, 0, PAGE, PAGE as u64), Ok(PAGE));
    assert_eq!(memory.read(0, 7), b"storedx");
}

fn a_file_is_written_from_its_own_mapping(dir: &Dir) {
    // The write faults in pages of the file that it holds; a careless file system deadlocks.
    let bytes = pattern(6, 16 * PAGE);
    dir.file("file", &bytes);
    let file = dir.open("file", OFlags::RDWR);
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("fadvise");
    let mapping = map(dir, 16 * PAGE);
    assert_eq!(mapping.store_to(&file, 8 * PAGE, 8 * PAGE, 0), Ok(8 * PAGE));
    same_bytes(&dir.bytes("file"), &[&bytes[8 * PAGE..], &bytes[8 * PAGE..]].concat());
    let short = map(dir, 16 * PAGE);
    assert_eq!(short.fill_from(&file, PAGE, 2 * PAGE, 5 * PAGE as u64), Ok(2 * PAGE));
    same_bytes(&read_at(&file, PAGE as u64, 2 * PAGE), &bytes[13 * PAGE..15 * PAGE]);
}
