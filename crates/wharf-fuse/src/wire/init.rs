//! INIT: what the kernel offers, what the volume wants, and what both agree on.

use bitflags::bitflags;
use wharf::{Capabilities, Errno, Limits};
use zerocopy::{FromBytes, IntoBytes};

use super::abi::{InitIn, InitOut};
use super::body::MALFORMED;
use super::{IN_HEADER_BYTES, Opcode, header};

/// The only major version there is.
const MAJOR: u32 = 7;
/// The newest minor version that is spoken here.
const MINOR: u32 = 45;
/// The oldest: the structs have kept their sizes since then (Linux 2.6.31).
const MINOR_MIN: u32 = 12;

/// Bytes of `fuse_init_in` before minor version 36.
const SHORT_IN_BYTES: usize = 16;
/// Bytes of `fuse_init_out` before minor version 23.
const SHORT_OUT_BYTES: usize = 24;

/// Pages in a request where their number cannot be agreed on.
const DEFAULT_PAGES: u16 = 32;
/// Largest extended attribute, and largest list of their names, that Linux knows.
const XATTR_BYTES_MAX: u32 = 65_536;

bitflags! {
    /// What both sides can do, beyond the version: the bits of INIT.
    ///
    /// Each says when it is asked for: always, or when the file system claims a capability.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct InitFlags: u64 {
        /// Several reads of one file at once. Always.
        const ASYNC_READ = 1 << 0;
        /// POSIX locks are asked for. With `POSIX_LOCKS`.
        const POSIX_LOCKS = 1 << 1;
        /// Never had a meaning. Never.
        const FILE_OPS = 1 << 2;
        /// Opening truncates. With `TRUNCATE_ON_OPEN`.
        const ATOMIC_O_TRUNC = 1 << 3;
        /// `.` and `..` are looked up, for file handles. With `EXPORT`.
        const EXPORT_SUPPORT = 1 << 4;
        /// Writes of more than a page. Always.
        const BIG_WRITES = 1 << 5;
        /// The umask is not applied. With `UMASK`.
        const DONT_MASK = 1 << 6;
        /// The device takes pipes. Never: it was slower wherever it was measured.
        const SPLICE_WRITE = 1 << 7;
        /// The device moves pages. Never.
        const SPLICE_MOVE = 1 << 8;
        /// The device fills pipes. Never.
        const SPLICE_READ = 1 << 9;
        /// flock(2) is asked for. With `FLOCK`.
        const FLOCK_LOCKS = 1 << 10;
        /// The kernel sends ioctls of directories. With `IOCTL`.
        const HAS_IOCTL_DIR = 1 << 11;
        /// A new time of modification drops cached contents. Unless `EXPLICIT_INVALIDATION`.
        const AUTO_INVAL_DATA = 1 << 12;
        /// Listings may be of whole entries. With `LIST_ENTRIES`.
        const DO_READDIRPLUS = 1 << 13;
        /// They are where lookups are likely to follow. With `LIST_ENTRIES`.
        const READDIRPLUS_AUTO = 1 << 14;
        /// Direct I/O does not wait for each part. Always.
        const ASYNC_DIO = 1 << 15;
        /// The kernel collects writes. With `WRITEBACK`.
        const WRITEBACK_CACHE = 1 << 16;
        /// ENOSYS to an open means that none is needed. With `STATELESS_FILES`.
        const NO_OPEN_SUPPORT = 1 << 17;
        /// Several lookups and listings of one directory at once. Always.
        const PARALLEL_DIROPS = 1 << 18;
        /// The file system always clears setuid and setgid. Never: `HANDLE_KILLPRIV_V2` tells when.
        const HANDLE_KILLPRIV = 1 << 19;
        /// The kernel checks ACLs, and with them all permissions. With `ACLS`.
        const POSIX_ACL = 1 << 20;
        /// The device says so when the connection was aborted. Never: nobody would do anything else.
        const ABORT_ERROR = 1 << 21;
        /// The pages of a request are agreed on. Always.
        const MAX_PAGES = 1 << 22;
        /// The kernel keeps targets of links. With `CACHE_SYMLINKS`.
        const CACHE_SYMLINKS = 1 << 23;
        /// The same for directories. With `STATELESS_DIRECTORIES`.
        const NO_OPENDIR_SUPPORT = 1 << 24;
        /// Only notices drop cached contents. With `EXPLICIT_INVALIDATION`.
        const EXPLICIT_INVAL_DATA = 1 << 25;
        /// For the mappings of virtiofs. Never.
        const MAP_ALIGNMENT = 1 << 26;
        /// For the submounts of virtiofs. Never.
        const SUBMOUNTS = 1 << 27;
        /// The file system clears setuid and setgid when told. With `KILL_PRIVILEGES`.
        const HANDLE_KILLPRIV_V2 = 1 << 28;
        /// `fuse_setxattr_in` has flags of its own. With `XATTRS`.
        const SETXATTR_EXT = 1 << 29;
        /// INIT has the upper half of these bits. Always.
        const INIT_EXT = 1 << 30;
        /// New nodes come with a security context. With `SECURITY_CONTEXT`.
        const SECURITY_CTX = 1 << 32;
        /// For the mappings of virtiofs. Never.
        const HAS_INODE_DAX = 1 << 33;
        /// New nodes come with the caller's group that applies. With `CREATE_GROUP`.
        const CREATE_SUPP_GROUP = 1 << 34;
        /// The kernel knows a notice that a name has expired. Always.
        const HAS_EXPIRE_ONLY = 1 << 35;
        /// Files opened for direct I/O can be mapped. With `DIRECT_MMAP`.
        const DIRECT_IO_ALLOW_MMAP = 1 << 36;
        /// Files can have a backing file. If the transport offers it, and not with `WRITEBACK`.
        const PASSTHROUGH = 1 << 37;
        /// There are no file handles that outlive the cache. Unless `EXPORT`.
        const NO_EXPORT_SUPPORT = 1 << 38;
        /// The kernel knows a notice to send requests again. Always.
        const HAS_RESEND = 1 << 39;
        /// The mount may be id-mapped. With `IDMAP`, where the kernel checks permissions.
        const ALLOW_IDMAP = 1 << 40;
        /// Requests come over io_uring. If the transport offers it.
        const OVER_IO_URING = 1 << 41;
        /// The kernel ends a connection that leaves requests unanswered. If it is wanted.
        const REQUEST_TIMEOUT = 1 << 42;
    }
}

