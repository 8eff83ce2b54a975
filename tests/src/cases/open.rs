//! Opening: what each flag promises.

use std::{
    io::{Read, Write},
    os::unix::fs::MetadataExt,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{Case, case};
use crate::dir::{Dir, must_fail, read_at, size, write_at};

pub(super) const CASES: &[Case] = &[
    case!(o_creat_makes_an_empty_file_with_the_mode_less_the_umask, MODES),
    case!(o_creat_leaves_an_existing_file_as_it_is, MODES),
    case!(o_excl_fails_if_the_name_exists),
    case!(o_excl_fails_on_a_dangling_link, SYMLINKS),
    case!(o_creat_follows_a_dangling_link, SYMLINKS),
    case!(o_trunc_empties_the_file),
    case!(o_trunc_is_seen_by_who_has_it_open),
    case!(o_append_writes_at_the_end_wherever_the_offset_is),
    case!(two_who_append_lose_nothing),
    case!(o_nofollow_refuses_a_link, SYMLINKS),
    case!(o_directory_refuses_a_file),
    case!(a_directory_cannot_be_opened_for_writing),
    case!(a_directory_cannot_be_read_as_a_file),
    case!(o_path_opens_without_reading),
    case!(o_path_and_nofollow_open_the_link_itself, SYMLINKS),
    case!(a_descriptor_for_reading_does_not_write),
    case!(a_descriptor_for_writing_does_not_read),
    case!(a_new_file_with_mode_0_can_be_written_through_its_first_descriptor, MODES),
    case!(a_missing_file_is_not_found),
    case!(o_sync_and_o_dsync_write),
    case!(o_noatime_reads),
    case!(o_noatime_leaves_the_time_of_access_alone, ATIME),
    case!(each_open_has_its_own_offset),
    case!(a_duplicate_shares_its_offset),
    case!(flags_can_change_while_open),
    case!(openat2_stays_beneath_its_directory, SYMLINKS),
    case!(a_file_can_be_opened_again_through_proc),
    case!(an_executable_can_be_run),
    case!(a_file_open_for_writing_cannot_be_run),
    case!(a_thousand_files_are_open_at_once),
];

fn o_creat_makes_an_empty_file_with_the_mode_less_the_umask(dir: &Dir) {
    rustix::process::umask(Mode::from(0o027));
    rustix::fs::open(dir.path("new"), OFlags::CREATE | OFlags::WRONLY, Mode::from(0o666))
        .expect("a new file");
    rustix::fs::mkdir(dir.path("newdir"), Mode::from(0o777)).expect("a new directory");
    assert_eq!(dir.mode("new"), 0o640);
    assert_eq!(dir.mode("newdir"), 0o750);
    let stat = dir.stat("new");
    assert_eq!((stat.len(), stat.nlink()), (0, 1));
    assert!(stat.is_file());
}

fn o_creat_leaves_an_existing_file_as_it_is(dir: &Dir) {
    dir.file("file", "bytes");
    dir.chmod("file", 0o600);
    let file = rustix::fs::open(dir.path("file"), OFlags::CREATE | OFlags::RDWR, Mode::from(0o666));
    assert_eq!(size(&file.expect("to open it").into()), 5);
    assert_eq!(dir.mode("file"), 0o600);
}

fn o_excl_fails_if_the_name_exists(dir: &Dir) {
    let exclusive = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    dir.open("file", exclusive);
    must_fail(dir.try_open("file", exclusive), Errno::EXIST);
    dir.sub("directory");
    must_fail(dir.try_open("directory", exclusive), Errno::EXIST);
}

fn o_excl_fails_on_a_dangling_link(dir: &Dir) {
    dir.symlink("nothing", "link");
    must_fail(dir.try_open("link", OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY), Errno::EXIST);
    assert!(!dir.has("nothing"));
}

fn o_creat_follows_a_dangling_link(dir: &Dir) {
    dir.symlink("target", "link");
    dir.create("link").write_all(b"through").expect("to write");
    assert_eq!(dir.bytes("target"), b"through");
}

fn o_trunc_empties_the_file(dir: &Dir) {
    dir.file("file", "some bytes");
    let file = dir.open("file", OFlags::RDWR | OFlags::TRUNC);
    assert_eq!(size(&file), 0);
    assert_eq!(dir.stat("file").len(), 0);
}

fn o_trunc_is_seen_by_who_has_it_open(dir: &Dir) {
    dir.file("file", "some bytes");
    let early = dir.open("file", OFlags::RDONLY);
    assert_eq!(read_at(&early, 0, 4), b"some");
    dir.open("file", OFlags::WRONLY | OFlags::TRUNC);
    assert_eq!(size(&early), 0);
    assert_eq!((&early).read(&mut [0; 10]).expect("to read"), 0);
}

fn o_append_writes_at_the_end_wherever_the_offset_is(dir: &Dir) {
    dir.file("log", "first ");
    let mut log = dir.open("log", OFlags::RDWR | OFlags::APPEND);
    rustix::fs::seek(&log, rustix::fs::SeekFrom::Start(0)).expect("to seek");
    log.write_all(b"second").expect("to append");
    assert_eq!(rustix::fs::tell(&log).expect("an offset"), 12);
    // Linux appends even where POSIX says that pwrite goes to its offset.
    write_at(&log, 0, b" third");
    assert_eq!(dir.bytes("log"), b"first second third");
}

fn two_who_append_lose_nothing(dir: &Dir) {
    let one = dir.open("log", OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND);
    let two = dir.open("log", OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND);
    std::thread::scope(|scope| {
        for (mut log, line) in [(&one, b"one one\n"), (&two, b"two two\n")] {
            scope.spawn(move || {
                for _ in 0..500 {
                    assert_eq!(log.write(line).expect("to append"), line.len());
                }
            });
        }
    });
    let log = String::from_utf8(dir.bytes("log")).expect("text");
    assert_eq!(log.lines().filter(|line| *line == "one one").count(), 500);
    assert_eq!(log.lines().filter(|line| *line == "two two").count(), 500);
    assert_eq!(log.len(), 8000);
}

fn o_nofollow_refuses_a_link(dir: &Dir) {
    dir.file("file", "");
    dir.symlink("file", "link");
    must_fail(dir.try_open("link", OFlags::RDONLY | OFlags::NOFOLLOW), Errno::LOOP);
    dir.open("file", OFlags::RDONLY | OFlags::NOFOLLOW);
}

fn o_directory_refuses_a_file(dir: &Dir) {
    dir.file("file", "");
    must_fail(dir.try_open("file", OFlags::RDONLY | OFlags::DIRECTORY), Errno::NOTDIR);
    dir.sub("directory");
    dir.open("directory", OFlags::RDONLY | OFlags::DIRECTORY);
}

fn a_directory_cannot_be_opened_for_writing(dir: &Dir) {
    dir.sub("directory");
    must_fail(dir.try_open("directory", OFlags::WRONLY), Errno::ISDIR);
    must_fail(dir.try_open("directory", OFlags::RDWR | OFlags::CREATE), Errno::ISDIR);
}

fn a_directory_cannot_be_read_as_a_file(dir: &Dir) {
    dir.sub("directory");
    let directory = dir.open("directory", OFlags::RDONLY);
    must_fail(rustix::io::read(&directory, &mut [0; 10]), Errno::ISDIR);
}

fn o_path_opens_without_reading(dir: &Dir) {
    dir.file("file", "bytes");
    let path = dir.open("file", OFlags::PATH);
    must_fail(rustix::io::read(&path, &mut [0; 10]), Errno::BADF);
    assert_eq!(size(&path), 5);
    let again = rustix::fs::open(format!("/proc/self/fd/{}", raw(&path)), OFlags::RDONLY, Mode::empty());
    assert_eq!(read_at(&again.expect("to open it through O_PATH").into(), 0, 5), b"bytes");
}

fn raw(file: &std::fs::File) -> i32 {
    use std::os::fd::AsRawFd;
    file.as_raw_fd()
}

fn o_path_and_nofollow_open_the_link_itself(dir: &Dir) {
    dir.symlink("target", "link");
    let link = dir.open("link", OFlags::PATH | OFlags::NOFOLLOW);
    assert!(link.metadata().expect("fstat").is_symlink());
    let target = rustix::fs::readlinkat(&link, "", Vec::new()).expect("readlink of a descriptor");
    assert_eq!(target.as_bytes(), b"target");
}

fn a_descriptor_for_reading_does_not_write(dir: &Dir) {
    dir.file("file", "bytes");
    let file = dir.open("file", OFlags::RDONLY);
    must_fail(rustix::io::write(&file, b"x"), Errno::BADF);
    must_fail(rustix::fs::ftruncate(&file, 0), Errno::INVAL);
}

fn a_descriptor_for_writing_does_not_read(dir: &Dir) {
    dir.file("file", "bytes");
    let file = dir.open("file", OFlags::WRONLY);
    must_fail(rustix::io::read(&file, &mut [0; 10]), Errno::BADF);
}

fn a_new_file_with_mode_0_can_be_written_through_its_first_descriptor(dir: &Dir) {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
    let file = rustix::fs::open(dir.path("file"), flags, Mode::empty()).expect("a new file").into();
    write_at(&file, 0, b"bytes");
    assert_eq!(read_at(&file, 0, 5), b"bytes");
    assert_eq!(dir.mode("file"), 0);
}

fn a_missing_file_is_not_found(dir: &Dir) {
    must_fail(dir.try_open("missing", OFlags::RDONLY), Errno::NOENT);
    must_fail(dir.try_open("missing/below", OFlags::RDONLY | OFlags::CREATE), Errno::NOENT);
    must_fail(rustix::fs::unlink(dir.path("missing")), Errno::NOENT);
    must_fail(rustix::fs::rmdir(dir.path("missing")), Errno::NOENT);
    must_fail(rustix::fs::chmod(dir.path("missing"), Mode::from(0o600)), Errno::NOENT);
}

fn o_sync_and_o_dsync_write(dir: &Dir) {
    for (name, flag) in [("sync", OFlags::SYNC), ("dsync", OFlags::DSYNC)] {
        let mut file = dir.open(name, OFlags::CREATE | OFlags::WRONLY | flag);
        file.write_all(b"bytes").expect("a synchronous write");
        assert_eq!(dir.bytes(name), b"bytes");
    }
}

fn o_noatime_reads(dir: &Dir) {
    dir.file("file", "bytes");
    assert_eq!(read_at(&dir.open("file", OFlags::RDONLY | OFlags::NOATIME), 0, 5), b"bytes");
}

fn o_noatime_leaves_the_time_of_access_alone(dir: &Dir) {
    dir.file("file", "bytes");
    let before = dir.stat("file");
    assert_eq!(read_at(&dir.open("file", OFlags::RDONLY | OFlags::NOATIME), 0, 5), b"bytes");
    let after = dir.stat("file");
    assert_eq!((before.atime(), before.atime_nsec()), (after.atime(), after.atime_nsec()));
}

fn each_open_has_its_own_offset(dir: &Dir) {
    dir.file("file", "0123456789");
    let (mut one, mut two) = (dir.open("file", OFlags::RDONLY), dir.open("file", OFlags::RDONLY));
    let mut bytes = [0; 4];
    one.read_exact(&mut bytes).expect("to read");
    two.read_exact(&mut bytes).expect("to read");
    assert_eq!(&bytes, b"0123");
}

fn a_duplicate_shares_its_offset(dir: &Dir) {
    dir.file("file", "0123456789");
    let mut one = dir.open("file", OFlags::RDONLY);
    let mut two = one.try_clone().expect("to duplicate");
    let mut bytes = [0; 4];
    one.read_exact(&mut bytes).expect("to read");
    drop(one);
    two.read_exact(&mut bytes).expect("to read after the first was closed");
    assert_eq!(&bytes, b"4567");
}

fn flags_can_change_while_open(dir: &Dir) {
    let mut file = dir.create("file");
    file.write_all(b"first").expect("to write");
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND).expect("F_SETFL");
    assert!(rustix::fs::fcntl_getfl(&file).expect("F_GETFL").contains(OFlags::APPEND));
    dir.open("file", OFlags::WRONLY | OFlags::APPEND).write_all(b" other").expect("to append");
    file.write_all(b" last").expect("to append");
    assert_eq!(dir.bytes("file"), b"first other last");
}

