//! What nodes are like: reading attributes and changing them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Gid, IFlags, Mode, OFlags, Statx, StatxFlags, StatxTimestamp, Timespec, Timestamps, UTIME_NOW,
    UTIME_OMIT, Uid, chmod, chownat, fstatvfs, ftruncate, ioctl_getflags, ioctl_setflags, makedev, open,
    statx, utimensat,
};
use rustix::io::Errno;
use wharf::op::{SetAttributes, SetTime};
use wharf::{Attributes, Extended, Kind, Statfs, Time};

use super::credentials::{Membership, Who};
use super::link::magic_link;
use super::node::Inode;
use super::region::RegionId;
use super::syscalls::{FsXattr, set_fsxattr};
use super::{Result, Tree};

/// `STATX_MNT_ID_UNIQUE`: the number of a mount that is never used again.
const MOUNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// What stat(2) tells of a file, together with where it is.
#[derive(Clone, Copy)]
pub(super) struct Stat(Statx);

impl Stat {
    pub(super) fn of(file: impl AsFd) -> Result<Stat> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID | MOUNT_ID_UNIQUE;
        statx(file, "", AtFlags::EMPTY_PATH | AtFlags::STATX_SYNC_AS_STAT, wanted).map(Stat)
    }

    /// # Errors
    /// For a kind of file that this program does not know.
    pub(super) fn kind(&self) -> Result<Kind> {
        Kind::from_mode(self.0.stx_mode.into()).ok_or(Errno::IO)
    }

    /// Whether the kernel told on which mount it is.
    pub(super) fn tells_mount(&self) -> bool {
        StatxFlags::from_bits_retain(self.0.stx_mask).intersects(StatxFlags::MNT_ID | MOUNT_ID_UNIQUE)
    }

    pub(super) fn permissions(&self) -> u16 {
        self.0.stx_mode & 0o7777
    }

    pub(super) fn inode(&self) -> u64 {
        self.0.stx_ino
    }

    pub(super) fn region(&self) -> RegionId {
        let device = (self.0.stx_dev_major, self.0.stx_dev_minor);
        RegionId { mount: self.0.stx_mnt_id, device }
    }

    /// Whether a write by somebody without privileges clears mode bits: setuid, or setgid where that means
    /// something.
    pub(super) fn has_privilege_bits(&self) -> bool {
        privilege_bits(self.0.stx_mode) != 0
    }

    /// As the volume tells it, with the node's own number.
    pub(super) fn attributes(&self, inode: &Inode) -> Attributes {
        let stat = &self.0;
        inode.has_size(stat.stx_size);
        let known = StatxFlags::from_bits_retain(stat.stx_mask);
        Attributes {
            inode: inode.number,
            kind: inode.kind,
            permissions: stat.stx_mode & 0o7777,
            links: stat.stx_nlink,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            // Linux has 12 bits of major and 20 of minor numbers, which fit.
            device: makedev(stat.stx_rdev_major, stat.stx_rdev_minor) as u32,
            size: stat.stx_size,
            blocks: stat.stx_blocks,
            block_size: stat.stx_blksize,
            accessed: time(stat.stx_atime),
            modified: time(stat.stx_mtime),
            changed: time(stat.stx_ctime),
            born: known.contains(StatxFlags::BTIME).then(|| time(stat.stx_btime)),
        }
    }

    /// The same with what only statx(2) tells.
    pub(super) fn extended(&self, inode: &Inode) -> Extended {
        let attributes = self.attributes(inode);
        let (flags, flags_known) = (self.0.stx_attributes.bits(), self.0.stx_attributes_mask.bits());
        Extended { attributes, flags, flags_known }
    }
}

fn time(stamp: StatxTimestamp) -> Time {
    Time { seconds: stamp.tv_sec, nanoseconds: stamp.tv_nsec }
}

/// Setuid, and setgid unless it is the mark of mandatory locking (no execution by the group).
fn privilege_bits(mode: u16) -> u16 {
    let setgid = if mode & 0o010 != 0 { 0o2000 } else { 0 };
    mode & (0o4000 | setgid)
}

impl Tree {
    pub(super) fn stat(&self, inode: &Inode) -> Result<Stat> {
        Stat::of(&*inode.descriptor()?)
    }

    /// The same, only if it can be told without waiting.
    pub(super) fn stat_at_hand(&self, inode: &Inode) -> Option<Result<Stat>> {
        let descriptor = inode.descriptor_at_hand().filter(|_| inode.region.local)?;
        Some(Stat::of(&*descriptor))
    }

