//! The control: every case must hold on file systems of the kernel itself, or the case is wrong.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path};

use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use wharf_tests::{cases, cases::prepared, dir::Dir, needs::Needs};

/// The magic numbers of `statfs(2)`.
const EXT4: i64 = 0xEF53;
const TMPFS: i64 = 0x0102_1994;

#[track_caller]
fn check(parent: &Path, want: i64, have: Needs) {
    let kind = rustix::fs::statfs(parent).expect("statfs").f_type;
    assert_eq!(
        kind,
        want,
        "{} is on a file system of type {kind:#x}: this control needs {want:#x}",
        parent.display()
    );
    let dir = tempfile::tempdir_in(parent).expect("a directory for the cases");
    // Cases that act as another user must be able to get here.
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("to open it to others");
    cases::run(dir.path(), have).expect_clean();
}

#[test]
fn all_cases_hold_on_ext4() {
    check(Path::new(env!("CARGO_TARGET_TMPDIR")), EXT4, Needs::EXT4);
}

#[test]
fn all_cases_hold_on_tmpfs() {
    check(Path::new("/dev/shm"), TMPFS, Needs::TMPFS);
}

#[test]
fn all_cases_that_only_read_hold_on_ext4_where_nothing_may_be_changed() {
    let tree = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the tree");
    prepared::make(&Dir::at(tree.path()), Needs::EXT4);
    let shown = tempfile::tempdir().expect("a mount point");
    mount_bind(tree.path(), shown.path()).expect("a second place for the tree; are we root?");
    let report = mount_remount(shown.path(), MountFlags::BIND | MountFlags::RDONLY, "")
        .map(|()| cases::run_prepared(shown.path(), Needs::EXT4));
    unmount(shown.path(), UnmountFlags::DETACH).expect("to unmount it");
    report.expect("to make it read-only").expect_clean();
}

#[test]
fn a_directory_where_nothing_can_be_made_fails_every_case() {
    let report = cases::run(Path::new("/proc/self/fd"), Needs::all());
    assert_eq!(report.bad().count(), report.lines.len());
    assert!(report.to_string().contains("could not make a directory to work in"), "{report}");
}

#[test]
fn what_is_not_claimed_is_skipped_and_a_run_of_nothing_is_not_clean() {
    let report = cases::run(Path::new("/nowhere"), Needs::empty());
    assert_eq!(report.bad().count(), 0);
    assert!(std::panic::catch_unwind(|| report.expect_clean()).is_err());
}
