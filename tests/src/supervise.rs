//! A command with a deadline, in a session of its own, that is gone afterwards with all its children.
//!
//! A session and not a process group: some tools give their children groups of their own. A process that waits
//! for a dead mount may not even die of SIGKILL. Then it is left behind, and its end is [`End::Hung`]: the
//! supervisor itself never waits without a limit, and reads of others only what needs none of their locks.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_setfl},
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, pidfd_send_signal,
        waitid,
    },
};

use crate::sys;

/// After SIGKILL, how long a process may take to go away before it is called hung.
const DEATH: Duration = Duration::from_secs(3);

/// The last part of a command's output that is kept.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// How a command ended.
#[derive(Debug)]
pub enum End {
    /// It exited with this code.
    Exited(i32),
    /// It died of this signal.
    Signaled(i32),
    /// It was not over at the deadline, and was killed.
    Late,
    /// It was not over at the deadline, and did not even die.
    Hung,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub end: End,
    /// The end of what it wrote to standard output and standard error, in the order it wrote it.
    pub output: String,
}

/// Runs `command` to its end or to the deadline, whichever comes first, then kills what is left of its session.
pub fn run(command: &mut Command, deadline: Duration) -> io::Result<Ended> {
    let until = Instant::now() + deadline;
    let (output, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // Grandchildren may keep the pipe open for ever, so an end of file is not waited for.
    fcntl_setfl(&output, OFlags::NONBLOCK)?;
    sys::lead_session(command).stdin(Stdio::null()).stdout(theirs.try_clone()?).stderr(theirs);
    let child = command.spawn()?;
    // The command holds the write ends; as long as it does, so do we.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;

    let mut output = Output { pipe: File::from(output), kept: Vec::new() };
    let in_time = wait(&pidfd, &mut output, until)?;
    let gone = (in_time || {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        wait(&pidfd, &mut output, Instant::now() + DEATH)?
    }) && end_session(pid, Instant::now() + DEATH);
    let end = match (gone, in_time) {
        (false, _) => End::Hung,
        (true, in_time) => {
            let status = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED)?;
            match status.as_ref().map(|status| (status.exit_status(), status.terminating_signal())) {
                _ if !in_time => End::Late,
                Some((Some(code), _)) => End::Exited(code),
                Some((_, Some(signal))) => End::Signaled(signal),
                _ => return Err(io::Error::other("the kernel told of no end")),
            }
        }
    };
    output.drain()?;
    Ok(Ended { end, output: String::from_utf8_lossy(&output.kept).into_owned() })
}

/// Kills what is left of a session; false if some of it does not die. The leader may be dead, but must not have
/// been waited for: so long, nobody else can have its id.
fn end_session(leader: Pid, until: Instant) -> bool {
    let _ = kill_process_group(leader, Signal::KILL);
    loop {
        let alive: Vec<Pid> =
            processes().filter(|pid| *pid != leader && session(*pid) == Some(leader)).collect();
        if alive.is_empty() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        for pid in alive {
            // Asked again once the descriptor holds it: its id may be somebody else's by now.
            if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
                && session(pid) == Some(leader)
            {
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All processes that there are.
fn processes() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
}

/// The session of a process that is alive.
fn session(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // Behind the name, which may hold anything: state, parent, group, session.
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    let state = fields.next()?;
    let session = fields.nth(2)?.parse().ok()?;
    if matches!(state, "Z" | "X") { None } else { Pid::from_raw(session) }
}

/// Waits for the end of a process; false if the time came first. Keeps its output flowing meanwhile.
fn wait(pidfd: &OwnedFd, output: &mut Output, until: Instant) -> io::Result<bool> {
    let mut pipe_open = true;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(pidfd, PollFlags::IN), PollFd::new(&output.pipe, PollFlags::IN)];
        let polled = if pipe_open { &mut fds[..] } else { &mut fds[..1] };
        match poll(polled, Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(true);
        }
        pipe_open = output.drain()?;
    }
}

struct Output {
    pipe: File,
    kept: Vec<u8>,
}

impl Output {
    /// Takes what is there; false at the end of file.
    fn drain(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 4096];
        loop {
            match self.pipe.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.kept.extend_from_slice(&chunk[..count]);
                    let excess = self.kept.len().saturating_sub(OUTPUT_BYTES_MAX);
                    self.kept.drain(..excess);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, deadline_ms: u64) -> Ended {
        run(Command::new("sh").args(["-c", script]), Duration::from_millis(deadline_ms)).expect("to run sh")
    }

    #[test]
    fn an_end_in_time_tells_code_and_output() {
        let ended = shell("echo out; echo err >&2; exit 3", 5000);
        assert!(matches!(ended.end, End::Exited(3)), "{ended:?}");
        assert_eq!(ended.output, "out\nerr\n");
    }

    #[test]
    fn a_death_tells_its_signal() {
        assert!(matches!(shell("kill -USR1 $$", 5000).end, End::Signaled(10)));
    }

    #[test]
    fn what_is_late_is_killed_with_its_children() {
        let ended = shell("sleep 1000 & echo $!; sleep 1000", 200);
        assert!(matches!(ended.end, End::Late), "{ended:?}");
        let pid: i32 = ended.output.trim().parse().expect("the pid of the child");
        let gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.contains(") Z "), // Dead, and waiting for init to notice.
            Err(_) => true,
        };
        let until = Instant::now() + Duration::from_secs(5);
        while !gone() {
            assert!(Instant::now() < until, "the child {pid} outlived its group");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_child_in_a_group_of_its_own_is_killed_too() {
        // With job control bash gives each job a group.
        let ended = shell("exec bash -c 'set -m; sleep 1000 & echo $!'", 5000);
        assert!(matches!(ended.end, End::Exited(0)), "{ended:?}");
        let pid: i32 = ended.output.trim().parse().expect("the pid of the child");
        assert_eq!(Pid::from_raw(pid).and_then(session), None);
    }

    #[test]
    fn a_child_that_keeps_the_pipe_does_not_keep_us() {
        let started = Instant::now();
        assert!(matches!(shell("setsid sleep 2 & sleep 0.1; exit 0", 60_000).end, End::Exited(0)));
        assert!(started.elapsed() < Duration::from_millis(1500));
    }

    #[test]
    fn of_much_output_the_end_is_kept() {
        let ended = shell("yes | head -c 1000000; echo; echo last", 20_000);
        assert!(ended.output.len() <= OUTPUT_BYTES_MAX);
        assert!(ended.output.ends_with("last\n"));
    }
}
