//! The functions that unwind a thread, looked for when they are needed and not before.
//!
//! Rust's library refers to libgcc's, which most programs do without, and two fifths of what a process paid for this
//! library were for loading it. It is needed where something panics here, or where a thread that reads is cancelled: then the C library
//! loads the same one for itself. What stands here has no name outside this library.
#![expect(unsafe_code, reason = "functions that are found by name, and the names themselves")]

use std::arch::global_asm;
use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Where they are.
const LIBRARY: &CStr = c"libgcc_s.so.1";

/// All of them take three words or fewer, and return one or none. Registers that mean nothing are handed on, too.
type Real = unsafe extern "C-unwind" fn(usize, usize, usize) -> usize;

/// A function of libgcc's, looked up once. Where there is none nobody can unwind, and the program ends.
fn find(name: &CStr, found: &AtomicPtr<c_void>) -> Real {
    if found.load(Ordering::Acquire).is_null() {
        // SAFETY: the name ends with a zero byte; the C library loads the same one where it unwinds.
        let library = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            std::process::abort();
        }
        // SAFETY: the library stays loaded; the name ends with a zero byte.
        found.store(unsafe { libc::dlsym(library, name.as_ptr()) }, Ordering::Release);
    }
    let found = found.load(Ordering::Acquire);
    if found.is_null() {
        std::process::abort();
    }
    // SAFETY: it is a function of libgcc's, which are all called in this way.
    unsafe { std::mem::transmute::<*mut c_void, Real>(found) }
}

/// `forward! { ours = "theirs"; }`: a function that hands on to libgcc's, and that function's name for this library
/// alone. Rust itself would show it to the program, whose own exceptions would then come here.
macro_rules! forward {
    ($($ours:ident = $name:literal;)+) => {
        $(
            /// # Safety
            /// That of libgcc's function.
            unsafe extern "C-unwind" fn $ours(a: usize, b: usize, c: usize) -> usize {
                static FOUND: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
                const NAME: &[u8] = concat!($name, "\0").as_bytes();
                let real = find(CStr::from_bytes_with_nul(NAME).unwrap_or_default(), &FOUND);
                // SAFETY: the arguments are the caller's.
                unsafe { real(a, b, c) }
            }

            global_asm!(
                ".text",
                concat!(".globl ", $name),
                concat!(".hidden ", $name),
                concat!(".type ", $name, ", @function"),
                concat!($name, ":"),
                "jmp {ours}",
                ours = sym $ours,
            );
        )+
    };
}

forward! {
    backtrace = "_Unwind_Backtrace";
    delete_exception = "_Unwind_DeleteException";
    data_rel_base = "_Unwind_GetDataRelBase";
    ip = "_Unwind_GetIP";
    ip_info = "_Unwind_GetIPInfo";
    language_specific_data = "_Unwind_GetLanguageSpecificData";
    region_start = "_Unwind_GetRegionStart";
    text_rel_base = "_Unwind_GetTextRelBase";
    raise_exception = "_Unwind_RaiseException";
    resume = "_Unwind_Resume";
    set_gr = "_Unwind_SetGR";
    set_ip = "_Unwind_SetIP";
}
