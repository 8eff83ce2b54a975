//! Opening and making files, and what happens to open ones.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::io::{Errno, pwrite};
use wharf::op::{CopyRange, Fallocate, FallocateMode, OpenFlags, Seek, SeekFor};

use super::*;
use crate::mirror::files;

#[test]
fn an_open_file_survives_rename_and_unlink() {
    let m = mirrored();
    m.write("a", "contents");
    let file = m.open(&me(), "a", OpenFlags::READ_WRITE).unwrap();
    let node = file.count.inode().clone();
    fs::rename(m.path("a"), m.path("b")).unwrap();
    m.write("a", "another");
    assert_eq!(contents(&file), "contents");
    fs::remove_file(m.path("b")).unwrap();
    assert_eq!(contents(&file), "contents");
    let op = wharf::op::SetAttributes { size: Some(3), ..Default::default() };
    let after = m.tree.set_attributes(&me(), &node, Some(&file.descriptor), &op).unwrap();
    assert_eq!((after.size, after.links), (3, 0));
    assert_eq!(contents(&file), "con");
}

#[test]
fn creating_what_is_there_opens_it_unless_it_must_be_new() {
    let m = mirrored();
    m.write("a", "old");
    let (found, file) = m.create(&me(), "a", 0o600, OpenFlags::READ_WRITE).unwrap();
    assert_eq!(contents(&file), "old");
    assert_eq!(found.1.permissions, 0o644);
    let exclusive = OpenFlags::READ_WRITE | OpenFlags::EXCLUSIVE;
    assert_eq!(m.create(&me(), "a", 0o600, exclusive).unwrap_err(), Errno::EXIST);
    let truncated = m.create(&me(), "a", 0o600, OpenFlags::READ_WRITE | OpenFlags::TRUNCATE).unwrap();
    assert_eq!(truncated.0.1.size, 0);
}

#[test]
fn creating_what_is_no_file_makes_the_kernel_look_again() {
    let m = mirrored();
    m.make_directory("directory");
    assert_eq!(m.create(&me(), "directory", 0o600, OpenFlags::READ_WRITE).unwrap_err(), Errno::STALE);
}

#[test]
fn a_file_may_be_made_that_its_maker_cannot_open_again() {
    needs_root("to act as others");
    let m = mirrored();
    let (_, file) = m.create(&stranger(), "a", 0o000, OpenFlags::READ_WRITE).unwrap();
    pwrite(&file.descriptor, b"written", 0).unwrap();
    assert_eq!(contents(&file), "written");
    assert_eq!(m.open(&stranger(), "a", OpenFlags::empty()).unwrap_err(), Errno::ACCESS);
}

