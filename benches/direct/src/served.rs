//! The host: two files in memory, over the kernel and directly at once.
//!
//! `asked` is never cached by anybody, so every read of it is a request; `kept` may be kept in sections.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

use wharf::{
    Attributes, Cache, Capabilities, Context, Entry, Error, FileSystem, Kind, Limits, Listed, Listing, Name,
    Opened, Result, Window, op,
};
use wharf_direct::server::Server;
use wharf_fuse::mount::{Allow, Options};
use wharf_fuse::{Mount, Transport};

/// Memory that the files are made of, again and again: more than a processor's cache.
const MEMORY_BYTES: usize = 1 << 30;
pub(crate) const FILE_BYTES: u64 = 2 << 30;
/// Names that the root is listed with.
pub(crate) const NAMES: u64 = 20_000;

struct Files(Arc<Vec<u8>>);

/// What the byte at an offset is.
pub(crate) fn byte(offset: u64) -> u8 {
    ((offset % MEMORY_BYTES as u64) / 4096 % 251) as u8
}

impl FileSystem for Files {
    type Node = u64;
    type File = ();

    fn capabilities(&self) -> Capabilities {
        Capabilities::empty()
    }

    fn root(&self) -> u64 {
        1
    }

    async fn lookup(&self, _: &Context, _: &u64, op: op::Lookup<'_>) -> Result<Entry<u64>> {
        let inode = match op.name.as_bytes() {
            b"asked" => 2,
            b"kept" => 3,
            _ => return Err(Error::not_found()),
        };
        Ok(Entry::new(inode, Attributes::file(inode, FILE_BYTES)))
    }

    async fn getattr(&self, _: &Context, node: &u64, _: Option<&()>) -> Result<Attributes> {
        Ok(if *node == 1 { Attributes::directory(1) } else { Attributes::file(*node, FILE_BYTES) })
    }

    async fn open(&self, _: &Context, node: &u64, _: op::Open) -> Result<Opened<()>> {
        Ok(Opened::new(()).cache(if *node == 2 { Cache::Direct } else { Cache::WhileOpen }))
    }

    async fn opendir(&self, _: &Context, _: &u64, _: op::Open) -> Result<Opened<()>> {
        Ok(Opened::new(()).cache(Cache::Keep))
    }

    async fn readdir(&self, _: &Context, _: &(), op: op::List, list: &mut Listing<'_, u64>) -> Result<()> {
        for number in op.cursor..NAMES {
            let text = format!("a file {number:05}");
            let Some(name) = Name::new(text.as_bytes()) else { return Err(Error::invalid()) };
            if !list.add(Listed { name, inode: 10 + number, kind: Kind::File, cursor: number + 1 }) {
                break;
            }
        }
        Ok(())
    }

    async fn read(&self, _: &Context, _: &(), op: op::Read, mut into: Window<'_>) -> Result<usize> {
        let room = FILE_BYTES.saturating_sub(op.offset).min(into.len() as u64) as usize;
        let start = (op.offset % MEMORY_BYTES as u64) as usize;
        let first = into.put(&self.0[start..MEMORY_BYTES.min(start + room)]);
        Ok(first + if first < room { into.put_at(first, &self.0[..room - first]) } else { 0 })
    }
}

/// Serves until its input ends. Each line of it is answered with what sections take.
pub(crate) fn serve(point: &str) {
    let memory = (0..MEMORY_BYTES as u64).map(byte).collect();
    let mut options = Options::new("bench", "bench:").expect("good names");
    options.allow = Allow::Owner;
    let limits = Limits { sections_bytes_max: 256 << 20, ..Limits::default() };
    let mount = Mount::new(Files(Arc::new(memory)), options).transport(Transport::Uring).limits(limits);
    let volume = mount.at(point).unwrap_or_else(|error| panic!("{error}"));
    let server = Server::start(volume.session(), std::path::Path::new("/run/wharf")).expect("a socket");
    println!("{}", server.path().display());
    for _ in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
        println!("{}", server.usage().sections_bytes);
        let _ = std::io::stdout().flush();
    }
    server.end();
    drop(volume);
}
