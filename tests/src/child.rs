//! Second processes, for rules that need two: locks, permissions, deaths.
//!
//! A case runs alone in a process with one thread, so it may fork and run a closure on the other side. What
//! panics there is told here, with its place.

use std::{
    fs::File,
    io::{Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
    process::{
        Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpid, kill_process, waitid, waitpid,
    },
    thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use crate::{dir::Dir, sys};

/// The first panic of this process, as `file:line: message`. Later ones mostly follow from it.
static FIRST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Remembers the first panic instead of printing all of them.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |at| format!("{}:{}: ", at.file(), at.line()));
        let payload = info.payload();
        let message = payload.downcast_ref::<String>().map(String::as_str);
        let message = message.or(payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
        if let Ok(mut first) = FIRST_PANIC.lock() {
            first.get_or_insert_with(|| format!("{place}{message}"));
        }
    }));
}

/// Runs `work`; if it panicked, says where and why.
pub fn catch(work: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let first = FIRST_PANIC.lock().map_or(None, |mut first| first.take());
        first.unwrap_or_else(|| "a panic that nobody remembered".to_owned())
    })
}

/// A process that runs a part of a case.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    said: File,
}

impl Child {
    /// Forks, and runs `work` on the other side.
    #[track_caller]
    pub fn run(work: impl FnOnce()) -> Self {
        let (said, mut says) =
            rustix::pipe::pipe().map(|(r, w)| (File::from(r), File::from(w))).expect("a pipe");
        match sys::fork().expect("a second process") {
            Some(pid) => Child { pid, said },
            None => {
                drop(said);
                let code = match catch(work) {
                    Ok(()) => 0,
                    Err(reason) => {
                        let _ = says.write_all(reason.as_bytes());
                        1
                    }
                };
                sys::exit_now(code)
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("to signal our own child");
    }

    /// Whether it is over. It must still be waited for.
    pub fn is_over(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid), look).expect("to look after our own child").is_some()
    }

    /// Waits for its end, whichever it is.
    #[track_caller]
    pub fn end(self) -> WaitStatus {
        let waited = retry_on_intr(|| waitpid(Some(self.pid), WaitOptions::empty()));
        waited.expect("to wait for our own child").expect("an end of our own child").1
    }

    /// Waits for its end, and panics unless it was a good one.
    #[track_caller]
    pub fn join(mut self) {
        let mut said = String::new();
        let _ = self.said.read_to_string(&mut said);
        let end = self.end();
        if let Some(signal) = end.terminating_signal() {
            panic!("a child died of signal {signal}");
        }
        assert!(end.exit_status() == Some(0), "in a child: {said}");
    }
}

/// How many seconds one side of a gate waits for the other: less than a case may take.
const GATE_S: i64 = 15;

/// Something that one side waits for and the other side lets happen, once.
#[derive(Debug)]
pub struct Gate {
    wait: File,
    open: File,
}

impl Gate {
    /// A gate between this process and the children it forks later.
    pub fn new() -> Self {
        let (wait, open) = rustix::pipe::pipe().expect("a pipe");
        Gate { wait: wait.into(), open: open.into() }
    }

    /// Lets the other side pass.
    pub fn open(&self) {
        (&self.open).write_all(b"!").expect("the other side to be there");
    }

    /// Whether the other side opened it.
    pub fn is_open(&self) -> bool {
        self.opens_within(0)
    }

    fn opens_within(&self, seconds: i64) -> bool {
        let mut polled = [PollFd::new(&self.wait, PollFlags::IN)];
        let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
        retry_on_intr(|| poll(&mut polled, Some(&limit))).expect("to look at a pipe") > 0
    }

    /// Waits until the other side opened it.
    ///
    /// # Panics
    /// If that takes too long: the other side may have failed.
    #[track_caller]
    pub fn pass(&self) {
        assert!(self.opens_within(GATE_S), "the other process did not get as far as this");
        (&self.wait).read_exact(&mut [0]).expect("what was seen in a pipe");
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// Somebody who is not root.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: &'static [u32],
}

/// A user with ids that no account has.
pub const ANNA: User = User { uid: 61_001, gid: 62_001, groups: &[] };
/// Another one, who shares nothing with the first.
pub const BERT: User = User { uid: 61_002, gid: 62_002, groups: &[] };

/// Runs `work` in a child with the ids of `user` and no capabilities, and waits for it.
#[track_caller]
pub fn as_user(user: User, dir: &Dir, work: impl FnOnce()) {
    let child = Child::run(|| {
        become_user(user);
        if let Err(errno) = rustix::fs::stat(dir.path(".")) {
            panic!(
                "uid {} cannot reach {}: {errno}. Every directory above must be searchable for others, and a \
                 FUSE mount needs allow_other",
                user.uid,
                dir.path("").display()
            );
        }
        work();
    });
    child.join();
}

/// Takes the ids of `user`; the capabilities of root go with the last of root's ids.
#[track_caller]
pub fn become_user(user: User) {
    let groups: Vec<Gid> = user.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&groups).expect("to set groups; are we root?");
    set_thread_res_gid(gid, gid, gid).expect("to set the group; are we root?");
    set_thread_res_uid(uid, uid, uid).expect("to set the user; are we root?");
}

/// This process.
pub fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}
