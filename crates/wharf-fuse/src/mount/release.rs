//! Taking a mount away, ending its connection, and saying who is in the way.
//!
//! Everything is looked up in the kernel's tables; nothing here asks the mount itself, which may hang.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode as FileMode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags};

use super::table::{self, Entry};
use super::{Error, Liveness, helper, point};

const CONTROL: &str = "/sys/fs/fuse/connections";
/// Looking for holders is a courtesy; it must not keep anybody waiting.
const SEARCH_MS: u64 = 1_000;
const HOLDERS_MAX: usize = 3;

/// How a mount is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only if nobody uses it. What was written reaches the server first.
    Clean,
    /// From sight at once, in truth when the last user has gone.
    Lazy,
}

/// Somebody who uses a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A process, by an open file or its working directory.
    Process {
        /// Its number.
        pid: u32,
        /// Its name, as in `ps`.
        name: String,
    },
    /// Another mount inside.
    Mount {
        /// Where.
        point: PathBuf,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Process { pid, name } => write!(to, "{name} ({pid})"),
            Holder::Mount { point } => write!(to, "a mount on {}", point.display()),
        }
    }
}

/// Takes the Wharf mount at `path` away, whichever process serves it, or served it.
pub fn unmount(path: &Path, mode: Mode) -> Result<(), Error> {
    let point = point::resolve(path)?;
    let table = table::read()?;
    match table::topmost(&table, &point) {
        Some(entry) if entry.wharf().is_some() => take_away(entry, &table, mode),
        _ if table.iter().any(|entry| entry.point == point && entry.wharf().is_some()) => {
            Err(Error::Covered { point })
        }
        _ => Err(Error::NotMounted { point }),
    }
}

/// Takes one certain mount away, wherever it is by now. It may be gone already.
///
/// The kernel gives the numbers of a mount that has gone to the next one at once. So if this one's connection has
/// ended, by which it may have gone, what bears its numbers and lives is another.
pub(super) fn unmount_exactly(
    mount_id: u64,
    connection: u32,
    is_connected: bool,
    mode: Mode,
) -> Result<(), Error> {
    let table = table::read()?;
    let ours = |entry: &&Entry| entry.id == mount_id && entry.is_fuse() && entry.connection() == connection;
    let Some(entry) = table.iter().find(ours) else { return Ok(()) };
    if !is_connected && point::probe(&entry.point) != Liveness::Dead {
        return Ok(());
    }
    if table::topmost(&table, &entry.point).is_some_and(|top| top.id != mount_id) {
        return Err(Error::Covered { point: entry.point.clone() });
    }
    take_away(entry, &table, mode)
}

fn take_away(entry: &Entry, table: &[Entry], mode: Mode) -> Result<(), Error> {
    let flags = match mode {
        Mode::Clean => UnmountFlags::NOFOLLOW,
        Mode::Lazy => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    let point = || entry.point.clone();
    let done = match rustix::mount::unmount(&entry.point, flags) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            let user = rustix::process::getuid();
            match entry.wharf() {
                Some(mounted) if !user.is_root() && mounted.owner_uid != user.as_raw() => {
                    Err(Error::NotYours { point: point(), owner_uid: mounted.owner_uid })
                }
                _ => helper::unmount(&entry.point, mode),
            }
        }
        Err(Errno::BUSY) => Err(Error::Busy { point: point(), holders: Vec::new() }),
        // Somebody else was faster.
        Err(Errno::INVAL | Errno::NOENT) => Err(Error::NotMounted { point: point() }),
        Err(cause) => Err(Error::Kernel { doing: "unmounting", cause: cause.into(), why: String::new() }),
    };
    match done {
        Err(Error::Busy { point, .. }) => {
            let holders = holders(entry, table);
            Err(Error::Busy { point, holders })
        }
        done => done,
    }
}

/// A few of those who keep a mount busy, as far as this user may know, within a quarter of a second.
fn holders(mount: &Entry, table: &[Entry]) -> Vec<Holder> {
    let inside = table.iter().filter(|entry| entry.parent == mount.id);
    let mut found: Vec<_> = inside.map(|entry| Holder::Mount { point: entry.point.clone() }).collect();
    let deadline = Instant::now() + Duration::from_millis(SEARCH_MS);
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if found.len() >= HOLDERS_MAX || Instant::now() > deadline {
            break;
        }
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if uses(&process.path(), &mount.point, deadline) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(Holder::Process { pid, name: name.trim_end().to_owned() });
        }
    }
    found.truncate(HOLDERS_MAX);
    found
}

/// Reads links only, which asks no file system. What may not be read counts as no.
fn uses(process: &Path, point: &Path, deadline: Instant) -> bool {
    let leads_in = |link: &Path| fs::read_link(link).is_ok_and(|target| target.starts_with(point));
    if ["cwd", "root", "exe"].iter().any(|name| leads_in(&process.join(name))) {
        return true;
    }
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files.take_while(|_| Instant::now() <= deadline).any(|file| leads_in(&file.path()))
}

/// Ends a connection from the kernel's side: every call on the mount fails at once, now and later, and the
/// server reads ENODEV. The mount stays in its place until it is unmounted.
///
/// For the mount's owner and root. A connection that is gone is no error.
pub fn abort(connection: u32) -> Result<(), Error> {
    let control = control().map_err(|cause| Error::NoControl { cause })?;
    let switch = rustix::fs::openat(
        &control,
        format!("{connection}/abort"),
        OFlags::WRONLY | OFlags::CLOEXEC,
        FileMode::empty(),
    );
    match switch {
        Ok(switch) => fs::File::from(switch).write_all(b"1").map_err(|cause| Error::NoControl { cause }),
        Err(Errno::NOENT) => Ok(()),
        Err(cause) => Err(Error::NoControl { cause: cause.into() }),
    }
}

/// The kernel's directory of connections: where it is usually mounted, or a mount of it that only we see.
fn control() -> io::Result<OwnedFd> {
    const FUSE_CTL_MAGIC: u64 = 0x6573_5543;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let usual = rustix::fs::open(CONTROL, flags, FileMode::empty())?;
    if u64::try_from(rustix::fs::fstatfs(&usual)?.f_type) == Ok(FUSE_CTL_MAGIC) {
        return Ok(usual);
    }
    let private = || {
        let context = rustix::mount::fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(&context)?;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    private().map_err(|_| io::Error::new(ErrorKind::NotFound, format!("{CONTROL} is not mounted")))
}
