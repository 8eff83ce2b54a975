//! What is on disc and where, in memory: it is asked on the threads of the volume, and does no I/O.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::super::meta::Version;
use super::super::paths::inside;

/// So many blocks are known, at some hundred bytes of memory each, whatever room there is on disc: the budget of
/// who caches very many small files.
const BLOCKS_MAX: usize = 256 << 10;
/// So many of them are in one segment, at most: what is evicted at once.
pub(super) const SEGMENT_BLOCKS_MAX: usize = BLOCKS_MAX / 16;

/// Where the bytes of a block are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: Arc<File>,
    /// Of the segment.
    pub(super) number: u64,
    /// Bytes before them.
    pub(super) at: u64,
    pub(super) len: u32,
    pub(super) checksum: u32,
}

impl Place {
    /// Reads the bytes; `None` if they are not those that were written. Blocks.
    pub(super) fn read(&self) -> std::io::Result<Option<Bytes>> {
        let mut bytes = vec![0; self.len as usize];
        match self.file.read_exact_at(&mut bytes, self.at) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        Ok((crc32fast::hash(&bytes) == self.checksum).then(|| bytes.into()))
    }
}

/// One file of records. The oldest goes as a whole when room is needed.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) bytes: u64,
    pub(super) blocks: Vec<(Arc<str>, u32)>,
}

#[derive(Debug)]
struct Kept {
    version: Version,
    blocks: HashMap<u32, Place>,
}

/// What is on disc and where.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_path: BTreeMap<Arc<str>, Kept>,
    /// The oldest first.
    segments: VecDeque<Segment>,
    /// Of all segments.
    bytes: u64,
    /// Of all segments, those included that are there again, or forgotten: they take memory until they go.
    blocks: usize,
}

impl Index {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether one more segment may be known.
    pub(super) fn has_room(&self) -> bool {
        self.blocks + SEGMENT_BLOCKS_MAX <= BLOCKS_MAX
    }

    /// Whether no more blocks should come into the last segment, however short they are.
    pub(super) fn is_segment_full(&self) -> bool {
        self.segments.back().is_some_and(|last| last.blocks.len() >= SEGMENT_BLOCKS_MAX)
    }

    /// A block of exactly this version, by its tag or time.
    pub(super) fn find(&self, path: &str, version: &Version, index: u32) -> Option<&Place> {
        let kept = self.by_path.get(path)?;
        kept.blocks.get(&index).filter(|_| version.proves(&kept.version))
    }

    pub(super) fn knows(&self, path: &str, below: bool) -> bool {
        self.by_path.contains_key(path) || (below && !self.below(path).is_empty())
    }

    fn below(&self, directory: &str) -> Vec<Arc<str>> {
        let prefix = inside(directory, "");
        let from = (Bound::Included(&*prefix), Bound::Unbounded);
        let behind = self.by_path.range::<str, _>(from).map(|(path, _)| path);
        behind.take_while(|path| path.starts_with(&prefix)).cloned().collect()
    }

    /// A segment that is written to from now on, or has been found.
    pub(super) fn open(&mut self, number: u64) {
        self.segments.push_back(Segment { number, bytes: 0, blocks: Vec::new() });
    }

    /// The last segment has so many bytes now.
    pub(super) fn grown(&mut self, bytes: u64) {
        if let Some(last) = self.segments.back_mut() {
            self.bytes += bytes - last.bytes;
            last.bytes = bytes;
        }
    }

    /// A block is in the last segment now. What there was of another version is forgotten.
    pub(super) fn insert(&mut self, path: &Arc<str>, version: &Version, index: u32, place: Place) {
        if self.by_path.get(path).is_some_and(|kept| !version.proves(&kept.version)) {
            self.forget(path, false);
        }
        let new = || Kept { version: version.clone(), blocks: HashMap::new() };
        let kept = self.by_path.entry(path.clone()).or_insert_with(new);
        kept.blocks.insert(index, place);
        if let Some(last) = self.segments.back_mut() {
            last.blocks.push((path.clone(), index));
            self.blocks += 1;
        }
    }

    /// What is at a path, or also below it, is not what it was.
    pub(super) fn forget(&mut self, path: &str, below: bool) {
        let mut paths = if below { self.below(path) } else { Vec::new() };
        paths.push(path.into());
        for path in paths {
            self.by_path.remove(&path);
        }
    }

    /// One block is not what it should be.
    pub(super) fn drop_block(&mut self, path: &str, index: u32, number: u64) {
        let Some(kept) = self.by_path.get_mut(path) else { return };
        if kept.blocks.get(&index).is_some_and(|place| place.number == number) {
            kept.blocks.remove(&index);
        }
        if kept.blocks.is_empty() {
            self.by_path.remove(path);
        }
    }

    /// The oldest segment is to be removed: nobody finds it from now on.
    pub(super) fn evict(&mut self) -> Option<u64> {
        let oldest = self.segments.pop_front()?;
        self.bytes -= oldest.bytes;
        self.blocks -= oldest.blocks.len();
        for (path, index) in &oldest.blocks {
            self.drop_block(path, *index, oldest.number);
        }
        Some(oldest.number)
    }

    /// Whether a segment is one of those that go soon: what is used of it deserves to be written again.
    pub(super) fn is_old(&self, number: u64, bytes_max: u64) -> bool {
        let nearly_full = self.bytes > bytes_max / 4 * 3 || self.blocks > BLOCKS_MAX / 4 * 3;
        nearly_full
            && self.segments.get(self.segments.len() / 4).is_some_and(|segment| number < segment.number)
    }

    /// Nothing is on disc any more, as far as anybody asks.
    pub(super) fn clear(&mut self) {
        *self = Index::default();
    }
}