fn openat2_stays_beneath_its_directory(dir: &Dir) {
    use rustix::fs::ResolveFlags;
    let inside = dir.sub("inside");
    dir.file("outside", "");
    inside.file("file", "");
    inside.symlink("../outside", "link");
    let root = dir.open("inside", OFlags::PATH | OFlags::DIRECTORY);
    let open = |name: &str| {
        rustix::fs::openat2(&root, name, OFlags::RDONLY, Mode::empty(), ResolveFlags::BENEATH).map(drop)
    };
    open("file").expect("a file beneath");
    must_fail(open("link"), Errno::XDEV);
    must_fail(open("../outside"), Errno::XDEV);
}

fn a_file_can_be_opened_again_through_proc(dir: &Dir) {
    dir.file("file", "bytes");
    let first = dir.open("file", OFlags::RDONLY);
    let path = format!("/proc/self/fd/{}", raw(&first));
    let second = rustix::fs::open(path, OFlags::RDWR, Mode::empty()).expect("to open it again").into();
    write_at(&second, 0, b"BYTES");
    assert_eq!(read_at(&first, 0, 5), b"BYTES");
    let empty = rustix::fs::statat(&first, "", AtFlags::EMPTY_PATH).expect("fstatat with an empty path");
    assert_eq!(empty.st_ino, dir.stat("file").ino());
}

