//! The works that are measured: one table that the client, the runner and the reader of results share.

use tiny::Caching;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Random,
    Sequential,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Direct reads by threads that each wait for their answer.
    Read {
        bytes: usize,
        order: Order,
        jobs: usize,
    },
    /// Direct reads by one task through io_uring, `depth` of them at any time.
    ReadDeep {
        bytes: usize,
        order: Order,
        depth: usize,
    },
    /// The same by fio, as a check of our own client.
    Fio {
        bytes: usize,
        depth: usize,
    },
    /// A file read from start to end through an empty page cache.
    FirstRead,
    /// Reads of a file that the page cache holds.
    CachedRead {
        bytes: usize,
        order: Order,
    },
    /// A file written over and over, through the page cache.
    CachedWrite {
        bytes: usize,
    },
    /// Attributes of the 10,000 files.
    Stat {
        threads: usize,
    },
    /// The names of the 10,000 files.
    List {
        buffer_bytes: usize,
    },
    /// The same, then the attributes of each, as `ls -l` asks for them. Nothing is cached at the start.
    ListStat,
    /// Create a file, write 4 KiB, close it, unlink it.
    Churn {
        threads: usize,
    },
    /// Reads that are answered after 10 ms.
    Pending {
        reads: usize,
    },
    /// tar takes the source tree apart.
    Unpack,
    /// rm removes it.
    Remove,
    GitStatus,
    /// ripgrep looks for a word in all of it.
    Search,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The tiny file system of `tiny`.
    Tiny(Caching),
    /// A directory of ext4, mirrored.
    Mirror,
}

/// What Wharf is to reach, as a ratio in one run.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// Of the best peer, whichever that is.
    BestPeer(f64),
    /// Of this one peer.
    Peer(&'static str, f64),
    /// Of what the machine does without any library.
    Native(f64),
    /// Of what would be reached if nothing but the wait took time.
    Ideal(f64),
    None,
}

#[derive(Clone, Copy, Debug)]
pub struct Named {
    pub name: &'static str,
    /// For the table.
    pub what: &'static str,
    pub served: Served,
    pub work: Work,
    /// Done once, on a volume that was mounted for it: what the kernel cached before is gone.
    pub fresh: bool,
    pub goal: Goal,
}

use Goal::{BestPeer, Ideal, Native, Peer};
use Order::{Random, Sequential};

const KI: usize = 1 << 10;
const MI: usize = 1 << 20;
const KEPT: Served = Served::Tiny(Caching::Kept);
const ATTR0: Served = Served::Tiny(Caching::Attr0);
const NOTHING: Served = Served::Tiny(Caching::Nothing);
const BRIEF: Served = Served::Tiny(Caching::Brief);
const MIRROR: Served = Served::Mirror;

const fn named(name: &'static str, what: &'static str, served: Served, work: Work, goal: Goal) -> Named {
    Named { name, what, served, work, fresh: false, goal }
}

const fn fresh(name: &'static str, what: &'static str, served: Served, work: Work, goal: Goal) -> Named {
    Named { name, what, served, work, fresh: true, goal }
}

const fn read(bytes: usize, order: Order, jobs: usize) -> Work {
    Work::Read { bytes, order, jobs }
}

const fn deep(bytes: usize, order: Order, depth: usize) -> Work {
    Work::ReadDeep { bytes, order, depth }
}

const fn cached(bytes: usize, order: Order) -> Work {
    Work::CachedRead { bytes, order }
}

const fn list(buffer_bytes: usize) -> Work {
    Work::List { buffer_bytes }
}

const fn stat(threads: usize) -> Work {
    Work::Stat { threads }
}

const fn churn(threads: usize) -> Work {
    Work::Churn { threads }
}

const fn pending(reads: usize) -> Work {
    Work::Pending { reads }
}

