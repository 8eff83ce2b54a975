//! Extended attributes, and the access control lists that are two of them.

use std::{ffi::CStr, path::Path};

use rustix::{
    fs::{XattrFlags, getxattr, lgetxattr, listxattr, lsetxattr, removexattr, setxattr},
    io::{Errno, Result},
};

use super::{Case, case};
use crate::{
    child::{ANNA, BERT, as_user},
    dir::{Dir, must_fail, pattern, same_bytes},
};

pub(super) const CASES: &[Case] = &[
    case!(an_attribute_is_kept, XATTRS),
    case!(an_attribute_may_be_any_bytes_or_none, XATTRS),
    case!(create_and_replace_mean_what_they_say, XATTRS),
    case!(a_missing_attribute_is_no_data, XATTRS),
    case!(a_buffer_too_small_is_told, XATTRS),
    case!(a_size_can_be_asked_for, XATTRS),
    case!(all_attributes_are_listed, XATTRS),
    case!(a_removed_attribute_is_gone, XATTRS),
    case!(a_name_of_255_bytes_is_the_longest, XATTRS),
    case!(a_value_over_64_kib_is_refused, XATTRS),
    case!(a_value_of_64_kib_is_kept, XATTRS_64K),
    case!(directories_have_attributes, XATTRS),
    case!(attributes_of_users_are_not_for_links, XATTRS | SYMLINKS),
    case!(trusted_attributes_are_for_root, XATTRS | SYMLINKS | PERMISSIONS),
    case!(attributes_follow_their_file, XATTRS | LINKS),
    case!(attributes_are_reached_through_descriptors, XATTRS),
    case!(setting_an_attribute_moves_ctime, XATTRS),
    case!(the_mode_decides_about_attributes_of_users, XATTRS | PERMISSIONS),
    case!(an_unknown_namespace_is_refused, XATTRS),
    case!(a_list_lets_a_user_in, ACL | PERMISSIONS),
    case!(a_list_keeps_a_user_out, ACL | PERMISSIONS),
    case!(the_group_bits_are_the_mask_of_a_list, ACL | PERMISSIONS),
    case!(a_list_of_three_entries_is_the_mode, ACL),
    case!(a_default_list_is_handed_down, ACL | PERMISSIONS),
    case!(a_malformed_list_is_refused, ACL),
];

#[track_caller]
fn set(dir: &Dir, file: &str, name: &str, value: &[u8]) {
    setxattr(dir.path(file), name, value, XattrFlags::empty())
        .unwrap_or_else(|errno| panic!("set {name}: {errno}"));
}

/// The value, read with plenty of room.
fn get(path: impl AsRef<Path>, name: &str) -> Result<Vec<u8>> {
    let mut value = vec![0; 128 << 10];
    let count = getxattr(path.as_ref(), name, &mut value[..])?;
    value.truncate(count);
    Ok(value)
}

/// The names in the namespace `user`. Others may be there that nobody here set.
#[track_caller]
fn list(dir: &Dir, file: &str) -> Vec<String> {
    let mut names = vec![0; 64 << 10];
    let count = listxattr(dir.path(file), &mut names[..]).expect("listxattr");
    let names = names[..count].split_inclusive(|byte| *byte == 0);
    let names =
        names.map(|name| CStr::from_bytes_with_nul(name).expect("a name that ends").to_string_lossy());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("user.")).map(|name| name.into()).collect();
    names.sort();
    names
}

fn an_attribute_is_kept(dir: &Dir) {
    dir.file("file", "bytes");
    set(dir, "file", "user.one", b"first");
    set(dir, "file", "user.two", b"second");
    assert_eq!(get(dir.path("file"), "user.one").as_deref(), Ok(&b"first"[..]));
    set(dir, "file", "user.one", b"changed, and longer");
    assert_eq!(get(dir.path("file"), "user.one").as_deref(), Ok(&b"changed, and longer"[..]));
    assert_eq!(get(dir.path("file"), "user.two").as_deref(), Ok(&b"second"[..]));
    assert_eq!(dir.bytes("file"), b"bytes");
}

fn an_attribute_may_be_any_bytes_or_none(dir: &Dir) {
    dir.file("file", "");
    for value in [&b""[..], b"\0", b"\0\xff\0", &pattern(1, 2000)] {
        set(dir, "file", "user.value", value);
        assert_eq!(get(dir.path("file"), "user.value").as_deref(), Ok(value));
        assert_eq!(list(dir, "file"), ["user.value"]);
    }
}

