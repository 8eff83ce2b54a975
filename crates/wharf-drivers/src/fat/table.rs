//! The table: which cluster follows which, and which are free.

use wharf::io::Buffer;
use wharf::{Error, Result};

use super::cache::{Cache, Stage};
use super::geometry::{FIRST_CLUSTER, Geometry, Width};
use super::medium::{Lane, Medium};
use super::runs::{Runs, Span};

/// Bytes of the table that are read at once when all of it is.
const SCAN_BYTES: usize = 256 << 10;

/// What a table says of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Free,
    Next(u32),
    End,
    /// Damaged, reserved, or a number that no cluster has.
    Bad,
}

fn link(geometry: &Geometry, raw: u32) -> Link {
    // Marks are the same in all widths, but for the bits above.
    let (end, bad) = match geometry.width {
        Width::Fat12 => (0xFF8, 0xFF7),
        Width::Fat16 => (0xFFF8, 0xFFF7),
        Width::Fat32 => (0x0FFF_FFF8, 0x0FFF_FFF7),
    };
    match raw {
        0 => Link::Free,
        raw if raw >= end => Link::End,
        raw if raw == bad || !geometry.has(raw) => Link::Bad,
        next => Link::Next(next),
    }
}

fn raw(geometry: &Geometry, link: Link) -> u32 {
    match (link, geometry.width) {
        (Link::Free, _) => 0,
        (Link::Next(next), _) => next,
        (Link::End, Width::Fat12) => 0xFFF,
        (Link::End, Width::Fat16) => 0xFFFF,
        (Link::End, Width::Fat32) => 0x0FFF_FFFF,
        (Link::Bad, Width::Fat12) => 0xFF7,
        (Link::Bad, Width::Fat16) => 0xFFF7,
        (Link::Bad, Width::Fat32) => 0x0FFF_FFF7,
    }
}

/// Where the entry of a cluster lies.
fn place(geometry: &Geometry, cluster: u32) -> u64 {
    let cluster = u64::from(cluster);
    geometry.table.start
        + match geometry.width {
            Width::Fat12 => cluster + cluster / 2,
            Width::Fat16 => cluster * 2,
            Width::Fat32 => cluster * 4,
        }
}

/// What tables are reached through.
pub(super) struct Access<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) medium: &'a Medium,
    pub(super) lane: Lane<'a>,
}

impl Access<'_> {
    /// What the table says of a cluster.
    pub(super) async fn get(&self, cache: &mut Cache, cluster: u32) -> Result<Link> {
        let at = place(self.geometry, cluster);
        let raw = match self.geometry.width {
            Width::Fat12 => {
                let pair = u16::from_le_bytes(cache.read_ahead(self.medium, self.lane, at).await?);
                u32::from(if cluster.is_multiple_of(2) { pair & 0xFFF } else { pair >> 4 })
            }
            Width::Fat16 => u16::from_le_bytes(cache.read_ahead(self.medium, self.lane, at).await?).into(),
            Width::Fat32 => {
                u32::from_le_bytes(cache.read_ahead(self.medium, self.lane, at).await?) & 0x0FFF_FFFF
            }
        };
        Ok(link(self.geometry, raw))
    }

    /// Changes what the table says of a cluster.
    pub(super) async fn set(&self, cache: &mut Cache, cluster: u32, to: Link) -> Result<()> {
        let at = place(self.geometry, cluster);
        let value = raw(self.geometry, to);
        let (medium, lane) = (self.medium, self.lane);
        match self.geometry.width {
            Width::Fat12 => {
                let pair = u16::from_le_bytes(cache.read_ahead(medium, lane, at).await?);
                let value = value as u16;
                let pair =
                    if cluster.is_multiple_of(2) { pair & 0xF000 | value } else { pair & 0xF | value << 4 };
                cache.write(medium, lane, at, &pair.to_le_bytes(), Stage::Fresh).await
            }
            Width::Fat16 => cache.write(medium, lane, at, &(value as u16).to_le_bytes(), Stage::Fresh).await,
            Width::Fat32 => {
                // The upper four bits are somebody else's.
                let old = u32::from_le_bytes(cache.read_ahead(medium, lane, at).await?);
                let value = old & 0xF000_0000 | value;
                cache.write(medium, lane, at, &value.to_le_bytes(), Stage::Fresh).await
            }
        }
    }

    /// Walks a chain of at most `most` clusters. The second value says what is wrong with it, if anything.
    pub(super) async fn chain(
        &self,
        cache: &mut Cache,
        first: u32,
        most: u32,
    ) -> Result<(Runs, Option<&'static str>)> {
        let mut runs = Runs::default();
        let mut wrong = None;
        let mut next = first;
        if !self.geometry.has(first) {
            return Ok((runs, Some("its first cluster is none of the volume's")));
        }
        while runs.len() < most {
            runs.push(Span { first: next, count: 1 });
            match self.get(cache, next).await? {
                Link::Next(cluster) => next = cluster,
                Link::End => break,
                Link::Free | Link::Bad => {
                    wrong = Some("its chain of clusters leads to one that is free or damaged");
                    break;
                }
            }
        }
        if runs.overlap() {
            wrong = Some("its chain of clusters leads in a circle");
        }
        Ok((runs, wrong))
    }

    /// Links new clusters to each other, the last one to nothing.
    pub(super) async fn string(&self, cache: &mut Cache, spans: &[Span]) -> Result<()> {
        for (index, span) in spans.iter().enumerate() {
            for cluster in span.first..span.first + span.count - 1 {
                self.set(cache, cluster, Link::Next(cluster + 1)).await?;
            }
            let after = spans.get(index + 1).map_or(Link::End, |next| Link::Next(next.first));
            self.set(cache, span.first + span.count - 1, after).await?;
        }
        Ok(())
    }
}

