//! What is not a plain file, a directory or a link; and what can be asked of a file system as a whole.

use std::{
    io::{Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::{
            fs::{FileTypeExt, MetadataExt},
            net::{UnixListener, UnixStream},
        },
    },
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, IFlags, Mode, OFlags, StatxFlags, makedev},
    io::{Errno, Result},
};

use super::{Case, case};
use crate::{
    child::Child,
    dir::{Dir, must_fail, read_at, size, write_at},
    sys::Handle,
};

pub(super) const CASES: &[Case] = &[
    case!(a_fifo_carries_bytes_between_processes, SPECIAL),
    case!(a_fifo_without_a_reader_refuses_a_hasty_writer, SPECIAL),
    case!(a_socket_carries_bytes, SPECIAL),
    case!(special_files_are_renamed_linked_and_removed, SPECIAL | LINKS),
    case!(mknod_makes_plain_files, MODES),
    case!(a_device_is_the_device, DEVICES),
    case!(device_numbers_are_kept, DEVICES),
    case!(a_temporary_file_has_no_name, TMPFILE),
    case!(a_temporary_file_can_be_given_a_name, TMPFILE | LINKS),
    case!(an_exclusive_temporary_file_stays_nameless, TMPFILE | LINKS),
    case!(a_temporary_file_needs_a_directory_and_writing, TMPFILE),
    case!(statfs_adds_up),
    case!(statfs_is_one_for_all_files),
    case!(a_birth_does_not_move, STATX_BTIME),
    case!(statx_agrees_with_stat),
    case!(inodes_tell_files_apart),
    case!(a_handle_finds_a_renamed_file, HANDLES),
    case!(a_handle_of_a_removed_file_is_stale, HANDLES),
    case!(an_append_only_file_only_grows, INODE_FLAGS),
    case!(an_immutable_file_does_not_change, INODE_FLAGS),
];

#[track_caller]
fn mknod(dir: &Dir, name: &str, kind: FileType, device: u64) -> Result<()> {
    rustix::fs::mknodat(CWD, dir.path(name), kind, Mode::from(0o666), device)
}

fn a_fifo_carries_bytes_between_processes(dir: &Dir) {
    mknod(dir, "fifo", FileType::Fifo, 0).expect("mkfifo");
    assert!(dir.stat("fifo").file_type().is_fifo());
    let writer = Child::run(|| dir.open("fifo", OFlags::WRONLY).write_all(b"through").expect("to write"));
    let mut bytes = Vec::new();
    dir.open("fifo", OFlags::RDONLY).read_to_end(&mut bytes).expect("to read");
    writer.join();
    assert_eq!(bytes, b"through");
}

fn a_fifo_without_a_reader_refuses_a_hasty_writer(dir: &Dir) {
    mknod(dir, "fifo", FileType::Fifo, 0).expect("mkfifo");
    must_fail(dir.try_open("fifo", OFlags::WRONLY | OFlags::NONBLOCK), Errno::NXIO);
}

fn a_socket_carries_bytes(dir: &Dir) {
    // The path of a socket is at most 108 bytes; from inside it is short.
    rustix::process::chdir(dir.path(".")).expect("chdir");
    let listener = UnixListener::bind("socket").expect("to bind");
    assert!(dir.stat("socket").file_type().is_socket());
    let client = Child::run(|| {
        UnixStream::connect("socket").expect("to connect").write_all(b"through").expect("to write");
    });
    let mut bytes = Vec::new();
    listener.accept().expect("a client").0.read_to_end(&mut bytes).expect("to read");
    client.join();
    assert_eq!(bytes, b"through");
    must_fail(dir.try_open("socket", OFlags::RDWR), Errno::NXIO);
    assert!(UnixListener::bind("socket").is_err(), "the name is taken");
    rustix::process::chdir("/").expect("chdir");
}

