//! Listing directories, with the backing file system's own cursors.
//!
//! A listing is read in batches and given out entry by entry; what did not fit into one answer is kept for
//! the next. So a listing that goes on where it stopped never seeks, and one that goes on elsewhere does.

use std::ffi::CStr;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, open, seek};
use rustix::io::Errno;
use wharf::Kind;

use super::attributes::Stat;
use super::credentials::{Membership, Who};
use super::link::magic_link;
use super::names::{Found, step};
use super::node::{Inode, OpenCount};
use super::region::Key;
use super::{Result, Tree};

/// Bytes read at once.
const BATCH_BYTES: usize = 32 << 10;
/// Entries looked up at once, for a listing with attributes.
const LOOKUPS_AT_ONCE: usize = 32;
/// No cursor: where the descriptor stands after an error.
const NOWHERE: u64 = u64::MAX;

/// A directory open for listing.
pub(super) struct OpenDirectory {
    pub(super) descriptor: OwnedFd,
    count: OpenCount,
    batch: Mutex<Batch>,
}

/// Entries read and not yet given out.
#[derive(Default)]
struct Batch {
    entries: Vec<Line>,
    /// Their names, each with its NUL.
    names: Vec<u8>,
    /// The first that was not given out.
    next: usize,
    /// The cursor of the one before it.
    cursor: u64,
    /// Where the descriptor stands: the cursor of the last entry read.
    position: u64,
}

struct Line {
    name: Range<usize>,
    inode: u64,
    kind: Kind,
    cursor: u64,
    whole: Whole,
}

/// What a lookup of the entry found.
enum Whole {
    Unasked,
    Gone,
    Found(Found),
}

/// One entry as it is given out.
pub(super) struct Listed<'a> {
    pub(super) name: &'a CStr,
    pub(super) inode: u64,
    pub(super) kind: Kind,
    pub(super) cursor: u64,
    pub(super) whole: Option<&'a Found>,
}

/// What must come before more can be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// More entries, from this cursor on.
    Entries(u64),
    /// Lookups of the entries from this cursor on.
    Lookups(u64),
}

impl Wanted {
    /// Where the listing goes on when it is there.
    pub(super) fn cursor(self) -> u64 {
        match self {
            Wanted::Entries(cursor) | Wanted::Lookups(cursor) => cursor,
        }
    }
}

impl fmt::Debug for OpenDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenDirectory({})", self.count.inode().number)
    }
}

impl OpenDirectory {
    /// Gives entries after `cursor` to `take` until it breaks (then there is nothing wanted) or the batch ends.
    /// Waits for nothing.
    pub(super) fn give(
        &self,
        cursor: u64,
        whole: bool,
        mut take: impl FnMut(Listed<'_>) -> ControlFlow<()>,
    ) -> Option<Wanted> {
        let mut batch = self.batch();
        if cursor != batch.cursor {
            return Some(Wanted::Entries(cursor));
        }
        while let Some(line) = batch.entries.get(batch.next) {
            let found = match &line.whole {
                Whole::Unasked if whole => return Some(Wanted::Lookups(batch.cursor)),
                Whole::Found(found) if whole => Some(found),
                _ => None,
            };
            let Listed { inode, kind, .. } = batch.listed(line);
            let (inode, kind) = found.map_or((inode, kind), |found| (found.1.inode, found.1.kind));
            if take(Listed { inode, kind, whole: found, ..batch.listed(line) }).is_break() {
                return None;
            }
            (batch.cursor, batch.next) = (line.cursor, batch.next + 1);
        }
        Some(Wanted::Entries(batch.cursor))
    }

    /// Forgets what lookups found for entries not yet given out: it may not hold when they are.
    pub(super) fn pause(&self) {
        let mut batch = self.batch();
        let next = batch.next;
        batch.entries.iter_mut().skip(next).for_each(|line| line.whole = Whole::Unasked);
    }

    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    fn listed(&self, line: &Line) -> Listed<'_> {
        let name = CStr::from_bytes_with_nul(&self.names[line.name.clone()]).unwrap_or_default();
        Listed { name, inode: line.inode, kind: line.kind, cursor: line.cursor, whole: None }
    }
}

