//! Write a file system as one async trait; Wharf runs it.
//!
//! This crate is what an author writes against, and the session that runs it. It does no I/O and knows no
//! kernel interface: crates such as `wharf-fuse` bring requests to it and carry the answers back.
//!
//! - [`FileSystem`] is the trait. Start there: its documentation says what a node is, what the kernel keeps,
//!   and what may deadlock.
//! - [`op`] has the operations as structs; [`Entry`], [`Opened`] and their like are the answers; [`Error`] says
//!   what went wrong.
//! - [`blocking`] and [`path`] take file systems written as plain methods, with nodes or with paths.
//! - [`session`] is for those who write transports.

#![forbid(unsafe_code)]

mod attributes;
pub mod blocking;
mod caller;
mod capabilities;
mod context;
pub mod error;
mod extents;
mod fs;
mod id;
pub mod io;
mod limits;
mod memory;
mod name;
pub mod notice;
pub mod op;
pub mod path;
mod pattern;
mod promise;
mod reply;
pub mod session;
pub mod testing;

pub use attributes::{Attributes, Entry, Kind, Lifetimes, Statfs, Time};
pub use caller::Caller;
pub use capabilities::Capabilities;
pub use context::{Cancellation, Context, Host};
pub use error::{Errno, Error, Result};
pub use extents::{Disc, Extents, Run};
pub use fs::FileSystem;
pub use id::{HandleId, NodeId, RequestId};
pub use limits::{Defaults, Limits};
pub use memory::{Filler, Memory};
pub use name::Name;
pub use notice::Notifier;
pub use pattern::Pattern;
pub use reply::{Cache, Created, Extended, IoctlDone, Listed, Opened, Source};
pub use session::Listing;
pub use wharf_mem::{Data, OwnedData, OwnedWindow, Window};
