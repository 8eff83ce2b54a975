//! Copies to and from memory that a stranger may write, or read, at the same time.
//!
//! What the stranger does is no part of our program, so no reference to such bytes is ever made and the
//! compiler is told nothing of them: on x86-64 the copy is assembly, which it cannot look into; elsewhere,
//! and under Miri, the stranger's side is loaded or stored by atomics. Either way a copy that races yields arbitrary
//! bytes and nothing worse. Who must know whether it raced compares versions afterwards.

use std::ptr::NonNull;
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::mapping::Access;
use crate::shared::Shared;

/// Bytes below which four streams are not worth their set-up; see [`copy_streams`](crate::copy_streams).
#[cfg(all(target_arch = "x86_64", not(miri)))]
const STREAMS_FROM_BYTES: usize = 16 * 1024;
/// Bytes from which one stream of wide registers is faster than the processor's own string copy: at 4 KiB twice.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const WIDE_FROM_BYTES: usize = 256;
#[cfg(all(target_arch = "x86_64", not(miri)))]
const WIDE_STEP_BYTES: usize = 128;
/// One step of a stream: a cache line.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const STEP_BYTES: usize = 64;

impl Shared {
    /// Copies bytes from `at` on out of the shared memory and returns how many: fewer than asked at its end.
    ///
    /// Pages that are not there read as zeros, and are taken by that.
    pub fn copy_out(&self, at: u64, into: &mut [u8]) -> usize {
        let Some((place, count)) = self.span(at, into.len()) else { return 0 };
        // SAFETY: `span` has checked that `count` bytes from `place` on are mapped and there, and they fit in `into`.
        unsafe { copy_theirs(into.as_mut_ptr(), place.as_ptr(), count) };
        count
    }

    /// Copies `from` into the shared memory from `at` on and returns how many bytes fitted.
    ///
    /// [`allocate`](Self::allocate) the range first: if there is no memory for a page, touching it ends the process.
    ///
    /// # Panics
    /// If this process mapped the memory only to read it.
    pub fn copy_in(&self, at: u64, from: &[u8]) -> usize {
        assert_eq!(self.mapping().access(), Access::Write, "writing to memory that is mapped to be read");
        let Some((place, count)) = self.span(at, from.len()) else { return 0 };
        // SAFETY: `span` has checked that `count` bytes from `place` on are mapped and there, `from` has as many, and the
        // mapping may be written, as asserted. No references to the bytes there exist, but those of a payload, whose
        // span its owner does not write otherwise.
        unsafe { copy_ours(place.as_ptr(), from.as_ptr(), count) };
        count
    }

    /// The address of the byte at `at`, and how many of `len` bytes are there.
    fn span(&self, at: u64, len: usize) -> Option<(NonNull<u8>, usize)> {
        let room = self.len_bytes().checked_sub(at)?;
        let count = usize::try_from(room).unwrap_or(usize::MAX).min(len);
        // SAFETY: `at` is at most the length of the file, all of which is mapped.
        let place = unsafe { self.mapping().start().add(at as usize) };
        Some((place, count))
    }
}

// What the compiler cannot look into does not tell theirs from ours.
#[cfg(all(target_arch = "x86_64", not(miri)))]
use {copy as copy_ours, copy as copy_theirs};