fn an_executable_can_be_run(dir: &Dir) {
    std::fs::copy("/bin/true", dir.path("program")).expect("to copy /bin/true");
    dir.chmod("program", 0o755);
    let end = std::process::Command::new(dir.path("program")).status().expect("to run it");
    assert!(end.success());
    dir.file("script", "#!/bin/sh\nexit 7\n");
    dir.chmod("script", 0o755);
    let end = std::process::Command::new(dir.path("script")).status().expect("to run a script");
    assert_eq!(end.code(), Some(7));
}

fn a_file_open_for_writing_cannot_be_run(dir: &Dir) {
    std::fs::copy("/bin/true", dir.path("program")).expect("to copy /bin/true");
    dir.chmod("program", 0o755);
    let _writer = dir.open("program", OFlags::WRONLY);
    let error = std::process::Command::new(dir.path("program")).status().expect_err("it is open for writing");
    assert_eq!(error.raw_os_error(), Some(Errno::TXTBSY.raw_os_error()));
}

fn a_thousand_files_are_open_at_once(dir: &Dir) {
    let files: Vec<_> = (0..1000).map(|number| dir.create(format!("f{number}"))).collect();
    for (number, file) in files.iter().enumerate() {
        write_at(file, 0, number.to_string().as_bytes());
    }
    for (number, file) in files.iter().enumerate() {
        assert_eq!(size(file), number.to_string().len() as u64);
    }
}