fn create_and_replace_mean_what_they_say(dir: &Dir) {
    dir.file("file", "");
    let set = |flags, value: &[u8]| setxattr(dir.path("file"), "user.one", value, flags);
    must_fail(set(XattrFlags::REPLACE, b"x"), Errno::NODATA);
    set(XattrFlags::CREATE, b"first").expect("to create");
    must_fail(set(XattrFlags::CREATE, b"x"), Errno::EXIST);
    assert_eq!(get(dir.path("file"), "user.one").as_deref(), Ok(&b"first"[..]));
    set(XattrFlags::REPLACE, b"second").expect("to replace");
    assert_eq!(get(dir.path("file"), "user.one").as_deref(), Ok(&b"second"[..]));
}

fn a_missing_attribute_is_no_data(dir: &Dir) {
    dir.file("file", "");
    must_fail(get(dir.path("file"), "user.none"), Errno::NODATA);
    must_fail(removexattr(dir.path("file"), "user.none"), Errno::NODATA);
    must_fail(get(dir.path("missing"), "user.none"), Errno::NOENT);
}

fn a_buffer_too_small_is_told(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", "user.one", b"0123456789");
    must_fail(getxattr(dir.path("file"), "user.one", &mut [0; 9]), Errno::RANGE);
    assert_eq!(getxattr(dir.path("file"), "user.one", &mut [0; 10]), Ok(10));
    must_fail(listxattr(dir.path("file"), &mut [0; 5]), Errno::RANGE);
}

fn a_size_can_be_asked_for(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", "user.one", b"0123456789");
    assert_eq!(rustix::fs::getxattr_query(dir.path("file"), "user.one"), Ok(10));
    let size = rustix::fs::listxattr_query(dir.path("file")).expect("the size of the list");
    assert!(size >= "user.one\0".len());
    assert_eq!(listxattr(dir.path("file"), &mut vec![0; size][..]), Ok(size));
}

fn all_attributes_are_listed(dir: &Dir) {
    dir.file("file", "");
    assert!(list(dir, "file").is_empty());
    let mut names: Vec<String> = (0..40).map(|number| format!("user.number-{number}")).collect();
    for name in &names {
        set(dir, "file", name, b"x");
    }
    names.sort();
    assert_eq!(list(dir, "file"), names);
}

fn a_removed_attribute_is_gone(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", "user.one", b"x");
    set(dir, "file", "user.two", b"y");
    removexattr(dir.path("file"), "user.one").expect("to remove");
    must_fail(get(dir.path("file"), "user.one"), Errno::NODATA);
    assert_eq!(list(dir, "file"), ["user.two"]);
}

fn a_name_of_255_bytes_is_the_longest(dir: &Dir) {
    dir.file("file", "");
    let longest = format!("user.{}", "n".repeat(250));
    set(dir, "file", &longest, b"x");
    assert_eq!(list(dir, "file"), [&*longest]);
    let longer = format!("{longest}n");
    must_fail(setxattr(dir.path("file"), &*longer, b"x", XattrFlags::empty()), Errno::RANGE);
}

fn a_value_over_64_kib_is_refused(dir: &Dir) {
    dir.file("file", "");
    let value = vec![b'v'; (64 << 10) + 1];
    must_fail(setxattr(dir.path("file"), "user.large", &value, XattrFlags::empty()), Errno::TOOBIG);
}

fn a_value_of_64_kib_is_kept(dir: &Dir) {
    dir.file("file", "");
    let value = pattern(2, 64 << 10);
    set(dir, "file", "user.large", &value);
    same_bytes(&get(dir.path("file"), "user.large").expect("a large value"), &value);
}

fn directories_have_attributes(dir: &Dir) {
    dir.sub("directory").file("file", "");
    set(dir, "directory", "user.one", b"x");
    assert_eq!(list(dir, "directory"), ["user.one"]);
    assert!(list(dir, "directory/file").is_empty());
}

