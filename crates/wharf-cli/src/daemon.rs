//! Serving in the background, without fork: this program again, in a session of its own, which says on its
//! standard output that it is ready, as it would in front. Its errors go to the terminal until then.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;
use crate::show;

/// This program, to be run again.
pub(crate) fn this_program() -> Command {
    // The link leads to the program even if it was replaced meanwhile, but would give the process its own name.
    let path = env::current_exe().ok().filter(|path| path.is_file());
    Command::new(path.unwrap_or_else(|| "/proc/self/exe".into()))
}

/// Starts the process that will serve, and returns when the mount answers or will not.
pub(crate) fn start() -> Result<(), Failure> {
    let cannot = |error: io::Error| {
        Failure::Operation(format!(
            "the background process did not start ({error}); leave --daemon out to stay in front"
        ))
    };
    let mut typed = env::args_os().skip(1);
    let mut child = this_program()
        .args(typed.next())
        // Right behind `mount`: further on it could stand behind `--`.
        .arg("--detached")
        .args(typed)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line).map_err(cannot)?;
    }
    if line.ends_with('\n') { show::print(&line) } else { Err(reason(&mut child)) }
}

/// Why the process ended before it was ready. Usually it has said so itself.
fn reason(child: &mut Child) -> Failure {
    match child.wait() {
        Ok(status) => match status.signal() {
            None => Failure::Told,
            Some(signal) => Failure::Operation(format!(
                "the background process was ended by signal {signal}; try without --daemon"
            )),
        },
        Err(error) => {
            Failure::Operation(format!("the background process is lost ({error}); try without --daemon"))
        }
    }
}

/// Leaves the terminal's session: its Ctrl-C and its end are not for us.
pub(crate) fn detach() -> Result<(), Failure> {
    match rustix::process::setsid() {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Operation(format!(
            "no session of its own could be had ({error}); leave --daemon out"
        ))),
    }
}

/// Lets go of everything that the starter shares with us: its outputs and its directory.
///
/// What is said without the log from now on, such as the last words of a panic, goes to the log's file if there is one.
pub(crate) fn let_go(log: Option<&Path>) -> io::Result<()> {
    let nothing = OpenOptions::new().write(true).open("/dev/null")?;
    let errors: File = match log {
        Some(path) => OpenOptions::new().append(true).open(path)?,
        None => nothing.try_clone()?,
    };
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&errors)?;
    env::set_current_dir("/")
}
