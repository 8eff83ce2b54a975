//! What the kernel complained of since some moment: warnings with a stack, hung tasks, oopses.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
};

use rustix::fs::OFlags;

/// Beginnings of messages that no file system may provoke.
const COMPLAINTS: &[&str] = &[
    "WARNING:",
    "BUG:",
    "Oops:",
    "INFO: task ",
    "INFO: rcu",
    "watchdog:",
    "general protection fault",
    "kernel BUG at",
    "list_add corruption",
    "list_del corruption",
    "refcount_t:",
    "Kernel panic",
];

/// The kernel's log behind the moment when this was made.
#[derive(Debug)]
pub struct KernelLog {
    records: File,
}

impl KernelLog {
    /// The log from now on. Needs the right to read `/dev/kmsg`.
    pub fn from_now() -> io::Result<Self> {
        let nonblocking = OFlags::NONBLOCK.bits() as i32;
        let mut records = File::options().read(true).custom_flags(nonblocking).open("/dev/kmsg")?;
        records.seek(SeekFrom::End(0))?;
        Ok(KernelLog { records })
    }

    /// The complaints since then, as the kernel wrote them.
    pub fn complaints(mut self) -> io::Result<Vec<String>> {
        let mut complaints = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.records.read(&mut record) {
                Ok(count) => complaints.extend(complaint(&String::from_utf8_lossy(&record[..count]))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(complaints),
                // The kernel overwrote records that were not read yet; the next read goes on behind them.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The message of a record (`priority,number,time,flags;message`), if it is a complaint.
fn complaint(record: &str) -> Option<String> {
    let message = record.split_once(';')?.1.lines().next()?;
    COMPLAINTS.iter().any(|start| message.starts_with(start)).then(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_from_news() {
        let found = |message: &str| complaint(&format!("4,1234,5678,-;{message}\n SUBSYSTEM=x\n"));
        assert_eq!(found("EXT4-fs (vda): mounted filesystem"), None);
        assert_eq!(found("stress-ng: no BUG: here"), None);
        let warning = "WARNING: CPU: 1 PID: 77 at fs/fuse/dev.c:300 fuse_request_end+0x1/0x2";
        assert_eq!(found(warning).as_deref(), Some(warning));
        assert!(found("INFO: task cat:123 blocked for more than 120 seconds.").is_some());
    }

    #[test]
    fn the_log_is_readable_from_now_on() {
        let log = KernelLog::from_now().expect("to read /dev/kmsg");
        std::fs::write("/dev/kmsg", "<6>wharf-tests: a message\n").expect("to write to /dev/kmsg");
        log.complaints().expect("to read /dev/kmsg");
    }
}
