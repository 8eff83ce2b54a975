//! The file system that every library in the comparison serves, without any library.
//!
//! A server adds only the binding to its library, so what differs between two rows of the table is the library.
//! Attributes carry no times and no owners; permissions are open to everybody.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

pub const ROOT: u64 = 1;
/// 1 GiB from memory, to be opened for direct I/O.
pub const BIG: u64 = 2;
/// The same bytes through the page cache, which each open empties.
pub const CACHED: u64 = 3;
/// A directory of empty files.
pub const MANY: u64 = 4;
/// A directory in which files can be created, written and unlinked.
pub const TMP: u64 = 5;
/// As `BIG`, but every read is answered after [`SLOW_READ`].
pub const SLOW: u64 = 6;

pub const BIG_BYTES: u64 = 1 << 30;
pub const MANY_FILES: u64 = 10_000;
pub const SLOW_READ: Duration = Duration::from_millis(10);

/// The environment's name for a file of `BIG_BYTES` on a tmpfs.
pub const BIG_FILE: &str = "BENCH_BIG";

const FIRST_MANY: u64 = 100;
const FIRST_TMP: u64 = 1_000_000;
const TOP: [(&str, u64); 5] =
    [("big", BIG), ("cached", CACHED), ("many", MANY), ("tmp", TMP), ("slow", SLOW)];

/// How long the kernel may remember answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Names and attributes for an hour.
    Kept,
    /// Names and attributes for [`BRIEF`]: a client that waits longer between rounds finds nothing cached.
    Brief,
    /// Names for an hour, attributes never.
    Attr0,
    /// Neither.
    Nothing,
}

pub const BRIEF: Duration = Duration::from_millis(200);
const HOUR: Duration = Duration::from_secs(3600);

impl Caching {
    pub fn names(self) -> Duration {
        match self {
            Self::Kept | Self::Attr0 => HOUR,
            Self::Brief => BRIEF,
            Self::Nothing => Duration::ZERO,
        }
    }

    pub fn attributes(self) -> Duration {
        match self {
            Self::Kept => HOUR,
            Self::Brief => BRIEF,
            Self::Attr0 | Self::Nothing => Duration::ZERO,
        }
    }
}

/// What every server is started with: `DIR [VARIANT] [kept|brief|attr0|nothing]`.
#[derive(Debug)]
pub struct Arguments {
    pub dir: std::path::PathBuf,
    /// Of the library: a transport, a number of threads. Empty for its default.
    pub variant: String,
    pub caching: Caching,
}

impl Arguments {
    pub fn parse() -> Result<Self, String> {
        let mut given = std::env::args_os().skip(1);
        let dir = given.next().ok_or("usage: DIR [VARIANT] [kept|brief|attr0|nothing]")?.into();
        let mut word = || given.next().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        let variant = word();
        let caching = match word().as_str() {
            "" | "kept" => Caching::Kept,
            "brief" => Caching::Brief,
            "attr0" => Caching::Attr0,
            "nothing" => Caching::Nothing,
            other => return Err(format!("{other:?} is not one of kept, brief, attr0, nothing")),
        };
        Ok(Self { dir, variant, caching })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    pub inode: u64,
    pub directory: bool,
    pub bytes: u64,
}

impl Attributes {
    /// As in `st_mode`.
    pub fn mode(&self) -> u32 {
        if self.directory { 0o040_777 } else { 0o100_644 }
    }
}

/// Maps the file for reading, every page at once, for as long as the process lives.
fn map(file: &std::fs::File) -> std::io::Result<&'static [u8]> {
    if file.metadata()?.len() < BIG_BYTES {
        return Err(std::io::Error::other(format!("the file that {BIG_FILE} names is too short")));
    }
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
    // SAFETY: a new mapping at an address that the kernel chooses touches no memory that anyone uses.
    let start = unsafe {
        libc::mmap(std::ptr::null_mut(), BIG_BYTES as usize, libc::PROT_READ, flags, file.as_raw_fd(), 0)
    };
    if start == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the mapping is never taken away, and the run neither writes nor shortens the file while it is served.
    Ok(unsafe { std::slice::from_raw_parts(start.cast(), BIG_BYTES as usize) })
}

#[derive(Debug)]
pub struct Tiny {
    big: &'static [u8],
    tmp: RwLock<BTreeMap<Vec<u8>, u64>>,
    contents: RwLock<HashMap<u64, Vec<u8>>>,
    next: AtomicU64,
}

impl Tiny {
    /// The gigabyte is the file that [`BIG_FILE`] names, mapped, so that all servers of a run read the same
    /// memory and start at once. Without it, memory of its own.
    pub fn new() -> std::io::Result<Self> {
        let big = match std::env::var_os(BIG_FILE) {
            Some(path) => map(&std::fs::File::open(path)?)?,
            None => vec![1u8; BIG_BYTES as usize].leak(),
        };
        Ok(Self { big, tmp: RwLock::default(), contents: RwLock::default(), next: AtomicU64::new(FIRST_TMP) })
    }

    /// Whether opens of it should bypass the page cache.
    pub fn is_direct(inode: u64) -> bool {
        matches!(inode, BIG | SLOW)
    }

