//! The begin and the end of a program. Nobody here is called by others of this library.
#![cfg_attr(not(test), expect(unsafe_code, reason = "the loader calls by addresses in two sections"))]

/// Everything that must be known before there are threads and signal handlers. Short: each program pays for it.
#[cfg_attr(test, expect(dead_code, reason = "tests are not preloaded"))]
extern "C" fn begin() {
    crate::guard::make_owner();
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
