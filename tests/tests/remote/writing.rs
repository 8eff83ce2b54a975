//! Writing: what is closed is with the service, or kept and tried again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wharf::Errno;
use wharf::op::{OpenFlags, RenameHow};
use wharf::testing::Volume;
use wharf_drivers::remote::{Location, Remote};

use crate::{noise, volume};

/// A directory in the role of a service, and a place for what could not be uploaded.
struct Place {
    service: tempfile::TempDir,
    spool: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { service: tempfile::tempdir().unwrap(), spool: tempfile::tempdir().unwrap() }
    }

    fn volume(&self) -> Volume<Remote> {
        let spool = self.spool.path().to_str().unwrap();
        volume(&format!("file://{}", self.service.path().display()), &[("spool", spool), ("lifetime", "0")])
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.service.path().join(name)
    }

    /// Files that are kept because they could not be uploaded.
    fn kept(&self) -> usize {
        fn count(directory: &Path) -> usize {
            fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path()).fold(0, |sum, path| {
                let data = path.extension().is_some_and(|extension| extension == "data");
                sum + if path.is_dir() { count(&path) } else { usize::from(data) }
            })
        }
        count(self.spool.path())
    }
}

#[test]
fn what_is_closed_is_with_the_service() {
    let place = Place::new();
    let mut volume = place.volume();
    let big = noise(20 << 20, 1);
    volume.write("small", b"words").unwrap();
    volume.write("empty", b"").unwrap();
    volume.write("big", &big).unwrap();
    assert_eq!(fs::read(place.path("small")).unwrap(), b"words");
    assert_eq!(fs::read(place.path("empty")).unwrap(), b"");
    assert!(fs::read(place.path("big")).unwrap() == big);
    assert_eq!(volume.read("small").unwrap(), b"words");
    assert_eq!(place.kept(), 0, "nothing is left of local copies");
    volume.unmount();
}

#[test]
fn where_others_could_have_put_files_none_is_uploaded() {
    let place = Place::new();
    let mut volume = place.volume();
    volume.write("file", b"words").unwrap();
    volume.unmount();
    let above = place.spool.path().join("wharf-remote");
    fs::set_permissions(above, fs::Permissions::from_mode(0o777)).unwrap();
    let mut location = Location::parse(&format!("file://{}", place.service.path().display())).unwrap();
    location.options.spool = Some(place.spool.path().to_owned());
    let refused = Remote::new(&location).unwrap_err();
    assert!(refused.contains("open to others") && refused.contains("spool=DIR"), "{refused}");
    location.options.read_only = true;
    Remote::new(&location).expect("who writes nothing needs no such place");
}

#[test]
fn a_file_is_changed_in_its_midst_and_at_its_end() {
    let place = Place::new();
    let mut bytes = noise(3 << 20, 2);
    fs::write(place.path("file"), &bytes).unwrap();
    let mut volume = place.volume();
    let open = volume.open("file", OpenFlags::READ_WRITE).unwrap();
    let end = bytes.len() as u64;
    volume.write_at(open, 1_000_000, b"here").unwrap();
    volume.write_at(open, end, b"more").unwrap();
    bytes[1_000_000..1_000_004].copy_from_slice(b"here");
    bytes.extend_from_slice(b"more");
    assert_eq!(
        volume.read_at(open, 999_998, 8).unwrap(),
        &bytes[999_998..1_000_006],
        "before it is uploaded"
    );
    volume.fsync(open).unwrap();
    assert!(fs::read(place.path("file")).unwrap() == bytes, "fsync has uploaded it");
    volume.write_at(open, 0, b"later").unwrap();
    bytes[..5].copy_from_slice(b"later");
    volume.close(open).unwrap();
    assert!(fs::read(place.path("file")).unwrap() == bytes);
    let cut = wharf::op::SetAttributes { size: Some(10), ..Default::default() };
    assert_eq!(volume.setattr("file", cut).unwrap().size, 10);
    assert_eq!(fs::read(place.path("file")).unwrap(), &bytes[..10], "no close follows a truncate(2)");
    volume.unmount();
}

