//! `ssh`, which carries SFTP: it knows the user's configuration, keys, agent and known hosts, and we know none of them.
//!
//! It may ask nobody anything, trusts no key of a host that it does not know, and is nobody else's: no shared
//! connections, no forwarding. It ends with its [`Ssh`].

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use wharf::Error;
use wharf::error::Kind;

use super::super::failure::Failure;

/// Where to go, and as who.
#[derive(Debug)]
pub(in super::super) struct Target {
    pub(in super::super) host: String,
    pub(in super::super) port: Option<u16>,
    pub(in super::super) user: Option<String>,
    /// A private key, instead of those that the configuration names.
    pub(in super::super) identity: Option<PathBuf>,
    /// A configuration, instead of the user's.
    pub(in super::super) config: Option<PathBuf>,
}

/// One `ssh`.
#[derive(Debug)]
pub(super) struct Ssh(Option<Child>);

impl Drop for Ssh {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        // With what it has started for itself, to reach the host by. Its number is its own until it was waited for.
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        // It ends at once, but for what cannot be killed; nobody here waits for that.
        let _ = std::thread::Builder::new().name("wharf-ssh-end".into()).spawn(move || child.wait());
    }
}

impl Target {
    /// Starts `ssh`. What is sent and received by SFTP goes through the stream; the pipe has its complaints.
    pub(super) fn start(&self) -> io::Result<(Ssh, UnixStream, pipe::Receiver)> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let (complaints, theirs_too) = io::pipe()?;
        let mut command = self.command();
        command.stdin(OwnedFd::from(theirs.try_clone()?)).stdout(OwnedFd::from(theirs)).stderr(theirs_too);
        let child = command.spawn()?;
        let ssh = Ssh(Some(child));
        Ok((ssh, UnixStream::from_std(ours)?, pipe::Receiver::from_owned_fd(complaints.into())?))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        // No X11, no agent over there, no terminal.
        command.args(["-x", "-a", "-T"]);
        for option in [
            "BatchMode=yes",
            // Whatever the configuration says: what was not accepted by somebody is not accepted here.
            "StrictHostKeyChecking=yes",
            "ClearAllForwardings=yes",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
            // Else it might stay behind as the master of others, or end with another one.
            "ControlMaster=no",
            "ControlPath=none",
            // What has gone without a word is noticed by our deadlines first, but not after a crash of ours.
            "ServerAliveInterval=15",
            "LogLevel=ERROR",
        ] {
            command.args(["-o", option]);
        }
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        if let Some(identity) = &self.identity {
            command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(identity);
        }
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.user {
            command.args(["-l", user]);
        }
        command.args(["-s", "--", &self.host, "sftp"]);
        // Its own secrets it finds by itself.
        for secret in ["WHARF_REMOTE_USER", "WHARF_REMOTE_PASSWORD", "WHARF_REMOTE_TOKEN"] {
            command.env_remove(secret);
        }
        // Ctrl-C is for us, who have something to finish with it.
        command.process_group(0);
        command
    }

    /// What to make of its complaints, if no connection came of it.
    pub(super) fn explain(&self, doing: &'static str, complaints: &str) -> Failure {
        let says = |words: &[&str]| words.iter().any(|word| complaints.contains(word));
        let port = self.port.map(|port| format!(" -p {port}")).unwrap_or_default();
        let host = &self.host;
        let refused = |why: String| Failure::of(Error::new(Kind::PermissionDenied).doing(doing).because(why));
        if says(&["REMOTE HOST IDENTIFICATION HAS CHANGED"]) {
            let name = self.port.map_or_else(|| host.clone(), |port| format!("[{host}]:{port}"));
            return refused(format!(
                "{host} has another key than it had: it was set up anew, or it is another machine; if its key is \
                 right, forget the old one with: ssh-keygen -R '{name}'"
            ));
        }
        if says(&["host key is known", "Host key verification failed"]) {
            return refused(format!(
                "the key of {host} is not known; look at it, and accept it if it is right, with: ssh{port} {host}"
            ));
        }
        if says(&["Permission denied", "Too many authentication failures"]) {
            return refused(format!(
                "{host} takes none of the keys that were offered; see which with: ssh -v{port} {host}"
            ));
        }
        // Its last line is the one that says why it ended.
        let line = complaints.lines().map(str::trim).rfind(|line| !line.is_empty());
        let why = line.unwrap_or("the connection ended").trim_end_matches('.');
        // What a server complains of comes through it as it is.
        let why: String = why.chars().filter(|letter| !letter.is_control()).take(200).collect();
        let error = Error::new(Kind::Io).doing(doing).because(why);
        let lasting = ["subsystem request failed", "Bad ", "hostname contains invalid", "No such file"];
        Failure { error, again: !says(&lasting) }
    }
}

/// Reads what `ssh` complains of to its end, and keeps its last words.
pub(super) async fn listen(mut complaints: pipe::Receiver) -> String {
    const KEPT_BYTES: usize = 8 << 10;
    let mut heard = Vec::new();
    while let Ok(1..) = complaints.read_buf(&mut heard).await {
        heard.drain(..heard.len().saturating_sub(KEPT_BYTES));
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// `ssh` could not be started.
pub(super) fn not_started(doing: &'static str, error: io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "the program ssh is not installed; it is in openssh-client".to_owned(),
        _ => format!("ssh cannot be started: {error}"),
    };
    Failure::of(Error::new(Kind::Io).doing(doing).because(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target { host: "h".into(), port: Some(2222), user: Some("me".into()), identity: None, config: None }
    }

    #[test]
    fn what_ssh_complains_of_becomes_a_sentence_with_a_way_out() {
        for (complaints, kind, again, way_out) in [
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                Kind::PermissionDenied,
                false,
                "ssh-keygen -R '[h]:2222'",
            ),
            (
                "No ED25519 host key is known for [h]:2222 and you have requested strict checking.\nHost key verification failed.",
                Kind::PermissionDenied,
                false,
                "ssh -p 2222 h",
            ),
            ("me@h: Permission denied (publickey).\n", Kind::PermissionDenied, false, "ssh -v -p 2222 h"),
            (
                "ssh: connect to host h port 2222: Connection refused\n\n",
                Kind::Io,
                true,
                "Connection refused",
            ),
            ("subsystem request failed on channel 0\n", Kind::Io, false, "subsystem"),
            ("", Kind::Io, true, "ended"),
        ] {
            let failure = target().explain("connecting", complaints);
            let shown = failure.error.to_string();
            assert_eq!((failure.error.kind(), failure.again), (kind, again), "{complaints}");
            assert!(shown.contains(way_out) && !shown.contains("me@"), "{shown}");
        }
    }

    #[test]
    fn no_name_is_taken_for_an_option_and_no_secret_is_handed_on() {
        let target = Target { host: "-oProxyCommand=touch".into(), ..target() };
        let command = target.command();
        let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
        let end = words.iter().position(|word| *word == "--").unwrap();
        assert_eq!(words[end + 1..], ["-oProxyCommand=touch", "sftp"]);
        assert!(command.get_envs().any(|(name, value)| name == "WHARF_REMOTE_PASSWORD" && value.is_none()));
    }
}
