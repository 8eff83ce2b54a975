//! Files behind a network service, as a file system: HTTP, WebDAV, S3, FTP, SFTP, or a local directory in that role.
//!
//! Every operation of the service is asynchronous: hundreds may be under way over a few connections, driven by two
//! threads, while the queues of the volume go on. What is read is cached in blocks that belong to one version of
//! one file; what is listed is believed for a while, and whoever was told otherwise gets a notice. What is written
//! goes to a local copy, and to the service at close(2) and fsync(2), which say whether it has arrived.
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
mod arrivals;
mod cache;
mod changes;
mod content;
mod credentials;
mod disc_cache;
mod drain;
mod engine;
mod failure;
mod fs;
mod ftp;
mod guesses;
mod knowledge;
mod lately;
mod listing;
mod local;
mod location;
mod meta;
mod neighbours;
mod note;
mod options;
mod outgoing;
mod own;
mod paths;
mod private;
mod sending;
mod sftp;
mod spool;
mod store;
mod stream;
mod tree;
mod units;
mod web;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wharf::{Defaults, Lifetimes};

use crate::info::{Describe, Info};

use cache::Cache;
use content::Supply;
use credentials::Credentials;
use disc_cache::DiscCache;
use engine::Engine;
use knowledge::Knowledge;
use private::private;
use spool::Spools;
use store::Store;
use tree::{Node, Tree};

pub use drain::Uploads;
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
        let user = credentials.user.as_deref().or(location.user.as_deref());
        let store = Arc::new(Store::new(location, &credentials)?);
        let engine = Engine::start().map_err(|error| format!("no threads can be started ({error})"))?;
        engine.block_on(store.check()).map_err(|error| format!("{location} cannot be used ({error})"))?;
        let writable = store.can().write && !options.read_only;
        let spools = if writable { Some(spools(location, user, &store, &engine)?) } else { None };
        let names = if store.can().rename { "" } else { " renames of directories," };
        let access = if writable { "read and written" } else { "only read" };
        log::info!(
            "{location} is {access}; not there:{names} owners, links, special files, extended attributes"
        );
        let cache = Cache::new(options.cache_bytes_max);
        let ahead_bytes_max = AHEAD_BYTES_MAX.min(options.cache_bytes_max / 4);
        let disc = disc_cache(location, user);
        let supply = Arc::new(Supply { store, engine, cache, disc });
        let (tree, root) = Tree::new();
        let knowledge = Arc::new(Knowledge::new(supply, tree, options, spools));
        Ok(Remote { knowledge, root, shown: location.to_string(), ahead_bytes_max })
    }

    /// What may be left to be done when nobody uses the volume any more.
    pub fn uploads(&self) -> Uploads {
        Uploads(self.knowledge.clone())
    }

    /// What the volume should be built with: what is told is believed as long as it is here.
    pub fn defaults(&self) -> Defaults {
        let lifetime = self.knowledge.options.lifetime;
        Defaults { lifetimes: Lifetimes { entry: lifetime, attributes: lifetime }, absent: lifetime }
    }
}

/// A place for files that are being changed. What earlier mounts left there is brought to the service first.
fn spools(location: &Location, user: Option<&str>, store: &Store, engine: &Engine) -> Result<Spools, String> {
    let place = place(location, user, location.options.spool.as_deref(), "wharf-remote")
        .ok_or("there is no place for files that are being changed; name one with --option spool=DIR")?;
    let refused = |error: std::io::Error| {
        format!("{} cannot be used ({error}); name another with --option spool=DIR", place.display())
    };
    private(&place).map_err(refused)?;
    engine.block_on(local::retry(store, &place));
    Spools::open(&place).map_err(refused)
}

/// A cache on disc, if one is wanted. One that cannot be had is no reason not to mount.
fn disc_cache(location: &Location, user: Option<&str>) -> Option<DiscCache> {
    let options = &location.options;
    if options.disc_cache_bytes_max == 0 {
        return None;
    }
    let Some(place) = place(location, user, options.cache_dir.as_deref(), "wharf-remote-cache") else {
        log::warn!("there is no place for a cache on disc; name one with --option cache-dir=DIR");
        return None;
    };
    let opened = DiscCache::open(&place, options.disc_cache_bytes_max);
    let refused = |error: &std::io::Error| {
        log::warn!("there is no cache in {} for this mount ({error})", place.display())
    };
    opened.inspect_err(refused).ok()
}

/// A directory for this service and this user of it, in that which was named or among our user's caches. Its name
/// shows what it is for. It stays the same place when this process goes to another directory.
fn place(location: &Location, user: Option<&str>, named: Option<&Path>, kind: &str) -> Option<PathBuf> {
    let base = match named {
        Some(place) => place.to_owned(),
        None => {
            let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
            std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?
        }
    };
    let name = location.to_string().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let place = base.join(kind).join(format!("{}-{:016x}", &name[..name.len().min(60)], location.hash(user)));
    std::path::absolute(place).ok()
}

impl Drop for Remote {
    /// Whoever goes on works for nobody, and holds what the next mount needs.
    fn drop(&mut self) {
        self.knowledge.supply.engine.end();
    }
}

impl Describe for Remote {
    /// What the service can do, and how it will be used.
    fn describe(&self) -> Result<Info> {
        let Knowledge { supply, options, lists_sizes, .. } = &*self.knowledge;
        let can = supply.store.can();
        let info = Info::new()
            .text("address", &self.shown)
            .text("access", if self.knowledge.spools.is_some() { "read and write" } else { "read only" })
            .text("deadline", format_args!("{:?} for each operation", options.deadline))
            .text("lifetime", format_args!("{:?} for what was learnt", options.lifetime))
            .count("connections", options.connections_max.into())
            .bytes("cache", options.cache_bytes_max);
        let info = match options.disc_cache_bytes_max {
            0 => info,
            bytes => info.bytes("cache on disc", bytes),
        };
        let info = if *lists_sizes {
            info
        } else {
            info.remark("sizes are asked for one by one: listings tell none")
        };
        Ok(if can.write { info } else { info.remark("the service cannot be written to") })
    }
}