#[test]
fn names_come_go_and_move() {
    let place = Place::new();
    let mut volume = place.volume();
    volume.mkdir("a").unwrap();
    assert_eq!(volume.mkdir("a"), Err(Errno::EEXIST));
    volume.write("a/x", b"x").unwrap();
    assert_eq!(volume.rmdir("a"), Err(Errno::ENOTEMPTY));
    volume.rename("a", "b", RenameHow::Replace).unwrap();
    assert_eq!(volume.read("b/x").unwrap(), b"x");
    volume.write("b/y", b"y").unwrap();
    volume.rename("b/y", "b/x", RenameHow::Replace).unwrap();
    assert_eq!(volume.list("b").unwrap(), ["x"]);
    assert_eq!(fs::read(place.path("b/x")).unwrap(), b"y");
    volume.unlink("b/x").unwrap();
    volume.rmdir("b").unwrap();
    assert_eq!(volume.list("").unwrap(), [""; 0]);
    assert_eq!(fs::read_dir(place.service.path()).unwrap().count(), 0);
    volume.unmount();
}

#[test]
fn an_open_file_outlives_its_name() {
    let place = Place::new();
    let bytes = noise(700_000, 3);
    fs::write(place.path("file"), &bytes).unwrap();
    let mut volume = place.volume();
    let open = volume.open("file", OpenFlags::empty()).unwrap();
    volume.unlink("file").unwrap();
    assert!(!place.path("file").exists());
    assert!(volume.read_at(open, 600_000, 100_000).unwrap() == bytes[600_000..]);
    volume.close(open).unwrap();
    assert_eq!(place.kept(), 0);
    volume.unmount();
}

#[test]
fn what_could_not_be_uploaded_is_an_error_is_kept_and_comes_with_the_next_mount() {
    let place = Place::new();
    let mut volume = place.volume();
    volume.mkdir("a").unwrap();
    let open = volume.create("a/file").unwrap();
    volume.write_at(open, 0, b"dear").unwrap();
    // The service takes nothing: what was the directory is a file there now.
    fs::remove_dir(place.path("a")).unwrap();
    fs::write(place.path("a"), b"in the way").unwrap();
    assert!(volume.close(open).is_err());
    volume.unmount();
    assert_eq!(place.kept(), 1);
    fs::remove_file(place.path("a")).unwrap();
    place.volume().unmount();
    assert_eq!(fs::read(place.path("a/file")).unwrap(), b"dear");
    assert_eq!(place.kept(), 0);
}

#[test]
fn what_was_changed_elsewhere_meanwhile_is_not_overwritten_by_the_next_mount() {
    let place = Place::new();
    let mut volume = place.volume();
    volume.mkdir("a").unwrap();
    let open = volume.create("a/file").unwrap();
    volume.write_at(open, 0, b"ours").unwrap();
    fs::remove_dir(place.path("a")).unwrap();
    fs::write(place.path("a"), b"in the way").unwrap();
    assert!(volume.close(open).is_err());
    volume.unmount();
    fs::remove_file(place.path("a")).unwrap();
    fs::create_dir(place.path("a")).unwrap();
    fs::write(place.path("a/file"), b"theirs").unwrap();
    place.volume().unmount();
    assert_eq!(fs::read(place.path("a/file")).unwrap(), b"theirs");
    assert_eq!(place.kept(), 1, "and ours is still there");
}

#[test]
fn owners_and_links_are_refused_and_modes_hold_as_long_as_the_file_is_known() {
    let place = Place::new();
    let mut volume = place.volume();
    volume.write("file", b"x").unwrap();
    let mode = wharf::op::SetAttributes { permissions: Some(0o600), ..Default::default() };
    assert_eq!(volume.setattr("file", mode).unwrap().permissions, 0o600);
    assert_eq!(volume.stat("file").unwrap().permissions, 0o600);
    let owner = wharf::op::SetAttributes { uid: Some(12345), ..Default::default() };
    assert_eq!(volume.setattr("file", owner), Err(Errno::EOPNOTSUPP));
    assert!(volume.symlink("file", "link").is_err());
    assert!(volume.link("file", "other").is_err());
    assert_eq!(fs::metadata(place.path("file")).unwrap().permissions().mode() & 0o777, 0o644);
    volume.unmount();
}
