//! CPU time of this process, of another, and of the whole machine, in seconds.

use std::time::Duration;

/// Of all threads of a process, those that ended included. `None` once the process is gone.
pub fn process_cpu(pid: u32) -> Option<Duration> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: writes one clock id to a local.
    if unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } != 0 {
        return None;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec to a local.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return None;
    }
    Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Of this process and of the programs that it ran to their end.
pub fn own_cpu() -> Duration {
    let own = process_cpu(std::process::id()).unwrap_or_default();
    // SAFETY: all zeros are a valid `rusage`, which has only numbers.
    let mut children: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes one rusage to a local.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut children) } != 0 {
        return own;
    }
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    own + time(children.ru_utime) + time(children.ru_stime)
}

/// Threads of a process at this moment.
pub fn process_threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// What all CPUs together were not idle for, time stolen by the host included.
pub fn machine_busy() -> Duration {
    const TICK_MS: u64 = 10;
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let busy =
        ticks.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks);
    Duration::from_millis(busy.sum::<u64>() * TICK_MS)
}

pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
