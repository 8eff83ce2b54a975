//! Volumes that lie: loops, crossings, tables that lead nowhere, random damage.

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use wharf::Errno;
use wharf::op::{OpenFlags, RenameHow};
use wharf::testing::Volume;

use super::{Dice, Image};
use crate::fat::geometry::{BOOT_BYTES, Geometry};
use crate::fat::{Fat, Options, Part};

fn geometry(image: &Image) -> Geometry {
    let mut boot = [0; BOOT_BYTES];
    image.file().read_exact_at(&mut boot, 0).unwrap();
    Geometry::parse(&boot).unwrap()
}

/// An image of FAT16 with two files of four clusters each, and the clusters where they begin.
fn two_files() -> (Image, Geometry, [u16; 2]) {
    let image = Image::new(16 << 20, &["-F", "16", "-s", "1"]);
    let (mut volume, _) = image.volume();
    volume.write("ONE", &[1; 2048]).unwrap();
    volume.write("TWO", &[2; 2048]).unwrap();
    assert_eq!(volume.unmount(), 0);
    let geometry = geometry(&image);
    let root = geometry.table.start + 2 * (geometry.table.end - geometry.table.start);
    let mut firsts = [0; 2];
    let mut slots = [0; 512];
    image.file().read_exact_at(&mut slots, root).unwrap();
    for slot in slots.chunks(32) {
        let first = u16::from_le_bytes([slot[26], slot[27]]);
        match &slot[..3] {
            b"ONE" => firsts[0] = first,
            b"TWO" => firsts[1] = first,
            _ => {}
        }
    }
    (image, geometry, firsts)
}

fn link(image: &Image, geometry: &Geometry, cluster: u16, to: u16) {
    let at = geometry.table.start + 2 * u64::from(cluster);
    image.file().write_all_at(&to.to_le_bytes(), at).unwrap();
}

#[test]
fn a_chain_that_leads_in_a_circle_is_read_no_further_and_never_changed() {
    let (image, geometry, [one, _]) = two_files();
    link(&image, &geometry, one + 1, one);
    let (mut volume, _) = image.volume();
    let file = volume.open("ONE", OpenFlags::READ_WRITE).unwrap();
    assert_eq!(volume.write_at(file, 0, b"x"), Err(Errno::EIO));
    volume.close(file).unwrap();
    assert_eq!(volume.write("ONE", b"x"), Err(Errno::EIO));
    assert_eq!(volume.files_open(), 0);
    volume.unlink("ONE").unwrap();
    assert_eq!(volume.read("TWO").unwrap(), [2; 2048]);
    assert_eq!(volume.unmount(), 0);
}

#[test]
fn files_that_share_clusters_are_read_but_the_second_is_not_changed() {
    let (image, geometry, [one, two]) = two_files();
    link(&image, &geometry, two, one + 1);
    let (mut volume, _) = image.volume();
    let first = volume.open("ONE", OpenFlags::READ_WRITE).unwrap();
    let second = volume.open("TWO", OpenFlags::READ_WRITE).unwrap();
    assert_eq!(volume.write_at(first, 0, b"x"), Ok(1));
    assert_eq!(volume.write_at(second, 0, b"x"), Err(Errno::EIO));
    assert_eq!(volume.read_at(second, 0, 512).unwrap(), [2; 512]);
    volume.close(first).unwrap();
    volume.close(second).unwrap();
    volume.unlink("TWO").unwrap();
    volume.forget_all();
    volume.write("THREE", &[3; 100_000]).unwrap();
    assert_eq!(volume.read("ONE").unwrap()[1..], [1; 2047], "what was shared was not given away");
    assert_eq!(volume.unmount(), 0);
}

#[test]
fn a_chain_that_ends_early_is_an_io_error_behind_its_end() {
    let (image, geometry, [one, _]) = two_files();
    link(&image, &geometry, one + 1, 0xFFFF);
    let mut volume = Volume::new(image.fat(false));
    let file = volume.open("ONE", OpenFlags::empty()).unwrap();
    assert_eq!(volume.read_at(file, 0, 1024).unwrap(), [1; 1024]);
    assert_eq!(volume.read_at(file, 1024, 512), Err(Errno::EIO));
}

