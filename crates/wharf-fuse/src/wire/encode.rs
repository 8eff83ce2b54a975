//! From an answer to its bytes: a fixed part made here, and the payload that is in place already.

use std::time::Duration;

use wharf::session::{EntryReply, OpenReply, Reply};
use wharf::{Attributes, Cache, Extended, IoctlDone, Statfs, Time, op};
use zerocopy::{Immutable, IntoBytes};

use super::abi::{
    Attr, AttrOut, BmapOut, CopyFileRangeOut, CreateOut, EntryOut, FileLock, GetxattrOut, IoctlOut, Kstatfs,
    LseekOut, OpenOut, PollOut, Statx, StatxOut, SxTime, WriteOut,
};
use super::decode::{F_RDLCK, F_UNLCK, F_WRLCK};
use super::{InitFlags, Terms};

/// The largest fixed part, `fuse_statx_out`.
const FIXED_BYTES_MAX: usize = size_of::<StatxOut>();

/// A lifetime of which nobody sees the end: a hundred years. More would only invite overflows elsewhere.
const LIFETIME_SECONDS_MAX: u64 = 100 * 365 * 86_400;

const FOPEN_DIRECT_IO: u32 = 1 << 0;
const FOPEN_KEEP_CACHE: u32 = 1 << 1;
const FOPEN_NONSEEKABLE: u32 = 1 << 2;
const FOPEN_CACHE_DIR: u32 = 1 << 3;
const FOPEN_STREAM: u32 = 1 << 4;
const FOPEN_NOFLUSH: u32 = 1 << 5;
const FOPEN_PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
const FOPEN_PASSTHROUGH: u32 = 1 << 7;

const STATX_BASIC_STATS: u32 = 0x7ff;
const STATX_BTIME: u32 = 0x800;

/// The bytes of an answer, after the header.
///
/// Nearly every answer has either a fixed part or payload. That of an ioctl has both, the fixed part first.
#[derive(Clone, Debug)]
pub struct Encoded {
    fixed: [u8; FIXED_BYTES_MAX],
    fixed_bytes: usize,
    payload_bytes: usize,
}

impl Encoded {
    /// The fixed part: `struct fuse_entry_out` and the like.
    pub fn fixed(&self) -> &[u8] {
        &self.fixed[..self.fixed_bytes]
    }

    /// Bytes that follow it from the start of the payload.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Bytes of both.
    pub fn body_bytes(&self) -> usize {
        self.fixed_bytes + self.payload_bytes
    }

    fn payload(bytes: usize) -> Encoded {
        Encoded { fixed: [0; FIXED_BYTES_MAX], fixed_bytes: 0, payload_bytes: bytes }
    }

    fn fixed_part<T: IntoBytes + Immutable>(value: &T) -> Encoded {
        const { assert!(size_of::<T>() <= FIXED_BYTES_MAX) };
        let mut encoded = Encoded::payload(0);
        encoded.fixed_bytes = size_of::<T>();
        encoded.fixed[..size_of::<T>()].copy_from_slice(value.as_bytes());
        encoded
    }
}

/// Makes the bytes of an answer.
pub fn encode(reply: &Reply, terms: &Terms) -> Encoded {
    match reply {
        Reply::Nothing => Encoded::payload(0),
        Reply::Bytes(count) => Encoded::payload(*count),
        Reply::Entry(entry) => Encoded::fixed_part(&entry_out(entry)),
        Reply::Absent(lifetime) => Encoded::fixed_part(&absent(*lifetime)),
        Reply::Attributes(attributes, lifetime) => {
            let (attr_valid, attr_valid_nsec) = valid(*lifetime);
            Encoded::fixed_part(&AttrOut { attr_valid, attr_valid_nsec, dummy: 0, attr: attr(attributes) })
        }
        Reply::Extended(extended, lifetime) => Encoded::fixed_part(&statx_out(extended, *lifetime)),
        Reply::Opened(opened) => Encoded::fixed_part(&open_out(opened, terms)),
        Reply::Created(entry, opened) => {
            Encoded::fixed_part(&CreateOut { entry: entry_out(entry), open: open_out(opened, terms) })
        }
        Reply::Written(count) => {
            Encoded::fixed_part(&WriteOut { size: saturated(*count as u64), padding: 0 })
        }
        Reply::Copied(count, false) => Encoded::fixed_part(&WriteOut { size: saturated(*count), padding: 0 }),
        Reply::Copied(count, true) => Encoded::fixed_part(&CopyFileRangeOut { bytes_copied: *count }),
        Reply::Statfs(statfs) => Encoded::fixed_part(&kstatfs(statfs)),
        Reply::Length(count) => {
            Encoded::fixed_part(&GetxattrOut { size: saturated(*count as u64), padding: 0 })
        }
        Reply::Lock(found) => Encoded::fixed_part(&file_lock(found.as_ref())),
        Reply::Offset(offset) => Encoded::fixed_part(&LseekOut { offset: *offset }),
        Reply::Block(block) => Encoded::fixed_part(&BmapOut { block: *block }),
        Reply::Ioctl(IoctlDone { result, bytes }) => {
            let out = IoctlOut { result: *result, ..IoctlOut::default() };
            Encoded { payload_bytes: *bytes, ..Encoded::fixed_part(&out) }
        }
        Reply::Events(events) => Encoded::fixed_part(&PollOut { revents: *events, padding: 0 }),
    }
}

