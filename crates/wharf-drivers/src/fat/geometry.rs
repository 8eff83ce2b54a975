//! What a boot sector says of its volume: where the tables, the root and the clusters are.
//!
//! Pure: a hostile sector ends in a sentence, never in arithmetic that overflows.

use std::ops::Range;

/// Bytes of a boot sector that are looked at.
pub(super) const BOOT_BYTES: usize = 512;
/// The first cluster that can hold anything.
pub(super) const FIRST_CLUSTER: u32 = 2;
/// Bytes of a directory entry.
pub(super) const SLOT_BYTES: u32 = 32;

/// The three sorts of FAT, by the bits of a table's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Fat12,
    Fat16,
    Fat32,
}

impl Width {
    pub(super) fn bits(self) -> u32 {
        match self {
            Width::Fat12 => 12,
            Width::Fat16 => 16,
            Width::Fat32 => 32,
        }
    }

    /// The most clusters that can be told apart from marks.
    fn clusters_max(self) -> u32 {
        match self {
            Width::Fat12 => 0xFF4,
            Width::Fat16 => 0xFFF4,
            Width::Fat32 => 0x0FFF_FFF4,
        }
    }
}

/// Where the root directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// In a place of its own, of a fixed size.
    Fixed { offset: u64, slots: u32 },
    /// In a chain of clusters.
    Chain { first: u32 },
}

/// The layout of a volume. Offsets are bytes from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) width: Width,
    pub(super) sector_bytes: u32,
    pub(super) cluster_bytes: u32,
    /// Clusters, numbered from [`FIRST_CLUSTER`].
    pub(super) clusters: u32,
    /// The table that is read.
    pub(super) table: Range<u64>,
    /// Where copies of it begin.
    pub(super) copies: Vec<u64>,
    pub(super) root: Root,
    pub(super) data: u64,
    /// The whole volume, as the sector says.
    pub(super) bytes: u64,
    pub(super) info: Option<u64>,
    /// The byte whose lowest bit says that the volume is in use.
    pub(super) state: u64,
    pub(super) serial: Option<u32>,
    pub(super) label: Option<[u8; 11]>,
}