fn attributes_of_users_are_not_for_links(dir: &Dir) {
    dir.file("file", "");
    dir.symlink("file", "link");
    must_fail(lsetxattr(dir.path("link"), "user.one", b"x", XattrFlags::empty()), Errno::PERM);
    // Through the link it is the file's.
    set(dir, "link", "user.one", b"x");
    assert_eq!(list(dir, "file"), ["user.one"]);
}

fn trusted_attributes_are_for_root(dir: &Dir) {
    dir.file("file", "");
    dir.chmod("file", 0o666);
    set(dir, "file", "trusted.one", b"secret");
    assert_eq!(get(dir.path("file"), "trusted.one").as_deref(), Ok(&b"secret"[..]));
    as_user(ANNA, dir, || {
        must_fail(get(dir.path("file"), "trusted.one"), Errno::NODATA);
        must_fail(setxattr(dir.path("file"), "trusted.one", b"x", XattrFlags::empty()), Errno::PERM);
    });
    dir.symlink("file", "link");
    lsetxattr(dir.path("link"), "trusted.link", b"x", XattrFlags::empty()).expect("an attribute of a link");
    assert_eq!(lgetxattr(dir.path("link"), "trusted.link", &mut [0; 10]), Ok(1));
    must_fail(get(dir.path("file"), "trusted.link"), Errno::NODATA);
}

fn attributes_follow_their_file(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", "user.one", b"x");
    dir.rename("file", "renamed");
    dir.link("renamed", "linked");
    dir.unlink("renamed");
    assert_eq!(get(dir.path("linked"), "user.one").as_deref(), Ok(&b"x"[..]));
    dir.file("renamed", "");
    assert!(list(dir, "renamed").is_empty());
}

fn attributes_are_reached_through_descriptors(dir: &Dir) {
    let file = dir.create("file");
    dir.unlink("file");
    rustix::fs::fsetxattr(&file, "user.one", b"value", XattrFlags::empty()).expect("fsetxattr");
    let mut value = [0; 5];
    assert_eq!(rustix::fs::fgetxattr(&file, "user.one", &mut value), Ok(5));
    assert_eq!(&value, b"value");
    assert!(rustix::fs::flistxattr_query(&file).expect("flistxattr") >= 9);
    rustix::fs::fremovexattr(&file, "user.one").expect("fremovexattr");
    must_fail(rustix::fs::fgetxattr(&file, "user.one", &mut value), Errno::NODATA);
}

fn setting_an_attribute_moves_ctime(dir: &Dir) {
    use std::os::unix::fs::MetadataExt;
    dir.file("file", "");
    let ctime = || (dir.stat("file").ctime(), dir.stat("file").ctime_nsec());
    let before = ctime();
    std::thread::sleep(std::time::Duration::from_millis(12));
    set(dir, "file", "user.one", b"x");
    let between = ctime();
    assert!(between > before);
    std::thread::sleep(std::time::Duration::from_millis(12));
    removexattr(dir.path("file"), "user.one").expect("to remove");
    assert!(ctime() > between);
}

fn the_mode_decides_about_attributes_of_users(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", "user.one", b"x");
    let change = || setxattr(dir.path("file"), "user.one", b"y", XattrFlags::empty());
    for (mode, read, write) in [(0o600, false, false), (0o604, true, false), (0o606, true, true)] {
        dir.chmod("file", mode);
        as_user(ANNA, dir, || {
            assert_eq!(get(dir.path("file"), "user.one").is_ok(), read, "reading at {mode:o}");
            assert_eq!(change(), if write { Ok(()) } else { Err(Errno::ACCESS) }, "writing at {mode:o}");
        });
    }
}

fn an_unknown_namespace_is_refused(dir: &Dir) {
    dir.file("file", "");
    must_fail(setxattr(dir.path("file"), "wharf.one", b"x", XattrFlags::empty()), Errno::OPNOTSUPP);
    must_fail(get(dir.path("file"), "wharf.one"), Errno::OPNOTSUPP);
}

/// Entries of an access control list, as `system.posix_acl_access` has them.
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const NOBODY: u32 = u32::MAX;

fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// Owner rw, ANNA `bits`, group and others nothing, mask rwx.
fn for_anna(bits: u16) -> Vec<u8> {
    acl(&[
        (USER_OBJ, 6, NOBODY),
        (USER, bits, ANNA.uid),
        (GROUP_OBJ, 0, NOBODY),
        (MASK, 7, NOBODY),
        (OTHER, 0, NOBODY),
    ])
}

