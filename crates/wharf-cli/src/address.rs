//! `VOLUME:PATH`, as it is typed. Which colon divides it is known when the volumes are.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::show::plain;

/// A path in a volume. There is something before one of its colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(OsString);

impl Address {
    /// Takes what was typed.
    pub(crate) fn parse(typed: OsString) -> Result<Address, String> {
        let address = Address(typed);
        if address.divisions().next().is_none() {
            return Err(format!(
                "`{}` does not say which volume; write it as DIR:PATH, with a DIR that wharf list shows",
                address.shown()
            ));
        }
        Ok(address)
    }

    /// What may be the volume and what the path in it, from the last colon on.
    pub(crate) fn divisions(&self) -> impl Iterator<Item = (&Path, &Path)> {
        let bytes = self.0.as_bytes();
        let part = |bytes| Path::new(OsStr::from_bytes(bytes));
        let colons = (1..bytes.len()).rev().filter(|at| bytes[*at] == b':');
        colons.map(move |at| (part(&bytes[..at]), part(&bytes[at + 1..])))
    }

    /// For people.
    pub(crate) fn shown(&self) -> String {
        plain(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colon_may_divide_and_the_last_comes_first() {
        let divisions = |typed: &str| {
            let address = Address::parse(typed.into()).expect(typed);
            let told = |path: &Path| path.to_str().expect("plain letters").to_owned();
            Vec::from_iter(address.divisions().map(|(volume, path)| (told(volume), told(path))))
        };
        let pair = |volume: &str, path: &str| (volume.to_owned(), path.to_owned());
        assert_eq!(divisions("/mnt:"), [pair("/mnt", "")]);
        assert_eq!(divisions("/m:n:a/b"), [pair("/m:n", "a/b"), pair("/m", "n:a/b")]);
        assert_eq!(divisions("::a"), [pair(":", "a")]);
    }

    #[test]
    fn what_names_no_volume_is_refused() {
        for typed in ["", "a", ":a", ":"] {
            let sentence = Address::parse(typed.into()).expect_err(typed);
            assert!(sentence.contains("DIR:PATH"), "{sentence}");
        }
    }
}
