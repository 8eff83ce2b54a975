//! Small volumes, sound and damaged, where the fuzz target begins.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Image;
use crate::fat::{Fat, Part};

/// The longest that the fuzz target is given.
const BYTES_MAX: usize = 64 << 10;

/// Each as much of an image as is not zero, or fits.
fn specimens() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (name, bytes, arguments) in [
        ("fat12", 720 << 10, &["-F", "12", "-s", "1"][..]),
        ("fat12-large-sectors", 1 << 20, &["-F", "12", "-S", "4096"]),
        ("fat16", 2304 << 10, &["-F", "16", "-s", "1", "-a"]),
        ("fat32", 600 << 10, &["-F", "32", "-s", "1", "-a", "-R", "8"]),
    ] {
        let image = Image::new(bytes, arguments);
        let (mut volume, _) = image.volume();
        volume.mkdir("directory").unwrap();
        volume.write("directory/a file whose name is long", &[1; 3000]).unwrap();
        volume.write("SHORT.TXT", b"short").unwrap();
        volume.write("gone", &[2; 2000]).unwrap();
        volume.unlink("gone").unwrap();
        assert_eq!(volume.unmount(), 0);
        image.expect_clean();
        let mut bytes = std::fs::read(image.path()).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(used.min(BYTES_MAX));
        // What its first sector says of sizes: fields of one and two bytes that everything else hangs on.
        for (field, at) in
            [("sector", 11), ("cluster", 13), ("reserved", 14), ("tables", 16), ("slots", 17), ("length", 22)]
        {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            all.push((format!("{name}-wrong-{field}"), damaged));
        }
        all.push((name.to_owned(), bytes));
    }
    all
}

#[test]
fn the_sound_ones_are_volumes_and_none_makes_trouble() {
    for (name, bytes) in specimens() {
        let image = Image::of(bytes);
        image.file().set_len(1 << 20).unwrap();
        image.file().read_exact_at(&mut [0], 0).unwrap();
        let opened = Fat::open(image.path(), Part::Whole, Default::default());
        assert!(opened.is_ok() || name.contains("wrong"), "{name}: {opened:?}");
    }
}

#[test]
#[ignore = "writes files for the fuzz target, to the directory that WHARF_SEEDS names"]
fn specimens_are_written_as_seeds() {
    let place = std::env::var_os("WHARF_SEEDS").expect("WHARF_SEEDS names a directory");
    let place = Path::new(&place).join("fat");
    std::fs::create_dir_all(&place).expect("made");
    for (name, bytes) in specimens() {
        std::fs::write(place.join(name), bytes).expect("written");
    }
}
