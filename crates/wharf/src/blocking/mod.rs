//! File systems written as plain methods that may block, and the threads that run them.
//!
//! Write a [`FileSystem`], and give an [`Adapter`] of it to whoever serves volumes. The [`Pool`] underneath is
//! for everybody: an async file system can run the few things that block on it too.

mod adapter;
mod carry;
mod fs;
mod listing;
mod pool;

pub use adapter::Adapter;
pub use fs::FileSystem;
pub use listing::Listing;
pub use pool::{Placement, Pool, PoolLimits, Running};
