//! SFTP by OpenSSH's own server: what it gives and takes, and what becomes of us when it does not.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, Instant};

use wharf::Errno;
use wharf::op::{OpenFlags, RenameHow};
use wharf::testing::{Ask, Volume};
use wharf_drivers::remote::{Location, Remote};
use wharf_fuse::mount::{Mode, Options};
use wharf_fuse::{Mount, Transport};
use wharf_tests::sshd::{Door, Sshd};

use crate::{noise, patient, remote};

/// A server with a directory, and a place for what is ours.
struct Service {
    sshd: Sshd,
    data: tempfile::TempDir,
    ours: tempfile::TempDir,
}

impl Service {
    fn start() -> Service {
        let place = || tempfile::tempdir().unwrap();
        Service { sshd: Sshd::start(), data: place(), ours: place() }
    }

    fn remote(&self, options: &[(&str, &str)]) -> Remote {
        let (config, spool) = (self.sshd.config(), self.ours.path());
        let ours =
            [("ssh-config", config.to_str().unwrap()), ("spool", spool.to_str().unwrap()), ("lifetime", "0")];
        remote(&self.sshd.url(self.data.path()), &[&ours, options].concat())
    }

    fn volume(&self, options: &[(&str, &str)]) -> Volume<Remote> {
        patient(Volume::new(self.remote(options)))
    }

    /// Why it is not to be had.
    fn refusal(&self, options: &[(&str, &str)]) -> String {
        let mut location = Location::parse(&self.sshd.url(self.data.path())).unwrap();
        location.options.ssh_config = Some(self.sshd.config());
        location.options.spool = Some(self.ours.path().to_owned());
        for (name, value) in options {
            location.options.set(name, value).unwrap();
        }
        Remote::new(&location).map(drop).expect_err("it must be refused")
    }

    /// Everything that is in the directory of the server.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.data.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

#[test]
fn sftp_is_read_written_and_renamed() {
    let service = Service::start();
    let there = |name: &str| service.data.path().join(name);
    let big = noise((3 << 20) + 17, 80);
    fs::create_dir(there("sub")).unwrap();
    fs::write(there("sub/big"), &big).unwrap();
    let mut volume = service.volume(&[]);
    assert_eq!(volume.list("").unwrap(), ["sub"]);
    assert!(volume.read("sub/big").unwrap() == big);
    assert_eq!(volume.stat("sub/nothing"), Err(Errno::ENOENT));
    volume.mkdir("new").unwrap();
    volume.write("new/file", &big).unwrap();
    volume.write("new/empty", b"").unwrap();
    assert!(fs::read(there("new/file")).unwrap() == big);
    assert_eq!(fs::read(there("new/empty")).unwrap(), b"");
    let mut names = volume.list("new").unwrap();
    names.sort();
    assert_eq!(names, ["empty", "file"]);
    assert_eq!(volume.rmdir("new"), Err(Errno::ENOTEMPTY));
    volume.rename("new/file", "new/empty", RenameHow::Replace).unwrap();
    assert!(fs::read(there("new/empty")).unwrap() == big);
    volume.rename("new", "moved", RenameHow::Replace).unwrap();
    assert!(volume.read("moved/empty").unwrap() == big);
    volume.unlink("moved/empty").unwrap();
    volume.rmdir("moved").unwrap();
    assert_eq!(service.names(), ["sub"], "nothing is left of uploads");
    volume.unmount();
    service.sshd.expect_nobody();
}

#[test]
fn a_file_that_is_uploaded_again_keeps_its_mode() {
    let service = Service::start();
    let program = service.data.path().join("program");
    fs::write(&program, b"old").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o750)).unwrap();
    let mut volume = service.volume(&[]);
    volume.write("program", b"newer").unwrap();
    assert_eq!(fs::read(&program).unwrap(), b"newer");
    assert_eq!(fs::metadata(&program).unwrap().mode() & 0o7777, 0o750);
    volume.unmount();
}

#[test]
fn links_lead_to_files_and_never_out_of_a_tree() {
    let service = Service::start();
    let (data, elsewhere) = (service.data.path(), tempfile::tempdir().unwrap());
    fs::write(elsewhere.path().join("kept"), b"words").unwrap();
    symlink(elsewhere.path().join("kept"), data.join("file")).unwrap();
    symlink(elsewhere.path(), data.join("directory")).unwrap();
    symlink("nothing", data.join("broken")).unwrap();
    // A name that is no UTF-8 cannot be asked for.
    fs::write(data.join(std::ffi::OsStr::from_bytes(b"\xff")), b"").unwrap();
    let mut volume = service.volume(&[]);
    assert_eq!(volume.list("").unwrap(), ["file"]);
    assert_eq!(volume.read("file").unwrap(), b"words");
    for gone in ["directory", "broken"] {
        assert_eq!(volume.stat(gone), Err(Errno::ENOENT), "{gone}");
    }
    volume.unlink("file").unwrap();
    assert_eq!(fs::read(elsewhere.path().join("kept")).unwrap(), b"words", "the link was removed");
    volume.unmount();
}

