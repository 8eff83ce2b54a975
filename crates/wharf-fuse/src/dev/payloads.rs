//! Room for answers, by size: taken for one operation, given back, used again.

use std::io;

use wharf_mem::{Mapping, Payload};

const SMALLEST_BYTES: usize = 4096;
/// Bytes mapped at once for the small sizes, so that ten thousand answers are not ten thousand mappings.
const CHUNK_BYTES: usize = 1 << 20;
/// Spare payloads of a megabyte or so that stay when all is quiet.
const LARGE_KEPT: usize = 2;

/// The payloads of one queue. Sizes are 4 KiB times a power of four.
pub(crate) struct Payloads {
    /// Spare payloads, per size. Last in, first out: what was used last is in the cache.
    spare: Vec<Vec<Payload>>,
    /// Bytes given out.
    out_bytes: usize,
    out_bytes_max: usize,
}

impl Payloads {
    pub(crate) fn new(largest_bytes: usize, out_bytes_max: usize) -> Payloads {
        let sizes = size_index(largest_bytes) + 1;
        Payloads { spare: (0..sizes).map(|_| Vec::new()).collect(), out_bytes: 0, out_bytes_max }
    }

    /// A payload of at least `bytes`.
    pub(crate) fn take(&mut self, bytes: usize) -> io::Result<Payload> {
        let index = size_index(bytes).min(self.spare.len() - 1);
        let size = SMALLEST_BYTES << (2 * index);
        if self.spare[index].is_empty() {
            let count = (CHUNK_BYTES / size).max(1);
            self.spare[index] = Payload::cut(Mapping::anonymous(size * count)?, size, count);
        }
        let payload = self.spare[index].pop().ok_or(io::ErrorKind::OutOfMemory)?;
        self.out_bytes += payload.len();
        Ok(payload)
    }

    /// Takes a payload back. One that is still held somewhere is let go instead; its memory stays until then.
    pub(crate) fn give_back(&mut self, payload: Payload) {
        self.out_bytes -= payload.len();
        if payload.is_free() {
            self.spare[size_index(payload.len())].push(payload);
        }
    }

    /// Whether another payload may be taken, not counting `waiting` bytes that are out for nobody yet.
    pub(crate) fn has_room_beside(&self, waiting: usize) -> bool {
        self.out_bytes.saturating_sub(waiting) < self.out_bytes_max.max(1)
    }

    /// Gives spare memory back to the system.
    pub(crate) fn trim(&mut self) {
        for (index, spare) in self.spare.iter_mut().enumerate() {
            let chunk = CHUNK_BYTES / (SMALLEST_BYTES << (2 * index));
            spare.truncate(chunk.max(LARGE_KEPT));
        }
    }
}

fn size_index(bytes: usize) -> usize {
    let units = bytes.div_ceil(SMALLEST_BYTES).max(1).next_power_of_two();
    (units.trailing_zeros() as usize).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_large_enough_and_not_much_larger() {
        let mut payloads = Payloads::new(1 << 20, usize::MAX);
        for bytes in [0, 1, 4096, 4097, 16384, 65536, 65537, 1 << 20] {
            let payload = payloads.take(bytes).unwrap();
            assert!(payload.len() >= bytes && payload.len() <= (bytes * 4).max(4096), "{bytes}");
            payloads.give_back(payload);
        }
    }

    #[test]
    fn what_is_given_out_is_counted() {
        let mut payloads = Payloads::new(1 << 20, 1 << 20);
        let payload = payloads.take(1 << 20).unwrap();
        assert!(!payloads.has_room_beside(0));
        payloads.give_back(payload);
        assert!(payloads.has_room_beside(0));
    }

    #[test]
    fn the_payload_that_waits_for_a_request_never_uses_up_the_limit() {
        let mut payloads = Payloads::new(1 << 20, 4096);
        let waiting = payloads.take(1 << 20).unwrap();
        assert!(payloads.has_room_beside(waiting.len()));
        let answer = payloads.take(4096).unwrap();
        assert!(!payloads.has_room_beside(waiting.len()));
        payloads.give_back(answer);
        assert!(payloads.has_room_beside(waiting.len()));
    }
}
