//! Files behind a network service, as a file system: HTTP, WebDAV, S3, FTP, or a local directory in that role.
//!
//! Every operation of the service is asynchronous: hundreds may be under way over a few connections, driven by two
//! threads, while the queues of the volume go on. What is read is cached in blocks that belong to one version of
//! one file; what is listed is believed for a while, and whoever was told otherwise gets a notice.
//!
//! ```no_run
//! use wharf_drivers::remote::{Location, Remote};
//!
//! let mut location = Location::parse("https://example.org/data")?;
//! location.options.set("deadline", "10s")?;
//! let remote = Remote::new(&location)?;
//! let defaults = remote.defaults();
//! # let _ = defaults;
//! # Ok::<(), String>(())
//! ```

mod ahead;
mod cache;
mod content;
mod credentials;
mod engine;
mod failure;
mod fs;
mod knowledge;
mod listing;
mod location;
mod meta;
mod options;
mod pages;
mod store;
mod tree;

use std::sync::Arc;

use wharf::{Defaults, Lifetimes};

use crate::info::{Describe, Info};

use cache::Cache;
use content::Supply;
use credentials::Credentials;
use engine::Engine;
use knowledge::Knowledge;
use store::Store;
use tree::{Node, Tree};

pub use fs::{Known, Open};
pub use location::{Location, SCHEMES};
pub use options::Options;

type Result<T, E = wharf::Error> = std::result::Result<T, E>;

/// However much memory there is, nobody reads farther ahead than this.
const AHEAD_BYTES_MAX: u64 = 32 << 20;

/// Files behind a network service.
#[derive(Debug)]
pub struct Remote {
    knowledge: Arc<Knowledge>,
    root: Arc<Node>,
    /// The location, as everybody may see it.
    shown: String,
    /// Bytes to read ahead of one open file, at most.
    ahead_bytes_max: u64,
}

impl Remote {
    /// Connects to the service, and sees that it answers. Credentials are those of the file that the location
    /// names, else of the environment. Blocks; never call it inside an operation.
    ///
    /// # Errors
    /// A sentence: the service cannot be reached, does not let us in, or has no such place.
    pub fn new(location: &Location) -> Result<Remote, String> {
        let options = location.options.clone();
        let credentials = Credentials::find(options.credentials.as_deref(), |name| std::env::var(name).ok())?;
        let store = Arc::new(Store::new(location, &credentials)?);
        let engine = Engine::start().map_err(|error| format!("no threads can be started ({error})"))?;
        engine.block_on(store.check()).map_err(|error| format!("{location} cannot be used ({error})"))?;
        let cache = Cache::new(options.cache_bytes_max);
        let lists_sizes = store.lists_sizes();
        let ahead_bytes_max = AHEAD_BYTES_MAX.min(options.cache_bytes_max / 4);
        let supply = Arc::new(Supply { store, engine, cache });
        let (tree, root) = Tree::new();
        let knowledge = Arc::new(Knowledge::new(supply, tree, options, lists_sizes));
        Ok(Remote { knowledge, root, shown: location.to_string(), ahead_bytes_max })
    }

    /// What the volume should be built with: what is told is believed as long as it is here.
    pub fn defaults(&self) -> Defaults {
        let lifetime = self.knowledge.options.lifetime;
        Defaults { lifetimes: Lifetimes { entry: lifetime, attributes: lifetime }, absent: lifetime }
    }
}

impl Describe for Remote {
    /// What the service can do, and how it will be used.
    fn describe(&self) -> Result<Info> {
        let Knowledge { supply, options, lists_sizes, .. } = &*self.knowledge;
        let can = supply.store.can();
        let info = Info::new()
            .text("address", &self.shown)
            .text("access", if self.knowledge.writable { "read and write" } else { "read only" })
            .text("deadline", format_args!("{:?} for each operation", options.deadline))
            .text("lifetime", format_args!("{:?} for what was learnt", options.lifetime))
            .count("connections", options.connections_max.into())
            .bytes("cache", options.cache_bytes_max);
        let info = if *lists_sizes {
            info
        } else {
            info.remark("sizes are asked for one by one: listings tell none")
        };
        Ok(if can.write { info } else { info.remark("the service cannot be written to") })
    }
}
