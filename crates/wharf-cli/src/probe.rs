//! Whether a mount answers, asked by another process.
//!
//! A thread that asks a mount whose server hangs cannot be called back, and a process with such a thread cannot
//! end. So a process that has nothing else to do asks, and is left behind if it must.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use wharf_fuse::mount::Liveness;

use crate::daemon::this_program;
use crate::failure::Failure;

/// How long a mount may take to say that it lives.
const ANSWER_AT_MOST: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Asks for a sign of life, and waits a second at most.
pub(crate) fn probe(point: &Path) -> Liveness {
    asked(point).unwrap_or(Liveness::Silent)
}

fn asked(point: &Path) -> io::Result<Liveness> {
    let mut child = this_program()
        .args(["answers", "--"])
        .arg(point)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + ANSWER_AT_MOST;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(Liveness::Answers),
            Some(_) => return Ok(Liveness::Dead),
            None if Instant::now() >= deadline => {
                child.kill()?;
                return Ok(Liveness::Silent);
            }
            None => thread::sleep(LOOK_EVERY),
        }
    }
}

/// In that other process. Succeeds if there is an answer, be it an error.
pub(crate) fn answer(point: &Path) -> Result<(), Failure> {
    // Else the kernel answers for a server that is gone, as long as what it was told holds.
    match statx(CWD, point, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS) {
        Err(Errno::NOTCONN | Errno::CONNABORTED) => Err(Failure::Told),
        _ => Ok(()),
    }
}
