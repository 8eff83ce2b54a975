//! The C library's functions behind ours.
#![expect(
    unsafe_code,
    reason = "functions found by name are called with the types that their manual pages say"
)]

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The next function of this name after ours, which may be another preloaded library's.
pub(super) struct Real<F> {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
    kind: PhantomData<F>,
}

impl<F: Copy> Real<F> {
    /// # Safety
    /// `F` is an `unsafe extern "C-unwind" fn` with the types of the C function `name`.
    pub(super) const unsafe fn new(name: &'static CStr) -> Real<F> {
        assert!(size_of::<F>() == size_of::<*mut c_void>());
        Real { name, found: AtomicPtr::new(ptr::null_mut()), kind: PhantomData }
    }

    /// Looks it up, which takes locks of the loader: at the start, before any signal handler is there.
    pub(super) fn find(&self) -> *mut c_void {
        // SAFETY: the name ends with a zero byte.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.found.store(found, Ordering::Release);
        found
    }

    /// The function; `None` where the C library has none of this name.
    #[inline]
    pub(super) fn get(&self) -> Option<F> {
        let mut found = self.found.load(Ordering::Acquire);
        if found.is_null() {
            // A constructor of another library came before ours, or this C library lacks it.
            found = self.find();
        }
        if found.is_null() {
            return None;
        }
        // SAFETY: it is the function of this name, and `new` was told that `F` is its type.
        Some(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&found) })
    }
}

/// Says that a function is not there, as the kernel would.
pub(super) fn missing() -> libc::c_int {
    crate::guard::set_errno(libc::ENOSYS);
    -1
}

/// `real! { static NAME: fn(types) -> type = "name"; }`: a function behind ours.
macro_rules! real {
    ($($place:ident: fn($($kind:ty),*) -> $result:ty = $name:literal;)+) => {
        $(
            static $place: $crate::calls::real::Real<unsafe extern "C-unwind" fn($($kind),*) -> $result> = {
                // SAFETY: the types are those of the function's manual page.
                unsafe { $crate::calls::real::Real::new($name) }
            };
        )+
        /// Finds all of them.
        pub(super) fn find() {
            $($place.find();)+
        }
    };
}
pub(super) use real;
