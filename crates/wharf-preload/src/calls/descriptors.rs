//! Closing, and giving a number to something else. Seen so that what was attached is let go of at once; not seeing
//! one costs nothing but that.
#![expect(unsafe_code, reason = "functions with the C library's names, called with what the program says")]

use libc::{c_int, c_uint};

use super::real::{missing, real};
use crate::{guard, reading};

real! {
    CLOSE: fn(c_int) -> c_int = c"close";
    CLOSE_RANGE: fn(c_uint, c_uint, c_int) -> c_int = c"close_range";
    CLOSEFROM: fn(c_int) -> () = c"closefrom";
    DUP2: fn(c_int, c_int) -> c_int = c"dup2";
    DUP3: fn(c_int, c_int, c_int) -> c_int = c"dup3";
}

const CLOSE_RANGE_CLOEXEC: c_uint = 4;

fn forget(descriptor: c_int) {
    if reading::is_known(descriptor) {
        undo(|| reading::forget(descriptor));
    }
}

fn undo(work: impl FnOnce()) {
    guard::inside(|| {
        work();
        Some(())
    });
}

/// # Safety
/// close(2)'s.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn close(fd: c_int) -> c_int {
    forget(fd);
    match CLOSE.get() {
        // SAFETY: the argument is the caller's.
        Some(real) => unsafe { real(fd) },
        None => missing(),
    }
}

/// # Safety
/// close_range(2)'s.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    if flags.cast_unsigned() & CLOSE_RANGE_CLOEXEC == 0 {
        undo(|| reading::forget_all(first, last));
    }
    match CLOSE_RANGE.get() {
        // SAFETY: the arguments are the caller's.
        Some(real) => unsafe { real(first, last, flags) },
        None => missing(),
    }
}

/// # Safety
/// closefrom(3)'s.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn closefrom(first: c_int) {
    undo(|| reading::forget_all(first.max(0).cast_unsigned(), c_uint::MAX));
    if let Some(real) = CLOSEFROM.get() {
        // SAFETY: the argument is the caller's.
        unsafe { real(first) }
    }
}

/// # Safety
/// dup2(2)'s.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn dup2(fd: c_int, number: c_int) -> c_int {
    if fd != number {
        forget(number);
    }
    match DUP2.get() {
        // SAFETY: the arguments are the caller's.
        Some(real) => unsafe { real(fd, number) },
        None => missing(),
    }
}

/// # Safety
/// dup3(2)'s.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn dup3(fd: c_int, number: c_int, flags: c_int) -> c_int {
    forget(number);
    match DUP3.get() {
        // SAFETY: the arguments are the caller's.
        Some(real) => unsafe { real(fd, number, flags) },
        None => missing(),
    }
}