fn special_files_are_renamed_linked_and_removed(dir: &Dir) {
    mknod(dir, "fifo", FileType::Fifo, 0).expect("mkfifo");
    mknod(dir, "socket", FileType::Socket, 0).expect("a socket that nobody listens to");
    dir.chmod("fifo", 0o600);
    dir.rename("fifo", "renamed");
    dir.link("renamed", "linked");
    assert!(dir.stat("linked").file_type().is_fifo());
    assert_eq!((dir.mode("linked"), dir.stat("linked").nlink()), (0o600, 2));
    dir.rename("socket", "linked");
    assert!(dir.stat("linked").file_type().is_socket());
}

fn mknod_makes_plain_files(dir: &Dir) {
    mknod(dir, "file", FileType::RegularFile, 0).expect("mknod of a plain file");
    assert!(dir.stat("file").is_file());
    assert_eq!(dir.mode("file"), 0o644);
    must_fail(mknod(dir, "file", FileType::RegularFile, 0), Errno::EXIST);
}

fn a_device_is_the_device(dir: &Dir) {
    mknod(dir, "zero", FileType::CharacterDevice, makedev(1, 5)).expect("mknod");
    mknod(dir, "null", FileType::CharacterDevice, makedev(1, 3)).expect("mknod");
    assert!(dir.stat("zero").file_type().is_char_device());
    let mut bytes = [1; 10];
    dir.open("zero", OFlags::RDONLY).read_exact(&mut bytes).expect("to read zeroes");
    assert_eq!(bytes, [0; 10]);
    dir.open("null", OFlags::WRONLY).write_all(b"gone").expect("to write to nothing");
    assert_eq!(dir.stat("null").len(), 0);
}

fn device_numbers_are_kept(dir: &Dir) {
    for (number, (major, minor)) in
        [(0, 0), (1, 3), (250, 255), (259, 70_000), (4095, 1_048_575)].iter().enumerate()
    {
        let (character, block) = (format!("c{number}"), format!("b{number}"));
        mknod(dir, &character, FileType::CharacterDevice, makedev(*major, *minor)).expect("mknod");
        mknod(dir, &block, FileType::BlockDevice, makedev(*major, *minor)).expect("mknod");
        assert_eq!(dir.stat(&character).rdev(), makedev(*major, *minor));
        assert_eq!(dir.stat(&block).rdev(), makedev(*major, *minor));
        assert!(dir.stat(&block).file_type().is_block_device());
    }
}

fn temporary(dir: &Dir, flags: OFlags) -> Result<std::fs::File> {
    let flags = flags | OFlags::TMPFILE | OFlags::CLOEXEC;
    rustix::fs::open(dir.path("."), flags, Mode::from(0o640)).map(std::fs::File::from)
}

fn a_temporary_file_has_no_name(dir: &Dir) {
    let file = temporary(dir, OFlags::RDWR).expect("O_TMPFILE");
    assert!(dir.names().is_empty());
    write_at(&file, 0, b"bytes");
    assert_eq!(read_at(&file, 0, 5), b"bytes");
    let stat = file.metadata().expect("fstat");
    assert_eq!((stat.nlink(), stat.len(), stat.mode() & 0o7777), (0, 5, 0o640));
    rustix::fs::ftruncate(&file, 100_000).expect("to grow");
    rustix::fs::fchmod(&file, Mode::from(0o600)).expect("fchmod");
    assert_eq!(file.metadata().expect("fstat").mode() & 0o7777, 0o600);
}

/// Gives a nameless file a name, the way that needs no privilege.
fn give_name(file: impl AsFd, dir: &Dir, name: &str) -> Result<()> {
    let through = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    rustix::fs::linkat(CWD, through, CWD, dir.path(name), AtFlags::SYMLINK_FOLLOW)
}

fn a_temporary_file_can_be_given_a_name(dir: &Dir) {
    let file = temporary(dir, OFlags::RDWR).expect("O_TMPFILE");
    write_at(&file, 0, b"bytes");
    give_name(&file, dir, "named").expect("linkat");
    assert_eq!(dir.bytes("named"), b"bytes");
    assert_eq!((dir.stat("named").nlink(), dir.mode("named")), (1, 0o640));
    write_at(&file, 5, b" more");
    assert_eq!(dir.bytes("named"), b"bytes more");
    must_fail(give_name(temporary(dir, OFlags::WRONLY).expect("O_TMPFILE"), dir, "named"), Errno::EXIST);
}

