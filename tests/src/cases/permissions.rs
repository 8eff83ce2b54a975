//! Who may do what: modes, owners, groups, and the bits that are more than nine.
//!
//! Root makes the scene; [`ANNA`] and [`BERT`], who are nobody's accounts and have no capabilities, act in it.

use std::os::unix::{fs::MetadataExt, process::CommandExt};

use rustix::{
    fs::{Access, AtFlags, CWD, Mode, OFlags, Timestamps},
    io::{Errno, Result},
};

use super::{Case, case};
use crate::{
    child::{ANNA, BERT, User, as_user, become_user},
    dir::{Dir, must_fail, read_at, write_at},
};

pub(super) const CASES: &[Case] = &[
    case!(the_bits_of_a_file_decide_by_owner_group_and_others, PERMISSIONS),
    case!(the_owner_is_judged_by_the_owner_bits_alone, PERMISSIONS),
    case!(a_supplementary_group_counts, PERMISSIONS),
    case!(the_bits_of_a_directory_decide, PERMISSIONS),
    case!(a_new_file_belongs_to_who_made_it, PERMISSIONS),
    case!(a_user_of_another_program_is_told_apart, PERMISSIONS),
    case!(threads_with_other_ids_are_told_apart, PERMISSIONS),
    case!(access_asks_for_the_real_user, PERMISSIONS),
    case!(in_a_sticky_directory_only_owners_remove, PERMISSIONS),
    case!(in_a_sticky_directory_only_owners_rename, PERMISSIONS),
    case!(a_setgid_directory_hands_down_its_group, PERMISSIONS),
    case!(only_the_owner_changes_the_mode, PERMISSIONS),
    case!(only_root_gives_a_file_away, PERMISSIONS),
    case!(an_owner_moves_a_file_between_his_groups, PERMISSIONS),
    case!(setgid_needs_membership_of_the_group, PERMISSIONS),
    case!(a_write_clears_setuid_and_setgid, PERMISSIONS),
    case!(a_write_by_root_keeps_setuid, PERMISSIONS),
    case!(a_truncation_clears_setuid, PERMISSIONS),
    case!(a_change_of_owner_clears_setuid_and_setgid, PERMISSIONS),
    case!(setgid_without_group_execution_survives_a_change_of_owner, PERMISSIONS),
    case!(an_open_descriptor_outlasts_the_right_to_open, PERMISSIONS),
    case!(a_file_made_read_only_is_written_by_its_maker, PERMISSIONS),
    case!(execution_needs_its_bit_even_for_root, PERMISSIONS),
    case!(who_may_write_may_set_times_to_now, PERMISSIONS),
    case!(only_the_owner_reads_without_atime, PERMISSIONS),
    case!(a_user_makes_no_devices, PERMISSIONS),
    case!(special_bits_are_kept, PERMISSIONS),
];

/// One of everything that ANNA or BERT may be refused.
fn open(dir: &Dir, name: &str, flags: OFlags) -> Result<()> {
    dir.try_open(name, flags).map(drop)
}

/// A directory that everybody may write to.
fn common(dir: &Dir) -> Dir {
    dir.chmod(".", 0o777);
    dir.clone()
}

/// A file with this owner, group and mode.
#[track_caller]
fn file_of(dir: &Dir, name: &str, owner: (u32, u32), mode: u32) {
    dir.file(name, "bytes");
    dir.chown(name, owner.0, owner.1);
    dir.chmod(name, mode);
}

fn the_bits_of_a_file_decide_by_owner_group_and_others(dir: &Dir) {
    let owners = [(ANNA.uid, 0), (0, ANNA.gid), (0, 0)];
    for (shift, owner) in [6, 3, 0].into_iter().zip(owners) {
        for bits in 0..8 {
            file_of(dir, "file", owner, bits << shift);
            as_user(ANNA, dir, || {
                let may = |wanted: u32| if bits & wanted == wanted { Ok(()) } else { Err(Errno::ACCESS) };
                let case = format!("owner {owner:?}, mode {:o}", bits << shift);
                assert_eq!(open(dir, "file", OFlags::RDONLY), may(4), "reading, {case}");
                assert_eq!(open(dir, "file", OFlags::WRONLY), may(2), "writing, {case}");
                assert_eq!(open(dir, "file", OFlags::RDWR), may(6), "both, {case}");
                assert_eq!(rustix::fs::access(dir.path("file"), Access::EXEC_OK), may(1), "running, {case}");
            });
        }
    }
}

