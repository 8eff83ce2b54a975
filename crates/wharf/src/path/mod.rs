//! File systems written with paths instead of nodes.
//!
//! Write a [`FileSystem`] of plain methods that get paths, and put it into an [`Adapter`] and that into a
//! [`blocking::Adapter`], or let [`serve`] do both.
//!
//! The adapter keeps the names of all nodes that the kernel knows, so that a path is right when it is asked
//! for: after renames of any directory above, exchanges, links and unlinks. [`At`] says how long it stays right.

mod adapter;
mod at;
mod fs;
mod listing;
mod node;
mod records;
mod tree;

pub use adapter::Adapter;
pub use at::At;
pub use fs::FileSystem;
pub use listing::Names;
pub use node::{File, Node};

use crate::blocking::{self, Pool};

/// A path file system as one that a volume can serve, with its methods on the threads of `pool`.
pub fn serve<T: FileSystem>(fs: T, pool: Pool) -> blocking::Adapter<Adapter<T>> {
    blocking::Adapter::new(Adapter::new(fs), pool)
}
