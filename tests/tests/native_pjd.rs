//! The control for pjdfstest: what it finds on file systems of the kernel itself, so nothing of a volume's.
//! Builds pjdfstest first, which takes some minutes once.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path};

use wharf_tests::pjd::{self, Who};

#[track_caller]
fn check(parent: &str) {
    let dir = tempfile::tempdir_in(Path::new(parent)).expect("a directory for pjdfstest");
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("to open it to others");
    for (who, passed_min) in [(Who::Root, 380), (Who::Nobody, 240)] {
        let results = pjd::run(dir.path(), who).unwrap_or_else(|error| panic!("{who:?}: {error}"));
        assert!(results.failed.is_empty(), "{who:?}: {results}");
        assert!(results.passed.len() >= passed_min, "{who:?}: {results}");
    }
}

#[test]
#[ignore = "builds pjdfstest; run it with --include-ignored"]
fn nothing_fails_on_ext4() {
    check(env!("CARGO_TARGET_TMPDIR"));
}

#[test]
#[ignore = "builds pjdfstest; run it with --include-ignored"]
fn nothing_fails_on_tmpfs() {
    check("/dev/shm");
}
