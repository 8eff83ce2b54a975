//! A request's bytes after the header, taken from the front. Whoever takes too much gets an error.

use wharf::{Errno, Name};
use zerocopy::FromBytes;

/// The bytes are not what the protocol says they are.
pub(super) const MALFORMED: Errno = Errno::EIO;

#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Body<'a> {
        Body(bytes)
    }

    /// The next struct.
    pub(super) fn take<T: FromBytes>(&mut self) -> Result<T, Errno> {
        let (value, rest) = T::read_from_prefix(self.0).map_err(|_| MALFORMED)?;
        self.0 = rest;
        Ok(value)
    }

    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Errno> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// The bytes up to the next NUL, which must be there and is skipped.
    pub(super) fn text(&mut self) -> Result<&'a [u8], Errno> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(MALFORMED)?;
        let text = self.bytes(end)?;
        self.bytes(1)?;
        Ok(text)
    }

    /// The next text, as the name of a directory entry.
    pub(super) fn name(&mut self) -> Result<Name<'a>, Errno> {
        Name::new(self.text()?).ok_or(Errno::EINVAL)
    }

    /// Cuts `count` bytes off the end.
    pub(super) fn split_end(&mut self, count: usize) -> Result<Body<'a>, Errno> {
        let middle = self.0.len().checked_sub(count).ok_or(MALFORMED)?;
        let (front, end) = self.0.split_at(middle);
        self.0 = front;
        Ok(Body(end))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Errno> {
        if self.is_empty() { Ok(()) } else { Err(MALFORMED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_with_its_nul() {
        let mut body = Body::new(b"ab\0\0c");
        assert_eq!(body.text(), Ok(&b"ab"[..]));
        assert_eq!(body.text(), Ok(&b""[..]));
        assert_eq!(body.text(), Err(MALFORMED));
        assert_eq!(body.bytes(1), Ok(&b"c"[..]));
    }

    #[test]
    fn no_more_can_be_taken_than_is_there() {
        let mut body = Body::new(&[1, 0, 0, 0, 9]);
        assert_eq!(body.take::<u64>(), Err(MALFORMED));
        assert_eq!(body.take::<u32>(), Ok(1u32.to_le()));
        assert_eq!(body.bytes(2), Err(MALFORMED));
        assert_eq!(body.split_end(2).err(), Some(MALFORMED));
        assert_eq!(body.end(), Err(MALFORMED));
        assert_eq!(body.split_end(1).and_then(|mut end| end.bytes(1)), Ok(&[9][..]));
        assert_eq!(body.end(), Ok(()));
    }
}
