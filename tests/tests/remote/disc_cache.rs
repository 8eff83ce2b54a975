//! The cache on disc, from one mount to the next.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use wharf::testing::Volume;
use wharf_drivers::remote::Remote;

use crate::server::Server;
use crate::{logged, noise, volume};

/// Nothing is kept in memory, so that all comes from disc or from the server.
fn mounted(server: &Server, place: &Path) -> Volume<Remote> {
    let options = [("cache", "0"), ("disc-cache", "64M"), ("cache-dir", place.to_str().unwrap())];
    volume(&server.url(), &options)
}

/// The files of blocks below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    below.filter(|path| path.extension().is_some_and(|extension| extension == "blocks")).collect()
}

#[test]
fn what_was_read_is_on_disc_for_the_next_mount_as_long_as_it_has_not_changed() {
    let (server, place) = (Server::start(), tempfile::tempdir().unwrap());
    let (big, small) = (noise(5_000_001, 50), noise(100, 51));
    server.put("sub/big", &big);
    server.put("small", &small);
    let mut first = mounted(&server, place.path());
    assert!(first.read("sub/big").unwrap() == big && first.read("small").unwrap() == small);
    first.unmount();
    let asked = server.requests("GET");
    let mut second = mounted(&server, place.path());
    assert!(second.read("sub/big").unwrap() == big && second.read("small").unwrap() == small);
    assert_eq!(
        server.requests("GET") - asked,
        1,
        "nothing but the index page, to see that the server answers"
    );
    second.unmount();
    let other = noise(5_000_001, 52);
    server.put("sub/big", &other);
    let mut third = mounted(&server, place.path());
    assert!(third.read("sub/big").unwrap() == other, "another version is another file");
    third.unmount();
}

#[test]
fn files_that_were_damaged_or_put_there_change_nothing_that_is_read() {
    let (server, place) = (Server::start(), tempfile::tempdir().unwrap());
    let big = noise(20 << 20, 53);
    server.put("big", &big);
    let mut first = mounted(&server, place.path());
    assert!(first.read("big").unwrap() == big);
    first.unmount();
    let there = files(place.path());
    assert!(there.len() > 3, "{there:?}");
    for (number, path) in there.iter().enumerate() {
        let file = fs::File::options().write(true).open(path).unwrap();
        match number % 4 {
            0 => file.write_all_at(b"damage", 200_000).unwrap(),
            1 => file.set_len(1_000_000).unwrap(),
            2 => fs::copy(&there[0], path).map(drop).unwrap(),
            _ => file.write_all_at(&noise(1000, 54), 0).unwrap(),
        }
    }
    fs::write(there[0].with_file_name("9.blocks"), noise(300_000, 55)).unwrap();
    let mut second = mounted(&server, place.path());
    assert!(second.read("big").unwrap() == big);
    assert!(second.read("big").unwrap() == big);
    second.unmount();
}

#[test]
fn a_full_disc_is_one_line_of_the_log_and_no_error_of_a_read() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let (server, place) = (Server::start(), tempfile::tempdir().unwrap());
    let big = noise(24 << 20, 56);
    server.put("big", &big);
    mount("none", place.path(), "tmpfs", MountFlags::empty(), Some(c"size=8m"))
        .expect("as root, a small disc");
    let mut volume = mounted(&server, place.path());
    for _ in 0..2 {
        assert!(volume.read("big").unwrap() == big);
    }
    volume.unmount();
    unmount(place.path(), UnmountFlags::DETACH).unwrap();
    let lines = logged(place.path().to_str().unwrap());
    let told: Vec<_> = lines.iter().filter(|line| line.starts_with("WARN")).collect();
    assert!(told.len() == 1 && told[0].contains("is not used any more (No space left"), "{lines:#?}");
}
