//! What a case asks of a file system, as a set. Nothing here looks at a file system to find out.
//!
//! What a volume offers is declared, not probed: a feature that is lost by mistake must fail its cases, and a
//! probe would skip them instead.

use bitflags::bitflags;

bitflags! {
    /// Abilities that not every file system has. A case runs where all of its needs are met.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Needs: u64 {
        /// Files can be created and changed at all.
        const WRITE = 1 << 0;
        /// Names are any bytes but `/` and NUL, of up to 255 bytes, and case matters.
        const NAMES_BYTES = 1 << 1;
        /// Hard links, and link counts that tell of them.
        const LINKS = 1 << 2;
        /// Symbolic links.
        const SYMLINKS = 1 << 3;
        /// FIFOs and sockets.
        const SPECIAL = 1 << 4;
        /// Character devices (root, and a mount without `nodev`).
        const DEVICES = 1 << 5;
        /// Owners, groups and modes are kept, and decide for another user. Root only; a FUSE mount needs
        /// `allow_other`.
        const PERMISSIONS = 1 << 6;
        /// `user.` and `trusted.` extended attributes.
        const XATTRS = 1 << 7;
        /// Extended attributes of 64 KiB.
        const XATTRS_64K = 1 << 8;
        /// POSIX access control lists.
        const ACL = 1 << 9;
        /// POSIX byte-range locks and open-file-description locks.
        const LOCKS = 1 << 10;
        /// `flock(2)`, apart from POSIX locks.
        const FLOCK = 1 << 11;
        /// `fallocate(2)` with and without `KEEP_SIZE`.
        const FALLOCATE = 1 << 12;
        /// `FALLOC_FL_PUNCH_HOLE`.
        const PUNCH_HOLE = 1 << 13;
        /// `FALLOC_FL_ZERO_RANGE`.
        const ZERO_RANGE = 1 << 14;
        /// `FALLOC_FL_COLLAPSE_RANGE` and `FALLOC_FL_INSERT_RANGE`.
        const COLLAPSE_RANGE = 1 << 15;
        /// Holes take no blocks, and `SEEK_HOLE` and `SEEK_DATA` find them.
        const HOLES = 1 << 16;
        /// `copy_file_range(2)` between files.
        const COPY_RANGE = 1 << 17;
        /// `O_TMPFILE`.
        const TMPFILE = 1 << 18;
        /// `RENAME_NOREPLACE`.
        const RENAME_NOREPLACE = 1 << 19;
        /// `RENAME_EXCHANGE`.
        const RENAME_EXCHANGE = 1 << 20;
        /// `RENAME_WHITEOUT` (root).
        const RENAME_WHITEOUT = 1 << 21;
        /// Shared writable mappings.
        const MMAP = 1 << 22;
        /// `O_DIRECT`.
        const DIRECT = 1 << 23;
        /// The time of birth in `statx(2)`.
        const STATX_BTIME = 1 << 24;
        /// Access times move as `relatime` says.
        const ATIME = 1 << 25;
        /// Times are kept to the nanosecond, and before 1970.
        const TIMES_EXACT = 1 << 26;
        /// The `chattr(1)` flags append-only and immutable (root).
        const INODE_FLAGS = 1 << 27;
        /// `name_to_handle_at(2)` and `open_by_handle_at(2)` (root).
        const HANDLES = 1 << 28;
        /// Who waits for a byte-range lock in a circle is told so; POSIX leaves that open.
        const LOCKS_DEADLOCK = 1 << 29;
        /// Every change moves the times it should, within a hundredth of a second or so.
        const TIMES_FINE = 1 << 30;
        /// Permission bits are kept.
        const MODES = 1 << 31;
    }
}

impl Needs {
    /// What ext4 offers to root, with blocks of 4 KiB and without `ea_inode`.
    pub const EXT4: Self = Self::all().difference(Self::XATTRS_64K);

    /// What tmpfs offers to root.
    pub const TMPFS: Self = Self::all().difference(Self::ZERO_RANGE.union(Self::COLLAPSE_RANGE));

    /// The names of the set, for people: `LINKS, SYMLINKS`.
    pub fn names(self) -> String {
        self.iter_names().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    }
}
