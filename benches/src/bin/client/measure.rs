//! How a work is timed: steadily by threads, or pass by pass with something untimed between.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wharf_benches::clock;

use crate::Result;

/// Before counting starts, for caches, frequencies and the scheduler to settle.
const SETTLE: Duration = Duration::from_millis(150);

pub struct Bench {
    span: Duration,
    /// One pass only, and none before it.
    once: bool,
    server: Option<u32>,
}

/// Latencies in buckets that are 1.6 % wide.
#[derive(Clone)]
pub struct Histogram(Vec<u64>);

const STEPS: u64 = 64;

impl Histogram {
    fn new() -> Self {
        Self(vec![0; 64 * STEPS as usize])
    }

    pub fn add(&mut self, took: Duration) {
        let ns = took.as_nanos() as u64;
        let at = if ns < STEPS {
            ns
        } else {
            let octave = u64::from(ns.ilog2()) - u64::from(STEPS.ilog2());
            octave * STEPS + (ns >> octave)
        };
        self.0[at as usize] += 1;
    }

    fn merge(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(&other.0) {
            *sum += count;
        }
    }

    fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    fn quantile_us(&self, part: f64) -> f64 {
        let wanted = (self.count() as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.0.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                let at = at as u64;
                let octave = (at / STEPS).saturating_sub(1);
                return ((at - octave * STEPS) << octave) as f64 / 1000.0;
            }
        }
        0.0
    }
}

/// CPU spent in a span, by whom.
#[derive(Default)]
struct Spent {
    wall: Duration,
    server: Duration,
    client: Duration,
    machine: Duration,
}

struct Stopwatch {
    began: Instant,
    server: Option<Duration>,
    client: Duration,
    machine: Duration,
}

impl Stopwatch {
    fn start(server: Option<u32>) -> Self {
        Self {
            machine: clock::machine_busy(),
            server: server.and_then(clock::process_cpu),
            client: clock::own_cpu(),
            began: Instant::now(),
        }
    }

    fn stop(self, server: Option<u32>, into: &mut Spent) {
        into.wall += self.began.elapsed();
        let client = clock::own_cpu();
        into.client += client.saturating_sub(self.client);
        if let (Some(before), Some(after)) = (self.server, server.and_then(clock::process_cpu)) {
            into.server += after.saturating_sub(before);
        }
        into.machine += clock::machine_busy().saturating_sub(self.machine);
    }
}

pub struct Measured {
    operations: u64,
    bytes_per_operation: u64,
    spent: Spent,
    latencies: Histogram,
    server_threads: usize,
}

impl Measured {
    pub fn json(&self) -> serde_json::Value {
        let wall = self.spent.wall.as_secs_f64();
        let operations = self.operations.max(1) as f64;
        let ours = self.spent.server + self.spent.client;
        let others = self.spent.machine.saturating_sub(ours).as_secs_f64() / (wall * clock::cpus() as f64);
        serde_json::json!({
            "operations_per_s": self.operations as f64 / wall,
            "gb_per_s": (self.operations * self.bytes_per_operation) as f64 / wall / 1e9,
            "p50_us": self.latencies.quantile_us(0.5),
            "p99_us": self.latencies.quantile_us(0.99),
            "server_cpu_us_per_operation": self.spent.server.as_secs_f64() * 1e6 / operations,
            "client_cpu_us_per_operation": self.spent.client.as_secs_f64() * 1e6 / operations,
            "server_threads": self.server_threads,
            "others": others.max(0.0),
        })
    }
}

impl Bench {
    pub fn new(seconds: f64, once: bool, server: Option<u32>) -> Self {
        Self { span: Duration::from_secs_f64(seconds), once, server }
    }

    fn threads_of_server(&self) -> usize {
        self.server.map_or(0, clock::process_threads)
    }

    /// `threads` threads, each with its own operation from `make`, all the time.
    pub fn steady<O>(
        &self,
        threads: usize,
        bytes_per_operation: u64,
        make: impl Fn(usize) -> Result<O> + Sync,
    ) -> Result<Measured>
    where
        O: FnMut() -> Result<()>,
    {
        // Each thread counts what ends while `counting`, and leaves when it sees `over`.
        let (counting, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let ready = Barrier::new(threads + 1);
        let one = |number: usize| -> Result<Histogram> {
            let operation = make(number);
            ready.wait();
            let mut operation = operation?;
            let mut latencies = Histogram::new();
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                operation()?;
                let took = began.elapsed();
                if counting.load(Ordering::Relaxed) {
                    latencies.add(took);
                }
            }
            Ok(latencies)
        };
        std::thread::scope(|scope| {
            let mut running = Vec::with_capacity(threads);
            for number in 0..threads {
                let one = &one;
                let builder = std::thread::Builder::new().stack_size(64 << 10);
                running.push(builder.spawn_scoped(scope, move || one(number))?);
            }
            ready.wait();
            std::thread::sleep(SETTLE);
            let mut spent = Spent::default();
            let watch = Stopwatch::start(self.server);
            counting.store(true, Ordering::Relaxed);
            std::thread::sleep(self.span / 2);
            let server_threads = self.threads_of_server();
            std::thread::sleep((self.span / 2).saturating_sub(Duration::from_millis(1)));
            counting.store(false, Ordering::Relaxed);
            watch.stop(self.server, &mut spent);
            over.store(true, Ordering::Relaxed);
            let mut latencies = Histogram::new();
            for thread in running {
                latencies.merge(&thread.join().map_err(|_| "a thread of the client panicked")??);
            }
            let operations = latencies.count();
            Ok(Measured { operations, bytes_per_operation, spent, latencies, server_threads })
        })
    }

    /// One pass after another, `between` untimed before each. With `warm` the first only warms up.
    pub fn passes(
        &self,
        warm: bool,
        operations_per_pass: u64,
        bytes_per_operation: u64,
        mut between: impl FnMut() -> Result<()>,
        mut pass: impl FnMut() -> Result<()>,
    ) -> Result<Measured> {
        if warm && !self.once {
            between()?;
            pass()?;
        }
        let (mut spent, mut latencies) = (Spent::default(), Histogram::new());
        let (mut operations, mut server_threads) = (0, 0);
        while operations == 0 || (spent.wall < self.span && !self.once) {
            between()?;
            let watch = Stopwatch::start(self.server);
            let began = Instant::now();
            pass()?;
            let took = began.elapsed();
            watch.stop(self.server, &mut spent);
            latencies.add(took / operations_per_pass as u32);
            operations += operations_per_pass;
            server_threads = server_threads.max(self.threads_of_server());
        }
        Ok(Measured { operations, bytes_per_operation, spent, latencies, server_threads })
    }

    /// A loop that is one task and counts for itself: `turn` returns how long each ended operation took.
    pub fn turns(
        &self,
        bytes_per_operation: u64,
        mut turn: impl FnMut(&mut dyn FnMut(Duration)) -> Result<()>,
    ) -> Result<Measured> {
        let settled = Instant::now() + SETTLE;
        while Instant::now() < settled {
            turn(&mut |_| {})?;
        }
        let (mut spent, mut latencies) = (Spent::default(), Histogram::new());
        let watch = Stopwatch::start(self.server);
        let end = Instant::now() + self.span;
        while Instant::now() < end {
            turn(&mut |took| latencies.add(took))?;
        }
        watch.stop(self.server, &mut spent);
        let server_threads = self.threads_of_server();
        Ok(Measured { operations: latencies.count(), bytes_per_operation, spent, latencies, server_threads })
    }
}
