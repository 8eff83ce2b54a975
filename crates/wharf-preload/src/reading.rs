//! One read, from shared memory where that is right. `None` everywhere: the kernel's turn.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use libc::c_int;

use crate::guard;
use crate::heap::HEAP;
use crate::hidden;
use crate::kernel::{self, About};
use crate::report;
use crate::settings;
use crate::source;
use crate::start;
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
        Hint::Seen(times) => guard::inside(|| {
            consider(descriptor, times);
            None
        }),
        Hint::Attached(place) => guard::inside(|| {
            if !guard::at_home() {
                return None;
            }
            let read = table::look(place, |attached| by_memory(descriptor, attached, total, pieces, from))?;
            match read {
                Read::Bytes(count) => {
                    report::read(count);
                    Some(count)
                }
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
    if kernel::identity(descriptor) != Some(attached.identity) {
        return Read::AnotherFile;
    }
    match from {
        From::Offset(offset) => match fill(attached, pieces, offset, |_, _| None) {
            0 => Read::Kernels,
            count => Read::Bytes(count),
        },
        From::Cursor => {
            if !fits(descriptor, attached, total) {
                return Read::Kernels;
            }
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

/// Whether so many bytes are there from the offset on, as far as is known. Nobody claims what is not: where a file
/// ends is the kernel's to say.
fn fits(descriptor: c_int, attached: &Attached, total: usize) -> bool {
    let len = attached.source.len();
    let ends_by = |next: u64| next.saturating_add(total as u64) <= len;
    if ends_by(attached.next.load(Relaxed)) {
        return true;
    }
    // The program may have gone back.
    let Some(now) = kernel::claim(descriptor, 0) else { return false };
    attached.next.store(now, Relaxed);
    ends_by(now)
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

/// Counts a read, and attaches the file if it is worth it now.
#[cold]
fn consider(descriptor: c_int, times: u32) {
    let rule = settings::rule();
    if !rule.is_reached(times) {
        return table::set(descriptor, Hint::Seen(times + 1));
    }
    let Ok(_alone) = SLOW.try_lock() else { return };
    // What a child of vfork opens is not open in the process whose memory it uses.
    if !start::is_owner() {
        return;
    }
    table::set(descriptor, Hint::Kernels);
    let Some(About { identity, len, is_regular: true }) = kernel::about(descriptor) else { return };
    let wanted = rule.is_long_enough(len)
        && !source::is_foreign(identity.device)
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
    table::enter(descriptor, Attached { identity, source, next: AtomicU64::new(u64::MAX) });
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
    if !start::is_owner() {
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
