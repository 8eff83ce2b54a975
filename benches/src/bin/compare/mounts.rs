//! What the runner asks of the kernel about mounts.

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

use crate::Result;

const ENABLE_URING: &str = "/sys/module/fuse/parameters/enable_uring";

/// FUSE over io_uring is off by default, and half of the servers need it.
pub fn allow_uring() -> Result<()> {
    let was = std::fs::read_to_string(ENABLE_URING)
        .map_err(|error| format!("this kernel knows no FUSE over io_uring ({ENABLE_URING}: {error})"))?;
    if was.trim() != "Y" {
        std::fs::write(ENABLE_URING, "Y")?;
        eprintln!("wrote Y to {ENABLE_URING}; it stays so until somebody writes N");
    }
    Ok(())
}

pub fn tmpfs(at: &Path) -> Result<()> {
    rustix::mount::mount("bench", at, "tmpfs", MountFlags::empty(), c"size=2g")?;
    Ok(())
}

/// Of the mount table: the mount point and its device's minor number, which is the FUSE connection's number.
fn table() -> Vec<(PathBuf, u32)> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let line = |line: &str| {
        let mut fields = line.split(' ').skip(2);
        let minor = fields.next()?.split_once(':')?.1.parse().ok()?;
        Some((PathBuf::from(fields.nth(1)?), minor))
    };
    text.lines().filter_map(line).collect()
}

pub fn connection_at(point: &Path) -> Option<u32> {
    table().into_iter().rev().find(|(mounted, _)| mounted == point).map(|(_, minor)| minor)
}

/// Ends all requests of a connection with an error; whoever hangs in one is free then.
pub fn abort(connection: u32) {
    let control = Path::new("/sys/fs/fuse/connections");
    if !control.join(connection.to_string()).exists() {
        let _ = rustix::mount::mount("fusectl", control, "fusectl", MountFlags::empty(), None);
    }
    let _ = std::fs::write(control.join(connection.to_string()).join("abort"), "1");
}

pub fn detach(point: &Path) {
    let _ = rustix::mount::unmount(point, UnmountFlags::DETACH);
}

pub fn detach_all_under(dir: &Path) {
    for (point, _) in table().into_iter().rev().filter(|(point, _)| point.starts_with(dir)) {
        detach(&point);
    }
}