/// What a volume and its mount want of the kernel.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What the file system claims.
    pub capabilities: Capabilities,
    /// The volume's limits.
    pub limits: Limits,
    /// Bytes in a page of this machine, in which the kernel counts.
    pub page_bytes: u32,
    /// The transport is ready for io_uring.
    pub offer_uring: bool,
    /// The transport can register backing files.
    pub offer_passthrough: bool,
    /// The mount has the option `default_permissions`.
    pub default_permissions: bool,
    /// Bytes that the kernel is to read ahead at the most; `None` leaves it to the kernel, as far as a payload goes. It
    /// never reads further ahead than it offers.
    pub read_ahead: Option<u32>,
    /// Seconds after which the kernel ends the whole mount if a request is still unanswered; 0 for never.
    pub request_timeout_s: u16,
}

impl Wanted {
    /// The plain case: pages of 4 KiB, and nothing that needs the transport's help.
    pub fn new(capabilities: Capabilities, limits: Limits) -> Wanted {
        Wanted {
            capabilities,
            limits,
            page_bytes: 4096,
            offer_uring: false,
            offer_passthrough: false,
            default_permissions: false,
            read_ahead: None,
            request_timeout_s: 0,
        }
    }

    /// The flags to agree on, of those that the kernel offers.
    fn flags(&self, offered: InitFlags) -> InitFlags {
        use Capabilities as C;
        use InitFlags as I;
        let always = I::ASYNC_READ
            | I::BIG_WRITES
            | I::ASYNC_DIO
            | I::PARALLEL_DIROPS
            | I::MAX_PAGES
            | I::INIT_EXT
            | I::HAS_EXPIRE_ONLY
            | I::HAS_RESEND;
        let claimed = [
            (C::POSIX_LOCKS, I::POSIX_LOCKS),
            (C::FLOCK, I::FLOCK_LOCKS),
            (C::TRUNCATE_ON_OPEN, I::ATOMIC_O_TRUNC),
            (C::EXPORT, I::EXPORT_SUPPORT),
            (C::UMASK, I::DONT_MASK),
            (C::IOCTL, I::HAS_IOCTL_DIR),
            (C::EXPLICIT_INVALIDATION, I::EXPLICIT_INVAL_DATA),
            (C::LIST_ENTRIES, I::DO_READDIRPLUS.union(I::READDIRPLUS_AUTO)),
            (C::WRITEBACK, I::WRITEBACK_CACHE),
            (C::STATELESS_FILES, I::NO_OPEN_SUPPORT),
            (C::STATELESS_DIRECTORIES, I::NO_OPENDIR_SUPPORT),
            (C::ACLS, I::POSIX_ACL),
            (C::CACHE_SYMLINKS, I::CACHE_SYMLINKS),
            (C::KILL_PRIVILEGES, I::HANDLE_KILLPRIV_V2),
            (C::XATTRS, I::SETXATTR_EXT),
            (C::SECURITY_CONTEXT, I::SECURITY_CTX),
            (C::CREATE_GROUP, I::CREATE_SUPP_GROUP),
            (C::DIRECT_MMAP, I::DIRECT_IO_ALLOW_MMAP),
            (C::IDMAP, I::ALLOW_IDMAP),
        ];
        let has = |capability| self.capabilities.contains(capability);
        let mut flags = always;
        claimed.into_iter().for_each(|(capability, flag)| flags.set(flag, has(capability)));
        flags.set(I::AUTO_INVAL_DATA, !has(C::EXPLICIT_INVALIDATION));
        // A handle that dies with the kernel's cache is worse than none.
        flags.set(I::NO_EXPORT_SUPPORT, !has(C::EXPORT));
        // The kernel takes no passthrough beside its own cache of writes.
        flags.set(I::PASSTHROUGH, self.offer_passthrough && !has(C::WRITEBACK));
        flags.set(I::OVER_IO_URING, self.offer_uring);
        flags.set(I::REQUEST_TIMEOUT, self.request_timeout_s > 0);
        flags &= offered;
        if !(self.default_permissions || flags.contains(I::POSIX_ACL)) {
            // The kernel ends the connection otherwise: it maps ids only where it checks permissions itself.
            flags.remove(I::ALLOW_IDMAP);
        }
        flags
    }
}

