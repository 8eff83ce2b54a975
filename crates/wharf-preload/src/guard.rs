//! When this library may act: not inside itself, not in a forked child, not after it has failed.
#![expect(unsafe_code, reason = "errno, the state of cancellation and a page that a fork wipes")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use libc::c_int;

thread_local! {
    /// Whether this thread is inside this library. Needs no destructor and no memory of its own.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Everything goes to the kernel from now on.
static OFF: AtomicBool = AtomicBool::new(false);

/// A word that reads as 1 in the process that attached and as 0 in its forked children.
static HOME: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

/// The process that this library was loaded into.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Makes this process the one that this library was loaded into.
pub(crate) fn make_owner() {
    OWNER.store(std::process::id(), Ordering::Relaxed);
}

/// Whether this is the process that this library was loaded into, not a child of it that runs the same program.
pub(crate) fn is_owner() -> bool {
    OWNER.load(Ordering::Relaxed) == std::process::id()
}

/// Lets everything go to the kernel from now on.
pub(crate) fn turn_off() {
    OFF.store(true, Ordering::Relaxed);
}

#[inline]
pub(crate) fn is_off() -> bool {
    OFF.load(Ordering::Relaxed)
}

/// Does something that may itself read, close and so on. `None`, and the kernel's turn, if this thread is inside
/// already: a signal handler has interrupted it, or it is our own code that reads. A panic turns everything off.
#[inline]
pub(crate) fn inside<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    if is_off() || INSIDE.get() {
        return None;
    }
    INSIDE.set(true);
    let errno = errno();
    let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        turn_off();
        None
    });
    set_errno(errno);
    INSIDE.set(false);
    done
}

/// Does something during which this thread cannot be cancelled: it would leave locks and memory behind.
pub(crate) fn uncancelled<T>(work: impl FnOnce() -> T) -> T {
    let mut before: c_int = 0;
    // SAFETY: it sets the state of this thread and writes the former one to the integer.
    unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
    let done = work();
    // SAFETY: as above; the new state is what it was.
    unsafe { pthread_setcancelstate(before, ptr::null_mut()) };
    done
}

/// Ends this thread here if somebody has cancelled it. Nothing with a destructor may be alive.
#[inline]
pub(crate) fn cancellation_point() {
    // SAFETY: it may unwind, and says so in its type.
    unsafe { pthread_testcancel() };
}

const PTHREAD_CANCEL_DISABLE: c_int = 1;

unsafe extern "C-unwind" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    fn pthread_testcancel();
}

/// Whether this is the process that made itself at home, and not a fork of it. A child of `vfork` counts as the
/// process itself, whose memory it uses.
#[inline]
pub(crate) fn at_home() -> bool {
    let home = HOME.load(Ordering::Acquire);
    // SAFETY: once set it leads to a page that is never unmapped.
    !home.is_null() && unsafe { &*home }.load(Ordering::Relaxed) == 1
}

/// Makes this process the one at home, once. False in a fork of it, and where that is impossible.
pub(crate) fn make_home() -> bool {
    if !HOME.load(Ordering::Acquire).is_null() {
        return at_home();
    }
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at a place that the kernel chooses.
    let page = unsafe { libc::mmap(ptr::null_mut(), PAGE_BYTES, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: the page was mapped just now.
    if unsafe { libc::madvise(page, PAGE_BYTES, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: nobody else knows it.
        unsafe { libc::munmap(page, PAGE_BYTES) };
        return false;
    }
    let word: *mut AtomicU32 = page.cast();
    // SAFETY: a page is aligned and large enough for the word, and zeros are a value of it.
    unsafe { &*word }.store(1, Ordering::Relaxed);
    HOME.store(word, Ordering::Release);
    true
}

/// One page on any machine: more is rounded up by the kernel.
const PAGE_BYTES: usize = 4096;

pub(crate) fn errno() -> c_int {
    // SAFETY: it leads to this thread's errno, which is always there.
    unsafe { *place_of_errno() }
}

pub(crate) fn set_errno(value: c_int) {
    // SAFETY: as above.
    unsafe { *place_of_errno() = value };
}

fn place_of_errno() -> *mut c_int {
    // SAFETY: it has no conditions.
    unsafe { libc::__errno_location() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_inside_is_sent_to_the_kernel() {
        let nested = inside(|| Some(inside(|| Some(1))));
        assert_eq!(nested, Some(None));
        assert_eq!(inside(|| Some(2)), Some(2), "it is left again");
    }

    #[test]
    fn errno_stays_what_it_was() {
        set_errno(libc::ELOOP);
        inside(|| {
            set_errno(libc::EIO);
            Some(())
        });
        assert_eq!(errno(), libc::ELOOP);
    }

    #[test]
    fn a_fork_is_not_at_home() {
        assert!(make_home() && make_home() && at_home());
        // SAFETY: the child looks at one word and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: it ends the process without running anything of it.
            unsafe { libc::_exit(c_int::from(at_home() || make_home())) };
        }
        let mut status = 0;
        // SAFETY: it waits for the child and writes how that ended to the integer.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 0);
        assert!(at_home());
    }
}
