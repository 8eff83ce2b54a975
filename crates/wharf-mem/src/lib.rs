//! Memory that Wharf lends out: the bytes of one request or reply, owned by a transport
//! and filled or read by a file system, from any thread, without a copy.
//!
//! - [`Payload`] is the transport's: the right to use one span of memory again and again.
//! - [`Lease`] is one operation's: it borrows the payload until the operation has ended.
//! - [`Window`] is the file system's: a bounded span to fill. [`Data`] is a bounded span to read.
//!   Both can be [detached](Window::detach) and carried to another thread or into the kernel;
//!   the payload knows, and is not used again before they are dropped.
//!
//! All unsafe code of the lending is here, argued next to the lines that make it true.

mod copy;
mod mapping;
mod payload;
pub mod sync;
mod window;

pub use copy::copy_streams;
pub use mapping::Mapping;
pub use payload::{Lease, Payload};
pub use window::{Data, OwnedData, OwnedWindow, Window};