    pub fn attributes(&self, inode: u64) -> Attributes {
        let bytes = match inode {
            BIG | CACHED | SLOW => BIG_BYTES,
            _ if inode < FIRST_TMP => 0,
            _ => {
                let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
                contents.get(&inode).map_or(0, Vec::len) as u64
            }
        };
        Attributes { inode, directory: matches!(inode, ROOT | MANY | TMP), bytes }
    }

    pub fn lookup(&self, parent: u64, name: &[u8]) -> Option<u64> {
        match parent {
            ROOT => Some(TOP.iter().find(|(known, _)| known.as_bytes() == name)?.1),
            MANY => {
                let number: u64 = std::str::from_utf8(name.strip_prefix(b"file")?).ok()?.parse().ok()?;
                (number < MANY_FILES).then_some(FIRST_MANY + number)
            }
            _ => self.tmp.read().unwrap_or_else(PoisonError::into_inner).get(name).copied(),
        }
    }

    pub fn create(&self, name: &[u8]) -> u64 {
        let inode = self.next.fetch_add(1, Ordering::Relaxed);
        self.tmp.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_vec(), inode);
        self.contents.write().unwrap_or_else(PoisonError::into_inner).insert(inode, Vec::new());
        inode
    }

    pub fn unlink(&self, name: &[u8]) -> Option<()> {
        let inode = self.tmp.write().unwrap_or_else(PoisonError::into_inner).remove(name)?;
        self.contents.write().unwrap_or_else(PoisonError::into_inner).remove(&inode);
        Some(())
    }

    pub fn resize(&self, inode: u64, bytes: u64) {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        contents.entry(inode).or_default().resize(bytes as usize, 0);
    }

    /// Where the bytes of a read lie, or `None` for a file of `tmp`.
    pub fn resident(&self, inode: u64, offset: u64, bytes_max: usize) -> Option<&'static [u8]> {
        if inode >= FIRST_TMP {
            return None;
        }
        let from = (offset as usize).min(self.big.len());
        Some(&self.big[from..from.saturating_add(bytes_max).min(self.big.len())])
    }

    /// Lends the bytes of a read. `None` if there is no such file.
    pub fn read<R>(
        &self,
        inode: u64,
        offset: u64,
        bytes_max: usize,
        lend: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        if let Some(bytes) = self.resident(inode, offset, bytes_max) {
            return Some(lend(bytes));
        }
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let rest = contents.get(&inode)?.get(offset as usize..).unwrap_or_default();
        Some(lend(&rest[..rest.len().min(bytes_max)]))
    }

    pub fn write(&self, inode: u64, offset: u64, data: &[u8]) -> Option<usize> {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = contents.get_mut(&inode)?;
        let from = offset as usize;
        let end = from + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[from..end].copy_from_slice(data);
        Some(data.len())
    }

    /// The one entry after `cursor`, for libraries that take them one by one.
    pub fn entry_after(&self, directory: u64, cursor: u64) -> Option<(Vec<u8>, Attributes, u64)> {
        let mut first = None;
        self.list(directory, cursor, |name, of, next| {
            first = Some((name.to_vec(), of, next));
            false
        });
        first
    }

    /// Names after `cursor`, each with the cursor of what follows it, until `add` says that it has no room.
    pub fn list(&self, directory: u64, cursor: u64, mut add: impl FnMut(&[u8], Attributes, u64) -> bool) {
        match directory {
            ROOT => {
                for (at, (name, inode)) in TOP.iter().enumerate().skip(cursor as usize) {
                    if !add(name.as_bytes(), self.attributes(*inode), at as u64 + 1) {
                        return;
                    }
                }
            }
            MANY => {
                let mut name = *b"file00000";
                for number in cursor..MANY_FILES {
                    let mut rest = number;
                    for digit in name[4..].iter_mut().rev() {
                        *digit = b'0' + (rest % 10) as u8;
                        rest /= 10;
                    }
                    if !add(&name, self.attributes(FIRST_MANY + number), number + 1) {
                        return;
                    }
                }
            }
            _ => {
                let names = self.tmp.read().unwrap_or_else(PoisonError::into_inner);
                let mut after: Vec<_> = names.iter().filter(|(_, inode)| **inode > cursor).collect();
                after.sort_unstable_by_key(|(_, inode)| **inode);
                for (name, inode) in after {
                    if !add(name, self.attributes(*inode), *inode) {
                        return;
                    }
                }
            }
        }
    }
}

/// Runs something on what was handed in, [`SLOW_READ`] later. All wait equally long, so they come due in order.
#[derive(Clone, Debug)]
pub struct Timers<T>(Sender<(Instant, T)>);

impl<T: Send + 'static> Timers<T> {
    pub fn new(run: impl Fn(T) + Send + 'static) -> Self {
        let (sender, receiver): (_, Receiver<(Instant, T)>) = channel();
        std::thread::spawn(move || {
            for (due, what) in receiver {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                run(what);
            }
        });
        Self(sender)
    }

    pub fn after_slow_read(&self, what: T) {
        // The receiver lives as long as the process.
        let _ = self.0.send((Instant::now() + SLOW_READ, what));
    }
}

/// What the runner waits for on standard output.
pub fn say_ready(what: &str) {
    println!("ready {what}");
}
