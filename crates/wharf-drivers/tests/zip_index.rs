//! The index of an archive is small, also while it is built.
//!
//! In a file of its own, because it counts with an allocator of its own.
#![cfg(feature = "zip")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf_drivers::progress::Silent;
use wharf_drivers::zip::{Options, Owners, Zip};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call is passed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above; the pointer is from `System`, like all that this allocator hands out.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // What is large the system moves without having it twice.
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ENTRIES: usize = 100_000;

/// An archive of empty members, each with its directory and usual extra fields.
fn archive() -> Vec<u8> {
    let extra = b"UT\x05\x00\x01\x80\x51\x01\x00ux\x0b\x00\x01\x04\xe8\x03\x00\x00\x04\xe9\x03\x00\x00";
    let mut central = Vec::new();
    for at in 0..ENTRIES {
        let name = format!("project/source/module-{:04}/part-of-it-{at}.rs", at % 1000);
        central.extend_from_slice(b"PK\x01\x02\x1e\x03\x14\x00\0\0\0\0\0\x60\x21\x28");
        central.extend_from_slice(&[0; 12]);
        central.extend_from_slice(&(name.len() as u16).to_le_bytes());
        central.extend_from_slice(&(extra.len() as u16).to_le_bytes());
        central.extend_from_slice(&[0; 6]);
        central.extend_from_slice(&(0o100_644u32 << 16).to_le_bytes());
        central.extend_from_slice(&[0; 4]);
        central.extend_from_slice(name.as_bytes());
        central.extend_from_slice(extra);
    }
    // There is one local header for all of them.
    let mut bytes = b"PK\x03\x04".to_vec();
    bytes.resize(30, 0);
    let (start, len) = (bytes.len() as u64, central.len() as u64);
    bytes.extend_from_slice(&central);
    let end = bytes.len() as u64;
    bytes.extend_from_slice(b"PK\x06\x06");
    bytes.extend_from_slice(&44u64.to_le_bytes());
    bytes.extend_from_slice(&[0x2d, 3, 0x2d, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for number in [ENTRIES as u64, ENTRIES as u64, len, start] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0");
    bytes.extend_from_slice(&end.to_le_bytes());
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    bytes.extend_from_slice(&[0xff; 12]);
    bytes.extend_from_slice(&[0; 2]);
    bytes
}

#[test]
fn a_hundred_thousand_entries_take_less_than_300_bytes_each() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&archive()).expect("to write it");
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let options = Options { owners: Owners::One { uid: 1, gid: 1 }, cache_bytes_max: 0 };
    let zip = Zip::open(file.path(), options, &Silent).expect("an archive");
    let (most, now) = (MOST.load(Ordering::Relaxed) - before, NOW.load(Ordering::Relaxed) - before);
    println!("{} bytes an entry, {} while it was built", now / ENTRIES, most / ENTRIES);
    assert!(most <= 300 * ENTRIES, "{} bytes an entry", most / ENTRIES);
    drop(zip);
}