fn the_owner_is_judged_by_the_owner_bits_alone(dir: &Dir) {
    file_of(dir, "file", (ANNA.uid, ANNA.gid), 0o077);
    file_of(dir, "other", (0, ANNA.gid), 0o707);
    as_user(ANNA, dir, || {
        must_fail(open(dir, "file", OFlags::RDONLY), Errno::ACCESS);
        must_fail(open(dir, "other", OFlags::RDONLY), Errno::ACCESS);
    });
}

fn a_supplementary_group_counts(dir: &Dir) {
    let member = User { groups: &[70_001, 70_002, 70_003], ..ANNA };
    file_of(dir, "file", (0, 70_002), 0o060);
    as_user(ANNA, dir, || must_fail(open(dir, "file", OFlags::RDONLY), Errno::ACCESS));
    as_user(member, dir, || drop(dir.open("file", OFlags::RDWR)));
    // Also for what happens to names.
    let shared = dir.sub("shared");
    dir.chown("shared", 0, 70_003);
    dir.chmod("shared", 0o770);
    as_user(member, dir, || shared.file("new", "bytes"));
    as_user(ANNA, dir, || must_fail(open(dir, "shared/new", OFlags::RDONLY), Errno::ACCESS));
}

fn the_bits_of_a_directory_decide(dir: &Dir) {
    let below = dir.sub("below");
    below.file("file", "bytes");
    // Reading lists, searching finds, writing and searching change.
    dir.chmod("below", 0o744);
    as_user(ANNA, dir, || {
        assert_eq!(rustix::fs::open(dir.path("below"), OFlags::RDONLY, Mode::empty()).map(drop), Ok(()));
        must_fail(open(dir, "below/file", OFlags::RDONLY), Errno::ACCESS);
        must_fail(rustix::fs::lstat(below.path("file")).map(drop), Errno::ACCESS);
    });
    dir.chmod("below", 0o711);
    as_user(ANNA, dir, || {
        must_fail(open(dir, "below", OFlags::RDONLY), Errno::ACCESS);
        assert_eq!(below.bytes("file"), b"bytes");
        must_fail(open(dir, "below/new", OFlags::CREATE | OFlags::WRONLY), Errno::ACCESS);
        must_fail(rustix::fs::unlink(below.path("file")), Errno::ACCESS);
        must_fail(rustix::fs::rename(below.path("file"), below.path("new")), Errno::ACCESS);
        must_fail(rustix::fs::mkdir(below.path("new"), Mode::from(0o755)), Errno::ACCESS);
        must_fail(rustix::fs::symlink("x", below.path("new")), Errno::ACCESS);
    });
    dir.chmod("below", 0o722);
    as_user(ANNA, dir, || must_fail(open(dir, "below/new", OFlags::CREATE | OFlags::WRONLY), Errno::ACCESS));
    dir.chmod("below", 0o733);
    as_user(ANNA, dir, || {
        below.file("new", "");
        below.rename("new", "other");
        below.unlink("other");
        // The file is not hers; its name is in a directory where she may write.
        below.unlink("file");
    });
}

fn a_new_file_belongs_to_who_made_it(dir: &Dir) {
    let dir = &common(dir);
    as_user(ANNA, dir, || {
        dir.file("file", "");
        dir.sub("directory");
        dir.symlink("file", "link");
        rustix::fs::mknodat(CWD, dir.path("fifo"), rustix::fs::FileType::Fifo, Mode::from(0o600), 0)
            .expect("mkfifo");
    });
    for name in ["file", "directory", "link", "fifo"] {
        assert_eq!((dir.stat(name).uid(), dir.stat(name).gid()), (ANNA.uid, ANNA.gid), "{name}");
    }
}

fn a_user_of_another_program_is_told_apart(dir: &Dir) {
    // Not a fork of ours: a process that was started with its ids.
    file_of(dir, "hers", (ANNA.uid, ANNA.gid), 0o600);
    let cat = |uid: u32, gid: u32| {
        let mut command = std::process::Command::new("/bin/cat");
        command.arg(dir.path("hers")).uid(uid).gid(gid).output().expect("to run cat")
    };
    assert_eq!(cat(ANNA.uid, ANNA.gid).stdout, b"bytes");
    assert!(!cat(BERT.uid, BERT.gid).status.success());
}

