//! Mounting by the kernel's own calls, for those who may: root, in its namespace.
//!
//! By `fsopen` and its family and not by `mount(2)`: values need no escaping, the connection exists before
//! anybody can see it, and only the last step depends on the mount point.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::mount::{self, FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};

use super::options::{Access, Atime, Options};
use super::point::Point;
use super::table::{self, Entry};
use super::{Error, device_error};
use crate::device;

/// A file system context, with a connection in it as soon as [`Self::create`] ran.
pub(super) struct Context {
    context: OwnedFd,
    pub(super) device: Arc<OwnedFd>,
    pub(super) sync_init: bool,
}

impl Context {
    /// `None`: this process may not mount by itself, or its kernel (before 5.2) has not these calls.
    pub(super) fn new(options: &Options, point: &Point) -> Result<Option<Context>, Error> {
        let context = match mount::fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(context) => context,
            Err(Errno::PERM | Errno::NOSYS) => return Ok(None),
            Err(Errno::NODEV) => return Err(Error::NoDevice),
            Err(cause) => return Err(refused("opening a file system context", cause)),
        };
        let device = device::open().map_err(device_error)?;
        let this = Context { context, device: Arc::new(device), sync_init: false };
        this.configure(options, point)?;
        if options.sync_init {
            let sync_init = device::request_sync_init(this.device.as_fd())
                .map_err(|cause| Error::Kernel { doing: "asking for INIT", cause, why: String::new() })?;
            if sync_init {
                return Ok(Some(Context { sync_init, ..this }));
            }
        }
        this.create()?;
        Ok(Some(this))
    }

    fn configure(&self, options: &Options, point: &Point) -> Result<(), Error> {
        let set = |key: &'static str, value: &OsStr| {
            mount::fsconfig_set_string(&self.context, key, value)
                .map_err(|cause| self.refused_option(key, cause))
        };
        let flag = |key: &'static str, wanted: bool| {
            let done = if wanted { mount::fsconfig_set_flag(&self.context, key) } else { Ok(()) };
            done.map_err(|cause| self.refused_option(key, cause))
        };
        set("source", options.source())?;
        set("subtype", options.subtype().as_ref())?;
        set("fd", self.device.as_raw_fd().to_string().as_ref())?;
        set("rootmode", format!("{:o}", point.file_type.as_raw_mode()).as_ref())?;
        set("user_id", rustix::process::getuid().as_raw().to_string().as_ref())?;
        set("group_id", rustix::process::getgid().as_raw().to_string().as_ref())?;
        if let Some(bytes) = options.max_read_bytes {
            set("max_read", bytes.to_string().as_ref())?;
        }
        flag("allow_other", options.allow_other())?;
        flag("default_permissions", options.default_permissions)?;
        flag("ro", options.access == Access::Read)
    }

    /// Makes the connection: the device can be read from now on. With a synchronous INIT this returns when it
    /// has been answered, and fails if the answer was no.
    fn create(&self) -> Result<(), Error> {
        mount::fsconfig_create(&self.context).map_err(|cause| match cause {
            // What the kernel makes of a refused INIT, and of a device that was closed meanwhile.
            Errno::NOTCONN | Errno::CONNREFUSED | Errno::CONNABORTED if self.sync_init => {
                Error::InitFailed { cause: cause.into() }
            }
            _ => self.refused("creating the connection", cause),
        })
    }

    /// Puts the file system where everybody sees it. If this fails, the connection ends with the context,
    /// and whoever reads the device is told so (ENODEV).
    pub(super) fn mount(self, options: &Options, point: &Point) -> Result<Entry, Error> {
        if self.sync_init {
            self.create()?;
        }
        let place = mount::fsmount(&self.context, FsMountFlags::FSMOUNT_CLOEXEC, attributes(options))
            .map_err(|cause| self.refused("making a mount", cause))?;
        let id = mount_id(&place)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        mount::move_mount(&place, "", &point.place, "", flags).map_err(|cause| match cause {
            // Unlinked since it was looked at.
            Errno::NOENT => Error::PointMissing { point: point.path.clone() },
            _ => self.refused("putting the mount in its place", cause),
        })?;
        let mut table = table::read()?;
        let found = table.iter().position(|entry| entry.id == id);
        found.map(|at| table.swap_remove(at)).ok_or_else(|| Error::NotMounted { point: point.path.clone() })
    }

    /// The error of a step, with what the context has to say about it.
    fn refused(&self, doing: &'static str, cause: Errno) -> Error {
        let mut words = [0; 1024];
        let mut said = Vec::new();
        // One read gives one message, `e fuse: …`; the last one is an error (ENODATA).
        while let Ok(count @ 1..) = rustix::io::read(&self.context, &mut words) {
            let text = String::from_utf8_lossy(&words[..count]);
            said.push(text.split_once(' ').map_or(&*text, |(_, message)| message).trim_end().to_owned());
        }
        Error::Kernel { doing, cause: cause.into(), why: said.join("; ") }
    }

    fn refused_option(&self, key: &str, cause: Errno) -> Error {
        match self.refused("setting an option", cause) {
            Error::Kernel { doing, cause, why } if why.is_empty() => {
                Error::Kernel { doing, cause, why: key.to_owned() }
            }
            error => error,
        }
    }
}

fn refused(doing: &'static str, cause: Errno) -> Error {
    Error::Kernel { doing, cause: cause.into(), why: String::new() }
}

fn attributes(options: &Options) -> MountAttrFlags {
    let mut flags = match options.atime {
        Atime::Relative => MountAttrFlags::MOUNT_ATTR_RELATIME,
        Atime::Never => MountAttrFlags::MOUNT_ATTR_NOATIME,
    };
    flags.set(MountAttrFlags::MOUNT_ATTR_RDONLY, options.access == Access::Read);
    flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, !options.exec);
    flags.set(MountAttrFlags::MOUNT_ATTR_NOSUID, !options.suid);
    flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, !options.dev);
    flags
}

/// The table's number of the mount that this descriptor is the root of. No `stat`: that would ask the server.
fn mount_id(place: &OwnedFd) -> Result<u64, Error> {
    let path = PathBuf::from(format!("/proc/self/fdinfo/{}", place.as_raw_fd()));
    let text = std::fs::read_to_string(&path);
    let found = text.and_then(|text| {
        let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        id.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    });
    found.map_err(|cause| Error::NoProc { path, cause })
}
