//! Files in memory that count what they are asked, and a volume of them that is served directly.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use wharf::op;
use wharf::testing::Volume;
use wharf::{
    Attributes, Cache, Capabilities, Context, Created, Entry, Error, FileSystem, Kind, Listed, Listing, Name,
    Notifier, Opened, Result, Window,
};
use wharf_direct::client;
use wharf_direct::server::Server;

/// What a test and its file system share.
#[derive(Clone, Default)]
pub(crate) struct Files {
    pub(crate) bytes: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    pub(crate) reads: Arc<AtomicU64>,
    pub(crate) releases: Arc<AtomicU64>,
    /// Reads wait until this is false.
    pub(crate) held: Arc<AtomicBool>,
    pub(crate) fails: Arc<AtomicBool>,
    /// Reads of the file `hot`.
    pub(crate) hot_reads: Arc<AtomicU64>,
    pub(crate) lookups: Arc<AtomicU64>,
    /// Names that were added to listings.
    pub(crate) told: Arc<AtomicU64>,
    /// Files are not opened.
    pub(crate) stateless: bool,
    /// Listings may be kept: whoever changes names is heard of.
    pub(crate) keeps: bool,
    /// Nothing is written.
    pub(crate) read_only: bool,
    /// Done once, in the middle of a listing.
    pub(crate) meanwhile: Arc<Mutex<Option<Meanwhile>>>,
    /// A file that nobody may write to.
    pub(crate) kept: Arc<Mutex<String>>,
}

pub(crate) type Meanwhile = Box<dyn FnOnce(&Context) + Send>;

/// Bytes that a file has at the most.
const FILE_BYTES_MAX: u64 = 64 << 20;

impl Files {
    pub(crate) fn with(files: &[(&str, Vec<u8>)]) -> Files {
        let all = Files::default();
        for (name, bytes) in files {
            all.bytes.lock().unwrap().insert((*name).to_owned(), bytes.clone());
        }
        all
    }

    pub(crate) fn keep(&self, name: &str) {
        name.clone_into(&mut self.kept.lock().unwrap());
    }

    fn attributes(&self, name: &str) -> Result<Attributes> {
        if name.is_empty() {
            return Ok(Attributes::directory(1));
        }
        let bytes = self.bytes.lock().unwrap();
        let at = bytes.keys().position(|key| key == name).ok_or(Error::not_found())?;
        Ok(Attributes::file(2 + at as u64, bytes[name].len() as u64))
    }
}

impl FileSystem for Files {
    type Node = Arc<str>;
    type File = Arc<str>;

    fn capabilities(&self) -> Capabilities {
        let can = Capabilities::WRITE | Capabilities::FSYNC | Capabilities::LIST_ENTRIES;
        let can = if self.read_only { can - Capabilities::WRITE } else { can };
        if self.stateless { can | Capabilities::STATELESS_FILES } else { can }
    }

    fn file(&self, node: &Arc<str>) -> Result<Arc<str>> {
        Ok(node.clone())
    }

    fn root(&self) -> Arc<str> {
        "".into()
    }

    async fn lookup(&self, _: &Context, _: &Arc<str>, op: op::Lookup<'_>) -> Result<Entry<Arc<str>>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let name = String::from_utf8_lossy(op.name.as_bytes()).into_owned();
        let attributes = self.attributes(&name)?;
        Ok(Entry::new(name.into(), attributes))
    }

    async fn getattr(&self, _: &Context, node: &Arc<str>, _: Option<&Arc<str>>) -> Result<Attributes> {
        self.attributes(node)
    }

    async fn setattr(
        &self,
        _: &Context,
        node: &Arc<str>,
        _: Option<&Arc<str>>,
        op: op::SetAttributes,
    ) -> Result<Attributes> {
        if let Some(size) = op.size {
            let mut bytes = self.bytes.lock().unwrap();
            bytes.get_mut(&**node).ok_or(Error::not_found())?.resize(size as usize, 0);
        }
        self.attributes(node)
    }

    async fn open(&self, _: &Context, node: &Arc<str>, _: op::Open) -> Result<Opened<Arc<str>>> {
        let cache = if &**node == "fresh" { Cache::Direct } else { Cache::WhileOpen };
        Ok(Opened::new(node.clone()).cache(cache))
    }

    async fn opendir(&self, _: &Context, node: &Arc<str>, _: op::Open) -> Result<Opened<Arc<str>>> {
        Ok(Opened::new(node.clone()).cache(if self.keeps { Cache::Keep } else { Cache::WhileOpen }))
    }

    async fn create(
        &self,
        _: &Context,
        _: &Arc<str>,
        op: op::Create<'_>,
    ) -> Result<Created<Arc<str>, Arc<str>>> {
        let name = String::from_utf8_lossy(op.new.name.as_bytes()).into_owned();
        self.bytes.lock().unwrap().entry(name.clone()).or_default();
        let attributes = self.attributes(&name)?;
        let file: Arc<str> = name.into();
        Ok(Created { entry: Entry::new(file.clone(), attributes), opened: Opened::new(file) })
    }

