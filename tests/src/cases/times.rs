//! Times: set to what was asked, kept to the nanosecond, and moved by what moves them.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{AtFlags, CWD, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT},
    io::Errno,
};

use super::{Case, case};
use crate::{
    dir::{Dir, must_fail, read_at, write_at},
    sys::Mapping,
};

pub(super) const CASES: &[Case] = &[
    case!(times_are_set_to_the_nanosecond, TIMES_EXACT),
    case!(times_before_1970_are_kept, TIMES_EXACT),
    case!(times_after_2038_are_kept, TIMES_EXACT),
    case!(now_is_now, TIMES_FINE),
    case!(an_omitted_time_stays, TIMES_FINE),
    case!(the_times_of_a_link_are_its_own, SYMLINKS | TIMES_EXACT),
    case!(the_times_of_a_directory_can_be_set, TIMES_EXACT),
    case!(nanoseconds_beyond_a_second_are_refused),
    case!(setting_times_moves_ctime, TIMES_FINE),
    case!(a_new_file_is_as_old_as_the_clock_says, TIMES_FINE),
    case!(a_write_moves_mtime_and_ctime, TIMES_FINE),
    case!(a_read_leaves_mtime_and_ctime_alone),
    case!(a_change_of_mode_moves_ctime_alone, MODES),
    case!(a_time_set_after_a_write_outlasts_close, TIMES_EXACT),
    case!(a_time_set_on_a_written_mapping_outlasts_it, MMAP | TIMES_EXACT),
    case!(a_store_through_a_mapping_moves_mtime, MMAP | TIMES_FINE),
    case!(the_first_read_after_a_write_moves_atime, ATIME),
    case!(a_second_read_leaves_atime_alone, ATIME),
    case!(a_read_moves_an_atime_of_yesterday, ATIME),
    case!(following_a_link_moves_its_atime, ATIME | SYMLINKS),
    case!(listing_moves_the_atime_of_a_directory, ATIME),
];

type Time = (i64, i64);

fn mtime(stat: &Metadata) -> Time {
    (stat.mtime(), stat.mtime_nsec())
}

fn ctime(stat: &Metadata) -> Time {
    (stat.ctime(), stat.ctime_nsec())
}

fn atime(stat: &Metadata) -> Time {
    (stat.atime(), stat.atime_nsec())
}

fn times(access: Time, modification: Time) -> Timestamps {
    let time = |(tv_sec, tv_nsec): Time| Timespec { tv_sec, tv_nsec };
    Timestamps { last_access: time(access), last_modification: time(modification) }
}

const OMIT: Time = (0, UTIME_OMIT);
const NOW: Time = (0, UTIME_NOW);

#[track_caller]
fn set(dir: &Dir, name: &str, access: Time, modification: Time) {
    rustix::fs::utimensat(CWD, dir.path(name), &times(access, modification), AtFlags::SYMLINK_NOFOLLOW)
        .expect("utimensat");
}

