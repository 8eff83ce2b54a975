//! Files that outlive their names, and writes that outlive their descriptors: unlinked but open, synced, closed.

use std::{
    fs::File,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

use rustix::{
    fs::{Mode, OFlags, Timespec, Timestamps},
    io::Errno,
    process::Signal,
};

use super::{Case, case};
use crate::{
    child::{Child, Gate},
    dir::{Dir, must_fail, pattern, read_at, same_bytes, size, write_at},
    sys,
};

pub(super) const CASES: &[Case] = &[
    case!(an_unlinked_file_is_read_and_written_while_open),
    case!(an_unlinked_file_can_be_changed_through_its_descriptor, MODES),
    case!(an_unlinked_file_can_be_opened_again_through_proc),
    case!(an_unlinked_file_has_no_links),
    case!(an_unlinked_file_is_apart_from_a_new_one_of_its_name, MODES),
    case!(an_unlinked_file_gives_back_its_space_when_closed),
    case!(many_unlinked_files_live_beside_each_other),
    case!(a_file_outlives_its_directory),
    case!(a_write_through_a_duplicate_after_close_arrives),
    case!(a_child_writes_after_its_parent_closed),
    case!(the_bytes_of_a_killed_writer_are_there),
    case!(what_is_closed_is_there_for_the_next),
    case!(fsync_and_its_relatives_work),
    case!(syncing_what_was_opened_for_reading_works),
    case!(closing_twice_is_an_error_and_once_is_not),
];

/// An open file of 10 bytes without a name.
fn nameless(dir: &Dir) -> File {
    dir.file("file", "0123456789");
    let file = dir.open("file", OFlags::RDWR);
    dir.unlink("file");
    file
}

fn an_unlinked_file_is_read_and_written_while_open(dir: &Dir) {
    let file = nameless(dir);
    assert_eq!(read_at(&file, 0, 10), b"0123456789");
    let bytes = pattern(1, 300_000);
    write_at(&file, 5, &bytes);
    file.sync_all().expect("fsync of what has no name");
    same_bytes(&read_at(&file, 5, bytes.len()), &bytes);
    assert_eq!(size(&file), 300_005);
    assert!(dir.names().is_empty());
}

fn an_unlinked_file_can_be_changed_through_its_descriptor(dir: &Dir) {
    let file = nameless(dir);
    rustix::fs::ftruncate(&file, 4).expect("ftruncate");
    rustix::fs::fchmod(&file, Mode::from(0o600)).expect("fchmod");
    let time = Timespec { tv_sec: 1000, tv_nsec: 0 };
    rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })
        .expect("futimens");
    let stat = file.metadata().expect("fstat");
    assert_eq!((stat.len(), stat.mode() & 0o7777, stat.mtime()), (4, 0o600, 1000));
    assert_eq!(read_at(&file, 0, 4), b"0123");
}

fn an_unlinked_file_can_be_opened_again_through_proc(dir: &Dir) {
    let file = nameless(dir);
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let again = rustix::fs::open(&path, OFlags::RDWR, Mode::empty()).expect("to open it again").into();
    drop(file);
    write_at(&again, 0, b"again");
    assert_eq!(read_at(&again, 0, 10), b"again56789");
}

fn an_unlinked_file_has_no_links(dir: &Dir) {
    let file = nameless(dir);
    assert_eq!(file.metadata().expect("fstat").nlink(), 0);
    let directory = dir.sub("directory");
    let open = directory.open(".", OFlags::RDONLY | OFlags::DIRECTORY);
    dir.rmdir("directory");
    assert_eq!(open.metadata().expect("fstat").nlink(), 0);
}

fn an_unlinked_file_is_apart_from_a_new_one_of_its_name(dir: &Dir) {
    let old = nameless(dir);
    dir.file("file", "new");
    write_at(&old, 0, b"OLD");
    assert_eq!(dir.bytes("file"), b"new");
    assert_eq!(read_at(&old, 0, 4), b"OLD3");
    assert_ne!(old.metadata().expect("fstat").ino(), dir.stat("file").ino());
    dir.chmod("file", 0o600);
    assert_eq!(old.metadata().expect("fstat").mode() & 0o7777, 0o644);
}

