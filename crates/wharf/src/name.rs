//! The name of one directory entry.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// The name of one entry in a directory: not empty, no `/`, no NUL, neither `.` nor `..`.
///
/// Any other bytes may occur: names on Linux need not be UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name<'a>(&'a OsStr);

impl<'a> Name<'a> {
    /// `None` if the bytes cannot be a name.
    pub fn new(bytes: &'a [u8]) -> Option<Name<'a>> {
        // Two searches, each of which the library does many bytes at a time.
        let refused = matches!(bytes, b"" | b"." | b"..") || bytes.contains(&0) || bytes.contains(&b'/');
        (!refused).then(|| Name(OsStr::from_bytes(bytes)))
    }

    /// The name as the kernel gave it.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }

    /// The name for the standard library's paths.
    pub fn as_os_str(self) -> &'a OsStr {
        self.0
    }
}

/// A name on its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OwnedName(Box<OsStr>);

impl Name<'_> {
    pub(crate) fn to_owned(self) -> OwnedName {
        OwnedName(self.0.into())
    }
}

impl Borrow<OsStr> for OwnedName {
    fn borrow(&self) -> &OsStr {
        &self.0
    }
}

impl OwnedName {
    pub(crate) fn as_name(&self) -> Name<'_> {
        Name(&self.0)
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsRef<OsStr> for Name<'_> {
    fn as_ref(&self) -> &OsStr {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn what_a_directory_cannot_hold_is_no_name() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0"] {
            assert_eq!(Name::new(bad), None, "{bad:?}");
        }
        for good in [&b"a"[..], b"...", b"\xff\xfe", b" "] {
            assert_eq!(Name::new(good).unwrap().as_bytes(), good);
        }
    }
}