/// Which clusters are free.
#[derive(Debug)]
pub(super) struct Space {
    /// A bit for each cluster that is in use.
    used: Vec<u64>,
    clusters: u32,
    free: u32,
    /// Where the search for free ones goes on.
    next: u32,
}

impl Space {
    /// Reads the whole table. Blocks this thread.
    pub(super) fn scan(geometry: &Geometry, medium: &Medium) -> Result<Space> {
        let words = (geometry.clusters as usize).div_ceil(64);
        let mut space = Space { used: vec![0; words], clusters: geometry.clusters, free: 0, next: 0 };
        let bits = u64::from(geometry.width.bits());
        let table_bytes = (u64::from(geometry.clusters + FIRST_CLUSTER) * bits).div_ceil(8);
        let mut buffer = Buffer::new(SCAN_BYTES)?;
        let mut bytes = Vec::new();
        let mut cluster = 0;
        let mut begin = 0;
        let end = geometry.clusters + FIRST_CLUSTER;
        // SCAN_BYTES is no multiple of three: what is left of an entry goes before the next part.
        while begin < table_bytes {
            let len = (table_bytes - begin).min(SCAN_BYTES as u64) as usize;
            let whole = len.next_multiple_of(geometry.sector_bytes as usize);
            let read = medium.read(Lane::Thread, geometry.table.start + begin, buffer.window(whole)?);
            crate::desk::block_on(read)?;
            bytes.extend_from_slice(&buffer.data(len)?);
            begin += len as u64;
            cluster = space.take(geometry, &mut bytes, cluster, end);
        }
        space.free = space.used.iter().map(|word| word.count_zeros()).sum::<u32>()
            - (words as u32 * 64 - space.clusters);
        Ok(space)
    }

    /// Takes whole entries off the front of `bytes`.
    fn take(&mut self, geometry: &Geometry, bytes: &mut Vec<u8>, mut cluster: u32, end: u32) -> u32 {
        // Entries of FAT12 come in pairs.
        let (step, each) = match geometry.width {
            Width::Fat12 => (3, 2),
            Width::Fat16 => (2, 1),
            Width::Fat32 => (4, 1),
        };
        let mut chunks = bytes.chunks_exact(step);
        let mut see = |cluster: &mut u32, raw: u32| {
            if (FIRST_CLUSTER..end).contains(cluster) && raw != 0 {
                self.mark(*cluster - FIRST_CLUSTER, true);
            }
            *cluster += 1;
        };
        let mut taken = 0;
        for chunk in chunks.by_ref() {
            taken += step;
            match *chunk {
                [low, middle, high] if each == 2 => {
                    see(&mut cluster, u32::from(low) | u32::from(middle & 0xF) << 8);
                    see(&mut cluster, u32::from(middle >> 4) | u32::from(high) << 4);
                }
                [low, high] => see(&mut cluster, u32::from(u16::from_le_bytes([low, high]))),
                [a, b, c, d] => see(&mut cluster, u32::from_le_bytes([a, b, c, d]) & 0x0FFF_FFFF),
                _ => {}
            }
        }
        // The last entry of a FAT12 table may be half of a pair.
        if let (Width::Fat12, [low, middle]) = (geometry.width, chunks.remainder())
            && cluster + 1 == end
        {
            see(&mut cluster, u32::from(*low) | u32::from(middle & 0xF) << 8);
        }
        bytes.drain(..taken);
        cluster
    }

