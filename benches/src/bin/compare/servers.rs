//! The servers that are compared, and one of them running.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tiny::Caching;
use wharf_benches::works::Served;

use crate::places::Places;
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

/// How a server comes to be.
#[derive(Debug)]
enum Start {
    /// `PROGRAM POINT VARIANT CACHING`: the tiny file system.
    Tiny(&'static str, &'static str),
    /// `PROGRAM [OPTION…] SOURCE POINT [WORD…]`: a mirrored directory.
    Mirror(&'static str, &'static [&'static str], &'static [&'static str]),
    /// Nothing to start: a directory of `Places::mount`, or the one that is mirrored.
    Directory,
    Source,
}

#[derive(Debug)]
pub struct Server {
    pub name: &'static str,
    pub kind: Kind,
    start: Start,
}

const fn tiny(name: &'static str, kind: Kind, program: &'static str, variant: &'static str) -> Server {
    Server { name, kind, start: Start::Tiny(program, variant) }
}

const fn mirror(
    name: &'static str,
    kind: Kind,
    program: &'static str,
    options: &'static [&'static str],
    words: &'static [&'static str],
) -> Server {
    Server { name, kind, start: Start::Mirror(program, options, words) }
}

/// libfuse's own example of a fast mirror, built from its source.
const HP: &str = "c/libfuse-new/build/example/passthrough_hp";
const WHARF: &str = "serve-mirror";

#[rustfmt::skip]
pub const SERVERS: &[Server] = &[
    tiny("wharf-dev", Kind::Wharf, "serve-wharf", "dev"),
    tiny("fuser", Kind::Peer, "serve-fuser", "2"),
    tiny("wharf-uring", Kind::Wharf, "serve-wharf", "uring"),
    tiny("libfuse-uring", Kind::Peer, "c/serve-libfuse", "uring"),
    tiny("wharf-auto", Kind::Wharf, "serve-wharf", "auto"),
    tiny("libfuse-threads", Kind::Peer, "c/serve-libfuse", "threads"),
    tiny("libfuse-clone", Kind::Peer, "c/serve-libfuse", "clone"),
    tiny("fractal", Kind::Peer, "serve-fractal", ""),
    tiny("fuse3", Kind::Peer, "serve-fuse3", "unprivileged"),
    Server { name: "tmpfs", kind: Kind::Native, start: Start::Directory },
    Server { name: "ext4", kind: Kind::Native, start: Start::Directory },
    tiny("wharf-dev-512k", Kind::Extra, "serve-wharf", "dev+512"),
    tiny("wharf-uring-512k", Kind::Extra, "serve-wharf", "uring+512"),
    tiny("wharf-uring-lists", Kind::Extra, "serve-wharf", "uring+lists"),
    tiny("fuser-1", Kind::Extra, "serve-fuser", "1"),
    tiny("fuser-4", Kind::Extra, "serve-fuser", "4"),
    tiny("libfuse-one", Kind::Extra, "c/serve-libfuse", "one"),
    tiny("libfuse-debian", Kind::Extra, "c/serve-libfuse-debian", "clone"),
    tiny("fractal-8", Kind::Extra, "serve-fractal", "8"),
    tiny("fuse3-privileged", Kind::Extra, "serve-fuse3", "privileged"),
    mirror("mirror-dev", Kind::Wharf, WHARF, &[], &["dev"]),
    mirror("hp-through", Kind::Peer, HP, &["--foreground", "-o", "allow_other"], &[]),
    mirror("mirror-uring", Kind::Wharf, WHARF, &[], &["uring"]),
    mirror("hp", Kind::Peer, HP, &["--foreground", "--nopassthrough", "-o", "allow_other"], &[]),
    mirror("mirror-through", Kind::Wharf, WHARF, &[], &["auto", "passthrough"]),
    mirror("hp-uring", Kind::Peer, HP, &["--foreground", "--nopassthrough", "-o", "allow_other,io_uring"], &[]),
    Server { name: "source", kind: Kind::Native, start: Start::Source },
];

impl Server {
    pub fn serves(&self, what: Served) -> bool {
        let mirrors = matches!(self.start, Start::Mirror(..) | Start::Source);
        mirrors == (what == Served::Mirror)
    }
}

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
    pub fn start(server: &'static Server, what: Served, places: &Places) -> Result<Self> {
        let point = match server.start {
            Start::Source => places.source(),
            _ => places.mount(server.name),
        };
        let program = |program: &str| match program.strip_prefix("c/") {
            Some(program) => places.programs_c.join(program),
            None => places.programs.join(program),
        };
        let mut command = match (&server.start, what) {
            (Start::Tiny(name, variant), Served::Tiny(caching)) => {
                let mut command = Command::new(program(name));
                command.arg(&point).arg(variant).arg(word(caching)).env(tiny::BIG_FILE, places.big());
                command
            }
            (Start::Mirror(name, options, words), _) => {
                let mut command = Command::new(program(name));
                command.args(*options).arg(places.source()).arg(&point).args(*words);
                command
            }
            _ => return Ok(Self { server, point, process: None }),
        };
        std::fs::create_dir_all(&point)?;
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
        // Ours say when they serve; others are ready when they are mounted and answer.
        let mut ready = !matches!(server.start, Start::Tiny(..));
        while !ready {
            match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => ready = line.starts_with("ready"),
                Err(_) => {
                    running.take_down();
                    return Err("did not become ready".into());
                }
            }
        }
        while mounts::connection_at(&running.point).is_none() {
            if Instant::now() > until {
                running.take_down();
                return Err("was not mounted in time".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if !running.answers(places, until) {
            running.take_down();
            return Err("is mounted but does not answer".into());
        }
        Ok(running)
    }

    /// Mounts it anew.
    pub fn renew(&mut self, what: Served, places: &Places) -> Result<()> {
        let gone = Self { server: self.server, point: self.point.clone(), process: self.process.take() };
        gone.take_down();
        *self = Self::start(self.server, what, places)?;
        Ok(())
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
