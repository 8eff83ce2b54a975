//! The tiny file system on Wharf: `serve-wharf DIR [auto|dev|uring][+KIB|+lists] [CACHING]`; the kernel reads so many KiB
//! ahead, or keeps listings. `tiny` says what is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use tiny::{Arguments, Caching, ROOT, SLOW, Timers, Tiny};
use wharf::{
    Attributes, Cache, Capabilities, Context, Created, Defaults, Entry, Error, FileSystem, Kind, Lifetimes,
    Listed, Listing, Name, Opened, Result, Window, op,
};
use wharf_fuse::{Mount, Transport, mount::Options};

struct SlowRead {
    due: Arc<AtomicBool>,
    waker: Waker,
}

struct Served {
    tiny: Tiny,
    caching: Caching,
    /// What the kernel keeps of listings.
    lists: Cache,
    timers: Timers<SlowRead>,
}

fn convert(of: tiny::Attributes) -> Attributes {
    if of.directory {
        Attributes { permissions: 0o777, ..Attributes::directory(of.inode) }
    } else {
        Attributes::file(of.inode, of.bytes)
    }
}

impl Served {
    fn entry(&self, inode: u64) -> Entry<u64> {
        Entry::new(inode, convert(self.tiny.attributes(inode)))
    }

    async fn sleep(&self) {
        let due = Arc::new(AtomicBool::new(false));
        let mut asked = false;
        std::future::poll_fn(|cx| {
            if due.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if !asked {
                asked = true;
                self.timers.after_slow_read(SlowRead { due: due.clone(), waker: cx.waker().clone() });
            }
            Poll::Pending
        })
        .await;
    }
}

impl FileSystem for Served {
    type Node = u64;
    type File = u64;

    fn capabilities(&self) -> Capabilities {
        // Directories are opened, as at the peers: otherwise the kernel keeps listings, and a comparison of
        // listings would measure the kernel. Entries are listed where the peers list them.
        if self.caching == Caching::Brief {
            Capabilities::WRITE | Capabilities::LIST_ENTRIES
        } else {
            Capabilities::WRITE
        }
    }

    fn root(&self) -> u64 {
        ROOT
    }

    async fn lookup(&self, _: &Context, parent: &u64, op: op::Lookup<'_>) -> Result<Entry<u64>> {
        let found = self.tiny.lookup(*parent, op.name.as_bytes());
        Ok(self.entry(found.ok_or_else(Error::not_found)?))
    }

    async fn getattr(&self, _: &Context, node: &u64, _: Option<&u64>) -> Result<Attributes> {
        Ok(convert(self.tiny.attributes(*node)))
    }

    async fn setattr(
        &self,
        _: &Context,
        node: &u64,
        _: Option<&u64>,
        op: op::SetAttributes,
    ) -> Result<Attributes> {
        if let Some(bytes) = op.size {
            self.tiny.resize(*node, bytes);
        }
        Ok(convert(self.tiny.attributes(*node)))
    }

    async fn open(&self, _: &Context, node: &u64, _: op::Open) -> Result<Opened<u64>> {
        let cache = if Tiny::is_direct(*node) { Cache::Direct } else { Cache::WhileOpen };
        Ok(Opened::new(*node).cache(cache))
    }

    async fn opendir(&self, _: &Context, node: &u64, _: op::Open) -> Result<Opened<u64>> {
        Ok(Opened::new(*node).cache(self.lists))
    }

    async fn create(&self, _: &Context, _: &u64, op: op::Create<'_>) -> Result<Created<u64, u64>> {
        let inode = self.tiny.create(op.new.name.as_bytes());
        Ok(Created { entry: self.entry(inode), opened: Opened::new(inode) })
    }

    async fn unlink(&self, _: &Context, _: &u64, op: op::Remove<'_>) -> Result<()> {
        self.tiny.unlink(op.name.as_bytes()).ok_or_else(Error::not_found)
    }

    async fn read(&self, _: &Context, file: &u64, op: op::Read, mut into: Window<'_>) -> Result<usize> {
        if *file == SLOW {
            self.sleep().await;
        }
        let copied = self.tiny.read(*file, op.offset, into.len(), |bytes| into.put(bytes));
        copied.ok_or_else(Error::not_found)
    }

    async fn write(&self, _: &Context, file: &u64, op: op::Write<'_>) -> Result<usize> {
        self.tiny.write(*file, op.offset, &op.data).ok_or_else(Error::not_found)
    }

    async fn readdir(
        &self,
        _: &Context,
        file: &u64,
        op: op::List,
        list: &mut Listing<'_, u64>,
    ) -> Result<()> {
        self.tiny.list(*file, op.cursor, |name, of, cursor| {
            let Some(name) = Name::new(name) else { return true };
            let kind = if of.directory { Kind::Directory } else { Kind::File };
            let listed = Listed { name, inode: of.inode, kind, cursor };
            if list.wants_entries() {
                list.add_entry(listed, Entry::new(of.inode, convert(of)))
            } else {
                list.add(listed)
            }
        });
        Ok(())
    }
}

struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{}: {}", record.level(), record.args());
    }
    fn flush(&self) {}
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let _ = log::set_logger(&Stderr).map(|()| log::set_max_level(log::LevelFilter::Info));
    let arguments = Arguments::parse()?;
    let (transport, read_ahead, lists) = match arguments.variant.split_once('+') {
        Some((transport, "lists")) => (transport, None, Cache::Keep),
        Some((transport, kib)) => (transport, Some(kib.parse::<u32>()? << 10), Cache::WhileOpen),
        None => (arguments.variant.as_str(), None, Cache::WhileOpen),
    };
    let transport = match transport {
        "dev" => Transport::Dev,
        "uring" => Transport::Uring,
        _ => Transport::Auto,
    };
    let timers = Timers::new(|SlowRead { due, waker }| {
        due.store(true, Ordering::Release);
        waker.wake();
    });
    let Arguments { dir, caching, .. } = arguments;
    let lifetimes = match caching {
        Caching::Kept => Lifetimes::LONG,
        other => Lifetimes { entry: other.names(), attributes: other.attributes() },
    };

    let mut options = Options::new("bench", "bench:")?;
    options.allow = wharf_fuse::mount::Allow::Everyone;
    let defaults = Defaults { lifetimes, ..Defaults::default() };
    let served = Served { tiny: Tiny::new()?, caching, lists, timers };
    let mut mount = Mount::new(served, options).transport(transport).defaults(defaults);
    if let Some(bytes) = read_ahead {
        mount = mount.read_ahead(bytes);
    }
    let volume = mount.at(dir)?;
    tiny::say_ready(&format!("wharf, {}", volume.transport()));
    volume.wait();
    Ok(())
}
