//! Which names of a listing are wanted, and how far it has come through those that are not.

use crate::Pattern;

/// What a listing may spend on its names before it gives the queue to others: one for each, and more for those that
/// take long to compare.
const SPENT_MAX: usize = 4096;

/// Steps of a comparison, at the worst, that count like one name more.
const STEPS: usize = 1024;

/// What lets the wanted names of one listing through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sieve<'a> {
    pattern: Option<Pattern<'a>>,
    spent: usize,
    /// The cursor after the last name that was left out.
    cursor: Option<u64>,
}

impl<'a> Sieve<'a> {
    pub(crate) fn new(pattern: Option<Pattern<'a>>) -> Sieve<'a> {
        Sieve { pattern, ..Sieve::default() }
    }

    pub(crate) fn pattern(&self) -> Option<&Pattern<'a>> {
        self.pattern.as_ref()
    }

    pub(crate) fn wants(&self, name: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.describes(name))
    }

    /// Leaves a name out if it is not wanted or enough was spent, and says then whether the listing may go on at once.
    pub(crate) fn passes(&mut self, name: &[u8], cursor: u64) -> Option<bool> {
        let pattern = self.pattern.as_ref()?;
        if self.spent >= SPENT_MAX {
            return Some(false);
        }
        self.spent += 1 + pattern.as_bytes().len().saturating_mul(name.len()) / STEPS;
        if pattern.describes(name) {
            return None;
        }
        self.cursor = Some(cursor);
        Some(true)
    }

    /// Where a listing goes on in which so much was left out that it was stopped.
    pub(crate) fn goes_on(&mut self) -> Option<u64> {
        let stopped = std::mem::take(&mut self.spent) >= SPENT_MAX;
        self.cursor.take().filter(|_| stopped)
    }

    /// The same for a listing on another thread.
    pub(crate) fn apart(&self) -> Sieve<'static> {
        Sieve { pattern: self.pattern.clone().map(Pattern::into_owned), ..*self }
    }

    /// That one has come so far.
    pub(crate) fn follows(&mut self, apart: &Sieve<'_>) {
        (self.spent, self.cursor) = (apart.spent, apart.cursor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_that_leaves_many_names_out_is_stopped_and_goes_on_behind_them() {
        let mut sieve = Sieve::new(Some(Pattern::new(b"*9999")));
        let mut listed = |from: u64| {
            let mut taken = Vec::new();
            for number in from..10_000u64 {
                match sieve.passes(number.to_string().as_bytes(), number + 1) {
                    Some(true) => {}
                    Some(false) => break,
                    None => taken.push(number),
                }
            }
            (taken, sieve.goes_on())
        };
        assert_eq!(listed(0), (vec![], Some(4096)));
        assert_eq!(listed(4096), (vec![], Some(8192)));
        assert_eq!(listed(8192), (vec![9999], None));
        let mut all = Sieve::new(None);
        assert_eq!((all.passes(b"x", 1), all.goes_on()), (None, None));
    }

    #[test]
    fn names_that_take_long_to_compare_are_fewer_at_a_time_wanted_or_not() {
        let (long, name) = ([&b"*["[..], &[b'a'; 16_000], b"]"].concat(), [b'a'; 255]);
        for last in [b'a', b'b'] {
            let mut sieve = Sieve::new(Some(Pattern::new(&long)));
            let name = [&name[..], &[last]].concat();
            let count = (0..4096).take_while(|cursor| sieve.passes(&name, *cursor) != Some(false)).count();
            assert_eq!((count, sieve.goes_on()), (2, (last == b'b').then_some(1)));
        }
    }
}
