//! Making, moving and removing names, and as whom.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::io::Errno;
use wharf::Kind;
use wharf::op::{OpenFlags, RenameHow};

use super::*;

fn who_owns(m: &Mirrored, name: &str) -> (u32, u32, u32) {
    let metadata = fs::symlink_metadata(m.path(name)).unwrap();
    (metadata.uid(), metadata.gid(), metadata.permissions().mode() & 0o7777)
}

#[test]
fn what_a_caller_makes_is_its_own() {
    needs_root("to act as others");
    let m = mirrored();
    let (who, tree, root) = (stranger(), &m.tree, m.root());
    tree.make_directory(&who, root, c"directory", mode(0o750)).unwrap();
    tree.make_node(&who, root, c"pipe", mode(0o640), (Kind::Fifo, 0)).unwrap();
    tree.make_symlink(&who, root, c"link", mode(0), c"target").unwrap();
    m.create(&who, "file", 0o600, OpenFlags::READ_WRITE).unwrap();
    assert_eq!(who_owns(&m, "directory"), (12_345, 23_456, 0o750));
    assert_eq!(who_owns(&m, "pipe"), (12_345, 23_456, 0o640));
    assert_eq!(who_owns(&m, "link"), (12_345, 23_456, 0o777));
    assert_eq!(who_owns(&m, "file"), (12_345, 23_456, 0o600));
    assert_eq!(fs::read_link(m.path("link")).unwrap().to_str(), Some("target"));
}

