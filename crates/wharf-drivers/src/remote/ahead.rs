//! How far to read ahead of a program: not at all for one that jumps, farther and farther for one that goes on.

use std::ops::Range;

/// A first step of this many bytes; it doubles.
const FIRST_BYTES: u64 = 1 << 20;
/// The kernel sends reads side by side, so they come a little out of order.
const DISORDER_BYTES: u64 = 1 << 20;

/// What one open file has been read like.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Behind the last byte that was read, of those that followed each other.
    expected: u64,
    /// Bytes to be ahead.
    window: u64,
    /// Behind the last byte that has been asked for ahead.
    asked: u64,
}

impl Ahead {
    /// Notes a read; returns what to ask for beyond it, if anything.
    pub(super) fn read(&mut self, read: Range<u64>, size: u64, window_max: u64) -> Option<Range<u64>> {
        let follows =
            read.start <= self.expected + DISORDER_BYTES && read.end + DISORDER_BYTES >= self.expected;
        if !follows {
            *self = Ahead { expected: read.end, window: 0, asked: read.end };
            return None;
        }
        if read.end <= self.expected {
            return None;
        }
        self.expected = read.end;
        self.window = (self.window * 2).max(FIRST_BYTES).min(window_max);
        let from = self.asked.max(read.end);
        let to = read.end.saturating_add(self.window).min(size);
        // In steps of a quarter of the window, so that few ranges are asked for, and long ones.
        let enough = from > read.end && to.saturating_sub(from) < self.window / 4 && to < size;
        if enough || to <= from {
            return None;
        }
        self.asked = to;
        Some(from..to)
    }

    /// Whether the last read followed those before it.
    pub(super) fn goes_on(&self) -> bool {
        self.window > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1 << 10;
    const M: u64 = 1 << 20;

    #[test]
    fn who_goes_on_is_read_ahead_of_farther_and_farther_without_gaps() {
        let mut ahead = Ahead::default();
        let (mut until, mut farthest) = (0, 0);
        for step in 0..800 {
            let read = step * 128 * K..(step + 1) * 128 * K;
            if let Some(more) = ahead.read(read.clone(), 100 * M, 16 * M) {
                assert!(
                    more.start == until.max(read.end),
                    "no gap and nothing twice: {more:?} after {until}"
                );
                until = more.end;
            }
            farthest = farthest.max(until.saturating_sub(read.end));
            assert!(until >= (read.end + 128 * K).min(100 * M), "always ahead");
        }
        assert!(farthest > 15 * M && farthest <= 16 * M && until == 100 * M, "{farthest} {until}");
    }

    #[test]
    fn who_jumps_is_not_read_ahead_of() {
        let mut ahead = Ahead::default();
        for step in 1..100 {
            let at = (step * 37 % 100) * 10 * M;
            assert_eq!(ahead.read(at..at + 4 * K, 1000 * M, 16 * M), None);
        }
    }

    #[test]
    fn reads_side_by_side_count_as_going_on() {
        let mut ahead = Ahead::default();
        assert!(ahead.read(128 * K..256 * K, 10 * M, 4 * M).is_some());
        assert_eq!(ahead.read(0..128 * K, 10 * M, 4 * M), None);
        assert!(ahead.read(256 * K..384 * K, 10 * M, 4 * M).is_some());
    }
}
