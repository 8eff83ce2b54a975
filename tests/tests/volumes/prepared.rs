//! The cases that only read, on every driver that can be read only: one tree, brought to each by its own way.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use wharf::{Defaults, FileSystem};
use wharf_drivers::progress::Silent;
use wharf_drivers::{fat, mirror, remote, zip};
use wharf_fuse::mount::{Access, Allow, Error, Mode, Options};
use wharf_fuse::{Mount, Transport, Volume};
use wharf_tests::cases::{self, prepared};
use wharf_tests::dir::Dir;
use wharf_tests::needs::Needs;

use crate::fixture::{self, TRANSPORTS};

const LINKS_AND_MODES: Needs = Needs::SYMLINKS.union(Needs::MODES).union(Needs::PERMISSIONS);

fn mounted<F: FileSystem>(
    fs: F,
    defaults: Defaults,
    access: Access,
    transport: Transport,
    at: &Path,
) -> Volume {
    let mut options = Options::new("prepared", "test:").expect("good names");
    options.access = access;
    options.allow = Allow::Everyone;
    options.default_permissions = true;
    let volume = Mount::new(fs, options).transport(transport).defaults(defaults).at(at);
    volume.unwrap_or_else(|error| panic!("{transport}: {error}"))
}

fn end(volume: &Volume) {
    fixture::until("a clean unmount", Duration::from_secs(10), || match volume.unmount(Mode::Clean) {
        Ok(()) => true,
        Err(Error::Busy { .. }) => false,
        Err(error) => panic!("unmounting what nobody uses any more: {error}"),
    });
}

/// A directory on a disk.
fn room() -> TempDir {
    let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    fixture::open_to_all(room.path());
    room
}

/// The tree, in a directory.
fn tree(have: Needs) -> TempDir {
    let tree = room();
    prepared::make(&Dir::at(tree.path()), have);
    tree
}

/// Runs the cases on what `serve` makes of the tree, by both transports.
fn hold<F: FileSystem>(have: Needs, serve: impl Fn() -> (F, Defaults)) {
    for transport in TRANSPORTS {
        let point = tempfile::tempdir().expect("a mount point");
        let (fs, defaults) = serve();
        let volume = mounted(fs, defaults, Access::Read, transport, point.path());
        cases::run_prepared(point.path(), have).expect_clean();
        end(&volume);
    }
}

#[test]
fn reading_cases_hold_on_a_mirror() {
    let tree = tree(LINKS_AND_MODES);
    hold(LINKS_AND_MODES | Needs::DIRECT, || {
        let mirror = mirror::Mirror::new(tree.path(), mirror::Options::default()).expect("a mirror");
        let defaults = mirror.defaults();
        (mirror, defaults)
    });
}

#[test]
fn reading_cases_hold_on_an_archive() {
    let (tree, room) = (tree(LINKS_AND_MODES), room());
    // With room for all, and with so little that the larger members are unpacked as they are read.
    for (name, how, cache_bytes_max) in
        [("packed.zip", "-qry", 64 << 20), ("packed.zip", "-qry", 2 << 20), ("stored.zip", "-qry0", 2 << 20)]
    {
        let archive = room.path().join(name);
        let packed = Command::new("zip").arg(how).arg(&archive).arg(".").current_dir(tree.path()).output();
        let packed = packed.expect("zip runs; install zip");
        assert!(packed.status.success(), "zip: {}", String::from_utf8_lossy(&packed.stdout));
        hold(LINKS_AND_MODES | Needs::DIRECT, || {
            let owners = zip::Owners::Archive { uid: 0, gid: 0 };
            let options = zip::Options { owners, cache_bytes_max };
            let zip = zip::Zip::open(&archive, options, &Silent).expect("an archive");
            let defaults = zip.defaults();
            (zip, defaults)
        });
    }
}

#[test]
fn reading_cases_hold_on_fat() {
    let room = room();
    let image = fixture::image(room.path());
    let open = |write| {
        let options = fat::Options { write, ..fat::Options::default() };
        let fat = fat::Fat::open(&image, fat::Part::Whole, options).expect("a volume");
        let defaults = fat.defaults();
        (fat, defaults)
    };
    let point = tempfile::tempdir().expect("a mount point");
    let (fat, defaults) = open(true);
    let volume = mounted(fat, defaults, Access::ReadWrite, Transport::Dev, point.path());
    prepared::make(&Dir::at(point.path()), Needs::empty());
    end(&volume);
    hold(Needs::DIRECT, || open(false));
}

#[test]
fn reading_cases_hold_on_a_remote() {
    let tree = tree(Needs::empty());
    hold(Needs::empty(), || {
        let mut location = remote::Location::parse(&format!("file://{}", tree.path().display()));
        let remote = remote::Remote::new(location.as_mut().expect("a URL")).expect("a directory");
        let defaults = remote.defaults();
        (remote, defaults)
    });
}
