//! Runs the command, with a deadline for everything, and leaves nothing mounted.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a run of the command came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert_eq!((self.code, self.errors.as_str()), (Some(0), ""), "{}", self.output);
        self.output
    }

    /// It failed with this code and one sentence, which is returned.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.output, "", "{self:?}");
        let sentence = self.errors.strip_prefix("wharf: ").and_then(|text| text.strip_suffix('\n'));
        let sentence = sentence.unwrap_or_else(|| panic!("no sentence: {self:?}"));
        assert!(!sentence.contains('\n'), "more than one line: {self:?}");
        sentence.to_owned()
    }
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.stdin(Stdio::null());
    command
}

/// The command with SIGHUP as `how` says (`--default-signal` or `--ignore-signal`), however these tests were started.
pub(crate) fn command_with_hangups(how: &str) -> Command {
    let mut command = Command::new("env");
    command.arg(format!("{how}=HUP")).arg(env!("CARGO_BIN_EXE_wharf")).stdin(Stdio::null());
    command
}

/// Runs the command to its end.
#[track_caller]
pub(crate) fn wharf(arguments: &[&str]) -> Outcome {
    let mut command = command();
    command.args(arguments);
    run(&mut command)
}

#[track_caller]
pub(crate) fn run(command: &mut Command) -> Outcome {
    Running::start(command).end()
}

/// A command that runs. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Running {
        let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.expect("the command starts");
        let output = child.stdout.take().expect("piped");
        let errors = child.stderr.take().expect("piped");
        Running { child, lines: lines(output), errors: lines(errors) }
    }

    /// With a file, such as a terminal, for its errors.
    #[track_caller]
    pub(crate) fn start_on(command: &mut Command, errors: fs::File) -> Running {
        let started = command.stdout(Stdio::piped()).stderr(errors).spawn();
        let mut child = started.expect("the command starts");
        let output = child.stdout.take().expect("piped");
        Running { child, lines: lines(output), errors: lines(std::io::empty()) }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// The next line that it prints.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(_) => panic!("no line; errors: {:?}", self.errors.try_iter().collect::<String>()),
        }
    }

    /// The next line of its errors.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        self.errors.recv_timeout(DEADLINE).expect("a line of errors")
    }

    /// What its threads wait for.
    fn threads(&self) -> String {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let word = |task: &fs::DirEntry, file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let told =
            tasks.map(|task| format!("{} in {}", word(&task, "comm").trim_end(), word(&task, "wchan")));
        told.collect::<Vec<_>>().join(", ")
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Outcome {
        let deadline = Instant::now() + DEADLINE;
        let status: ExitStatus = loop {
            match self.child.try_wait().expect("it can be waited for") {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("it does not end: {}", self.threads()),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        // A process that it left behind may hold the pipes; that is a failure of its own.
        let rest = |lines: &mpsc::Receiver<String>| {
            let mut text = String::new();
            loop {
                match lines.recv_timeout(DEADLINE) {
                    Ok(line) => text += &line,
                    Err(mpsc::RecvTimeoutError::Disconnected) => return text,
                    Err(mpsc::RecvTimeoutError::Timeout) => panic!("somebody holds its outputs"),
                }
            }
        };
        let (output, errors) = (rest(&self.lines), rest(&self.errors));
        Outcome { code: status.code(), output, errors }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(pipe: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (to, from) = mpsc::channel();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = String::new();
        while pipe.read_line(&mut line).is_ok_and(|bytes| bytes != 0) {
            if to.send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
        let _ = pipe.read_to_end(&mut Vec::new());
    });
    from
}

/// A directory with a mount point and a source in it. Whatever is mounted there is gone afterwards.
#[derive(Debug)]
pub(crate) struct Room {
    room: TempDir,
    path: PathBuf,
}

impl Room {
    pub(crate) fn new() -> Room {
        assert!(Path::new("/dev/fuse").exists(), "there is no /dev/fuse; load it with: modprobe fuse");
        assert!(rustix::process::geteuid().is_root(), "mounting is tested as root");
        let room = tempfile::Builder::new().prefix("wharf-cli-").tempdir().expect("a directory");
        let path = room.path().canonicalize().expect("it is there");
        fs::create_dir(path.join("point")).expect("a mount point");
        fs::create_dir(path.join("source")).expect("a source");
        Room { room, path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn point(&self) -> String {
        self.at("point")
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.path.join(name).into_os_string().into_string().expect("plain letters")
    }

    /// What serves as SPEC for this kind of file system here.
    pub(crate) fn spec(&self, driver: &str) -> String {
        match driver {
            "mirror" => format!("mirror:{}", self.at("source")),
            _ => format!("{driver}:size=16M"),
        }
    }

    /// Mounts in the background; the line that was printed.
    #[track_caller]
    pub(crate) fn daemon(&self, more: &[&str]) -> String {
        wharf(&[&["mount", &self.spec("memory"), &self.point(), "--daemon"], more].concat()).succeeded()
    }

    /// Whether the kernel's table has a mount at the point.
    pub(crate) fn mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
        table.lines().any(|line| line.split(' ').nth(4) == Some(&self.point()))
    }

    /// The process that serves the point, as `wharf list -v` says.
    #[track_caller]
    pub(crate) fn host(&self) -> Pid {
        let text = self.details();
        let pid =
            text.lines().find_map(|line| line.trim().strip_prefix("host")?.trim().strip_prefix("process "));
        let pid = pid.and_then(|rest| rest.split(',').next()?.parse().ok()).and_then(Pid::from_raw);
        pid.unwrap_or_else(|| panic!("no host: {text}"))
    }

    /// What `wharf list -v` says of the point.
    #[track_caller]
    pub(crate) fn details(&self) -> String {
        let text = wharf(&["list", "-v"]).succeeded();
        let block = text.split("\n\n").find(|block| block.lines().next() == Some(&self.point()));
        block.unwrap_or_else(|| panic!("not listed: {text}")).to_owned()
    }

    /// What `wharf list` says of the point, if anything.
    #[track_caller]
    pub(crate) fn listed(&self) -> Option<String> {
        let text = wharf(&["list"]).succeeded();
        let line = text.lines().find(|line| line.starts_with(&format!("{} ", self.point())))?;
        Some(line[self.point().len()..].trim().to_owned())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let there = || {
            let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            let mut points = table.lines().filter_map(|line| line.split(' ').nth(4).map(PathBuf::from));
            points.rfind(|point| point.starts_with(&self.path))
        };
        while there().is_some_and(|point| rustix::mount::unmount(&point, UnmountFlags::DETACH).is_ok()) {}
        // A mount that could not be taken away must not lose what it shows.
        if there().is_some() {
            self.room.disable_cleanup(true);
        }
    }
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
