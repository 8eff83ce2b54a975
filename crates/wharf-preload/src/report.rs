//! What was read past the kernel, told at the end to who asked for it.
#![expect(unsafe_code, reason = "a file is opened and written where the C library ends a program")]

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{guard, settings};

static ATTACHED: AtomicU64 = AtomicU64::new(0);
static STAND_INS: AtomicU64 = AtomicU64::new(0);
static READS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// A file was attached.
pub(crate) fn attached() {
    ATTACHED.fetch_add(1, Relaxed);
}

/// A read was answered past the kernel; or by a stand-in, which only acts as if.
#[inline]
pub(crate) fn read(bytes: usize, by_stand_in: bool) {
    // Two threads may lose a count for each other; that is cheaper than none ever doing so.
    if by_stand_in {
        return STAND_INS.store(STAND_INS.load(Relaxed) + 1, Relaxed);
    }
    READS.store(READS.load(Relaxed) + 1, Relaxed);
    BYTES.store(BYTES.load(Relaxed) + bytes as u64, Relaxed);
}

/// Adds a line, if that was asked for. A forked child has the counts of its parent, and says nothing.
pub(crate) fn tell() {
    let Some(path) = settings::report_to() else { return };
    if !guard::is_owner() {
        return;
    }
    let mut line = [0; 160];
    let mut rest = &mut line[..];
    let [files, stand_ins, reads, bytes] =
        [&ATTACHED, &STAND_INS, &READS, &BYTES].map(|count| count.load(Relaxed));
    let pid = std::process::id();
    let _ = writeln!(rest, "pid {pid} files {files} stand-ins {stand_ins} reads {reads} bytes {bytes}");
    let unused = rest.len();
    let line = &line[..line.len() - unused];
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: the path ends with a zero byte.
    let file = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o666) };
    if file >= 0 {
        // SAFETY: the bytes are there to be read.
        unsafe { libc::syscall(libc::SYS_write, file, line.as_ptr(), line.len()) };
        // SAFETY: it was opened just now.
        unsafe { libc::syscall(libc::SYS_close, file) };
    }
}
