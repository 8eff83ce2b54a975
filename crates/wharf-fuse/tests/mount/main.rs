//! Real mounts, by a server of forty lines. As root, with fuse3 installed; see `child` for users.

mod child;
mod server;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use child::{NOBODY, is_mounted, kill_when_ready, room, run, spawn, wait_until_free};
use rustix::io::Errno;
use server::{Manners, serve};
use tempfile::TempDir;
use wharf_fuse::mount::{self, Access, Allow, Atime, Connection, Error, Liveness, Mode, Options};

/// A served mount of its own, which is gone at the end of the test, however it ends.
struct Stage {
    connection: Connection,
    server: JoinHandle<(Vec<u32>, Errno)>,
    point: PathBuf,
    _room: TempDir,
}

fn options() -> Options {
    Options::new("test", "test:stage").expect("good names")
}

fn stage(manners: Manners) -> Stage {
    let room = room(0);
    let point = room.path().join("here");
    let prepared = mount::prepare(&point, &options()).expect("prepared");
    let server = serve(prepared.device(), manners);
    let connection = prepared.mount().expect("mounted");
    Stage { connection, server, point, _room: room }
}

impl Stage {
    fn unmount(self) {
        self.connection.unmount(Mode::Clean).expect("unmounted");
        assert!(!is_mounted(&self.point));
        assert_eq!(self.server.join().expect("the server ends").1, Errno::NODEV);
    }
}

/// The kernel's line for `point`, taken apart by hand.
fn line_of(point: &str) -> String {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc");
    let line = table.lines().find(|line| line.split(' ').nth(4).is_some_and(|it| it.ends_with(point)));
    line.unwrap_or_else(|| panic!("{point} is not mounted")).to_owned()
}

#[test]
fn a_mount_says_its_driver_and_source_and_is_what_was_asked_for() {
    let room = room(0);
    let point = room.path().join("a b#c\\d\te");
    fs::create_dir(&point).expect("a point with an odd name");
    let mut options = Options::new("mirror", "mirror:/srv/x, y").expect("good names");
    options.access = Access::Read;
    options.exec = false;
    options.atime = Atime::Never;
    options.allow = Allow::Everyone;
    options.default_permissions = true;
    options.max_read_bytes = Some(65536);
    let prepared = mount::prepare(&point, &options).expect("prepared");
    let server = serve(prepared.device(), Manners::Good);
    let connection = prepared.mount().expect("mounted");

    let line = line_of(r"/a\040b#c\134d\011e");
    let (_, rest) = line.split_once(" ro,nosuid,nodev,noexec,noatime ").expect(&line);
    assert!(rest.contains("- fuse.wharf-mirror mirror:/srv/x,\\040y ro,user_id=0,group_id=0"), "{line}");
    assert!(rest.ends_with(",default_permissions,allow_other,max_read=65536"), "{line}");

    let list = mount::list().expect("the table");
    let seen = list.iter().find(|it| it.point == point).expect("it is listed");
    assert_eq!((seen.driver.as_str(), seen.source.as_os_str()), ("mirror", OsStr::new("mirror:/srv/x, y")));
    assert!(seen.read_only && seen.allow_other);
    assert_eq!(seen.connection, connection.number());

    connection.unmount(Mode::Clean).expect("unmounted");
    connection.unmount(Mode::Clean).expect("twice does no harm");
    assert_eq!(server.join().expect("the server ends").1, Errno::NODEV);
}

#[test]
fn root_may_have_setuid_and_devices() {
    let room = room(0);
    let mut options = options();
    options.suid = true;
    options.dev = true;
    let connection = mount::attach(&room.path().join("here"), &options).expect("mounted");
    let line = line_of(&room.path().join("here").display().to_string());
    assert!(line.contains(" rw,relatime "), "{line}");
    drop(connection);
}

#[test]
fn a_synchronous_init_is_answered_before_mounting_ends() {
    let room = room(0);
    let point = room.path().join("here");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let newest = (numbers.next(), numbers.next()) >= (Some(6), Some(18));
    for wanted in [true, false] {
        let mut options = options();
        options.sync_init = wanted;
        let prepared = mount::prepare(&point, &options).expect("prepared");
        assert_eq!(prepared.sync_init(), wanted && newest, "on Linux {release}");
        let server = serve(prepared.device(), Manners::Good);
        std::thread::sleep(Duration::from_millis(20));
        assert!(!server.is_finished(), "a reader may come before the mount");
        let connection = prepared.mount().expect("mounted");
        assert!(fs::metadata(&point).expect("it answers").is_dir());
        connection.unmount(Mode::Clean).expect("unmounted");
        assert_eq!(server.join().expect("the server ends").0.first(), Some(&26));
    }
}

