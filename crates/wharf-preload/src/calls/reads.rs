//! Reads.
#![expect(
    unsafe_code,
    reason = "functions with the C library's names, called with pointers of the program's"
)]

use std::ffi::c_void;
use std::slice;

use libc::{c_int, iovec, off_t, size_t, ssize_t};

use super::real::{missing, real};
use crate::guard::cancellation_point;
use crate::reading::{self, From};

real! {
    READ: fn(c_int, *mut c_void, size_t) -> ssize_t = c"read";
    PREAD: fn(c_int, *mut c_void, size_t, off_t) -> ssize_t = c"pread64";
    READV: fn(c_int, *const iovec, c_int) -> ssize_t = c"readv";
    PREADV: fn(c_int, *const iovec, c_int, off_t) -> ssize_t = c"preadv64";
    PREADV2: fn(c_int, *const iovec, c_int, off_t, c_int) -> ssize_t = c"preadv64v2";
    READ_CHK: fn(c_int, *mut c_void, size_t, size_t) -> ssize_t = c"__read_chk";
    PREAD_CHK: fn(c_int, *mut c_void, size_t, off_t, size_t) -> ssize_t = c"__pread64_chk";
}

/// The most parts that the kernel takes (`UIO_MAXIOV`).
const PARTS_MAX: c_int = 1024;

/// The place of an offset; `None` for one that the kernel refuses.
fn at(offset: off_t) -> Option<From> {
    u64::try_from(offset).ok().map(From::Offset)
}

/// # Safety
/// As for read(2): there is room for `count` bytes.
#[inline]
unsafe fn one(descriptor: c_int, buffer: *mut c_void, count: size_t, from: Option<From>) -> Option<ssize_t> {
    if buffer.is_null() || count.cast_signed() <= 0 {
        return None;
    }
    // SAFETY: the caller says that there is room. Bytes of a buffer are written and never read.
    let piece = unsafe { slice::from_raw_parts_mut(buffer.cast(), count) };
    let read = reading::read(descriptor, count, std::iter::once(piece), from?)?;
    Some(read.cast_signed())
}

/// # Safety
/// As for readv(2): there are `count` parts, with as much room as they say.
unsafe fn many(descriptor: c_int, parts: *const iovec, count: c_int, from: Option<From>) -> Option<ssize_t> {
    if parts.is_null() || !(1..=PARTS_MAX).contains(&count) {
        return None;
    }
    // SAFETY: the caller says that there are so many.
    let parts = unsafe { slice::from_raw_parts(parts, count as usize) };
    let parts = || parts.iter().filter(|part| part.iov_len > 0);
    if parts().any(|part| part.iov_base.is_null()) {
        return None;
    }
    let total = parts().try_fold(0_usize, |sum, part| sum.checked_add(part.iov_len))?;
    let total = isize::try_from(total).ok()?.cast_unsigned();
    let pieces = parts().map(|part| {
        // SAFETY: the caller says that there is room; only one of these slices exists at a time.
        unsafe { slice::from_raw_parts_mut(part.iov_base.cast::<u8>(), part.iov_len) }
    });
    let read = reading::read(descriptor, total, pieces, from?)?;
    Some(read.cast_signed())
}

/// Defines functions that try `$try` first and hand everything else on. They are points of cancellation, as the
/// C library's are: without that a thread that reads nothing but shared memory could not be cancelled.
macro_rules! before {
    ($($name:ident($($argument:ident: $kind:ty),*) of $place:ident tries $try:expr;)+) => {
        $(
            /// # Safety
            /// That of the C library's function of this name.
            #[unsafe(no_mangle)]
            unsafe extern "C-unwind" fn $name($($argument: $kind),*) -> ssize_t {
                // SAFETY: the caller keeps to the manual page.
                let read = unsafe { $try };
                if let Some(read) = read {
                    cancellation_point();
                    return read;
                }
                match $place.get() {
                    // SAFETY: the arguments are the caller's.
                    Some(real) => unsafe { real($($argument),*) },
                    None => missing() as ssize_t,
                }
            }
        )+
    };
}

before! {
    read(fd: c_int, buffer: *mut c_void, count: size_t) of READ
        tries one(fd, buffer, count, Some(From::Cursor));
    pread(fd: c_int, buffer: *mut c_void, count: size_t, offset: off_t) of PREAD
        tries one(fd, buffer, count, at(offset));
    pread64(fd: c_int, buffer: *mut c_void, count: size_t, offset: off_t) of PREAD
        tries one(fd, buffer, count, at(offset));
    readv(fd: c_int, parts: *const iovec, count: c_int) of READV
        tries many(fd, parts, count, Some(From::Cursor));
    preadv(fd: c_int, parts: *const iovec, count: c_int, offset: off_t) of PREADV
        tries many(fd, parts, count, at(offset));
    preadv64(fd: c_int, parts: *const iovec, count: c_int, offset: off_t) of PREADV
        tries many(fd, parts, count, at(offset));
    preadv2(fd: c_int, parts: *const iovec, count: c_int, offset: off_t, flags: c_int) of PREADV2
        tries many(fd, parts, count, with_flags(offset, flags));
    preadv64v2(fd: c_int, parts: *const iovec, count: c_int, offset: off_t, flags: c_int) of PREADV2
        tries many(fd, parts, count, with_flags(offset, flags));
    __read_chk(fd: c_int, buffer: *mut c_void, count: size_t, room: size_t) of READ_CHK
        tries one(fd, buffer, count, (count <= room).then_some(From::Cursor));
    __pread_chk(fd: c_int, buffer: *mut c_void, count: size_t, offset: off_t, room: size_t) of PREAD_CHK
        tries one(fd, buffer, count, at(offset).filter(|_| count <= room));
    __pread64_chk(fd: c_int, buffer: *mut c_void, count: size_t, offset: off_t, room: size_t) of PREAD_CHK
        tries one(fd, buffer, count, at(offset).filter(|_| count <= room));
}

/// preadv2(2) reads at the offset of the open file where it is told -1, and its flags are the kernel's matter.
fn with_flags(offset: off_t, flags: c_int) -> Option<From> {
    match (flags, offset) {
        (0, -1) => Some(From::Cursor),
        (0, _) => at(offset),
        _ => None,
    }
}