#[rustfmt::skip]
pub const WORKS: &[Named] = &[
    named("read-4k-1", "4 KiB random, 1 job", KEPT, read(4 * KI, Random, 1), BestPeer(1.8)),
    named("read-4k-2", "4 KiB random, 2 jobs", KEPT, read(4 * KI, Random, 2), BestPeer(1.05)),
    named("read-4k-8", "4 KiB random, 8 jobs", KEPT, read(4 * KI, Random, 8), BestPeer(1.15)),
    named("read-4k-deep32", "4 KiB random, depth 32", KEPT, deep(4 * KI, Random, 32), BestPeer(1.08)),
    named("fio-4k-deep32", "the same by fio", KEPT, Work::Fio { bytes: 4 * KI, depth: 32 }, Goal::None),
    named("read-128k-1", "128 KiB sequential", KEPT, read(128 * KI, Sequential, 1), BestPeer(1.0)),
    named("read-128k-deep8", "128 KiB sequential, depth 8", KEPT, deep(128 * KI, Sequential, 8), BestPeer(1.0)),
    named("read-1m-1", "1 MiB sequential", KEPT, read(MI, Sequential, 1), BestPeer(1.0)),
    named("read-1m-deep8", "1 MiB sequential, depth 8", KEPT, deep(MI, Sequential, 8), BestPeer(1.0)),
    named("first-read", "first read through the page cache", KEPT, Work::FirstRead, Peer("fuser", 2.0)),
    named("cached-4k", "4 KiB random from the page cache", KEPT, cached(4 * KI, Random), Native(0.95)),
    named("list-32k", "list 10,000 names, 32 KiB buffer", KEPT, list(32 * KI), BestPeer(1.5)),
    named("list-1m", "list 10,000 names, 1 MiB buffer", KEPT, list(MI), BestPeer(1.5)),
    named("churn-1", "create, write 4 KiB, close, unlink", KEPT, churn(1), BestPeer(1.5)),
    named("churn-4", "the same, 4 threads", KEPT, churn(4), Goal::None),
    named("pending-256", "256 reads of 10 ms pending", KEPT, pending(256), Ideal(0.85)),
    named("pending-4000", "4,000 reads of 10 ms pending", KEPT, pending(4000), Ideal(0.85)),
    named("stat-attr0-1", "stat, attributes not cached", ATTR0, stat(1), BestPeer(1.5)),
    named("stat-attr0-4", "the same, 4 threads", ATTR0, stat(4), BestPeer(1.1)),
    named("stat-nothing-1", "lookup and stat, nothing cached", NOTHING, stat(1), BestPeer(1.5)),
    named("stat-nothing-4", "the same, 4 threads", NOTHING, stat(4), BestPeer(1.1)),
    named("list-stat", "list 10,000 names and stat each", BRIEF, Work::ListStat, BestPeer(1.0)),
    named("mirror-4k", "mirror: 4 KiB random, cached", MIRROR, cached(4 * KI, Random), Native(0.95)),
    named("mirror-1m", "mirror: 1 MiB sequential, cached", MIRROR, cached(MI, Sequential), Goal::None),
    named("mirror-write-128k", "mirror: 128 KiB writes", MIRROR, Work::CachedWrite { bytes: 128 * KI }, Goal::None),
    named("mirror-unpack", "mirror: unpack 6,000 files", MIRROR, Work::Unpack, BestPeer(1.0)),
    named("mirror-remove", "mirror: remove 6,000 files", MIRROR, Work::Remove, BestPeer(1.0)),
    fresh("git-status-cold", "mirror: git status, newly mounted", MIRROR, Work::GitStatus, BestPeer(1.0)),
    named("git-status", "mirror: git status again", MIRROR, Work::GitStatus, BestPeer(1.0)),
    fresh("rg-cold", "mirror: rg, newly mounted", MIRROR, Work::Search, BestPeer(1.0)),
    named("rg", "mirror: rg again", MIRROR, Work::Search, BestPeer(1.0)),
];

impl Work {
    /// The most that the wait alone allows.
    pub fn ideal_per_second(self) -> Option<f64> {
        match self {
            Work::Pending { reads } => Some(reads as f64 / tiny::SLOW_READ.as_secs_f64()),
            _ => None,
        }
    }

    /// Large transfers are told in bytes, all others in operations.
    pub fn is_told_in_bytes(self) -> bool {
        match self {
            Work::Read { bytes, .. }
            | Work::ReadDeep { bytes, .. }
            | Work::CachedRead { bytes, .. }
            | Work::CachedWrite { bytes } => bytes > 4 * KI,
            Work::FirstRead => true,
            _ => false,
        }
    }
}

pub fn find(name: &str) -> Option<&'static Named> {
    WORKS.iter().find(|work| work.name == name)
}

/// Names in a mirrored directory.
pub mod source {
    /// A file to read and write, of `FILE_BYTES`.
    pub const FILE: &str = "file";
    pub const FILE_BYTES: u64 = 64 << 20;
    /// The source tree, under git.
    pub const TREE: &str = "tree";
    /// The same as an archive, beside the mirrored directory.
    pub const ARCHIVE: &str = "tree.tar";
    /// The environment's name for where the archive is.
    pub const ARCHIVE_AT: &str = "BENCH_ARCHIVE";
    /// In one of each hundred of its files.
    pub const NEEDLE: &str = "needle_in_the_tree";
    pub const TREE_FILES: usize = 6000;
}
