//! File systems written as plain methods that may block, and the threads that run them.
//!
//! [`Pool`] runs blocking code for any file system.

mod pool;

pub use pool::{Placement, Pool, PoolLimits, Running};
