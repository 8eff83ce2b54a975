//! Processors: which there may be, and staying on one.

use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How many processors this machine may ever have: the kernel keeps a queue for each.
pub fn possible() -> usize {
    let listed = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    last_in_list(&listed).map_or_else(online, |last| last + 1)
}

/// How many processors this process may run on now.
pub fn online() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Keeps the calling thread on one processor. Best effort: one that is offline, or not ours, is not an
/// error, the thread then runs wherever it may.
pub fn pin_to(cpu: usize) {
    // Nor does it go where the process was told not to run.
    if cpu >= CpuSet::MAX_CPU || sched_getaffinity(None).is_ok_and(|allowed| !allowed.is_set(cpu)) {
        return;
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    if let Err(error) = sched_setaffinity(None, &set) {
        log::debug!("a queue is not pinned to processor {cpu}: {error}");
    }
}

/// The last number of a list such as `0-3,8-11`.
fn last_in_list(list: &str) -> Option<usize> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::last_in_list;

    #[test]
    fn the_last_possible_processor_is_read_from_any_list() {
        assert_eq!(last_in_list("0\n"), Some(0));
        assert_eq!(last_in_list("0-1\n"), Some(1));
        assert_eq!(last_in_list("0-3,8-11\n"), Some(11));
        assert_eq!(last_in_list("0-3,8\n"), Some(8));
        assert_eq!(last_in_list(""), None);
    }
}
