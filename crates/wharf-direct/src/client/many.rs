//! Several reads at once.

/// One of several reads: where, into what, and what became of it.
#[derive(Debug)]
pub struct Piece<'a> {
    /// First byte.
    pub offset: u64,
    /// Where the bytes go.
    pub into: &'a mut [u8],
    /// Bytes read, fewer than fit only where the file ends; or why not. Set by
    /// [`Reader::read_many`](super::Reader::read_many).
    pub result: std::io::Result<usize>,
}

impl<'a> Piece<'a> {
    /// A read that has not been done.
    pub fn new(offset: u64, into: &'a mut [u8]) -> Piece<'a> {
        Piece { offset, into, result: Ok(0) }
    }
}
