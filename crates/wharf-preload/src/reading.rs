//! One read, from shared memory where that is right. `None` everywhere: the kernel's turn.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use libc::c_int;

use crate::guard;
use crate::heap::HEAP;
use crate::hidden;
use crate::kernel::{self, About};
use crate::report;
use crate::settings;
use crate::source::{self, Missed};
use crate::table::{self, Attached, Hint};

/// What the kernel reads at most at once (`MAX_RW_COUNT`, for pages of 4 KiB).
const BYTES_MAX: usize = 0x7fff_f000;

/// Where a read begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    /// At this offset, which moves nothing.
    Offset(u64),
    /// At the open file's own, which moves on.
    Cursor,
}

/// Reads into `pieces`, one after another, `total` bytes in all. Returns the bytes read: fewer only where the file
/// ends, and never none.
#[inline]
pub(crate) fn read<'a>(
    descriptor: c_int,
    total: usize,
    pieces: impl Iterator<Item = &'a mut [u8]>,
    from: From,
) -> Option<usize> {
    if !settings::rule().counts(total) || total > BYTES_MAX {
        return None;
    }
    match table::hint(descriptor)? {
        Hint::Kernels => None,
        Hint::Seen(seen) => consider(descriptor, seen, total),
        Hint::Attached(place) => guard::inside(|| {
            if !guard::at_home() {
                return None;
            }
            let read = table::look(place, |attached| {
                let read = by_memory(descriptor, attached, total, pieces, from);
                if let Read::Bytes(count) = read {
                    report::read(count, attached.source.is_stand_in());
                }
                read
            })?;
            match read {
                Read::Bytes(count) => Some(count),
                Read::Kernels => None,
                Read::AnotherFile => {
                    forget(descriptor);
                    None
                }
            }
        }),
    }
}

enum Read {
    Bytes(usize),
    Kernels,
    /// The number stands for another file by now.
    AnotherFile,
}

fn by_memory<'a>(
    descriptor: c_int,
    attached: &Attached,
    total: usize,
    pieces: impl Iterator<Item = &'a mut [u8]>,
    from: From,
) -> Read {
    let is_there = || match from {
        From::Offset(offset) => has(attached, offset, total),
        From::Cursor => attached.source.is_ready() && has_next(descriptor, attached, total),
    };
    if !is_there() {
        match missed(descriptor, attached, total, from) {
            None => return Read::AnotherFile,
            Some(Missed::Look) if is_there() => {}
            Some(_) => return Read::Kernels,
        }
    }
    if kernel::identity(descriptor) != Some(attached.identity) {
        return Read::AnotherFile;
    }
    match from {
        From::Offset(offset) => match fill(attached, pieces, offset, |_, _| None) {
            count if count == total => Read::Bytes(count),
            // Whether the file ends there, or bytes went meanwhile: nothing has moved, and it is read anew.
            _ => Read::Kernels,
        },
        From::Cursor => {
            let Some(begin) = kernel::claim(descriptor, total) else { return Read::Kernels };
            attached.next.store(begin.saturating_add(total as u64), Relaxed);
            // These bytes are this reader's now, wherever they come from.
            let count =
                fill(attached, pieces, begin, |offset, into| kernel::read_at(descriptor, offset, into).ok());
            if count < total {
                kernel::give_back(descriptor, total - count);
            }
            if count == 0 { Read::Kernels } else { Read::Bytes(count) }
        }
    }
}

fn has(attached: &Attached, offset: u64, total: usize) -> bool {
    offset.checked_add(total as u64).is_some_and(|end| attached.source.has(offset..end))
}

/// Whether so many bytes are there from the offset on, as far as is known. Nobody claims what is not: where a file
/// ends is the kernel's to say.
fn has_next(descriptor: c_int, attached: &Attached, total: usize) -> bool {
    let guess = attached.next.load(Relaxed);
    if has(attached, guess, total) {
        return true;
    }
    // The program may have gone elsewhere.
    let Some(now) = kernel::claim(descriptor, 0) else { return false };
    // Wherever these bytes come from.
    attached.next.store(now.saturating_add(total as u64), Relaxed);
    now != guess && has(attached, now, total)
}

/// The number is looked at this often while all bytes come from the kernel anyway.
const LOOK_EVERY: u32 = 16;

