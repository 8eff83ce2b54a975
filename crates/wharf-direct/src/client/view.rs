//! Bytes of a file that stay what they are while somebody looks at them.

use std::ptr::NonNull;

/// A part of a file, lent without a copy where that is possible.
///
/// Where the bytes are in a section they are pinned: the host does not take them away while this value lives.
/// Elsewhere they have been read into memory of its own. It can be shorter than what was asked for, where the
/// file ends.
#[derive(Debug)]
pub struct View<'a> {
    bytes: Box<[u8]>,
    _reader: std::marker::PhantomData<&'a ()>,
}

impl View<'_> {
    pub(super) fn owned(bytes: Vec<u8>) -> Self {
        View { bytes: bytes.into_boxed_slice(), _reader: std::marker::PhantomData }
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes from `at` on into `into` and returns how many there were.
    pub fn copy_to(&self, at: usize, into: &mut [u8]) -> usize {
        let from = self.bytes.get(at..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        count
    }

    /// The address of the first byte, for code that knows how to read memory that another process may change.
    /// Good for [`len`](Self::len) bytes as long as this value lives.
    pub fn as_ptr(&self) -> NonNull<u8> {
        NonNull::from(&*self.bytes).cast()
    }
}
