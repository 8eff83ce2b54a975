//! Everything has a limit, with its unit in its name.

use std::time::Duration;

use crate::Lifetimes;

/// The limits of one volume. Set where the volume is built; printed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operations in flight, over all queues. At the limit no more are fetched; the kernel keeps them.
    pub requests_max: u32,
    /// Operation slots that stay when all is quiet, per queue.
    pub slots_kept: u32,
    /// How long a slot beyond these stays unused before it is given back.
    pub slot_idle_ms: u32,
    /// The largest read or write, in bytes. The kernel splits larger ones.
    pub payload_bytes_max: u32,
    /// Bytes of payloads that the transport `dev` has in use at a time, over all queues. At the limit no more
    /// requests are fetched.
    pub payloads_bytes_max: u64,
    /// Entries of the io_uring transport per queue at the start; more are made when few are left.
    /// A burst of requests that comes at once finds only these.
    pub uring_entries_min: u16,
    /// Entries of the io_uring transport per queue at the most. Each reserves
    /// [`payload_bytes_max`](Self::payload_bytes_max) of address space and occupies what was used of it.
    pub uring_entries_max: u16,
    /// Requests that the kernel may have in flight without anybody waiting: read-ahead, releases, direct
    /// asynchronous I/O.
    pub background_max: u16,
    /// Notices waiting to be sent. Beyond, a sender that asks for confirmation is told that there is no room.
    pub notices_max: u32,
    /// Processes that use the volume directly at a time. Beyond, a client is told so and reads through the kernel.
    pub clients_max: u32,
    /// Bytes that the direct path keeps in sections, for all files together. What was there longest makes room.
    pub sections_bytes_max: u64,
    /// How long what processes hold fast of sections may stand in the way of room for others. Then the one that holds
    /// most is hung up.
    pub pins_wait_ms: u32,
    /// How long an unmount waits for outstanding operations before it cancels them.
    pub drain_ms: u32,
    /// How long a cancelled operation may take to end before it is given up.
    pub cancel_ms: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            requests_max: 16_384,
            slots_kept: 64,
            slot_idle_ms: 10_000,
            payload_bytes_max: 1 << 20,
            payloads_bytes_max: 1 << 30,
            uring_entries_min: 32,
            uring_entries_max: 1024,
            background_max: 64,
            notices_max: 4096,
            clients_max: 64,
            sections_bytes_max: 256 << 20,
            pins_wait_ms: 10_000,
            drain_ms: 10_000,
            cancel_ms: 1_000,
        }
    }
}

impl Limits {
    /// How long an unmount waits for outstanding operations before it cancels them.
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms.into())
    }

    /// How long a cancelled operation may take to end before it is given up.
    pub fn cancel(&self) -> Duration {
        Duration::from_millis(self.cancel_ms.into())
    }
}

/// What a volume answers where a file system leaves it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// For entries and attributes without lifetimes of their own.
    pub lifetimes: Lifetimes,
    /// How long the absence of a name is remembered.
    pub absent: Duration,
}

impl Default for Defaults {
    /// A day for what is there and nothing for what is not: right for a file system that changes only
    /// through its volume.
    fn default() -> Defaults {
        Defaults { lifetimes: Lifetimes::LONG, absent: Duration::ZERO }
    }
}