fn an_unlinked_file_gives_back_its_space_when_closed(dir: &Dir) {
    const BYTES: u64 = 24 << 20;
    let free = || {
        let stat = rustix::fs::statvfs(dir.path(".")).expect("statvfs");
        stat.f_bfree * stat.f_frsize
    };
    // Others may use the file system, too; one quiet moment of a few is enough.
    let quiet = (0..5).any(|_| {
        let file = dir.create("file");
        for part in 0..BYTES >> 20 {
            write_at(&file, part << 20, &[b'x'; 1 << 20]);
        }
        file.sync_all().expect("fsync");
        dir.unlink("file");
        let held = free();
        drop(file);
        (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            free() > held + BYTES / 2
        })
    });
    assert!(quiet, "the space of an unlinked file did not come back");
}

fn many_unlinked_files_live_beside_each_other(dir: &Dir) {
    let files: Vec<File> = (0..100_u32)
        .map(|number| {
            let file = dir.create("same name");
            write_at(&file, 0, &number.to_le_bytes());
            dir.unlink("same name");
            file
        })
        .collect();
    for (number, file) in files.iter().enumerate().rev() {
        assert_eq!(read_at(file, 0, 4), (number as u32).to_le_bytes());
    }
}

fn a_file_outlives_its_directory(dir: &Dir) {
    let below = dir.sub("below");
    below.file("file", "bytes");
    let file = below.open("file", OFlags::RDWR);
    below.unlink("file");
    dir.rmdir("below");
    write_at(&file, 5, b" more");
    assert_eq!(read_at(&file, 0, 10), b"bytes more");
}

fn a_write_through_a_duplicate_after_close_arrives(dir: &Dir) {
    let file = dir.create("file");
    let duplicate = file.try_clone().expect("a duplicate");
    write_at(&file, 0, b"before ");
    drop(file);
    write_at(&duplicate, 7, b"after");
    assert_eq!(dir.bytes("file"), b"before after");
    drop(duplicate);
    assert_eq!(dir.bytes("file"), b"before after");
}

fn a_child_writes_after_its_parent_closed(dir: &Dir) {
    let file = dir.create("file");
    let closed = Gate::new();
    let child = Child::run(|| {
        closed.pass();
        write_at(&file, 0, b"from the child");
    });
    drop(file);
    closed.open();
    child.join();
    assert_eq!(dir.bytes("file"), b"from the child");
}

fn the_bytes_of_a_killed_writer_are_there(dir: &Dir) {
    let written = Gate::new();
    let bytes = pattern(2, 500_000);
    let child = Child::run(|| {
        write_at(&dir.create("file"), 0, &bytes);
        let _kept_open = dir.open("file", OFlags::RDWR);
        written.open();
        std::thread::sleep(std::time::Duration::from_secs(60));
    });
    written.pass();
    child.signal(Signal::KILL);
    child.end();
    same_bytes(&dir.bytes("file"), &bytes);
}

fn what_is_closed_is_there_for_the_next(dir: &Dir) {
    let file = dir.create("file");
    for round in 0..100_u32 {
        let writer = dir.open("file", OFlags::WRONLY);
        write_at(&writer, u64::from(round) * 4, &round.to_le_bytes());
        drop(writer);
        let bytes = dir.bytes("file");
        assert_eq!(bytes.len(), round as usize * 4 + 4);
        assert_eq!(bytes[round as usize * 4..], round.to_le_bytes());
    }
    assert_eq!(size(&file), 400);
}

fn fsync_and_its_relatives_work(dir: &Dir) {
    let file = dir.create("file");
    let bytes = pattern(3, 200_000);
    write_at(&file, 0, &bytes);
    sys::sync_file_range(&file, 0, 100_000).expect("sync_file_range");
    rustix::fs::fdatasync(&file).expect("fdatasync");
    write_at(&file, 200_000, b"more");
    rustix::fs::fsync(&file).expect("fsync");
    rustix::fs::syncfs(&file).expect("syncfs");
    assert_eq!(read_at(&file, 199_999, 5), [&bytes[199_999..], b"more"].concat());
}

fn syncing_what_was_opened_for_reading_works(dir: &Dir) {
    dir.file("file", "bytes");
    let file = dir.open("file", OFlags::RDONLY);
    rustix::fs::fsync(&file).expect("fsync");
    rustix::fs::fdatasync(&file).expect("fdatasync");
    let path = dir.open("file", OFlags::PATH);
    must_fail(rustix::fs::fsync(&path), Errno::BADF);
}

fn closing_twice_is_an_error_and_once_is_not(dir: &Dir) {
    let file = dir.create("file");
    write_at(&file, 0, b"bytes");
    assert_eq!(sys::close_twice(file), (Ok(()), Err(Errno::BADF)));
}
