//! A program that forbids itself system calls: from then on this library makes none of its own, for the kernel may
//! kill for them.
#![expect(unsafe_code, reason = "functions with the C library's names, called with what the program says")]

use libc::{c_int, c_long, c_ulong};

use super::real::{missing, real};
use crate::guard::turn_off;

real! {
    PRCTL: fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int = c"prctl";
    SYSCALL: fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long = c"syscall";
}

/// Both functions take as many arguments as their first one says; the others are handed on unseen, whatever is there.
///
/// # Safety
/// prctl(2)'s.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int {
    if option == libc::PR_SET_SECCOMP {
        turn_off();
    }
    match PRCTL.get() {
        // SAFETY: the arguments are the caller's.
        Some(real) => unsafe { real(option, a, b, c, d) },
        None => missing(),
    }
}

/// # Safety
/// syscall(2)'s.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_seccomp || (number == libc::SYS_prctl && a == c_long::from(libc::PR_SET_SECCOMP)) {
        turn_off();
    }
    match SYSCALL.get() {
        // SAFETY: the arguments are the caller's.
        Some(real) => unsafe { real(number, a, b, c, d, e, f) },
        None => c_long::from(missing()),
    }
}
