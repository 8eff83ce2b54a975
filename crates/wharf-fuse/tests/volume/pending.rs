//! Many reads at once from one thread, by io_uring.

use std::env;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, types::Fd};

const EACH_BYTES: u32 = 4096;

/// Submits `count` reads and waits for all. Returns how many succeeded and how long all took.
pub(crate) fn read_many(file: &File, count: usize) -> (usize, Duration) {
    let mut ring: IoUring = IoUring::builder().setup_cqsize(32_768).build(16_384).unwrap();
    // All into one buffer: what they read is known.
    let mut buffer = vec![0u8; EACH_BYTES as usize];
    let begin = Instant::now();
    for at in 0..count {
        let read = opcode::Read::new(Fd(file.as_raw_fd()), buffer.as_mut_ptr(), EACH_BYTES)
            .offset(at as u64 % 256 * u64::from(EACH_BYTES))
            .build()
            // Each from a worker or asynchronously, whatever the kernel prefers for this file.
            .user_data(at as u64);
        // SAFETY: the buffer and the file outlive the ring's work: all completions are awaited below.
        unsafe { ring.submission().push(&read) }.expect("room for all");
    }
    let mut good = 0;
    let mut seen = 0;
    while seen < count {
        ring.submit_and_wait(1).unwrap();
        for completion in ring.completion() {
            seen += 1;
            if completion.result() == EACH_BYTES as i32 {
                good += 1;
            } else if seen == good + 1 {
                eprintln!("a read brought {}", completion.result());
            }
        }
    }
    (good, begin.elapsed())
}

/// Whether this process runs the test alone. If not, one that does is run, and has passed when this returns.
pub(crate) fn is_alone(test: &str) -> bool {
    const ALONE: &str = "WHARF_TEST_ALONE";
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let this = env::current_exe().expect("a test is a program");
    let output = Command::new(this).args(["--exact", test, "--nocapture"]).env(ALONE, "1").output();
    let output = output.expect("it can be run again");
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains(" 1 passed"), "{test} failed in a process of its own");
    false
}
