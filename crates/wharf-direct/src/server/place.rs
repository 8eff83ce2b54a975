//! The directory where hosts of one user listen, and what killed ones have left there.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, DirEntry};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::socket;

const ENDING: &str = "direct";
/// Of a socket that nobody can connect to yet.
const ENDING_BEFORE: &str = "listen";

/// Begins to listen in `directory`, for the volume with this number.
pub(super) fn listen(directory: &Path, volume: u64, backlog: i32) -> io::Result<(OwnedFd, PathBuf)> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.or_else(|error| if directory.is_dir() { Ok(()) } else { Err(error) })?;
    sweep(directory);
    let before = directory.join(format!("{volume:016x}.{ENDING_BEFORE}"));
    let path = before.with_extension(ENDING);
    let listener = socket::listener(&before, backlog)?;
    // It has its name when it listens, not before: who sweeps takes a socket that refuses for one that was left.
    if let Err(error) = fs::rename(&before, &path) {
        let _ = fs::remove_file(&before);
        return Err(error);
    }
    Ok((listener, path))
}

/// Removes the sockets of hosts that were killed.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().filter(is_ours).map(|entry| entry.path()) {
        if socket::is_deserted(&path) {
            match fs::remove_file(&path) {
                Ok(()) => log::info!("removed {}, which a killed host had left", path.display()),
                Err(error) => log::debug!("{} was left by a killed host: {error}", path.display()),
            }
        }
    }
}

/// Whether it is a socket of this user's, with a name as hosts give.
fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = Path::new(&name);
    let stem = name.file_stem().map(OsStr::as_encoded_bytes).unwrap_or_default();
    let number = stem.len() == 16 && stem.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let named = number && name.extension() == Some(OsStr::new(ENDING));
    // Of the entry itself, wherever a link may lead.
    named
        && entry
            .metadata()
            .is_ok_and(|about| about.file_type().is_socket() && about.uid() == geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_host_left_goes_and_nothing_else() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        let left = |name: &str| drop(socket::listener(&at(name), 1).unwrap());
        left("0123456789abcdef.direct");
        // Names that no host gives.
        for name in ["0123456789ABCDEF.direct", "0123.direct", "0123456789abcdef.socket", "0123456789abcdef"]
        {
            left(name);
        }
        fs::write(at("0000000000000001.direct"), b"no socket").unwrap();
        std::os::unix::fs::symlink("0123.direct", at("0000000000000002.direct")).unwrap();
        let living = socket::listener(&at("0000000000000003.direct"), 0).unwrap();
        // One that cannot take another connection just now lives all the same.
        let waits = socket::connected(&at("0000000000000003.direct"), std::time::Duration::from_secs(1));
        let (own, path) = listen(room.path(), 4, 1).unwrap();
        assert_eq!(path, at("0000000000000004.direct"));
        assert!(socket::connected(&path, std::time::Duration::from_secs(1)).is_ok());
        let mut names: Vec<_> = fs::read_dir(room.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        let expected = [
            "0000000000000001.direct",
            "0000000000000002.direct",
            "0000000000000003.direct",
            "0000000000000004.direct",
            "0123.direct",
            "0123456789ABCDEF.direct",
            "0123456789abcdef",
            "0123456789abcdef.socket",
        ];
        assert_eq!(names, expected);
        drop((own, living, waits));
    }
}
