//! The file system that every library in the comparison serves, on Wharf.
//!
//! `serve-wharf DIR [auto|dev|uring] [attr0]`: a file `big` of 1 GiB from memory (opened for direct I/O, as
//! `cached` through the page cache), a directory `many` of 10,000 empty files, and room to create, write and
//! unlink in `tmp`. `attr0` switches the caching of names and attributes off. `slow` answers each read after 10 ms.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::RwLock;
use std::time::{Duration, Instant};

use wharf::{
    Attributes, Cache, Capabilities, Context, Created, Data, Defaults, Entry, Error, FileSystem, Kind, Lifetimes,
    Listed, Listing, Name, Opened, Result, Window, op,
};
use wharf_fuse::{Mount, Transport, mount::Options};

const BIG_BYTES: u64 = 1 << 30;
const MANY: u64 = 10_000;
const ROOT: u64 = 1;
const BIG: u64 = 2;
const CACHED: u64 = 3;
const MANY_DIR: u64 = 4;
const TMP: u64 = 5;
const SLOW: u64 = 6;
const FIRST_MANY: u64 = 100;
const FIRST_TMP: u64 = 1_000_000;

struct Bench {
    bytes: Vec<u8>,
    tmp: RwLock<BTreeMap<Vec<u8>, u64>>,
    contents: RwLock<std::collections::HashMap<u64, Vec<u8>>>,
    next: AtomicU64,
    timers: std::sync::mpsc::Sender<(Instant, std::task::Waker)>,
}

impl Bench {
    fn attributes(&self, inode: u64) -> Result<Attributes> {
        Ok(match inode {
            ROOT | MANY_DIR | TMP => Attributes { permissions: 0o777, ..Attributes::directory(inode) },
            BIG | CACHED | SLOW => Attributes::file(inode, BIG_BYTES),
            _ if inode < FIRST_TMP => Attributes::file(inode, 0),
            _ => {
                let contents = self.contents.read().unwrap();
                Attributes::file(inode, contents.get(&inode).map_or(0, Vec::len) as u64)
            }
        })
    }

    fn entry(&self, inode: u64) -> Result<Entry<u64>> {
        Ok(Entry::new(inode, self.attributes(inode)?))
    }
}

const TOP: [(&str, u64); 5] = [("big", BIG), ("cached", CACHED), ("many", MANY_DIR), ("tmp", TMP), ("slow", SLOW)];

impl FileSystem for Bench {
    type Node = u64;
    type File = u64;

    fn capabilities(&self) -> Capabilities {
        Capabilities::WRITE | Capabilities::STATELESS_DIRECTORIES | Capabilities::LIST_ENTRIES
    }

    fn root(&self) -> u64 {
        ROOT
    }

    fn file(&self, node: &u64) -> Result<u64> {
        Ok(*node)
    }

    async fn lookup(&self, _: &Context, parent: &u64, op: op::Lookup<'_>) -> Result<Entry<u64>> {
        let name = op.name.as_bytes();
        match *parent {
            ROOT => {
                let found = TOP.iter().find(|(known, _)| known.as_bytes() == name);
                self.entry(found.ok_or_else(Error::not_found)?.1)
            }
            MANY_DIR => {
                let number = std::str::from_utf8(name).ok().and_then(|name| name.strip_prefix("file")?.parse().ok());
                let number = number.filter(|number: &u64| *number < MANY).ok_or_else(Error::not_found)?;
                self.entry(FIRST_MANY + number)
            }
            _ => {
                let found = self.tmp.read().unwrap().get(name).copied();
                self.entry(found.ok_or_else(Error::not_found)?)
            }
        }
    }

    async fn getattr(&self, _: &Context, node: &u64, _: Option<&u64>) -> Result<Attributes> {
        self.attributes(*node)
    }

    async fn setattr(&self, _: &Context, node: &u64, _: Option<&u64>, op: op::SetAttributes) -> Result<Attributes> {
        if let Some(size) = op.size {
            self.contents.write().unwrap().entry(*node).or_default().resize(size as usize, 0);
        }
        self.attributes(*node)
    }

    async fn open(&self, _: &Context, node: &u64, _: op::Open) -> Result<Opened<u64>> {
        let cache = if matches!(*node, BIG | SLOW) { Cache::Direct } else { Cache::WhileOpen };
        Ok(Opened::new(*node).cache(cache))
    }

