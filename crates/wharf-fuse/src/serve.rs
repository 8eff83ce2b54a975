//! From a connected device to running threads.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use wharf::FileSystem;
use wharf::session::{Ready, Session};
use wharf_queue::{Bell, Ending, QueueHost, cpu};

use crate::awake::Awake;
use crate::control::Controls;
use crate::protocol::Fuse;
use crate::{dev, notices, uring};

/// The threads of a volume, as far as others have to reach them.
pub(crate) struct Threads {
    pub(crate) ending: Arc<Ending>,
    pub(crate) bells: Vec<Bell>,
    pub(crate) awake: Option<Arc<Awake>>,
}

/// What a new thread is given.
struct Queues<F: FileSystem> {
    session: Arc<Session<F, Fuse>>,
    device: Arc<OwnedFd>,
    controls: Arc<Controls<F>>,
    ending: Arc<Ending>,
    bells: Vec<Bell>,
    readies: Vec<Arc<Ready>>,
    /// Threads wait for this before they serve: all queues are known by then.
    gates: Vec<mpsc::Sender<()>>,
}

/// Starts the threads for `dev`.
///
/// # Errors
/// When threads, descriptors or memory cannot be had. What was started ends with the connection.
pub(crate) fn start_dev<F: FileSystem>(
    session: Arc<Session<F, Fuse>>,
    device: Arc<OwnedFd>,
    awake: Option<Arc<Awake>>,
) -> io::Result<Threads> {
    let mut queues = Queues::new(session, device, awake, false)?;
    let count = cpu::online();
    for number in 0..count {
        let blocking = if number == 0 {
            queues.device.clone()
        } else {
            match crate::device::clone(queues.device.as_fd()) {
                Ok(clone) => Arc::new(clone),
                Err(error) => {
                    log::warn!(
                        "{number} of {count} queues: {} cannot be opened again: {error}",
                        crate::device::PATH
                    );
                    break;
                }
            }
        };
        queues.add_dev(blocking, Some(number), count)?;
    }
    queues.open()
}

/// Starts the threads for `uring`, and the one beside them that reads the device.
///
/// # Errors
/// When a ring is refused, or something cannot be had. The connection is of no use then.
pub(crate) fn start_uring<F: FileSystem>(
    session: Arc<Session<F, Fuse>>,
    device: Arc<OwnedFd>,
    awake: Option<Arc<Awake>>,
    large_pages: bool,
) -> io::Result<Threads> {
    let mut queues = Queues::new(session, device, awake, large_pages)?;
    let count = cpu::possible();
    let device = queues.device.clone();
    queues.add_dev(device, None, count)?;
    for number in 0..count {
        queues.add_uring(u16::try_from(number).map_err(io::Error::other)?, count)?;
    }
    queues.open()
}

impl<F: FileSystem> Queues<F> {
    fn new(
        session: Arc<Session<F, Fuse>>,
        device: Arc<OwnedFd>,
        awake: Option<Arc<Awake>>,
        large_pages: bool,
    ) -> io::Result<Queues<F>> {
        let ending = Arc::new(Ending::default());
        let controls = Arc::new(Controls {
            session: session.clone(),
            queues: OnceLock::new(),
            retrievals: Arc::default(),
            awake,
            large_pages,
        });
        let (session_too, device_too) = (session.clone(), device.clone());
        let (retrievals, running) = (controls.retrievals.clone(), ending.thread());
        // Not the controls: their end confirms what this thread waits with.
        thread::Builder::new().name("wharf-notices".into()).spawn(move || {
            notices::run(&device_too, &session_too, &retrievals);
            drop(running);
        })?;
        Ok(Queues {
            session,
            device,
            controls,
            ending,
            bells: Vec::new(),
            readies: Vec::new(),
            gates: Vec::new(),
        })
    }

    fn add_dev(&mut self, blocking: Arc<OwnedFd>, cpu: Option<usize>, queues: usize) -> io::Result<()> {
        let polling = dev::polling_line(blocking.as_fd());
        if let Err(error) = &polling {
            log::debug!("no second descriptor for a queue: {error}");
            // The only one must not block then: operations that are pending would not be polled meanwhile.
            let flags = rustix::fs::fcntl_getfl(&blocking)?;
            rustix::fs::fcntl_setfl(&blocking, flags | rustix::fs::OFlags::NONBLOCK)?;
        }
        let (bell, host) = (Bell::new()?, Arc::new(QueueHost::default()));
        let limits = *self.session.limits();
        let slots = (limits.requests_max as usize / queues).max(1);
        let (queue, ready) = self.session.queue(slots, host.clone(), Box::new(bell.clone()));
        host.rouses(ready.clone());
        let ends = host.clone();
        let parts = dev::Parts {
            lines: dev::Lines { blocking, polling: polling.ok() },
            controls: self.controls.clone(),
            host,
            bell: bell.clone(),
            ending: self.ending.clone(),
            payloads_bytes_max: limits.payloads_bytes_max as usize / queues,
            beside_rings: cpu.is_none(),
        };
        self.bells.push(bell);
        self.readies.push(ready);
        let gate = self.gate();
        let running = self.ending.thread();
        let name = cpu.map_or("wharf-device".into(), |cpu| format!("wharf-dev-{cpu}"));
        thread::Builder::new().name(name).spawn(move || {
            if let Some(cpu) = cpu {
                cpu::pin_to(cpu);
            }
            if gate.recv().is_ok() {
                dev::Server::new(parts, queue).run();
            }
            ends.end();
            drop(running);
        })?;
        Ok(())
    }

    /// Starts the thread of one ring and waits until the kernel has taken its entries.
    fn add_uring(&mut self, number: u16, queues: usize) -> io::Result<()> {
        let (bell, host) = (Bell::new()?, Arc::new(QueueHost::default()));
        let limits = *self.session.limits();
        let slots = (limits.requests_max as usize / queues).max(limits.uring_entries_max.into());
        let (queue, ready) = self.session.queue(slots, host.clone(), Box::new(bell.clone()));
        host.rouses(ready.clone());
        let ends = host.clone();
        let parts = uring::Parts {
            device: self.device.clone(),
            number,
            controls: self.controls.clone(),
            host,
            bell: bell.clone(),
            ending: self.ending.clone(),
        };
        self.bells.push(bell);
        self.readies.push(ready);
        let gate = self.gate();
        let running = self.ending.thread();
        let (report, reported) = mpsc::channel();
        thread::Builder::new().name(format!("wharf-uring-{number}")).spawn(move || {
            cpu::pin_to(number.into());
            match uring::Server::start(parts, queue) {
                Ok(server) => {
                    let _ = report.send(Ok(()));
                    if gate.recv().is_ok() {
                        server.run();
                    }
                    ends.end();
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            }
            drop(running);
        })?;
        reported.recv().unwrap_or_else(|_| Err(io::Error::other("a queue's thread ended at its start")))
    }

    fn gate(&mut self) -> mpsc::Receiver<()> {
        let (sender, receiver) = mpsc::channel();
        self.gates.push(sender);
        receiver
    }

    /// All queues are known: lets the threads serve.
    fn open(self) -> io::Result<Threads> {
        let _ = self.controls.queues.set(self.readies);
        for gate in self.gates {
            gate.send(()).map_err(|_| io::Error::other("a queue's thread ended at its start"))?;
        }
        let awake = self.controls.awake.clone();
        Ok(Threads { ending: self.ending, bells: self.bells, awake })
    }
}
