//! Names as archives have them, as paths that lead nowhere else.

/// The longest name of an entry, as in all file systems that programs know.
pub(in super::super) const NAME_BYTES_MAX: usize = 255;
/// The longest path, as Linux takes it.
const PATH_BYTES_MAX: usize = 4096;

/// Adds a name to `into` as a path without a slash at either end: its components with single slashes between.
/// `None`, and nothing added, for a name that has no place here: with `..` or NUL, too long, or empty.
///
/// A slash at the start means nothing, and neither does `.`, as for other programs that unpack archives.
pub(super) fn add(name: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let start = into.len();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return refused(into, start),
            _ if component.len() > NAME_BYTES_MAX || component.contains(&0) => return refused(into, start),
            _ => {}
        }
        if into.len() > start {
            into.push(b'/');
        }
        into.extend_from_slice(component);
    }
    if into.len() - start > PATH_BYTES_MAX || into.len() == start {
        return refused(into, start);
    }
    Some(())
}

fn refused(into: &mut Vec<u8>, start: usize) -> Option<()> {
    into.truncate(start);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> Option<String> {
        let mut into = b"before".to_vec();
        let added = add(name.as_bytes(), &mut into);
        assert_eq!(added.is_some(), into.len() > "before".len());
        added.map(|()| String::from_utf8(into.split_off("before".len())).expect("still letters"))
    }

    #[test]
    fn a_name_leads_to_a_place_below_or_nowhere() {
        for (name, place) in [
            ("a/b", Some("a/b")),
            ("/etc/passwd", Some("etc/passwd")),
            ("//a//b/", Some("a/b")),
            ("./a/./b", Some("a/b")),
            ("a\nb/\u{1b}[2J", Some("a\nb/\u{1b}[2J")),
            ("...", Some("...")),
            ("../a", None),
            ("a/../b", None),
            ("a/..", None),
            ("a\0b", None),
            ("", None),
            ("/", None),
            (".", None),
        ] {
            assert_eq!(path(name).as_deref(), place, "{name:?}");
        }
        assert_eq!(path(&"x".repeat(255)), Some("x".repeat(255)));
        assert_eq!(path(&"x".repeat(256)), None);
        assert_eq!(path(&"x/".repeat(2048)).map(|path| path.len()), Some(4095));
        assert_eq!(path(&"x/".repeat(2050)), None);
    }
}
