//! When a file is worth attaching: it costs about as much as reading a hundred KiB, and gains on each byte after that.

/// What has to be seen of a file first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Shorter reads are the kernel's: asking it what a number stands for takes as long as they do.
    pub(crate) read_bytes_min: usize,
    /// Reads of one descriptor that were long enough.
    pub(crate) reads_min: u32,
    /// Shorter files are read before anything is gained.
    pub(crate) file_bytes_min: u64,
}

impl Rule {
    /// By measurement: `benches/run-preloaded`. Only to look at each file of a tree of small ones after the second
    /// read took rg a twentieth of its time.
    pub(crate) const MEASURED: Rule =
        Rule { read_bytes_min: 16 << 10, reads_min: 4, file_bytes_min: 1 << 20 };

    /// Everything that is read twice.
    pub(crate) const EAGER: Rule = Rule { read_bytes_min: 1, reads_min: 2, file_bytes_min: 1 };

    /// Whether a read of so many bytes says anything, and is worth doing here.
    #[inline]
    pub(crate) fn counts(&self, bytes: usize) -> bool {
        bytes >= self.read_bytes_min
    }

    /// Whether after this read, which counts, and `times` before it the file should be looked at.
    pub(crate) fn is_reached(&self, times: u32) -> bool {
        times + 1 >= self.reads_min
    }

    /// Whether a file of this length is worth it.
    pub(crate) fn is_long_enough(&self, len: u64) -> bool {
        len >= self.file_bytes_min
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_read_once_or_in_crumbs_stays_the_kernels() {
        let rule = Rule::MEASURED;
        assert!(!rule.counts(4096) && rule.counts(64 << 10));
        assert!(
            !rule.is_reached(0) && !rule.is_reached(2) && rule.is_reached(3) && rule.is_reached(u32::MAX - 1)
        );
        assert!(!rule.is_long_enough(100_000) && rule.is_long_enough(10 << 20));
    }

    #[test]
    fn the_eager_look_at_everything_that_is_read_twice() {
        let rule = Rule::EAGER;
        assert!(rule.counts(1) && !rule.counts(0) && rule.is_long_enough(1) && !rule.is_long_enough(0));
        assert!(!rule.is_reached(0) && rule.is_reached(1));
    }
}
