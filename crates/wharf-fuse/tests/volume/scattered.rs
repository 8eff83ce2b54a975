//! A file in pieces on a disc, read through the rings of real queues.

use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;
use std::thread;

use wharf::{
    Attributes, Cache, Capabilities, Context, Disc, Entry, Extents, FileSystem, Opened, Result, Run, Source,
    op,
};
use wharf_fuse::Mount;
use wharf_fuse::mount::{Mode, Options};

use crate::{BOTH, O_DIRECT};

const PIECE: u64 = 1024;
const PIECES: u64 = 4000;
/// Every sixteenth piece is a hole.
const HOLES: u64 = 16;

/// Where a piece is: far from its neighbours.
fn place(piece: u64) -> Option<u64> {
    (!piece.is_multiple_of(HOLES)).then_some(piece * 7 % PIECES * PIECE)
}

struct Pieces(Disc);

impl Extents for Pieces {
    fn disc(&self) -> &Disc {
        &self.0
    }

    fn len_bytes(&self) -> u64 {
        // The last piece is not full.
        PIECES * PIECE - 100
    }

    fn runs(&self, range: Range<u64>, into: &mut Vec<Run>) -> Result<()> {
        let pieces = range.start / PIECE..range.end.div_ceil(PIECE);
        into.extend(pieces.map(|at| Run { offset: at * PIECE, disc_offset: place(at), len: PIECE }));
        Ok(())
    }
}

struct Scattered(Arc<Pieces>);

impl FileSystem for Scattered {
    type Node = u64;
    type File = ();

    fn capabilities(&self) -> Capabilities {
        Capabilities::empty()
    }

    fn root(&self) -> u64 {
        1
    }

    async fn lookup(&self, _: &Context, _: &u64, _: op::Lookup<'_>) -> Result<Entry<u64>> {
        Ok(Entry::new(2, Attributes::file(2, self.0.len_bytes())))
    }

    async fn getattr(&self, _: &Context, node: &u64, _: Option<&()>) -> Result<Attributes> {
        Ok(if *node == 1 { Attributes::directory(1) } else { Attributes::file(*node, self.0.len_bytes()) })
    }

    async fn open(&self, _: &Context, _: &u64, _: op::Open) -> Result<Opened<()>> {
        Ok(Opened::new(()).source(Source::Extents(self.0.clone())).cache(Cache::Direct))
    }
}

#[test]
fn a_file_in_pieces_is_read_whole_by_many_and_fails_when_its_disc_goes() {
    for transport in BOTH {
        let scratch = tempfile::tempdir().unwrap();
        let image = tempfile::Builder::new().tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let disc: Vec<u8> = (0..PIECES * PIECE).map(|at| ((at / 4 * 31) >> (8 * (at % 4))) as u8).collect();
        fs::write(image.path(), &disc).unwrap();
        let mut expected: Vec<u8> = (0..PIECES)
            .flat_map(|piece| match place(piece) {
                Some(at) => disc[at as usize..][..PIECE as usize].to_vec(),
                None => vec![0; PIECE as usize],
            })
            .collect();
        expected.truncate((PIECES * PIECE) as usize - 100);
        let direct = OpenOptions::new().read(true).custom_flags(O_DIRECT).open(image.path()).unwrap();
        let pieces = Arc::new(Pieces(Disc::new(Arc::new(direct.into()), 512)));
        let options = Options::new("scattered", "scattered:").unwrap();
        let mount = Mount::new(Scattered(pieces.clone()), options).transport(transport);
        let volume = mount.at(scratch.path()).unwrap();
        let path = scratch.path().join("file");
        assert!(fs::read(&path).unwrap() == expected, "{transport}: the whole file");
        let file = Arc::new(File::open(&path).unwrap());
        thread::scope(|scope| {
            for reader in 0..8u64 {
                let (file, expected) = (file.clone(), &expected);
                scope.spawn(move || {
                    let mut buffer = vec![0; 300_000];
                    for step in 0..20 {
                        // Aligned and not, short and long, beyond the end now and then.
                        let at = (reader * 523_456 + step * 212_345) as usize % expected.len();
                        let at = if step % 2 == 0 { at - at % 512 } else { at };
                        let size = (step as usize * 15_001 + 1).min(buffer.len());
                        let read = file.read_at(&mut buffer[..size], at as u64).unwrap();
                        let end = expected.len().min(at + size);
                        assert!(buffer[..read] == expected[at..end], "{transport}: {size} bytes at {at}");
                    }
                });
            }
        });
        pieces.disc().lose();
        let error = file.read_at(&mut [0; 100], 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5), "{transport}");
        drop(file);
        volume.unmount(Mode::Clean).unwrap();
    }
}
