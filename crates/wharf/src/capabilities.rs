//! What a file system can do, declared once.

use bitflags::bitflags;

bitflags! {
    /// What a file system can do. Declared once; negotiation with the kernel, dispatch and the conformance
    /// suite all read this value. What is not claimed is answered without waking the author.
    ///
    /// Looking up, attributes, reading and listing are always there.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Capabilities: u64 {
        /// Contents can change: `write`, `create`, `mkdir`, `unlink`, `rmdir`, `rename`, `setattr`.
        const WRITE = 1 << 0;
        /// `link`.
        const LINKS = 1 << 1;
        /// `readlink`, and with [`WRITE`](Self::WRITE) `symlink`.
        const SYMLINKS = 1 << 2;
        /// `mknod` for pipes, sockets and devices.
        const SPECIAL_FILES = 1 << 3;
        /// `getxattr` and `listxattr`, and with [`WRITE`](Self::WRITE) `setxattr` and `removexattr`.
        const XATTRS = 1 << 4;
        /// POSIX access control lists, kept as extended attributes; the kernel checks them.
        const ACLS = 1 << 5;
        /// `getlk`, `setlk`, and `flush`, which gives the locks of its owner up. Unclaimed, the kernel keeps such locks by itself, per machine.
        const POSIX_LOCKS = 1 << 6;
        /// `flock`. Unclaimed, the kernel keeps such locks by itself, per machine.
        const FLOCK = 1 << 7;
        /// `access`: the file system decides who may do what. Else mount with default permissions.
        const ACCESS = 1 << 8;
        /// `fallocate`.
        const FALLOCATE = 1 << 9;
        /// `lseek`, which tells holes from data.
        const HOLES = 1 << 10;
        /// `copy_file_range`.
        const COPY_RANGE = 1 << 11;
        /// `tmpfile`.
        const TMPFILE = 1 << 12;
        /// `statx`, for what plain attributes lack: the time of birth.
        const STATX = 1 << 13;
        /// `ioctl`.
        const IOCTL = 1 << 14;
        /// `poll`.
        const POLL = 1 << 15;
        /// `bmap`.
        const BMAP = 1 << 16;
        /// `flush`, at every close(2).
        const FLUSH = 1 << 17;
        /// `fsync` and `fsyncdir`.
        const FSYNC = 1 << 18;
        /// `syncfs`.
        const SYNCFS = 1 << 19;
        /// `rename` with flags: no replacing, exchange, whiteout.
        const RENAME_FLAGS = 1 << 20;
        /// `readdir` can give whole entries, not only names.
        const LIST_ENTRIES = 1 << 21;
        /// Files have no state of their own while open: `open` is answered once and for all by Wharf, and
        /// `file` makes the value for each read.
        const STATELESS_FILES = 1 << 22;
        /// The same for directories.
        const STATELESS_DIRECTORIES = 1 << 23;
        /// A node can be found again from its number after it was forgotten, as NFS export asks.
        const EXPORT = 1 << 24;
        /// Setuid, setgid and security bits are cleared by the file system itself when a file is written,
        /// truncated or given away.
        const KILL_PRIVILEGES = 1 << 25;
        /// New nodes can be given a security context in the same step.
        const SECURITY_CONTEXT = 1 << 26;
        /// New nodes are told which of the caller's supplementary groups applies.
        const CREATE_GROUP = 1 << 27;
        /// The volume may be the source of an id-mapped mount.
        const IDMAP = 1 << 28;
        /// The kernel may collect small writes and keep the size and times of files meanwhile. Faster small
        /// writes; wrong where contents also change elsewhere.
        const WRITEBACK = 1 << 29;
        /// `open` truncates when told to, in one step. The kernel then asks before it has checked that no
        /// program is running from the file: unclaimed, it checks first and truncates by `setattr`.
        const TRUNCATE_ON_OPEN = 1 << 30;
        /// The file system applies the umask itself, as default ACLs need.
        const UMASK = 1 << 31;
        /// Targets of symbolic links may be kept by the kernel until a notice.
        const CACHE_SYMLINKS = 1 << 32;
        /// Cached contents stay until a notice, whatever the times say; unclaimed, a new time of
        /// modification drops them.
        const EXPLICIT_INVALIDATION = 1 << 33;
        /// Files opened for direct I/O may be mapped shared.
        const DIRECT_MMAP = 1 << 34;
    }
}

impl Capabilities {
    /// Reading only, with symbolic links: archives, generated data.
    pub const READ_ONLY: Capabilities = Capabilities::SYMLINKS;

    /// What [`tmpfs`] users expect of a complete file system in Linux.
    ///
    /// [`tmpfs`]: https://docs.kernel.org/filesystems/tmpfs.html
    pub const POSIX: Capabilities = Capabilities::WRITE
        .union(Capabilities::LINKS)
        .union(Capabilities::SYMLINKS)
        .union(Capabilities::SPECIAL_FILES)
        .union(Capabilities::XATTRS)
        .union(Capabilities::FALLOCATE)
        .union(Capabilities::HOLES)
        .union(Capabilities::TMPFILE)
        .union(Capabilities::STATX)
        .union(Capabilities::FSYNC)
        .union(Capabilities::RENAME_FLAGS)
        .union(Capabilities::LIST_ENTRIES);
}
