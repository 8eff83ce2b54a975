//! Words in memory that a thread waits for.

use std::sync::atomic::AtomicU32;

/// Words that one thread can wait for at a time; the kernel's limit.
pub(crate) const FUTEXES_MAX: usize = 128;

/// A word, perhaps shared with other processes, and the value that it has while there is nothing to do.
#[derive(Clone, Copy, Debug)]
pub struct Futex {
    /// Where it is. Only the kernel looks there, and refuses what is not mapped.
    pub address: *const AtomicU32,
    /// What it says while there is nothing to do.
    pub value: u32,
    /// Only this process knows it, and rings it so.
    pub own: bool,
}
