//! The few system calls that have no safe wrapper, and memory mapped from files. All unsafe code of this package.
//!
//! Nothing here knows what a case is. Calls answer `rustix` errors, like the calls that `rustix` wraps itself.

#![expect(unsafe_code, reason = "fork, byte-range locks, signal handlers and mappings have no safe wrapper")]

use std::{
    ffi::{CString, c_void},
    fs::File,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::Command,
    ptr::{self, NonNull},
};

use rustix::{
    fs::{FileType, OFlags, RawDir},
    io::{Errno, Result},
    mm::{MapFlags, MprotectFlags, MsyncFlags, ProtFlags},
    process::{Pid, Signal},
};

/// The error that the C library left in `errno`.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Minus one is an error, everything else an answer.
fn answer(returned: i32) -> Result<i32> {
    if returned == -1 { Err(last_errno()) } else { Ok(returned) }
}

/// Forks this process; `None` in the child.
///
/// # Panics
/// If this process has more than one thread: the child would inherit their locks and not their threads.
#[track_caller]
pub fn fork() -> Result<Option<Pid>> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    assert_eq!(threads, 1, "only a process with one thread may fork");
    // SAFETY: with one thread there is no lock that somebody else holds, so the child may run any code.
    let pid = answer(unsafe { libc::fork() })?;
    Ok(Pid::from_raw(pid))
}

/// Makes a command lead a session of its own, without a terminal.
pub fn lead_session(command: &mut Command) -> &mut Command {
    let lead = || rustix::process::setsid().map(drop).map_err(std::io::Error::from);
    // SAFETY: between fork and exec `lead` makes one system call and touches no memory that others share.
    unsafe { command.pre_exec(lead) }
}

/// Ends this process at once: no destructors, no buffers, no `atexit`.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` only ends the process.
    unsafe { libc::_exit(code) }
}

/// Who owns a byte-range lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The process: all its locks on a file go when it closes any descriptor of the file.
    Process,
    /// The open file description (`F_OFD_*`).
    Description,
}

/// What a byte-range lock does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Shared.
    Read,
    /// Exclusive.
    Write,
    /// None; takes one away.
    Unlock,
}

/// A lock that is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Shared or exclusive.
    pub kind: Kind,
    /// Its first byte.
    pub start: i64,
    /// Its length; 0 reaches to the end of any file.
    pub length: i64,
    /// The process that holds it; -1 for a lock of a description.
    pub pid: i32,
}

fn flock(kind: Kind, start: i64, length: i64) -> libc::flock {
    let kind = match kind {
        Kind::Read => libc::F_RDLCK,
        Kind::Write => libc::F_WRLCK,
        Kind::Unlock => libc::F_UNLCK,
    };
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

/// Takes or gives back a byte-range lock, waiting for it if `wait`.
pub fn lock(file: impl AsFd, owner: Owner, wait: bool, kind: Kind, start: i64, length: i64) -> Result<()> {
    let command = match (owner, wait) {
        (Owner::Process, false) => libc::F_SETLK,
        (Owner::Process, true) => libc::F_SETLKW,
        (Owner::Description, false) => libc::F_OFD_SETLK,
        (Owner::Description, true) => libc::F_OFD_SETLKW,
    };
    let wanted = flock(kind, start, length);
    let file = file.as_fd().as_raw_fd();
    // SAFETY: `wanted` is a valid `struct flock` for the length of the call.
    answer(unsafe { libc::fcntl(file, command, &raw const wanted) }).map(drop)
}

/// Asks which lock is in the way of this one.
pub fn lock_in_the_way(
    file: impl AsFd,
    owner: Owner,
    kind: Kind,
    start: i64,
    length: i64,
) -> Result<Option<Held>> {
    let command = match owner {
        Owner::Process => libc::F_GETLK,
        Owner::Description => libc::F_OFD_GETLK,
    };
    let mut lock = flock(kind, start, length);
    let file = file.as_fd().as_raw_fd();
    // SAFETY: `lock` is a valid `struct flock` for the length of the call, and ours to be written.
    answer(unsafe { libc::fcntl(file, command, &raw mut lock) })?;
    let kind = match i32::from(lock.l_type) {
        libc::F_RDLCK => Kind::Read,
        libc::F_WRLCK => Kind::Write,
        _ => return Ok(None),
    };
    Ok(Some(Held { kind, start: lock.l_start, length: lock.l_len, pid: lock.l_pid }))
}

/// Makes a signal interrupt system calls and do nothing else, for the rest of this process.
pub fn let_interrupt(signal: Signal) -> Result<()> {
    extern "C" fn nothing(_: i32) {}
    let handler: extern "C" fn(i32) = nothing;
    // SAFETY: all of `sigaction` is integers, a mask and an optional function: zeroes are valid, and mean no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    // SAFETY: `action` is valid, and the handler does nothing, which is safe at any time.
    answer(unsafe { libc::sigaction(signal.as_raw(), &raw const action, ptr::null_mut()) }).map(drop)
}

/// A path as the kernel takes it.
fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::INVAL)
}