#[test]
fn a_refused_synchronous_init_leaves_no_mount() {
    let room = room(0);
    let point = room.path().join("here");
    let prepared = mount::prepare(&point, &options()).expect("prepared");
    assert!(prepared.sync_init(), "this test needs Linux 6.18");
    let server = serve(prepared.device(), Manners::RefusesInit);
    let error = prepared.mount().expect_err("refused");
    assert!(matches!(error, Error::InitFailed { .. }), "{error}");
    assert!(!is_mounted(&point));
    assert_eq!(server.join().expect("the server ends").1, Errno::NODEV);
}

#[test]
fn a_mount_point_that_vanishes_meanwhile_ends_the_readers() {
    for sync_init in [true, false] {
        let room = room(0);
        let point = room.path().join("here");
        let mut options = options();
        options.sync_init = sync_init;
        let prepared = mount::prepare(&point, &options).expect("prepared");
        fs::remove_dir(&point).expect("empty");
        let server = serve(prepared.device(), Manners::Good);
        let error = prepared.mount().expect_err("nowhere to mount");
        assert!(matches!(error, Error::PointMissing { .. }), "{error}");
        assert_eq!(server.join().expect("the server ends").1, Errno::NODEV);
    }
}

#[test]
fn a_preparation_that_is_dropped_leaves_nothing() {
    let room = room(0);
    let prepared = mount::prepare(&room.path().join("here"), &options()).expect("prepared");
    drop(prepared);
    assert!(!is_mounted(&room.path().join("here")));
}

#[test]
fn a_file_can_be_a_mount_point() {
    let room = room(0);
    let point = room.path().join("file");
    fs::write(&point, "below").expect("a file");
    let prepared = mount::prepare(&point, &options()).expect("prepared");
    let server = serve(prepared.device(), Manners::File);
    let connection = prepared.mount().expect("mounted");
    let seen = fs::metadata(&point).expect("it answers");
    assert!(seen.is_file() && seen.len() == 0);
    connection.unmount(Mode::Clean).expect("unmounted");
    server.join().expect("the server ends");
    assert_eq!(fs::read_to_string(&point).expect("the file below"), "below");
}

#[test]
fn a_second_mount_at_the_same_place_is_refused_and_names_the_first() {
    let stage = stage(Manners::Good);
    let error = mount::prepare(&stage.point, &options()).expect_err("taken");
    assert!(matches!(&error, Error::AlreadyMounted { source, .. } if source == "test:stage"), "{error}");
    stage.unmount();
}

#[test]
fn a_busy_mount_names_its_holder_and_can_be_detached() {
    let stage = stage(Manners::Good);
    let mut holder = Command::new("sleep").arg("60").current_dir(&stage.point).spawn().expect("sleep");
    let error = stage.connection.unmount(Mode::Clean).expect_err("busy");
    assert!(error.to_string().contains(&format!("used by sleep ({})", holder.id())), "{error}");
    assert!(is_mounted(&stage.point));
    stage.connection.unmount(Mode::Lazy).expect("detached");
    assert!(!is_mounted(&stage.point));
    holder.kill().expect("killed");
    holder.wait().expect("gone");
    assert_eq!(stage.server.join().expect("it ends with the last user").1, Errno::NODEV);
}

#[test]
fn a_covered_mount_is_not_mistaken_for_the_cover() {
    let stage = stage(Manners::Good);
    rustix::mount::mount("none", &stage.point, "tmpfs", rustix::mount::MountFlags::empty(), None)
        .expect("tmpfs");
    let by_connection = stage.connection.unmount(Mode::Clean).expect_err("covered");
    let by_path = mount::unmount(&stage.point, Mode::Clean).expect_err("covered");
    rustix::mount::unmount(&stage.point, rustix::mount::UnmountFlags::empty()).expect("the cover goes");
    assert!(matches!(by_connection, Error::Covered { .. }), "{by_connection}");
    assert!(matches!(by_path, Error::Covered { .. }), "{by_path}");
    stage.unmount();
}

