//! What the suites rest on: a mount that never answers costs a deadline, and nothing more.

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use wharf_tests::{
    own,
    report::Outcome,
    supervise::{self, End},
};

/// A FUSE mount whose server does not even say hello.
struct Deaf {
    at: tempfile::TempDir,
    device: Option<File>,
}

impl Deaf {
    fn mount() -> Self {
        let at = tempfile::tempdir().expect("a mount point");
        let device = File::options().read(true).write(true).open("/dev/fuse").expect("/dev/fuse, and root");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = std::ffi::CString::new(options).expect("options without NUL");
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("wharf-tests", at.path(), "fuse", flags, &*options).expect("to mount");
        Deaf { at, device: Some(device) }
    }

    fn path(&self) -> &Path {
        self.at.path()
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        // First the device: whoever waits for an answer gets an error, and nothing keeps the mount busy.
        self.device.take();
        let _ = unmount(self.at.path(), UnmountFlags::DETACH);
    }
}

#[test]
fn a_case_on_a_mount_that_never_answers_is_called_hung() {
    let deaf = Deaf::mount();
    let conformance = own::program("conformance").expect("the program");
    let started = Instant::now();
    let case = ["--child", "names::a_name_may_have_255_bytes"];
    let outcome = own::outcome(&conformance, &case, deaf.path(), Duration::from_millis(300), &[]);
    assert!(matches!(outcome, Outcome::Hung(_)), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(8), "it took {} s", started.elapsed().as_secs());
}

#[test]
fn whatever_a_program_left_waiting_on_a_mount_is_killed() {
    let deaf = Deaf::mount();
    let mut shell = Command::new("bash");
    shell.args(["-c", "set -m; stat \"$1\" & sleep 0.1; exit 3", "bash"]).arg(deaf.path());
    let ended = supervise::run(&mut shell, Duration::from_secs(10)).expect("to run bash");
    assert!(matches!(ended.end, End::Exited(3)), "{ended:?}");
}
