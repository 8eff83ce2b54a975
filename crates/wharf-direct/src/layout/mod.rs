//! The bytes that hosts and clients exchange. `docs/direct-protocol.md` says the same in words.
//!
//! Pure: words go in, checked values come out. Both ends are on one machine, so numbers are in its own order.
//! What is not understood is refused, never guessed.

mod ask;
mod message;
mod record;
mod ticket;

pub use ask::{Answer, Ask};
pub use message::{MESSAGE_BYTES, Message, Opened, Welcome};
pub use record::{LineRead, Listed, RECORD_BYTES, Record, line, line_bytes, lines};
pub use ticket::{Secret, Ticket};

/// Begins every conversation.
pub const MAGIC: u64 = u64::from_le_bytes(*b"WharfDir");

/// Of this description. Another one is refused by either side.
pub const VERSION: u32 = 2;

/// Requests of one channel that can be in flight.
pub const SLOTS: usize = 64;

/// Bytes that one request can fetch: its place in the arena.
pub const SLOT_BYTES: usize = 64 * 1024;

/// Bytes that one request can bring: its place in the inbox.
pub const INBOX_BYTES: usize = 16 * 1024;

/// No file is longer, here or elsewhere: whatever lies beyond is refused.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// What cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;
