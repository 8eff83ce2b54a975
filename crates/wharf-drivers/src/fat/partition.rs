//! Where partitions are on a disc: MBR with its extended ones, and GPT.

use wharf::{Error, Result};

/// Bytes of the sectors that tables of partitions count in, on all images and most discs.
const SECTOR: u64 = 512;
const MBR_ENTRIES: usize = 446;
/// Logical partitions are a chain of sectors; nobody has more.
const LOGICAL_MAX: u32 = 128;
const GPT_ENTRIES_MAX: u32 = 1024;

/// A partition: its first byte and its length.
pub(super) type Span = (u64, u64);

/// Reads bytes of the disc, all that were asked for.
type Read<'a> = &'a dyn Fn(u64, &mut [u8]) -> Result<()>;

/// Finds partition `number`, counted from 1 as Linux does: from 5 on they are an MBR's logical ones.
///
/// # Errors
/// When there is none, or the table cannot be read.
pub(super) fn find(read: Read<'_>, number: u32) -> Result<Span> {
    let mut sector = [0; SECTOR as usize];
    read(0, &mut sector)?;
    if sector[510..] != [0x55, 0xAA] {
        return Err(refusal("there is no table of partitions on it"));
    }
    let entries = mbr_entries(&sector);
    let found = if entries.iter().any(|entry| entry.kind == 0xEE) {
        gpt(read, number)?
    } else if (1..=4).contains(&number) {
        let entry = entries[number as usize - 1];
        (entry.kind != 0).then_some((u64::from(entry.first) * SECTOR, u64::from(entry.count) * SECTOR))
    } else {
        logical(read, &entries, number)?
    };
    let found = found.filter(|(_, len)| *len > 0);
    found.ok_or_else(|| refusal("it has no partition of that number"))
}

fn refusal(words: &'static str) -> Error {
    Error::invalid().doing("looking for a partition").because(words)
}

#[derive(Clone, Copy)]
struct MbrEntry {
    kind: u8,
    first: u32,
    count: u32,
}

fn mbr_entries(sector: &[u8; 512]) -> [MbrEntry; 4] {
    std::array::from_fn(|index| {
        let entry = &sector[MBR_ENTRIES + 16 * index..][..16];
        let number = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        MbrEntry { kind: entry[4], first: number(8), count: number(12) }
    })
}

fn is_extended(kind: u8) -> bool {
    matches!(kind, 0x05 | 0x0F | 0x85)
}

fn logical(read: Read<'_>, entries: &[MbrEntry; 4], number: u32) -> Result<Option<Span>> {
    let Some(extended) = entries.iter().find(|entry| is_extended(entry.kind)) else { return Ok(None) };
    let base = u64::from(extended.first);
    let mut at = base;
    // The count ends a chain that leads in a circle.
    for current in 5..5 + LOGICAL_MAX {
        let mut sector = [0; SECTOR as usize];
        read(at * SECTOR, &mut sector)?;
        if sector[510..] != [0x55, 0xAA] {
            return Ok(None);
        }
        let [entry, next, ..] = mbr_entries(&sector);
        if current == number {
            let span = ((at + u64::from(entry.first)) * SECTOR, u64::from(entry.count) * SECTOR);
            return Ok((entry.kind != 0).then_some(span));
        }
        if !is_extended(next.kind) {
            return Ok(None);
        }
        at = base + u64::from(next.first);
    }
    Ok(None)
}

fn gpt(read: Read<'_>, number: u32) -> Result<Option<Span>> {
    let mut header = [0; 92];
    // On discs with sectors of 4 KiB the table counts in those.
    for sector in [SECTOR, 4096] {
        if read(sector, &mut header).is_err() || header[..8] != *b"EFI PART" {
            continue;
        }
        let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let (entries, count, size) = (u64_at(72), u32_at(80).min(GPT_ENTRIES_MAX), u32_at(84));
        if number == 0 || number > count || !(128..=4096).contains(&size) {
            return Ok(None);
        }
        let mut entry = [0; 48];
        let at = entries.checked_mul(sector).and_then(|at| at.checked_add(u64::from((number - 1) * size)));
        read(at.ok_or_else(|| refusal("its table of partitions is damaged"))?, &mut entry)?;
        let lba = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("eight bytes"));
        if entry[..16] == [0; 16] {
            return Ok(None);
        }
        let (first, last) = (lba(32), lba(40));
        let span = first.checked_mul(sector).zip(
            last.checked_sub(first)
                .and_then(|more| more.checked_add(1))
                .and_then(|count| count.checked_mul(sector)),
        );
        return Ok(span);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(disc: &[u8], number: u32) -> Option<Span> {
        let read = |at: u64, into: &mut [u8]| {
            let bytes = usize::try_from(at).ok().and_then(|at| disc.get(at..)?.get(..into.len()));
            into.copy_from_slice(bytes.ok_or(Error::io("reading behind the end"))?);
            Ok(())
        };
        find(&read, number).ok()
    }

    fn mbr(entries: &[(u8, u32, u32)]) -> Vec<u8> {
        let mut sector = vec![0; 512];
        for (index, (kind, first, count)) in entries.iter().enumerate() {
            let at = MBR_ENTRIES + 16 * index;
            sector[at + 4] = *kind;
            sector[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
            sector[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
        }
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        sector
    }

    #[test]
    fn primary_and_logical_partitions_are_found() {
        let mut disc = mbr(&[(0x0C, 63, 100), (0x05, 2, 20)]);
        disc.resize(2 * 512, 0);
        disc.extend(mbr(&[(0x06, 1, 5), (0x05, 2, 9)]));
        disc.resize(4 * 512, 0);
        disc.extend(mbr(&[(0x06, 3, 7)]));
        assert_eq!(look(&disc, 1), Some((63 * 512, 100 * 512)));
        assert_eq!(look(&disc, 5), Some((3 * 512, 5 * 512)));
        assert_eq!(look(&disc, 6), Some((7 * 512, 7 * 512)));
        assert_eq!(look(&disc, 3), None);
        assert_eq!(look(&disc, 7), None);
        assert_eq!(look(&disc[..512], 5), None);
    }

    #[test]
    fn a_chain_of_logical_partitions_that_leads_in_a_circle_ends() {
        let mut disc = mbr(&[(0x05, 1, 9)]);
        disc.extend(mbr(&[(0x06, 1, 5), (0x05, 0, 9)]));
        assert_eq!(look(&disc, u32::MAX), None);
    }

    #[test]
    fn a_gpt_is_found_behind_its_protecting_mbr() {
        let mut disc = mbr(&[(0xEE, 1, u32::MAX)]);
        disc.resize(3 * 512, 0);
        disc[512..520].copy_from_slice(b"EFI PART");
        disc[512 + 72] = 2;
        disc[512 + 80] = 4;
        disc[512 + 84] = 128;
        disc[1024 + 128] = 1;
        disc[1024 + 128 + 32] = 40;
        disc[1024 + 128 + 40] = 49;
        assert_eq!(look(&disc, 2), Some((40 * 512, 10 * 512)));
        assert_eq!(look(&disc, 1), None);
        assert_eq!(look(&disc, 5), None);
        disc[1024 + 128 + 40] = 3;
        assert_eq!(look(&disc, 2), None);
    }
}
