//! What only the host of a mount knows (since when, over which transport, within which limits), left in a
//! small file for `wharf list` and for whoever tries to mount at the same place.
//!
//! The file is a courtesy: without it everything works and less can be told. Its host keeps it locked, and the
//! kernel drops the lock when the host ends, however it ends: an unlocked file tells of the past.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use wharf_fuse::Handle;
use wharf_fuse::mount::Mounted;

use crate::limits;

/// Everything in such a file, and room to spare.
const BYTES_MAX: u64 = 16 * 1024;
/// How often somebody who waits for a host looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a host says of its mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) pid: u32,
    /// Seconds since 1970.
    pub(crate) since: i64,
    pub(crate) transport: String,
    /// Why that transport.
    pub(crate) reason: String,
    /// The socket by which programs read past the kernel, if they may.
    pub(crate) direct: Option<PathBuf>,
    /// Names and values, as `--limit` takes them.
    pub(crate) limits: Vec<(String, String)>,
}

/// The file of a mount that is served, and its lock.
#[derive(Debug)]
pub(crate) struct Published {
    path: PathBuf,
    file: File,
}

/// What a status file shows.
#[derive(Debug)]
pub(crate) enum Found {
    /// Its host runs.
    Served(Status, Watched),
    /// Its host has ended without taking the file along.
    Ended,
    /// There is no file, or none that this user may read.
    Unknown,
}

/// A file that is locked until its host has ended.
#[derive(Debug)]
pub(crate) struct Watched(File);

impl Status {
    /// Of a volume that has just been mounted.
    pub(crate) fn of(volume: &Handle) -> Status {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let limits = limits::show(volume.limits());
        Status {
            pid: std::process::id(),
            since: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            transport: volume.transport().to_string(),
            reason: volume.transport_reason().to_owned(),
            direct: None,
            limits: limits.map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    fn encode(&self) -> String {
        let Status { pid, since, transport, reason, direct, limits } = self;
        let reason = reason.replace('\n', " ");
        let mut text = format!("pid {pid}\nsince {since}\ntransport {transport}\nreason {reason}\n");
        // A path with a newline in it cannot be told.
        if let Some(direct) =
            direct.as_ref().and_then(|path| path.to_str()).filter(|path| !path.contains('\n'))
        {
            text += &format!("direct {direct}\n");
        }
        for (name, value) in limits {
            text += &format!("limit {name} {value}\n");
        }
        text
    }

    /// A line that is not understood is skipped: another version of the command may have written it.
    fn decode(text: &str) -> Status {
        let mut status = Status::default();
        for line in text.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "pid" => status.pid = value.parse().unwrap_or(0),
                "since" => status.since = value.parse().unwrap_or(0),
                "transport" => status.transport = value.to_owned(),
                "reason" => status.reason = value.to_owned(),
                "direct" => status.direct = Some(value.into()),
                "limit" => {
                    status.limits.extend(value.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())))
                }
                _ => {}
            }
        }
        status
    }
}

/// Leaves the status of the connection with this number where `wharf list` looks for it.
pub(crate) fn publish(status: &Status, connection: u32) -> io::Result<Published> {
    publish_in(&directory(rustix::process::getuid().as_raw()), status, connection)
}

