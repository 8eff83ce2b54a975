//! Changing a file's size: what goes is gone, what comes is zero.

use std::os::unix::fs::MetadataExt;

use rustix::{fs::OFlags, io::Errno, process::Signal};

use super::{Case, case};
use crate::{
    child::Child,
    dir::{Dir, must_fail, pattern, read_at, same_bytes, size, write_at},
    sys::Mapping,
};

pub(super) const CASES: &[Case] = &[
    case!(what_was_cut_off_comes_back_as_zeroes),
    case!(growing_adds_zeroes),
    case!(cutting_inside_a_page_clears_its_rest),
    case!(truncation_by_path_reaches_open_descriptors),
    case!(the_offset_stays_when_the_file_is_cut),
    case!(truncation_by_path_follows_a_link, SYMLINKS),
    case!(a_directory_cannot_be_truncated),
    case!(a_missing_file_cannot_be_truncated),
    case!(truncation_moves_mtime_and_ctime, TIMES_FINE),
    case!(a_cut_file_gives_back_its_blocks, HOLES),
    case!(a_mapping_of_what_was_cut_off_raises_sigbus, MMAP),
    case!(a_mapping_sees_zeroes_where_the_file_was_cut_and_grew, MMAP),
    case!(a_mapping_reaches_what_a_file_grew_by, MMAP),
];

fn what_was_cut_off_comes_back_as_zeroes(dir: &Dir) {
    for cut in [0, 1, 100, 4096, 5000, 65_536, 99_999] {
        let bytes = pattern(cut as u64, 100_000);
        dir.file("file", &bytes);
        let file = dir.open("file", OFlags::RDWR);
        rustix::fs::ftruncate(&file, cut as u64).expect("to cut");
        assert_eq!(size(&file), cut as u64);
        rustix::fs::ftruncate(&file, 100_000).expect("to grow");
        let want = [&bytes[..cut], &vec![0; 100_000 - cut]].concat();
        same_bytes(&read_at(&file, 0, 100_000), &want);
        same_bytes(&dir.bytes("file"), &want);
    }
}

fn growing_adds_zeroes(dir: &Dir) {
    let file = dir.create("file");
    rustix::fs::ftruncate(&file, 1_000_000).expect("to grow");
    assert_eq!(dir.stat("file").len(), 1_000_000);
    assert!(dir.bytes("file").iter().all(|byte| *byte == 0));
}

fn cutting_inside_a_page_clears_its_rest(dir: &Dir) {
    let file = dir.create("file");
    write_at(&file, 0, &[b'x'; 8192]);
    rustix::fs::ftruncate(&file, 100).expect("to cut");
    // Grown by a write, not by a truncation.
    write_at(&file, 6000, b"end");
    let bytes = dir.bytes("file");
    assert!(bytes[..100].iter().all(|byte| *byte == b'x'));
    assert!(bytes[100..6000].iter().all(|byte| *byte == 0), "what was cut off is back");
}

fn truncation_by_path_reaches_open_descriptors(dir: &Dir) {
    dir.file("file", pattern(1, 10_000));
    let file = dir.open("file", OFlags::RDONLY);
    assert_eq!(read_at(&file, 9000, 1000).len(), 1000);
    truncate(dir, "file", 10).expect("to cut by path");
    assert_eq!(size(&file), 10);
    assert_eq!(rustix::io::pread(&file, &mut [0; 10], 9000), Ok(0));
}

/// `truncate(2)`, which `rustix` and `std` do not have.
fn truncate(dir: &Dir, name: &str, length: u64) -> rustix::io::Result<()> {
    crate::sys::truncate(&dir.path(name), length)
}

fn the_offset_stays_when_the_file_is_cut(dir: &Dir) {
    use std::io::Write;
    let mut file = dir.create("file");
    file.write_all(&[b'x'; 5000]).expect("to write");
    rustix::fs::ftruncate(&file, 0).expect("to cut");
    file.write_all(b"late").expect("to write on");
    let bytes = dir.bytes("file");
    assert_eq!(bytes.len(), 5004);
    assert!(bytes[..5000].iter().all(|byte| *byte == 0));
}

