//! Frees a mount point when the host dies, however it dies.
//!
//! The watcher is a shell that holds one end of a socket; the host holds the other. When the host ends
//! the kernel closes its end, and the watcher, if the very same mount is still there and dead, turns into the
//! program that unmounts it. A host that unmounted by itself says so first.
//!
//! `fusermount3 -o auto_unmount` is not used: it runs as root, asks the mount whether it is dead, and is not
//! allowed to ask unless the mount is open to others; so for the usual mount it does nothing. A thread or
//! a fork of the host would not do either: the first dies with it, the second would keep its memory.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

use super::table::Entry;
use super::{Error, helper};

/// `$1` is how the mount's line in the table begins, `$2` its place; the rest is what unmounts it.
///
/// Somebody else may have taken the mount away before the host died, and the next one may have its place and its
/// numbers. So what is there is asked whether it is dead, which the host's own mount is from now on. A mount that
/// lives may hang, so it has ten seconds to say so; then it is let alone.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
read -r word && exit 0
mount=$1 point=$2
shift 2
while read -r id parent device rest; do
    [ "$id $device" = "$mount" ] || continue
    said=$(LC_ALL=C timeout -s KILL 10 stat -f -- "$point" 2>&1)
    case $said in
        *' not connected'|*'onnection abort'|*'onnection aborted') exec "$@" "$point" ;;
    esac
    exit 0
done < /proc/self/mountinfo
"#;

/// A process that waits for this one to end.
#[derive(Debug)]
pub(super) struct Watcher {
    line: OwnedFd,
    shell: Child,
}

impl Watcher {
    pub(super) fn start(entry: &Entry) -> Result<Watcher, Error> {
        let failed = |cause: io::Error| Error::NoWatcher { cause };
        let (line, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|cause| failed(cause.into()))?;
        let (major, minor) = entry.device;
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "wharf-watcher"])
            .arg(format!("{} {major}:{minor}", entry.id))
            .arg(&entry.point)
            .args(unmount_words())
            // Else its working directory could keep a file system busy, or a Ctrl-C meant for the host end it.
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Watcher { line, shell })
    }

    /// The mount is gone: the watcher goes too.
    pub(super) fn dismiss(mut self) {
        // If it cannot hear this it is gone already. A plain write would raise SIGPIPE then.
        let _ = send(&self.line, b"done\n", SendFlags::NOSIGNAL);
        // Without waiting for it a zombie would stay behind; there is nothing to learn from its end.
        let _ = self.shell.wait();
    }
}

/// Without the helper only root can have mounted, and root has `umount`.
fn unmount_words() -> Vec<OsString> {
    helper::lazy_unmount_words().unwrap_or_else(|| ["umount", "-l", "--"].map(OsString::from).into())
}
