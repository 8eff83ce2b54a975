//! Images of any bytes: mounted, read and written to, or refused.
#![no_main]

use std::io::Write;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use wharf::op::{OpenFlags, RenameHow};
use wharf::testing::Volume;
use wharf_drivers::fat::{Fat, Options, Part};

/// Longer than any volume that a fuzzer would make up.
const DISC_BYTES: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file in memory");
    file.write_all(bytes).expect("to write it");
    file.as_file().set_len(DISC_BYTES).expect("to make it long");
    for write in [false, true] {
        let options = Options { write, flush_after: Duration::MAX, ..Options::default() };
        let Ok(fat) = Fat::open(file.path(), Part::Whole, options) else { continue };
        let mut volume = Volume::new(fat);
        use_all(&mut volume, "", 3);
        volume.forget_all();
        assert_eq!(volume.counts(), (0, 0));
        assert_eq!(volume.unmount(), 0);
    }
});

fn use_all(volume: &mut Volume<Fat>, below: &str, depth: u32) {
    for name in volume.list(below).unwrap_or_default().into_iter().take(16) {
        let path = format!("{below}/{name}");
        match volume.open(&path, OpenFlags::READ_WRITE) {
            Ok(open) => {
                let _ = volume.read_at(open, 0, 100_000);
                let _ = volume.write_at(open, 700, &[7; 3000]);
                let _ = volume.fsync(open);
                volume.close(open).expect("a file that is open closes");
            }
            Err(_) if depth > 0 && !matches!(name.as_str(), "." | "..") => use_all(volume, &path, depth - 1),
            Err(_) => {}
        }
        let _ = volume.rename(&path, &format!("{path} moved"), RenameHow::Replace);
        let _ = volume.unlink(&path);
    }
    let _ = volume.mkdir(&format!("{below}/made"));
    let _ = volume.write(&format!("{below}/new"), &[1; 5000]);
}
