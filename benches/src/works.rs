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
    Read { bytes: usize, order: Order, jobs: usize },
    /// Direct reads by one task through io_uring, `depth` of them at any time.
    ReadDeep { bytes: usize, order: Order, depth: usize },
    /// The same by fio, as a check of our own client.
    Fio { bytes: usize, depth: usize },
    /// A file read from start to end through an empty page cache.
    FirstRead,
    /// Random reads of a file that the page cache holds.
    CachedRead,
    /// Attributes of the 10,000 files.
    Stat { threads: usize },
    /// The names of the 10,000 files.
    List { buffer_bytes: usize },
    /// The same, then the attributes of each, as `ls -l` asks for them. Nothing is cached at the start.
    ListStat,
    /// Create a file, write 4 KiB, close it, unlink it.
    Churn { threads: usize },
    /// Reads that are answered after 10 ms.
    Pending { reads: usize },
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
    /// What the server lets the kernel remember meanwhile.
    pub caching: Caching,
    pub work: Work,
    pub goal: Goal,
}

use Caching::{Attr0, Brief, Kept, Nothing};
use Goal::{BestPeer, Ideal, Native, Peer};
use Order::{Random, Sequential};

const KI: usize = 1 << 10;
const MI: usize = 1 << 20;

const fn named(name: &'static str, what: &'static str, caching: Caching, work: Work, goal: Goal) -> Named {
    Named { name, what, caching, work, goal }
}

const fn read(bytes: usize, order: Order, jobs: usize) -> Work {
    Work::Read { bytes, order, jobs }
}

const fn deep(bytes: usize, order: Order, depth: usize) -> Work {
    Work::ReadDeep { bytes, order, depth }
}

pub const TINY: &[Named] = &[
    named("read-4k-1", "4 KiB random, 1 job", Kept, read(4 * KI, Random, 1), BestPeer(1.8)),
    named("read-4k-2", "4 KiB random, 2 jobs", Kept, read(4 * KI, Random, 2), BestPeer(1.05)),
    named("read-4k-8", "4 KiB random, 8 jobs", Kept, read(4 * KI, Random, 8), BestPeer(1.15)),
    named("read-4k-deep32", "4 KiB random, depth 32", Kept, deep(4 * KI, Random, 32), BestPeer(1.08)),
    named("fio-4k-deep32", "the same by fio", Kept, Work::Fio { bytes: 4 * KI, depth: 32 }, Goal::None),
    named("read-128k-1", "128 KiB sequential", Kept, read(128 * KI, Sequential, 1), BestPeer(1.0)),
    named(
        "read-128k-deep8",
        "128 KiB sequential, depth 8",
        Kept,
        deep(128 * KI, Sequential, 8),
        BestPeer(1.0),
    ),
    named("read-1m-1", "1 MiB sequential", Kept, read(MI, Sequential, 1), BestPeer(1.0)),
    named("read-1m-deep8", "1 MiB sequential, depth 8", Kept, deep(MI, Sequential, 8), BestPeer(1.0)),
    named("first-read", "first read through the page cache", Kept, Work::FirstRead, Peer("fuser", 2.0)),
    named("cached-read", "4 KiB random from the page cache", Kept, Work::CachedRead, Native(0.95)),
    named(
        "list-32k",
        "list 10,000 names, 32 KiB buffer",
        Kept,
        Work::List { buffer_bytes: 32 * KI },
        BestPeer(1.5),
    ),
    named("list-1m", "list 10,000 names, 1 MiB buffer", Kept, Work::List { buffer_bytes: MI }, BestPeer(1.5)),
    named("churn-1", "create, write 4 KiB, close, unlink", Kept, Work::Churn { threads: 1 }, BestPeer(1.5)),
    named("churn-4", "the same, 4 threads", Kept, Work::Churn { threads: 4 }, Goal::None),
    named("pending-256", "256 reads of 10 ms pending", Kept, Work::Pending { reads: 256 }, Ideal(0.85)),
    named("pending-4000", "4,000 reads of 10 ms pending", Kept, Work::Pending { reads: 4000 }, Ideal(0.85)),
    named("stat-attr0-1", "stat, attributes not cached", Attr0, Work::Stat { threads: 1 }, BestPeer(1.5)),
    named("stat-attr0-4", "the same, 4 threads", Attr0, Work::Stat { threads: 4 }, BestPeer(1.1)),
    named(
        "stat-nothing-1",
        "lookup and stat, nothing cached",
        Nothing,
        Work::Stat { threads: 1 },
        BestPeer(1.5),
    ),
    named("stat-nothing-4", "the same, 4 threads", Nothing, Work::Stat { threads: 4 }, BestPeer(1.1)),
    named("list-stat", "list 10,000 names and stat each", Brief, Work::ListStat, BestPeer(1.0)),
];

impl Work {
    /// The most that the wait alone allows.
    pub fn ideal_per_second(self) -> Option<f64> {
        match self {
            Work::Pending { reads } => Some(reads as f64 / tiny::SLOW_READ.as_secs_f64()),
            _ => None,
        }
    }
}

pub fn find(name: &str) -> Option<&'static Named> {
    TINY.iter().find(|work| work.name == name)
}