fn threads_with_other_ids_are_told_apart(dir: &Dir) {
    // To the kernel ids belong to threads, and servers that ask about a process get it wrong.
    let dir = &common(dir);
    for user in [ANNA, BERT, User { groups: &[70_001], ..ANNA }] {
        let name = &format!("of-{}-{}", user.uid, user.groups.len());
        file_of(dir, "secret", (0, 70_001), 0o040);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                become_user(user);
                dir.file(name, "");
                assert_eq!(open(dir, "secret", OFlags::RDONLY).is_ok(), !user.groups.is_empty());
            });
        });
        assert_eq!((dir.stat(name).uid(), dir.stat(name).gid()), (user.uid, user.gid));
    }
}

fn access_asks_for_the_real_user(dir: &Dir) {
    file_of(dir, "file", (ANNA.uid, ANNA.gid), 0o400);
    as_user(ANNA, dir, || {
        let access = |wanted| rustix::fs::access(dir.path("file"), wanted);
        assert_eq!(access(Access::EXISTS), Ok(()));
        assert_eq!(access(Access::READ_OK), Ok(()));
        must_fail(access(Access::WRITE_OK), Errno::ACCESS);
        must_fail(access(Access::READ_OK | Access::WRITE_OK), Errno::ACCESS);
        must_fail(access(Access::EXEC_OK), Errno::ACCESS);
        must_fail(rustix::fs::access(dir.path("missing"), Access::EXISTS), Errno::NOENT);
        assert_eq!(rustix::fs::accessat(CWD, dir.path("file"), Access::READ_OK, AtFlags::EACCESS), Ok(()));
    });
    as_user(BERT, dir, || must_fail(rustix::fs::access(dir.path("file"), Access::READ_OK), Errno::ACCESS));
}

/// A sticky directory of root's, with a file of ANNA's that everybody may write.
fn sticky(dir: &Dir) -> Dir {
    let sticky = dir.sub("sticky");
    dir.chmod("sticky", 0o1777);
    file_of(&sticky, "hers", (ANNA.uid, ANNA.gid), 0o666);
    sticky
}

fn in_a_sticky_directory_only_owners_remove(dir: &Dir) {
    let sticky = sticky(dir);
    let directory = sticky.sub("directory");
    directory.chown(".", ANNA.uid, ANNA.gid);
    as_user(BERT, dir, || {
        must_fail(rustix::fs::unlink(sticky.path("hers")), Errno::PERM);
        must_fail(rustix::fs::rmdir(sticky.path("directory")), Errno::PERM);
        sticky.file("his", "");
        sticky.unlink("his");
    });
    as_user(ANNA, dir, || {
        sticky.unlink("hers");
        sticky.rmdir("directory");
    });
    // Who owns the directory may remove what is in it.
    file_of(&sticky, "hers", (ANNA.uid, ANNA.gid), 0o600);
    sticky.chown(".", BERT.uid, BERT.gid);
    as_user(BERT, dir, || sticky.unlink("hers"));
}

fn in_a_sticky_directory_only_owners_rename(dir: &Dir) {
    let sticky = sticky(dir);
    as_user(BERT, dir, || {
        must_fail(rustix::fs::rename(sticky.path("hers"), sticky.path("other")), Errno::PERM);
        sticky.file("his", "");
        must_fail(rustix::fs::rename(sticky.path("his"), sticky.path("hers")), Errno::PERM);
        sticky.rename("his", "other");
    });
    as_user(ANNA, dir, || sticky.rename("hers", "still-hers"));
}

fn a_setgid_directory_hands_down_its_group(dir: &Dir) {
    let shared = dir.sub("shared");
    dir.chown("shared", 0, 70_001);
    dir.chmod("shared", 0o2777);
    as_user(ANNA, dir, || {
        shared.file("file", "");
        shared.sub("directory").file("below", "");
    });
    for name in ["file", "directory", "directory/below"] {
        assert_eq!(shared.stat(name).gid(), 70_001, "{name}");
    }
    assert_eq!(shared.mode("directory"), 0o2755);
    assert_eq!(shared.mode("file"), 0o644);
}

fn only_the_owner_changes_the_mode(dir: &Dir) {
    file_of(dir, "hers", (ANNA.uid, ANNA.gid), 0o666);
    as_user(BERT, dir, || must_fail(rustix::fs::chmod(dir.path("hers"), Mode::from(0o600)), Errno::PERM));
    as_user(ANNA, dir, || dir.chmod("hers", 0o600));
    assert_eq!(dir.mode("hers"), 0o600);
}

fn chown(dir: &Dir, name: &str, owner: Option<u32>, group: Option<u32>) -> Result<()> {
    let (owner, group) = (owner.map(rustix::fs::Uid::from_raw), group.map(rustix::fs::Gid::from_raw));
    rustix::fs::chown(dir.path(name), owner, group)
}

