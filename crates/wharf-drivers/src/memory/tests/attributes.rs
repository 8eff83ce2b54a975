//! Attributes: who owns what is new, which bits go when, and what lists and bits say of each other.

use std::ffi::OsStr;
use std::sync::Arc;

use wharf::error::Kind as ErrorKind;
use wharf::op::{Fallocate, FallocateMode, SetAttributes, SetTime, SetXattr, SetXattrHow};
use wharf::{Kind, Result, Time};

use super::{Buffer, Memory, ROOT, USER, fails, name, volume};
use crate::memory::acl::tests::acl;
use crate::memory::bytes::Touch;
use crate::memory::inode::Inode;
use crate::memory::names::{Make, Maker};
use crate::memory::xattrs::{ACCESS_ACL, CAPABILITY, DEFAULT_ACL};

const ACL: &[(u16, u16)] = &[(1, 7), (2, 7), (4, 7), (0x10, 7), (0x20, 5)];

fn make(volume: &Memory, maker: &Maker<'_>, parent: &Arc<Inode>, at: &str, make: Make<'_>) -> Arc<Inode> {
    volume.make(maker, parent, name(at), &make).unwrap().0
}

fn set(inode: &Inode, change: SetAttributes) {
    inode.set_attributes(&change, |_| true).unwrap();
}

fn chmod(inode: &Inode, permissions: u16) {
    set(inode, SetAttributes { permissions: Some(permissions), ..SetAttributes::default() });
}

fn mode(inode: &Inode) -> u16 {
    inode.attributes().permissions
}

fn set_xattr(inode: &Inode, name: &str, value: &[u8]) -> Result<()> {
    let name = OsStr::new(name);
    inode.set_xattr(&SetXattr { name, value, how: SetXattrHow::Any, kill_setgid: false })
}

fn xattr(inode: &Inode, name: &str) -> Option<Vec<u8>> {
    let mut got = None;
    inode.get_xattr(OsStr::new(name), |value| got = Some(value.to_vec())).ok()?;
    got
}

#[test]
fn what_is_new_belongs_to_who_made_it() {
    let volume = volume();
    let file = make(&volume, &USER, volume.top(), "a", Make::new(Kind::File, 0o4666, 0o027)).attributes();
    assert_eq!((file.uid, file.gid, file.permissions), (1000, 1000, 0o4640));
    assert_eq!(file.born, Some(file.changed));
    let link =
        make(&volume, &USER, volume.top(), "b", Make { target: b"t", ..Make::new(Kind::Symlink, 0, 0o077) });
    let link = link.attributes();
    assert_eq!((link.permissions, link.size), (0o777, 1));
    let device = Make { device: 0x503, ..Make::new(Kind::BlockDevice, 0o600, 0) };
    assert_eq!(make(&volume, &ROOT, volume.top(), "c", device).attributes().device, 0x503);
}

#[test]
fn a_directory_with_setgid_hands_its_group_down() {
    let volume = volume();
    let dir = volume.dir("dir");
    set(&dir, SetAttributes { gid: Some(7), permissions: Some(0o2777), ..SetAttributes::default() });
    let sub = make(&volume, &USER, &dir, "sub", Make::new(Kind::Directory, 0o755, 0)).attributes();
    assert_eq!((sub.gid, sub.permissions), (7, 0o2755));
    let file = make(&volume, &USER, &dir, "a", Make::new(Kind::File, 0o2755, 0)).attributes();
    assert_eq!((file.gid, file.permissions), (7, 0o755), "not in the group, so no set-group-ID");
    let file = make(&volume, &ROOT, &dir, "b", Make::new(Kind::File, 0o2755, 0)).attributes();
    assert_eq!((file.gid, file.permissions), (7, 0o2755));
    let file = make(&volume, &USER, &dir, "c", Make::new(Kind::File, 0o2744, 0)).attributes();
    assert_eq!(file.permissions, 0o2744, "without group execution it means something else");
}