#[test]
fn a_long_directory_is_listed_whole() {
    let service = Service::start();
    for number in 0..3_000 {
        fs::write(service.data.path().join(format!("{number:04}")), b"").unwrap();
    }
    let mut volume = service.volume(&[]);
    let mut names = volume.list("").unwrap();
    names.sort();
    assert!(names.iter().map(String::as_str).eq(service.names().iter().map(String::as_str)));
    assert_eq!(names.len(), 3_000);
    volume.unmount();
}

#[test]
fn a_host_or_a_key_that_is_not_the_right_one_is_refused_with_a_way_out() {
    let service = Service::start();
    service.sshd.is_known_by("other");
    let refusal = service.refusal(&[]);
    assert!(refusal.contains("another key") && refusal.contains("ssh-keygen -R '[127.0.0.1]:"), "{refusal}");
    service.sshd.is_known_by("nobody");
    let refusal = service.refusal(&[]);
    assert!(refusal.contains("is not known") && refusal.contains("with: ssh -p"), "{refusal}");
    service.sshd.is_known_by("host");
    service.remote(&[]);
    service.sshd.refuse();
    let refusal = service.refusal(&[]);
    assert!(refusal.contains("none of the keys") && !refusal.contains('@'), "{refusal}");
    let missing = service.ours.path().join("nowhere");
    let refusal = service.refusal(&[("ssh-config", missing.to_str().unwrap())]);
    assert!(refusal.contains("nowhere"), "{refusal}");
}

#[test]
fn a_server_that_refuses_us_is_not_asked_over_and_over() {
    let service = Service::start();
    let mut volume = service.volume(&[]);
    assert!(volume.list("").unwrap().is_empty());
    service.sshd.refuse();
    service.sshd.kill();
    let before = service.sshd.served();
    for number in 0..50 {
        assert_eq!(volume.stat(&number.to_string()), Err(Errno::EACCES));
    }
    let knocked = service.sshd.served() - before;
    assert!((1..10).contains(&knocked), "{knocked} times");
    volume.unmount();
}

#[test]
fn an_sftp_file_that_changes_while_it_is_read_is_stale_and_never_a_mixture() {
    let service = Service::start();
    let file = service.data.path().join("file");
    fs::write(&file, noise(9 << 20, 81)).unwrap();
    // Without a cache each read asks the server.
    let mut volume = service.volume(&[("cache", "0")]);
    let open = volume.open("file", OpenFlags::empty()).unwrap();
    assert_eq!(volume.read_at(open, 0, 1000).unwrap(), noise(9 << 20, 81)[..1000]);
    fs::write(&file, noise((9 << 20) - 1, 82)).unwrap();
    assert_eq!(volume.read_at(open, 8 << 20, 1000), Err(Errno::ESTALE));
    volume.close(open).unwrap();
    assert!(volume.read("file").unwrap() == noise((9 << 20) - 1, 82));
    volume.unmount();
}

#[test]
fn an_sftp_server_that_is_killed_in_the_midst_of_a_read_is_connected_to_again() {
    let service = Service::start();
    let big = noise(24 << 20, 83);
    fs::write(service.data.path().join("big"), &big).unwrap();
    let mut volume = service.volume(&[("deadline", "60s")]);
    let open = volume.open("big", OpenFlags::empty()).unwrap();
    // It is asked, cannot answer any more, and then dies.
    service.sshd.freeze();
    let asks: Vec<_> = (0..24).map(|part| volume.begin(&Ask::read(open, part << 20, 1 << 20))).collect();
    volume.turn();
    let before = service.sshd.served();
    service.sshd.kill();
    for (part, ask) in asks.into_iter().enumerate() {
        let read = volume.wait(ask);
        assert!(read.result.is_ok(), "part {part}: {:?}", read.result.err());
    }
    assert!(service.sshd.served() > before, "by another connection");
    assert!(volume.read("big").unwrap() == big);
    volume.close(open).unwrap();
    volume.unmount();
}

#[test]
fn an_sftp_server_that_is_killed_in_the_midst_of_an_upload_gets_it_all_and_shows_no_half() {
    let service = Service::start();
    let big = noise(64 << 20, 84);
    let mut volume = service.volume(&[("deadline", "60s")]);
    volume.write("file", b"old").unwrap();
    let open = volume.open("file", OpenFlags::READ_WRITE).unwrap();
    for (part, bytes) in big.chunks(64 << 10).enumerate() {
        volume.write_at(open, (part as u64) * (64 << 10), bytes).unwrap();
    }
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            // Some of it is there.
            let begun = |name: &String| {
                let size = fs::metadata(service.data.path().join(name)).map(|file| file.len());
                name.starts_with(".upload-") && size.is_ok_and(|size| size > 0)
            };
            let waited = Instant::now();
            while !service.names().iter().any(begun) {
                assert!(waited.elapsed() < Duration::from_secs(60), "the upload was over before it was seen");
                std::thread::yield_now();
            }
            service.sshd.kill();
            fs::read(service.data.path().join("file")).unwrap()
        });
        volume.fsync(open).unwrap();
        let seen = killer.join().unwrap();
        assert!(seen == b"old" || seen == big, "{} bytes are seen of an upload", seen.len());
    });
    assert!(fs::read(service.data.path().join("file")).unwrap() == big);
    volume.close(open).unwrap();
    volume.write("next", b"").unwrap();
    assert_eq!(service.names(), ["file", "next"], "what was left of the upload is removed");
    volume.unmount();
}

