//! The bytes of members: unpacked once, checked, within a limit.

use std::io::Write as _;

use wharf::Errno;
use wharf::op::OpenFlags;

use super::super::Options;
use super::super::contents::{HELD_BACK_BYTES, SMALL_BYTES_MAX};
use super::maker::{Part, archive, text};
use super::{open, open_with, options, volume};

const READ: OpenFlags = OpenFlags::empty();
const LARGE: usize = 3 << 20;

#[test]
fn what_was_packed_is_read() {
    let (small, large) = (text(100_000), text(LARGE));
    let edge = text(SMALL_BYTES_MAX as usize);
    let mut volume = volume(open(&archive(&[
        Part::stored("stored", &large),
        Part::deflated("small", &small),
        Part::deflated("large", &large),
        Part::deflated("edge", &edge),
        Part::stored("empty", b""),
        Part::deflated("empty-packed", b""),
    ])));
    for (name, bytes) in
        [("stored", &large), ("small", &small), ("large", &large), ("edge", &edge), ("empty", &vec![])]
    {
        assert!(volume.read(name).expect(name) == *bytes, "{name}");
        assert_eq!(volume.stat(name).expect("there").size, bytes.len() as u64);
    }
    assert_eq!(volume.read("empty-packed").expect("read"), b"");
    for name in ["stored", "small", "large"] {
        let open = volume.open(name, READ).expect("open");
        assert_eq!(volume.read_at(open, 50_001, 7).expect("read"), &text(50_008)[50_001..]);
        assert_eq!(volume.read_at(open, 1 << 40, 7).expect("read"), b"");
        volume.close(open).expect("closed");
    }
}

#[test]
fn every_method_that_is_known_is_unpacked() {
    let bytes = text(LARGE);
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&bytes).expect("to memory");
    let zstd = ruzstd::encoding::compress_to_vec(&bytes[..], ruzstd::encoding::CompressionLevel::Fastest);
    let mut volume = volume(open(&archive(&[
        Part::packed("bzip2", 12, &bytes, bzip2.finish().expect("to memory")),
        Part::packed("zstd", 93, &bytes, zstd),
        Part::packed("unknown", 98, b"x", b"x".to_vec()),
    ])));
    for name in ["bzip2", "zstd"] {
        assert!(volume.read(name).expect(name) == bytes, "{name}");
    }
    assert_eq!(volume.read("unknown"), Err(Errno::EOPNOTSUPP));
}

#[test]
fn an_encrypted_member_is_refused() {
    let parts =
        [Part { flags: 1, ..Part::stored("secret", b"x") }, Part { flags: 1, ..Part::link("link", "x") }];
    let mut volume = volume(open(&archive(&parts)));
    assert_eq!(volume.read("secret"), Err(Errno::EACCES));
    assert_eq!(volume.read("link"), Err(Errno::EACCES));
}

#[test]
fn a_small_member_with_a_wrong_checksum_gives_an_error_and_no_bytes() {
    let mut part = Part::deflated("small", &text(SMALL_BYTES_MAX as usize));
    part.crc ^= 1;
    let mut volume = volume(open(&archive(&[part])));
    let open = volume.open("small", READ).expect("open");
    assert_eq!(volume.read_at(open, 0, 4096), Err(Errno::EIO));
    assert_eq!(volume.read_at(open, 0, 4096), Err(Errno::EIO));
    volume.close(open).expect("closed");
    assert_eq!(volume.open("small", READ), Err(Errno::EIO));
}

#[test]
fn a_large_member_with_a_wrong_checksum_is_never_read_to_its_end() {
    let bytes = text(LARGE);
    let mut part = Part::deflated("large", &bytes);
    part.crc ^= 1;
    let mut volume = volume(open(&archive(&[part])));
    let open = volume.open("large", READ).expect("open");
    let held = LARGE as u64 - HELD_BACK_BYTES;
    assert!(volume.read_at(open, 0, 4096).expect("before it is known") == bytes[..4096]);
    assert_eq!(volume.read_at(open, held, 4096), Err(Errno::EIO));
    assert_eq!(volume.read_at(open, held - 1, 2), Err(Errno::EIO));
    assert_eq!(volume.read_at(open, LARGE as u64 - 1, 1), Err(Errno::EIO));
    volume.close(open).expect("closed");
    assert_eq!(volume.open("large", READ), Err(Errno::EIO));
}