fn truncation_by_path_follows_a_link(dir: &Dir) {
    dir.file("file", "0123456789");
    dir.symlink("file", "link");
    truncate(dir, "link", 3).expect("to cut through a link");
    assert_eq!(dir.bytes("file"), b"012");
}

fn a_directory_cannot_be_truncated(dir: &Dir) {
    dir.sub("directory");
    must_fail(truncate(dir, "directory", 0), Errno::ISDIR);
}

fn a_missing_file_cannot_be_truncated(dir: &Dir) {
    must_fail(truncate(dir, "missing", 0), Errno::NOENT);
}

fn truncation_moves_mtime_and_ctime(dir: &Dir) {
    for length in [5, 0, 100] {
        dir.file("file", "0123456789");
        let before = dir.stat("file");
        std::thread::sleep(std::time::Duration::from_millis(20));
        truncate(dir, "file", length).expect("to change the size");
        let after = dir.stat("file");
        let times =
            |stat: &std::fs::Metadata| ((stat.mtime(), stat.mtime_nsec()), (stat.ctime(), stat.ctime_nsec()));
        let ((old_mtime, old_ctime), (new_mtime, new_ctime)) = (times(&before), times(&after));
        assert!(new_mtime > old_mtime, "mtime stayed at length {length}");
        assert!(new_ctime > old_ctime, "ctime stayed at length {length}");
    }
}

fn a_cut_file_gives_back_its_blocks(dir: &Dir) {
    let file = dir.create("file");
    write_at(&file, 0, &pattern(2, 1 << 20));
    file.sync_all().expect("fsync");
    assert!(dir.stat("file").blocks() >= 2048);
    rustix::fs::ftruncate(&file, 0).expect("to cut");
    assert_eq!(dir.stat("file").blocks(), 0);
}

fn a_mapping_of_what_was_cut_off_raises_sigbus(dir: &Dir) {
    dir.file("file", [b'x'; 8192]);
    let file = dir.open("file", OFlags::RDWR);
    let mapping = Mapping::shared(&file, 0, 8192, true).expect("a mapping");
    assert_eq!(mapping.read(8000, 1), b"x");
    rustix::fs::ftruncate(&file, 100).expect("to cut");
    assert_eq!(mapping.read(0, 2), b"xx");
    assert_eq!(mapping.read(100, 2), b"\0\0");
    let end = Child::run(|| drop(mapping.read(4096, 1))).end();
    assert_eq!(end.terminating_signal(), Some(Signal::BUS.as_raw()));
}

fn a_mapping_sees_zeroes_where_the_file_was_cut_and_grew(dir: &Dir) {
    dir.file("file", [b'x'; 8192]);
    let file = dir.open("file", OFlags::RDWR);
    let mapping = Mapping::shared(&file, 0, 8192, true).expect("a mapping");
    assert_eq!(mapping.read(4000, 200), [b'x'; 200]);
    rustix::fs::ftruncate(&file, 10).expect("to cut");
    rustix::fs::ftruncate(&file, 8192).expect("to grow");
    assert_eq!(mapping.read(8, 4), b"xx\0\0");
    assert_eq!(mapping.read(4000, 200), [0; 200]);
}

fn a_mapping_reaches_what_a_file_grew_by(dir: &Dir) {
    let file = dir.create("file");
    write_at(&file, 0, b"start");
    let mapping = Mapping::shared(&file, 0, 1 << 16, true).expect("a mapping longer than the file");
    rustix::fs::ftruncate(&file, 1 << 16).expect("to grow");
    mapping.write(60_000, b"end");
    assert_eq!(read_at(&file, 60_000, 3), b"end");
    write_at(&file, 50_000, b"middle");
    assert_eq!(mapping.read(50_000, 6), b"middle");
}
