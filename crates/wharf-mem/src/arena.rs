//! Bytes that travel once: payload slots that the host fills and a client reads, and the inbox, which goes the
//! other way.

use std::io;
use std::os::fd::OwnedFd;

use crate::mapping::Access;
use crate::payload::Payload;
use crate::shared::Shared;

/// A client's payload slots, as the host has them. What is used last is used first: it is still in the cache.
#[derive(Debug)]
pub struct Arena {
    shared: Shared,
    slot_bytes: usize,
    free: Vec<(u32, Payload)>,
    /// Slots that have memory, by number.
    allocated: Vec<bool>,
}

impl Arena {
    /// Makes `slots` slots of `slot_bytes` each, which is a multiple of the page size. They take memory when they are
    /// used first.
    ///
    /// # Errors
    /// When there is no address space or descriptor left.
    pub fn create(slots: u32, slot_bytes: usize) -> io::Result<Arena> {
        let bytes = (slot_bytes as u64).checked_mul(u64::from(slots)).ok_or(io::ErrorKind::OutOfMemory)?;
        if slot_bytes == 0 || !slot_bytes.is_multiple_of(rustix::param::page_size()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let shared = Shared::create("wharf-arena", bytes)?;
        let payload = |slot: u32| {
            let start = slot as usize * slot_bytes;
            (slot, Payload::within(shared.mapping(), shared.mapping().clone(), start..start + slot_bytes))
        };
        let free = (0..slots).rev().map(payload).collect();
        Ok(Arena { free, shared, slot_bytes, allocated: vec![false; slots as usize] })
    }

    /// Takes a slot: its number, and its bytes to be filled. `None` if all are in use.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn take(&mut self) -> io::Result<Option<(u32, Payload)>> {
        let Some((slot, payload)) = self.free.pop() else { return Ok(None) };
        let allocated = &mut self.allocated[slot as usize];
        if !*allocated {
            // Touching memory that cannot be had would end the process.
            let at = u64::from(slot) * self.slot_bytes as u64;
            if let Err(error) = self.shared.allocate(at, self.slot_bytes as u64) {
                self.free.push((slot, payload));
                return Err(error);
            }
            *allocated = true;
        }
        Ok(Some((slot, payload)))
    }

    /// Gives a slot back, with the payload that it was taken with.
    pub fn put_back(&mut self, slot: u32, payload: Payload) {
        self.free.push((slot, payload));
    }

    /// Slots that are not in use.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Bytes of one slot.
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// What the client is given; it may read it.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn hand_out(&self) -> io::Result<OwnedFd> {
        self.shared.read_only()
    }
}

/// A client's payload slots, as the client has them.
#[derive(Debug)]
pub struct ArenaReader {
    shared: Shared,
    slot_bytes: usize,
}

impl ArenaReader {
    /// Takes what a host handed out. It is left out of processes that this one forks.
    ///
    /// # Errors
    /// If it is not what it should be.
    pub fn of_host(file: OwnedFd, slots: u32, slot_bytes: usize) -> io::Result<ArenaReader> {
        let bytes = (slot_bytes as u64).checked_mul(u64::from(slots)).ok_or(io::ErrorKind::InvalidInput)?;
        let shared = Shared::of_stranger(file, bytes, Access::Read)?;
        shared.mapping().keep_from_children()?;
        Ok(ArenaReader { shared, slot_bytes })
    }

    /// Copies the first bytes of a slot; fewer than asked if it has no more, none if there is no such slot.
    pub fn copy_out(&self, slot: u32, into: &mut [u8]) -> usize {
        let count = into.len().min(self.slot_bytes);
        let Some(at) = u64::from(slot).checked_mul(self.slot_bytes as u64) else { return 0 };
        self.shared.copy_out(at, &mut into[..count])
    }
}

/// Bytes that a client sends: names, and what it writes. As the host has them.
#[derive(Debug)]
pub struct Inbox {
    shared: Shared,
}

