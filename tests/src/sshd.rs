//! OpenSSH's server with keys of its own: a process for each connection, which can be killed and stopped.
//!
//! Needs root, as all tests that mount, and `sshd`, `ssh` and `ssh-keygen`.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// How long anything may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of those who connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// They are served.
    #[default]
    Open,
    /// Connections are taken, and nothing is ever said.
    Silent,
    /// The server is down.
    Closed,
}

#[derive(Debug, Default)]
struct Shared {
    door: Door,
    /// It ends.
    over: bool,
    /// Connections that came while the door was open.
    served: usize,
    processes: Vec<Child>,
    silent: Vec<TcpStream>,
}

/// A server on loopback.
#[derive(Debug)]
pub struct Sshd {
    place: TempDir,
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sshd {
    /// Starts one that lets in whoever runs the test.
    ///
    /// # Panics
    /// If it cannot be had; the words say what is missing.
    pub fn start() -> Sshd {
        let place = tempfile::tempdir().expect("a place for keys");
        let at = |name: &str| place.path().join(name).display().to_string();
        for name in ["host", "other", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &at(name)]);
            assert!(keygen.status().expect("ssh-keygen of openssh-client").success());
        }
        fs::copy(at("user.pub"), at("authorized")).expect("a copy");
        let server = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n",
            at("host"),
            at("authorized")
        );
        fs::write(at("sshd_config"), server).expect("written");
        let client = format!(
            "IdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {}\n\
             GlobalKnownHostsFile /dev/null\n",
            at("user"),
            at("known_hosts")
        );
        fs::write(at("ssh_config"), client).expect("written");
        // Where it locks itself up before anybody has logged in; Debian makes it when the service starts.
        fs::create_dir_all("/run/sshd").expect("as root");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("bound");
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let (ours, config) = (shared.clone(), PathBuf::from(at("sshd_config")));
        let thread = Some(thread::spawn(move || listen(&listener, &ours, &config)));
        let server = Sshd { place, address, shared, thread };
        server.is_known_by("host");
        server
    }

    /// The URL of a directory of this machine.
    pub fn url(&self, directory: &Path) -> String {
        format!("sftp://{}{}/", self.address, directory.display())
    }

    /// What `ssh` must know to be let in.
    pub fn config(&self) -> PathBuf {
        self.place.path().join("ssh_config")
    }

    /// From now on clients expect the key `host`, which it has, or `other`; or know none.
    pub fn is_known_by(&self, key: &str) {
        let known = match fs::read_to_string(self.place.path().join(format!("{key}.pub"))) {
            Ok(key) => format!("[{}]:{} {key}", self.address.ip(), self.address.port()),
            Err(_) => String::new(),
        };
        fs::write(self.place.path().join("known_hosts"), known).expect("written");
    }

    /// From now on it lets nobody in.
    pub fn refuse(&self) {
        fs::write(self.place.path().join("authorized"), "").expect("written");
    }

    /// From now on this becomes of those who connect.
    pub fn door(&self, door: Door) {
        let mut shared = self.lock();
        shared.door = door;
        shared.silent.clear();
    }

    /// Kills what serves the connections that there are.
    pub fn kill(&self) {
        let processes = std::mem::take(&mut self.lock().processes);
        for mut process in processes {
            signal(&process, Signal::KILL);
            process.wait().expect("killed");
        }
    }

    /// Stops what serves the connections that there are: nothing is answered, and nothing ends.
    pub fn freeze(&self) {
        self.lock().processes.iter().for_each(|process| signal(process, Signal::STOP));
    }

    /// Connections that were served so far.
    pub fn served(&self) -> usize {
        self.lock().served
    }

    /// Waits until nobody is connected.
    ///
    /// # Panics
    /// If somebody stays.
    pub fn expect_nobody(&self) {
        let begun = Instant::now();
        let is_left = |process: &mut Child| process.try_wait().expect("our child").is_none();
        while self.lock().processes.iter_mut().any(is_left) {
            assert!(begun.elapsed() < PATIENCE, "somebody is still connected");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.lock().over = true;
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.kill();
    }
}

fn listen(listener: &TcpListener, shared: &Mutex<Shared>, config: &Path) {
    for stream in listener.incoming() {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.over {
            return;
        }
        let Ok(stream) = stream else { continue };
        match shared.door {
            Door::Closed => {}
            Door::Silent => shared.silent.push(stream),
            Door::Open => {
                let process = serve(stream, config).expect("sshd of openssh-server");
                shared.served += 1;
                shared.processes.push(process);
            }
        }
    }
}

/// A server for one connection, in a group of its own with all that it starts.
fn serve(stream: TcpStream, config: &Path) -> io::Result<Child> {
    stream.set_nodelay(true)?;
    let mut sshd = Command::new("/usr/sbin/sshd");
    sshd.args(["-i", "-f"]).arg(config).process_group(0);
    sshd.stdin(OwnedFd::from(stream.try_clone()?)).stdout(OwnedFd::from(stream)).stderr(Stdio::null());
    sshd.spawn()
}

fn signal(process: &Child, signal: Signal) {
    if let Some(group) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}
