//! Sleeping on words that several processes share.
//!
//! A word in memory that is mapped to be read can be slept on and rung as well: the kernel only compares it.

use std::time::Duration;

use crate::sync::AtomicU32;

/// Words that one sleep can wait for.
pub(crate) const WORDS_MAX: usize = 128;

/// Sleeps while the word has this value, until it is rung or the time is over. May also return for no reason.
#[cfg(not(loom))]
pub(crate) fn wait(word: &AtomicU32, value: u32, time: Option<Duration>) {
    use rustix::thread::futex::{Flags, Timespec, wait};
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    // Whatever it says (woken, another value, time over, a signal), the caller looks again.
    let _ = wait(word, Flags::empty(), value, time.as_ref());
}

/// Sleeps while all these words have their values, until one is rung or the time is over. May also return for no
/// reason, and does so at once if there are more than [`WORDS_MAX`].
#[cfg(not(loom))]
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], time: Option<Duration>) {
    use rustix::thread::ClockId;
    use rustix::thread::futex::{Timespec, Wait, WaitFlags, WaitvFlags, waitv};
    use rustix::time::clock_gettime;
    let mut waits = [Wait::new(); WORDS_MAX];
    let Some(waits) = waits.get_mut(..words.len()) else { return };
    for (wait, (word, value)) in waits.iter_mut().zip(words) {
        wait.val = u64::from(*value);
        wait.uaddr = word.as_ptr().cast::<std::ffi::c_void>().into();
        wait.flags = WaitFlags::SIZE_U32;
    }
    // This one takes a point in time.
    let until = time.and_then(|time| Timespec::try_from(time).ok());
    let until = until.and_then(|time| clock_gettime(ClockId::Monotonic).checked_add(time));
    let _ = waitv(waits, WaitvFlags::empty(), until.as_ref(), ClockId::Monotonic);
}

/// Wakes those who sleep on the word.
#[cfg(not(loom))]
pub(crate) fn wake(word: &AtomicU32) {
    let _ = rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), i32::MAX as u32);
}

// In the model nobody sleeps: it looks at who would be rung.

#[cfg(loom)]
pub(crate) fn wait(_: &AtomicU32, _: u32, _: Option<Duration>) {
    loom::thread::yield_now();
}

#[cfg(loom)]
pub(crate) fn wait_any(_: &[(&AtomicU32, u32)], _: Option<Duration>) {
    loom::thread::yield_now();
}

#[cfg(loom)]
pub(crate) fn wake(_: &AtomicU32) {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Ordering;
    use crate::words::Words;
    use crate::{Access, Shared};
    use std::thread;

    #[test]
    fn a_word_that_may_only_be_read_can_be_slept_on_and_rung() {
        let shared = Shared::create("test", 4096).unwrap();
        let other = Shared::of_stranger(shared.read_only().unwrap(), 4096, Access::Read).unwrap();
        let (mine, theirs) = (Words::of(&shared, 0, 2).unwrap(), Words::of(&other, 0, 2).unwrap());
        let sleeper = thread::spawn(move || {
            while theirs.half(1).load(Ordering::Relaxed) == 0 {
                wait_any(&[(theirs.half(0), 0), (theirs.half(1), 0)], None);
            }
            while theirs.half(0).load(Ordering::Relaxed) == 0 {
                wait(theirs.half(0), 0, None);
            }
            // Ringing needs no right to write either.
            wake(theirs.half(0));
        });
        mine.half(1).store(1, Ordering::Release);
        wake(mine.half(1));
        mine.half(0).store(1, Ordering::Release);
        wake(mine.half(0));
        sleeper.join().unwrap();
    }

    #[test]
    fn a_sleep_ends_with_its_time() {
        let shared = Shared::create("test", 4096).unwrap();
        let words = Words::of(&shared, 0, 1).unwrap();
        wait(words.half(0), 0, Some(Duration::from_millis(1)));
        wait_any(&[(words.half(0), 0)], Some(Duration::from_millis(1)));
        wait(words.half(0), 7, None);
        wait_any(&[(words.half(0), 7)], None);
    }
}