    fn mark(&mut self, index: u32, used: bool) {
        let (word, bit) = (index as usize / 64, 1 << (index % 64));
        if used { self.used[word] |= bit } else { self.used[word] &= !bit }
    }

    fn is_used(&self, index: u32) -> bool {
        self.used[index as usize / 64] & 1 << (index % 64) != 0
    }

    pub(super) fn free(&self) -> u32 {
        self.free
    }

    /// The cluster from which the next search begins, for others who read the volume.
    pub(super) fn next(&self) -> u32 {
        self.next + FIRST_CLUSTER
    }

    /// Takes `count` free clusters, close behind `after` if they are free there.
    pub(super) fn allocate(&mut self, count: u32, after: Option<u32>) -> Result<Vec<Span>> {
        if count > self.free {
            return Err(Error::no_space());
        }
        let mut at = match after {
            Some(after) => (after + 1 - FIRST_CLUSTER) % self.clusters,
            None => self.next % self.clusters,
        };
        let mut spans: Vec<Span> = Vec::new();
        let mut missing = count;
        while missing > 0 {
            at = self.next_free(at);
            let first = at;
            while missing > 0 && at < self.clusters && !self.is_used(at) {
                self.mark(at, true);
                missing -= 1;
                at += 1;
            }
            spans.push(Span { first: first + FIRST_CLUSTER, count: at - first });
            at %= self.clusters;
        }
        self.free -= count;
        self.next = at;
        Ok(spans)
    }

    /// The first free cluster from `at` on, or from the beginning. There is one.
    fn next_free(&self, at: u32) -> u32 {
        if !self.is_used(at) {
            return at;
        }
        let words = self.used.len();
        for step in 0..=words {
            let word = (at as usize / 64 + step) % words;
            let mut free = !self.used[word];
            if step == 0 {
                free &= u64::MAX << (at % 64);
            }
            if free != 0 {
                let index = word as u32 * 64 + free.trailing_zeros();
                if index < self.clusters {
                    return index;
                }
            }
        }
        at
    }

    /// Gives clusters back. Those that were free already stay so.
    pub(super) fn release(&mut self, span: Span) {
        for index in span.first - FIRST_CLUSTER..span.first - FIRST_CLUSTER + span.count {
            if self.is_used(index) {
                self.mark(index, false);
                self.free += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(clusters: u32) -> Space {
        Space { used: vec![0; clusters.div_ceil(64) as usize], clusters, free: clusters, next: 0 }
    }

    #[test]
    fn free_clusters_are_found_close_by_and_then_anywhere() {
        let mut space = space(100);
        assert_eq!(space.allocate(3, None).unwrap(), [Span { first: 2, count: 3 }]);
        assert_eq!(space.allocate(95, None).unwrap(), [Span { first: 5, count: 95 }]);
        space.release(Span { first: 3, count: 2 });
        assert_eq!(space.free(), 4);
        let all = space.allocate(4, Some(4)).unwrap();
        assert_eq!(all, [Span { first: 100, count: 2 }, Span { first: 3, count: 2 }]);
        assert!(space.allocate(1, None).is_err());
        space.release(Span { first: 50, count: 1 });
        space.release(Span { first: 50, count: 1 });
        assert_eq!(space.free(), 1);
        assert_eq!(space.allocate(1, Some(101)).unwrap(), [Span { first: 50, count: 1 }]);
    }
}
