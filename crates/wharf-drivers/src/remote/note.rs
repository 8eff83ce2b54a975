//! A note: which file, and which version of it, as a few lines of text that say themselves where they end.

use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use wharf::Time;

use super::meta::Version;

/// Writes a note. Of the time it keeps the seconds, which is what versions are told by.
pub(super) fn note(path: &str, base: Option<&Version>) -> String {
    let plain = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut text = format!("path={}\n", plain(path));
    if let Some(Version { size, modified, etag }) = base {
        text += &format!("size={size}\n");
        if let Some(time) = modified {
            text += &format!("modified={}\n", time.seconds);
        }
        if let Some(etag) = etag {
            text += &format!("etag={}\n", plain(etag));
        }
    }
    text + "end\n"
}

/// Reads a note. `None` for one that is not whole.
pub(super) fn noted(text: &str) -> Option<(String, Option<Version>)> {
    let text = text.strip_suffix("end\n")?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let plain = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
    let path = plain(field("path")?)?;
    let Some(size) = field("size") else { return Some((path, None)) };
    let modified = field("modified").and_then(|text| text.parse().ok());
    let modified = modified.map(|seconds| Time { seconds, nanoseconds: 0 });
    let etag = field("etag").and_then(plain).map(Arc::from);
    Some((path, Some(Version { size: size.parse().ok()?, modified, etag })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_what_was_noted_or_nothing() {
        let base = Version {
            size: 7,
            modified: Some(Time { seconds: -3, nanoseconds: 0 }),
            etag: Some("\"a\n\"".into()),
        };
        for base in [None, Some(base)] {
            let text = note("a b/ü\n=", base.as_ref());
            assert_eq!(noted(&text), Some(("a b/ü\n=".into(), base)));
            assert_eq!(noted(&text[..text.len() - 2]), None);
        }
    }
}
