//! Names, kinds and attributes.

use wharf::op::OpenFlags;
use wharf::{Errno, Kind, Time};

use super::super::{Options, Owners};
use super::maker::{Part, archive, archive_with};
use super::{open, open_with, options, paths, volume};
use crate::info::{Describe as _, Value};

#[test]
fn directories_that_are_missing_are_made() {
    let zip = open(&archive(&[
        Part::stored("z", b"1"),
        Part::stored("a/b/c/d", b"2"),
        Part::stored("a-b/c", b"3"),
        Part::stored("a/e", b"4"),
        Part::stored("empty/", b"").mode(0o040_700),
    ]));
    let mut volume = volume(zip);
    let all = ["a", "a-b", "a-b/c", "a/b", "a/b/c", "a/b/c/d", "a/e", "empty", "z"];
    assert_eq!(paths(&mut volume, ""), all);
    assert_eq!(volume.list("").expect("listed"), ["a", "a-b", "empty", "z"]);
    assert_eq!(volume.stat("empty").expect("there").permissions, 0o700);
    assert_eq!(volume.stat("a/b").expect("there").permissions, 0o755);
    assert_eq!(volume.stat("a/nothing"), Err(Errno::ENOENT));
    assert_eq!(volume.stat("z/below"), Err(Errno::ENOENT));
    for whole in [false, true] {
        let lines = volume.list_entries("a", whole).expect("listed");
        let names: Vec<_> =
            lines.iter().map(|line| String::from_utf8_lossy(&line.name).into_owned()).collect();
        assert_eq!(names, [".", "..", "b", "e"]);
        let e = lines.last().expect("listed");
        assert_eq!((e.kind, e.inode), (Kind::File, volume.stat("a/e").expect("there").inode));
    }
    volume.forget_all();
    assert_eq!(volume.counts(), (0, 0));
}

#[test]
fn names_never_lead_out_and_what_has_no_place_is_left_out() {
    let evil: Vec<Part> = ["../up", "a/../../up", "/etc/passwd", "a//./b", "..", "/", "\0", "x\0y", "C:\\x"]
        .map(|name| Part::stored(name, b"x"))
        .into();
    let zip = open(&archive(&evil));
    assert_eq!(zip.index().summary.refused, 6);
    let info = zip.describe().expect("told");
    assert!(info.remarks()[0].starts_with("6 entries are not shown"), "{info:?}");
    let mut volume = volume(zip);
    assert_eq!(paths(&mut volume, ""), ["C:\\x", "a", "a/b", "etc", "etc/passwd"]);
}

#[test]
fn of_several_with_one_name_the_last_is_shown_and_a_directory_stays_one() {
    let zip = open(&archive(&[
        Part::stored("same", b"first"),
        Part::stored("file", b"no directory"),
        Part::stored("same", b"second"),
        Part::link("link", "/etc"),
        Part::stored("file/below", b"3"),
        Part::stored("link/passwd", b"4"),
        Part::stored("dir/", b"").mode(0o040_755),
        Part::stored("dir", b"5"),
        Part::stored("dir/x", b"6"),
    ]));
    assert_eq!(zip.index().summary.replaced, 4);
    let mut volume = volume(zip);
    let all = ["dir", "dir/x", "file", "file/below", "link", "link/passwd", "same"];
    assert_eq!(paths(&mut volume, ""), all);
    assert_eq!(volume.read("same").expect("read"), b"second");
    assert_eq!(volume.read("link/passwd").expect("read"), b"4");
    assert_eq!(volume.readlink("link"), Err(Errno::EINVAL));
}

#[test]
fn modes_owners_and_times_are_those_of_the_archive() {
    let mut owned = Part::stored("owned", b"x").mode(0o104_751);
    owned.extra =
        b"UT\x05\x00\x01\x80\x51\x01\x00ux\x0b\x00\x01\x04\xe8\x03\x00\x00\x04\xe9\x03\x00\x00".into();
    let dos = |name: &str, external| Part { made_by: 0x14, external, ..Part::stored(name, b"") };
    let parts =
        [owned, dos("plain", 0x20), dos("locked", 0x21), dos("dir\\below", 0x20), dos("folder", 0x10)];
    let mut volume = volume(open(&archive(&parts)));
    let owned = volume.stat("owned").expect("there");
    assert_eq!((owned.permissions, owned.uid, owned.gid), (0o4751, 1000, 1001));
    assert_eq!(owned.modified, Time { seconds: 86_400, nanoseconds: 0 });
    let plain = volume.stat("plain").expect("there");
    assert_eq!((plain.permissions, plain.uid, plain.gid), (0o644, 1, 2));
    // Noon of the first day of 2000, in whatever zone this is.
    assert!((plain.modified.seconds - 946_728_000).abs() <= 14 * 3600, "{plain:?}");
    assert_eq!(volume.stat("locked").expect("there").permissions, 0o444);
    assert_eq!(volume.stat("dir/below").expect("there").kind, Kind::File);
    assert_eq!(volume.stat("folder").expect("there").kind, Kind::Directory);
}

