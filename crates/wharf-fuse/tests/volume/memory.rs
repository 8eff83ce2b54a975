//! Files in memory through a mount: waiting for bytes, the kernel's own reading, and changes of what a node is.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::thread;

use wharf::error::Kind;
use wharf::{
    Attributes, Cache, Capabilities, Context, Entry, Error, FileSystem, Memory, Opened, Result, Source,
    Window, op,
};
use wharf_fuse::mount::{Mode, Options};
use wharf_fuse::{Mount, Transport, Volume};

use super::BOTH;

/// One file, whose memory can be exchanged.
#[derive(Clone)]
struct InMemory {
    memory: Arc<Mutex<Arc<Memory>>>,
    released: Arc<AtomicUsize>,
    cache: Cache,
}

impl FileSystem for InMemory {
    type Node = u64;
    type File = ();

    fn capabilities(&self) -> Capabilities {
        Capabilities::WRITE
    }

    fn root(&self) -> u64 {
        1
    }

    async fn lookup(&self, cx: &Context, _: &u64, op: op::Lookup<'_>) -> Result<Entry<u64>> {
        if op.name.as_bytes() != b"file" {
            return Err(Error::not_found());
        }
        Ok(Entry::new(2, self.getattr(cx, &2, None).await?))
    }

    async fn getattr(&self, _: &Context, node: &u64, _: Option<&()>) -> Result<Attributes> {
        let len = self.memory.lock().unwrap().len();
        Ok(if *node == 1 { Attributes::directory(1) } else { Attributes::file(2, len) })
    }

    async fn open(&self, _: &Context, _: &u64, _: op::Open) -> Result<Opened<()>> {
        let memory = self.memory.lock().unwrap().clone();
        Ok(Opened::new(()).cache(self.cache).source(Source::Memory(memory)))
    }

    async fn read(&self, _: &Context, (): &(), _: op::Read, _: Window<'_>) -> Result<usize> {
        Err(Error::io("asking for what is in memory"))
    }

    async fn release(&self, _: &Context, (): &(), _: op::Release) {
        self.released.fetch_add(1, SeqCst);
    }
}

struct Mounted {
    fs: InMemory,
    volume: Volume,
    path: PathBuf,
    _scratch: tempfile::TempDir,
}

fn mounted(transport: Transport, memory: Arc<Memory>) -> Mounted {
    mounted_with(transport, memory, Cache::WhileOpen)
}

fn mounted_with(transport: Transport, memory: Arc<Memory>, cache: Cache) -> Mounted {
    let scratch = tempfile::tempdir().unwrap();
    let fs = InMemory { memory: Arc::new(Mutex::new(memory)), released: Arc::default(), cache };
    let mount = Mount::new(fs.clone(), Options::new("in-memory", "in-memory:").unwrap()).transport(transport);
    let volume = mount.at(scratch.path()).unwrap();
    Mounted { fs, volume, path: scratch.path().join("file"), _scratch: scratch }
}

fn first(file: &File) -> u8 {
    let mut byte = [0];
    assert_eq!(file.read_at(&mut byte, 0).unwrap(), 1);
    byte[0]
}

#[test]
fn a_read_waits_for_bytes_that_are_being_made() {
    for transport in BOTH {
        let (memory, mut filler) = Memory::new(300_000).unwrap();
        let mounted = mounted(transport, memory);
        let reader = thread::spawn({
            let path = mounted.path.clone();
            move || fs::read(path).unwrap()
        });
        assert!(filler.wait_until_wanted().is_some());
        for part in 0..3u8 {
            filler.append(&[part; 100_000]).unwrap();
        }
        filler.finish().unwrap();
        let bytes = reader.join().unwrap();
        assert_eq!(bytes.len(), 300_000, "{transport}");
        assert!(bytes.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at / 100_000), "{transport}");
        mounted.volume.unmount(Mode::Clean).unwrap();
    }
}

#[test]
fn bytes_that_do_not_come_are_the_error_that_the_filler_gave() {
    for transport in BOTH {
        let (memory, filler) = Memory::new(300_000).unwrap();
        let mounted = mounted(transport, memory);
        let reader = thread::spawn({
            let path = mounted.path.clone();
            move || fs::read(path).unwrap_err().raw_os_error()
        });
        assert!(filler.wait_until_wanted().is_some());
        filler.fail(&Error::new(Kind::NoSpace));
        assert_eq!(reader.join().unwrap(), Some(28), "{transport}");
        mounted.volume.unmount(Mode::Clean).unwrap();
    }
}

#[test]
fn what_is_in_memory_is_not_opened_for_writing() {
    for transport in BOTH {
        let mounted = mounted(transport, Memory::holding(b"fixed").unwrap());
        let error = OpenOptions::new().write(true).open(&mounted.path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{transport}");
        assert_eq!(mounted.fs.released.load(SeqCst), 1, "{transport}: what the author opened is released");
        assert_eq!(fs::read(&mounted.path).unwrap(), b"fixed");
        mounted.volume.unmount(Mode::Clean).unwrap();
    }
}

#[test]
fn complete_memory_is_read_by_the_kernel_itself_and_other_memory_beside_it() {
    for transport in BOTH {
        let old = Memory::holding(&[b'o'; 10_000]).unwrap();
        let mounted = mounted(transport, old.clone());
        let before = File::open(&mounted.path).unwrap();
        assert_eq!(first(&before), b'o');
        // Seen at once only if nothing of it is kept in the kernel's cache.
        old.section().write(0, b"O");
        assert_eq!(first(&before), b'O', "{transport}: not passed through");
        // The node gets other contents while it is open; then contents that are not there yet.
        *mounted.fs.memory.lock().unwrap() = Memory::holding(&[b'n'; 10_000]).unwrap();
        let after = File::open(&mounted.path).unwrap();
        assert_eq!((first(&before), first(&after)), (b'O', b'n'), "{transport}");
        let (making, mut filler) = Memory::new(10_000).unwrap();
        *mounted.fs.memory.lock().unwrap() = making;
        let being_made = File::open(&mounted.path).unwrap();
        filler.append(&[b'm'; 10_000]).unwrap();
        assert_eq!((first(&before), first(&after), first(&being_made)), (b'O', b'n', b'm'), "{transport}");
        drop((before, after, being_made));
        mounted.volume.unmount(Mode::Clean).unwrap();
    }
}

#[test]
fn complete_memory_that_is_to_be_kept_is_read_from_the_kernels_cache() {
    for transport in BOTH {
        let memory = Memory::holding(&[b'o'; 10_000]).unwrap();
        let mounted = mounted_with(transport, memory.clone(), Cache::Keep);
        assert_eq!(fs::read(&mounted.path).unwrap(), [b'o'; 10_000], "{transport}");
        // Nothing ever changes it but this, so that one sees where bytes come from.
        memory.section().write(0, b"O");
        assert_eq!(first(&File::open(&mounted.path).unwrap()), b'o', "{transport}: asked for again");
        mounted.volume.unmount(Mode::Clean).unwrap();
    }
}
