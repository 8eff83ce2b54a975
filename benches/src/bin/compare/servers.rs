//! The servers that are compared, and one of them running.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tiny::Caching;

use crate::options::Places;
use crate::{Result, mounts};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Wharf,
    Peer,
    /// A directory of this machine without any server.
    Native,
    /// Another configuration of a peer that lost to its better one; measured when it is asked for by name.
    Extra,
}

#[derive(Debug)]
pub struct Server {
    pub name: &'static str,
    pub kind: Kind,
    program: &'static str,
    variant: &'static str,
}

const fn server(name: &'static str, kind: Kind, program: &'static str, variant: &'static str) -> Server {
    Server { name, kind, program, variant }
}

pub const SERVERS: &[Server] = &[
    server("wharf-dev", Kind::Wharf, "serve-wharf", "dev"),
    server("fuser", Kind::Peer, "serve-fuser", "2"),
    server("wharf-uring", Kind::Wharf, "serve-wharf", "uring"),
    server("libfuse-uring", Kind::Peer, "c/serve-libfuse", "uring"),
    server("wharf-auto", Kind::Wharf, "serve-wharf", "auto"),
    server("libfuse-threads", Kind::Peer, "c/serve-libfuse", "threads"),
    server("libfuse-clone", Kind::Peer, "c/serve-libfuse", "clone"),
    server("fractal", Kind::Peer, "serve-fractal", ""),
    server("fuse3", Kind::Peer, "serve-fuse3", "unprivileged"),
    server("tmpfs", Kind::Native, "", ""),
    server("ext4", Kind::Native, "", ""),
    server("fuser-1", Kind::Extra, "serve-fuser", "1"),
    server("fuser-4", Kind::Extra, "serve-fuser", "4"),
    server("libfuse-one", Kind::Extra, "c/serve-libfuse", "one"),
    server("libfuse-debian", Kind::Extra, "c/serve-libfuse-debian", "clone"),
    server("fractal-8", Kind::Extra, "serve-fractal", "8"),
    server("fuse3-privileged", Kind::Extra, "serve-fuse3", "privileged"),
];

/// Until it has to be serving, and to be gone after its volume was taken away.
const START: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(3);

pub struct Running {
    pub server: &'static Server,
    pub point: PathBuf,
    process: Option<Child>,
}

fn word(caching: Caching) -> &'static str {
    match caching {
        Caching::Kept => "kept",
        Caching::Brief => "brief",
        Caching::Attr0 => "attr0",
        Caching::Nothing => "nothing",
    }
}

impl Running {
    pub fn start(server: &'static Server, caching: Caching, places: &Places) -> Result<Self> {
        let point = places.mount(server.name);
        if server.kind == Kind::Native {
            return Ok(Self { server, point, process: None });
        }
        std::fs::create_dir_all(&point)?;
        let program = match server.program.strip_prefix("c/") {
            Some(program) => places.programs_c.join(program),
            None => places.programs.join(server.program),
        };
        let mut command = Command::new(program);
        command.arg(&point).arg(server.variant).arg(word(caching)).env(tiny::BIG_FILE, places.big());
        let log = std::fs::File::create(places.out.join(format!("{}.log", server.name)))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        // SAFETY: the closure makes one system call and touches no memory of the parent's.
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                Ok(())
            })
        };
        let mut process = command.spawn()?;
        let output = process.stdout.take();
        let running = Self { server, point, process: Some(process) };
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()) {
                let Ok(line) = line else { return };
                let _ = sender.send(line);
            }
        });
        let until = Instant::now() + START;
        loop {
            match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with("ready") => break,
                Ok(_) => {}
                Err(_) => {
                    running.take_down();
                    return Err("did not become ready".into());
                }
            }
        }
        while mounts::connection_at(&running.point).is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if !running.answers(places, until) {
            running.take_down();
            return Err("is mounted but does not answer".into());
        }
        Ok(running)
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Asked by another process, which can be killed.
    fn answers(&self, places: &Places, until: Instant) -> bool {
        let probe = Command::new(places.programs.join("client")).arg("probe").arg(&self.point).spawn();
        let Ok(mut probe) = probe else { return false };
        while Instant::now() < until {
            match probe.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                Err(_) => break,
            }
        }
        let _ = probe.kill();
        if let Some(connection) = mounts::connection_at(&self.point) {
            mounts::abort(connection);
        }
        let _ = probe.wait();
        false
    }

    /// Ends the volume kindly, and if it does not go, not.
    pub fn take_down(mut self) {
        let Some(mut process) = self.process.take() else { return };
        let connection = mounts::connection_at(&self.point);
        mounts::detach(&self.point);
        let until = Instant::now() + END;
        while Instant::now() < until {
            if let Ok(Some(_)) = process.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(connection) = connection {
            mounts::abort(connection);
        }
        let _ = process.kill();
        let _ = process.wait();
    }
}