impl Geometry {
    /// Reads a boot sector. The error completes "this is no FAT volume: ".
    pub(super) fn parse(boot: &[u8; BOOT_BYTES]) -> Result<Geometry, String> {
        let u8_at = |at: usize| boot[at];
        let u16_at = |at: usize| u16::from_le_bytes([boot[at], boot[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([boot[at], boot[at + 1], boot[at + 2], boot[at + 3]]);

        let sector_bytes = u32::from(u16_at(11));
        if !sector_bytes.is_power_of_two() || !(512..=4096).contains(&sector_bytes) {
            return Err(format!("sectors of {sector_bytes} bytes"));
        }
        let sector = u64::from(sector_bytes);
        let per_cluster = u8_at(13);
        if !per_cluster.is_power_of_two() {
            return Err(format!("clusters of {per_cluster} sectors"));
        }
        let reserved = u16_at(14);
        if reserved == 0 {
            return Err("no room for a boot sector".into());
        }
        let tables = u8_at(16);
        if !(1..=4).contains(&tables) {
            return Err(format!("{tables} tables"));
        }
        if u8_at(21) < 0xF0 {
            return Err(format!("a medium of type {:#x}", u8_at(21)));
        }
        let short_table = u16_at(22);
        let wide = short_table == 0;
        let table_sectors = if wide { u32_at(36) } else { short_table.into() };
        if table_sectors == 0 {
            return Err("no table".into());
        }
        let sectors = match u16_at(19) {
            0 => u32_at(32),
            few => few.into(),
        };
        let root_slots = u32::from(u16_at(17));
        let table_bytes = u64::from(table_sectors) * sector;
        let first_table = u64::from(reserved) * sector;
        let root_offset = first_table + u64::from(tables) * table_bytes;
        let root_bytes = u64::from(root_slots * SLOT_BYTES).next_multiple_of(sector);
        let data = root_offset + root_bytes;
        let bytes = u64::from(sectors) * sector;
        let cluster_bytes = sector_bytes * u32::from(per_cluster);
        let room = bytes.checked_sub(data).ok_or("tables that are larger than the volume")?;
        let clusters = u32::try_from(room / u64::from(cluster_bytes)).map_err(|_| "too many clusters")?;
        if clusters == 0 {
            return Err("no clusters".into());
        }
        let width = match clusters {
            _ if wide => Width::Fat32,
            0..=0xFF4 => Width::Fat12,
            _ => Width::Fat16,
        };
        let entries = table_bytes * 8 / u64::from(width.bits());
        let told = u32::try_from(entries.saturating_sub(FIRST_CLUSTER.into())).unwrap_or(u32::MAX);
        let clusters = clusters.min(told).min(width.clusters_max());
        let root = if wide {
            let first = u32_at(44);
            if !(FIRST_CLUSTER..clusters.saturating_add(FIRST_CLUSTER)).contains(&first) {
                return Err(format!("a root directory in cluster {first} of {clusters}"));
            }
            Root::Chain { first }
        } else {
            if root_slots == 0 {
                return Err("no room for a root directory".into());
            }
            Root::Fixed { offset: root_offset, slots: root_slots }
        };
        let flags = if wide { u16_at(40) } else { 0 };
        let mirrored = flags & 0x80 == 0;
        let active = if mirrored { 0 } else { (flags & 0xF).min(u16::from(tables) - 1) };
        let begin = |table: u64| first_table + table * table_bytes;
        let table = begin(active.into());
        let copies = if mirrored { (1..u64::from(tables)).map(begin).collect() } else { Vec::new() };
        let info = u64::from(u16_at(48));
        let info = (wide && (1..u64::from(reserved)).contains(&info)).then_some(info * sector);
        // The extended fields lie behind what FAT32 adds.
        let extended = if wide { 64 } else { 36 };
        let signed = u8_at(extended + 2);
        let serial = matches!(signed, 0x28 | 0x29).then(|| u32_at(extended + 3));
        let label = (signed == 0x29).then(|| {
            let mut label = [0; 11];
            label.copy_from_slice(&boot[extended + 7..extended + 18]);
            label
        });
        Ok(Geometry {
            width,
            sector_bytes,
            cluster_bytes,
            clusters,
            table: table..table + table_bytes,
            copies,
            root,
            data,
            bytes,
            info,
            state: extended as u64 + 1,
            serial,
            label,
        })
    }

    /// Whether a table's entry can mean this cluster.
    pub(super) fn has(&self, cluster: u32) -> bool {
        (FIRST_CLUSTER..self.clusters + FIRST_CLUSTER).contains(&cluster)
    }

    /// Where a cluster begins.
    pub(super) fn offset(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster - FIRST_CLUSTER) * u64::from(self.cluster_bytes)
    }

    /// Slots of directories that a cluster holds.
    pub(super) fn slots_per_cluster(&self) -> u32 {
        self.cluster_bytes / SLOT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What mkfs.fat writes for a floppy disc.
    fn floppy() -> [u8; BOOT_BYTES] {
        let mut boot = [0; BOOT_BYTES];
        boot[11..13].copy_from_slice(&512u16.to_le_bytes());
        (boot[13], boot[14], boot[16], boot[21], boot[22]) = (1, 1, 2, 0xF0, 9);
        boot[17..19].copy_from_slice(&224u16.to_le_bytes());
        boot[19..21].copy_from_slice(&2880u16.to_le_bytes());
        boot
    }

    #[test]
    fn a_floppy_disc_is_laid_out_as_it_ever_was() {
        let geometry = Geometry::parse(&floppy()).unwrap();
        assert_eq!(geometry.width, Width::Fat12);
        assert_eq!(geometry.table, 512..512 + 9 * 512);
        assert_eq!(geometry.root, Root::Fixed { offset: 19 * 512, slots: 224 });
        assert_eq!((geometry.data, geometry.clusters), (33 * 512, 2847));
    }

    #[test]
    fn any_damage_to_a_boot_sector_is_a_sentence_or_a_layout_within_the_volume() {
        for at in 0..90 {
            for value in [0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF] {
                for wide in [false, true] {
                    let mut boot = floppy();
                    if wide {
                        (boot[22], boot[36], boot[44]) = (0, 9, 2);
                    }
                    boot[at] = value;
                    let Ok(geometry) = Geometry::parse(&boot) else { continue };
                    let end = geometry.offset(geometry.clusters + 1) + u64::from(geometry.cluster_bytes);
                    assert!(end <= geometry.bytes && geometry.table.end <= geometry.data);
                    let entries = (geometry.table.end - geometry.table.start) * 8;
                    let needed = u64::from(geometry.clusters + 2) * u64::from(geometry.width.bits());
                    assert!(needed <= entries, "every cluster has its entry");
                }
            }
        }
    }
}
