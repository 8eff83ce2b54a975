//! Bytes of a file that stay where they are while somebody looks at them.

use std::ptr::NonNull;

use wharf_mem::Pinned;

/// A part of a file, lent without a copy where that is possible.
///
/// Where the bytes are in a section they are held there: the host does not take them away while this value lives. When
/// the file is written, the new bytes show. Elsewhere they have been read into memory of its own. It can be
/// shorter than what was asked for, where the file ends.
#[derive(Debug)]
pub struct View<'a>(Bytes<'a>);

#[derive(Debug)]
enum Bytes<'a> {
    Held(Pinned<'a>),
    Own(Box<[u8]>),
}

impl<'a> View<'a> {
    pub(super) fn held(pinned: Pinned<'a>) -> View<'a> {
        View(Bytes::Held(pinned))
    }

    pub(super) fn owned(bytes: Vec<u8>) -> View<'a> {
        View(Bytes::Own(bytes.into_boxed_slice()))
    }

    /// Whether the bytes are where the host put them; if not, this is a copy.
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Bytes::Held(_))
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        match &self.0 {
            Bytes::Held(pinned) => pinned.len(),
            Bytes::Own(bytes) => bytes.len(),
        }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes from `at` on into `into` and returns how many there were.
    pub fn copy_to(&self, at: usize, into: &mut [u8]) -> usize {
        match &self.0 {
            Bytes::Held(pinned) => pinned.copy_to(at, into),
            Bytes::Own(bytes) => {
                let from = bytes.get(at..).unwrap_or_default();
                let count = from.len().min(into.len());
                into[..count].copy_from_slice(&from[..count]);
                count
            }
        }
    }

    /// The address of the first byte, for code that knows how to read memory that another process may change.
    /// Good for [`len`](Self::len) bytes as long as this value lives.
    pub fn as_ptr(&self) -> NonNull<u8> {
        match &self.0 {
            Bytes::Held(pinned) => NonNull::new(pinned.as_ptr().cast_mut()).unwrap_or(NonNull::dangling()),
            Bytes::Own(bytes) => NonNull::from(&**bytes).cast(),
        }
    }
}
