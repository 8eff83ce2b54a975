//! Archives of every bad sort, by name: each must be an error or files that stay within what they say, and all are where the
//! fuzz target begins.

use std::io::Write as _;
use std::path::Path;

use super::hostile::{exercise, specimen};
use super::maker::{Part, archive, archive_with, text};

/// All of them, small enough for a fuzzer to change.
fn specimens() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![("a-little-of-everything", specimen())];
    all.extend(methods());
    all.extend(bombs());
    all.extend(overlaps());
    all.extend(lying_sizes());
    all.extend(lies_in_64_bits());
    all.extend(names());
    for (name, cut) in [("cut-in-its-directory", 60), ("cut-in-its-end", 12), ("cut-to-its-end", 90)] {
        let whole = specimen();
        all.push((
            name,
            if cut == 90 { whole[whole.len() - cut..].into() } else { whole[..whole.len() - cut].into() },
        ));
    }
    all
}

fn methods() -> Vec<(&'static str, Vec<u8>)> {
    let bytes = text(700);
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&bytes).expect("to memory");
    let zstd = ruzstd::encoding::compress_to_vec(&bytes[..], ruzstd::encoding::CompressionLevel::Fastest);
    let mut lzma = vec![9, 4, 5, 0, 0x5d, 0, 0, 1, 0];
    lzma.extend_from_slice(&[0; 64]);
    vec![
        ("stored", archive(&[Part::stored("a", &bytes)])),
        ("deflate", archive(&[Part::deflated("a", &bytes)])),
        ("deflate64", archive(&[Part { method: 9, ..Part::deflated("a", &bytes) }])),
        ("bzip2", archive(&[Part::packed("a", 12, &bytes, bzip2.finish().expect("to memory"))])),
        ("zstd", archive(&[Part::packed("a", 93, &bytes, zstd)])),
        ("lzma", archive(&[Part { size: 700, ..Part::packed("a", 14, b"", lzma) }])),
        ("xz", archive(&[Part::packed("a", 95, &bytes, vec![0xfd, b'7', b'z', b'X', b'Z', 0, 0, 4])])),
        ("encrypted", archive(&[Part { flags: 1, ..Part::stored("a", &bytes) }])),
    ]
}

fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let zeros = vec![0; 1 << 20];
    let bomb = Part::deflated("a", &zeros);
    vec![
        ("bomb", archive(std::slice::from_ref(&bomb))),
        ("bomb-that-says-less", archive(&[Part { size: 1000, ..bomb.clone() }])),
        ("bomb-that-says-more", archive(&[Part { size: 1 << 40, large: true, ..bomb }])),
    ]
}

fn overlaps() -> Vec<(&'static str, Vec<u8>)> {
    let first = Part::deflated("first", &text(500));
    let same = |name: &str| Part { name: name.into(), packed: Vec::new(), header: Some(0), ..first.clone() };
    let inside = Part { header: Some(10), ..same("inside") };
    let many = (0..20).map(|at| same(&at.to_string()));
    vec![
        ("many-that-are-one", archive(&[vec![first.clone()], many.collect()].concat())),
        ("one-inside-another", archive(&[first.clone(), inside])),
        ("one-in-the-directory", archive(&[Part { header: Some(600), ..first.clone() }])),
    ]
}

fn lying_sizes() -> Vec<(&'static str, Vec<u8>)> {
    let whole = Part::deflated("a", &text(500));
    vec![
        ("shorter-than-it-says", archive(&[Part { size: 501, ..whole.clone() }])),
        ("longer-than-it-says", archive(&[Part { size: 499, ..whole.clone() }])),
        ("packed-beyond-the-end", archive(&[Part { packed_len: 1 << 30, ..whole.clone() }])),
        ("packed-to-nothing", archive(&[Part { packed_len: 0, ..whole.clone() }])),
        ("stored-in-two-lengths", archive(&[Part { method: 0, ..whole.clone() }])),
        ("wrong-checksum", archive(&[Part { crc: 1, ..whole }])),
    ]
}

fn lies_in_64_bits() -> Vec<(&'static str, Vec<u8>)> {
    let part = Part { large: true, ..Part::deflated("a", &text(500)) };
    let whole = archive(std::slice::from_ref(&part));
    // Behind the entries: the record of 56 bytes, its locator of 20, the end of 22.
    let record = whole.len() - 22 - 20 - 56;
    let changed = |at: usize, value: u64| {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    vec![
        ("64-bits", whole.clone()),
        ("64-bits-largest-size", archive(&[Part { size: u64::MAX, ..part.clone() }])),
        ("64-bits-largest-packed", archive(&[Part { packed_len: u64::MAX, ..part }])),
        ("64-bits-count", changed(record + 32, u64::MAX)),
        ("64-bits-length", changed(record + 40, u64::MAX - 10)),
        ("64-bits-place", changed(record + 48, u64::MAX - 10)),
        ("64-bits-record-elsewhere", changed(whole.len() - 22 - 20 + 8, 3)),
    ]
}

fn names() -> Vec<(&'static str, Vec<u8>)> {
    let called = |names: &[&[u8]]| {
        let part = |name: &&[u8]| Part { name: name.to_vec(), ..Part::stored("", b"x") };
        archive(&names.iter().map(part).collect::<Vec<_>>())
    };
    vec![
        ("names-that-lead-out", called(&[b"../a", b"/a", b"a/../../b", b"..", b"C:\\a", b"a\\..\\b"])),
        ("names-of-control", called(&[b"a\0b", b"\x1b[2J", b"\n", b"", b"/", b"//", b"a//b"])),
        ("names-twice", called(&[b"a", b"a", b"a/b", b"a/", b"a/b/c"])),
        ("names-in-old-letters", called(&[b"\x81\x82", b"\xff\xfe", "é".as_bytes()])),
        (
            "links",
            archive(&[Part::link("a", "a"), Part::link("b", "../../c"), Part::link("c", &"d/".repeat(300))]),
        ),
        ("link-packed", archive(&[Part { external: 0o120_777 << 16, ..Part::deflated("a", &[b'x'; 9000]) }])),
        ("comment", archive_with(&[Part::stored("a", b"PK\x05\x06")], b"PK\x05\x06 and no more")),
    ]
}

#[test]
fn whatever_is_wrong_with_an_archive_it_is_refused_or_stays_within_what_it_says() {
    let opened = specimens().into_iter().filter(|(name, bytes)| {
        println!("{name}");
        exercise(bytes)
    });
    assert!(opened.count() > 20, "these are to be read, not refused at once");
}

#[test]
#[ignore = "writes files for the fuzz target, to the directory that WHARF_SEEDS names"]
fn specimens_are_written_as_seeds() {
    let place = std::env::var_os("WHARF_SEEDS").expect("WHARF_SEEDS names a directory");
    let place = Path::new(&place).join("zip");
    std::fs::create_dir_all(&place).expect("made");
    for (name, bytes) in specimens() {
        std::fs::write(place.join(name), bytes).expect("written");
    }
}