/// `truncate(2)`: sets the size of a file that need not be open.
pub fn truncate(path: &Path, length: u64) -> Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path ends with NUL and lives as long as the call.
    answer(unsafe { libc::truncate(path.as_ptr(), length as i64) }).map(drop)
}

/// `sync_file_range(2)`: starts writing a range and waits for it.
pub fn sync_file_range(file: impl AsFd, offset: i64, length: i64) -> Result<()> {
    let flags =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let file = file.as_fd().as_raw_fd();
    // SAFETY: the call takes no memory.
    answer(unsafe { libc::sync_file_range(file, offset, length, flags) }).map(drop)
}

/// Pages of a file that the kernel has in its cache for it.
pub fn cached_pages(file: impl AsFd) -> Result<u64> {
    /// `cachestat(2)`, which has the same number everywhere (Linux 6.5).
    const CACHESTAT: libc::c_long = 451;
    // From the first byte to the last.
    let range = [0u64; 2];
    let mut told = [0u64; 5];
    let descriptor = file.as_fd().as_raw_fd();
    // SAFETY: the call reads two numbers and writes five, which is what is there.
    let returned = unsafe { libc::syscall(CACHESTAT, descriptor, range.as_ptr(), told.as_mut_ptr(), 0u32) };
    if returned == 0 { Ok(told[0]) } else { Err(last_errno()) }
}

/// Closes a descriptor twice, and says what the kernel said to each.
pub fn close_twice(file: File) -> (Result<()>, Result<()>) {
    let descriptor = file.into_raw_fd();
    // SAFETY: the descriptor was ours alone, and nobody uses it any more.
    let first = answer(unsafe { libc::close(descriptor) }).map(drop);
    // SAFETY: if another thread had reused the number this would close its file; cases close twice without threads.
    let second = answer(unsafe { libc::close(descriptor) }).map(drop);
    (first, second)
}

/// The most bytes of a file handle.
const HANDLE_BYTES_MAX: usize = 128;

/// What `name_to_handle_at(2)` says of a file.
#[repr(C)]
#[derive(Clone)]
pub struct Handle {
    bytes: u32,
    kind: i32,
    opaque: [u8; HANDLE_BYTES_MAX],
}

impl Handle {
    /// The handle of a file that is found by its path; a symbolic link is not followed.
    pub fn of(path: &Path) -> Result<Self> {
        let path = c_path(path)?;
        let mut handle = Handle { bytes: HANDLE_BYTES_MAX as u32, kind: 0, opaque: [0; HANDLE_BYTES_MAX] };
        let mut mount_id = 0;
        let into = (&raw mut handle).cast();
        // SAFETY: `into` has room for the header and for the `bytes` that it promises; the path ends with NUL.
        answer(unsafe {
            libc::name_to_handle_at(libc::AT_FDCWD, path.as_ptr(), into, &raw mut mount_id, 0)
        })?;
        Ok(handle)
    }

