//! Who may touch a span of memory, and until when.
//!
//! A span is in one of three hands: the transport's ([`Payload`], idle or known to the kernel), one
//! operation's ([`Lease`]), or that of something which outlives the operation ([`OwnedWindow`],
//! [`OwnedData`]: a blocking thread, an I/O in the kernel). Each hand holds one count of the same
//! `Arc`; a hand-over looks at the count first. So a future that is dropped half-way, or panics,
//! leaves nothing behind that could write into the next request's bytes.
//!
//! [`OwnedWindow`]: crate::OwnedWindow
//! [`OwnedData`]: crate::OwnedData

use std::fmt;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use crate::mapping::{Access, Mapping};
use crate::sync::{Ordering, fence};
use crate::{Data, Window};

/// The span that all hands share.
#[derive(Debug)]
pub(crate) struct Span {
    start: NonNull<u8>,
    len: usize,
    /// Woken when something detached is dropped: the operation may have been waiting for that to end.
    released: Arc<Released>,
    _keep: Arc<dyn Keep>,
}

/// What a span needs as long as a hand holds it: its mapping, and perhaps more.
pub(crate) trait Keep: fmt::Debug + Send + Sync {}

impl Keep for Mapping {}

// SAFETY: the bytes are reached only through a hand that is exclusive by the counts described above.
unsafe impl Send for Span {}
// SAFETY: as above; the fields themselves are plain or behind a lock.
unsafe impl Sync for Span {}

impl Span {
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn released(&self) -> &Arc<Released> {
        &self.released
    }
}

/// Who waits for detached parts to be dropped. Apart from the span, because it is told after its count fell.
#[derive(Debug, Default)]
pub(crate) struct Released(Mutex<Option<Waker>>);

impl Released {
    pub(crate) fn announce(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The transport's right to a span of memory. Not cloneable: a span has one owner.
#[derive(Debug)]
pub struct Payload {
    span: Arc<Span>,
}

impl Payload {
    /// A payload with a mapping of its own, of `len` bytes or a little more.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn anonymous(len: usize) -> io::Result<Payload> {
        let mapping = Arc::new(Mapping::anonymous(len)?);
        let len = mapping.len();
        Ok(Payload::over(mapping, 0..len))
    }

    /// Cuts one mapping into `count` payloads of `each` bytes, as many as fit.
    pub fn cut(mapping: Mapping, each: usize, count: usize) -> Vec<Payload> {
        let mapping = Arc::new(mapping);
        let fit = mapping.len().checked_div(each).unwrap_or(0).min(count);
        (0..fit).map(|index| Payload::over(mapping.clone(), index * each..(index + 1) * each)).collect()
    }

    fn over(mapping: Arc<Mapping>, range: Range<usize>) -> Payload {
        Payload::within(&mapping, mapping.clone(), range)
    }

    /// A payload on a range of a mapping. `keep` lives as long as anybody holds the payload's bytes, and keeps the
    /// mapping.
    ///
    /// The ranges that payloads on one mapping have at a time never overlap, and nobody writes them otherwise:
    /// all callers see to it.
    pub(crate) fn within(mapping: &Mapping, keep: Arc<dyn Keep>, range: Range<usize>) -> Payload {
        assert!(range.start <= range.end && range.end <= mapping.len(), "a payload beyond its mapping");
        assert_eq!(mapping.access(), Access::Write, "a payload in memory that is mapped to be read");
        // SAFETY: `range.start` lies within the mapping (or at its end, for an empty range).
        let start = unsafe { mapping.start().add(range.start) };
        let released = Arc::default();
        Payload { span: Arc::new(Span { start, len: range.len(), released, _keep: keep }) }
    }

    /// Bytes in the span.
    pub fn len(&self) -> usize {
        self.span.len
    }

    /// True for a span of no bytes.
    pub fn is_empty(&self) -> bool {
        self.span.len == 0
    }

    /// True when nobody else holds the span: no lease, nothing detached.
    pub fn is_free(&self) -> bool {
        is_count(&self.span, 1)
    }

    /// Wakes `waker` when something detached from this span is dropped.
    ///
    /// Look at [`is_free`](Self::is_free) again afterwards: the drop may have come just before.
    pub fn wake_when_released(&self, waker: &Waker) {
        *self.span.released.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    /// Lends the span to one operation; `None` while it is not [free](Self::is_free).
    pub fn lease(&mut self) -> Option<Lease> {
        self.is_free().then(|| Lease { span: self.span.clone() })
    }

    /// The address of the span, for a kernel interface that writes into it while nobody else holds it.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.span.start
    }

    /// The whole span as bytes; `None` while it is not [free](Self::is_free).
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        if !self.is_free() {
            return None;
        }
        // SAFETY: the span is mapped and initialised (the kernel zeroes it) and no other hand holds it, which
        // lasts while `self` is borrowed, because only `lease` makes new hands.
        Some(unsafe { std::slice::from_raw_parts_mut(self.span.start.as_ptr(), self.span.len) })
    }
}