#[test]
fn set_id_bits_go_when_they_must() {
    let volume = volume();
    let file = volume.file("a");
    chmod(&file, 0o6755);
    file.write(0, b"x", false).unwrap();
    assert_eq!(mode(&file), 0o6755);
    file.write(0, b"x", true).unwrap();
    assert_eq!(mode(&file), 0o755);
    chmod(&file, 0o6745);
    file.truncate(true).unwrap();
    assert_eq!(mode(&file), 0o2745);
    chmod(&file, 0o6755);
    let punch = Fallocate { range: 0..10, mode: FallocateMode::PunchHole, keep_size: true };
    file.fallocate(&punch, true).unwrap();
    assert_eq!(mode(&file), 0o755);

    let given = SetAttributes { uid: Some(5), kill_privileges: true, ..SetAttributes::default() };
    chmod(&file, 0o6745);
    file.set_attributes(&given, |_| true).unwrap();
    assert_eq!(mode(&file), 0o2745);
    chmod(&file, 0o6745);
    file.set_attributes(&given, |_| false).unwrap();
    assert_eq!(mode(&file), 0o745);
}

#[test]
fn capabilities_go_with_a_write_or_a_new_owner() {
    let volume = volume();
    let file = volume.file("a");
    let write = || assert_eq!(file.write(0, b"x", false).unwrap(), 1);
    let give = || set(&file, SetAttributes { uid: Some(3), ..SetAttributes::default() });
    let cut = || set(&file, SetAttributes { size: Some(0), ..SetAttributes::default() });
    let changes: [&dyn Fn(); 3] = [&write, &give, &cut];
    for change in changes {
        set_xattr(&file, CAPABILITY, b"cap").unwrap();
        chmod(&file, 0o755);
        assert!(xattr(&file, CAPABILITY).is_some());
        change();
        assert!(xattr(&file, CAPABILITY).is_none());
    }
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let volume = volume();
    let dir = volume.dir("dir");
    let before = dir.attributes();
    let change =
        SetAttributes { size: Some(0), uid: Some(5), permissions: Some(0), ..SetAttributes::default() };
    fails(dir.set_attributes(&change, |_| true), ErrorKind::IsADirectory);
    assert_eq!(dir.attributes(), before);
    let file = volume.file("file");
    let change = SetAttributes { size: Some(u64::MAX), uid: Some(5), ..SetAttributes::default() };
    fails(file.set_attributes(&change, |_| true), ErrorKind::TooLarge);
    assert_eq!(file.attributes().uid, 0);
}

#[test]
fn times_are_set_as_asked_and_ctime_tells() {
    let volume = volume();
    let file = volume.file("a");
    let time = Time { seconds: -5, nanoseconds: 999_999_999 };
    set(&file, SetAttributes { accessed: Some(SetTime::At(time)), ..SetAttributes::default() });
    let attributes = file.attributes();
    assert_eq!(attributes.accessed, time);
    assert!(attributes.changed > attributes.modified);
    set(&file, SetAttributes { accessed: Some(SetTime::Now), ..SetAttributes::default() });
    assert!(file.attributes().accessed > attributes.accessed);
}

#[test]
fn a_read_moves_the_time_of_access_once() {
    let volume = volume();
    let file = volume.file("a");
    file.put(0, b"bytes").unwrap();
    let read = |touch| {
        let before = file.attributes().accessed;
        file.read(0, 5, &mut Buffer::new(5), touch).unwrap();
        file.attributes().accessed > before
    };
    assert!(!read(Touch::Never));
    assert!(read(Touch::IfBehind));
    assert!(!read(Touch::IfBehind));
    assert!(read(Touch::Always));
    let long_ago = Time { seconds: 1000, nanoseconds: 0 };
    assert!(!file.state().access_is_due(Time::now()));
    (file.state_mut().modified, file.state_mut().changed) = (long_ago, long_ago);
    file.state_mut().accessed = Time { seconds: 2000, nanoseconds: 0 };
    assert!(file.state().access_is_due(Time::now()) && !file.state().access_is_behind());
}

#[test]
fn attributes_of_many_kinds_have_a_place() {
    let volume = volume();
    let file = volume.file("a");
    set_xattr(&file, "user.note", b"value").unwrap();
    assert_eq!(xattr(&file, "user.note").unwrap(), b"value");
    fails(set_xattr(&file, "system.other", b""), ErrorKind::NotSupported);
    fails(file.remove_xattr(OsStr::new("user.none")), ErrorKind::NoAttribute);
    fails(file.get_xattr(OsStr::new("user.none"), |_| ()), ErrorKind::NoAttribute);
    let before = file.attributes().changed;
    file.remove_xattr(OsStr::new("user.note")).unwrap();
    assert!(file.attributes().changed > before);
    drop(file);
    volume.unlink(volume.top(), name("a")).unwrap();
    assert_eq!(volume.bytes_used(), 0);
}

