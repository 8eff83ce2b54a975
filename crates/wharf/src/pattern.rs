//! Patterns for names, as a shell has them.

use std::borrow::Cow;

/// A pattern for names: `*`, `?`, `[a-z]`, `[!a-z]`, and `\` before what is meant as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern<'a>(Cow<'a, [u8]>);

impl<'a> Pattern<'a> {
    /// The pattern that these bytes are. All bytes are one.
    pub fn new(bytes: &'a [u8]) -> Pattern<'a> {
        Pattern(Cow::Borrowed(bytes))
    }

    /// The pattern as it was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it describes all of `name`. Takes time in proportion to the product of both lengths at the worst.
    pub fn describes(&self, name: &[u8]) -> bool {
        matches(&self.0, name)
    }

    /// What every name that it describes begins with, for who can find names by their beginnings.
    pub fn prefix(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| b"*?[\\".contains(byte));
        &self.0[..end.unwrap_or(self.0.len())]
    }

    pub(crate) fn into_owned(self) -> Pattern<'static> {
        Pattern(Cow::Owned(self.0.into_owned()))
    }
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // Where the last star stood, and how much of the name it has swallowed.
    let mut star: Option<(usize, usize)> = None;
    // No class ends behind it, and nobody need look for that at each bracket.
    let last_end = pattern.iter().rposition(|byte| *byte == b']').unwrap_or(0);
    loop {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, seen));
            at += 1;
            continue;
        }
        let step = name.get(seen).and_then(|byte| one(&pattern[at..], *byte, at < last_end));
        match (step, star) {
            (Some(used), _) => (at, seen) = (at + used, seen + 1),
            (None, _) if at == pattern.len() && seen == name.len() => return true,
            (None, Some((after, swallowed))) if swallowed < name.len() => {
                star = Some((after, swallowed + 1));
                (at, seen) = (after, swallowed + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Bytes of the pattern that describe one byte; `None` if they describe another. Whether a class may end in the pattern
/// is known already.
fn one(pattern: &[u8], byte: u8, may_end: bool) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', class @ ..] if may_end => match in_class(class, byte) {
            Some((true, used)) => Some(used + 1),
            Some((false, _)) => None,
            // Without its end it is a bracket.
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether a class that has just been opened holds `byte`, and its length with the closing bracket.
fn in_class(class: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(class.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let (first, mut found) = (at, false);
    loop {
        match class.get(at..)? {
            [b']', ..] if at > first => return Some((found != negated, at + 1)),
            [from, b'-', to, ..] if *to != b']' => {
                found |= (*from..=*to).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pattern, matches};

    #[test]
    fn patterns_describe_what_a_shell_says_they_do() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("?", "", false),
            ("a?c", "abc", true),
            ("*.rs", "main.rs", true),
            ("*.rs", "main.rst", false),
            ("a*b*c", "aXXbYYbZZc", true),
            ("a*b*c", "aXXcYYb", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[ab", "[ab", true),
            ("[a][b", "a[b", true),
            ("[]", "[]", true),
            ("[!]", "[!]", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("**a", "bba", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn names_begin_with_what_stands_before_the_first_sign() {
        for (pattern, prefix) in [("abc*d", "abc"), ("a[b]", "a"), (r"a\*", "a"), ("?", ""), ("all", "all")] {
            assert_eq!(Pattern::new(pattern.as_bytes()).prefix(), prefix.as_bytes(), "{pattern}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = b"a*".repeat(200);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &[b'a'; 5000]));
    }

    #[test]
    fn many_brackets_do_not_take_for_ever() {
        let pattern = [&b"*"[..], &[b'['; 20_000]].concat();
        assert!(!matches(&pattern, &[b'['; 2000]));
    }
}