#[test]
fn a_member_that_is_longer_or_shorter_than_it_says_is_damaged() {
    for len in [1000, LARGE] {
        let whole = Part::deflated("a", &text(len));
        let crc_of = |len: usize| crc32fast::hash(&text(len));
        for (change, part) in [
            ("shorter", Part { size: len as u64 + 1, ..whole.clone() }),
            ("longer", Part { size: len as u64 - 1, crc: crc_of(len - 1), ..whole.clone() }),
            ("cut off", Part { packed_len: whole.packed_len - 9, ..whole.clone() }),
            ("beyond the end", Part { packed_len: 1 << 30, ..whole.clone() }),
            ("elsewhere", Part { header: Some(3), ..whole.clone() }),
            ("stored", Part { method: 0, ..whole.clone() }),
            ("empty", Part { packed_len: 0, ..whole.clone() }),
        ] {
            let mut volume = volume(open(&archive(&[part])));
            assert_eq!(volume.read("a"), Err(Errno::EIO), "{change} {len}");
        }
    }
}

#[test]
fn a_member_is_unpacked_once_however_many_have_it_open() {
    let zip = open(&archive(&[Part::deflated("large", &text(LARGE)), Part::deflated("small", &text(5000))]));
    let contents = zip.contents.clone();
    let mut volume = volume(zip);
    for (name, len) in [("large", LARGE), ("small", 5000)] {
        let before = contents.bytes();
        let open: Vec<_> = (0..3).map(|_| volume.open(name, READ).expect("open")).collect();
        for open in &open {
            assert_eq!(volume.read_at(*open, 10, 8).expect("read"), &text(18)[10..]);
        }
        assert_eq!(contents.bytes() - before, len as u64, "{name}");
        open.into_iter().for_each(|open| volume.close(open).expect("closed"));
    }
}

#[test]
fn what_is_unpacked_stays_within_its_limit() {
    let parts = ["a", "b", "c"].map(|name| Part::deflated(name, &text(LARGE)));
    let limit = 2 * LARGE as u64 + 10_000;
    let small = Part::deflated("small", &text(10_001));
    let bomb = Part { size: limit + 1, ..Part::deflated("bomb", &[0; 1000]) };
    let bytes = archive(&[&parts[..], &[small, bomb]].concat());
    let zip = open_with(&bytes, Options { cache_bytes_max: limit, ..options() }).expect("an archive");
    let contents = zip.contents.clone();
    let mut volume = volume(zip);
    for name in ["a", "b", "a", "c", "a"] {
        assert!(volume.read(name).expect(name) == text(LARGE));
        assert!(contents.bytes() <= limit);
    }
    let open = ["a", "b"].map(|name| volume.open(name, READ).expect("open"));
    assert_eq!(volume.open("c", READ), Err(Errno::ENOMEM));
    assert_eq!(volume.open("small", READ), Err(Errno::ENOMEM));
    assert_eq!(volume.open("bomb", READ), Err(Errno::ENOMEM));
    open.into_iter().for_each(|open| volume.close(open).expect("closed"));
    assert!(volume.read("small").is_ok() && volume.read("c").is_ok());
}

#[test]
fn a_bomb_is_worth_no_more_than_it_says() {
    // A thousandth of what it unpacks to, and said to be less.
    let zeros = vec![0; 8 << 20];
    let part =
        Part { size: 2 << 20, crc: crc32fast::hash(&zeros[..2 << 20]), ..Part::deflated("bomb", &zeros) };
    let zip = open(&archive(&[part]));
    let contents = zip.contents.clone();
    let mut volume = volume(zip);
    assert_eq!(volume.read("bomb"), Err(Errno::EIO));
    assert_eq!(contents.bytes(), 0);
}

#[test]
fn what_nobody_has_open_any_more_is_not_unpacked_further() {
    let zip = open(&archive(&[Part::deflated("large", &text(12 << 20))]));
    let contents = zip.contents.clone();
    let mut volume = volume(zip);
    for _ in 0..5 {
        let open = volume.open("large", READ).expect("open");
        assert_eq!(volume.read_at(open, 0, 8).expect("read"), text(8));
        volume.close(open).expect("closed");
        // Whole already, or given up.
        assert!([0, 12 << 20].contains(&contents.bytes()));
    }
    assert!(volume.read("large").expect("read") == text(12 << 20));
}

#[test]
fn what_was_read_to_its_end_is_kept_for_the_next() {
    let zip = open(&archive(&[Part::deflated("large", &text(LARGE))]));
    let contents = zip.contents.clone();
    let mut volume = volume(zip);
    for _ in 0..5 {
        assert!(volume.read("large").expect("read") == text(LARGE));
        assert_eq!(contents.bytes(), LARGE as u64);
    }
}