fn publish_in(directory: &Path, status: &Status, connection: u32) -> io::Result<Published> {
    match DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let path = directory.join(connection.to_string());
    let draft = directory.join(format!("{connection}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&draft)?;
    // Locked and complete before it has the name that others look for.
    let published = file
        .lock()
        .and_then(|()| file.write_all(status.encode().as_bytes()))
        .and_then(|()| fs::rename(&draft, &path));
    match published {
        Ok(()) => Ok(Published { path, file }),
        Err(error) => {
            let _ = fs::remove_file(&draft);
            Err(error)
        }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // The kernel may have given the number to another mount already, and its host the file a successor.
        let identity = |file: &fs::Metadata| (file.dev(), file.ino());
        let ours = self.file.metadata().map(|file| identity(&file));
        let there = fs::symlink_metadata(&self.path).map(|file| identity(&file));
        if matches!((ours, there), (Ok(ours), Ok(there)) if ours == there) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What is known of a mount beyond the kernel's table.
pub(crate) fn find(mounted: &Mounted) -> Found {
    find_in(&directory(mounted.owner_uid), mounted.owner_uid, mounted.connection)
}

fn find_in(directory: &Path, owner_uid: u32, connection: u32) -> Found {
    read(&directory.join(connection.to_string()), owner_uid).unwrap_or(Found::Unknown)
}

/// The directory may be another user's, who may have put anything there.
fn read(path: &Path, owner_uid: u32) -> io::Result<Found> {
    let careful = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(careful).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.uid() != owner_uid {
        return Ok(Found::Unknown);
    }
    match file.try_lock_shared() {
        Ok(()) => return Ok(Found::Ended),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut text = Vec::new();
    (&file).take(BYTES_MAX).read_to_end(&mut text)?;
    Ok(Found::Served(Status::decode(&String::from_utf8_lossy(&text)), Watched(file)))
}

impl Watched {
    /// Waits until the host has ended. False if it takes longer than `at_most`.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        while self.0.try_lock_shared().is_err() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        true
    }
}

/// Where the hosts of this user leave their files, and listen.
pub(crate) fn own_directory() -> PathBuf {
    directory(rustix::process::getuid().as_raw())
}

/// Where the hosts of a user leave their files.
fn directory(uid: u32) -> PathBuf {
    let own = rustix::process::getuid().as_raw() == uid;
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if uid == 0 => "/run/wharf".into(),
        Some(place) if own => Path::new(&place).join("wharf"),
        _ => format!("/run/user/{uid}/wharf").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Status {
        Status {
            pid: 7,
            since: 1_763_700_000,
            transport: "uring".into(),
            reason: "the kernel offers it".into(),
            direct: Some("/run/wharf/7.direct".into()),
            limits: vec![("requests_max".into(), "16384".into()), ("payload_bytes_max".into(), "1M".into())],
        }
    }

    fn uid() -> u32 {
        rustix::process::getuid().as_raw()
    }

    #[test]
    fn a_status_survives_its_file() {
        assert_eq!(Status::decode(&sample().encode()), sample());
    }

    #[test]
    fn what_another_version_wrote_is_skipped() {
        let status = Status::decode("colour red\npid many\n\nlimit\ntransport dev\n\0\n");
        assert_eq!(status, Status { transport: "dev".into(), ..Status::default() });
    }

    #[test]
    fn a_file_tells_of_a_host_while_that_holds_it() {
        let room = tempfile::tempdir().expect("a directory");
        let room = room.path().join("wharf");
        assert!(matches!(find_in(&room, uid(), 39), Found::Unknown));
        let published = publish_in(&room, &sample(), 39).expect("a file");
        let Found::Served(status, watched) = find_in(&room, uid(), 39) else { panic!("it is held") };
        assert_eq!(status, sample());
        assert!(!watched.wait(Duration::ZERO));
        drop(published);
        assert!(watched.wait(Duration::ZERO));
        assert!(matches!(find_in(&room, uid(), 39), Found::Unknown));
        assert_eq!(fs::read_dir(&room).expect("it is there").count(), 0, "nothing is left");
    }

    #[test]
    fn a_host_that_was_killed_has_ended() {
        let room = tempfile::tempdir().expect("a directory");
        fs::write(room.path().join("39"), sample().encode()).expect("a file");
        assert!(matches!(find_in(room.path(), uid(), 39), Found::Ended));
    }

    #[test]
    fn a_successor_keeps_its_file() {
        let room = tempfile::tempdir().expect("a directory");
        let first = publish_in(room.path(), &sample(), 39).expect("a file");
        let _second = publish_in(room.path(), &Status { pid: 8, ..sample() }, 39).expect("another");
        drop(first);
        assert!(matches!(find_in(room.path(), uid(), 39), Found::Served(Status { pid: 8, .. }, _)));
    }

    #[test]
    fn what_is_no_file_of_the_owner_is_not_read() {
        let room = tempfile::tempdir().expect("a directory");
        publish_in(room.path(), &sample(), 1).map(std::mem::forget).expect("a file");
        std::os::unix::fs::symlink("1", room.path().join("2")).expect("a link");
        fs::create_dir(room.path().join("3")).expect("a directory");
        rustix::fs::mkfifoat(rustix::fs::CWD, room.path().join("4"), rustix::fs::Mode::RWXU).expect("a pipe");
        for connection in [2, 3, 4] {
            assert!(matches!(find_in(room.path(), uid(), connection), Found::Unknown), "{connection}");
        }
        assert!(matches!(find_in(room.path(), uid() + 1, 1), Found::Unknown));
    }
}
