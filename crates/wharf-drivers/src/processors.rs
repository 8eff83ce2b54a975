//! The processors of this machine, for a pool that keeps its work on the one where it came up.

use std::fs;
use std::thread::available_parallelism;

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
use wharf::blocking::Placement;

/// Asks the system.
pub(crate) struct Processors;

impl Placement for Processors {
    fn cpus(&self) -> usize {
        let listed = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
        // A list such as `0-3,8-11`, in order.
        let last = listed.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<usize>().ok());
        last.map_or_else(|| available_parallelism().map_or(1, usize::from), |last| last + 1)
    }

    fn current_cpu(&self) -> usize {
        sched_getcpu()
    }

    fn pin_to(&self, cpu: usize) {
        if cpu < CpuSet::MAX_CPU {
            let mut set = CpuSet::new();
            set.set(cpu);
            let _ = sched_setaffinity(None, &set);
        }
    }
}
