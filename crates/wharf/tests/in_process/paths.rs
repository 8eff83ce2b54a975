//! A file system that knows nothing but paths.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wharf::op::{self, RenameHow};
use wharf::path::{At, FileSystem, Names};
use wharf::{Attributes, Capabilities, Context, Created, Entry, Error, Kind, Opened, Result};

const LONG: Duration = Duration::from_secs(60);

/// What has a name: shared by all its names and open files.
#[derive(Debug)]
pub(crate) struct Item {
    number: u64,
    kind: Kind,
    bytes: Mutex<Vec<u8>>,
}

impl Item {
    fn attributes(&self, numbered: bool) -> Attributes {
        let inode = if numbered { self.number } else { 0 };
        let size = self.bytes.lock().unwrap().len() as u64;
        Attributes { size, ..Attributes::new(inode, self.kind, 0o755) }
    }
}

/// A file system that knows nothing but paths.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) names: Mutex<BTreeMap<PathBuf, Arc<Item>>>,
    numbers: AtomicUsize,
    /// Values that are kept for nodes.
    pub(crate) kept: Arc<AtomicU32>,
    /// A path whose attributes are told only when the test says so.
    pub(crate) gate: Mutex<Option<Gate>>,
}

/// Where a method stops until the test lets it go on.
pub(crate) struct Gate {
    pub(crate) path: PathBuf,
    pub(crate) arrived: Sender<()>,
    pub(crate) go: Receiver<()>,
}

#[derive(Clone)]
pub(crate) struct Paths {
    pub(crate) state: Arc<State>,
    /// Whether it gives inode numbers, or leaves that to Wharf.
    pub(crate) numbered: bool,
}

/// Counts the opens of its node.
#[derive(Default)]
pub(crate) struct Data {
    opens: AtomicU32,
    counted: Mutex<Option<Counted>>,
}

struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Paths {
    fn find(&self, at: &At<'_, Paths>) -> Result<Arc<Item>> {
        match at.file() {
            Some(file) => Ok(file.clone()),
            None => {
                let path = at.path()?;
                self.state.names.lock().unwrap().get(path).cloned().ok_or_else(Error::not_found)
            }
        }
    }

    /// Adds a file, without the volume.
    pub(crate) fn add(&self, path: &str) {
        let number = self.state.numbers.fetch_add(1, SeqCst) as u64 + 10;
        let item = Arc::new(Item { number, kind: Kind::File, bytes: Mutex::default() });
        self.state.names.lock().unwrap().insert(path.into(), item);
    }

    fn make(&self, at: &At<'_, Paths>, kind: Kind) -> Result<Arc<Item>> {
        let number = self.state.numbers.fetch_add(1, SeqCst) as u64 + 10;
        let item = Arc::new(Item { number, kind, bytes: Mutex::default() });
        let mut names = self.state.names.lock().unwrap();
        if names.contains_key(at.path()?) {
            return Err(Error::exists());
        }
        names.insert(at.path()?.to_owned(), item.clone());
        Ok(item)
    }

    fn take(&self, at: &At<'_, Paths>) -> Result<()> {
        let taken = self.state.names.lock().unwrap().remove(at.path()?);
        taken.map(drop).ok_or_else(Error::not_found)
    }
}

fn moved(names: &mut BTreeMap<PathBuf, Arc<Item>>, from: &Path, to: &Path) {
    let below: Vec<_> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
    for old in below {
        let item = names.remove(&old).expect("it was listed");
        let rest = old.strip_prefix(from).expect("it is below");
        names.insert(if rest == Path::new("") { to.into() } else { to.join(rest) }, item);
    }
}

impl FileSystem for Paths {
    type Data = Data;
    type File = Arc<Item>;

    fn capabilities(&self) -> Capabilities {
        Capabilities::POSIX
    }

