//! Bounded spans of a leased payload: windows to fill, data to read.

use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::copy::copy_streams;
use crate::payload::Span;

/// A bounded span of bytes in which a reply travels to whoever asked.
///
/// Fill it with [`put`](Self::put) from bytes you have, or with [`fill`](Self::fill) from something
/// that wants a buffer. What is in it before is arbitrary (never another file system's): say how many
/// bytes you have really filled.
#[derive(Debug)]
pub struct Window<'a> {
    span: &'a Arc<Span>,
    range: Range<usize>,
    _exclusive: PhantomData<&'a mut [u8]>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(span: &'a Arc<Span>, range: Range<usize>) -> Window<'a> {
        Window { span, range, _exclusive: PhantomData }
    }

    /// Bytes that fit.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// True if nothing fits.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Copies `bytes` to the start and returns how many fitted.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        self.put_at(0, bytes)
    }

    /// Copies `bytes` to offset `at` and returns how many fitted.
    pub fn put_at(&mut self, at: usize, bytes: &[u8]) -> usize {
        self.fill(|buffer| {
            let room = buffer.get_mut(at..).unwrap_or_default();
            let count = bytes.len().min(room.len());
            copy_streams(&mut room[..count], &bytes[..count]);
            count
        })
    }

    /// Zeroes `range` (as far as it lies inside) and returns how many bytes that were.
    pub fn zero(&mut self, range: Range<usize>) -> usize {
        self.fill(|buffer| {
            let end = range.end.min(buffer.len());
            let part = buffer.get_mut(range.start..end).unwrap_or_default();
            part.fill(0);
            part.len()
        })
    }

    /// Lends the bytes as a slice to `with`, for readers that want a buffer.
    ///
    /// The closure keeps an author's hands off the memory afterwards, which a client may then see.
    pub fn fill<R>(&mut self, with: impl FnOnce(&mut [u8]) -> R) -> R {
        // SAFETY: the lease made this window when no other hand held the span; it is borrowed exclusively
        // here, and the bytes are mapped and initialised.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), self.range.len()) };
        with(bytes)
    }

    /// The same window, shortened to its first `len` bytes.
    pub fn prefix(self, len: usize) -> Window<'a> {
        let end = self.range.start + len.min(self.range.len());
        Window { range: self.range.start..end, ..self }
    }

    /// Two windows, the first of `at` bytes (or all, if it has fewer).
    pub fn split(self, at: usize) -> (Window<'a>, Window<'a>) {
        let middle = self.range.start + at.min(self.range.len());
        let second = Window { range: middle..self.range.end, ..Window::new(self.span, 0..0) };
        (Window { range: self.range.start..middle, ..self }, second)
    }

    /// Takes the span along to another thread or into an I/O, beyond this borrow.
    ///
    /// Until the result is dropped the payload is not used for another request, whatever becomes of this one.
    pub fn detach(self) -> OwnedWindow {
        OwnedWindow { span: Some(self.span.clone()), range: self.range }
    }

    fn start(&self) -> NonNull<u8> {
        // SAFETY: `range` lies within the span.
        unsafe { self.span.start().add(self.range.start) }
    }
}

/// A window that has left its operation. See [`Window::detach`].
#[derive(Debug)]
pub struct OwnedWindow {
    /// `None` only while being dropped.
    span: Option<Arc<Span>>,
    range: Range<usize>,
}

impl OwnedWindow {
    /// Lends the bytes as a slice to `with`. (Not as a window: that could be detached a second time.)
    pub fn fill<R>(&mut self, with: impl FnOnce(&mut [u8]) -> R) -> R {
        // SAFETY: the window that became this one was the only way to these bytes, and is gone; the span is
        // not lent again before this value is dropped; the bytes are mapped and initialised.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.as_ptr().as_ptr(), self.range.len()) };
        with(bytes)
    }

    /// Bytes that fit.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// True if nothing fits.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The address, for an I/O that the kernel performs while this value is kept.
    pub fn as_ptr(&self) -> NonNull<u8> {
        let span = self.span.as_ref().expect("present until dropped");
        // SAFETY: `range` lies within the span.
        unsafe { span.start().add(self.range.start) }
    }
}

impl Drop for OwnedWindow {
    fn drop(&mut self) {
        release(self.span.take());
    }
}

/// Bytes that came with a request, to read. Derefs to a slice.
#[derive(Debug)]
pub struct Data<'a> {
    span: &'a Arc<Span>,
    range: Range<usize>,
}

