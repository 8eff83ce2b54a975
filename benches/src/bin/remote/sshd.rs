//! SFTP: OpenSSH's server with keys of its own, and who mounts it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{Answer, SFTP_PORT};

pub(crate) fn start(place: &Path) -> Answer<Child> {
    for name in ["host", "user"] {
        let file = place.join(name);
        Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(file)
            .status()?;
    }
    let shown = place.display();
    let server = format!(
        "ListenAddress 127.0.0.2\nPort {SFTP_PORT}\nHostKey {shown}/host\nPidFile none\n\
         AuthorizedKeysFile {shown}/user.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
         PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    );
    fs::write(place.join("sshd_config"), server)?;
    let key = fs::read_to_string(place.join("host.pub"))?;
    fs::write(place.join("known_hosts"), format!("[127.0.0.1]:{SFTP_PORT} {key}"))?;
    let client = format!(
        "IdentityFile {shown}/user\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {shown}/known_hosts\n"
    );
    fs::write(place.join("ssh_config"), client)?;
    fs::create_dir_all("/run/sshd")?;
    let mut sshd = Command::new("/usr/sbin/sshd");
    Ok(sshd.arg("-D").arg("-f").arg(place.join("sshd_config")).stderr(Stdio::null()).spawn()?)
}

/// As `programs` of the other services.
pub(crate) fn programs(wharf: &Path, place: &Path) -> Vec<(&'static str, Vec<String>)> {
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (wharf, place) = (wharf.display(), place.display());
    vec![
        (
            "wharf",
            words(format!(
                "{wharf} mount remote:sftp://root@127.0.0.1:{SFTP_PORT}{place}/data DIR --read-only \
                 --option ssh-config={place}/ssh_config"
            )),
        ),
        (
            "rclone",
            words(format!(
                "rclone mount :sftp:{place}/data DIR --read-only --config /dev/null --sftp-host 127.0.0.1 \
                 --sftp-port {SFTP_PORT} --sftp-user root --sftp-key-file {place}/user \
                 --sftp-known-hosts-file {place}/known_hosts"
            )),
        ),
        (
            "sshfs",
            words(format!(
                "sshfs -f -o ro -F {place}/ssh_config -p {SFTP_PORT} root@127.0.0.1:{place}/data DIR"
            )),
        ),
    ]
}