    /// Opens the file that this handle names, on the mount that `on` lies on.
    pub fn open(&self, on: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
        let mut copy = self.clone();
        let (on, flags) = (on.as_raw_fd(), flags.bits() as i32);
        // SAFETY: the handle has room for the `bytes` that it promises.
        let fd = answer(unsafe { libc::open_by_handle_at(on, (&raw mut copy).cast(), flags) })?;
        // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Memory mapped from a file, or from nothing. Unmapped on drop.
///
/// No reference to the memory is ever made: the file may change under it.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, and all accesses are copies through raw pointers.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps a part of a file so that stores reach the file, if `writable`.
    pub fn shared(file: impl AsFd, offset: u64, length: usize, writable: bool) -> Result<Self> {
        Self::of(file, offset, length, writable, MapFlags::SHARED)
    }

    /// Maps a part of a file; stores stay here.
    pub fn private(file: impl AsFd, offset: u64, length: usize) -> Result<Self> {
        Self::of(file, offset, length, true, MapFlags::PRIVATE)
    }

    /// Memory of whole pages that is aligned for `O_DIRECT`, all zero.
    pub fn anonymous(length: usize) -> Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: without a place asked for, the kernel picks one that nobody uses.
        let start =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), length, access, MapFlags::PRIVATE) }?;
        Ok(Mapping { start: NonNull::new(start).ok_or(Errno::NOMEM)?, length })
    }

    fn of(file: impl AsFd, offset: u64, length: usize, writable: bool, flags: MapFlags) -> Result<Self> {
        let access = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: without a place asked for, the kernel picks one that nobody uses.
        let start = unsafe { rustix::mm::mmap(ptr::null_mut(), length, access, flags, file, offset) }?;
        Ok(Mapping { start: NonNull::new(start).ok_or(Errno::NOMEM)?, length })
    }

    /// Its bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has no bytes. The kernel makes no such mapping.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The address of a range that lies inside.
    #[track_caller]
    fn range(&self, at: usize, length: usize) -> *mut u8 {
        assert!(at.checked_add(length).is_some_and(|end| end <= self.length), "outside of the mapping");
        // SAFETY: `at` is at most the length of the mapping.
        unsafe { self.start.as_ptr().cast::<u8>().add(at) }
    }

    /// Copies bytes out. SIGBUS if the file has no page there.
    #[track_caller]
    pub fn read(&self, at: usize, length: usize) -> Vec<u8> {
        let from = self.range(at, length);
        let mut bytes = vec![0; length];
        // SAFETY: `range` checked the source; the target is ours and as long.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), length) };
        bytes
    }

    /// Copies bytes in. SIGBUS if the file has no page there, SIGSEGV if the mapping is not writable.
    #[track_caller]
    pub fn write(&self, at: usize, bytes: &[u8]) {
        let into = self.range(at, bytes.len());
        // SAFETY: `range` checked the target; the source is a live slice, and not of this mapping.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), into, bytes.len()) };
    }

    /// `msync(MS_SYNC)` of all of it.
    pub fn sync(&self) -> Result<()> {
        // SAFETY: the range is this mapping's.
        unsafe { rustix::mm::msync(self.start.as_ptr(), self.length, MsyncFlags::SYNC) }
    }

    /// Asks for the right to write, later than at the start.
    pub fn make_writable(&self) -> Result<()> {
        let access = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: the range is this mapping's, and no reference to it exists.
        unsafe { rustix::mm::mprotect(self.start.as_ptr(), self.length, access) }
    }

    /// Reads from a file straight into this memory, as `O_DIRECT` wants it: `pread(2)`.
    pub fn fill_from(&self, file: impl AsFd, at: usize, length: usize, offset: u64) -> Result<usize> {
        let into = self.range(at, length).cast::<c_void>();
        let file = file.as_fd().as_raw_fd();
        // SAFETY: `range` checked the target, and nobody else uses this memory meanwhile.
        let count = unsafe { libc::pread(file, into, length, offset as i64) };
        usize::try_from(count).map_err(|_| last_errno())
    }

    /// Writes to a file straight from this memory: `pwrite(2)`.
    pub fn store_to(&self, file: impl AsFd, at: usize, length: usize, offset: u64) -> Result<usize> {
        let from = self.range(at, length).cast::<c_void>();
        let file = file.as_fd().as_raw_fd();
        // SAFETY: `range` checked the source.
        let count = unsafe { libc::pwrite(file, from, length, offset as i64) };
        usize::try_from(count).map_err(|_| last_errno())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping's, and nobody can use it any more.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.length) };
    }
}

/// An entry of a directory.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name. Bytes that are not UTF-8 are shown, not kept.
    pub name: String,
    /// Its inode.
    pub inode: u64,
    /// Its type, as the directory knows it.
    pub kind: FileType,
    /// The offset that a listing which goes on behind it has.
    pub next: u64,
}

/// Reads entries of an open directory from where its offset is: at most what fits in `bytes`; none at the end.
pub fn read_entries(directory: impl AsFd, bytes: usize) -> Result<Vec<Listed>> {
    let mut buffer = vec![MaybeUninit::uninit(); bytes];
    let mut raw = RawDir::new(directory, &mut buffer);
    let mut entries = Vec::new();
    while let Some(entry) = raw.next() {
        let entry = entry?;
        entries.push(Listed {
            name: entry.file_name().to_string_lossy().into_owned(),
            inode: entry.ino(),
            kind: entry.file_type(),
            next: entry.next_entry_cookie(),
        });
        if raw.is_buffer_empty() {
            break;
        }
    }
    Ok(entries)
}
