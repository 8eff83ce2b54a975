//! Archives of any bytes: opened, listed and read, or refused.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use wharf::testing::Volume;
use wharf_drivers::progress::Silent;
use wharf_drivers::zip::{Options, Owners, Zip};

const CACHE: u64 = 4 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file in memory");
    file.write_all(bytes).expect("to write it");
    let options = Options { owners: Owners::One { uid: 1, gid: 1 }, cache_bytes_max: CACHE };
    if let Ok(zip) = Zip::open(file.path(), options, &Silent) {
        let mut volume = Volume::new(zip);
        read_all(&mut volume, "", 4);
        volume.forget_all();
        assert_eq!(volume.counts(), (0, 0));
    }
});

fn read_all(volume: &mut Volume<Zip>, below: &str, depth: u32) {
    for name in volume.list(below).unwrap_or_default() {
        let path = format!("{below}/{name}");
        // A name that is not UTF-8 was told with other letters.
        let Ok(about) = volume.stat(&path) else { continue };
        match about.kind {
            wharf::Kind::Directory if depth > 0 => read_all(volume, &path, depth - 1),
            wharf::Kind::Symlink => drop(volume.readlink(&path)),
            _ => {
                if let Ok(bytes) = volume.read(&path) {
                    assert_eq!(bytes.len() as u64, about.size);
                }
            }
        }
    }
}
