//! The mirror as a file system, through the real session.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use wharf::op::{OpenFlags, RenameHow, SetXattrHow};
use wharf::session::Operation;
use wharf::testing::{Ask, Open, Volume};
use wharf::{Caller, Errno, Kind, op};

use super::*;
use crate::mirror::Mirror;

fn served(options: Options) -> (Volume<Mirror>, Arc<Tree>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    allow_all(directory.path());
    let mirror = Mirror::new(directory.path(), options).unwrap();
    let tree = mirror.tree.clone();
    let mut volume = Volume::new(mirror);
    volume.caller(caller(rustix::process::geteuid().as_raw()));
    (volume, tree, directory)
}

fn caller(uid: u32) -> Caller {
    Caller { uid, gid: uid, pid: 1 }
}

#[test]
fn a_tree_is_made_read_and_forgotten() {
    let (mut volume, tree, directory) = served(Options::default());
    volume.mkdir("d").unwrap();
    volume.create("d/file").map(|open| volume.close(open)).unwrap().unwrap();
    volume.write("d/file", b"contents").unwrap();
    assert_eq!(fs::read(directory.path().join("d/file")).unwrap(), b"contents");
    assert_eq!(volume.read("d/file").unwrap(), b"contents");
    volume.symlink("file", "d/link").unwrap();
    assert_eq!(volume.readlink("d/link").unwrap(), b"file");
    volume.link("d/file", "hard").unwrap();
    assert_eq!(volume.stat("hard").unwrap().links, 2);
    volume.setxattr("hard", "user.note", b"value", SetXattrHow::Any).unwrap();
    assert_eq!(volume.getxattr("d/file", "user.note").unwrap(), b"value");
    assert_eq!(volume.listxattr("hard").unwrap(), ["user.note"]);
    volume.rename("hard", "d/moved", RenameHow::NoReplace).unwrap();
    assert_eq!(volume.rename("d/moved", "d/file", RenameHow::NoReplace), Err(Errno::EEXIST));
    let mut names = volume.list("d").unwrap();
    names.sort_unstable();
    assert_eq!(names, ["file", "link", "moved"]);
    volume.unlink("d/moved").unwrap();
    assert_eq!(volume.rmdir("d"), Err(Errno::ENOTEMPTY));
    assert_eq!(volume.stat("d/moved"), Err(Errno::ENOENT));
    volume.forget_all();
    assert_eq!(volume.counts(), (0, 0));
    assert_eq!(tree.table.descriptors(), 1, "the root's");
    assert_eq!(volume.unmount(), 0);
}

#[test]
fn a_listing_with_whole_entries_saves_the_lookups() {
    let (mut volume, _, directory) = served(Options::default());
    for index in 0..500 {
        fs::write(directory.path().join(format!("file{index}")), "").unwrap();
    }
    let all = volume.list_entries("", true).unwrap();
    let whole = all.iter().filter(|seen| seen.node.is_some()).count();
    assert_eq!((all.len(), whole), (502, 500), "all but `.` and `..`");
    assert!(all.iter().filter(|seen| seen.node.is_some()).all(|seen| seen.kind == Kind::File));
    volume.forget_all();
    assert_eq!(volume.counts(), (0, 0));
}

#[test]
fn the_callers_of_a_volume_are_the_owners_of_what_they_make() {
    needs_root("to act as others");
    let (mut volume, _, directory) = served(Options::default());
    volume.caller(caller(12_345));
    volume.mkdir("d").unwrap();
    let made = fs::metadata(directory.path().join("d")).unwrap();
    assert_eq!((made.uid(), made.gid()), (12_345, 12_345));
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o770)).unwrap();
    std::os::unix::fs::chown(directory.path(), None, Some(777)).unwrap();
    assert_eq!(volume.rmdir("d"), Err(Errno::EACCES));
    volume.groups(1, &[776, 777]);
    assert_eq!(volume.rmdir("d"), Ok(()));
}

#[test]
fn a_write_that_clears_privileges_comes_here_and_does() {
    let (mut volume, _, directory) = served(Options::default());
    let path = directory.path().join("program");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    let open = volume.open("program", OpenFlags::WRITE_ONLY).unwrap();
    let write = |kill_privileges| {
        let Open { node, handle } = open;
        Ask::new("write", node, move |parts| {
            let op = op::Write {
                offset: 0,
                data: parts.data()?,
                flags: OpenFlags::WRITE_ONLY,
                owner: None,
                from_cache: false,
                kill_privileges,
            };
            Ok(Operation::Write { handle, op })
        })
        .data("new")
    };
    let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
    volume.call(&write(false)).unwrap();
    assert_eq!(mode(), 0o4755, "whoever may keep them keeps them");
    volume.call(&write(true)).unwrap();
    assert_eq!(mode(), 0o755);
    assert_eq!(fs::read(&path).unwrap(), b"new");
    volume.close(open).unwrap();
}

#[test]
fn inode_flags_are_passed_on() {
    let (mut volume, _, directory) = served(Options::default());
    fs::write(directory.path().join("file"), "").unwrap();
    let open = volume.open("file", OpenFlags::empty()).unwrap();
    let ioctl = |command| {
        let Open { node, handle } = open;
        Ask::new("ioctl", node, move |_| {
            let op = op::Ioctl { command, argument: 0, input: &[], output_bytes_max: 4, compat: false };
            Ok(Operation::Ioctl { handle, directory: false, op })
        })
    };
    let file = fs::File::open(directory.path().join("file")).unwrap();
    let flags = rustix::fs::ioctl_getflags(&file).unwrap().bits();
    assert_eq!(volume.call_for_bytes(&ioctl(0x8008_6601)).unwrap(), flags.to_ne_bytes());
    assert_eq!(volume.call_for_bytes(&ioctl(0x5401)), Err(Errno::ENOTTY), "a terminal's request");
    volume.close(open).unwrap();
}
