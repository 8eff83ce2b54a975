//! What a user who is not root gets. Needs `fusermount3` and `setpriv`, as Debian has them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::wharf::{Outcome, Room, run};

/// Nobody in particular.
const UID: u32 = 65534;

/// A room that belongs to a user, who has the command there.
struct Home {
    room: Room,
}

impl Home {
    fn new() -> Home {
        let room = Room::new();
        fs::copy(env!("CARGO_BIN_EXE_wharf"), room.at("wharf")).expect("a copy that the user may run");
        fs::create_dir(room.at("run")).expect("a place for what the user's processes share");
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).expect("everybody may enter");
        for place in ["", "point", "source", "run"] {
            std::os::unix::fs::chown(room.at(place), Some(UID), Some(UID)).expect("the user's own");
        }
        Home { room }
    }

    #[track_caller]
    fn wharf(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={UID}"), format!("--regid={UID}")]).arg("--clear-groups");
        command.arg(self.room.at("wharf")).args(arguments);
        command.env("XDG_RUNTIME_DIR", self.room.at("run"));
        run(&mut command)
    }
}

#[test]
fn a_user_mounts_lists_and_unmounts_what_is_theirs() {
    for driver in ["memory", "mirror"] {
        let home = Home::new();
        let (spec, point) = (home.room.spec(driver), home.room.point());
        let line = home.wharf(&["mount", &spec, &point, "--daemon"]).succeeded();
        assert!(line.starts_with(&format!("{spec} is mounted at {point} (")), "{line}");
        let details = home.wharf(&["list", "-v"]).succeeded();
        assert!(details.contains(&format!("by user {UID}")), "{details}");
        assert!(details.contains("requests_max=16384"), "{details}");
        home.wharf(&["unmount", &point]).succeeded();
        assert!(!home.room.mounted(), "{driver}");
    }
}

#[test]
fn a_user_cannot_unmount_what_is_not_theirs() {
    let home = Home::new();
    home.room.daemon(&[]);
    let sentence = home.wharf(&["unmount", &home.room.point()]).failed(1);
    assert!(sentence.contains("was mounted by user 0; unmount it as that user or as root"), "{sentence}");
    assert!(home.room.mounted());
    crate::wharf::wharf(&["unmount", &home.room.point()]).succeeded();
}

#[test]
fn a_volume_is_used_without_its_mount_by_its_owner_and_root_only() {
    let home = Home::new();
    let point = home.room.point();
    home.wharf(&["mount", "memory:size=1M", &point, "--daemon"]).succeeded();
    let file = format!("{point}:file");
    // By its socket, as root has no way to know where this user leaves its word.
    let details = home.wharf(&["list", "-v"]).succeeded();
    let block = details.split("\n\n").find(|block| block.starts_with(&point)).expect("it is listed");
    let socket =
        block.lines().find_map(|line| line.trim().strip_prefix("direct    by ")).expect("its socket");
    assert_eq!(home.wharf(&["ls", &format!("{point}:")]).succeeded(), "");
    assert_eq!(crate::wharf::wharf(&["ls", &format!("{socket}:")]).succeeded(), "");
    home.wharf(&["unmount", &point]).succeeded();
    home.room.daemon(&[]);
    let refused = home.wharf(&["cat", &file]).failed(1);
    assert_eq!(
        refused,
        format!("{point} is used without its mount by its owner and root only; use the files in its mount")
    );
}
