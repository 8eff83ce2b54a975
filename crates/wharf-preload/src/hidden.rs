//! Descriptors that this library has and the program knows nothing of: a socket to each host, and what comes over it.
//!
//! A program may close every number there is, or put a file of its own on one. Then these give way first, and what was
//! attached is let go of: to talk over a number that means something else by now would be to talk to a stranger.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use libc::c_int;

use crate::kernel::{self, NUMBERS};

/// They have numbers from here on, out of the way of programs that count on low ones.
const FIRST: c_int = 48;

static HIDDEN: [AtomicU64; NUMBERS / 64] = [const { AtomicU64::new(0) }; NUMBERS / 64];

/// Does something that may open descriptors, and remembers those. What another thread of the program opens meanwhile
/// is taken for one too: when it is closed, files are let go of for nothing.
///
/// `None`, and nothing done, where they cannot be found.
pub(crate) fn remember<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    let before = kernel::open_numbers(FIRST)?;
    let done = work();
    let after = kernel::open_numbers(FIRST)?;
    for (word, (before, after)) in HIDDEN.iter().zip(before.iter().zip(&after)) {
        // Of those that were hidden some may have been closed.
        word.store(word.load(Relaxed) & after | after & !before, Relaxed);
    }
    done
}

/// Whether one of the numbers from `first` to `last` is hidden.
#[inline]
pub(crate) fn is_among(first: c_int, last: c_int) -> bool {
    last >= FIRST && (first.max(FIRST)..=last.min(FIRST + NUMBERS as c_int - 1)).any(is_hidden)
}

fn is_hidden(number: c_int) -> bool {
    let at = (number - FIRST) as usize;
    HIDDEN[at / 64].load(Relaxed) >> (at % 64) & 1 == 1
}

/// There are none any more.
pub(crate) fn forget() {
    HIDDEN.iter().for_each(|word| word.store(0, Relaxed));
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "a number is chosen")]
    fn what_is_opened_meanwhile_is_remembered_until_it_is_closed() {
        let file = File::open("/dev/null").unwrap();
        let open = |from: c_int| {
            // SAFETY: it takes no pointer.
            let number = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, from) };
            // SAFETY: it was made just now.
            unsafe { OwnedFd::from_raw_fd(number) }
        };
        let before = open(300);
        let hidden = remember(|| Some(open(300))).unwrap();
        let number = hidden.as_raw_fd();
        assert!(is_among(number, number) && is_among(0, c_int::MAX) && is_among(number - 5, number + 5));
        assert!(!is_among(before.as_raw_fd(), before.as_raw_fd()) && !is_among(0, 20) && !is_among(-1, -1));
        drop(hidden);
        remember(|| Some(()));
        assert!(!is_among(number, number), "it is closed");
        forget();
    }
}
