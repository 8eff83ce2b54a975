//! Archives that somebody has damaged, or made to damage us: an error, or files that stay within what they say.

use std::io::ErrorKind;

use super::super::{Options, Zip};
use super::maker::{Part, archive, archive_with, text};
use super::{open_with, options, paths, volume};

/// Opens an archive of any bytes, and reads all of it. Returns whether it is an archive.
pub(super) fn exercise(bytes: &[u8]) -> bool {
    let limited = Options { cache_bytes_max: 4 << 20, ..options() };
    let Ok(zip) = open_with(bytes, limited) else { return false };
    let contents = zip.contents.clone();
    walk(zip);
    assert!(contents.bytes() <= 4 << 20);
    true
}

fn walk(zip: Zip) {
    let mut volume = volume(zip);
    for path in paths(&mut volume, "") {
        let size = volume.stat(&path).expect("listed").size;
        if let Ok(read) = volume.read(&path) {
            assert_eq!(read.len() as u64, size, "{path}");
        }
        let _ = volume.readlink(&path);
    }
}

/// A little of everything.
pub(super) fn specimen() -> Vec<u8> {
    let mut dated = Part::deflated("a/dated", b"contents");
    dated.extra =
        b"UT\x05\x00\x01\x80\x51\x01\x00ux\x0b\x00\x01\x04\xe8\x03\x00\x00\x04\xe9\x03\x00\x00".into();
    let parts = [
        Part::stored("stored", b"as it is"),
        dated,
        Part { large: true, ..Part::deflated("a/b/large", &text(2000)) },
        Part::link("link", "a/b"),
        Part::stored("d/", b"").mode(0o040_755),
    ];
    archive_with(&parts, b"a comment")
}

#[test]
fn an_archive_that_is_cut_off_anywhere_is_refused() {
    let whole = specimen();
    assert!(exercise(&whole));
    // With the comment cut off it is still one.
    for end in (0..whole.len() - b"a comment".len()).rev() {
        assert!(!exercise(&whole[..end]), "{end}");
    }
}

#[test]
fn whatever_byte_is_changed_nothing_breaks() {
    let whole = specimen();
    let mut opened = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] = [0, 0xff, whole[at] ^ 1][at % 3];
        opened += usize::from(exercise(&bytes));
    }
    assert!(opened > whole.len() / 3, "{opened}");
}

#[test]
fn what_is_no_archive_is_refused_in_words() {
    for bytes in [&b""[..], b"PK", b"no archive at all", &[0; 100_000]] {
        let error = open_with(bytes, options()).expect_err("no archive");
        assert!(!error.to_string().is_empty());
    }
    let error = Zip::open("/", options(), &crate::progress::Silent).expect_err("a directory");
    assert!(error.kind() == ErrorKind::InvalidInput, "{error}");
}

#[test]
fn a_directory_that_lies_about_its_length_is_refused() {
    let whole = archive(&[Part::stored("a", b"x"), Part::stored("b", b"y")]);
    let end = whole.len() - 22;
    for (place, value) in [(8, 3u32), (8, 0xffff), (12, u32::MAX), (12, 0), (16, u32::MAX), (16, 1)] {
        let mut bytes = whole.clone();
        let width = if place == 8 { 2 } else { 4 };
        bytes[end + place..][..width].copy_from_slice(&value.to_le_bytes()[..width]);
        if place == 8 {
            bytes.copy_within(end + 8..end + 10, end + 10);
        }
        exercise(&bytes);
    }
    // Entries for which there is no room, told in 64 bits.
    let mut bytes = archive(&[Part { large: true, ..Part::stored("a", b"x") }]);
    let end64 = bytes.len() - 22 - 20 - 56;
    bytes[end64 + 24..][..16].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0].repeat(2));
    assert!(!exercise(&bytes));
}

#[test]
fn members_may_share_their_bytes_and_none_gets_more_than_its_own() {
    // The second is where the first is, and both are right: that is no harm.
    let first = Part::deflated("first", &text(5000));
    let second = Part { name: b"again".to_vec(), header: Some(0), ..first.clone() };
    assert!(exercise(&archive(&[first.clone(), second])));
    // Thousands that are one bomb cost what is open of them.
    let many = (0..2000).map(|at| Part {
        name: at.to_string().into_bytes(),
        packed: Vec::new(),
        header: Some(0),
        ..first.clone()
    });
    assert!(exercise(&archive(&[vec![first.clone()], many.collect()].concat())));
}

#[test]
fn a_decoder_that_asks_for_too_much_is_refused() {
    let mut lzma = vec![9, 4, 5, 0, 0x5d, 0xff, 0xff, 0xff, 0xff];
    lzma.extend_from_slice(&[0; 64]);
    // A frame whose window would be 2 TiB.
    let zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0, 0, 0, 0];
    for (method, packed) in [(14, lzma), (93, zstd), (95, vec![0xfd, b'7', b'z', b'X', b'Z', 0, 0, 4])] {
        let part = Part { size: 1 << 20, ..Part::packed("a", method, b"", packed) };
        let mut volume = volume(open_with(&archive(&[part]), options()).expect("an archive"));
        assert_eq!(volume.read("a"), Err(wharf::Errno::EIO), "{method}");
    }
}

#[test]
fn a_deep_tree_is_a_tree() {
    let deep = "d/".repeat(2000) + "f";
    let wide: Vec<Part> = (0..50).map(|at| Part::stored(&format!("{at}/{deep}"), b"x")).collect();
    let zip = open_with(&archive(&wide), options()).expect("an archive");
    assert_eq!(zip.index().summary.directories, 50 * 2001);
    let mut volume = volume(zip);
    assert_eq!(volume.read(&format!("7/{deep}")).expect("read"), b"x");
}
