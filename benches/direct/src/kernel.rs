//! What the kernel offers for the same.

use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, types::Fd};

/// One byte there and one back, over a socket, to a thread that waits for it.
pub(crate) fn echo() -> Box<dyn FnMut() + Send> {
    use std::io::{Read as _, Write as _};
    let (mut near, mut far) = UnixStream::pair().expect("a pair of sockets");
    std::thread::spawn(move || {
        let mut byte = [0];
        while far.read_exact(&mut byte).is_ok() && far.write_all(&byte).is_ok() {}
    });
    Box::new(move || {
        near.write_all(&[1]).expect("somebody listens");
        near.read_exact(&mut [0]).expect("an answer");
    })
}

/// Reads of `len` bytes with `depth` of them in flight, past the page cache. Reads a second.
pub(crate) fn deep(path: &Path, depth: usize, len: usize, time: Duration) -> f64 {
    use std::os::fd::AsRawFd as _;
    let file =
        std::fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).expect("it is there");
    let mut ring = IoUring::new(64).expect("a ring");
    let mut buffers: Vec<Vec<u8>> = vec![vec![0; len]; depth];
    let until = Instant::now() + time;
    let mut count = 0u64;
    while Instant::now() < until {
        for (at, buffer) in buffers.iter_mut().enumerate() {
            let offset = (count + at as u64) % 4096 * 4096;
            let read = opcode::Read::new(Fd(file.as_raw_fd()), buffer.as_mut_ptr(), len as u32)
                .offset(offset)
                .build();
            // SAFETY: file and buffers outlive the call below, which waits for all of them.
            unsafe { ring.submission().push(&read) }.expect("there is room");
        }
        ring.submit_and_wait(depth).expect("they are taken");
        for completion in ring.completion() {
            assert_eq!(completion.result(), len as i32);
        }
        count += depth as u64;
    }
    count as f64 / time.as_secs_f64()
}
