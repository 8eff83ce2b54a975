//! Mounting by `fusermount3`, the set-uid program that does it for users and hands the device over.

use std::ffi::OsString;
use std::io::{self, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg,
    socketpair,
};

use super::options::Options;
use super::point::Point;
use super::table::{self, Entry};
use super::{Error, Mode};

const NAME: &str = "fusermount3";
/// The helper sends the device over the descriptor that this variable names.
const SOCKET_VARIABLE: &str = "_FUSE_COMMFD";

/// Lets the helper mount and takes the device from it.
pub(super) fn mount(options: &Options, point: &Point) -> Result<(OwnedFd, Entry), Error> {
    for (option, wanted) in [("suid", options.suid), ("dev", options.dev)] {
        if wanted && !rustix::process::getuid().is_root() {
            return Err(Error::RootOnly { option });
        }
    }
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|cause| failed(&cause.into()))?;
    // The socket is the helper's standard input: so it survives exec there, and nowhere else.
    let mut child = command()?
        .env(SOCKET_VARIABLE, "0")
        .arg("-o")
        .arg(options.for_helper())
        .arg("--")
        .arg(&point.path)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| failed(&cause))?;
    let device = receive(&ours);
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // What cannot be read is missing from a message and nowhere else.
        let _ = stderr.read_to_string(&mut said);
    }
    let ended = child.wait();
    match device.map_err(|cause| failed(&cause))? {
        Some(device) => {
            let table = table::read()?;
            let mine = |entry: &&Entry| entry.wharf().is_some_and(|it| it.source == options.source());
            let entry = table::topmost(&table, &point.path).filter(mine);
            Ok((device, entry.ok_or_else(|| Error::NotMounted { point: point.path.clone() })?.clone()))
        }
        None if said.trim().is_empty() => Err(Error::Helper { why: format!("silently: {ended:?}") }),
        None => Err(meaning(&said, &point.path)),
    }
}

/// Lets the helper take a mount away that this user made.
pub(super) fn unmount(point: &Path, mode: Mode) -> Result<(), Error> {
    let output = command()?
        .args(unmount_arguments(mode))
        .arg(point)
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| failed(&cause))?;
    if output.status.success() {
        return Ok(());
    }
    Err(meaning(&String::from_utf8_lossy(&output.stderr), point))
}

/// The helper's words for taking a mount away; the mount point follows them.
pub(super) fn unmount_arguments(mode: Mode) -> &'static [&'static str] {
    match mode {
        Mode::Clean => &["-u", "--"],
        Mode::Lazy => &["-u", "-z", "--"],
    }
}

/// Where the helper is, if it is.
pub(super) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = ["/bin", "/usr/bin"].map(PathBuf::from);
    let runs = |program: &PathBuf| {
        program.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path)
        .filter(|room| room.is_absolute())
        .chain(known)
        .map(|room| room.join(NAME))
        .find(runs)
}

fn command() -> Result<Command, Error> {
    let mut command = Command::new(find().ok_or(Error::NoHelper)?);
    // Its messages are told apart by their English words.
    command.env("LC_ALL", "C").current_dir("/");
    Ok(command)
}

fn failed(cause: &io::Error) -> Error {
    Error::Helper { why: format!("it did not run: {cause}") }
}

/// `None`: the helper went without sending anything.
fn receive(socket: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

/// What the helper's words mean. They are not promised, so what is not recognised is passed on.
fn meaning(said: &str, point: &Path) -> Error {
    let point = point.to_owned();
    let words = said.trim().lines().map(|line| line.trim_start_matches("fusermount3: "));
    let why = words.collect::<Vec<_>>().join("; ");
    let has = |part: &str| why.contains(part);
    if has("user_allow_other") {
        Error::AllowDenied
    } else if has("fuse device not found") {
        Error::NoDevice
    } else if has("failed to open /dev/fuse") && has("Permission denied") {
        Error::DeviceDenied
    } else if has("not owned by user")
        || has("no write access")
        || has("mounting over filesystem type")
        || (has("failed to open") && has("Permission denied"))
        || (has("failed to chdir to mountpoint") && has("Permission denied"))
    {
        Error::PointDenied { point, why }
    } else if has("failed to unmount") && has("busy") {
        Error::Busy { point, holders: Vec::new() }
    } else if has("failed to unmount") && has("Invalid argument") {
        Error::NotMounted { point }
    } else {
        Error::Helper { why }
    }
}

/// The program and its words that free `point` lazily, for a process that is not ours.
pub(super) fn lazy_unmount_words() -> Option<Vec<OsString>> {
    let program = find()?;
    Some(
        [program.into()]
            .into_iter()
            .chain(unmount_arguments(Mode::Lazy).iter().map(OsString::from))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_helper_says_becomes_an_error_with_a_way_out() {
        let of = |said: &str| {
            format!("{:?}", meaning(said, Path::new("/m"))).split([' ', '{']).next().map(str::to_owned)
        };
        for (said, kind) in [
            (
                "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf\n",
                "AllowDenied",
            ),
            ("fusermount3: fuse device not found, try 'modprobe fuse' first", "NoDevice"),
            ("fusermount3: failed to open /dev/fuse: Permission denied", "DeviceDenied"),
            ("fusermount3: mountpoint /m not owned by user", "PointDenied"),
            ("fusermount3: user has no write access to mountpoint /m", "PointDenied"),
            ("fusermount3: failed to open /m: Permission denied", "PointDenied"),
            ("fusermount3: mounting over filesystem type 0x9fa0 is forbidden", "PointDenied"),
            ("fusermount3: failed to unmount /m: Device or resource busy", "Busy"),
            ("fusermount3: failed to unmount /m: Invalid argument", "NotMounted"),
            ("fusermount3: too many FUSE filesystems mounted; mount_max=N can be set", "Helper"),
        ] {
            assert_eq!(of(said).as_deref(), Some(kind), "{said}");
        }
    }
}
