//! Attributes, told and changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::io::Errno;
use wharf::op::{SetAttributes, SetTime};
use wharf::{Kind, Time};

use super::*;

fn set(m: &Mirrored, who: &Who, name: &str, op: SetAttributes) -> Result<Attributes> {
    m.tree.set_attributes(who, &m.node(name).0.0, None, &op)
}

#[test]
fn attributes_are_those_of_the_backing_file() {
    let m = mirrored();
    m.write("a", "12345");
    let (told, real) = (m.node("a").1, fs::metadata(m.path("a")).unwrap());
    assert_eq!((told.kind, told.size, told.blocks), (Kind::File, 5, real.blocks()));
    assert_eq!((told.uid, told.gid, told.links), (real.uid(), real.gid(), 1));
    let modified = Time { seconds: real.mtime(), nanoseconds: real.mtime_nsec() as u32 };
    assert_eq!(told.modified, modified);
    assert!(told.born.is_some());
}

#[test]
fn device_numbers_pass_both_ways() {
    needs_root("to make devices");
    let m = mirrored();
    let device = rustix::fs::makedev(259, 70_000) as u32;
    let made = m.tree.make_node(&me(), m.root(), c"d", mode(0o600), (Kind::CharDevice, device)).unwrap();
    assert_eq!((made.1.kind, made.1.device), (Kind::CharDevice, device));
    assert_eq!(fs::metadata(m.path("d")).unwrap().rdev(), u64::from(device));
}

#[test]
fn times_are_set_to_the_nanosecond_and_apart() {
    let m = mirrored();
    m.write("a", "");
    let (before, after) = (m.node("a").1, Time { seconds: -5, nanoseconds: 123_456_789 });
    let op = SetAttributes { modified: Some(SetTime::At(after)), ..Default::default() };
    let told = set(&m, &me(), "a", op).unwrap();
    assert_eq!((told.modified, told.accessed), (after, before.accessed));
}

#[test]
fn a_links_own_times_and_owner_are_changed_not_its_targets() {
    needs_root("to give files away");
    let m = mirrored();
    m.write("a", "");
    symlink("a", m.path("link")).unwrap();
    let at = Time { seconds: 1000, nanoseconds: 0 };
    let op = SetAttributes { uid: Some(5), accessed: Some(SetTime::At(at)), ..Default::default() };
    let told = set(&m, &me(), "link", op).unwrap();
    assert_eq!((told.uid, told.accessed), (5, at));
    let target = m.node("a").1;
    assert!(target.uid != 5 && target.accessed != at);
    let op = SetAttributes { permissions: Some(0o600), ..Default::default() };
    assert_eq!(set(&m, &me(), "link", op), Err(Errno::OPNOTSUPP));
}

#[test]
fn only_the_owner_changes_permissions_and_only_writers_touch() {
    needs_root("to act as others");
    let m = mirrored();
    m.write("a", "");
    fs::set_permissions(m.path("a"), fs::Permissions::from_mode(0o646)).unwrap();
    let permissions = SetAttributes { permissions: Some(0o777), ..Default::default() };
    assert_eq!(set(&m, &stranger(), "a", permissions), Err(Errno::PERM));
    let touch =
        SetAttributes { accessed: Some(SetTime::Now), modified: Some(SetTime::Now), ..Default::default() };
    set(&m, &stranger(), "a", touch).unwrap();
    fs::set_permissions(m.path("a"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(set(&m, &stranger(), "a", touch), Err(Errno::ACCESS));
}

#[test]
fn an_owner_may_give_a_file_to_a_group_of_its_own() {
    needs_root("to act as others");
    let m = mirrored();
    let who = Who::user(12_345, 23_456, &[777]);
    m.create(&who, "a", 0o644, wharf::op::OpenFlags::READ_WRITE).unwrap();
    let group = |gid| SetAttributes { gid: Some(gid), ..Default::default() };
    assert_eq!(set(&m, &who, "a", group(778)), Err(Errno::PERM));
    assert_eq!(set(&m, &who, "a", group(777)).unwrap().gid, 777);
    let setgid = SetAttributes { permissions: Some(0o2755), ..Default::default() };
    assert_eq!(set(&m, &who, "a", setgid).unwrap().permissions, 0o2755);
    let other = Who::user(12_345, 23_456, &[]);
    assert_eq!(set(&m, &other, "a", setgid).unwrap().permissions, 0o755, "not of the group: not set");
}

#[test]
fn giving_a_file_away_clears_its_privileges() {
    needs_root("to give files away");
    let m = mirrored();
    m.write("a", "");
    fs::set_permissions(m.path("a"), fs::Permissions::from_mode(0o6755)).unwrap();
    let op = SetAttributes { uid: Some(5), kill_privileges: true, ..Default::default() };
    assert_eq!(set(&m, &me(), "a", op).unwrap().permissions, 0o755);
}

#[test]
fn a_volume_is_as_full_as_its_backing_file_system() {
    let m = mirrored();
    let told = m.tree.statfs(m.root()).unwrap();
    assert!(told.blocks >= told.blocks_free && told.blocks_free >= told.blocks_available);
    assert!(told.block_size >= 512 && told.name_bytes_max >= 255);
}
