//! The directory that a case works in, and short words for what cases do all the time.
//!
//! Every helper panics with a sentence at the place of its caller: a case reads as the rule it states. What is
//! tested itself is called by its own name, from `rustix`.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Debug,
    fs::{File, Metadata},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::{Errno, Result},
};

/// A fresh directory, given to one case.
#[derive(Clone, Debug)]
pub struct Dir {
    path: PathBuf,
}

impl Dir {
    /// The directory at `path`, which must exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Dir { path: path.into() }
    }

    /// The path of something in here.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a directory in here (0755) and answers it.
    #[track_caller]
    pub fn sub(&self, name: impl AsRef<Path>) -> Dir {
        let path = self.path(name);
        rustix::fs::mkdir(&path, Mode::from(0o755)).unwrap_or_else(|errno| fail("mkdir", &path, errno));
        Dir { path }
    }

    /// Opens with `flags`, and 0644 if that makes a file.
    pub fn try_open(&self, name: impl AsRef<Path>, flags: OFlags) -> Result<File> {
        rustix::fs::open(self.path(name), flags | OFlags::CLOEXEC, Mode::from(0o644)).map(File::from)
    }

    /// Opens with `flags`; must work.
    #[track_caller]
    pub fn open(&self, name: impl AsRef<Path>, flags: OFlags) -> File {
        let path = self.path(&name);
        self.try_open(name, flags).unwrap_or_else(|errno| fail("open", &path, errno))
    }

    /// Opens for reading and writing, and makes the file if it is not there.
    #[track_caller]
    pub fn create(&self, name: impl AsRef<Path>) -> File {
        self.open(name, OFlags::RDWR | OFlags::CREATE)
    }

    /// Makes a file with these bytes.
    #[track_caller]
    pub fn file(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap_or_else(|error| fail("write", &path, error));
    }

    /// All bytes of a file, through a new open.
    #[track_caller]
    pub fn bytes(&self, name: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(name);
        std::fs::read(&path).unwrap_or_else(|error| fail("read", &path, error))
    }

    /// What `lstat(2)` says.
    #[track_caller]
    pub fn stat(&self, name: impl AsRef<Path>) -> Metadata {
        let path = self.path(name);
        std::fs::symlink_metadata(&path).unwrap_or_else(|error| fail("stat", &path, error))
    }

    /// The permission bits, with set-user-id, set-group-id and sticky.
    #[track_caller]
    pub fn mode(&self, name: impl AsRef<Path>) -> u32 {
        self.stat(name).mode() & 0o7777
    }

    /// Sets the permission bits.
    #[track_caller]
    pub fn chmod(&self, name: impl AsRef<Path>, mode: u32) {
        let path = self.path(name);
        rustix::fs::chmod(&path, Mode::from(mode)).unwrap_or_else(|errno| fail("chmod", &path, errno));
    }

    /// Sets owner and group.
    #[track_caller]
    pub fn chown(&self, name: impl AsRef<Path>, uid: u32, gid: u32) {
        let path = self.path(name);
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid))
            .unwrap_or_else(|error| fail("chown", &path, error));
    }

    /// Whether there is something of this name, even a dangling link.
    #[track_caller]
    pub fn has(&self, name: impl AsRef<Path>) -> bool {
        let path = self.path(name);
        match rustix::fs::lstat(&path) {
            Ok(_) => true,
            Err(Errno::NOENT) => false,
            Err(errno) => fail("lstat", &path, errno),
        }
    }

    /// Removes something that is not a directory.
    #[track_caller]
    pub fn unlink(&self, name: impl AsRef<Path>) {
        let path = self.path(name);
        rustix::fs::unlink(&path).unwrap_or_else(|errno| fail("unlink", &path, errno));
    }

    /// Removes an empty directory.
    #[track_caller]
    pub fn rmdir(&self, name: impl AsRef<Path>) {
        let path = self.path(name);
        rustix::fs::rmdir(&path).unwrap_or_else(|errno| fail("rmdir", &path, errno));
    }

    /// Renames within here.
    #[track_caller]
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        let from = self.path(from);
        rustix::fs::rename(&from, self.path(to)).unwrap_or_else(|errno| fail("rename", &from, errno));
    }

    /// Makes a symbolic link.
    #[track_caller]
    pub fn symlink(&self, target: impl AsRef<Path>, name: impl AsRef<Path>) {
        let path = self.path(name);
        rustix::fs::symlink(target.as_ref(), &path).unwrap_or_else(|errno| fail("symlink", &path, errno));
    }

    /// Makes another name of a file.
    #[track_caller]
    pub fn link(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        let path = self.path(to);
        rustix::fs::link(self.path(from), &path).unwrap_or_else(|errno| fail("link", &path, errno));
    }

    /// The names in here, without `.` and `..`.
    #[track_caller]
    pub fn names(&self) -> BTreeSet<OsString> {
        let entries = std::fs::read_dir(&self.path).unwrap_or_else(|error| fail("list", &self.path, error));
        let name = |entry: std::io::Result<std::fs::DirEntry>| match entry {
            Ok(entry) => entry.file_name(),
            Err(error) => fail("list", &self.path, error),
        };
        entries.map(name).collect()
    }
}

#[track_caller]
fn fail(doing: &str, path: &Path, error: impl std::fmt::Display) -> ! {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let name: String = name.chars().take(40).collect();
    panic!("{doing} {name}: {error}")
}

/// Panics unless this failed, and with this error.
#[track_caller]
pub fn must_fail<T: Debug>(result: Result<T>, want: Errno) {
    match result {
        Err(errno) if errno == want => {}
        Err(errno) => panic!("failed with «{errno}» where «{want}» was due"),
        Ok(got) => panic!("worked ({got:?}) where «{want}» was due"),
    }
}

/// Reads exactly this many bytes at an offset of an open file.
#[track_caller]
pub fn read_at(file: &File, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)
        .unwrap_or_else(|error| panic!("read {length} at {offset}: {error}"));
    bytes
}

/// Writes all these bytes at an offset of an open file.
#[track_caller]
pub fn write_at(file: &File, offset: u64, bytes: &[u8]) {
    let length = bytes.len();
    file.write_all_at(bytes, offset).unwrap_or_else(|error| panic!("write {length} at {offset}: {error}"));
}

/// The size of an open file.
#[track_caller]
pub fn size(file: &File) -> u64 {
    file.metadata().expect("fstat of an open file").len()
}

/// Bytes that differ from place to place, so that a block in the wrong place is seen.
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // A xorshift generator: cheap, and without a period that a block size divides.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Panics unless both are the same, and says where they first differ rather than printing both.
#[track_caller]
pub fn same_bytes(got: &[u8], want: &[u8]) {
    if got != want {
        let differ = got.iter().zip(want).position(|(got, want)| got != want);
        let at = differ.unwrap_or(got.len().min(want.len()));
        panic!("{} bytes where {} were due; they first differ at {at}", got.len(), want.len());
    }
}
