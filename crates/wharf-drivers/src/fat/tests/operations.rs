//! Each operation, and what FAT makes of it.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use wharf::op::{OpenFlags, RenameHow, SetAttributes, SetTime};
use wharf::testing::Volume;
use wharf::{Errno, Extents, Kind, Time};

use super::{Dice, Image};
use crate::desk::block_on;
use crate::fat::medium::Lane;
use crate::fat::{Fat, Options, Part};
use crate::info::Describe;

/// A volume of each width, and one with sectors of 4 KiB.
fn each_width(test: impl Fn(&Image)) {
    for (bytes, arguments) in [
        (1440 << 10, &["-F", "12"][..]),
        (16 << 20, &["-F", "16", "-s", "4"]),
        (40 << 20, &["-F", "32", "-s", "1"]),
        (300 << 20, &["-F", "32", "-S", "4096", "-s", "1"]),
    ] {
        let image = Image::new(bytes, arguments);
        test(&image);
        image.expect_clean();
    }
}

const SIZE: fn(u64) -> SetAttributes = |size| SetAttributes { size: Some(size), ..SetAttributes::default() };

#[test]
fn what_is_written_is_read_now_and_after_the_next_mount() {
    each_width(|image| {
        let mut dice = Dice::new(1);
        let files: Vec<(String, Vec<u8>)> = [0usize, 1, 511, 512, 4096, 100_000, 300_001]
            .into_iter()
            .map(|len| (format!("a file of {len} bytes.data"), dice.bytes(len)))
            .collect();
        let (mut volume, _) = image.volume();
        volume.mkdir("directory").unwrap();
        for (name, bytes) in &files {
            volume.write(&format!("directory/{name}"), bytes).unwrap();
            assert!(volume.read(&format!("directory/{name}")).unwrap() == *bytes, "{name}");
        }
        assert_eq!(volume.unmount(), 0);
        image.expect_clean();
        let mut volume = Volume::new(image.fat(false));
        for (name, bytes) in &files {
            assert!(volume.read(&format!("directory/{name}")).unwrap() == *bytes, "{name}");
            assert_eq!(volume.stat(&format!("directory/{name}")).unwrap().size, bytes.len() as u64);
        }
        assert_eq!(volume.write("directory/new", b""), Err(Errno::EROFS));
    });
}