#[test]
fn a_mount_is_found_again_after_its_directory_was_renamed() {
    let room = room(0);
    let above = room.path().join("above");
    fs::create_dir_all(above.join("point")).expect("directories");
    let connection = mount::attach(&above.join("point"), &options()).expect("mounted");
    fs::rename(&above, room.path().join("moved")).expect("renamed");
    connection.unmount(Mode::Clean).expect("unmounted where it is now");
    assert!(!is_mounted(&room.path().join("moved/point")));
}

#[test]
fn a_mount_that_somebody_else_took_away_is_gone_for_its_connection_too() {
    let stage = stage(Manners::Good);
    mount::unmount(&stage.point, Mode::Clean).expect("by its path");
    stage.unmount();
}

#[test]
fn a_mount_with_the_numbers_of_one_that_has_gone_is_left_alone() {
    let numbers = |stage: &Stage| {
        let line = line_of(stage.point.to_str().expect("plain letters"));
        let mut words = line.split(' ').map(ToOwned::to_owned);
        (words.next(), words.nth(1))
    };
    // Others mount here too, and may be given them instead.
    for _ in 0..100 {
        let first = stage(Manners::Good);
        let gone = numbers(&first);
        mount::unmount(&first.point, Mode::Clean).expect("by its path");
        let second = stage(Manners::Good);
        let again = numbers(&second) == gone;
        first.connection.abort().expect("it has ended");
        first.unmount();
        assert!(is_mounted(&second.point));
        assert_eq!(mount::probe(&second.point), Liveness::Answers);
        second.unmount();
        if again {
            return;
        }
    }
    panic!("the kernel never gave the same numbers again");
}

#[test]
fn dropping_a_connection_unmounts() {
    let Stage { connection, server, point, _room } = stage(Manners::Good);
    drop(connection);
    assert!(!is_mounted(&point));
    assert_eq!(server.join().expect("the server ends").1, Errno::NODEV);
}

#[test]
fn a_place_without_a_mount_cannot_be_unmounted() {
    let room = room(0);
    let error = mount::unmount(&room.path().join("here"), Mode::Lazy).expect_err("nothing there");
    assert!(matches!(error, Error::NotMounted { .. }), "{error}");
    let error = mount::unmount(Path::new("/proc"), Mode::Lazy).expect_err("not Wharf's");
    assert!(matches!(error, Error::NotMounted { .. }), "{error}");
    assert!(Path::new("/proc/self").exists());
}

#[test]
fn an_aborted_connection_fails_every_call_at_once() {
    let stage = stage(Manners::SilentAfterInit);
    let point = stage.point.clone();
    let waiting = std::thread::spawn(move || rustix::fs::stat(point).err());
    std::thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished(), "its server is silent");
    stage.connection.abort().expect("aborted");
    let error = waiting.join().expect("the call ends");
    assert!(matches!(error, Some(Errno::CONNABORTED | Errno::NOTCONN)), "{error:?}");
    assert_eq!(mount::probe(&stage.point), Liveness::Dead);
    stage.unmount();
    mount::abort(u32::MAX).expect("a connection that is gone needs no abort");
}

#[test]
fn a_mount_that_hangs_holds_nobody_up() {
    let stage = stage(Manners::SilentAfterInit);
    let start = Instant::now();
    let error = mount::prepare(&stage.point, &options()).expect_err("taken");
    assert!(matches!(error, Error::AlreadyMounted { .. }), "{error}");
    assert_eq!(mount::probe(&stage.point), Liveness::Silent);
    mount::unmount(&stage.point, Mode::Lazy).expect("detached");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    stage.connection.abort().expect("aborted");
    stage.server.join().expect("the server ends");
}

