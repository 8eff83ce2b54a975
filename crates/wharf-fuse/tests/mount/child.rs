//! What tests do in a process of its own: to be killed there, or to be a user without rights.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wharf_fuse::mount::{self, Allow, Error, Mode, Options};

use crate::server::{Manners, serve};

pub(crate) const NOBODY: u32 = 65534;
const ROLE: &str = "WHARF_TEST_ROLE";
const POINT: &str = "WHARF_TEST_POINT";

/// Starts the test binary again, as `uid`, in a role of [`act`].
pub(crate) fn spawn(role: &str, uid: u32, point: &Path) -> Child {
    let exe = std::env::current_exe().expect("the test knows its binary");
    let mut command = Command::new(exe);
    if uid != 0 {
        command.uid(uid).gid(uid);
    }
    command
        .args(["--exact", "child::act", "--ignored", "--nocapture"])
        .env(ROLE, role)
        .env(POINT, point)
        .current_dir("/")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|cause| {
            panic!("user {uid} cannot run the test binary ({cause}); make its directory readable to all")
        })
}

/// Runs a role to its end; it asserts for itself.
pub(crate) fn run(role: &str, uid: u32, point: &Path) {
    let ended = spawn(role, uid, point).wait_with_output().expect("the child can be waited for");
    let told = [ended.stdout, ended.stderr].concat();
    assert!(ended.status.success(), "{role}: {}", String::from_utf8_lossy(&told));
}

/// Runs a role until it says that it is ready, then kills it as nothing can be killed more.
pub(crate) fn kill_when_ready(role: &str, uid: u32, point: &Path) {
    let mut child = spawn(role, uid, point);
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let ready = lines.map_while(Result::ok).any(|line| line.ends_with("ready"));
    child.kill().expect("the child can be killed");
    child.wait().expect("the child can be waited for");
    assert!(ready, "{role}: ended before it was ready");
}

/// A directory that `uid` owns, with an empty mount point `here` in it.
pub(crate) fn room(uid: u32) -> TempDir {
    let room = tempfile::tempdir().expect("a directory for the test");
    let point = room.path().join("here");
    fs::create_dir(&point).expect("a mount point");
    for path in [room.path(), &point] {
        chown(path, Some(uid), Some(uid)).expect("these tests run as root");
    }
    if uid != 0 {
        // Every distribution's udev rules make it so; a machine without udev has it for root only.
        fs::set_permissions("/dev/fuse", Permissions::from_mode(0o666)).expect("/dev/fuse is there");
    }
    room
}

pub(crate) fn is_mounted(point: &Path) -> bool {
    mount::list().expect("the table").iter().any(|it| it.point == point)
}