#[test]
fn parts_of_sectors_keep_their_neighbours() {
    each_width(|image| {
        let mut dice = Dice::new(2);
        let (mut volume, _) = image.volume();
        let file = volume.create("f").unwrap();
        let mut model = Vec::new();
        for _ in 0..200 {
            let at = dice.below(60_000) as usize;
            let len = dice.below(9000) as usize;
            let bytes = dice.bytes(len);
            assert_eq!(volume.write_at(file, at as u64, &bytes).unwrap(), bytes.len());
            model.resize(model.len().max(if bytes.is_empty() { 0 } else { at + bytes.len() }), 0);
            if !bytes.is_empty() {
                model[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            if dice.below(10) == 0 {
                let size = dice.below(70_000);
                volume.setattr("f", SIZE(size)).unwrap();
                model.resize(size as usize, 0);
            }
        }
        assert!(volume.read("f").unwrap() == model);
        volume.close(file).unwrap();
        assert_eq!(volume.unmount(), 0);
    });
}

#[test]
fn names_are_found_whatever_their_case_and_kept_as_they_were_written() {
    each_width(|image| {
        let (mut volume, _) = image.volume();
        let names = [
            "README.TXT",
            "lower.txt",
            "MiXed.Case",
            "Straße und Äpfel",
            "日本語.文書",
            "a.b.c.d",
            ".hidden",
        ];
        for name in names {
            volume.write(name, name.as_bytes()).unwrap();
        }
        let mut sorted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        sorted.sort();
        let mut listed = volume.list("").unwrap();
        listed.retain(|name| name != "." && name != "..");
        listed.sort();
        assert_eq!(listed, sorted);
        assert_eq!(volume.read("readme.txt").unwrap(), b"README.TXT");
        assert_eq!(volume.read("LOWER.TXT").unwrap(), b"lower.txt");
        assert_eq!(volume.read("STRAßE UND äPFEL").unwrap(), "Straße und Äpfel".as_bytes());
        let one = volume.stat("MIXED.CASE").unwrap().inode;
        assert_eq!(volume.stat("mixed.case").unwrap().inode, one);
        assert_eq!(volume.create("Readme.txt").map(drop), Err(Errno::EEXIST));
        assert_eq!(volume.mkdir("README.txt"), Err(Errno::EEXIST));
        for name in ["a:b", "what?", "end.", "end ", "a*b", "x|y"] {
            assert_eq!(volume.create(name).map(drop), Err(Errno::EINVAL), "{name}");
            assert_eq!(volume.stat(name), Err(Errno::ENOENT), "{name}");
        }
        assert_eq!(volume.create(&"x".repeat(256)).map(drop), Err(Errno::ENAMETOOLONG));
        volume.create(&"ü".repeat(255)).unwrap();
        assert_eq!(volume.unmount(), 0);
    });
}

#[test]
fn a_directory_grows_and_is_emptied() {
    each_width(|image| {
        let (mut volume, _) = image.volume();
        volume.mkdir("d").unwrap();
        let name = |number: u32| format!("d/an entry with a long name, number {number}");
        for number in 0..300 {
            volume.write(&name(number), &number.to_le_bytes()).unwrap();
        }
        assert_eq!(volume.rmdir("d"), Err(Errno::ENOTEMPTY));
        assert_eq!(volume.unmount(), 0);
        image.expect_clean();
        let (mut volume, _) = image.volume();
        assert_eq!(volume.list("d").unwrap().iter().filter(|name| name.len() > 2).count(), 300);
        for number in (0..300).rev() {
            assert_eq!(volume.read(&name(number)).unwrap(), number.to_le_bytes());
            volume.unlink(&name(number)).unwrap();
        }
        volume.rmdir("d").unwrap();
        assert_eq!(volume.stat("d"), Err(Errno::ENOENT));
        assert_eq!(volume.unmount(), 0);
    });
}

#[test]
fn space_is_counted_and_comes_back() {
    let image = Image::new(4 << 20, &["-F", "12", "-s", "2"]);
    let (mut volume, _) = image.volume();
    let before = volume.statfs().unwrap().blocks_free;
    let mut file = volume.create("big").unwrap();
    let mut written = 0;
    let full = loop {
        match volume.write_at(file, written, &[7; 100_000]) {
            Ok(count) => written += count as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(full, Errno::ENOSPC);
    assert_eq!(written, before * 1024, "the last write wrote what fitted");
    assert_eq!(volume.statfs().unwrap().blocks_free, 0);
    assert_eq!(volume.mkdir("no"), Err(Errno::ENOSPC));
    volume.close(file).unwrap();
    volume.unlink("big").unwrap();
    volume.forget_all();
    assert_eq!(volume.statfs().unwrap().blocks_free, before, "what waits to become free counts");
    file = volume.create("again").unwrap();
    assert_eq!(volume.write_at(file, before * 1024 - 1, b"x"), Ok(1), "and can be had");
    volume.close(file).unwrap();
    volume.setattr("again", SIZE(0)).unwrap();
    assert_eq!(volume.statfs().unwrap().blocks_free, before);
    assert_eq!(volume.unmount(), 0);
    image.expect_clean();
}

#[test]
fn a_file_ends_before_4_gib() {
    let image = Image::new(16 << 20, &["-F", "16"]);
    let (mut volume, _) = image.volume();
    let file = volume.create("f").unwrap();
    assert_eq!(volume.write_at(file, u32::MAX.into(), b"x"), Err(Errno::EFBIG));
    assert_eq!(volume.setattr("f", SIZE(1 << 32)).map(drop), Err(Errno::EFBIG));
    assert_eq!(volume.setattr("f", SIZE(u32::MAX.into())).map(drop), Err(Errno::ENOSPC));
    assert_eq!(volume.stat("f").unwrap().size, 0);
    volume.close(file).unwrap();
    assert_eq!(volume.unmount(), 0);
    image.expect_clean();
}

#[test]
fn an_unlinked_file_lives_until_it_is_closed() {
    let image = Image::new(4 << 20, &["-F", "12"]);
    let (mut volume, _) = image.volume();
    let before = volume.statfs().unwrap().blocks_free;
    volume.write("f", &[1; 50_000]).unwrap();
    let file = volume.open("f", OpenFlags::READ_WRITE).unwrap();
    volume.unlink("f").unwrap();
    volume.write("f", &[2; 50_000]).unwrap();
    assert_eq!(volume.write_at(file, 50_000, &[3; 50_000]), Ok(50_000));
    assert_eq!(volume.read_at(file, 0, 50_000).unwrap(), [1; 50_000]);
    assert_eq!(volume.read_at(file, 50_000, 50_000).unwrap(), [3; 50_000]);
    assert_eq!(volume.read("f").unwrap(), [2; 50_000]);
    volume.close(file).unwrap();
    volume.unlink("f").unwrap();
    volume.forget_all();
    assert_eq!(volume.statfs().unwrap().blocks_free, before);
    assert_eq!(volume.unmount(), 0);
    image.expect_clean();
}

#[test]
fn renames_replace_and_move_across_directories() {
    each_width(|image| {
        let (mut volume, _) = image.volume();
        for directory in ["a", "b", "a/c"] {
            volume.mkdir(directory).unwrap();
        }
        volume.write("a/x", b"x").unwrap();
        volume.write("b/y", b"y").unwrap();
        let inode = volume.stat("a/x").unwrap().inode;
        assert_eq!(volume.rename("a/x", "b/y", RenameHow::NoReplace), Err(Errno::EEXIST));
        volume.rename("a/x", "b/y", RenameHow::Replace).unwrap();
        assert_eq!(volume.read("b/y").unwrap(), b"x");
        assert_eq!(volume.stat("b/y").unwrap().inode, inode, "a node keeps its number while it is known");
        assert_eq!(volume.stat("a/x"), Err(Errno::ENOENT));
        volume.rename("b/y", "a/c/A longer name for it.txt", RenameHow::NoReplace).unwrap();
        volume.rename("a/c", "b/moved", RenameHow::Replace).unwrap();
        assert_eq!(volume.read("b/moved/a LONGER name for it.TXT").unwrap(), b"x");
        assert_eq!(volume.rename("b", "b/moved/b", RenameHow::Replace), Err(Errno::EINVAL));
        assert_eq!(volume.rename("a", "b", RenameHow::Replace), Err(Errno::ENOTEMPTY));
        assert_eq!(
            volume.rename("b/moved", "b/moved/A longer name for it.txt", RenameHow::Replace),
            Err(Errno::EINVAL)
        );
        volume.rename("a", "B", RenameHow::NoReplace).unwrap_err();
        volume.rename("b/moved/A longer name for it.txt", "top", RenameHow::Replace).unwrap();
        volume.rename("b/moved", "a", RenameHow::Replace).unwrap();
        assert_eq!(volume.rename("top", "a", RenameHow::Replace), Err(Errno::EISDIR));
        assert_eq!(volume.rename("a", "top", RenameHow::Replace), Err(Errno::ENOTDIR));
        volume.rename("top", "TOP", RenameHow::Replace).unwrap();
        assert!(volume.list("").unwrap().contains(&"TOP".to_owned()));
        assert_eq!(volume.rename("TOP", "other", RenameHow::Exchange), Err(Errno::EINVAL));
        assert_eq!(volume.unmount(), 0);
    });
}

#[test]
fn what_fat_cannot_keep_is_refused_and_what_it_can_is_kept() {
    let image = Image::new(4 << 20, &["-F", "12"]);
    let (mut volume, _) = image.volume();
    volume.write("f", b"x").unwrap();
    let mode = |permissions| SetAttributes { permissions: Some(permissions), ..SetAttributes::default() };
    assert_eq!(volume.setattr("f", mode(0o644)), Err(Errno::EPERM));
    assert_eq!(volume.setattr("f", mode(0o555)).unwrap().permissions, 0o555);
    let owner = SetAttributes { uid: Some(7), ..SetAttributes::default() };
    assert_eq!(volume.setattr("f", owner), Err(Errno::EPERM));
    assert!(volume.symlink("f", "s").is_err() && volume.link("f", "l").is_err());
    let time = |seconds| SetTime::At(Time { seconds, nanoseconds: 5 });
    let times = SetAttributes {
        modified: Some(time(1_000_000_001)),
        accessed: Some(time(1_500_000_000)),
        ..SetAttributes::default()
    };
    volume.setattr("f", times).unwrap();
    assert_eq!(volume.unmount(), 0);
    let options = Options { minutes_east: 120, ..Options::default() };
    let mut volume = Volume::new(Fat::open(image.path(), Part::Whole, options).unwrap());
    let attributes = volume.stat("f").unwrap();
    assert_eq!(attributes.modified.seconds, 1_000_000_000 - 7200, "the same clock, in another place");
    assert_eq!(attributes.accessed.seconds % 86_400, 86_400 - 7200, "a day");
    assert_eq!((attributes.kind, attributes.permissions), (Kind::File, 0o555));
    image.expect_clean();
}

#[test]
fn a_read_that_met_a_longer_file_ends_where_the_file_ends_now() {
    let image = Image::new(4 << 20, &["-F", "12"]);
    let (mut volume, _) = image.volume();
    volume.write("f", &[1; 9000]).unwrap();
    assert_eq!(volume.setattr("f", SIZE(3000)).unwrap().size, 3000);
    assert_eq!(volume.unmount(), 0);
    let fat = image.fat(false);
    let inode = block_on(async {
        let mut state = fat.shared.state().await.unwrap();
        let (inode, _) = fat.shared.find(&mut state, Lane::Thread, &fat.root.0, "f").await.unwrap();
        fat.shared.load(&mut state, Lane::Thread, &inode).await.unwrap();
        inode
    });
    let mut runs = Vec::new();
    inode.runs(0..9000, &mut runs).unwrap();
    assert_eq!(runs.iter().map(|run| run.len).sum::<u64>(), 3000);
    runs.clear();
    inode.runs(4000..9000, &mut runs).unwrap();
    assert_eq!(runs, []);
}

#[test]
fn a_volume_lies_in_a_partition_or_behind_an_offset() {
    let inner = Image::new(2 << 20, &["-F", "12"]);
    let (mut volume, _) = inner.volume();
    volume.write("f", b"inside").unwrap();
    assert_eq!(volume.unmount(), 0);
    let bytes = std::fs::read(inner.path()).unwrap();
    for base in [63 * 512u64, 1000] {
        let outer = tempfile::NamedTempFile::new().unwrap();
        let mut mbr = [0u8; 512];
        mbr[446 + 4] = 6;
        mbr[446 + 8..446 + 12].copy_from_slice(&((base / 512) as u32).to_le_bytes());
        mbr[446 + 12..446 + 16].copy_from_slice(&4096u32.to_le_bytes());
        mbr[510..].copy_from_slice(&[0x55, 0xAA]);
        outer.as_file().write_all_at(&mbr, 0).unwrap();
        outer.as_file().write_all_at(&bytes, base).unwrap();
        let options = Options { write: true, flush_after: Duration::MAX, ..Options::default() };
        let parts = if base % 512 == 0 {
            vec![Part::Partition(1), Part::Offset(base)]
        } else {
            vec![Part::Offset(base)]
        };
        for part in parts {
            let mut volume = Volume::new(Fat::open(outer.path(), part, options).unwrap());
            assert_eq!(volume.read("f").unwrap(), b"inside", "{part:?}");
            volume.write("g", &[9; 10_000]).unwrap();
            assert_eq!(volume.unmount(), 0);
        }
        let mut after = vec![0; bytes.len()];
        outer.as_file().read_exact_at(&mut after, base).unwrap();
        inner.file().write_all_at(&after, 0).unwrap();
        inner.expect_clean();
        inner.file().write_all_at(&bytes, 0).unwrap();
        assert!(Fat::open(outer.path(), Part::Partition(2), options).is_err());
    }
}

#[test]
fn a_volume_tells_what_it_is() {
    let image = Image::new(40 << 20, &["-F", "32", "-s", "1", "-n", "MY DISC", "-i", "12345678"]);
    let info = image.fat(false).describe().unwrap();
    let shown = format!("{info:?}");
    for words in ["FAT32", "MY DISC", "1234-5678"] {
        assert!(shown.contains(words), "{shown}");
    }
}
