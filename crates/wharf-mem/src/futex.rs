//! Sleeping on words that several processes share.
//!
//! A word in memory that is mapped to be read can be slept on and rung as well: the kernel only compares it.

use std::time::Duration;

use crate::sync::AtomicU32;

/// Words that one sleep can wait for.
pub(crate) const WORDS_MAX: usize = 128;

/// Words of which a sleep makes no allocation.
#[cfg(not(any(loom, miri)))]
const FEW: usize = 8;

/// Sleeps while the word has this value, until it is rung or the time is over; true if it was the time. May also
/// return for no reason.
#[cfg(not(loom))]
pub(crate) fn wait(word: &AtomicU32, value: u32, time: Option<Duration>) -> bool {
    use rustix::thread::futex::{Flags, Timespec, wait};
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    // Whatever else it says (woken, another value, a signal), the caller looks again.
    wait(word, Flags::empty(), value, time.as_ref()) == Err(rustix::io::Errno::TIMEDOUT)
}

/// Sleeps while all these words have their values, until one is rung or the time is over; true if it was the time.
/// May also return for no reason, and does so at once if there are more than [`WORDS_MAX`].
///
/// `own` is a word that only this process knows, which the kernel finds faster; it is rung by [`wake_own`].
#[cfg(not(any(loom, miri)))]
pub(crate) fn wait_any<'a>(
    own: Option<(&AtomicU32, u32)>,
    words: impl Iterator<Item = (&'a AtomicU32, u32)> + Clone,
    time: Option<Duration>,
) -> bool {
    use rustix::thread::ClockId;
    use rustix::thread::futex::{Timespec, Wait, WaitFlags, WaitvFlags, waitv};
    use rustix::time::clock_gettime;
    let count = usize::from(own.is_some()) + words.clone().count();
    let (mut few, mut many) = ([Wait::new(); FEW], Vec::new());
    let waits = match few.get_mut(..count) {
        Some(few) => few,
        None if count > WORDS_MAX => return false,
        None => {
            many.resize(count, Wait::new());
            &mut many[..]
        }
    };
    let entry = |word: &AtomicU32, value: u32, flags: WaitFlags| {
        let mut wait = Wait::new();
        wait.val = u64::from(value);
        wait.uaddr = word.as_ptr().cast::<std::ffi::c_void>().into();
        wait.flags = WaitFlags::SIZE_U32 | flags;
        wait
    };
    let own = own.map(|(word, value)| entry(word, value, WaitFlags::PRIVATE));
    let others = words.map(|(word, value)| entry(word, value, WaitFlags::empty()));
    waits.iter_mut().zip(own.into_iter().chain(others)).for_each(|(wait, entry)| *wait = entry);
    // This one takes a point in time.
    let until = time.and_then(|time| Timespec::try_from(time).ok());
    let until = until.and_then(|time| clock_gettime(ClockId::Monotonic).checked_add(time));
    let waited = waitv(waits, WaitvFlags::empty(), until.as_ref(), ClockId::Monotonic);
    waited == Err(rustix::io::Errno::TIMEDOUT)
}

/// Wakes those who sleep on the word.
#[cfg(not(loom))]
pub(crate) fn wake(word: &AtomicU32) {
    let _ = rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), i32::MAX as u32);
}

/// Wakes who sleeps on the word as its own.
#[cfg(not(loom))]
pub(crate) fn wake_own(word: &AtomicU32) {
    let _ = rustix::thread::futex::wake(word, rustix::thread::futex::Flags::PRIVATE, i32::MAX as u32);
}

// In the model nobody sleeps: it looks at who would be rung. Miri knows sleeps on one word only, so others look again.

#[cfg(loom)]
pub(crate) fn wait(_: &AtomicU32, _: u32, _: Option<Duration>) -> bool {
    crate::sync::yield_now();
    false
}

#[cfg(any(loom, miri))]
pub(crate) fn wait_any<'a>(
    _: Option<(&AtomicU32, u32)>,
    _: impl Iterator<Item = (&'a AtomicU32, u32)>,
    _: Option<Duration>,
) -> bool {
    crate::sync::yield_now();
    false
}

#[cfg(loom)]
pub(crate) fn wake(_: &AtomicU32) {}

#[cfg(loom)]
pub(crate) fn wake_own(_: &AtomicU32) {}

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
                wait_any(None, [(theirs.half(0), 0), (theirs.half(1), 0)].into_iter(), None);
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
    #[cfg_attr(miri, ignore = "a sleep on several words is none there")]
    fn a_sleep_ends_with_its_time() {
        let shared = Shared::create("test", 4096).unwrap();
        let words = Words::of(&shared, 0, 1).unwrap();
        let time = Some(Duration::from_millis(1));
        let one = |value| std::iter::once((words.half(0), value));
        assert!(wait(words.half(0), 0, time));
        assert!(wait_any(None, one(0), time));
        assert!(!wait(words.half(0), 7, None));
        assert!(!wait_any(None, one(7), None));
        let many = |count| std::iter::repeat_n((words.half(0), 0), count);
        assert!(wait_any(None, many(WORDS_MAX), time));
        assert!(!wait_any(None, many(WORDS_MAX + 1), None), "more than can be waited for");
    }

    #[test]
    fn an_own_word_wakes_beside_those_of_others() {
        let shared = Shared::create("test", 4096).unwrap();
        let words = Words::of(&shared, 0, 1).unwrap();
        let own = AtomicU32::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                while own.load(Ordering::Relaxed) == 0 {
                    wait_any(Some((&own, 0)), std::iter::once((words.half(0), 0)), None);
                }
            });
            own.store(1, Ordering::Release);
            wake_own(&own);
        });
    }
}