/// What both sides agreed on.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The minor version that is spoken.
    pub minor: u32,
    /// The bits that are in force.
    pub flags: InitFlags,
    /// Bytes in the largest write.
    pub max_write: u32,
    /// Bytes in the largest payload, either way: a write, a read, an extended attribute.
    pub payload_bytes: u32,
    /// Bytes that the kernel reads ahead at the most.
    pub read_ahead: u32,
    /// Requests may come over io_uring.
    pub uring: bool,
    /// Files may be opened with a backing file that the kernel reads and writes itself.
    pub passthrough: bool,
}

impl Terms {
    /// Bytes that a read(2) of the device needs room for: the largest request, headers and names included.
    pub fn request_bytes_max(&self) -> usize {
        /// Header, the largest struct, two names and their extensions.
        const HEAD_BYTES_MAX: usize = 8192;
        HEAD_BYTES_MAX + self.payload_bytes as usize
    }
}

/// The answer to INIT, after the header.
#[derive(Clone, Debug)]
pub struct InitReply {
    bytes: [u8; size_of::<InitOut>()],
    len: usize,
    is_final: bool,
}

impl InitReply {
    /// The bytes: `struct fuse_init_out`, as long as this kernel knows it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// False if the kernel speaks a later major version: it is going to send another INIT with ours.
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    fn new(out: &InitOut, len: usize, is_final: bool) -> InitReply {
        let mut reply = InitReply { bytes: [0; size_of::<InitOut>()], len, is_final };
        reply.bytes.copy_from_slice(out.as_bytes());
        reply
    }
}