/// Longer than the kernel's clock for times of files takes to move on.
fn tick() {
    std::thread::sleep(Duration::from_millis(12));
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

fn times_are_set_to_the_nanosecond(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", (1_000_000_000, 123_456_789), (1_111_111_111, 999_999_999));
    let stat = dir.stat("file");
    assert_eq!(atime(&stat), (1_000_000_000, 123_456_789));
    assert_eq!(mtime(&stat), (1_111_111_111, 999_999_999));
    let file = dir.open("file", OFlags::RDONLY);
    rustix::fs::futimens(&file, &times((5, 1), (7, 2))).expect("futimens");
    let stat = dir.stat("file");
    assert_eq!((atime(&stat), mtime(&stat)), ((5, 1), (7, 2)));
}

fn times_before_1970_are_kept(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", (-1, 500_000_000), (-1_000_000_000, 1));
    let stat = dir.stat("file");
    assert_eq!((atime(&stat), mtime(&stat)), ((-1, 500_000_000), (-1_000_000_000, 1)));
}

fn times_after_2038_are_kept(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", (1 << 31, 0), (5_000_000_000, 7));
    let stat = dir.stat("file");
    assert_eq!((atime(&stat), mtime(&stat)), ((1 << 31, 0), (5_000_000_000, 7)));
}

fn now_is_now(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", (1, 0), (1, 0));
    let before = now();
    set(dir, "file", NOW, NOW);
    let stat = dir.stat("file");
    for (seconds, _) in [atime(&stat), mtime(&stat)] {
        assert!((before - 1..=now() + 1).contains(&seconds), "{seconds} is not now");
    }
}

fn an_omitted_time_stays(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", (1000, 0), (2000, 0));
    set(dir, "file", OMIT, (3000, 0));
    assert_eq!((atime(&dir.stat("file")).0, mtime(&dir.stat("file")).0), (1000, 3000));
    set(dir, "file", (4000, 0), OMIT);
    assert_eq!((atime(&dir.stat("file")).0, mtime(&dir.stat("file")).0), (4000, 3000));
    let changed = ctime(&dir.stat("file"));
    tick();
    set(dir, "file", OMIT, OMIT);
    assert_eq!(ctime(&dir.stat("file")), changed);
}

fn the_times_of_a_link_are_its_own(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", (1, 1), (2, 2));
    dir.symlink("file", "link");
    set(dir, "link", (3, 3), (4, 4));
    assert_eq!(mtime(&dir.stat("link")), (4, 4));
    assert_eq!(mtime(&dir.stat("file")), (2, 2));
    rustix::fs::utimensat(CWD, dir.path("link"), &times((5, 5), (6, 6)), AtFlags::empty())
        .expect("utimensat");
    assert_eq!(mtime(&dir.stat("file")), (6, 6));
}

fn the_times_of_a_directory_can_be_set(dir: &Dir) {
    dir.sub("directory");
    set(dir, "directory", (1, 1), (2, 2));
    assert_eq!(mtime(&dir.stat("directory")), (2, 2));
}

fn nanoseconds_beyond_a_second_are_refused(dir: &Dir) {
    dir.file("file", "");
    let wrong = times((1, 0), (1, 1_000_000_000));
    must_fail(rustix::fs::utimensat(CWD, dir.path("file"), &wrong, AtFlags::empty()), Errno::INVAL);
}

fn setting_times_moves_ctime(dir: &Dir) {
    dir.file("file", "");
    let before = ctime(&dir.stat("file"));
    tick();
    set(dir, "file", (1, 0), (1, 0));
    assert!(ctime(&dir.stat("file")) > before);
}

fn a_new_file_is_as_old_as_the_clock_says(dir: &Dir) {
    let before = now();
    dir.file("file", "");
    dir.sub("directory");
    for name in ["file", "directory"] {
        let stat = dir.stat(name);
        for (seconds, _) in [atime(&stat), mtime(&stat), ctime(&stat)] {
            assert!((before - 1..=now() + 1).contains(&seconds), "{name}: {seconds} is not now");
        }
    }
}

fn a_write_moves_mtime_and_ctime(dir: &Dir) {
    let file = dir.create("file");
    for round in 0..3 {
        let before = dir.stat("file");
        tick();
        // Also where the size stays.
        write_at(&file, 0, &[round]);
        let after = dir.stat("file");
        assert!(mtime(&after) > mtime(&before), "mtime stayed");
        assert!(ctime(&after) > ctime(&before), "ctime stayed");
        assert_eq!(mtime(&file.metadata().expect("fstat")), mtime(&after));
    }
}

fn a_read_leaves_mtime_and_ctime_alone(dir: &Dir) {
    dir.file("file", "bytes");
    let before = dir.stat("file");
    tick();
    assert_eq!(dir.bytes("file"), b"bytes");
    let after = dir.stat("file");
    assert_eq!((mtime(&before), ctime(&before)), (mtime(&after), ctime(&after)));
}

fn a_change_of_mode_moves_ctime_alone(dir: &Dir) {
    dir.file("file", "bytes");
    let before = dir.stat("file");
    tick();
    dir.chmod("file", 0o600);
    let after = dir.stat("file");
    assert!(ctime(&after) > ctime(&before));
    assert_eq!(mtime(&before), mtime(&after));
}

fn a_time_set_after_a_write_outlasts_close(dir: &Dir) {
    // What cp -p, tar and rsync rely on: no write that is still on its way may overwrite the time.
    let file = dir.create("file");
    write_at(&file, 0, &[b'x'; 100_000]);
    rustix::fs::futimens(&file, &times((1000, 1), (2000, 2))).expect("futimens");
    assert_eq!(mtime(&dir.stat("file")), (2000, 2));
    rustix::fs::fsync(&file).expect("fsync");
    drop(file);
    assert_eq!(mtime(&dir.stat("file")), (2000, 2));
    tick();
    assert_eq!(mtime(&dir.open("file", OFlags::RDONLY).metadata().expect("fstat")), (2000, 2));
}

fn a_time_set_on_a_written_mapping_outlasts_it(dir: &Dir) {
    let file = dir.create("file");
    write_at(&file, 0, &[b'x'; 8192]);
    let mapping = Mapping::shared(&file, 0, 8192, true).expect("a mapping");
    mapping.write(0, b"stored");
    mapping.sync().expect("msync");
    rustix::fs::futimens(&file, &times((1000, 1), (2000, 2))).expect("futimens");
    drop((mapping, file));
    assert_eq!(mtime(&dir.stat("file")), (2000, 2));
    assert_eq!(&dir.bytes("file")[..6], b"stored");
}

fn a_store_through_a_mapping_moves_mtime(dir: &Dir) {
    let file = dir.create("file");
    write_at(&file, 0, &[b'x'; 8192]);
    let before = mtime(&dir.stat("file"));
    let mapping = Mapping::shared(&file, 0, 8192, true).expect("a mapping");
    tick();
    mapping.write(5000, b"stored");
    mapping.sync().expect("msync");
    assert!(mtime(&dir.stat("file")) > before);
}

fn the_first_read_after_a_write_moves_atime(dir: &Dir) {
    dir.file("file", "bytes");
    let before = dir.stat("file");
    tick();
    assert_eq!(read_at(&dir.open("file", OFlags::RDONLY), 0, 5), b"bytes");
    assert!(atime(&dir.stat("file")) > atime(&before));
}

fn a_second_read_leaves_atime_alone(dir: &Dir) {
    dir.file("file", "bytes");
    tick();
    let file = dir.open("file", OFlags::RDONLY);
    read_at(&file, 0, 5);
    let first = atime(&dir.stat("file"));
    tick();
    read_at(&file, 0, 5);
    assert_eq!(atime(&dir.stat("file")), first, "relatime holds back a second update");
}

fn a_read_moves_an_atime_of_yesterday(dir: &Dir) {
    dir.file("file", "bytes");
    let yesterday = now() - 25 * 3600;
    set(dir, "file", (yesterday, 0), (yesterday - 100, 0));
    read_at(&dir.open("file", OFlags::RDONLY), 0, 5);
    assert!(atime(&dir.stat("file")).0 > yesterday);
}

fn following_a_link_moves_its_atime(dir: &Dir) {
    dir.file("file", "bytes");
    dir.symlink("file", "link");
    set(dir, "link", (1000, 0), (1000, 0));
    assert_eq!(dir.bytes("link"), b"bytes");
    assert!(atime(&dir.stat("link")).0 > 1000);
}

fn listing_moves_the_atime_of_a_directory(dir: &Dir) {
    let below = dir.sub("below");
    below.file("file", "");
    set(dir, "below", (1000, 0), (1000, 0));
    assert_eq!(below.names().len(), 1);
    assert!(atime(&dir.stat("below")).0 > 1000);
}