/// # Safety
/// `count` bytes may be read at `from` and written at `into`, and the two spans do not overlap.
#[cfg(all(target_arch = "x86_64", not(miri)))]
unsafe fn copy(into: *mut u8, from: *const u8, count: usize) {
    let mut done = 0;
    let wide = count >= WIDE_FROM_BYTES && std::arch::is_x86_feature_detected!("avx2");
    if wide && count < STREAMS_FROM_BYTES {
        done = count / WIDE_STEP_BYTES * WIDE_STEP_BYTES;
        // SAFETY: the processor has AVX2; `done` is no more than `count`, a multiple of a step, and not zero.
        unsafe { copy_wide(into, from, done) };
    } else if wide {
        let quarter = count / 4 / STEP_BYTES * STEP_BYTES;
        // SAFETY: the processor has AVX2; four quarters are no more than `count`, and each is a multiple of a step, of
        // which there is at least one.
        unsafe { copy_quarters(into, from, quarter) };
        done = 4 * quarter;
    }
    if done == count {
        return;
    }
    // SAFETY: `done` is at most `count`.
    let into = unsafe { into.add(done) };
    // SAFETY: as above.
    let from = unsafe { from.add(done) };
    // SAFETY: the rest of what the caller vouches for; the direction flag is clear, as the ABI has it.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") count - done => _,
            inout("rdi") into => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies `count` bytes, two cache lines at a time.
///
/// # Safety
/// The processor has AVX2. `count` is a multiple of a step and not zero; so many bytes may be read at `from` and
/// written at `into`.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2")]
unsafe fn copy_wide(into: *mut u8, from: *const u8, count: usize) {
    // SAFETY: every access is at an offset below `count`, as the caller vouches.
    unsafe {
        std::arch::asm!(
            "2:",
            "vmovdqu ymm0, [{from}]",
            "vmovdqu ymm1, [{from} + 32]",
            "vmovdqu ymm2, [{from} + 64]",
            "vmovdqu ymm3, [{from} + 96]",
            "vmovdqu [{into}], ymm0",
            "vmovdqu [{into} + 32], ymm1",
            "vmovdqu [{into} + 64], ymm2",
            "vmovdqu [{into} + 96], ymm3",
            "add {from}, 128",
            "add {into}, 128",
            "sub {left}, 128",
            "jnz 2b",
            "vzeroupper",
            from = inout(reg) from => _,
            into = inout(reg) into => _,
            left = inout(reg) count => _,
            // What vzeroupper clears.
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _, out("ymm5") _,
            out("ymm6") _, out("ymm7") _, out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack),
        );
    }
}

/// Copies four quarters of `quarter` bytes each, all at once.
///
/// # Safety
/// The processor has AVX2. `quarter` is a multiple of a step and not zero; four quarters may be read at `from`
/// and written at `into`.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2")]
unsafe fn copy_quarters(into: *mut u8, from: *const u8, quarter: usize) {
    // SAFETY: every access is at an offset below four quarters, as the caller vouches.
    unsafe {
        std::arch::asm!(
            "2:",
            "vmovdqu {a0}, [{from}]",
            "vmovdqu {a1}, [{from} + 32]",
            "vmovdqu {b0}, [{from} + {one}]",
            "vmovdqu {b1}, [{from} + {one} + 32]",
            "vmovdqu {c0}, [{from} + 2*{one}]",
            "vmovdqu {c1}, [{from} + 2*{one} + 32]",
            "vmovdqu {d0}, [{from} + {three}]",
            "vmovdqu {d1}, [{from} + {three} + 32]",
            "vmovdqu [{into}], {a0}",
            "vmovdqu [{into} + 32], {a1}",
            "vmovdqu [{into} + {one}], {b0}",
            "vmovdqu [{into} + {one} + 32], {b1}",
            "vmovdqu [{into} + 2*{one}], {c0}",
            "vmovdqu [{into} + 2*{one} + 32], {c1}",
            "vmovdqu [{into} + {three}], {d0}",
            "vmovdqu [{into} + {three} + 32], {d1}",
            "add {from}, 64",
            "add {into}, 64",
            "sub {left}, 64",
            "jnz 2b",
            "vzeroupper",
            from = inout(reg) from => _,
            into = inout(reg) into => _,
            left = inout(reg) quarter => _,
            one = in(reg) quarter,
            three = in(reg) 3 * quarter,
            a0 = out(ymm_reg) _, a1 = out(ymm_reg) _, b0 = out(ymm_reg) _, b1 = out(ymm_reg) _,
            c0 = out(ymm_reg) _, c1 = out(ymm_reg) _, d0 = out(ymm_reg) _, d1 = out(ymm_reg) _,
            // What vzeroupper clears beyond the registers named above.
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack),
        );
    }
}