    async fn create(&self, _: &Context, _: &u64, op: op::Create<'_>) -> Result<Created<u64, u64>> {
        let inode = self.next.fetch_add(1, Ordering::Relaxed);
        self.tmp.write().unwrap().insert(op.new.name.as_bytes().to_vec(), inode);
        self.contents.write().unwrap().insert(inode, Vec::new());
        Ok(Created { entry: self.entry(inode)?, opened: Opened::new(inode) })
    }

    async fn unlink(&self, _: &Context, _: &u64, op: op::Remove<'_>) -> Result<()> {
        let inode = self.tmp.write().unwrap().remove(op.name.as_bytes()).ok_or_else(Error::not_found)?;
        self.contents.write().unwrap().remove(&inode);
        Ok(())
    }

    async fn read(&self, _: &Context, file: &u64, op: op::Read, mut into: Window<'_>) -> Result<usize> {
        if *file == SLOW {
            let due = Instant::now() + Duration::from_millis(10);
            let mut asked = false;
            std::future::poll_fn(|cx| {
                if asked && Instant::now() >= due {
                    return std::task::Poll::Ready(());
                }
                asked = true;
                let _ = self.timers.send((due, cx.waker().clone()));
                std::task::Poll::Pending
            })
            .await;
        }
        if *file >= FIRST_TMP {
            let contents = self.contents.read().unwrap();
            let bytes = contents.get(file).ok_or_else(Error::not_found)?;
            return Ok(into.put(bytes.get(op.offset as usize..).unwrap_or_default()));
        }
        let from = (op.offset as usize).min(self.bytes.len());
        Ok(into.put(&self.bytes[from..]))
    }

    async fn write(&self, _: &Context, file: &u64, op: op::Write<'_>) -> Result<usize> {
        let data: &Data<'_> = &op.data;
        let mut contents = self.contents.write().unwrap();
        let bytes = contents.get_mut(file).ok_or_else(Error::not_found)?;
        let from = op.offset as usize;
        let end = from + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[from..end].copy_from_slice(data);
        Ok(data.len())
    }

    async fn readdir(&self, _: &Context, file: &u64, op: op::List, list: &mut Listing<'_, u64>) -> Result<()> {
        let mut add = |name: &[u8], inode: u64, kind: Kind, cursor: u64| {
            let Some(name) = Name::new(name) else { return true };
            let listed = Listed { name, inode, kind, cursor };
            if list.wants_entries() {
                let Ok(entry) = self.entry(inode) else { return true };
                list.add_entry(listed, entry)
            } else {
                list.add(listed)
            }
        };
        match *file {
            ROOT => {
                for (at, (name, inode)) in TOP.iter().enumerate().skip(op.cursor as usize) {
                    let kind = self.attributes(*inode)?.kind;
                    if !add(name.as_bytes(), *inode, kind, at as u64 + 1) {
                        break;
                    }
                }
            }
            MANY_DIR => {
                let mut name = *b"file00000";
                for number in op.cursor..MANY {
                    let mut rest = number;
                    for digit in name[4..].iter_mut().rev() {
                        *digit = b'0' + (rest % 10) as u8;
                        rest /= 10;
                    }
                    if !add(&name, FIRST_MANY + number, Kind::File, number + 1) {
                        break;
                    }
                }
            }
            _ => {
                for (name, inode) in self.tmp.read().unwrap().iter() {
                    if *inode > op.cursor && !add(name, *inode, Kind::File, *inode) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Wakes what is due; timers come in order because all are of the same length.
fn timers(due: std::sync::mpsc::Receiver<(Instant, std::task::Waker)>) {
    for (due, waker) in due {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        waker.wake();
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
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: serve-wharf DIR [auto|dev|uring] [attr0]")?;
    let transport = match arguments.next().as_deref() {
        Some("dev") => Transport::Dev,
        Some("uring") => Transport::Uring,
        _ => Transport::Auto,
    };
    let lifetimes = if arguments.next().as_deref() == Some("attr0") { Lifetimes::NONE } else { Lifetimes::LONG };
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(|| timers(receiver));
    let mut bytes = vec![0u8; BIG_BYTES as usize];
    for (at, word) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *word = (at as u64).to_le_bytes();
    }
    let fs = Bench {
        bytes,
        tmp: RwLock::default(),
        contents: RwLock::default(),
        next: AtomicU64::new(FIRST_TMP),
        timers: sender,
    };

    let mut options = Options::new("bench", "bench:")?;
    options.allow = wharf_fuse::mount::Allow::Everyone;
    let defaults = Defaults { lifetimes, ..Defaults::default() };
    let volume = Mount::new(fs, options).transport(transport).defaults(defaults).at(dir)?;
    println!("ready {}", volume.transport());
    volume.wait();
    Ok(())
}