impl Inbox {
    /// Makes an inbox of `bytes`.
    ///
    /// # Errors
    /// When there is no memory or descriptor left.
    pub fn create(bytes: u64) -> io::Result<Inbox> {
        let shared = Shared::create("wharf-inbox", bytes)?;
        shared.allocate(0, bytes)?;
        Ok(Inbox { shared })
    }

    /// What the client is given; it may write it.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn hand_out(&self) -> io::Result<OwnedFd> {
        self.shared.writable()
    }

    /// Copies what the client says it put at `at`, to be looked at only in the copy: the client may change what is here
    /// at any time. False if the range is not all there.
    #[must_use]
    pub fn copy_out(&self, at: u64, into: &mut [u8]) -> bool {
        let there = at.checked_add(into.len() as u64).is_some_and(|end| end <= self.shared.len_bytes());
        there && self.shared.copy_out(at, into) == into.len()
    }
}

/// An inbox, as its client has it.
#[derive(Debug)]
pub struct InboxWriter {
    shared: Shared,
}

impl InboxWriter {
    /// Takes what a host handed out. It is left out of processes that this one forks.
    ///
    /// # Errors
    /// If it is not what it should be.
    pub fn of_host(file: OwnedFd, bytes: u64) -> io::Result<InboxWriter> {
        let shared = Shared::of_stranger(file, bytes, Access::Write)?;
        shared.mapping().keep_from_children()?;
        Ok(InboxWriter { shared })
    }

    /// Puts bytes at `at`. Returns how many fitted.
    pub fn copy_in(&self, at: u64, bytes: &[u8]) -> usize {
        self.shared.copy_in(at, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_filled_read_and_used_again_warm_first() {
        let mut arena = Arena::create(3, 8192).unwrap();
        let reader = ArenaReader::of_host(arena.hand_out().unwrap(), 3, 8192).unwrap();
        let (first, mut payload) = arena.take().unwrap().unwrap();
        let (second, other) = arena.take().unwrap().unwrap();
        payload.bytes_mut().unwrap().fill(7);
        let mut bytes = [0; 9000];
        assert_eq!(reader.copy_out(first, &mut bytes), 8192);
        assert!(bytes[..8192].iter().all(|byte| *byte == 7) && bytes[8192] == 0);
        assert_eq!(reader.copy_out(3, &mut bytes), 0);
        assert_eq!(reader.copy_out(u32::MAX, &mut bytes), 0);
        let (_third, _) = arena.take().unwrap().unwrap();
        assert!(arena.take().unwrap().is_none());
        arena.put_back(second, other);
        arena.put_back(first, payload);
        assert_eq!(arena.take().unwrap().unwrap().0, first);
        assert_eq!(arena.free(), 1);
    }

    #[test]
    fn slots_take_memory_when_they_are_used() {
        let mut arena = Arena::create(4, 65_536).unwrap();
        assert_eq!(arena.shared.allocated_bytes().unwrap(), 0);
        let (slot, payload) = arena.take().unwrap().unwrap();
        arena.put_back(slot, payload);
        arena.take().unwrap().unwrap();
        assert_eq!(arena.shared.allocated_bytes().unwrap(), 65_536);
        assert!(Arena::create(4, 1000).is_err() && Arena::create(4, 0).is_err());
        assert!(Arena::create(u32::MAX, usize::MAX / 4096 * 4096).is_err());
    }

    #[test]
    fn an_inbox_gives_what_is_there_and_nothing_beyond() {
        let inbox = Inbox::create(8192).unwrap();
        let writer = InboxWriter::of_host(inbox.hand_out().unwrap(), 8192).unwrap();
        assert_eq!(writer.copy_in(8190, b"abc"), 2);
        let mut bytes = [0; 2];
        assert!(inbox.copy_out(8190, &mut bytes));
        assert_eq!(&bytes, b"ab");
        assert!(!inbox.copy_out(8191, &mut bytes) && !inbox.copy_out(u64::MAX, &mut bytes));
        assert!(InboxWriter::of_host(inbox.hand_out().unwrap(), 4096).is_err());
    }
}