impl Tree {
    /// Opens a directory for listing.
    pub(super) fn open_directory(&self, who: &Who, inode: &Arc<Inode>) -> Result<OpenDirectory> {
        let node = inode.descriptor()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = self.credentials.act(who, Membership::WhenRefused, || {
            // Not by the name `.`: that takes the permission to search, and listing does not.
            open(magic_link(&node), flags, Mode::empty())
        })?;
        Ok(OpenDirectory { descriptor, count: inode.begin_open(), batch: Mutex::default() })
    }

    /// Gets what a listing wants. False if there is nothing more: the listing has ended.
    pub(super) fn get_wanted(&self, directory: &OpenDirectory, wanted: Wanted) -> Result<bool> {
        match wanted {
            Wanted::Entries(cursor) => self.read_batch(directory, cursor),
            Wanted::Lookups(cursor) => self.look_up_batch(directory, cursor).map(|()| true),
        }
    }

    fn read_batch(&self, directory: &OpenDirectory, cursor: u64) -> Result<bool> {
        let batch = &mut *directory.batch();
        if cursor == batch.cursor && batch.next < batch.entries.len() {
            return Ok(true);
        }
        batch.entries.clear();
        batch.names.clear();
        batch.next = 0;
        batch.cursor = cursor;
        // From the start means from a new start: what was made meanwhile is to be seen.
        if cursor != batch.position || cursor == 0 {
            seek(&directory.descriptor, SeekFrom::Start(cursor))?;
            batch.position = cursor;
        }
        let more = self.fill(directory, batch);
        if more.is_err() {
            batch.entries.clear();
            batch.position = NOWHERE;
        }
        more
    }

    fn fill(&self, directory: &OpenDirectory, batch: &mut Batch) -> Result<bool> {
        let mut buffer = Vec::with_capacity(BATCH_BYTES);
        // There may be nothing but `.` and `..`, or what is gone already.
        while batch.entries.is_empty() {
            let mut any = false;
            let mut entries = RawDir::new(&directory.descriptor, buffer.spare_capacity_mut());
            while let Some(entry) = entries.next() {
                let entry = entry?;
                any = true;
                batch.position = entry.next_entry_cookie();
                self.keep(directory, batch, entry.file_name(), entry.ino(), entry.file_type())?;
                if entries.is_buffer_empty() {
                    break;
                }
            }
            if !any {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds an entry to the batch.
    fn keep(
        &self,
        directory: &OpenDirectory,
        batch: &mut Batch,
        name: &CStr,
        inode: u64,
        file_type: FileType,
    ) -> Result<()> {
        if name == c"." || name == c".." {
            return Ok(());
        }
        let kind = match kind(file_type) {
            Some(kind) => kind,
            // Not every file system tells.
            None => match step(&directory.descriptor, name, ResolveFlags::empty()) {
                Err(Errno::NOENT) => return Ok(()),
                place => Stat::of(place?)?.kind()?,
            },
        };
        let start = batch.names.len();
        batch.names.extend_from_slice(name.to_bytes_with_nul());
        let region = directory.count.inode().region.index;
        batch.entries.push(Line {
            name: start..batch.names.len(),
            inode: self.table.regions.number(Key { region, inode }),
            kind,
            cursor: batch.position,
            whole: Whole::Unasked,
        });
        Ok(())
    }

    fn look_up_batch(&self, directory: &OpenDirectory, cursor: u64) -> Result<()> {
        let batch = &mut *directory.batch();
        if cursor != batch.cursor {
            return Ok(());
        }
        let parent = directory.count.inode();
        for line in batch.entries.iter_mut().skip(batch.next).take(LOOKUPS_AT_ONCE) {
            let name = CStr::from_bytes_with_nul(&batch.names[line.name.clone()]).unwrap_or_default();
            line.whole = match self.lookup(parent, name) {
                Ok(found) => Whole::Found(found),
                // Anything else that is wrong shows when somebody asks for this entry.
                Err(_) => Whole::Gone,
            };
        }
        Ok(())
    }
}

fn kind(file_type: FileType) -> Option<Kind> {
    Some(match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Unknown => return None,
    })
}