/// Node ids are not used twice within a mount, so the generation has nothing to tell.
pub(super) fn entry_out(entry: &EntryReply) -> EntryOut {
    let (entry_valid, entry_valid_nsec) = valid(entry.entry_lifetime);
    let (attr_valid, attr_valid_nsec) = valid(entry.attributes_lifetime);
    EntryOut {
        nodeid: entry.node.get(),
        generation: 0,
        entry_valid,
        attr_valid,
        entry_valid_nsec,
        attr_valid_nsec,
        attr: attr(&entry.attributes),
    }
}

/// Node 0 is "no such name", which can be remembered, where an error cannot.
fn absent(lifetime: Duration) -> EntryOut {
    let (entry_valid, entry_valid_nsec) = valid(lifetime);
    EntryOut { entry_valid, entry_valid_nsec, ..EntryOut::default() }
}

fn attr(attributes: &Attributes) -> Attr {
    let Attributes { accessed, modified, changed, .. } = attributes;
    Attr {
        ino: attributes.inode,
        size: attributes.size,
        blocks: attributes.blocks,
        atime: accessed.seconds.cast_unsigned(),
        mtime: modified.seconds.cast_unsigned(),
        ctime: changed.seconds.cast_unsigned(),
        atimensec: accessed.nanoseconds,
        mtimensec: modified.nanoseconds,
        ctimensec: changed.nanoseconds,
        mode: attributes.mode(),
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: attributes.device,
        blksize: attributes.block_size,
        flags: 0,
    }
}

fn statx_out(extended: &Extended, lifetime: Duration) -> StatxOut {
    let Extended { attributes, flags, flags_known } = extended;
    let (attr_valid, attr_valid_nsec) = valid(lifetime);
    let born = if attributes.born.is_some() { STATX_BTIME } else { 0 };
    let stat = Statx {
        mask: STATX_BASIC_STATS | born,
        blksize: attributes.block_size,
        attributes: *flags,
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        // All bits that a mode has fit into 16.
        mode: attributes.mode() as u16,
        ino: attributes.inode,
        size: attributes.size,
        blocks: attributes.blocks,
        attributes_mask: *flags_known,
        atime: sx_time(attributes.accessed),
        btime: sx_time(attributes.born.unwrap_or_default()),
        ctime: sx_time(attributes.changed),
        mtime: sx_time(attributes.modified),
        rdev_major: (attributes.device >> 8) & 0xfff,
        rdev_minor: (attributes.device & 0xff) | ((attributes.device >> 12) & 0xf_ff00),
        ..Statx::default()
    };
    StatxOut { attr_valid, attr_valid_nsec, flags: 0, spare: [0; 2], stat }
}

fn sx_time(time: Time) -> SxTime {
    SxTime { tv_sec: time.seconds, tv_nsec: time.nanoseconds, __reserved: 0 }
}

fn open_out(opened: &OpenReply, terms: &Terms) -> OpenOut {
    // The kernel gives up the POSIX locks of a closed descriptor in `flush` and nowhere else.
    let no_flush = opened.no_flush && !terms.flags.contains(InitFlags::POSIX_LOCKS);
    let backing = opened.backing.filter(|_| terms.passthrough);
    let flags = [
        (no_flush && !opened.directory, FOPEN_NOFLUSH),
        (opened.parallel_direct_writes, FOPEN_PARALLEL_DIRECT_WRITES),
        (opened.cache == Cache::Direct && !opened.directory, FOPEN_DIRECT_IO),
        (backing.is_some(), FOPEN_PASSTHROUGH),
        // With passthrough the kernel refuses any but the flags above.
        (backing.is_none() && opened.cache == Cache::Keep, FOPEN_KEEP_CACHE),
        (backing.is_none() && opened.cache == Cache::Keep && opened.directory, FOPEN_CACHE_DIR),
        // Kernels that do not know streams know files without seeking.
        (backing.is_none() && opened.stream, FOPEN_STREAM | FOPEN_NONSEEKABLE),
    ];
    OpenOut {
        fh: opened.handle.0,
        open_flags: flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag),
        backing_id: backing.map_or(0, |id| id.0.cast_signed()),
    }
}

fn kstatfs(statfs: &Statfs) -> Kstatfs {
    Kstatfs {
        blocks: statfs.blocks,
        bfree: statfs.blocks_free,
        bavail: statfs.blocks_available,
        files: statfs.files,
        ffree: statfs.files_free,
        bsize: statfs.block_size,
        namelen: statfs.name_bytes_max,
        frsize: statfs.block_size,
        ..Kstatfs::default()
    }
}

/// No lock in the way is one of the type "unlock". The kernel fails on ends that are none.
fn file_lock(found: Option<&op::Lock>) -> FileLock {
    const POSITION_MAX: u64 = i64::MAX as u64;
    let Some(lock) = found else { return FileLock { r#type: F_UNLCK, ..FileLock::default() } };
    let start = lock.range.start.min(POSITION_MAX);
    FileLock {
        start,
        end: lock.range.end.saturating_sub(1).clamp(start, POSITION_MAX),
        r#type: match lock.kind {
            op::LockKind::Shared => F_RDLCK,
            op::LockKind::Exclusive => F_WRLCK,
            op::LockKind::Unlock => F_UNLCK,
        },
        pid: lock.pid,
    }
}

/// A lifetime as seconds and nanoseconds.
fn valid(lifetime: Duration) -> (u64, u32) {
    let lifetime = lifetime.min(Duration::from_secs(LIFETIME_SECONDS_MAX));
    (lifetime.as_secs(), lifetime.subsec_nanos())
}

fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