fn only_root_gives_a_file_away(dir: &Dir) {
    file_of(dir, "hers", (ANNA.uid, ANNA.gid), 0o666);
    as_user(ANNA, dir, || must_fail(chown(dir, "hers", Some(BERT.uid), None), Errno::PERM));
    as_user(BERT, dir, || must_fail(chown(dir, "hers", Some(BERT.uid), None), Errno::PERM));
    assert_eq!(dir.stat("hers").uid(), ANNA.uid);
    chown(dir, "hers", Some(BERT.uid), Some(BERT.gid)).expect("chown by root");
    assert_eq!((dir.stat("hers").uid(), dir.stat("hers").gid()), (BERT.uid, BERT.gid));
    chown(dir, "hers", None, Some(5)).expect("chgrp by root");
    assert_eq!((dir.stat("hers").uid(), dir.stat("hers").gid()), (BERT.uid, 5));
}

fn an_owner_moves_a_file_between_his_groups(dir: &Dir) {
    let member = User { groups: &[70_001], ..ANNA };
    file_of(dir, "hers", (ANNA.uid, ANNA.gid), 0o666);
    as_user(member, dir, || {
        chown(dir, "hers", None, Some(70_001)).expect("chgrp to a group of hers");
        must_fail(chown(dir, "hers", None, Some(BERT.gid)), Errno::PERM);
    });
    assert_eq!(dir.stat("hers").gid(), 70_001);
}

fn setgid_needs_membership_of_the_group(dir: &Dir) {
    file_of(dir, "hers", (ANNA.uid, 70_001), 0o755);
    as_user(ANNA, dir, || dir.chmod("hers", 0o2755));
    assert_eq!(dir.mode("hers"), 0o755);
    as_user(User { groups: &[70_001], ..ANNA }, dir, || dir.chmod("hers", 0o2755));
    assert_eq!(dir.mode("hers"), 0o2755);
}

fn a_write_clears_setuid_and_setgid(dir: &Dir) {
    file_of(dir, "hers", (ANNA.uid, ANNA.gid), 0o6777);
    as_user(BERT, dir, || write_at(&dir.open("hers", OFlags::WRONLY), 0, b"x"));
    assert_eq!(dir.mode("hers"), 0o777);
    // The owner's own writes, too; and setgid without execution is no such bit.
    file_of(dir, "lock", (ANNA.uid, ANNA.gid), 0o6767);
    as_user(User { groups: &[ANNA.gid], ..ANNA }, dir, || {
        write_at(&dir.open("lock", OFlags::WRONLY), 0, b"x")
    });
    assert_eq!(dir.mode("lock"), 0o2767);
}

fn a_write_by_root_keeps_setuid(dir: &Dir) {
    file_of(dir, "hers", (ANNA.uid, ANNA.gid), 0o6755);
    write_at(&dir.open("hers", OFlags::WRONLY), 0, b"x");
    assert_eq!(dir.mode("hers"), 0o6755);
}

fn a_truncation_clears_setuid(dir: &Dir) {
    file_of(dir, "hers", (ANNA.uid, ANNA.gid), 0o6777);
    as_user(BERT, dir, || rustix::fs::ftruncate(dir.open("hers", OFlags::WRONLY), 1).expect("to cut"));
    assert_eq!(dir.mode("hers"), 0o777);
    file_of(dir, "hers", (ANNA.uid, ANNA.gid), 0o4777);
    as_user(BERT, dir, || drop(dir.open("hers", OFlags::WRONLY | OFlags::TRUNC)));
    assert_eq!(dir.mode("hers"), 0o777);
}

fn a_change_of_owner_clears_setuid_and_setgid(dir: &Dir) {
    file_of(dir, "file", (0, 0), 0o6755);
    dir.chown("file", BERT.uid, BERT.gid);
    assert_eq!(dir.mode("file"), 0o755);
    file_of(dir, "hers", (ANNA.uid, ANNA.gid), 0o6755);
    as_user(User { groups: &[70_001], ..ANNA }, dir, || {
        chown(dir, "hers", None, Some(70_001)).expect("chgrp to a group of hers");
    });
    assert_eq!(dir.mode("hers"), 0o755);
    // A directory keeps its bits.
    dir.sub("directory");
    dir.chmod("directory", 0o2755);
    dir.chown("directory", BERT.uid, BERT.gid);
    assert_eq!(dir.mode("directory"), 0o2755);
}