#[test]
fn a_connection_that_falls_silent_is_replaced_within_the_deadline() {
    let service = Service::start();
    fs::write(service.data.path().join("file"), b"words").unwrap();
    let mut volume = service.volume(&[("deadline", "12s")]);
    assert_eq!(volume.list("").unwrap(), ["file"]);
    service.sshd.freeze();
    let begun = Instant::now();
    assert_eq!(volume.read("file").unwrap(), b"words");
    assert!(begun.elapsed() >= Duration::from_secs(5), "nobody is given up early: {:?}", begun.elapsed());
    volume.unmount();
}

#[test]
fn whatever_is_asked_of_a_silent_sftp_server_ends_within_the_deadline() {
    let service = Service::start();
    fs::create_dir(service.data.path().join("dir")).unwrap();
    let big = noise(1 << 20, 85);
    // Long enough to connect in on a busy machine.
    let mut volume = service.volume(&[("deadline", "4s")]);
    assert_eq!(volume.list("").unwrap(), ["dir"]);
    service.sshd.door(Door::Silent);
    service.sshd.freeze();
    type Asks<'a> = &'a dyn Fn(&mut Volume<Remote>) -> Result<(), Errno>;
    let asked: [(&str, Asks<'_>); 5] = [
        ("stat", &|volume| volume.stat("other").map(drop)),
        ("list", &|volume| volume.list("").map(drop)),
        ("mkdir", &|volume| volume.mkdir("new").map(drop)),
        ("unlink", &|volume| volume.unlink("other")),
        ("rename", &|volume| volume.rename("other", "another", RenameHow::Replace)),
    ];
    for (what, ask) in asked {
        let begun = Instant::now();
        assert_eq!(ask(&mut volume), Err(Errno::ETIMEDOUT), "{what}");
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(3900) && took < Duration::from_secs(20), "{what}: {took:?}");
    }
    volume.unmount();
    let refusal = service.refusal(&[("deadline", "1s")]);
    assert!(refusal.contains("did not answer in time"), "{refusal}");

    // The same to a file that is written: it is kept.
    service.sshd.kill();
    service.sshd.door(Door::Open);
    let mut volume = service.volume(&[("deadline", "4s")]);
    let open = volume.create("file").unwrap();
    for (part, bytes) in big.chunks(64 << 10).enumerate() {
        volume.write_at(open, (part as u64) * (64 << 10), bytes).unwrap();
    }
    service.sshd.door(Door::Silent);
    service.sshd.freeze();
    let begun = Instant::now();
    assert!(volume.fsync(open).is_err());
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let _ = volume.close(open);
    volume.unmount();
    service.sshd.kill();
    service.sshd.door(Door::Open);
    service.volume(&[]).unmount();
    assert!(fs::read(service.data.path().join("file")).unwrap() == big, "the next mount brings it");
}

#[test]
fn hundreds_of_reads_share_few_sftp_connections() {
    const READS: usize = 300;
    let service = Service::start();
    for number in 0..READS {
        fs::write(service.data.path().join(number.to_string()), noise(1000, number as u64)).unwrap();
    }
    let mut volume = service.volume(&[("connections", "64"), ("deadline", "60s")]);
    let open: Vec<_> =
        (0..READS).map(|number| volume.open(&number.to_string(), OpenFlags::empty()).unwrap()).collect();
    let asks: Vec<_> = open.iter().map(|open| volume.begin(&Ask::read(*open, 0, 1000))).collect();
    for (number, ask) in asks.into_iter().enumerate() {
        let read = volume.wait(ask);
        assert!(read.result.is_ok(), "{number}: {:?}", read.result.err());
    }
    assert!(service.sshd.served() <= 4, "{} connections", service.sshd.served());
    for open in open {
        volume.close(open).unwrap();
    }
    volume.unmount();
    service.sshd.expect_nobody();
}

#[test]
fn a_mount_of_a_silent_sftp_server_is_unmounted() {
    let service = Service::start();
    fs::write(service.data.path().join("file"), b"contents").unwrap();
    let point = tempfile::tempdir().unwrap();
    let remote = service.remote(&[("deadline", "4s")]);
    let defaults = remote.defaults();
    let named = Options::new("remote", "test:").expect("good names");
    let mount = Mount::new(remote, named).transport(Transport::Dev).defaults(defaults);
    let volume = mount.at(point.path()).unwrap();
    assert_eq!(fs::read(point.path().join("file")).unwrap(), b"contents");
    service.sshd.door(Door::Silent);
    service.sshd.freeze();
    let path = point.path().join("other");
    let reader = std::thread::spawn(move || fs::read(path));
    let begun = Instant::now();
    volume.unmount(Mode::Lazy).unwrap();
    assert!(reader.join().unwrap().is_err());
    volume.wait();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
