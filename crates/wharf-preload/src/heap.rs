//! Memory of this library's own.
//!
//! The program's allocator cannot be used: a read may come from a signal handler that has interrupted it. Nor may
//! anybody wait here, for a handler may never return to what it has interrupted. So the one lock is tried and never
//! waited for; who does not get it takes pages from the kernel, or leaves a few bytes behind.
#![expect(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::*};

/// Address space for small blocks; memory only where it was touched.
const REGION_BYTES: usize = 16 << 20;

/// Blocks are of 16 bytes times a power of two up to 64 KiB.
const SMALLEST_BITS: u32 = 4;
const CLASSES: usize = 13;

/// Room for what one more attached file takes, with much to spare.
const ROOM_BYTES: usize = 1 << 20;

/// The heap of a process.
pub(crate) struct Heap {
    taken: AtomicBool,
    begin: AtomicUsize,
    next: AtomicUsize,
    free: [AtomicPtr<Free>; CLASSES],
}

/// A free block begins with the address of another.
struct Free(*mut Free);

/// This library's.
#[cfg_attr(not(test), global_allocator)]
pub(crate) static HEAP: Heap = Heap::new();

impl Heap {
    const fn new() -> Heap {
        Heap {
            taken: AtomicBool::new(false),
            begin: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            free: [const { AtomicPtr::new(ptr::null_mut()) }; CLASSES],
        }
    }

    /// Whether something worth having still fits. Without it nobody begins: to run out half-way would end the program.
    pub(crate) fn has_room(&self) -> bool {
        // The region is there from the first block on.
        drop(Box::new(0_u8));
        let begin = self.begin.load(Relaxed);
        begin != 0 && self.next.load(Relaxed) + ROOM_BYTES <= begin + REGION_BYTES
    }

    /// Does something as the only one, or not at all.
    fn alone<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        if self.taken.swap(true, Acquire) {
            return None;
        }
        let done = work();
        self.taken.store(false, Release);
        Some(done)
    }

    fn small(&self, class: usize) -> *mut u8 {
        let first = self.free[class].load(Relaxed);
        if !first.is_null() {
            // SAFETY: free blocks begin with a `Free`, and nobody else takes one meanwhile.
            self.free[class].store(unsafe { (*first).0 }, Relaxed);
            return first.cast();
        }
        if self.begin.load(Relaxed) == 0 {
            let region = pages(REGION_BYTES);
            if region.is_null() {
                return region;
            }
            self.begin.store(region.expose_provenance(), Relaxed);
            self.next.store(region.expose_provenance(), Relaxed);
        }
        let bytes = 1 << (class + SMALLEST_BITS as usize);
        let at = self.next.load(Relaxed).next_multiple_of(bytes);
        if at + bytes > self.begin.load(Relaxed) + REGION_BYTES {
            return ptr::null_mut();
        }
        self.next.store(at + bytes, Relaxed);
        ptr::with_exposed_provenance_mut(at)
    }

    fn is_small(&self, block: *mut u8) -> bool {
        let begin = self.begin.load(Relaxed);
        begin != 0 && (begin..begin + REGION_BYTES).contains(&block.addr())
    }
}

/// The class of a block; `None` for large ones.
fn class(layout: Layout) -> Option<usize> {
    let bytes = layout.size().max(layout.align()).max(1 << SMALLEST_BITS).checked_next_power_of_two()?;
    let class = (bytes.trailing_zeros() - SMALLEST_BITS) as usize;
    (class < CLASSES).then_some(class)
}

/// Fresh pages of the kernel's, or null.
fn pages(bytes: usize) -> *mut u8 {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at a place that the kernel chooses.
    let found = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if found == libc::MAP_FAILED { ptr::null_mut() } else { found.cast() }
}

// SAFETY: blocks come from pages of this heap or of the kernel, are as large and as aligned as their class or a page,
// and are lent to one owner until they are given back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let small = class(layout).and_then(|class| self.alone(|| self.small(class)));
        match small {
            Some(block) if !block.is_null() => block,
            // A page is as aligned as anybody asks for.
            _ if layout.align() <= 4096 => pages(layout.size()),
            _ => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !self.is_small(block) {
            // SAFETY: it was mapped with this size, and its owner has given it back.
            unsafe { libc::munmap(block.cast(), layout.size()) };
        } else if let Some(class) = class(layout) {
            // Not given back if somebody is here already; no one waits.
            self.alone(|| {
                let first: *mut Free = block.cast();
                // SAFETY: the block is ours again, and the smallest one has room for a `Free`.
                unsafe { first.write(Free(self.free[class].load(Relaxed))) };
                self.free[class].store(first, Relaxed);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(heap: &Heap, bytes: usize) -> *mut u8 {
        // SAFETY: no size here is zero.
        let block = unsafe { heap.alloc(layout(bytes)) };
        assert!(!block.is_null());
        // SAFETY: it was lent for so many bytes.
        unsafe { block.write_bytes(0xA5, bytes) };
        block
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 8).unwrap()
    }

    #[test]
    fn what_is_given_back_is_lent_again() {
        let heap = Heap::new();
        let (first, second) = (block(&heap, 100), block(&heap, 100));
        assert!(first.addr().abs_diff(second.addr()) >= 100);
        // SAFETY: it was lent with this layout.
        unsafe { heap.dealloc(first, layout(100)) };
        assert_eq!(block(&heap, 120), first, "of the same class");
        assert_ne!(block(&heap, 120), first);
    }

    #[test]
    fn large_blocks_are_the_kernels() {
        let heap = Heap::new();
        let large = block(&heap, 100_000);
        assert!(!heap.is_small(large));
        // SAFETY: it was lent with this layout.
        unsafe { heap.dealloc(large, layout(100_000)) };
    }

    #[test]
    fn who_comes_while_somebody_is_there_does_not_wait() {
        let heap = Heap::new();
        let first = block(&heap, 16);
        let inside = heap.alone(|| {
            // SAFETY: it was lent with this layout.
            unsafe { heap.dealloc(first, layout(16)) };
            block(&heap, 16)
        });
        assert!(!heap.is_small(inside.unwrap()));
        assert_ne!(block(&heap, 16), first, "it was left behind");
    }

    #[test]
    fn a_full_heap_says_so() {
        let heap = Heap::new();
        block(&heap, 1);
        heap.next.store(heap.begin.load(Relaxed) + REGION_BYTES - 10, Relaxed);
        assert!(!heap.has_room());
        assert!(!heap.is_small(block(&heap, 64)), "and goes on with pages");
    }
}