#[test]
fn a_directory_that_says_it_is_the_root_is_an_io_error() {
    let image = Image::new(16 << 20, &["-F", "16", "-s", "1"]);
    let (mut volume, _) = image.volume();
    volume.mkdir("D").unwrap();
    assert_eq!(volume.unmount(), 0);
    let geometry = geometry(&image);
    let root = geometry.table.start + 2 * (geometry.table.end - geometry.table.start);
    let mut slots = [0; 512];
    image.file().read_exact_at(&mut slots, root).unwrap();
    let at = slots.chunks(32).position(|slot| slot[..2] == *b"D ").unwrap() * 32 + 26;
    image.file().write_all_at(&[0, 0], root + at as u64).unwrap();
    let (mut volume, _) = image.volume();
    assert_eq!(volume.list("D"), Err(Errno::EIO));
    assert_eq!(volume.mkdir("D/E"), Err(Errno::EIO));
    assert_eq!(volume.unmount(), 0);
}

#[test]
fn a_directory_in_a_circle_or_in_itself_is_an_io_error() {
    let image = Image::new(16 << 20, &["-F", "16", "-s", "1"]);
    let (mut volume, _) = image.volume();
    volume.mkdir("D").unwrap();
    volume.mkdir("D/E").unwrap();
    assert_eq!(volume.unmount(), 0);
    let geometry = geometry(&image);
    // D is the first cluster, E the second; E's entry is made to lead to D.
    let mut slots = [0; 512];
    image.file().read_exact_at(&mut slots, geometry.offset(2)).unwrap();
    let at = slots.chunks(32).position(|slot| slot[0] == b'E').unwrap() * 32 + 26;
    image.file().write_all_at(&2u16.to_le_bytes(), geometry.offset(2) + at as u64).unwrap();
    let begun = Instant::now();
    for write in [false, true] {
        let mut volume = Volume::new(image.fat(write));
        let path = ["D"].into_iter().chain(std::iter::repeat_n("E", 50)).collect::<Vec<_>>().join("/");
        let found = volume.stat(&path);
        assert!(found.is_ok() || found == Err(Errno::EIO), "{found:?}");
        assert!(volume.list("D").is_ok());
        if write {
            assert!(volume.rename("D", "D/E/x", RenameHow::Replace).is_err());
        }
        assert_eq!(volume.unmount(), 0);
    }
    link(&image, &geometry, 2, 2);
    let mut volume = Volume::new(image.fat(false));
    assert_eq!(volume.list("D"), Err(Errno::EIO));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// Uses whatever is there.
fn use_all(volume: &mut Volume<Fat>, directory: &str, depth: u32) {
    let Ok(names) = volume.list(directory) else { return };
    for name in names.iter().filter(|name| !matches!(name.as_str(), "." | "..")).take(20) {
        let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
        if let Ok(file) = volume.open(&path, OpenFlags::READ_WRITE) {
            let _ = volume.read_at(file, 0, 10_000);
            let _ = volume.write_at(file, 3000, &[5; 3000]);
            let _ = volume.fsync(file);
            volume.close(file).unwrap();
        } else if depth < 3 {
            use_all(volume, &path, depth + 1);
        }
        let _ = volume.rename(&path, &format!("{path} moved"), RenameHow::Replace);
        let _ = volume.unlink(&path);
    }
    let _ = volume.write(&format!("{directory}/new"), &[7; 5000]);
    let _ = volume.mkdir(&format!("{directory}/made"));
}

#[test]
fn no_damage_makes_a_volume_panic_or_hang() {
    let bytes = 300 << 10;
    for (seed, arguments) in [(1, &["-F", "12", "-s", "1"][..]), (2, &["-F", "32", "-s", "1", "-a"])] {
        let image = Image::new(bytes, arguments);
        let (mut volume, _) = image.volume();
        volume.mkdir("directory").unwrap();
        for name in ["one", "directory/a long name of a file", "directory/two"] {
            volume.write(name, &[1; 4000]).unwrap();
        }
        assert_eq!(volume.unmount(), 0);
        let good = std::fs::read(image.path()).unwrap();
        let geometry = geometry(&image);
        let mut dice = Dice::new(seed);
        for _ in 0..150 {
            let mut bad = good.clone();
            for _ in 0..dice.below(12) + 1 {
                let end = match dice.below(3) {
                    0 => 90,
                    1 => geometry.table.start + 64,
                    _ => geometry.data + 4096,
                };
                bad[dice.below(end) as usize] = dice.below(256) as u8;
            }
            image.file().write_all_at(&bad, 0).unwrap();
            image.file().set_len(bytes - dice.below(2) * dice.below(bytes)).unwrap();
            for write in [false, true] {
                let options = Options { write, flush_after: Duration::MAX, ..Options::default() };
                let Ok(fat) = Fat::open(image.path(), Part::Whole, options) else { continue };
                let mut volume = Volume::new(fat);
                use_all(&mut volume, "", 0);
                assert_eq!(volume.unmount(), 0);
            }
            image.file().set_len(bytes).unwrap();
        }
    }
}