/// Copies from bytes that a stranger may write to some of our own.
///
/// # Safety
/// `count` bytes may be read at `from` and written at `into`, and the two spans do not overlap.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
unsafe fn copy_theirs(into: *mut u8, from: *const u8, count: usize) {
    let words = if (from as usize).is_multiple_of(8) { count / 8 } else { 0 };
    for word in 0..words {
        // SAFETY: the eight bytes are within the span that the caller vouches for.
        let from = unsafe { from.add(word * 8) };
        // SAFETY: as above.
        let into = unsafe { into.add(word * 8) };
        // SAFETY: valid as above and aligned; a relaxed load works on memory that may only be read.
        let value = unsafe { AtomicU64::from_ptr(from.cast_mut().cast()) }.load(Ordering::Relaxed);
        // SAFETY: valid as above, and nobody else's.
        unsafe { into.cast::<u64>().write_unaligned(value) };
    }
    for byte in words * 8..count {
        // SAFETY: the byte is within the span that the caller vouches for.
        let from = unsafe { from.add(byte) };
        // SAFETY: as above.
        let into = unsafe { into.add(byte) };
        // SAFETY: valid as above.
        let value = unsafe { AtomicU8::from_ptr(from.cast_mut()) }.load(Ordering::Relaxed);
        // SAFETY: valid as above, and nobody else's.
        unsafe { into.write(value) };
    }
}

/// Copies from bytes of our own to some that a stranger may read or write.
///
/// # Safety
/// As for [`copy_theirs`].
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
unsafe fn copy_ours(into: *mut u8, from: *const u8, count: usize) {
    let words = if (into as usize).is_multiple_of(8) { count / 8 } else { 0 };
    for word in 0..words {
        // SAFETY: the eight bytes are within the span that the caller vouches for.
        let from = unsafe { from.add(word * 8) };
        // SAFETY: as above.
        let into = unsafe { into.add(word * 8) };
        // SAFETY: valid as above, and nobody writes them.
        let value = unsafe { from.cast::<u64>().read_unaligned() };
        // SAFETY: valid as above and aligned.
        unsafe { AtomicU64::from_ptr(into.cast()) }.store(value, Ordering::Relaxed);
    }
    for byte in words * 8..count {
        // SAFETY: the byte is within the span that the caller vouches for.
        let from = unsafe { from.add(byte) };
        // SAFETY: as above.
        let into = unsafe { into.add(byte) };
        // SAFETY: valid as above, and nobody writes it.
        let value = unsafe { from.read() };
        // SAFETY: valid as above.
        unsafe { AtomicU8::from_ptr(into) }.store(value, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_around_the_limits_is_copied_whole() {
        let shared = Shared::create("test", (1 << 20) + 100).unwrap();
        for len in [
            0,
            1,
            7,
            8,
            63,
            255,
            256,
            257,
            383,
            4095,
            4096,
            16383,
            16384,
            16385,
            16384 + 255,
            65536,
            (1 << 20) + 77,
        ] {
            if cfg!(miri) && len > 4096 {
                continue;
            }
            let from: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
            let mut into = vec![0; len];
            assert_eq!(shared.copy_in(13, &from), len);
            assert_eq!(shared.copy_out(13, &mut into), len);
            assert!(into == from, "{len} bytes");
        }
    }

    #[test]
    fn nothing_is_copied_beyond_the_end() {
        let shared = Shared::create("test", 5000).unwrap();
        assert_eq!(shared.copy_in(4998, b"abc"), 2);
        assert_eq!(shared.copy_in(5000, b"abc"), 0);
        assert_eq!(shared.copy_in(u64::MAX, b"abc"), 0);
        let mut into = [b'.'; 4];
        assert_eq!(shared.copy_out(4997, &mut into), 3);
        assert_eq!(&into, b"\0ab.");
        assert_eq!(shared.copy_out(5001, &mut into), 0);
    }

    #[test]
    #[should_panic(expected = "mapped to be read")]
    fn memory_that_is_mapped_to_be_read_is_not_written() {
        let shared = Shared::create("test", 4096).unwrap();
        let other = Shared::of_stranger(shared.read_only().unwrap(), 4096, Access::Read).unwrap();
        other.copy_in(0, b"x");
    }
}