fn a_list_lets_a_user_in(dir: &Dir) {
    dir.file("file", "bytes");
    dir.chmod("file", 0o600);
    set(dir, "file", ACCESS, &for_anna(4));
    as_user(ANNA, dir, || {
        assert_eq!(dir.bytes("file"), b"bytes");
        must_fail(dir.try_open("file", rustix::fs::OFlags::WRONLY), Errno::ACCESS);
    });
    as_user(BERT, dir, || must_fail(dir.try_open("file", rustix::fs::OFlags::RDONLY), Errno::ACCESS));
    assert_eq!(get(dir.path("file"), ACCESS), Ok(for_anna(4)));
}

fn a_list_keeps_a_user_out(dir: &Dir) {
    dir.file("file", "bytes");
    let list = acl(&[
        (USER_OBJ, 6, NOBODY),
        (USER, 0, ANNA.uid),
        (GROUP_OBJ, 4, NOBODY),
        (MASK, 4, NOBODY),
        (OTHER, 4, NOBODY),
    ]);
    set(dir, "file", ACCESS, &list);
    as_user(ANNA, dir, || must_fail(dir.try_open("file", rustix::fs::OFlags::RDONLY), Errno::ACCESS));
    as_user(BERT, dir, || assert_eq!(dir.bytes("file"), b"bytes"));
}

fn the_group_bits_are_the_mask_of_a_list(dir: &Dir) {
    dir.file("file", "bytes");
    set(dir, "file", ACCESS, &for_anna(7));
    assert_eq!(dir.mode("file"), 0o670);
    dir.chmod("file", 0o640);
    as_user(ANNA, dir, || {
        assert_eq!(dir.bytes("file"), b"bytes");
        must_fail(dir.try_open("file", rustix::fs::OFlags::WRONLY), Errno::ACCESS);
    });
    dir.chmod("file", 0o600);
    as_user(ANNA, dir, || must_fail(dir.try_open("file", rustix::fs::OFlags::RDONLY), Errno::ACCESS));
}

fn a_list_of_three_entries_is_the_mode(dir: &Dir) {
    dir.file("file", "");
    set(dir, "file", ACCESS, &acl(&[(USER_OBJ, 7, NOBODY), (GROUP_OBJ, 5, NOBODY), (OTHER, 1, NOBODY)]));
    assert_eq!(dir.mode("file"), 0o751);
    must_fail(get(dir.path("file"), ACCESS), Errno::NODATA);
}

fn a_default_list_is_handed_down(dir: &Dir) {
    let parent = dir.sub("parent");
    set(dir, "parent", DEFAULT, &for_anna(7));
    // The umask counts for nothing here; the mode that the maker asked for is a bound.
    rustix::process::umask(rustix::fs::Mode::from(0o077));
    let file = parent.open("file", rustix::fs::OFlags::CREATE | rustix::fs::OFlags::RDWR);
    drop(file);
    let child = parent.sub("child");
    assert_eq!(parent.mode("file"), 0o640);
    assert_eq!(get(parent.path("child"), DEFAULT), Ok(for_anna(7)));
    child.file("grandchild", "bytes");
    dir.chmod("parent", 0o711);
    parent.chmod("child", 0o711);
    as_user(ANNA, dir, || {
        parent.bytes("file");
    });
    must_fail(get(parent.path("file"), DEFAULT), Errno::NODATA);
    must_fail(setxattr(parent.path("file"), DEFAULT, &for_anna(7), XattrFlags::empty()), Errno::ACCESS);
}

fn a_malformed_list_is_refused(dir: &Dir) {
    dir.file("file", "");
    let good = for_anna(4);
    let no_owner = acl(&[(GROUP_OBJ, 5, NOBODY), (OTHER, 1, NOBODY)]);
    let no_mask = acl(&[(USER_OBJ, 6, NOBODY), (USER, 4, 5), (GROUP_OBJ, 0, NOBODY), (OTHER, 0, NOBODY)]);
    for list in [&good[..good.len() - 1], &no_owner, &no_mask] {
        must_fail(setxattr(dir.path("file"), ACCESS, list, XattrFlags::empty()), Errno::INVAL);
    }
    assert_eq!(dir.mode("file"), 0o644);
}