fn an_exclusive_temporary_file_stays_nameless(dir: &Dir) {
    let file = temporary(dir, OFlags::RDWR | OFlags::EXCL).expect("O_TMPFILE");
    must_fail(give_name(&file, dir, "named"), Errno::NOENT);
    assert!(dir.names().is_empty());
}

fn a_temporary_file_needs_a_directory_and_writing(dir: &Dir) {
    must_fail(temporary(dir, OFlags::RDONLY), Errno::INVAL);
    dir.file("file", "");
    must_fail(dir.try_open("file", OFlags::RDWR | OFlags::TMPFILE), Errno::NOTDIR);
    must_fail(dir.try_open("missing", OFlags::RDWR | OFlags::TMPFILE), Errno::NOENT);
}

fn statfs_adds_up(dir: &Dir) {
    let stat = rustix::fs::statvfs(dir.path(".")).expect("statvfs");
    assert!(stat.f_bsize.is_power_of_two() && stat.f_bsize >= 512, "blocks of {}", stat.f_bsize);
    assert!(stat.f_bfree <= stat.f_blocks, "{} free of {} blocks", stat.f_bfree, stat.f_blocks);
    assert!(stat.f_bavail <= stat.f_bfree);
    assert!(stat.f_ffree <= stat.f_files, "{} free of {} inodes", stat.f_ffree, stat.f_files);
    assert!((12..=4096).contains(&stat.f_namemax), "names of {}", stat.f_namemax);
}

fn statfs_is_one_for_all_files(dir: &Dir) {
    let file = dir.create("file");
    let one = rustix::fs::statfs(dir.path("file")).expect("statfs");
    let two = rustix::fs::fstatfs(&file).expect("fstatfs");
    assert_eq!((one.f_type, one.f_bsize, one.f_blocks), (two.f_type, two.f_bsize, two.f_blocks));
    dir.unlink("file");
    assert_eq!(rustix::fs::fstatfs(&file).expect("fstatfs of what has no name").f_type, one.f_type);
    assert_eq!(dir.stat(".").dev(), file.metadata().expect("fstat").dev());
}

fn statx(dir: &Dir, name: &str) -> rustix::fs::Statx {
    rustix::fs::statx(CWD, dir.path(name), AtFlags::SYMLINK_NOFOLLOW, StatxFlags::ALL).expect("statx")
}

fn a_birth_does_not_move(dir: &Dir) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs() as i64;
    let before = now();
    dir.file("file", "");
    let first = statx(dir, "file");
    assert!(StatxFlags::from_bits_retain(first.stx_mask).contains(StatxFlags::BTIME));
    assert!((before - 1..=now() + 1).contains(&first.stx_btime.tv_sec));
    std::thread::sleep(std::time::Duration::from_millis(12));
    dir.file("file", "bytes");
    dir.chmod("file", 0o600);
    dir.rename("file", "renamed");
    let second = statx(dir, "renamed");
    let birth = |stat: &rustix::fs::Statx| (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec);
    assert_eq!(birth(&first), birth(&second));
    assert!((second.stx_mtime.tv_sec, second.stx_mtime.tv_nsec) > birth(&second));
}

fn statx_agrees_with_stat(dir: &Dir) {
    dir.file("file", "bytes");
    let (new, old) = (statx(dir, "file"), dir.stat("file"));
    assert_eq!((new.stx_ino, new.stx_size, new.stx_nlink), (old.ino(), old.len(), old.nlink() as u32));
    assert_eq!((u32::from(new.stx_mode), new.stx_uid, new.stx_gid), (old.mode(), old.uid(), old.gid()));
    assert_eq!((new.stx_mtime.tv_sec, i64::from(new.stx_mtime.tv_nsec)), (old.mtime(), old.mtime_nsec()));
    assert_eq!(makedev(new.stx_dev_major, new.stx_dev_minor), old.dev());
    let basic = StatxFlags::BASIC_STATS;
    assert!(StatxFlags::from_bits_retain(new.stx_mask).contains(basic));
    let synced =
        rustix::fs::statx(CWD, dir.path("file"), AtFlags::STATX_FORCE_SYNC, StatxFlags::SIZE).expect("statx");
    assert_eq!(synced.stx_size, 5);
    rustix::fs::statx(CWD, dir.path("file"), AtFlags::STATX_DONT_SYNC, StatxFlags::SIZE).expect("statx");
}

