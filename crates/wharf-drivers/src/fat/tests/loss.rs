//! Discs that go while they are used, and what a sync brings to one before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use wharf::Errno;
use wharf::op::{OpenFlags, RenameHow, SetAttributes};
use wharf::testing::{Open, Volume};

use super::Image;
use crate::desk::block_on;
use crate::fat::Fat;

#[track_caller]
fn everything_fails(volume: &mut Volume<Fat>, file: Open) {
    assert_eq!(volume.read_at(file, 0, 10), Err(Errno::EIO));
    assert_eq!(volume.write_at(file, 0, b"x"), Err(Errno::EIO));
    assert_eq!(volume.stat("f"), Err(Errno::EIO));
    assert_eq!(volume.create("g").map(drop), Err(Errno::EIO));
    assert_eq!(volume.fsync(file), Err(Errno::EIO));
    volume.close(file).unwrap();
}

#[test]
fn a_disc_that_goes_fails_everything_at_once_and_the_volume_still_ends() {
    let image = Image::new(4 << 20, &["-F", "12"]);
    let (mut volume, shared) = image.volume();
    volume.write("f", &[1; 10_000]).unwrap();
    let file = volume.open("f", OpenFlags::READ_WRITE).unwrap();
    assert_eq!(volume.read_at(file, 0, 10).unwrap(), [1; 10]);
    shared.medium.disc().lose();
    everything_fails(&mut volume, file);
    assert_eq!(volume.unmount(), 0);
}

#[test]
fn an_image_that_is_cut_off_is_a_disc_that_has_gone() {
    let image = Image::new(4 << 20, &["-F", "12"]);
    let (mut volume, shared) = image.volume();
    volume.write("f", &[1; 1_000_000]).unwrap();
    let file = volume.open("f", OpenFlags::READ_WRITE).unwrap();
    volume.fsync(file).unwrap();
    volume.write("changed and not synced", b"x").unwrap();
    image.file().set_len(200 << 10).unwrap();
    // What is before the cut is still there to be read; what is behind it tells.
    assert_eq!(volume.read_at(file, 0, 10).unwrap(), [1; 10]);
    assert_eq!(volume.read_at(file, 900_000, 10), Err(Errno::EIO));
    assert!(shared.medium.disc().is_lost());
    everything_fails(&mut volume, file);
    let loss = block_on(shared.loss());
    assert!(loss.entries > 0 && loss.blocks > 0, "{loss:?}");
    assert!(loss.known.len() >= 2, "{loss:?}");
    assert_eq!(volume.unmount(), 0);
    assert_eq!(image.file().metadata().unwrap().len(), 200 << 10, "nothing is written behind the cut");
}

#[test]
fn who_only_writes_to_an_image_that_was_cut_off_is_told_when_it_is_synced() {
    let image = Image::new(4 << 20, &["-F", "12"]);
    let (mut volume, shared) = image.volume();
    let file = volume.create("f").unwrap();
    image.file().set_len(0).unwrap();
    assert_eq!(volume.fsync(file), Err(Errno::EIO));
    assert!(shared.medium.disc().is_lost());
    everything_fails(&mut volume, file);
    assert_eq!(volume.unmount(), 0);
    assert_eq!(image.file().metadata().unwrap().len(), 0);
}

#[test]
fn who_waits_for_the_loss_of_a_disc_is_told_once() {
    let image = Image::new(4 << 20, &["-F", "12"]);
    let disc = wharf::Disc::new(Arc::new(image.file().try_clone().unwrap().into()), 1).with_len(4 << 20);
    let told = Arc::new(AtomicU32::new(0));
    let teller = told.clone();
    disc.on_loss(move || {
        teller.fetch_add(1, Ordering::Relaxed);
    });
    let said = |number| Err(std::io::Error::from_raw_os_error(number));
    // A sector that cannot be read, also when others before it could, and the end of the disc are no loss of it.
    for (offset, result) in [(0, said(5)), (0, Ok(200)), ((4 << 20) - 512, Ok(512)), (4 << 20, Ok(0))] {
        disc.heed(offset, 512, &result);
        assert!(!disc.is_lost());
    }
    for (offset, result) in [(0, Ok(0)), (0, said(19)), (0, said(6)), (0, said(123))] {
        disc.heed(offset, 512, &result);
        assert!(disc.is_lost());
    }
    assert_eq!(told.load(Ordering::Relaxed), 1);
}

#[test]
fn a_sync_of_one_file_brings_it_to_the_disc_and_leaves_others_for_later() {
    let image = Image::new(1 << 20, &["-F", "12", "-s", "1"]);
    let (mut volume, shared) = image.volume();
    volume.mkdir("new").unwrap();
    let [one, other] = ["new/one", "new/other"].map(|name| volume.create(name).unwrap());
    // In turns, so that each has many runs.
    for at in 0..20 {
        volume.write_at(one, at * 1024, &[1; 1024]).unwrap();
        volume.write_at(other, at * 1024, &[2; 1024]).unwrap();
    }
    volume.write("gone", &[3; 5000]).unwrap();
    volume.unlink("gone").unwrap();
    volume.fsync(one).unwrap();
    assert_eq!(block_on(shared.loss()).entries, 2, "the other file, and their directory");
    // As it would be after a power cut.
    let copy = Image::of(std::fs::read(image.path()).unwrap());
    let mut after = Volume::new(copy.fat(false));
    assert_eq!(after.read("new/one").unwrap(), [1; 20 * 1024]);
    assert_eq!(after.stat("new/other").unwrap().size, 0);
    for open in [one, other] {
        volume.close(open).unwrap();
    }
    assert_eq!(volume.read("new/other").unwrap(), [2; 20 * 1024]);
    assert_eq!(volume.unmount(), 0);
    image.expect_clean();
}

#[test]
fn a_sync_of_one_file_brings_no_entry_of_another_whose_chain_the_disc_has_not() {
    let image = Image::new(1 << 20, &["-F", "12", "-s", "1"]);
    let (mut volume, _) = image.volume();
    volume.mkdir("d").unwrap();
    // One that was on the disc gets longer, and one that was not gets shorter; both are moved in between.
    let [synced, grown, cut] = ["synced", "grown", "cut"].map(|name| volume.create(name).unwrap());
    volume.write_at(grown, 0, &[1; 1000]).unwrap();
    volume.fsync(grown).unwrap();
    volume.write_at(grown, 1000, &[1; 4000]).unwrap();
    volume.write_at(cut, 0, &[2; 5000]).unwrap();
    for name in ["grown", "cut"] {
        volume.rename(name, &format!("d/{name}"), RenameHow::Replace).unwrap();
    }
    volume.setattr("d/cut", SetAttributes { size: Some(600), ..SetAttributes::default() }).unwrap();
    volume.write_at(synced, 0, &[3; 1000]).unwrap();
    volume.fsync(synced).unwrap();
    let copy = Image::of(std::fs::read(image.path()).unwrap());
    let complaints = copy.complaints();
    assert!(!complaints.iter().any(|complaint| complaint.starts_with("File size is")), "{complaints:?}");
    let mut after = Volume::new(copy.fat(false));
    assert_eq!(after.read("synced").unwrap(), [3; 1000]);
    assert_eq!(after.read("d/grown").unwrap(), [1; 5000]);
    assert_eq!(after.read("d/cut").unwrap(), [2; 600]);
    for open in [synced, grown, cut] {
        volume.close(open).unwrap();
    }
    assert_eq!(volume.unmount(), 0);
    image.expect_clean();
}