impl<'a> Data<'a> {
    pub(crate) fn new(span: &'a Arc<Span>, range: Range<usize>) -> Data<'a> {
        Data { span, range }
    }

    /// A part of the bytes, as far as `range` lies inside.
    pub fn part(&self, range: Range<usize>) -> Data<'a> {
        let end = self.range.start + range.end.min(self.range.len());
        let start = self.range.start.saturating_add(range.start).min(end);
        Data { span: self.span, range: start..end }
    }

    /// Takes the bytes along to another thread or into an I/O, without a copy.
    ///
    /// Until the result is dropped the payload is not used for another request.
    pub fn detach(self) -> OwnedData {
        OwnedData { span: Some(self.span.clone()), range: self.range }
    }
}

impl Deref for Data<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `range` lies within the span.
        let start = unsafe { self.span.start().add(self.range.start) };
        // SAFETY: the lease made this when no other hand held the span, or detached data lends itself. While
        // data on it is borrowed or detached no window can be made and the payload is not free, so nobody
        // writes; the bytes are mapped and initialised.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.range.len()) }
    }
}

/// Data that has left its operation. See [`Data::detach`].
#[derive(Debug)]
pub struct OwnedData {
    /// `None` only while being dropped.
    span: Option<Arc<Span>>,
    range: Range<usize>,
}

impl OwnedData {
    /// The bytes as they came with the operation, for code that takes them so.
    pub fn lend(&self) -> Data<'_> {
        Data::new(self.span.as_ref().expect("present until dropped"), self.range.clone())
    }
}

impl Deref for OwnedData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let span = self.span.as_ref().expect("present until dropped");
        // SAFETY: `range` lies within the span.
        let start = unsafe { span.start().add(self.range.start) };
        // SAFETY: this is one of the hands of which the lending of `Data` knows: nobody writes while it lives.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.range.len()) }
    }
}

impl Drop for OwnedData {
    fn drop(&mut self) {
        release(self.span.take());
    }
}

/// Gives the count back before anybody is woken, so that whoever wakes finds the payload free.
fn release(span: Option<Arc<Span>>) {
    let Some(span) = span else { return };
    let released = span.released().clone();
    drop(span);
    released.announce();
}

#[cfg(test)]
mod tests {
    use crate::Payload;

    #[test]
    fn a_window_takes_what_fits_and_says_how_much() {
        let mut payload = Payload::anonymous(4096).unwrap();
        let mut lease = payload.lease().unwrap();
        let mut window = lease.window(10).unwrap();
        assert_eq!(window.put(b"0123456789abc"), 10);
        assert_eq!(window.put_at(8, b"xyz"), 2);
        assert_eq!(window.put_at(11, b"xyz"), 0);
        assert_eq!(window.zero(4..6), 2);
        assert_eq!(window.zero(9..99), 1);
        assert_eq!(&*lease.data(10).unwrap(), b"0123\0\x0067x\0");
    }

    #[test]
    fn the_halves_of_a_window_do_not_overlap() {
        let mut payload = Payload::anonymous(4096).unwrap();
        let mut lease = payload.lease().unwrap();
        let (mut first, mut second) = lease.window(6).unwrap().split(4);
        first.put(b"aaaaaaa");
        second.put(b"bbbbbbb");
        assert_eq!(&*lease.data(6).unwrap(), b"aaaabb");
    }

    #[test]
    fn a_part_of_data_ends_where_the_data_ends() {
        let mut payload = Payload::anonymous(4096).unwrap();
        let mut lease = payload.lease().unwrap();
        lease.window(8).unwrap().put(b"01234567");
        let data = lease.data(6).unwrap();
        assert_eq!(&*data.part(2..4), b"23");
        assert_eq!(&*data.part(2..4).part(1..9), b"3");
        assert_eq!(&*data.part(4..usize::MAX), b"45");
        assert!(data.part(7..9).is_empty() && data.part(usize::MAX..usize::MAX).is_empty());
    }

    #[test]
    fn whoever_waits_for_the_payload_is_woken_when_the_last_detached_part_goes() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        struct Count(AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let mut payload = Payload::anonymous(4096).unwrap();
        let detached = payload.lease().unwrap().data(5).unwrap().detach();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        payload.wake_when_released(&count.clone().into());
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        std::thread::spawn(move || assert_eq!(detached.len(), 5)).join().unwrap();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(payload.is_free());
    }
}
