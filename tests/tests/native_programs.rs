//! The control for the real programs: all must be content on ext4. Heavier than the cases: about two minutes.

use std::{fs::Permissions, os::unix::fs::PermissionsExt};

use wharf_tests::{needs::Needs, programs};

#[test]
#[ignore = "takes two minutes; run it with --include-ignored"]
fn all_programs_are_content_on_ext4() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the programs");
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("to open it to others");
    programs::run(dir.path(), Needs::EXT4).expect_clean();
}