#[test]
fn all_can_be_one_users_who_may_read_it() {
    let owners = Owners::One { uid: 7, gid: 8 };
    let parts = [Part::stored("a/secret", b"x").mode(0o100_000), Part::stored("a/", b"").mode(0o040_000)];
    let zip = open_with(&archive(&parts), Options { owners, ..options() }).expect("an archive");
    let mut volume = volume(zip);
    let secret = volume.stat("a/secret").expect("there");
    assert_eq!((secret.uid, secret.gid, secret.permissions), (7, 8, 0o400));
    assert_eq!(volume.stat("a").expect("there").permissions, 0o500);
}

#[test]
fn names_are_utf8_or_of_the_old_code_page() {
    let mut old = Part::stored("", b"1");
    old.name = b"gr\x94\xe1e.txt".to_vec();
    let mut new = Part::stored("größe2", b"2");
    new.flags = 1 << 11;
    let mut volume = volume(open(&archive(&[old, new, Part::stored("größe3", b"3")])));
    assert_eq!(paths(&mut volume, ""), ["größe.txt", "größe2", "größe3"]);
}

#[test]
fn a_link_is_told_as_it_is() {
    let long = "x/".repeat(2047);
    let parts = [
        Part::link("up", "../../etc/passwd"),
        Part::link("loop", "loop"),
        Part::link("long", &long),
        // No link could be so long, so these are files.
        Part::link("longer", &"y".repeat(4096)),
        Part::link("empty", ""),
        Part::link("nul", "a\0b"),
        Part { crc: 1, ..Part::link("damaged", "target") },
    ];
    let mut volume = volume(open(&archive(&parts)));
    assert_eq!(volume.readlink("up").expect("read"), b"../../etc/passwd");
    assert_eq!(volume.readlink("loop").expect("read"), b"loop");
    assert_eq!(volume.readlink("long").expect("read"), long.as_bytes());
    assert_eq!(volume.stat("up").expect("there").size, 16);
    for file in ["longer", "empty"] {
        assert_eq!(volume.stat(file).expect("there").kind, Kind::File);
    }
    for damaged in ["nul", "damaged"] {
        assert_eq!(volume.readlink(damaged), Err(Errno::EIO), "{damaged}");
    }
}

#[test]
fn nothing_is_written() {
    let mut volume = volume(open(&archive(&[Part::stored("a", b"x")])));
    assert_eq!(volume.open("a", OpenFlags::READ_WRITE), Err(Errno::EROFS));
    assert!(volume.write("a", b"y").is_err() && volume.unlink("a").is_err());
    assert_eq!(volume.read("a").expect("read"), b"x");
}

#[test]
fn an_archive_is_found_behind_other_bytes_and_before_a_comment() {
    for (before, comment) in [(0, 0), (1000, 0), (0, 65_535), (70_000, 20_000)] {
        let mut bytes = vec![b'#'; before];
        bytes.extend(archive_with(&[Part::deflated("a/b", b"contents")], &vec![b'-'; comment]));
        let mut volume = volume(open(&bytes));
        assert_eq!(volume.read("a/b").expect("read"), b"contents", "{before} {comment}");
    }
    assert_eq!(open(&archive(&[])).index().len(), 1);
}

#[test]
fn numbers_of_64_bits_and_many_entries_are_read() {
    let large = Part { large: true, ..Part::deflated("large", b"contents") };
    let mut volume_large = volume(open(&archive(&[large, Part { large: true, ..Part::stored("b", b"2") }])));
    assert_eq!(volume_large.read("large").expect("read"), b"contents");
    assert_eq!(volume_large.read("b").expect("read"), b"2");
    let many: Vec<Part> = (0..66_000).map(|at| Part::stored(&format!("{}/{at}", at % 100), b"")).collect();
    let zip = open(&archive(&many));
    assert_eq!((zip.index().summary.files, zip.index().summary.directories), (66_000, 100));
    let mut volume = volume(zip);
    assert_eq!(volume.list("7").expect("listed").len(), 660);
    assert!(volume.stat("99/65999").is_ok());
}

#[test]
fn what_is_inside_is_told_without_unpacking() {
    let parts = [Part::stored("a/b", b"12345"), Part { crc: 0, ..Part::deflated("c", &[0; 1000]) }];
    let info = open(&archive(&parts)).describe().expect("told");
    let fact = |name: &str| info.facts().iter().find(|fact| fact.name == name).map(|fact| fact.value.clone());
    assert_eq!(fact("files"), Some(Value::Count(2)));
    assert_eq!(fact("directories"), Some(Value::Count(1)));
    assert_eq!(fact("unpacked"), Some(Value::Bytes(1005)));
    assert_eq!(fact("methods"), Some(Value::Text("1 stored, 1 deflate".into())));
    assert!(info.remarks().is_empty());
}