/// One operation's use of a payload.
#[derive(Debug)]
pub struct Lease {
    span: Arc<Span>,
}

impl Lease {
    /// Bytes in the span.
    pub fn len(&self) -> usize {
        self.span.len
    }

    /// True for a span of no bytes.
    pub fn is_empty(&self) -> bool {
        self.span.len == 0
    }

    /// The first `len` bytes (or as many as there are) to fill.
    ///
    /// `None` while something detached earlier still holds the span.
    pub fn window(&mut self, len: usize) -> Option<Window<'_>> {
        // The payload's count and ours; anything above is detached.
        is_count(&self.span, 2).then(|| Window::new(&self.span, 0..len.min(self.span.len)))
    }

    /// The first `len` bytes (or as many as there are) to read.
    ///
    /// `None` while something detached earlier still holds the span.
    pub fn data(&mut self, len: usize) -> Option<Data<'_>> {
        is_count(&self.span, 2).then(|| Data::new(&self.span, 0..len.min(self.span.len)))
    }
}

/// Whether exactly `count` hands hold the span.
///
/// Counts above only fall meanwhile: new ones are made by the caller's own hand, which it holds
/// exclusively. The fence pairs with the release in the drop of the last other hand.
fn is_count(span: &Arc<Span>, count: usize) -> bool {
    let alone = Arc::strong_count(span) == count;
    fence(Ordering::Acquire);
    alone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_payload_is_lent_once() {
        let mut payload = Payload::anonymous(100).unwrap();
        let lease = payload.lease().unwrap();
        assert!(payload.lease().is_none());
        assert!(payload.bytes_mut().is_none());
        drop(lease);
        assert!(payload.lease().is_some());
    }

    #[test]
    fn a_detached_window_keeps_the_payload_busy_after_its_operation() {
        let mut payload = Payload::anonymous(4096).unwrap();
        let mut lease = payload.lease().unwrap();
        let detached = lease.window(8).unwrap().detach();
        assert!(lease.window(8).is_none(), "two writers of one span");
        drop(lease);
        assert!(!payload.is_free());
        drop(detached);
        assert!(payload.is_free());
    }

    #[test]
    fn one_mapping_is_cut_into_payloads_that_do_not_overlap() {
        let mapping = Mapping::anonymous(3 * 4096).unwrap();
        let mut payloads = Payload::cut(mapping, 4096, 9);
        assert_eq!(payloads.len(), 3);
        for (value, payload) in payloads.iter_mut().enumerate() {
            payload.bytes_mut().unwrap().fill(value as u8 + 1);
        }
        for (value, payload) in payloads.iter_mut().enumerate() {
            assert!(payload.bytes_mut().unwrap().iter().all(|byte| *byte == value as u8 + 1));
        }
    }
}
