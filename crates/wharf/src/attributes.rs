//! What a node is like: kind, size, times, owners.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a node is. Decided when it is made, and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    /// The bits of `st_mode` that tell the kind.
    pub fn mode_bits(self) -> u32 {
        match self {
            Kind::Fifo => 0o010_000,
            Kind::CharDevice => 0o020_000,
            Kind::Directory => 0o040_000,
            Kind::BlockDevice => 0o060_000,
            Kind::File => 0o100_000,
            Kind::Symlink => 0o120_000,
            Kind::Socket => 0o140_000,
        }
    }

    /// The kind told by `st_mode`; `None` for bits that mean nothing. No bits mean a file, as for mknod(2).
    pub fn from_mode(mode: u32) -> Option<Kind> {
        Some(match mode & 0o170_000 {
            0o010_000 => Kind::Fifo,
            0o020_000 => Kind::CharDevice,
            0o040_000 => Kind::Directory,
            0o060_000 => Kind::BlockDevice,
            0 | 0o100_000 => Kind::File,
            0o120_000 => Kind::Symlink,
            0o140_000 => Kind::Socket,
            _ => return None,
        })
    }

    /// The type in a directory entry (`DT_*`).
    pub fn dirent_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }
}

/// A point in time: seconds since 1970 (negative before) and nanoseconds (below 1,000,000,000) after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after them.
    pub nanoseconds: u32,
}

impl Time {
    /// The present, as the system's clock has it.
    pub fn now() -> Time {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Time {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Time { seconds: after.as_secs() as i64, nanoseconds: after.subsec_nanos() },
            Err(error) => {
                let before = error.duration();
                match before.subsec_nanos() {
                    0 => Time { seconds: -(before.as_secs() as i64), nanoseconds: 0 },
                    part => {
                        Time { seconds: -(before.as_secs() as i64) - 1, nanoseconds: 1_000_000_000 - part }
                    }
                }
            }
        }
    }
}

/// What stat(2) tells of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The inode number, which is the node's identity: two answers with the same number speak of the same
    /// node. It may be used again once the node is gone (removed, and no longer held by anybody).
    pub inode: u64,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, `0o7777` at most.
    pub permissions: u16,
    /// Number of names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node, as makedev(3) composes it.
    pub device: u32,
    /// Bytes.
    pub size: u64,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Bytes that are best read or written at once; 0 for the kernel's own idea.
    pub block_size: u32,
    /// Last read.
    pub accessed: Time,
    /// Last change of the contents.
    pub modified: Time,
    /// Last change of anything.
    pub changed: Time,
    /// When it was made, if that is known.
    pub born: Option<Time>,
}

impl Attributes {
    /// A node of this kind with one link, nothing in it, and no times.
    pub fn new(inode: u64, kind: Kind, permissions: u16) -> Attributes {
        Attributes {
            inode,
            kind,
            permissions,
            links: if kind == Kind::Directory { 2 } else { 1 },
            uid: 0,
            gid: 0,
            device: 0,
            size: 0,
            blocks: 0,
            block_size: 4096,
            accessed: Time::default(),
            modified: Time::default(),
            changed: Time::default(),
            born: None,
        }
    }

    /// A directory that everybody may list.
    pub fn directory(inode: u64) -> Attributes {
        Attributes::new(inode, Kind::Directory, 0o755)
    }

    /// A regular file of `size` bytes that everybody may read.
    pub fn file(inode: u64, size: u64) -> Attributes {
        Attributes { size, blocks: size.div_ceil(512), ..Attributes::new(inode, Kind::File, 0o644) }
    }

    /// Kind and permissions as `st_mode` has them.
    pub fn mode(&self) -> u32 {
        self.kind.mode_bits() | u32::from(self.permissions & 0o7777)
    }
}

/// How long others may believe what they were told, unless a notice says otherwise.
///
/// Longer is faster. For contents that change only through the volume, [`Lifetimes::LONG`] is right;
/// where they change elsewhere, be as short as a stale answer would hurt, or send notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long the name leads to this node (or to nothing).
    pub entry: Duration,
    /// How long the attributes hold.
    pub attributes: Duration,
}

impl Lifetimes {
    /// Ask every time.
    pub const NONE: Lifetimes = Lifetimes { entry: Duration::ZERO, attributes: Duration::ZERO };
    /// A second, the custom of network file systems.
    pub const SHORT: Lifetimes =
        Lifetimes { entry: Duration::from_secs(1), attributes: Duration::from_secs(1) };
    /// A day: in effect until somebody changes it through the volume or a notice is sent.
    pub const LONG: Lifetimes =
        Lifetimes { entry: Duration::from_secs(86_400), attributes: Duration::from_secs(86_400) };
}

/// A node found or made, as the answer to a name.
#[derive(Clone, Debug)]
pub struct Entry<N> {
    /// The author's value for it.
    pub node: N,
    /// What it is like now.
    pub attributes: Attributes,
    /// How long that holds; `None` for the volume's default.
    pub lifetimes: Option<Lifetimes>,
}

impl<N> Entry<N> {
    /// An entry with the volume's default lifetimes.
    pub fn new(node: N, attributes: Attributes) -> Entry<N> {
        Entry { node, attributes, lifetimes: None }
    }
}

impl From<Attributes> for Entry<()> {
    /// For file systems that name nodes otherwise: by paths.
    fn from(attributes: Attributes) -> Entry<()> {
        Entry::new((), attributes)
    }
}

/// What statfs(2) tells of a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statfs {
    /// Bytes in a block, the unit of the three numbers that follow.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for everybody but root.
    pub blocks_available: u64,
    /// Nodes in all.
    pub files: u64,
    /// Nodes that can still be made.
    pub files_free: u64,
    /// Bytes in the longest name.
    pub name_bytes_max: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_round_down() {
        let time = Time::from(UNIX_EPOCH - Duration::from_millis(1500));
        assert_eq!(time, Time { seconds: -2, nanoseconds: 500_000_000 });
        assert_eq!(Time::from(UNIX_EPOCH - Duration::from_secs(3)), Time { seconds: -3, nanoseconds: 0 });
    }

    #[test]
    fn every_kind_survives_its_mode_bits() {
        use Kind::*;
        for kind in [File, Directory, Symlink, Fifo, Socket, CharDevice, BlockDevice] {
            assert_eq!(Kind::from_mode(kind.mode_bits() | 0o4755), Some(kind));
        }
        assert_eq!(Kind::from_mode(0o150_000), None);
    }
}
