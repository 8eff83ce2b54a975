//! When a file is worth attaching: when a program reads it over and over by one descriptor.
//!
//! To map a section costs more for each page than the kernel takes to read it; from the second read of it on it
//! costs half as much. So what is read once, by whomever, is read by the kernel, and costs nothing but the count.

/// What has to be seen of a file first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// By measurement: `benches/run-preloaded`. What is counted is bytes, in pages.
    Measured,
    /// Everything that is read twice. What is counted is reads.
    Eager,
}

const PAGE: usize = 4096;

/// Shorter reads are the kernel's: asking it what a number stands for takes as long as they do.
const READ_BYTES_MIN: usize = 16 << 10;

/// Shorter files are read before anything is gained.
const FILE_BYTES_MIN: u64 = 1 << 20;

/// How often all of a file must have been read.
const PASSES_MIN: u64 = 2;

impl Rule {
    /// Whether a read of so many bytes says anything, and is worth doing here.
    #[inline]
    pub(crate) fn counts(self, bytes: usize) -> bool {
        match self {
            Rule::Measured => bytes >= READ_BYTES_MIN,
            Rule::Eager => bytes > 0,
        }
    }

    /// What has been seen after a read that counts.
    #[inline]
    pub(crate) fn add(self, seen: u32, bytes: usize) -> u32 {
        match self {
            Rule::Measured => seen.saturating_add(u32::try_from(bytes / PAGE).unwrap_or(u32::MAX)),
            Rule::Eager => seen.saturating_add(1),
        }
    }

    /// Whether the file is to be looked at: the more was seen of it, the less often.
    #[inline]
    pub(crate) fn is_worth_a_look(self, before: u32, now: u32) -> bool {
        match self {
            Rule::Measured => {
                u64::from(now) * PAGE as u64 >= PASSES_MIN * FILE_BYTES_MIN
                    && before.leading_zeros() > now.leading_zeros()
            }
            Rule::Eager => now >= 2,
        }
    }

    /// Whether a file of this length is worth it.
    pub(crate) fn is_worth_it(self, seen: u32, len: u64) -> bool {
        match self {
            Rule::Measured => {
                len >= FILE_BYTES_MIN && u64::from(seen) * PAGE as u64 >= len.saturating_mul(PASSES_MIN)
            }
            Rule::Eager => len > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many reads of `bytes` a file of `len` bytes is attached.
    fn attached_after(rule: Rule, bytes: usize, len: u64) -> Option<u32> {
        let mut seen = 0;
        (1..100_000).find(|_| {
            let before = seen;
            seen = if rule.counts(bytes) { rule.add(seen, bytes) } else { seen };
            rule.is_worth_a_look(before, seen) && rule.is_worth_it(seen, len)
        })
    }

    #[test]
    fn a_file_that_is_read_once_or_in_crumbs_stays_the_kernels() {
        let after = |bytes, len| attached_after(Rule::Measured, bytes, len);
        assert_eq!(after(4096, 10 << 20), None);
        assert_eq!(after(64 << 10, 100_000), None, "too short");
        assert_eq!(after(64 << 10, 1 << 20), Some(32), "twice");
        assert_eq!(after(1 << 20, 16 << 20), Some(32), "twice");
        assert_eq!(after(1 << 20, 20 << 20), Some(64), "it is not looked at each time");
        let mut seen = 0;
        (0..1 << 20).for_each(|_| seen = Rule::Measured.add(seen, 1 << 30));
        assert_eq!(seen, u32::MAX, "more cannot be counted");
    }

    #[test]
    fn the_eager_look_at_everything_that_is_read_twice() {
        assert_eq!(attached_after(Rule::Eager, 1, 1), Some(2));
        assert_eq!(attached_after(Rule::Eager, 1, 0), None);
    }
}
