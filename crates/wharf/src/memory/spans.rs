//! Which bytes of a file are there: ranges that do not touch each other.

use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Debug, Default)]
pub(super) struct Spans {
    /// Ends by starts.
    ends: BTreeMap<u64, u64>,
}

impl Spans {
    /// Whether all of a range is there.
    pub(super) fn contain(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.around(range.start).is_some_and(|span| span.end >= range.end)
    }

    /// Whether any byte of a range is there.
    pub(super) fn meet(&self, range: &Range<u64>) -> bool {
        self.ends.range(..range.end).next_back().is_some_and(|(_, end)| *end > range.start)
    }

    /// Adds a range of which no byte is there; returns the range that it has grown into.
    pub(super) fn add(&mut self, range: Range<u64>) -> Range<u64> {
        let Range { mut start, mut end } = range;
        if let Some((before, _)) = self.ends.range(..start).next_back().filter(|(_, ends)| **ends == start) {
            start = *before;
        }
        if let Some(after) = self.ends.remove(&end) {
            end = after;
        }
        self.ends.insert(start, end);
        start..end
    }

    fn around(&self, at: u64) -> Option<Range<u64>> {
        let (start, end) = self.ends.range(..=at).next_back()?;
        (*end > at).then_some(*start..*end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together() {
        let mut spans = Spans::default();
        assert_eq!(spans.add(0..10), 0..10);
        assert_eq!(spans.add(20..30), 20..30);
        assert!(!spans.contain(&(5..15)) && !spans.contain(&(5..25)) && spans.contain(&(25..30)));
        assert!(
            spans.meet(&(9..12)) && !spans.meet(&(10..20)) && spans.meet(&(0..99)) && !spans.meet(&(30..99))
        );
        assert_eq!(spans.add(10..20), 0..30);
        assert!(spans.contain(&(0..30)) && !spans.contain(&(0..31)) && spans.contain(&(40..40)));
        assert_eq!(spans.ends.len(), 1);
    }
}
