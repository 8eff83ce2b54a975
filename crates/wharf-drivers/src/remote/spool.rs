//! Files that are being changed, kept locally until the service has them.
//!
//! Each mount has a directory of its own below that of its service, held by a lock. A changed file is `N.data`;
//! from the moment its upload begins until it has succeeded there is also `N.to`, which says where it belongs.
//! What a mount leaves behind, because an upload failed or because it was killed, is found by the next one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};
use tokio::sync::RwLock;
use wharf::{Statfs, Time};

use super::meta::Version;
use super::note::{note, noted};
use super::outgoing::Outgoing;

/// The directory of one mount.
#[derive(Debug)]
pub(super) struct Spools {
    directory: PathBuf,
    /// Held as long as the mount lives.
    _lock: File,
    next: AtomicU64,
}

/// The local copy of one file that is being changed.
#[derive(Debug)]
pub(super) struct Spool {
    pub(super) file: Arc<OwnedFd>,
    pub(super) data: PathBuf,
    /// The contents on the service that this began with; `None` for a new file.
    pub(super) base: Option<Version>,
    state: Mutex<State>,
    /// Writes share it, an upload has it alone: no upload is a mixture.
    pub(super) gate: RwLock<()>,
    /// Bytes that the present upload has come to.
    sent: Arc<AtomicU64>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) size: u64,
    pub(super) modified: Time,
    /// Counts changes.
    pub(super) changes: u64,
    /// The changes that the service has.
    pub(super) uploaded: u64,
    /// Its name is gone: nobody wants it at the service any more.
    pub(super) unwanted: bool,
}

impl State {
    pub(super) fn changed(&mut self) {
        self.changes += 1;
        self.modified = Time::now();
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.uploaded < self.changes
    }
}

impl Spools {
    /// Makes a directory for this mount in that of its service.
    pub(super) fn open(service: &Path) -> io::Result<Spools> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(service)?;
        for number in 0.. {
            let directory = service.join(format!("{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => {
                    let lock = lock(&directory)?.ok_or(io::ErrorKind::ResourceBusy)?;
                    return Ok(Spools { directory, _lock: lock, next: AtomicU64::new(0) });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The room that is left for copies.
    pub(super) fn room(&self) -> io::Result<Statfs> {
        let told = rustix::fs::statvfs(&self.directory)?;
        Ok(Statfs {
            block_size: u32::try_from(told.f_frsize).unwrap_or(4096),
            blocks: told.f_blocks,
            blocks_free: told.f_bfree,
            blocks_available: told.f_bavail,
            files: told.f_files,
            files_free: told.f_ffree,
            name_bytes_max: 255,
        })
    }

    /// A new, empty copy.
    pub(super) fn make(&self, base: Option<Version>) -> io::Result<Arc<Spool>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let data = self.directory.join(format!("{number}.data"));
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&data)?;
        let state = State { size: 0, modified: Time::now(), changes: 0, uploaded: 0, unwanted: false };
        let file = Arc::new(OwnedFd::from(file));
        let (state, gate) = (Mutex::new(state), RwLock::new(()));
        Ok(Arc::new(Spool { file, data, base, state, gate, sent: Arc::default() }))
    }
}

impl Drop for Spools {
    /// Goes if there is nothing left to be uploaded.
    fn drop(&mut self) {
        let _ = fs::remove_file(self.directory.join(LOCK));
        let _ = fs::remove_dir(&self.directory);
    }
}

const LOCK: &str = "lock";

/// Locks a mount's directory; `None` if it is held by a mount that lives.
fn lock(directory: &Path) -> io::Result<Option<File>> {
    let file =
        File::options().write(true).create(true).truncate(false).mode(0o600).open(directory.join(LOCK))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Spool {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be uploaded, as long as it is now.
    pub(super) fn outgoing(&self) -> Outgoing {
        Outgoing { file: self.file.clone(), size: self.lock().size, sent: self.sent.clone() }
    }

    /// Bytes that are to be uploaded, and those of them that have been.
    pub(super) fn progress(&self) -> (u64, u64) {
        let state = self.lock();
        let sent = if state.is_dirty() { self.sent.load(Ordering::Relaxed) } else { state.size };
        (state.size, sent.min(state.size))
    }

    /// Notes where it belongs, so that it finds its way even if this process does not live to bring it there.
    pub(super) fn mark(&self, path: &str) -> io::Result<()> {
        let mark = self.mark_path();
        let draft = mark.with_extension("draft");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(note(path, self.base.as_ref()).as_bytes())?;
        fs::rename(draft, mark)
    }

    /// The service has it.
    pub(super) fn unmark(&self) {
        let _ = fs::remove_file(self.mark_path());
    }

    fn mark_path(&self) -> PathBuf {
        self.data.with_extension("to")
    }
}

impl Drop for Spool {
    /// What the service does not have is kept, whoever lets go of it and for whatever reason.
    fn drop(&mut self) {
        let is_needed = {
            let state = self.lock();
            state.is_dirty() && !state.unwanted
        };
        if !is_needed {
            self.unmark();
            let _ = fs::remove_file(&self.data);
        }
    }
}

/// Something that an earlier mount could not bring to the service.
#[derive(Debug)]
pub(super) struct Leftover {
    pub(super) path: String,
    /// The contents that it was meant to replace; `None`: it was new.
    pub(super) base: Option<Version>,
    pub(super) data: PathBuf,
    /// Keeps other mounts away.
    lock: Arc<File>,
}

impl Leftover {
    /// The service has it.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(self.data.with_extension("to"));
        let _ = fs::remove_file(&self.data);
        drop(self.lock);
        if let Some(directory) = self.data.parent() {
            tidy(directory);
        }
    }
}

/// What mounts that are gone have left in the service's directory.
pub(super) fn leftovers(service: &Path) -> Vec<Leftover> {
    let mut found = Vec::new();
    for directory in fs::read_dir(service).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let Ok(Some(lock)) = lock(&directory) else { continue };
        let lock = Arc::new(lock);
        let before = found.len();
        for file in fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if file.extension().is_some_and(|extension| extension == "to")
                && let Some((path, base)) = fs::read_to_string(&file).ok().and_then(|text| noted(&text))
            {
                let data = file.with_extension("data");
                found.push(Leftover { path, base, data, lock: lock.clone() });
            }
        }
        if found.len() == before {
            drop(lock);
            // A file whose upload never began was never closed: nobody was told that it is safe.
            for file in fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if file.extension().is_some_and(|extension| extension == "data") {
                    log::warn!(
                        "{}: was being written when its mount was killed; it is kept there",
                        file.display()
                    );
                }
            }
            tidy(&directory);
        }
    }
    found
}

/// Removes a mount's directory if nothing but its lock is left.
fn tidy(directory: &Path) {
    let mut names = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
    if names.all(|name| name == LOCK) {
        let _ = fs::remove_file(directory.join(LOCK));
        let _ = fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_found_by_the_next_mount_and_what_is_held_is_not() {
        let place = tempfile::tempdir().unwrap();
        let spools = Spools::open(place.path()).unwrap();
        let kept = spools.make(None).unwrap();
        let done = spools.make(None).unwrap();
        for spool in [&kept, &done] {
            spool.mark("a/b").unwrap();
        }
        kept.lock().changed();
        assert!(leftovers(place.path()).is_empty(), "its mount lives");
        drop((kept, done, spools));
        let mut left = leftovers(place.path());
        assert_eq!(left.len(), 1);
        assert!(leftovers(place.path()).is_empty(), "one mount at a time");
        let leftover = left.pop().unwrap();
        assert_eq!(leftover.path, "a/b");
        leftover.remove();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
