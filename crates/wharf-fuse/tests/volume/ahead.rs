//! How far the kernel reads ahead, when it is told.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use wharf::{Attributes, Capabilities, Context, Entry, Error, FileSystem, Opened, Result, Window, op};
use wharf_fuse::Mount;
use wharf_fuse::mount::{Mode, Options};

use super::BOTH;

const FILE_BYTES: u64 = 4 << 20;

/// One file of zeros, and the largest read that was asked of it.
#[derive(Clone, Default)]
struct Zeros {
    largest: Arc<AtomicU32>,
}

impl FileSystem for Zeros {
    type Node = u64;
    type File = ();

    fn capabilities(&self) -> Capabilities {
        Capabilities::empty()
    }

    fn root(&self) -> u64 {
        1
    }

    async fn lookup(&self, _: &Context, _: &u64, op: op::Lookup<'_>) -> Result<Entry<u64>> {
        if op.name.as_bytes() != b"zeros" {
            return Err(Error::not_found());
        }
        Ok(Entry::new(2, Attributes::file(2, FILE_BYTES)))
    }

    async fn getattr(&self, _: &Context, node: &u64, _: Option<&()>) -> Result<Attributes> {
        Ok(if *node == 1 { Attributes::directory(1) } else { Attributes::file(2, FILE_BYTES) })
    }

    async fn open(&self, _: &Context, _: &u64, _: op::Open) -> Result<Opened<()>> {
        Ok(Opened::new(()))
    }

    async fn read(&self, _: &Context, (): &(), op: op::Read, mut into: Window<'_>) -> Result<usize> {
        self.largest.fetch_max(op.size, SeqCst);
        let len = into.len();
        Ok(into.zero(0..len))
    }
}

#[test]
fn the_kernel_reads_as_far_ahead_as_it_is_told() {
    // Beyond what the kernel offers, less, and not at all.
    for (read_ahead, asked) in [(1 << 20, 256 << 10..=1 << 20), (16_384, 8192..=16_384), (0, 4096..=4096)] {
        for transport in BOTH {
            let (scratch, fs) = (tempfile::tempdir().unwrap(), Zeros::default());
            let mount = Mount::new(fs.clone(), Options::new("zeros", "zeros:").unwrap());
            let volume = mount.transport(transport).read_ahead(read_ahead).at(scratch.path()).unwrap();
            let device = fs::metadata(scratch.path()).unwrap().dev();
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            let told = fs::read_to_string(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb")).unwrap();
            assert_eq!(told.trim(), (read_ahead / 1024).to_string(), "{transport}");
            let file = File::open(scratch.path().join("zeros")).unwrap();
            for block in 0..3 << 20 >> 12 {
                assert_eq!(file.read_at(&mut [1; 4096], block << 12).unwrap(), 4096);
            }
            let largest = fs.largest.load(SeqCst);
            assert!(asked.contains(&largest), "{transport}: told {read_ahead}, and asked for {largest}");
            drop(file);
            volume.unmount(Mode::Clean).unwrap();
        }
    }
}
