//! Patterns for names, as a shell has them: `*`, `?`, `[a-z]`, `[!a-z]`, and `\` before what is meant as it is.

/// Whether all of `name` is described by `pattern`. Takes time in proportion to the product of both lengths at
/// the worst.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // Where the last star stood, and how much of the name it has swallowed.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, seen));
            at += 1;
            continue;
        }
        let step = name.get(seen).and_then(|byte| one(&pattern[at..], *byte));
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

/// Bytes of the pattern that describe one byte; `None` if they describe another.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', class @ ..] => match in_class(class, byte) {
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
    use super::matches;

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
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("**a", "bba", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = b"a*".repeat(200);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &[b'a'; 5000]));
    }
}