fn inodes_tell_files_apart(dir: &Dir) {
    let mut inodes = std::collections::BTreeSet::new();
    for number in 0..200 {
        dir.create(format!("file{number}"));
        assert!(inodes.insert(dir.stat(format!("file{number}")).ino()), "an inode number of two files");
    }
    for number in 0..200 {
        let file = dir.open(format!("file{number}"), OFlags::RDONLY);
        assert!(inodes.contains(&file.metadata().expect("fstat").ino()));
    }
}

fn a_handle_finds_a_renamed_file(dir: &Dir) {
    dir.file("file", "bytes");
    let below = dir.sub("below");
    let (file, directory) = (Handle::of(&dir.path("file")), Handle::of(&below.path("")));
    let (file, directory) = (file.expect("a handle"), directory.expect("a handle"));
    dir.rename("file", "below/renamed");
    let mount = dir.open(".", OFlags::RDONLY | OFlags::DIRECTORY);
    let opened = file.open(mount.as_fd(), OFlags::RDONLY).expect("to open by handle").into();
    assert_eq!(size(&opened), 5);
    assert_eq!(opened.metadata().expect("fstat").ino(), dir.stat("below/renamed").ino());
    let opened =
        directory.open(mount.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY).expect("a directory by handle");
    let inside = rustix::fs::statat(&opened, "renamed", AtFlags::empty()).expect("what is in it");
    assert_eq!(inside.st_size, 5);
}

fn a_handle_of_a_removed_file_is_stale(dir: &Dir) {
    dir.file("file", "bytes");
    let handle = Handle::of(&dir.path("file")).expect("a handle");
    dir.unlink("file");
    let mount = dir.open(".", OFlags::RDONLY | OFlags::DIRECTORY);
    must_fail(handle.open(mount.as_fd(), OFlags::RDONLY), Errno::STALE);
}

/// Sets inode flags, and takes them back whatever happens: nobody else could remove the file.
#[track_caller]
fn with_flags(dir: &Dir, flags: IFlags, check: impl FnOnce()) {
    let set = |flags| rustix::fs::ioctl_setflags(dir.open("file", OFlags::RDONLY), flags);
    let before = rustix::fs::ioctl_getflags(dir.open("file", OFlags::RDONLY)).expect("to read the flags");
    set(before | flags).expect("to set the flags");
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
    set(before).expect("to take the flags back");
    if let Err(panic) = checked {
        std::panic::resume_unwind(panic);
    }
}

fn an_append_only_file_only_grows(dir: &Dir) {
    dir.file("file", "bytes");
    with_flags(dir, IFlags::APPEND, || {
        must_fail(dir.try_open("file", OFlags::WRONLY), Errno::PERM);
        must_fail(dir.try_open("file", OFlags::WRONLY | OFlags::APPEND | OFlags::TRUNC), Errno::PERM);
        dir.open("file", OFlags::WRONLY | OFlags::APPEND).write_all(b" more").expect("to append");
        must_fail(rustix::fs::unlink(dir.path("file")), Errno::PERM);
        must_fail(rustix::fs::rename(dir.path("file"), dir.path("other")), Errno::PERM);
    });
    assert_eq!(dir.bytes("file"), b"bytes more");
}

fn an_immutable_file_does_not_change(dir: &Dir) {
    dir.file("file", "bytes");
    with_flags(dir, IFlags::IMMUTABLE, || {
        must_fail(dir.try_open("file", OFlags::WRONLY), Errno::PERM);
        must_fail(rustix::fs::unlink(dir.path("file")), Errno::PERM);
        must_fail(rustix::fs::chmod(dir.path("file"), Mode::from(0o600)), Errno::PERM);
        must_fail(rustix::fs::link(dir.path("file"), dir.path("other")), Errno::PERM);
        assert_eq!(dir.bytes("file"), b"bytes");
    });
    dir.file("file", "changed");
}
