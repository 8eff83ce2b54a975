//! Where a path leads, without asking what lies at its end: that may be a mount that hangs.

use std::fs;
use std::path::{Path, PathBuf};

const LINKS_MAX: u32 = 40;

/// The path without links, if the directories above its end are there.
pub(crate) fn without_links(point: &Path) -> Option<PathBuf> {
    let mut path = std::path::absolute(point).ok()?;
    for _ in 0..LINKS_MAX {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return path.canonicalize().ok();
        };
        let place = parent.canonicalize().ok()?.join(name);
        match fs::read_link(&place) {
            Ok(target) => path = place.parent()?.join(target),
            Err(_) => return Some(place),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_point_is_found_behind_links() {
        let room = tempfile::tempdir().expect("a directory");
        let room = room.path().canonicalize().expect("it is there");
        fs::create_dir_all(room.join("a/b")).expect("a/b");
        symlink("a/b", room.join("link")).expect("link");
        symlink(room.join("link"), room.join("a/again")).expect("again");
        symlink("loop", room.join("loop")).expect("loop");
        for way in ["a/b", "a/b/", "link", "a/again", "a/../a/b", "a/b/../b"] {
            assert_eq!(without_links(&room.join(way)), Some(room.join("a/b")), "{way}");
        }
        assert_eq!(without_links(Path::new("/")), Some("/".into()));
        assert_eq!(without_links(&room.join("loop")), None);
        assert_eq!(without_links(&room.join("none/deeper")), None);
    }
}
