//! What the threads of every transport need: to stay on a processor, to be woken, to do the I/O of their
//! operations, and to end in time.
//!
//! Transports know this crate; it knows none of them.
#![deny(unsafe_code)]

mod bell;
mod block_on;
pub mod cpu;
mod ending;
mod futex;
mod host;
mod io_ring;
mod transfers;

pub use bell::Bell;
pub use block_on::block_on;
pub use ending::{Ending, Phase, Running};
pub use futex::Futex;
pub use host::{BlockingHost, QueueHost};
pub use io_ring::IoRing;
pub use transfers::Transfers;
