//! What `wharf run` says to this library, by the environment.
#![expect(unsafe_code, reason = "the environment as the C library has it")]

use std::ffi::{CStr, CString};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::evidence::Rule;

/// Set: files are attached whatever their length. For tests, and for who knows better.
const EAGER: &CStr = c"WHARF_RUN_EAGER";

/// A file to which each process adds a line at its end.
const REPORT: &CStr = c"WHARF_RUN_REPORT";

static IS_EAGER: AtomicBool = AtomicBool::new(false);
static REPORT_TO: OnceLock<CString> = OnceLock::new();

/// Reads them once: later the environment is the program's to change.
pub(crate) fn read() {
    IS_EAGER.store(get(EAGER).is_some(), Relaxed);
    if let Some(path) = get(REPORT) {
        let _ = REPORT_TO.set(path.to_owned());
    }
}

/// When a file is worth it.
#[inline]
pub(crate) fn rule() -> Rule {
    if is_eager() { Rule::Eager } else { Rule::Measured }
}

#[inline]
pub(crate) fn is_eager() -> bool {
    IS_EAGER.load(Relaxed)
}

/// Where to report to, if anywhere.
pub(crate) fn report_to() -> Option<&'static CStr> {
    REPORT_TO.get().map(CString::as_c_str)
}

fn get(name: &CStr) -> Option<&CStr> {
    // SAFETY: the name ends with a zero byte; nobody changes the environment while the program starts.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: what is found ends with a zero byte, and is copied before the program begins.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}