    /// Changes attributes. `file` is an open file of the node, through which to set the size.
    pub(super) fn set_attributes(
        &self,
        who: &Who,
        inode: &Inode,
        file: Option<&Arc<OwnedFd>>,
        op: &SetAttributes,
    ) -> Result<Attributes> {
        self.check_writable()?;
        let node = inode.descriptor()?;
        if op.uid.is_some() || op.gid.is_some() {
            let (uid, gid) = (op.uid.map(Uid::from_raw), op.gid.map(Gid::from_raw));
            self.credentials
                .act(who, Membership::WhenRefused, || chownat(&node, "", uid, gid, AtFlags::EMPTY_PATH))?;
        }
        if let Some(permissions) = op.permissions {
            self.set_permissions(who, inode, node.as_fd(), permissions)?;
        }
        if let Some(size) = op.size {
            self.set_size(who, node.as_fd(), file, size)?;
        }
        if op.kill_privileges {
            self.kill_privileges(node.as_fd())?;
        }
        if op.accessed.is_some() || op.modified.is_some() {
            let times =
                Timestamps { last_access: timespec(op.accessed), last_modification: timespec(op.modified) };
            self.credentials
                .act(who, Membership::WhenRefused, || utimensat(&node, "", &times, AtFlags::EMPTY_PATH))?;
        }
        Ok(Stat::of(&*node)?.attributes(inode))
    }

    fn set_permissions(
        &self,
        who: &Who,
        inode: &Inode,
        node: BorrowedFd<'_>,
        permissions: u16,
    ) -> Result<()> {
        if inode.kind == Kind::Symlink {
            return Err(Errno::OPNOTSUPP);
        }
        // Without the right group a new set-group-ID bit would silently vanish.
        let membership = match permissions & 0o2000 {
            0 => Membership::WhenRefused,
            _ => Membership::Always,
        };
        let mode = Mode::from_raw_mode(permissions.into());
        self.credentials.act(who, membership, || chmod(magic_link(node), mode))
    }

    fn set_size(
        &self,
        who: &Who,
        node: BorrowedFd<'_>,
        file: Option<&Arc<OwnedFd>>,
        size: u64,
    ) -> Result<()> {
        self.credentials.act(who, Membership::WhenRefused, || match file {
            Some(file) => ftruncate(file, size),
            None => {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
                ftruncate(open(magic_link(node), flags, Mode::empty())?, size)
            }
        })
    }

    /// Clears setuid and setgid, if they are set, as a write by the caller does.
    pub(super) fn kill_privileges(&self, node: BorrowedFd<'_>) -> Result<()> {
        let mode = Stat::of(node)?.permissions();
        match privilege_bits(mode) {
            0 => Ok(()),
            bits => chmod(magic_link(node), Mode::from_raw_mode((mode & !bits).into())),
        }
    }

    /// The flags that chattr(1) shows, of something open.
    pub(super) fn inode_flags(&self, file: impl AsFd) -> Result<u32> {
        ioctl_getflags(file).map(|flags| flags.bits())
    }

    pub(super) fn set_inode_flags(&self, who: &Who, file: impl AsFd, flags: u32) -> Result<()> {
        self.check_writable()?;
        let flags = IFlags::from_bits_retain(flags);
        self.credentials.act(who, Membership::WhenRefused, || ioctl_setflags(&file, flags))
    }

    /// The same and more: extent sizes, the project whose quota counts.
    pub(super) fn set_fsxattr(&self, who: &Who, file: BorrowedFd<'_>, value: FsXattr) -> Result<()> {
        self.check_writable()?;
        self.credentials.act(who, Membership::WhenRefused, || set_fsxattr(file, value))
    }

    pub(super) fn statfs(&self, inode: &Inode) -> Result<Statfs> {
        let statfs = fstatvfs(&*inode.descriptor()?)?;
        Ok(Statfs {
            block_size: u32::try_from(statfs.f_frsize).unwrap_or(4096),
            blocks: statfs.f_blocks,
            blocks_free: statfs.f_bfree,
            blocks_available: statfs.f_bavail,
            files: statfs.f_files,
            files_free: statfs.f_ffree,
            name_bytes_max: u32::try_from(statfs.f_namemax).unwrap_or(255),
        })
    }
}

fn timespec(time: Option<SetTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(SetTime::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(SetTime::At(time)) => Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() },
    }
}
