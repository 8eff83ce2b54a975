//! Extended attributes.

use std::os::unix::fs::symlink;

use rustix::io::Errno;
use wharf::op::SetXattrHow;

use super::*;

fn get(m: &Mirrored, who: &Who, name: &str, key: &CStr) -> Result<String> {
    let mut buffer = [0; 64];
    let length = m.tree.get_xattr(who, &m.node(name).0.0, key, &mut buffer)?;
    Ok(String::from_utf8(buffer[..length].to_vec()).unwrap())
}

fn set(m: &Mirrored, name: &str, key: &CStr, value: &[u8], how: SetXattrHow) -> Result<()> {
    m.tree.set_xattr(&me(), &m.node(name).0.0, (key, value), how, false)
}

fn list(m: &Mirrored, who: &Who, name: &str) -> Vec<String> {
    let (node, mut buffer) = (m.node(name).0, [0; 1024]);
    let length = m.tree.list_xattrs(who, &node.0, &mut buffer).unwrap();
    assert_eq!(m.tree.list_xattrs(who, &node.0, &mut []).unwrap(), length, "asked for the length only");
    let names = String::from_utf8(buffer[..length].to_vec()).unwrap();
    names.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn attributes_are_set_read_listed_and_removed() {
    let m = mirrored();
    m.write("a", "");
    assert_eq!(set(&m, "a", c"user.x", b"1", SetXattrHow::Replace), Err(Errno::NODATA));
    set(&m, "a", c"user.x", b"value", SetXattrHow::Create).unwrap();
    assert_eq!(set(&m, "a", c"user.x", b"1", SetXattrHow::Create), Err(Errno::EXIST));
    set(&m, "a", c"user.empty", b"", SetXattrHow::Any).unwrap();
    assert_eq!(get(&m, &me(), "a", c"user.x").unwrap(), "value");
    assert_eq!(get(&m, &me(), "a", c"user.empty").unwrap(), "");
    let (a, _) = m.node("a");
    assert_eq!(m.tree.get_xattr(&me(), &a.0, c"user.x", &mut []), Ok(5), "asked for the length only");
    assert_eq!(m.tree.get_xattr(&me(), &a.0, c"user.x", &mut [0; 3]), Err(Errno::RANGE));
    let mut names = list(&m, &me(), "a");
    names.sort_unstable();
    assert_eq!(names, ["user.empty", "user.x"]);
    m.tree.remove_xattr(&me(), &a.0, c"user.x").unwrap();
    assert_eq!(get(&m, &me(), "a", c"user.x"), Err(Errno::NODATA));
}

#[test]
fn a_link_has_attributes_of_its_own() {
    needs_root("to set trusted attributes");
    let m = mirrored();
    m.write("a", "");
    symlink("a", m.path("link")).unwrap();
    set(&m, "link", c"trusted.x", b"links", SetXattrHow::Any).unwrap();
    assert_eq!(get(&m, &me(), "link", c"trusted.x").unwrap(), "links");
    assert_eq!(get(&m, &me(), "a", c"trusted.x"), Err(Errno::NODATA));
}

#[test]
fn trusted_attributes_are_roots() {
    needs_root("to set trusted attributes");
    let m = mirrored();
    m.write("a", "");
    set(&m, "a", c"trusted.x", b"1", SetXattrHow::Any).unwrap();
    set(&m, "a", c"user.x", b"1", SetXattrHow::Any).unwrap();
    assert_eq!(list(&m, &stranger(), "a"), ["user.x"]);
    assert_eq!(list(&m, &me(), "a").len(), 2);
}

#[test]
fn a_file_without_a_list_has_none_whatever_the_file_system() {
    let m = mirrored();
    m.write("a", "");
    symlink("a", m.path("link")).unwrap();
    for name in ["a", "link"] {
        assert_eq!(get(&m, &me(), name, c"system.posix_acl_access"), Err(Errno::NODATA), "{name}");
    }
}

#[test]
fn who_may_not_read_a_file_may_not_read_its_user_attributes() {
    needs_root("to act as others");
    let m = mirrored();
    m.create(&me(), "a", 0o600, wharf::op::OpenFlags::READ_WRITE).unwrap();
    set(&m, "a", c"user.x", b"1", SetXattrHow::Any).unwrap();
    assert_eq!(get(&m, &stranger(), "a", c"user.x"), Err(Errno::ACCESS));
}