#[test]
fn a_caller_may_do_only_what_it_may() {
    needs_root("to act as others");
    let m = mirrored();
    m.write("roots", "");
    fs::set_permissions(m.path("roots"), fs::Permissions::from_mode(0o600)).unwrap();
    m.make_directory("closed");
    let (closed, _) = m.node("closed");
    let who = stranger();
    assert_eq!(m.open(&who, "roots", OpenFlags::empty()).unwrap_err(), Errno::ACCESS);
    assert_eq!(m.tree.make_directory(&who, &closed.0, c"x", mode(0o755)).unwrap_err(), Errno::ACCESS);
    let device = m.tree.make_node(&who, m.root(), c"null", mode(0o666), (Kind::CharDevice, 0x103));
    assert_eq!(device.unwrap_err(), Errno::PERM);
    fs::set_permissions(m.directory.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(m.tree.remove(&who, m.root(), c"roots", false).unwrap_err(), Errno::PERM, "sticky");
    m.tree.remove(&me(), m.root(), c"roots", false).unwrap();
}

#[test]
fn supplementary_groups_count() {
    needs_root("to act as others");
    let m = mirrored();
    m.make_directory("shared");
    std::os::unix::fs::chown(m.path("shared"), Some(0), Some(777)).unwrap();
    fs::set_permissions(m.path("shared"), fs::Permissions::from_mode(0o2770)).unwrap();
    let (shared, _) = m.node("shared");
    let outsider = m.tree.make_directory(&stranger(), &shared.0, c"x", mode(0o775));
    assert_eq!(outsider.unwrap_err(), Errno::ACCESS);
    let member = Who::user(12_345, 23_456, &[776, 777]);
    m.tree.make_directory(&member, &shared.0, c"x", mode(0o775)).unwrap();
    assert_eq!(who_owns(&m, "shared/x"), (12_345, 777, 0o2775), "the directory passes its group on");
    let made = m.tree.create(&member, &shared.0, c"y", mode(0o2775), (OpenFlags::WRITE_ONLY, false));
    made.unwrap();
    assert_eq!(who_owns(&m, "shared/y"), (12_345, 777, 0o2775), "a member's set-group-ID bit stays");
}

#[test]
fn the_umask_applies_unless_the_directory_has_a_default_list() {
    let m = mirrored();
    let new = NewMode { permissions: 0o777, umask: 0o027, group: None };
    m.tree.make_directory(&me(), m.root(), c"plain", new).unwrap();
    assert_eq!(who_owns(&m, "plain").2, 0o750);

    // Owner rwx, group r-x, mask rwx, others r-x: as a default for what is made inside.
    let entry = |tag: u16, permissions: u16, id: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let list = [
        2u32.to_le_bytes().to_vec(),
        entry(1, 7, none),
        entry(4, 5, none),
        entry(16, 7, none),
        entry(32, 5, none),
    ]
    .concat();
    let (plain, _) = m.node("plain");
    let value = (c"system.posix_acl_default", &list[..]);
    m.tree.set_xattr(&me(), &plain.0, value, wharf::op::SetXattrHow::Any, false).unwrap();
    m.tree.make_directory(&me(), &plain.0, c"inside", new).unwrap();
    assert_eq!(who_owns(&m, "plain/inside").2 & 0o077, 0o075, "the list says so, not the umask");
}

#[test]
fn every_way_to_rename_is_passed_on() {
    let m = mirrored();
    let rename =
        |from: &str, to: &str, how| m.tree.rename(&me(), (m.root(), &c(from)), (m.root(), &c(to)), how);
    m.write("a", "a");
    m.write("b", "b");
    assert_eq!(rename("a", "b", RenameHow::NoReplace), Err(Errno::EXIST));
    rename("a", "b", RenameHow::Exchange).unwrap();
    assert_eq!(fs::read_to_string(m.path("a")).unwrap(), "b");
    rename("a", "b", RenameHow::Replace).unwrap();
    assert_eq!(fs::read_to_string(m.path("b")).unwrap(), "b");
    assert_eq!(rename("a", "b", RenameHow::Replace), Err(Errno::NOENT));
}

#[test]
fn a_node_of_any_kind_can_be_linked() {
    let m = mirrored();
    m.write("file", "x");
    symlink("nowhere", m.path("symlink")).unwrap();
    m.tree.make_node(&me(), m.root(), c"pipe", mode(0o644), (Kind::Fifo, 0)).unwrap();
    for name in ["file", "symlink", "pipe"] {
        let (node, attributes) = m.node(name);
        let (linked, after) = m.tree.link(&me(), &node.0, m.root(), &c(&format!("{name}2"))).unwrap();
        assert!(Arc::ptr_eq(&node.0, &linked.0), "{name}");
        assert_eq!((after.kind, after.links), (attributes.kind, 2), "{name}");
    }
}

#[test]
fn directories_and_files_are_removed_each_in_its_way() {
    let m = mirrored();
    m.write("file", "");
    m.make_directory("directory");
    m.write("directory/inside", "");
    let remove = |name: &str, directory| m.tree.remove(&me(), m.root(), &c(name), directory);
    assert_eq!(remove("file", true), Err(Errno::NOTDIR));
    assert_eq!(remove("directory", false), Err(Errno::ISDIR));
    assert_eq!(remove("directory", true), Err(Errno::NOTEMPTY));
    remove("file", false).unwrap();
    fs::remove_file(m.path("directory/inside")).unwrap();
    remove("directory", true).unwrap();
}

#[test]
fn the_target_of_a_link_is_told_byte_for_byte() {
    let m = mirrored();
    let target = std::ffi::OsStr::from_bytes(b"/not/\xffthere");
    symlink(target, m.path("link")).unwrap();
    let mut buffer = [0; 64];
    let length = m.tree.read_link(&m.node("link").0.0, &mut buffer).unwrap();
    assert_eq!(&buffer[..length], target.as_bytes());
    m.write("file", "");
    assert_eq!(m.tree.read_link(&m.node("file").0.0, &mut buffer), Err(Errno::INVAL));
}

#[test]
fn a_read_only_mirror_changes_nothing() {
    let m = mirrored_with(Options { read_only: true, ..Options::default() });
    m.write("a", "");
    let (a, _) = m.node("a");
    assert_eq!(m.tree.remove(&me(), m.root(), c"a", false), Err(Errno::ROFS));
    assert_eq!(m.tree.make_directory(&me(), m.root(), c"b", mode(0o755)).unwrap_err(), Errno::ROFS);
    assert_eq!(m.create(&me(), "b", 0o644, OpenFlags::WRITE_ONLY).unwrap_err(), Errno::ROFS);
    assert_eq!(m.open(&me(), "a", OpenFlags::WRITE_ONLY).unwrap_err(), Errno::ROFS);
    assert_eq!(m.open(&me(), "a", OpenFlags::TRUNCATE).unwrap_err(), Errno::ROFS);
    let op = wharf::op::SetAttributes { permissions: Some(0o600), ..Default::default() };
    assert_eq!(m.tree.set_attributes(&me(), &a.0, None, &op).unwrap_err(), Errno::ROFS);
    let file = m.open(&me(), "a", OpenFlags::empty()).unwrap();
    assert_eq!(m.tree.set_inode_flags(&me(), &file.descriptor, 0), Err(Errno::ROFS));
}