/// Reads INIT and decides. The answer is to be sent before any other request is read.
///
/// # Errors
/// The number to answer with, if this kernel and we have no language in common.
pub fn negotiate(head: &[u8], wanted: &Wanted) -> Result<(Terms, InitReply), Errno> {
    let opcode = header(head).ok_or(MALFORMED)?.opcode;
    if opcode != Ok(Opcode::Init) {
        return Err(MALFORMED);
    }
    let offer = read(head.get(IN_HEADER_BYTES..).unwrap_or_default())?;
    if offer.major > MAJOR {
        let out = InitOut { major: MAJOR, minor: MINOR, ..InitOut::default() };
        return Ok((
            terms(MINOR, InitFlags::empty(), 0, wanted),
            InitReply::new(&out, SHORT_OUT_BYTES, false),
        ));
    }
    if offer.major < MAJOR || offer.minor < MINOR_MIN {
        return Err(no_common_language());
    }
    let terms = terms(offer.minor.min(MINOR), wanted.flags(offer.flags), offer.max_readahead, wanted);
    let pages = pages(terms.flags, wanted);
    let background_max = wanted.limits.background_max;
    let out = InitOut {
        major: MAJOR,
        minor: terms.minor,
        max_readahead: terms.read_ahead,
        flags: terms.flags.bits() as u32,
        max_background: background_max,
        congestion_threshold: background_max - background_max / 4,
        max_write: terms.max_write,
        time_gran: 1,
        max_pages: if terms.flags.contains(InitFlags::MAX_PAGES) { pages } else { 0 },
        flags2: (terms.flags.bits() >> 32) as u32,
        max_stack_depth: terms.passthrough.into(),
        request_timeout: if terms.flags.contains(InitFlags::REQUEST_TIMEOUT) {
            wanted.request_timeout_s
        } else {
            0
        },
        ..InitOut::default()
    };
    let len = if terms.minor < 23 { SHORT_OUT_BYTES } else { size_of::<InitOut>() };
    Ok((terms, InitReply::new(&out, len, true)))
}

struct Offer {
    major: u32,
    minor: u32,
    max_readahead: u32,
    flags: InitFlags,
}

/// Kernels before minor version 36 send sixteen bytes; a later major version may send fewer that we know.
fn read(body: &[u8]) -> Result<Offer, Errno> {
    let ([major, minor], _) = <[u32; 2]>::read_from_prefix(body).map_err(|_| MALFORMED)?;
    if major != MAJOR {
        return Ok(Offer { major, minor, max_readahead: 0, flags: InitFlags::empty() });
    }
    let mut raw = InitIn::default();
    let given = body.len().min(size_of::<InitIn>());
    if given < SHORT_IN_BYTES {
        return Err(MALFORMED);
    }
    raw.as_mut_bytes()[..given].copy_from_slice(&body[..given]);
    let low = InitFlags::from_bits_truncate(raw.flags.into());
    let high = InitFlags::from_bits_truncate(u64::from(raw.flags2) << 32);
    let flags = if low.contains(InitFlags::INIT_EXT) { low | high } else { low };
    Ok(Offer { major, minor, max_readahead: raw.max_readahead, flags })
}

fn terms(minor: u32, flags: InitFlags, read_ahead_max: u32, wanted: &Wanted) -> Terms {
    let pages_bytes = u32::from(pages(flags, wanted)).saturating_mul(page_bytes(wanted));
    let payload_bytes = pages_bytes.max(XATTR_BYTES_MAX);
    Terms {
        minor,
        flags,
        max_write: pages_bytes,
        payload_bytes,
        read_ahead: wanted.read_ahead.unwrap_or(payload_bytes).min(read_ahead_max),
        uring: flags.contains(InitFlags::OVER_IO_URING),
        passthrough: flags.contains(InitFlags::PASSTHROUGH),
    }
}

fn page_bytes(wanted: &Wanted) -> u32 {
    wanted.page_bytes.max(4096)
}

/// Whole pages in a payload of the size that the volume allows, at least one.
fn pages(flags: InitFlags, wanted: &Wanted) -> u16 {
    let allowed = (wanted.limits.payload_bytes_max / page_bytes(wanted)).max(1);
    let allowed = u16::try_from(allowed).unwrap_or(u16::MAX);
    if flags.contains(InitFlags::MAX_PAGES) { allowed } else { allowed.min(DEFAULT_PAGES) }
}

fn no_common_language() -> Errno {
    const EPROTO: i32 = 71;
    Errno::new(EPROTO).unwrap_or(Errno::EIO)
}