#[test]
fn bits_and_access_list_say_the_same() {
    let volume = volume();
    let file = volume.file("a");
    chmod(&file, 0o2640);
    set_xattr(&file, ACCESS_ACL, &acl(ACL)).unwrap();
    assert_eq!(mode(&file), 0o2775);
    chmod(&file, 0o640);
    let changed = acl(&[(1, 6), (2, 7), (4, 7), (0x10, 4), (0x20, 0)]);
    assert_eq!(xattr(&file, ACCESS_ACL), Some(changed));
    set_xattr(&file, ACCESS_ACL, &acl(&[(1, 6), (4, 0), (0x20, 4)])).unwrap();
    assert_eq!((mode(&file), xattr(&file, ACCESS_ACL)), (0o604, None), "bits can say all of that");
    file.remove_xattr(OsStr::new(ACCESS_ACL)).unwrap();
    let value = acl(ACL);
    let kill =
        SetXattr { name: OsStr::new(ACCESS_ACL), value: &value, how: SetXattrHow::Any, kill_setgid: true };
    chmod(&file, 0o2640);
    file.set_xattr(&kill).unwrap();
    assert_eq!(mode(&file), 0o775);
    fails(set_xattr(&file, ACCESS_ACL, b"nonsense"), ErrorKind::NotSupported);
    fails(set_xattr(&file, DEFAULT_ACL, &acl(ACL)), ErrorKind::PermissionDenied);
}

#[test]
fn a_default_list_is_inherited_and_the_umask_is_not_asked() {
    let volume = volume();
    let dir = volume.dir("dir");
    set_xattr(&dir, DEFAULT_ACL, &acl(ACL)).unwrap();
    assert_eq!(mode(&dir), 0o755);
    let file = make(&volume, &USER, &dir, "file", Make::new(Kind::File, 0o660, 0o077));
    assert_eq!(mode(&file), 0o660);
    let restricted = acl(&[(1, 6), (2, 7), (4, 7), (0x10, 6), (0x20, 0)]);
    assert_eq!((xattr(&file, ACCESS_ACL), xattr(&file, DEFAULT_ACL)), (Some(restricted), None));
    let sub = make(&volume, &USER, &dir, "sub", Make::new(Kind::Directory, 0o777, 0o077));
    assert_eq!((mode(&sub), xattr(&sub, DEFAULT_ACL)), (0o775, Some(acl(ACL))));
    let link = make(&volume, &USER, &dir, "link", Make { target: b"t", ..Make::new(Kind::Symlink, 0, 0) });
    assert_eq!((mode(&link), xattr(&link, ACCESS_ACL)), (0o777, None));

    set_xattr(&dir, DEFAULT_ACL, &acl(&[(1, 7), (4, 5), (0x20, 0)])).unwrap();
    let file = make(&volume, &USER, &dir, "plain", Make::new(Kind::File, 0o666, 0));
    assert_eq!((mode(&file), xattr(&file, ACCESS_ACL)), (0o640, None));
    dir.remove_xattr(OsStr::new(DEFAULT_ACL)).unwrap();
    let file = make(&volume, &USER, &dir, "masked", Make::new(Kind::File, 0o666, 0o077));
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn a_node_that_cannot_inherit_for_want_of_space_is_not_made() {
    let volume = super::small(800, 10);
    let dir = volume.dir("dir");
    set_xattr(&dir, DEFAULT_ACL, &acl(ACL)).unwrap();
    let (bytes, inodes) = (volume.bytes_used(), volume.inodes_used());
    let make = Make::new(Kind::Directory, 0o777, 0);
    let mut made = 0;
    while volume.make(&ROOT, &dir, name(&format!("sub{made}")), &make).is_ok() {
        made += 1;
    }
    assert!(made < 10);
    assert_eq!(volume.inodes_used(), inodes + made);
    for number in 0..made {
        volume.rmdir(&dir, name(&format!("sub{number}"))).unwrap();
    }
    assert_eq!((volume.bytes_used(), volume.inodes_used()), (bytes, inodes));
}
