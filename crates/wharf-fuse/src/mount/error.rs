//! What can go wrong with a mount, each in one sentence that ends with the way out.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::release::Holder;

/// Why a mount could not be made, found or taken away.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A driver's name that cannot stand in a mount's type.
    BadDriver {
        /// The name.
        driver: String,
    },
    /// A source that cannot stand in the table of mounts.
    BadSource {
        /// The text.
        source: OsString,
    },
    /// Something only root may ask for.
    RootOnly {
        /// The option, as `mount(8)` calls it.
        option: &'static str,
    },
    /// Nothing is there to mount on.
    PointMissing {
        /// Where.
        point: PathBuf,
    },
    /// Neither a directory nor a file.
    PointKind {
        /// Where.
        point: PathBuf,
    },
    /// The mount point cannot be looked at.
    PointUnreachable {
        /// Where.
        point: PathBuf,
        /// What the kernel says.
        cause: io::Error,
    },
    /// A mount whose server is gone still lies there.
    PointDead {
        /// Where.
        point: PathBuf,
    },
    /// Another FUSE mount lies there and does not answer.
    PointSilent {
        /// Where.
        point: PathBuf,
    },
    /// A Wharf mount is there already.
    AlreadyMounted {
        /// Where.
        point: PathBuf,
        /// What it shows.
        source: OsString,
    },
    /// The kernel has no FUSE, or nobody made its device.
    NoDevice,
    /// The device is there but not for this user.
    DeviceDenied,
    /// This user may not mount there.
    PointDenied {
        /// Where.
        point: PathBuf,
        /// What the helper says.
        why: String,
    },
    /// A user asked for a mount that others may use, and the machine's owner has not agreed to that.
    AllowDenied,
    /// The program that mounts for users is not installed.
    NoHelper,
    /// `fusermount3` refused for another reason.
    Helper {
        /// What it says.
        why: String,
    },
    /// The kernel refused.
    Kernel {
        /// In which step.
        doing: &'static str,
        /// With which error.
        cause: io::Error,
        /// What the file system said about it, if anything.
        why: String,
    },
    /// INIT was not answered as the kernel wants it.
    InitFailed {
        /// With which error mounting ended.
        cause: io::Error,
    },
    /// No Wharf mount is there.
    NotMounted {
        /// Where.
        point: PathBuf,
    },
    /// Another mount lies on top.
    Covered {
        /// Where.
        point: PathBuf,
    },
    /// It belongs to somebody else.
    NotYours {
        /// Where.
        point: PathBuf,
        /// Whose it is.
        owner_uid: u32,
    },
    /// Somebody still uses it.
    Busy {
        /// Where.
        point: PathBuf,
        /// Some of those who do, as far as could be learnt.
        holders: Vec<Holder>,
    },
    /// The kernel's switches for connections are not to be had.
    NoControl {
        /// What the kernel says.
        cause: io::Error,
    },
    /// The process that frees the mount point after a crash could not be started.
    NoWatcher {
        /// Why.
        cause: io::Error,
    },
    /// `/proc` is missing or broken.
    NoProc {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        cause: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BadDriver { driver } => write!(
                to,
                "{driver:?} cannot name a driver; use 1 to 64 letters, digits, dashes, dots or underscores"
            ),
            Error::BadSource { source } => {
                write!(to, "{source:?} cannot name a source; it must not be empty or hold control characters")
            }
            Error::RootOnly { option } => {
                write!(to, "only root may mount with `{option}`; leave it out or mount as root")
            }
            Error::PointMissing { point } => {
                write!(to, "{0} does not exist; create it with: mkdir -p {0}", point.display())
            }
            Error::PointKind { point } => {
                write!(
                    to,
                    "{} is neither a directory nor a file; choose another mount point",
                    point.display()
                )
            }
            Error::PointUnreachable { point, cause } => {
                write!(to, "{} cannot be reached ({cause}); choose another mount point", point.display())
            }
            Error::PointDead { point } => write!(
                to,
                "{0} is a mount whose server is gone; free it with: wharf unmount --lazy {0} (or fusermount3 -uz {0})",
                point.display()
            ),
            Error::PointSilent { point } => write!(
                to,
                "{0} is a FUSE mount that does not answer; free it with: fusermount3 -uz {0}",
                point.display()
            ),
            Error::AlreadyMounted { point, source } => write!(
                to,
                "{0} is already a mount of {1}; unmount it with: wharf unmount {0}",
                point.display(),
                source.display()
            ),
            Error::NoDevice => write!(to, "the kernel offers no /dev/fuse; load it with: modprobe fuse"),
            Error::DeviceDenied => {
                write!(to, "this user may not open /dev/fuse; let root allow it with: chmod 0666 /dev/fuse")
            }
            Error::PointDenied { point, why } => write!(
                to,
                "this user may not mount on {} ({why}); choose a directory of your own or mount as root",
                point.display()
            ),
            Error::AllowDenied => write!(
                to,
                "users may not open their mounts to others here; let root add the line `user_allow_other` to /etc/fuse.conf"
            ),
            Error::NoHelper => {
                write!(to, "mounting as a user needs fusermount3; install it with: apt install fuse3")
            }
            Error::Helper { why } => {
                write!(to, "fusermount3 refused ({why}); see its manual, or mount as root")
            }
            Error::Kernel { doing, cause, why } if why.is_empty() => {
                write!(to, "the kernel refused when {doing} ({cause}); its log may say more: dmesg")
            }
            Error::Kernel { doing, cause, why } => {
                write!(to, "the kernel refused when {doing} ({cause}: {why}); its log may say more: dmesg")
            }
            Error::InitFailed { cause } => write!(
                to,
                "the file system and the kernel did not agree on a protocol ({cause}); the host's log says why"
            ),
            Error::NotMounted { point } => {
                write!(to, "{} is no Wharf mount; see those there are with: wharf list", point.display())
            }
            Error::Covered { point } => {
                write!(
                    to,
                    "another mount lies over {0}; first take that away with: umount {0}",
                    point.display()
                )
            }
            Error::NotYours { point, owner_uid } => write!(
                to,
                "{} was mounted by user {owner_uid}; unmount it as that user or as root",
                point.display()
            ),
            Error::Busy { point, holders } => {
                write!(to, "{} is busy", point.display())?;
                for (count, holder) in holders.iter().enumerate() {
                    write!(to, "{}{holder}", if count == 0 { ": used by " } else { ", " })?;
                }
                write!(
                    to,
                    "; try again when it is free, or detach it with: wharf unmount --lazy {}",
                    point.display()
                )
            }
            Error::NoControl { cause } => write!(
                to,
                "the kernel's switches for FUSE connections are out of reach ({cause}); \
                 let root mount them with: mount -t fusectl none /sys/fs/fuse/connections"
            ),
            Error::NoWatcher { cause } => {
                write!(to, "the watcher for automatic unmounting did not start ({cause}); mount without it")
            }
            Error::NoProc { path, cause } => {
                write!(
                    to,
                    "{} cannot be read ({cause}); mount it with: mount -t proc proc /proc",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::PointUnreachable { cause, .. }
            | Error::Kernel { cause, .. }
            | Error::InitFailed { cause }
            | Error::NoControl { cause }
            | Error::NoWatcher { cause }
            | Error::NoProc { cause, .. } => Some(cause),
            Error::BadDriver { .. }
            | Error::BadSource { .. }
            | Error::RootOnly { .. }
            | Error::PointMissing { .. }
            | Error::PointKind { .. }
            | Error::PointDead { .. }
            | Error::PointSilent { .. }
            | Error::AlreadyMounted { .. }
            | Error::NoDevice
            | Error::DeviceDenied
            | Error::PointDenied { .. }
            | Error::AllowDenied
            | Error::NoHelper
            | Error::Helper { .. }
            | Error::NotMounted { .. }
            | Error::Covered { .. }
            | Error::NotYours { .. }
            | Error::Busy { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_one_sentence_with_a_way_out() {
        let point = || PathBuf::from("/mnt/x");
        let cause = || io::Error::from_raw_os_error(5);
        let holders = vec![
            Holder::Process { pid: 7, name: "vim".into() },
            Holder::Mount { point: "/mnt/x/below".into() },
        ];
        let errors = [
            Error::BadDriver { driver: "a,b".into() },
            Error::BadSource { source: "a\nb".into() },
            Error::RootOnly { option: "suid" },
            Error::PointMissing { point: point() },
            Error::PointKind { point: point() },
            Error::PointUnreachable { point: point(), cause: cause() },
            Error::PointDead { point: point() },
            Error::PointSilent { point: point() },
            Error::AlreadyMounted { point: point(), source: "zip:a".into() },
            Error::NoDevice,
            Error::DeviceDenied,
            Error::PointDenied { point: point(), why: "not owned by user".into() },
            Error::AllowDenied,
            Error::NoHelper,
            Error::Helper { why: "because".into() },
            Error::Kernel { doing: "attaching", cause: cause(), why: String::new() },
            Error::Kernel { doing: "attaching", cause: cause(), why: "fuse: bad".into() },
            Error::InitFailed { cause: cause() },
            Error::NotMounted { point: point() },
            Error::Covered { point: point() },
            Error::NotYours { point: point(), owner_uid: 1000 },
            Error::Busy { point: point(), holders: Vec::new() },
            Error::Busy { point: point(), holders },
            Error::NoControl { cause: cause() },
            Error::NoWatcher { cause: cause() },
            Error::NoProc { path: "/proc/self/mountinfo".into(), cause: cause() },
        ];
        for error in errors {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.ends_with('.'), "one sentence: {text}");
            assert!(text.contains("; "), "a way out: {text}");
        }
    }

    #[test]
    fn a_busy_mount_names_who_holds_it() {
        let holders =
            vec![Holder::Process { pid: 7, name: "vim".into() }, Holder::Mount { point: "/m/below".into() }];
        let text = Error::Busy { point: "/m".into(), holders }.to_string();
        assert!(text.starts_with("/m is busy: used by vim (7), a mount on /m/below; "), "{text}");
    }
}
