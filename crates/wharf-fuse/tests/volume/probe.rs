//! A file system whose files are experiments: slow ones, stuck ones, ones that panic or change.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use wharf::{
    Attributes, Cache, Capabilities, Context, Entry, Error, FileSystem, Kind, Listed, Listing, Name,
    Notifier, Opened, Result, Window, op,
};

/// The files, by inode number. The root is 1.
pub(crate) const FILES: [&str; 9] =
    ["slow", "never", "patient", "panic", "changing", "self-notice", "lock", "stubborn", "polite"];

pub(crate) fn inode(name: &str) -> u64 {
    FILES.iter().position(|known| *known == name).map(|at| at as u64 + 2).expect("a known file")
}

pub(crate) struct State {
    /// How long `slow` takes.
    pub(crate) slow: Duration,
    /// What `changing` holds.
    pub(crate) contents: Mutex<Vec<u8>>,
    /// Names beside the files, which tests add and remove.
    pub(crate) names: Mutex<BTreeMap<Vec<u8>, u64>>,
    pub(crate) reads: AtomicUsize,
    pub(crate) lookups: AtomicUsize,
    pub(crate) shutdowns: AtomicUsize,
    pub(crate) opens: AtomicUsize,
    pub(crate) releases: AtomicUsize,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) in_flight_most: AtomicUsize,
    pub(crate) ended_after_shutdown: AtomicBool,
}

#[derive(Clone)]
pub(crate) struct Probe {
    pub(crate) state: Arc<State>,
    timers: mpsc::Sender<(Instant, Waker)>,
}

impl Probe {
    pub(crate) fn new(slow: Duration) -> Probe {
        let (timers, due) = mpsc::channel::<(Instant, Waker)>();
        thread::spawn(move || {
            for (due, waker) in due {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                waker.wake();
            }
        });
        let state = State {
            slow,
            contents: Mutex::new(b"before".to_vec()),
            names: Mutex::default(),
            reads: AtomicUsize::new(0),
            lookups: AtomicUsize::new(0),
            shutdowns: AtomicUsize::new(0),
            opens: AtomicUsize::new(0),
            releases: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            in_flight_most: AtomicUsize::new(0),
            ended_after_shutdown: AtomicBool::new(false),
        };
        Probe { state: Arc::new(state), timers }
    }

    async fn wait(&self, time: Duration) {
        let due = Instant::now() + time;
        let mut asked = false;
        poll_fn(|cx| {
            if asked && Instant::now() >= due {
                return Poll::Ready(());
            }
            asked = true;
            let _ = self.timers.send((due, cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn attributes(&self, node: u64) -> Attributes {
        if node == 1 {
            return Attributes::directory(1);
        }
        let size = if node == inode("changing") {
            self.state.contents.lock().unwrap().len() as u64
        } else {
            1 << 20
        };
        Attributes { permissions: 0o666, ..Attributes::file(node, size) }
    }
}

impl FileSystem for Probe {
    type Node = u64;
    type File = u64;

    fn capabilities(&self) -> Capabilities {
        Capabilities::POSIX_LOCKS | Capabilities::STATELESS_DIRECTORIES | Capabilities::EXPLICIT_INVALIDATION
    }

    fn root(&self) -> u64 {
        1
    }

    fn file(&self, node: &u64) -> Result<u64> {
        Ok(*node)
    }

    async fn shutdown(&self) {
        self.state.shutdowns.fetch_add(1, Ordering::SeqCst);
    }

    async fn lookup(&self, _: &Context, _: &u64, op: op::Lookup<'_>) -> Result<Entry<u64>> {
        self.state.lookups.fetch_add(1, Ordering::SeqCst);
        let known =
            FILES.iter().position(|known| known.as_bytes() == op.name.as_bytes()).map(|at| at as u64 + 2);
        let node = known.or_else(|| self.state.names.lock().unwrap().get(op.name.as_bytes()).copied());
        let node = node.ok_or_else(Error::not_found)?;
        Ok(Entry::new(node, self.attributes(node)))
    }

    async fn getattr(&self, _: &Context, node: &u64, _: Option<&u64>) -> Result<Attributes> {
        Ok(self.attributes(*node))
    }

    async fn open(&self, _: &Context, node: &u64, _: op::Open) -> Result<Opened<u64>> {
        self.state.opens.fetch_add(1, Ordering::SeqCst);
        let cached = *node == inode("changing") || *node == inode("self-notice");
        Ok(Opened::new(*node).cache(if cached { Cache::Keep } else { Cache::Direct }))
    }

    async fn release(&self, _: &Context, _: &u64, _: op::Release) {
        if self.state.shutdowns.load(Ordering::SeqCst) > 0 {
            self.state.ended_after_shutdown.store(true, Ordering::SeqCst);
        }
        self.state.releases.fetch_add(1, Ordering::SeqCst);
    }

    async fn read(&self, cx: &Context, file: &u64, op: op::Read, mut into: Window<'_>) -> Result<usize> {
        let state = &self.state;
        state.reads.fetch_add(1, Ordering::SeqCst);
        let now = state.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        state.in_flight_most.fetch_max(now, Ordering::SeqCst);
        let name = FILES[*file as usize - 2];
        let result = match name {
            "slow" => {
                self.wait(state.slow).await;
                Ok(into.fill(|bytes| {
                    bytes.fill(b's');
                    bytes.len()
                }))
            }
            "never" | "stubborn" => std::future::pending().await,
            "patient" => cx.unless_cancelled(std::future::pending()).await,
            "polite" => {
                cx.cancellation().wait().await;
                Ok(into.put(b"late"))
            }
            "panic" => panic!("this file panics"),
            "changing" => {
                let contents = state.contents.lock().unwrap();
                Ok(into.put(contents.get(op.offset as usize..).unwrap_or_default()))
            }
            "self-notice" => {
                // Sent from inside the operation that the kernel will want to finish first; never awaited here.
                drop(notifier(cx).contents(*file));
                Ok(into.put(b"told"))
            }
            _ => Ok(0),
        };
        state.in_flight.fetch_sub(1, Ordering::SeqCst);
        result
    }

    async fn flush(&self, _: &Context, _: &u64, _: op::Flush) -> Result<()> {
        Ok(())
    }

    async fn getlk(&self, _: &Context, _: &u64, _: op::GetLock) -> Result<Option<op::Lock>> {
        Ok(None)
    }

    async fn setlk(&self, cx: &Context, _: &u64, op: op::SetLock) -> Result<()> {
        match op.lock.kind {
            op::LockKind::Unlock => Ok(()),
            // Always held by somebody else.
            _ if op.wait => cx.unless_cancelled(std::future::pending()).await,
            _ => Err(Error::new(wharf::error::Kind::WouldBlock)),
        }
    }

    async fn readdir(&self, _: &Context, _: &u64, op: op::List, list: &mut Listing<'_, u64>) -> Result<()> {
        for (at, name) in FILES.iter().enumerate().skip(op.cursor as usize) {
            let name = Name::new(name.as_bytes()).expect("a name");
            let listed = Listed { name, inode: at as u64 + 2, kind: Kind::File, cursor: at as u64 + 1 };
            if !list.add(listed) {
                break;
            }
        }
        Ok(())
    }
}

fn notifier(cx: &Context) -> &Notifier {
    cx.notifier()
}