#[test]
fn what_a_killed_host_leaves_is_named_and_can_be_cleared() {
    for uid in [0, NOBODY] {
        let room = room(uid);
        let point = room.path().join("here");
        kill_when_ready("serve", uid, &point);
        assert!(is_mounted(&point));
        // Seen as root, the mount of a user says "permission denied", dead or not.
        if uid == 0 {
            let error = mount::prepare(&point, &options()).expect_err("dead");
            assert!(matches!(error, Error::PointDead { .. }), "{error}");
            let error = mount::prepare(&point.join("below"), &options()).expect_err("dead");
            assert!(matches!(&error, Error::PointDead { point: dead } if *dead == point), "{error}");
        }
        mount::unmount(&point, Mode::Lazy).expect("cleared");
        mount::attach(&point, &options()).expect("the place is free again");
    }
}

#[test]
fn a_killed_host_with_auto_unmount_leaves_nothing() {
    for uid in [0, NOBODY] {
        let room = room(uid);
        let point = room.path().join("here");
        kill_when_ready("serve with auto-unmount", uid, &point);
        wait_until_free(&point);
    }
}

#[test]
fn a_watcher_leaves_a_mount_with_the_numbers_of_its_own_alone() {
    let numbers = |point: &Path| {
        let line = line_of(point.to_str().expect("plain letters"));
        let mut words = line.split(' ').map(ToOwned::to_owned);
        (words.next(), words.nth(1))
    };
    // Others mount here too, and may be given them instead.
    for _ in 0..50 {
        let room = room(0);
        let point = room.path().join("here");
        let mut host = spawn("outlive the mount", 0, &point);
        let mut lines = BufReader::new(host.stdout.take().expect("piped")).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.ends_with("ready")));
        let gone = numbers(&point);
        mount::unmount(&point, Mode::Clean).expect("by its path");
        assert!(lines.any(|line| line.ends_with("ended")));
        let prepared = mount::prepare(&point, &options()).expect("the place is free");
        let server = serve(prepared.device(), Manners::Good);
        let second = prepared.mount().expect("mounted");
        let again = numbers(&point) == gone;
        host.kill().expect("killed");
        host.wait().expect("it is gone");
        let mut last = String::new();
        host.stderr.take().expect("piped").read_to_string(&mut last).expect("until the watcher has ended");
        assert!(is_mounted(&point), "{last}");
        assert_eq!(mount::probe(&point), Liveness::Answers);
        second.unmount(Mode::Clean).expect("unmounted");
        server.join().expect("the server ends");
        if again {
            return;
        }
    }
    panic!("the kernel never gave the same numbers again");
}

#[test]
fn a_host_that_unmounts_by_itself_keeps_no_watcher() {
    for uid in [0, NOBODY] {
        let room = room(uid);
        run("unmount by oneself", uid, &room.path().join("here"));
    }
}

#[test]
fn a_user_mounts_through_the_helper() {
    let room = room(NOBODY);
    run("be a user", NOBODY, &room.path().join("here"));
}

#[test]
fn a_user_is_told_what_he_may_not_do() {
    let room = room(NOBODY);
    run("be refused", NOBODY, &room.path().join("here"));
}

#[test]
fn a_user_cannot_unmount_what_another_mounted() {
    let room = room(0);
    fs::set_permissions(room.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("readable");
    let point = room.path().join("here");
    let prepared = mount::prepare(&point, &options()).expect("prepared");
    let server = serve(prepared.device(), Manners::Good);
    let connection = prepared.mount().expect("mounted");
    run("unmount what is not mine", NOBODY, &point);
    connection.unmount(Mode::Clean).expect("unmounted");
    server.join().expect("the server ends");
}

#[test]
fn a_device_can_be_cloned_and_knows_backing_files() {
    let stage = stage(Manners::Good);
    drop(stage.connection.clone_device().expect("a second descriptor"));
    let memory = rustix::fs::memfd_create("backing", rustix::fs::MemfdFlags::CLOEXEC).expect("memory");
    let id = stage.connection.backing_open(memory.as_fd()).expect("accepted");
    assert!(id.get() > 0);
    stage.connection.backing_close(id).expect("given back");
    let (pipe, _end) = std::io::pipe().expect("a pipe");
    let error = stage.connection.backing_open(pipe.as_fd()).expect_err("not a file");
    assert_eq!(error.raw_os_error(), Some(Errno::INVAL.raw_os_error()));
    stage.unmount();
}

#[test]
fn a_device_that_is_not_mounted_cannot_be_cloned() {
    let device = wharf_fuse::device::open().expect("/dev/fuse");
    assert!(wharf_fuse::device::clone(device.as_fd()).is_err());
}
