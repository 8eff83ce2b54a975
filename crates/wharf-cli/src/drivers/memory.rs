//! `memory:`

use wharf_drivers::memory::{Memory, Options};

use crate::spec;

/// An empty volume that belongs to whoever makes it.
pub(crate) fn make(size: spec::Memory) -> Memory {
    let mut options = Options::new(size.bytes_max.unwrap_or_else(half_of_memory));
    options.inodes_max = size.inodes_max.unwrap_or(options.inodes_max);
    options.root_uid = rustix::process::getuid().as_raw();
    options.root_gid = rustix::process::getgid().as_raw();
    Memory::new(options)
}

/// What tmpfs takes.
fn half_of_memory() -> u64 {
    let machine = rustix::system::sysinfo();
    machine.totalram * u64::from(machine.mem_unit) / 2
}
