//! The begin and the end of a program.
#![cfg_attr(not(test), expect(unsafe_code, reason = "the loader calls by addresses in two sections"))]

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The process that this library was loaded into.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Whether this is the process that this library was loaded into, not a child of it that runs the same program.
pub(crate) fn is_owner() -> bool {
    OWNER.load(Relaxed) == std::process::id()
}

/// Everything that must be known before there are threads and signal handlers. Short: each program pays for it.
#[cfg_attr(test, expect(dead_code, reason = "tests are not preloaded"))]
extern "C" fn begin() {
    OWNER.store(std::process::id(), Relaxed);
    #[cfg(not(test))]
    crate::calls::find();
    crate::settings::read();
}

#[cfg_attr(test, expect(dead_code, reason = "tests are not preloaded"))]
extern "C" fn end() {
    crate::report::tell();
}

#[cfg(not(test))]
mod sections {
    // SAFETY: the section holds addresses of functions that the loader calls once, before the program.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static BEGIN: extern "C" fn() = super::begin;

    // SAFETY: the section holds addresses of functions that are called once, after the program.
    #[used]
    #[unsafe(link_section = ".fini_array")]
    static END: extern "C" fn() = super::end;
}