fn setgid_without_group_execution_survives_a_change_of_owner(dir: &Dir) {
    file_of(dir, "file", (0, 0), 0o2745);
    dir.chown("file", BERT.uid, BERT.gid);
    assert_eq!(dir.mode("file"), 0o2745);
}

fn an_open_descriptor_outlasts_the_right_to_open(dir: &Dir) {
    file_of(dir, "file", (0, 0), 0o600);
    let file = dir.open("file", OFlags::RDWR);
    as_user(ANNA, dir, || {
        must_fail(open(dir, "file", OFlags::RDONLY), Errno::ACCESS);
        assert_eq!(read_at(&file, 0, 5), b"bytes");
        write_at(&file, 0, b"BYTES");
        rustix::fs::ftruncate(&file, 3).expect("to cut through an open descriptor");
    });
    assert_eq!(dir.bytes("file"), b"BYT");
}

fn a_file_made_read_only_is_written_by_its_maker(dir: &Dir) {
    let dir = &common(dir);
    as_user(ANNA, dir, || {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let file = rustix::fs::open(dir.path("file"), flags, Mode::from(0o444)).expect("a new file").into();
        write_at(&file, 0, b"bytes");
        assert_eq!(read_at(&file, 0, 5), b"bytes");
        must_fail(open(dir, "file", OFlags::WRONLY), Errno::ACCESS);
    });
}

fn execution_needs_its_bit_even_for_root(dir: &Dir) {
    std::fs::copy("/bin/true", dir.path("program")).expect("to copy /bin/true");
    dir.chmod("program", 0o644);
    let error = std::process::Command::new(dir.path("program")).status().expect_err("there is no x bit");
    assert_eq!(error.raw_os_error(), Some(Errno::ACCESS.raw_os_error()));
    dir.chmod("program", 0o601);
    assert!(std::process::Command::new(dir.path("program")).status().expect("one x bit is enough").success());
    dir.chmod("program", 0o711);
    as_user(ANNA, dir, || {
        must_fail(open(dir, "program", OFlags::RDONLY), Errno::ACCESS);
        assert!(std::process::Command::new(dir.path("program")).status().expect("to run").success());
    });
}

fn who_may_write_may_set_times_to_now(dir: &Dir) {
    use rustix::fs::{Timespec, UTIME_NOW};
    let both = |time: Timespec| Timestamps { last_access: time, last_modification: time };
    let now = both(Timespec { tv_sec: 0, tv_nsec: UTIME_NOW });
    let then = both(Timespec { tv_sec: 1000, tv_nsec: 0 });
    let set = |name, times| rustix::fs::utimensat(CWD, dir.path(name), times, AtFlags::empty());
    file_of(dir, "common", (ANNA.uid, ANNA.gid), 0o666);
    file_of(dir, "hers", (ANNA.uid, ANNA.gid), 0o644);
    as_user(BERT, dir, || {
        set("common", &now).expect("now, where he may write");
        must_fail(set("common", &then), Errno::PERM);
        must_fail(set("hers", &now), Errno::ACCESS);
        must_fail(set("hers", &then), Errno::PERM);
    });
    as_user(ANNA, dir, || set("hers", &then).expect("any time, where she is the owner"));
    assert_eq!(dir.stat("hers").mtime(), 1000);
}

fn only_the_owner_reads_without_atime(dir: &Dir) {
    file_of(dir, "hers", (ANNA.uid, ANNA.gid), 0o644);
    as_user(ANNA, dir, || drop(dir.open("hers", OFlags::RDONLY | OFlags::NOATIME)));
    as_user(BERT, dir, || must_fail(open(dir, "hers", OFlags::RDONLY | OFlags::NOATIME), Errno::PERM));
}

fn a_user_makes_no_devices(dir: &Dir) {
    let dir = &common(dir);
    let null = rustix::fs::makedev(1, 3);
    as_user(ANNA, dir, || {
        let made = rustix::fs::mknodat(
            CWD,
            dir.path("null"),
            rustix::fs::FileType::CharacterDevice,
            Mode::from(0o666),
            null,
        );
        must_fail(made, Errno::PERM);
    });
}

fn special_bits_are_kept(dir: &Dir) {
    dir.file("file", "");
    dir.sub("directory");
    for mode in [0o4755, 0o2755, 0o6755, 0o1644, 0o7777, 0] {
        dir.chmod("file", mode);
        assert_eq!(dir.mode("file"), mode);
        dir.chmod("directory", mode);
        assert_eq!(dir.mode("directory"), mode);
    }
}