    async fn unlink(&self, _: &Context, _: &Arc<str>, op: op::Remove<'_>) -> Result<()> {
        let name = String::from_utf8_lossy(op.name.as_bytes()).into_owned();
        self.bytes.lock().unwrap().remove(&name).map(drop).ok_or(Error::not_found())
    }

    async fn release(&self, _: &Context, _: &Arc<str>, _: op::Release) {
        self.releases.fetch_add(1, Ordering::SeqCst);
    }

    async fn read(&self, cx: &Context, file: &Arc<str>, op: op::Read, mut into: Window<'_>) -> Result<usize> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.hot_reads.fetch_add((**file == *"hot").into(), Ordering::SeqCst);
        if self.held.load(Ordering::SeqCst) {
            cx.cancellation().wait().await;
            return Err(Error::interrupted());
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::io("reading what is broken on purpose"));
        }
        let bytes = self.bytes.lock().unwrap();
        let bytes = bytes.get(&**file).ok_or(Error::not_found())?;
        Ok(into.put(bytes.get(op.offset as usize..).unwrap_or_default()))
    }

    async fn write(&self, _: &Context, file: &Arc<str>, op: op::Write<'_>) -> Result<usize> {
        let end = op.offset.checked_add(op.data.len() as u64).filter(|end| *end <= FILE_BYTES_MAX);
        if end.is_none() || **file == **self.kept.lock().unwrap() {
            return Err(Error::new(wharf::error::Kind::TooLarge));
        }
        let mut bytes = self.bytes.lock().unwrap();
        let bytes = bytes.get_mut(&**file).ok_or(Error::not_found())?;
        let end = op.offset as usize + op.data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[op.offset as usize..end].copy_from_slice(&op.data);
        Ok(op.data.len())
    }

    async fn fsync(&self, _: &Context, _: &Arc<str>, _: op::Fsync) -> Result<()> {
        Ok(())
    }

    async fn readdir(
        &self,
        cx: &Context,
        _: &Arc<str>,
        op: op::List,
        list: &mut Listing<'_, Arc<str>>,
    ) -> Result<()> {
        if let Some(meanwhile) = self.meanwhile.lock().unwrap().take() {
            meanwhile(cx);
        }
        let bytes = self.bytes.lock().unwrap();
        // Names are sorted, so those with one beginning are easily found.
        let prefix = list.pattern().map(|pattern| pattern.prefix().to_vec()).unwrap_or_default();
        let wanted = bytes.iter().enumerate().skip(op.cursor as usize);
        for (at, (key, bytes)) in wanted.filter(|(_, (key, _))| key.as_bytes().starts_with(&prefix)) {
            let Some(name) = Name::new(key.as_bytes()) else { continue };
            self.told.fetch_add(1, Ordering::SeqCst);
            let inode = 2 + at as u64;
            let listed = Listed { name, inode, kind: Kind::File, cursor: at as u64 + 1 };
            // Of some nothing is known without a look.
            let added = if list.wants_entries() && key != "unknown" {
                let attributes = Attributes::file(inode, bytes.len() as u64);
                list.add_entry(listed, Entry::new(key.as_str().into(), attributes))
            } else {
                list.add(listed)
            };
            if !added {
                break;
            }
        }
        Ok(())
    }
}

/// A volume, its direct server, and a kernel that takes every notice.
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) volume: Volume<Files>,
    notifier: Notifier,
    kernel: Option<JoinHandle<()>>,
    _room: tempfile::TempDir,
}

impl Served {
    pub(crate) fn new(files: &Files) -> Served {
        Served::with(files, wharf::Limits::default())
    }

    pub(crate) fn with(files: &Files, limits: wharf::Limits) -> Served {
        let room = tempfile::tempdir().unwrap();
        let setup = wharf::session::Setup { limits, ..wharf::session::Setup::default() };
        let volume = Volume::with(files.clone(), setup).unwrap();
        let notifier = volume.notifier().clone();
        let taken = notifier.clone();
        let kernel = std::thread::spawn(move || {
            while let Some(notice) = taken.next() {
                notice.confirm(Ok(Vec::new()));
            }
        });
        let server = Server::start(volume.session(), room.path()).unwrap();
        Served { server, volume, notifier, kernel: Some(kernel), _room: room }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.server.path().to_owned()
    }

    pub(crate) fn client(&self) -> client::Volume {
        client::Volume::connect(&self.socket()).unwrap()
    }

    pub(crate) fn open(&self, name: &str) -> client::Reader {
        open(&self.socket(), name)
    }
}

pub(crate) fn open(socket: &Path, name: &str) -> client::Reader {
    let client = client::Volume::connect(socket).unwrap();
    let (node, _) = client.lookup(&client.root(), name.as_bytes()).unwrap();
    client.open(&node, true).unwrap()
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.end();
        self.notifier.close();
        if let Some(kernel) = self.kernel.take() {
            kernel.join().unwrap();
        }
    }
}