pub(crate) fn wait_until_free(point: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_mounted(point) {
        if Instant::now() > deadline {
            mount::unmount(point, Mode::Lazy).expect("cleaning up");
            panic!("{} is still mounted ten seconds after its host was killed", point.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "the part of other tests that runs in a process of its own"]
fn act() {
    let role = std::env::var(ROLE).expect("started by another test");
    let point = std::path::PathBuf::from(std::env::var_os(POINT).expect("started by another test"));
    match role.as_str() {
        "serve" => hold(&point, false),
        "serve with auto-unmount" => hold(&point, true),
        "outlive the mount" => outlive_the_mount(&point),
        "unmount by oneself" => unmount_by_oneself(&point),
        "be a user" => be_a_user(&point),
        "be refused" => be_refused(&point),
        "unmount what is not mine" => unmount_what_is_not_mine(&point),
        other => panic!("no such role: {other}"),
    }
}

fn hold(point: &Path, auto_unmount: bool) {
    let mut options = Options::new("test", "test:held").expect("good names");
    options.auto_unmount = auto_unmount;
    let prepared = mount::prepare(point, &options).expect("prepared");
    let server = serve(prepared.device(), Manners::Good);
    let _connection = prepared.mount().expect("mounted");
    assert!(fs::metadata(point).expect("it answers").is_dir());
    println!("ready");
    server.join().expect("the server ends when this process is killed");
}

/// Who waits for the end of this process's standard error waits for the watcher's end too.
fn outlive_the_mount(point: &Path) {
    let _inherited = rustix::io::dup(std::io::stderr()).expect("a descriptor that goes to children");
    let mut options = Options::new("test", "test:outlived").expect("good names");
    options.auto_unmount = true;
    let prepared = mount::prepare(point, &options).expect("prepared");
    let server = serve(prepared.device(), Manners::Good);
    let _connection = prepared.mount().expect("mounted");
    println!("ready");
    server.join().expect("the server ends with its mount");
    println!("ended");
    loop {
        std::thread::park();
    }
}

fn unmount_by_oneself(point: &Path) {
    let mut options = Options::new("test", "test:own").expect("good names");
    options.auto_unmount = true;
    let prepared = mount::prepare(point, &options).expect("prepared");
    let server = serve(prepared.device(), Manners::Good);
    prepared.mount().expect("mounted").unmount(Mode::Clean).expect("unmounted");
    server.join().expect("the server ends with its mount");
    let children = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
    assert_eq!(children.err(), Some(rustix::io::Errno::CHILD), "no watcher stays behind");
}

fn be_a_user(point: &Path) {
    let options = Options::new("test", r"test:a, b\c").expect("good names");
    for mode in [Mode::Clean, Mode::Lazy] {
        let prepared = mount::prepare(point, &options).expect("prepared");
        assert!(!prepared.sync_init(), "fusermount3 mounts without it");
        let server = serve(prepared.device(), Manners::Good);
        let connection = prepared.mount().expect("mounted");
        assert!(fs::metadata(point).expect("it answers").is_dir());
        let list = mount::list().expect("the table");
        let seen = list.iter().find(|it| it.point == point).expect("it is listed");
        assert_eq!(seen.source, r"test:a, b\c");
        assert_eq!(
            (seen.driver.as_str(), seen.owner_uid, seen.connection),
            ("test", NOBODY, connection.number())
        );
        drop(connection.clone_device().expect("a second descriptor"));
        if mode == Mode::Clean {
            let mut holder = Command::new("sleep").arg("60").current_dir(point).spawn().expect("sleep");
            let error = connection.unmount(mode).expect_err("busy");
            holder.kill().expect("killed");
            holder.wait().expect("gone");
            assert!(error.to_string().contains("used by sleep ("), "{error}");
        }
        connection.unmount(mode).expect("unmounted");
        assert!(!is_mounted(point));
        server.join().expect("the server ends with its mount");
    }
}

fn be_refused(point: &Path) {
    let options = Options::new("test", "test:refused").expect("good names");
    let error = mount::prepare(Path::new("/usr"), &options).expect_err("not mine");
    assert!(matches!(error, Error::PointDenied { .. }), "{error}");

    for pick in [|it: &mut Options| it.suid = true, |it: &mut Options| it.dev = true] {
        let mut options = options.clone();
        pick(&mut options);
        let error = mount::prepare(point, &options).expect_err("for root");
        assert!(matches!(error, Error::RootOnly { .. }), "{error}");
    }

    let allowed = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    let allowed = allowed.lines().any(|line| line.trim() == "user_allow_other");
    let mut options = options;
    options.allow = Allow::Everyone;
    match mount::prepare(point, &options) {
        Ok(prepared) => {
            assert!(allowed, "fuse.conf does not say user_allow_other");
            drop(prepared);
        }
        Err(error) => assert!(!allowed && matches!(error, Error::AllowDenied), "{error}"),
    }
    assert!(!is_mounted(point));
}

fn unmount_what_is_not_mine(point: &Path) {
    let error = mount::unmount(point, Mode::Lazy).expect_err("root's");
    assert!(matches!(error, Error::NotYours { owner_uid: 0, .. }), "{error}");
}
