//! On whose behalf an operation is.

/// The process behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its file system user id.
    pub uid: u32,
    /// Its file system group id.
    pub gid: u32,
    /// Its thread id; 0 when there is none, or it is not visible from here.
    pub pid: u32,
}

impl Caller {
    /// Stands for a user or group that the kernel does not tell: on id-mapped mounts, wherever no node is made.
    pub const UNKNOWN: u32 = u32::MAX;

    /// The kernel itself, as when it writes back its cache.
    pub const KERNEL: Caller = Caller { uid: 0, gid: 0, pid: 0 };
}
