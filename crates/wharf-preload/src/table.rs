//! What is known of descriptors by their numbers, and the files that were attached for them.
//!
//! All of it may be outdated: a number's meaning can change unseen. Who finds an attached file here asks the kernel
//! whether the number stands for that file. Nobody waits here: a place that somebody uses is passed over.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use libc::c_int;

use crate::kernel::Identity;
use crate::source::Source;

/// Numbers from here on are left to the kernel.
const DESCRIPTORS_MAX: usize = 1 << 16;

/// Files that are attached at a time.
const FILES_MAX: usize = 256;

/// What is known of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// So many reads of it were worth counting.
    Seen(u32),
    /// It was looked at, and is the kernel's.
    Kernels,
    /// Its file was attached, and is in this place.
    Attached(usize),
}

/// An attached file.
pub(crate) struct Attached {
    pub(crate) identity: Identity,
    pub(crate) source: Box<dyn Source>,
    /// Where the last read from the offset ended. A guess, which spares a question.
    pub(crate) next: AtomicU64,
    /// Reads that were left to the kernel.
    pub(crate) missed: AtomicU32,
}

static HINTS: [AtomicU32; DESCRIPTORS_MAX] = [const { AtomicU32::new(0) }; DESCRIPTORS_MAX];
static FILES: [RwLock<Option<Attached>>; FILES_MAX] = [const { RwLock::new(None) }; FILES_MAX];
/// Places whose file nobody wants any more, but somebody was still reading.
static UNWANTED: [AtomicBool; FILES_MAX] = [const { AtomicBool::new(false) }; FILES_MAX];

const KERNELS: u32 = u32::MAX;
const ATTACHED: u32 = 1 << 31;

impl Hint {
    fn encode(self) -> u32 {
        match self {
            Hint::Seen(times) => times.min(ATTACHED - 1),
            Hint::Kernels => KERNELS,
            Hint::Attached(place) => ATTACHED | place as u32,
        }
    }

    fn decode(word: u32) -> Hint {
        match word {
            KERNELS => Hint::Kernels,
            times if times < ATTACHED => Hint::Seen(times),
            place => Hint::Attached((place & !ATTACHED) as usize),
        }
    }
}

fn word(descriptor: c_int) -> Option<&'static AtomicU32> {
    HINTS.get(usize::try_from(descriptor).ok()?)
}

/// What is known of a number; `None` if it is not kept.
#[inline]
pub(crate) fn hint(descriptor: c_int) -> Option<Hint> {
    Some(Hint::decode(word(descriptor)?.load(Relaxed)))
}

pub(crate) fn set(descriptor: c_int, hint: Hint) {
    if let Some(word) = word(descriptor) {
        word.store(hint.encode(), Relaxed);
    }
}

/// Forgets what is known of a number, and lets go of its file. For a number of which nothing is known this costs a
/// load.
#[inline]
pub(crate) fn forget(descriptor: c_int) {
    let Some(word) = word(descriptor) else { return };
    if word.load(Relaxed) != 0
        && let Hint::Attached(place) = Hint::decode(word.swap(0, Relaxed))
    {
        UNWANTED[place].store(true, Relaxed);
        sweep(place);
    }
}

/// Forgets what is known of the numbers from `first` to `last`.
pub(crate) fn forget_all(first: u32, last: u32) {
    let end = (last as usize).min(DESCRIPTORS_MAX - 1);
    for descriptor in first as usize..=end {
        forget(descriptor as c_int);
    }
}

/// Lets go of an unwanted file, unless somebody reads it now. Then whoever looks for a place next does.
fn sweep(place: usize) {
    if UNWANTED[place].load(Relaxed)
        && let Ok(mut file) = FILES[place].try_write()
    {
        UNWANTED[place].store(false, Relaxed);
        drop(file.take());
    }
}

/// Keeps an attached file for a number. False if there are too many.
pub(crate) fn enter(descriptor: c_int, attached: Attached) -> bool {
    for (place, file) in FILES.iter().enumerate() {
        sweep(place);
        if let Ok(mut file) = file.try_write()
            && file.is_none()
        {
            *file = Some(attached);
            set(descriptor, Hint::Attached(place));
            return true;
        }
    }
    false
}

/// Looks at an attached file; `None` if there is none any more, or somebody comes or goes right now.
#[inline]
pub(crate) fn look<T>(place: usize, work: impl FnOnce(&Attached) -> T) -> Option<T> {
    let file = FILES.get(place)?.try_read().ok()?;
    file.as_ref().map(work)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::source::Missed;

    struct Nothing;

    impl Source for Nothing {
        fn is_ready(&self) -> bool {
            false
        }

        fn has(&self, _: Range<u64>) -> bool {
            false
        }

        fn read_at(&self, _offset: u64, _into: &mut [u8]) -> Option<usize> {
            None
        }

        fn missed(&self) -> Missed {
            Missed::Leave
        }

        fn want(&self, _: Range<u64>) {}

        fn look(&self, _: Range<u64>) {}
    }

    fn file(inode: u64) -> Attached {
        let identity = Identity { device: 1, inode };
        let (next, missed) = (AtomicU64::new(0), AtomicU32::new(0));
        Attached { identity, source: Box::new(Nothing), next, missed }
    }

    fn place(descriptor: c_int) -> usize {
        match hint(descriptor) {
            Some(Hint::Attached(place)) => place,
            other => panic!("{descriptor}: {other:?}"),
        }
    }

    // One test, for the table is one for the process.
    #[test]
    fn a_number_leads_to_its_file_until_it_is_forgotten() {
        for known in [Hint::Seen(0), Hint::Seen(7), Hint::Kernels, Hint::Attached(0), Hint::Attached(255)] {
            assert_eq!(Hint::decode(known.encode()), known);
        }
        assert_eq!(hint(5000), Some(Hint::Seen(0)));
        assert_eq!((hint(-1), hint(c_int::MAX)), (None, None));

        assert!(enter(5000, file(1)) && enter(5001, file(2)));
        let (first, second) = (place(5000), place(5001));
        assert_eq!(look(second, |file| file.identity.inode), Some(2));
        forget(5000);
        assert_eq!(hint(5000), Some(Hint::Seen(0)));
        assert!(look(first, |_| ()).is_none());

        // Who reads is not disturbed by who closes, and the place is used again when he has gone.
        look(second, |file| {
            forget(5001);
            assert_eq!(file.identity.inode, 2);
            assert!(enter(5002, other(3)));
            assert_ne!(place(5002), second);
        });
        let mut entered = 5003;
        while enter(entered, file(4)) {
            entered += 1;
        }
        assert_eq!(entered - 5002, FILES_MAX as c_int, "every place is used, and no more");
        forget_all(5000, u32::MAX);
        assert!((0..FILES_MAX).all(|place| look(place, |_| ()).is_none()));
        assert!(enter(5000, file(5)));
        forget(5000);
    }

    fn other(inode: u64) -> Attached {
        file(inode)
    }
}