/// They are not there. Does what pays to have them there the next time; `None` if the number stands for another file
/// by now.
#[cold]
fn missed(descriptor: c_int, attached: &Attached, total: usize, from: From) -> Option<Missed> {
    let another = || kernel::identity(descriptor) != Some(attached.identity);
    if attached.missed.fetch_add(1, Relaxed) % LOOK_EVERY == LOOK_EVERY - 1 && another() {
        return None;
    }
    let source = &attached.source;
    let missed = source.missed();
    if missed == Missed::Leave {
        return Some(missed);
    }
    let begin = match from {
        From::Offset(offset) => offset,
        From::Cursor => kernel::claim(descriptor, 0)?,
    };
    let range = begin..begin.saturating_add(total as u64);
    if missed == Missed::Want {
        guard::uncancelled(|| source.want(range));
    } else if let (true, Ok(_alone)) = (guard::is_owner(), SLOW.try_lock()) {
        guard::uncancelled(|| {
            hidden::remember(|| {
                source.look(range);
                Some(())
            })
        });
    }
    Some(missed)
}

/// Fills pieces until one stays short. What the source has not got comes from `otherwise`, if it comes.
fn fill<'a>(
    attached: &Attached,
    pieces: impl Iterator<Item = &'a mut [u8]>,
    from: u64,
    otherwise: impl Fn(u64, &mut [u8]) -> Option<usize>,
) -> usize {
    let mut done = 0;
    for piece in pieces {
        let at = from.saturating_add(done as u64);
        let read = attached.source.read_at(at, piece).or_else(|| otherwise(at, piece)).unwrap_or(0);
        done += read;
        if read < piece.len() {
            break;
        }
    }
    done
}

/// Only one looks or lets go at a time, and nobody waits for him: who was interrupted by a signal handler for ever
/// keeps this.
static SLOW: Mutex<()> = Mutex::new(());

/// Counts a read, which is the kernel's, and attaches the file if it is worth it now. Nearly all reads of nearly all
/// programs come here, and no farther.
#[inline]
fn consider(descriptor: c_int, seen: u32, bytes: usize) -> Option<usize> {
    let rule = settings::rule();
    let now = rule.add(seen, bytes);
    table::set(descriptor, Hint::Seen(now));
    if rule.is_worth_a_look(seen, now) {
        guard::inside(|| {
            look_at(descriptor, now);
            Some(())
        });
    }
    None
}

#[cold]
fn look_at(descriptor: c_int, seen: u32) {
    let rule = settings::rule();
    let Ok(_alone) = SLOW.try_lock() else { return };
    // What a child of vfork opens is not open in the process whose memory it uses.
    if !guard::is_owner() {
        return;
    }
    let about = kernel::about(descriptor);
    if about.is_some_and(|about| about.is_regular && !rule.is_worth_it(seen, about.len)) {
        // Not yet.
        return;
    }
    table::set(descriptor, Hint::Kernels);
    let Some(About { identity, is_regular: true, .. }) = about else { return };
    let wanted = !source::is_foreign(identity.device)
        && kernel::only_reads(descriptor)
        && HEAP.has_room()
        && guard::make_home();
    if !wanted {
        return;
    }
    let Some(source) =
        guard::uncancelled(|| hidden::remember(|| source::attach(descriptor, identity.device)))
    else {
        return;
    };
    report::attached();
    let (next, missed) = (AtomicU64::new(u64::MAX), AtomicU32::new(0));
    table::enter(descriptor, Attached { identity, source, next, missed });
}

/// Whether a close of this number has something to undo.
#[inline]
pub(crate) fn is_known(descriptor: c_int) -> bool {
    !matches!(table::hint(descriptor), None | Some(Hint::Seen(0))) || hidden::is_among(descriptor, descriptor)
}

/// Forgets a number: it is closed, or stands for something else.
pub(crate) fn forget(descriptor: c_int) {
    match table::hint(descriptor) {
        Some(Hint::Seen(_) | Hint::Kernels) if !hidden::is_among(descriptor, descriptor) => {
            table::set(descriptor, Hint::Seen(0));
        }
        _ => forget_all(descriptor.cast_unsigned(), descriptor.cast_unsigned()),
    }
}

/// Forgets the numbers from `first` to `last`.
pub(crate) fn forget_all(first: u32, last: u32) {
    // A child of vfork has its parent's memory and closes descriptors of its own.
    if !guard::is_owner() {
        return;
    }
    guard::uncancelled(|| {
        let number = |number: u32| c_int::try_from(number).unwrap_or(c_int::MAX);
        if hidden::is_among(number(first), number(last)) {
            // With the last file of a host its socket is closed.
            table::forget_all(0, u32::MAX);
            hidden::forget();
        } else {
            table::forget_all(first, last);
        }
    });
}
