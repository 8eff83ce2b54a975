//! Keeping idle processors from deep sleep while a volume is in use, for those who ask for it.
//!
//! A processor that sleeps deeply takes tens of microseconds to wake, on a virtual machine more, and a request that
//! crosses processors waits for that twice. Linux lets root forbid such sleep for as long as a file is held open.
//! It costs power, and on a virtual machine the host's time: so it is held only while requests come.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const DEVICE: &str = "/dev/cpu_dma_latency";

/// Without a request for so long, processors may sleep again.
const RELEASED_AFTER: Duration = Duration::from_millis(200);

/// Told of requests by the threads that serve them.
pub(crate) struct Awake {
    /// A request came since this was last looked at.
    used: AtomicBool,
    ended: Mutex<bool>,
    told: Condvar,
}

impl Awake {
    /// Starts the thread that holds the device. It sleeps until the first request.
    ///
    /// # Errors
    /// When the device is not there, or is not for us to open.
    pub(crate) fn start() -> io::Result<Arc<Awake>> {
        Awake::over(DEVICE.into())
    }

    fn over(device: PathBuf) -> io::Result<Arc<Awake>> {
        // Whoever asks learns here that it cannot be had.
        drop(hold(&device)?);
        let awake =
            Arc::new(Awake { used: AtomicBool::new(false), ended: Mutex::new(false), told: Condvar::new() });
        let holder = awake.clone();
        thread::Builder::new().name("wharf-awake".into()).spawn(move || holder.run(&device))?;
        Ok(awake)
    }

    /// A request came. Takes a lock once in [`RELEASED_AFTER`] at the most.
    pub(crate) fn used(&self) {
        if !self.used.load(Ordering::Relaxed) {
            // Under the lock, or the thread could miss it between its look and its sleep.
            let _ended = self.lock();
            self.used.store(true, Ordering::Relaxed);
            self.told.notify_one();
        }
    }

    /// Lets the device go for good.
    pub(crate) fn end(&self) {
        *self.lock() = true;
        self.told.notify_one();
    }

    fn run(&self, device: &Path) {
        loop {
            let idle = |ended: &mut bool| !*ended && !self.used.load(Ordering::Relaxed);
            if *self.told.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner) {
                return;
            }
            let held = match hold(device) {
                Ok(held) => held,
                Err(error) => {
                    log::warn!("{}: {error}: processors sleep as they like", device.display());
                    return;
                }
            };
            while self.used.swap(false, Ordering::Relaxed) {
                let waited = self.told.wait_timeout_while(self.lock(), RELEASED_AFTER, |ended| !*ended);
                if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                    return;
                }
            }
            drop(held);
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for no delay at all when a processor wakes. The kernel takes it back when the file is closed.
fn hold(device: &Path) -> io::Result<File> {
    let mut file = File::options().write(true).open(device)?;
    file.write_all(&0i32.to_ne_bytes())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Instant;

    fn is_held(device: &Path) -> bool {
        let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
        open.filter_map(|open| fs::read_link(open.path()).ok()).any(|file| file == device)
    }

    fn until(what: &str, mut happens: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !happens() {
            assert!(Instant::now() < deadline, "not in time: {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn processors_are_kept_awake_while_requests_come_and_no_longer() {
        let device = std::env::temp_dir().join(format!("wharf-awake-{}", std::process::id()));
        assert!(Awake::over(device.clone()).is_err(), "what is not there cannot be held");
        fs::write(&device, []).unwrap();
        let awake = Awake::over(device.clone()).unwrap();
        assert!(!is_held(&device), "nobody has asked for anything yet");
        for _ in 0..2 {
            let began = Instant::now();
            until("it is held", || {
                awake.used();
                is_held(&device)
            });
            while began.elapsed() < 2 * RELEASED_AFTER {
                awake.used();
                thread::sleep(Duration::from_millis(5));
            }
            until("it is let go", || !is_held(&device));
        }
        awake.used();
        awake.end();
        until("the thread has ended", || Arc::strong_count(&awake) == 1);
        assert!(!is_held(&device));
        fs::remove_file(&device).unwrap();
    }
}
