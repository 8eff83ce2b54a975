//! The place a mount goes to: found, named, and judged without waiting for a file system that hangs.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Error, table};

/// How long a mount that is already there may take to say that it lives.
const PROBE_MS: u64 = 1_000;
const LINKS_MAX: u32 = 40;

/// A place that can be mounted on.
pub(super) struct Point {
    /// Absolute, without links.
    pub(super) path: PathBuf,
    /// The place itself, so that nobody can exchange it between checking and mounting.
    pub(super) place: OwnedFd,
    /// A directory or a file: what the mount's root must be too.
    pub(super) file_type: FileType,
}

impl Point {
    /// Finds `path` and refuses what could not be mounted on.
    pub(super) fn find(path: &Path) -> Result<Point, Error> {
        let path = resolve(path)?;
        let table = table::read()?;
        if let Some(entry) = table::topmost(&table, &path).filter(|entry| entry.is_fuse()) {
            // Its server may be gone or stuck, so nothing here may ask it from this thread.
            match (probe(&path), entry.wharf()) {
                (Liveness::Dead, _) => return Err(Error::PointDead { point: path }),
                (_, Some(mounted)) => {
                    return Err(Error::AlreadyMounted { point: path, source: mounted.source });
                }
                (Liveness::Silent, None) => return Err(Error::PointSilent { point: path }),
                (Liveness::Answers, None) => {}
            }
        }
        let open = rustix::fs::open(&path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let place = open.map_err(|cause| unreachable(&path, cause.into()))?;
        let stat = rustix::fs::fstat(&place).map_err(|cause| unreachable(&path, cause.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            file_type @ (FileType::Directory | FileType::RegularFile) => Ok(Point { path, place, file_type }),
            _ => Err(Error::PointKind { point: path }),
        }
    }
}

/// What a mount does when it is asked something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It answers, be it with an error.
    Answers,
    /// Its server is gone: "Transport endpoint is not connected".
    Dead,
    /// It does not answer within a second.
    Silent,
}

/// Asks the file system at `point` for a sign of life, and waits a second at most.
pub fn probe(point: &Path) -> Liveness {
    let (answer, answered) = mpsc::sync_channel(1);
    let point = point.to_owned();
    // A thread of its own, because the question cannot be taken back; it ends when the mount does.
    let asking = std::thread::Builder::new().name("mount probe".into()).spawn(move || {
        // The receiver may have gone; then nobody wants to know.
        // Not stat(2), which the kernel may answer from its cache.
        let _ = answer.send(rustix::fs::statfs(&point).map(drop));
    });
    match asking.map(|_| answered.recv_timeout(Duration::from_millis(PROBE_MS))) {
        Ok(Ok(Err(Errno::NOTCONN | Errno::CONNABORTED))) => Liveness::Dead,
        Ok(Ok(_)) => Liveness::Answers,
        Ok(Err(_)) | Err(_) => Liveness::Silent,
    }
}

/// Makes `path` absolute and free of links, asking only the directories above it: what lies at the path
/// itself may be a mount that hangs.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, Error> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Some(Component::Normal(name)) = path.components().next_back() else {
            return path.canonicalize().map_err(|cause| unreachable(&path, cause));
        };
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let parent = parent.canonicalize().map_err(|cause| unreachable(&path, cause))?;
        let place = parent.join(name);
        match rustix::fs::readlink(&place, Vec::new()) {
            Ok(target) => {
                path = parent.join(OsString::from_vec(target.into_bytes()));
            }
            // Not a link.
            Err(Errno::INVAL) => return Ok(place),
            // The root of a dead mount; it is for the caller to say what that means.
            Err(Errno::NOTCONN | Errno::CONNABORTED) => return Ok(place),
            Err(cause) => return Err(unreachable(&place, cause.into())),
        }
    }
    Err(unreachable(&path, Errno::LOOP.into()))
}

fn unreachable(point: &Path, cause: io::Error) -> Error {
    let point = point.to_owned();
    match cause.kind() {
        ErrorKind::NotFound => Error::PointMissing { point },
        _ if cause.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) => {
            // The dead mount may be a directory above; that is the one to free.
            let table = table::read().unwrap_or_default();
            let above = table.iter().filter(|entry| entry.is_fuse() && point.starts_with(&entry.point));
            let dead = above.map(|entry| &entry.point).max_by_key(|place| place.components().count());
            Error::PointDead { point: dead.cloned().unwrap_or(point) }
        }
        _ => Error::PointUnreachable { point, cause },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_point_is_named_without_links_and_dots() {
        let room = tempfile::tempdir().expect("a directory");
        let room = room.path().canonicalize().expect("it is there");
        fs::create_dir_all(room.join("a/b")).expect("a/b");
        symlink("a/b", room.join("link")).expect("link");
        symlink(room.join("link"), room.join("a/again")).expect("again");
        for way in ["a/b", "link", "a/again", "a/../a/./b/", "a/b/."] {
            assert_eq!(resolve(&room.join(way)).expect(way), room.join("a/b"), "{way}");
        }
        assert_eq!(resolve(&room.join("a/b/..")).expect("parent"), room.join("a"));
        assert_eq!(resolve(Path::new("/")).expect("root"), Path::new("/"));
    }

    #[test]
    fn a_point_that_is_missing_or_turns_in_circles_is_refused() {
        let room = tempfile::tempdir().expect("a directory");
        symlink("loop", room.path().join("loop")).expect("loop");
        symlink("nowhere", room.path().join("broken")).expect("broken");
        for way in ["none", "none/deeper", "broken"] {
            let error = resolve(&room.path().join(way)).expect_err(way);
            assert!(matches!(error, Error::PointMissing { .. }), "{way}: {error}");
        }
        let error = resolve(&room.path().join("loop")).expect_err("a loop");
        assert!(matches!(error, Error::PointUnreachable { .. }), "{error}");
    }

    #[test]
    fn directories_and_files_can_be_mounted_on_and_nothing_else() {
        let room = tempfile::tempdir().expect("a directory");
        fs::write(room.path().join("file"), "").expect("a file");
        assert_eq!(Point::find(room.path()).expect("a directory").file_type, FileType::Directory);
        assert_eq!(Point::find(&room.path().join("file")).expect("a file").file_type, FileType::RegularFile);
        let error = Point::find(Path::new("/dev/null")).err().expect("refused");
        assert!(matches!(error, Error::PointKind { .. }), "{error}");
        let error = Point::find(&room.path().join("file/below")).err().expect("refused");
        assert!(matches!(error, Error::PointUnreachable { .. }), "{error}");
    }
}