    fn getattr(&self, _cx: &Context, at: &At<'_, Self>) -> Result<Attributes> {
        if at.file().is_none() && at.path()? == Path::new("") {
            return Ok(Attributes::directory(if self.numbered { 2 } else { 0 }));
        }
        let item = self.find(at)?;
        at.data().counted.lock().unwrap().get_or_insert_with(|| {
            self.state.kept.fetch_add(1, SeqCst);
            Counted(self.state.kept.clone())
        });
        let gate = self.state.gate.lock().unwrap().take_if(|gate| at.path().is_ok_and(|at| at == gate.path));
        if let Some(Gate { arrived, go, .. }) = gate {
            arrived.send(()).expect("the test waits");
            go.recv_timeout(LONG).expect("the test goes on");
        }
        Ok(item.attributes(self.numbered))
    }

    fn mkdir(&self, _cx: &Context, at: &At<'_, Self>, _op: op::MakeDirectory<'_>) -> Result<Entry<()>> {
        Ok(self.make(at, Kind::Directory)?.attributes(self.numbered).into())
    }

    fn create(
        &self,
        _cx: &Context,
        at: &At<'_, Self>,
        _op: op::Create<'_>,
    ) -> Result<Created<(), Arc<Item>>> {
        let item = self.make(at, Kind::File)?;
        at.data().opens.fetch_add(1, SeqCst);
        Ok(Created { entry: item.attributes(self.numbered).into(), opened: Opened::new(item) })
    }

    fn tmpfile(&self, _: &Context, _: &At<'_, Self>, _: op::Tmpfile) -> Result<Created<(), Arc<Item>>> {
        let number = self.state.numbers.fetch_add(1, SeqCst) as u64 + 10;
        let item = Arc::new(Item { number, kind: Kind::File, bytes: Mutex::default() });
        Ok(Created { entry: item.attributes(self.numbered).into(), opened: Opened::new(item) })
    }

    fn open(&self, _cx: &Context, at: &At<'_, Self>, _op: op::Open) -> Result<Opened<Arc<Item>>> {
        at.data().opens.fetch_add(1, SeqCst);
        self.find(at).map(Opened::new)
    }

    fn unlink(&self, _cx: &Context, at: &At<'_, Self>) -> Result<()> {
        self.take(at)
    }

    fn rmdir(&self, _cx: &Context, at: &At<'_, Self>) -> Result<()> {
        self.take(at)
    }

    fn rename(&self, _: &Context, from: &At<'_, Self>, to: &At<'_, Self>, how: RenameHow) -> Result<()> {
        let (from, to) = (from.path()?, to.path()?);
        let mut names = self.state.names.lock().unwrap();
        if how == RenameHow::Exchange {
            moved(&mut names, to, Path::new("exchanged"));
            moved(&mut names, from, to);
            moved(&mut names, Path::new("exchanged"), from);
        } else {
            names.remove(to);
            moved(&mut names, from, to);
        }
        Ok(())
    }

    fn link(&self, _cx: &Context, at: &At<'_, Self>, new: &At<'_, Self>) -> Result<Entry<()>> {
        let item = self.find(at)?;
        self.state.names.lock().unwrap().insert(new.path()?.to_owned(), item.clone());
        Ok(item.attributes(self.numbered).into())
    }

    fn read(
        &self,
        _cx: &Context,
        _at: &At<'_, Self>,
        file: &Arc<Item>,
        op: op::Read,
        into: &mut [u8],
    ) -> Result<usize> {
        let bytes = file.bytes.lock().unwrap();
        let rest = bytes.get(op.offset as usize..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write(&self, _: &Context, _: &At<'_, Self>, file: &Arc<Item>, op: op::Write<'_>) -> Result<usize> {
        let (mut bytes, end) = (file.bytes.lock().unwrap(), op.offset as usize + op.data.len());
        let len = bytes.len().max(end);
        bytes.resize(len, 0);
        bytes[op.offset as usize..end].copy_from_slice(&op.data);
        Ok(op.data.len())
    }

    fn list(&self, _cx: &Context, at: &At<'_, Self>, names: &mut Names) -> Result<()> {
        let directory = at.path()?;
        for (path, item) in &*self.state.names.lock().unwrap() {
            if path.parent() == Some(directory)
                && let Some(name) = path.file_name()
            {
                names.add(name.as_encoded_bytes(), item.kind)?;
            }
        }
        Ok(())
    }
}