#[test]
fn what_may_be_executed_need_not_be_readable() {
    needs_root("to act as others");
    let m = mirrored();
    m.write("program", "x");
    fs::set_permissions(m.path("program"), fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(m.open(&stranger(), "program", OpenFlags::empty()).unwrap_err(), Errno::ACCESS);
    assert!(m.open(&stranger(), "program", OpenFlags::EXEC).is_ok());
}

#[test]
fn a_file_without_a_name_can_be_given_one() {
    let m = mirrored();
    let made = m.tree.create_unnamed(&me(), m.root(), mode(0o600), OpenFlags::READ_WRITE);
    let ((node, attributes), file) = made.unwrap();
    assert_eq!(attributes.links, 0);
    pwrite(&file.descriptor, b"x", 0).unwrap();
    m.tree.link(&me(), &node.0, m.root(), c"named").unwrap();
    assert_eq!(fs::read_to_string(m.path("named")).unwrap(), "x");

    let flags = OpenFlags::READ_WRITE | OpenFlags::EXCLUSIVE;
    let ((node, _), _file) = m.tree.create_unnamed(&me(), m.root(), mode(0o600), flags).unwrap();
    assert_eq!(m.tree.link(&me(), &node.0, m.root(), c"never").unwrap_err(), Errno::NOENT);
}

#[test]
fn the_node_of_an_open_file_does_not_keep_it_open_for_writing() {
    let m = mirrored();
    let (found, file) = m.create(&me(), "program", 0o755, OpenFlags::WRITE_ONLY).unwrap();
    pwrite(&file.descriptor, b"#!/bin/sh\nexit 7\n", 0).unwrap();
    drop(file);
    let status = std::process::Command::new(m.path("program")).status().expect("the text is not busy");
    assert_eq!(status.code(), Some(7));
    drop(found);
}

#[test]
fn holes_are_found_and_made() {
    let m = mirrored();
    fs::write(m.path("a"), vec![1; 1 << 20]).unwrap();
    let file = m.open(&me(), "a", OpenFlags::READ_WRITE).unwrap();
    let range = 65_536..131_072;
    let op = Fallocate { range, mode: FallocateMode::PunchHole, keep_size: true };
    m.tree.allocate(&me(), &file, &op).unwrap();
    let seek = |offset, what| m.tree.seek(&file, &Seek { offset, what });
    assert_eq!(seek(0, SeekFor::Hole), Ok(65_536));
    assert_eq!(seek(65_536, SeekFor::Data), Ok(131_072));
    assert_eq!(seek(2 << 20, SeekFor::Data), Err(Errno::NXIO));
    let op = Fallocate { range: 0..2 << 20, mode: FallocateMode::Allocate, keep_size: false };
    m.tree.allocate(&me(), &file, &op).unwrap();
    assert_eq!(fs::metadata(m.path("a")).unwrap().len(), 2 << 20);
}

#[test]
fn bytes_are_copied_between_files_without_passing_through_here() {
    let m = mirrored();
    m.write("a", "0123456789");
    m.write("b", "");
    let from = m.open(&me(), "a", OpenFlags::empty()).unwrap();
    let to = m.open(&me(), "b", OpenFlags::WRITE_ONLY).unwrap();
    let copied = m.tree.copy(&me(), &from, &to, &CopyRange { from: 2, to: 1, len: 4 });
    assert_eq!(copied, Ok(4));
    assert_eq!(fs::read(m.path("b")).unwrap(), b"\x002345");
    let past_the_end = m.tree.copy(&me(), &from, &to, &CopyRange { from: 10, to: 0, len: 4 });
    assert_eq!(past_the_end, Ok(0));
}

#[test]
fn a_stranger_who_changes_a_file_clears_its_privileges() {
    needs_root("to act as others");
    let m = mirrored();
    let mode_now = || fs::metadata(m.path("a")).unwrap().mode() & 0o7777;
    let reset = || fs::set_permissions(m.path("a"), fs::Permissions::from_mode(0o6777)).unwrap();
    m.write("a", "contents");
    reset();
    let file = m.open(&stranger(), "a", OpenFlags::READ_WRITE).unwrap();
    assert!(!file.may_forward, "the kernel would write as root");
    assert!(m.open(&stranger(), "a", OpenFlags::empty()).unwrap().may_forward, "for reading it may");
    m.tree.kill_privileges_of(&file).unwrap();
    assert_eq!(mode_now(), 0o777);
    assert!(m.open(&stranger(), "a", OpenFlags::READ_WRITE).unwrap().may_forward);
    reset();
    let op = Fallocate { range: 0..8192, mode: FallocateMode::Allocate, keep_size: false };
    m.tree.allocate(&stranger(), &file, &op).unwrap();
    assert_eq!(mode_now(), 0o777);
    reset();
    let size = wharf::op::SetAttributes { size: Some(2), ..Default::default() };
    m.tree.set_attributes(&stranger(), file.count.inode(), None, &size).unwrap();
    assert_eq!(mode_now(), 0o777);
    reset();
    let truncating = OpenFlags::READ_WRITE | OpenFlags::TRUNCATE;
    m.open(&stranger(), "a", truncating).unwrap();
    assert_eq!(mode_now(), 0o777);
    reset();
    m.open(&me(), "a", truncating).unwrap();
    assert_eq!(mode_now(), 0o6777, "root keeps them");
}

#[test]
fn what_no_queue_may_read_is_read_and_written_here() {
    let m = mirrored();
    m.write("a", "0123456789");
    let file = m.open(&me(), "a", OpenFlags::READ_WRITE).unwrap();
    assert_eq!(files::write(&file, 8, b"xyz"), Ok(3));
    let mut buffer = [0; 16];
    assert_eq!(files::read(&file, 6, &mut buffer), Ok(5));
    assert_eq!(&buffer[..5], b"67xyz");
    assert_eq!(files::read(&file, 11, &mut buffer), Ok(0));
    let file = m.open(&me(), "a", OpenFlags::empty()).unwrap();
    assert_eq!(files::write(&file, 0, b"x"), Err(Errno::BADF));
}
