//! The clusters of a file, as runs: adjacent ones merged, found by binary search.

/// Clusters that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// A span and its place in the file, counted in clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) index: u32,
    pub(super) span: Span,
}

/// All clusters of a file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs(Vec<Placed>);

impl Runs {
    /// Clusters in all.
    pub(super) fn len(&self) -> u32 {
        self.0.last().map_or(0, |last| last.index + last.span.count)
    }

    pub(super) fn last(&self) -> Option<u32> {
        self.0.last().map(|run| run.span.first + run.span.count - 1)
    }

    pub(super) fn push(&mut self, span: Span) {
        let index = self.len();
        match self.0.last_mut() {
            Some(last) if last.span.first + last.span.count == span.first => last.span.count += span.count,
            _ => self.0.push(Placed { index, span }),
        }
    }

    /// The runs from the one that holds cluster number `index` on.
    pub(super) fn from(&self, index: u32) -> &[Placed] {
        let begin = self.0.partition_point(|run| run.index + run.span.count <= index);
        &self.0[begin..]
    }

    /// The cluster at `index`.
    pub(super) fn at(&self, index: u32) -> Option<u32> {
        let run = self.from(index).first()?;
        Some(run.span.first + (index - run.index))
    }

    /// Cuts off all but the first `len` clusters and returns what is cut off.
    pub(super) fn cut(&mut self, len: u32) -> Vec<Span> {
        let mut gone = Vec::new();
        while let Some(last) = self.0.last_mut() {
            if last.index + last.span.count <= len {
                break;
            }
            let kept = len.saturating_sub(last.index);
            gone.push(Span { first: last.span.first + kept, count: last.span.count - kept });
            last.span.count = kept;
            if kept == 0 {
                self.0.pop();
            }
        }
        gone.reverse();
        gone
    }

    pub(super) fn spans(&self) -> impl Iterator<Item = Span> + Clone + '_ {
        self.0.iter().map(|run| run.span)
    }

    /// Whether a cluster occurs twice: the chain leads in a circle.
    pub(super) fn overlap(&self) -> bool {
        let mut spans: Vec<Span> = self.spans().collect();
        spans.sort_unstable_by_key(|span| span.first);
        spans.windows(2).any(|pair| pair[0].first + pair[0].count > pair[1].first)
    }
}

/// A set of clusters.
#[derive(Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn any(&self, span: Span) -> bool {
        let has = |cluster: u32| {
            self.0.get(cluster as usize / 64).is_some_and(|word| word & 1 << (cluster % 64) != 0)
        };
        (span.first..span.first + span.count).any(has)
    }

    pub(super) fn set(&mut self, span: Span, to: bool) {
        let words = (span.first + span.count) as usize / 64 + 1;
        if to && self.0.len() < words {
            self.0.resize(words, 0);
        }
        for cluster in span.first..span.first + span.count {
            let Some(word) = self.0.get_mut(cluster as usize / 64) else { return };
            if to { *word |= 1 << (cluster % 64) } else { *word &= !(1 << (cluster % 64)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(spans: &[(u32, u32)]) -> Runs {
        let mut runs = Runs::default();
        spans.iter().for_each(|(first, count)| runs.push(Span { first: *first, count: *count }));
        runs
    }

    #[test]
    fn adjacent_clusters_are_one_run() {
        let runs = runs(&[(5, 2), (7, 1), (3, 2), (20, 1)]);
        assert_eq!(runs.0.len(), 3);
        assert_eq!(runs.len(), 6);
        let clusters: Vec<_> = (0..7).map_while(|index| runs.at(index)).collect();
        assert_eq!(clusters, [5, 6, 7, 3, 4, 20]);
        assert!(!runs.overlap());
    }

    #[test]
    fn a_cut_returns_what_it_cuts_off() {
        let mut cut = runs(&[(5, 3), (20, 4)]);
        assert_eq!(cut.cut(5), [Span { first: 22, count: 2 }]);
        assert_eq!(cut.cut(1), [Span { first: 6, count: 2 }, Span { first: 20, count: 2 }]);
        assert_eq!(cut.cut(9), []);
        assert_eq!((cut.len(), cut.last()), (1, Some(5)));
        assert_eq!(cut.cut(0), [Span { first: 5, count: 1 }]);
        assert_eq!(cut, Runs::default());
    }

    #[test]
    fn a_circle_is_seen() {
        assert!(runs(&[(5, 3), (2, 1), (6, 1)]).overlap());
        assert!(runs(&[(5, 1), (5, 1)]).overlap());
    }
}
