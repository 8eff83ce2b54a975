//! Files in memory: who waits for what, and what becomes of it.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use wharf_mem::Payload;

use super::*;
use crate::error::Kind;
use crate::testing::block_on;

fn read(memory: &Memory, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut payload = Payload::anonymous(len).unwrap();
    let mut lease = payload.lease().unwrap();
    let count = block_on(memory.read(offset, lease.window(len).unwrap()))?;
    Ok(lease.data(count).unwrap().to_vec())
}

fn pattern(range: Range<u64>) -> Vec<u8> {
    range.map(|at| (at * 7 % 251) as u8).collect()
}

#[test]
fn what_is_held_is_read_as_far_as_it_goes() {
    let memory = Memory::holding(&pattern(0..70_000)).unwrap();
    assert!(memory.is_complete() && memory.section().is_complete());
    assert_eq!(read(&memory, 65_000, 9_000).unwrap(), pattern(65_000..70_000));
    assert_eq!(read(&memory, 70_000, 10).unwrap(), b"");
    assert_eq!(read(&memory, u64::MAX, 10).unwrap(), b"");
    let empty = Memory::holding(b"").unwrap();
    assert!(empty.is_complete() && empty.is_empty());
    assert_eq!(read(&empty, 0, 10).unwrap(), b"");
}

#[test]
fn a_reader_waits_until_the_range_is_there_and_no_longer() {
    let (memory, mut filler) = Memory::new(200_000).unwrap();
    let reader = thread::spawn({
        let memory = memory.clone();
        move || read(&memory, 100_000, 50_000).unwrap()
    });
    assert_eq!(filler.wait_until_wanted(), Some(100_000..150_000));
    filler.fill(120_000, &pattern(120_000..150_000)).unwrap();
    assert_eq!(filler.wanted(), Some(100_000..150_000));
    filler.append(&pattern(0..50_000)).unwrap();
    filler.append(&pattern(50_000..120_000)).unwrap();
    assert_eq!(reader.join().unwrap(), pattern(100_000..150_000));
    assert!(!memory.is_complete());
    assert_eq!(filler.wanted(), None);
    filler.fill(150_000, &pattern(150_000..200_000)).unwrap();
    filler.finish().unwrap();
    assert!(memory.is_complete() && memory.section().is_complete());
    assert_eq!(read(&memory, 0, 200_000).unwrap(), pattern(0..200_000));
}

#[test]
fn what_will_not_come_is_an_error_and_what_is_there_stays() {
    let (memory, mut filler) = Memory::new(100).unwrap();
    filler.append(b"0123456789").unwrap();
    let reader = thread::spawn({
        let memory = memory.clone();
        move || read(&memory, 5, 10).unwrap_err().kind()
    });
    filler.wait_until_wanted().unwrap();
    filler.fail(&Error::new(Kind::TimedOut));
    assert_eq!(reader.join().unwrap(), Kind::TimedOut);
    assert_eq!(read(&memory, 50, 1).unwrap_err().kind(), Kind::TimedOut);
    assert_eq!(read(&memory, 3, 7).unwrap(), b"3456789");
    assert!(!memory.is_complete());
}

#[test]
fn a_filler_that_is_dropped_or_ends_early_leaves_an_error() {
    let (memory, filler) = Memory::new(100).unwrap();
    drop(filler);
    assert_eq!(read(&memory, 0, 1).unwrap_err().kind(), Kind::Io);
    let (memory, mut filler) = Memory::new(100).unwrap();
    filler.append(&[1; 99]).unwrap();
    assert_eq!(filler.finish().unwrap_err().kind(), Kind::Io);
    assert_eq!(read(&memory, 0, 100).unwrap_err().kind(), Kind::Io);
}

#[test]
fn no_byte_is_filled_twice_or_beyond_the_end() {
    let (memory, mut filler) = Memory::new(100).unwrap();
    filler.fill(10, &[1; 10]).unwrap();
    for (offset, len) in [(0, 11), (19, 1), (15, 2), (91, 10), (u64::MAX, 2)] {
        assert_eq!(filler.fill(offset, &[2; 10][..len.min(10)]).is_err(), offset != 0, "{offset} {len}");
    }
    assert_eq!(read(&memory, 10, 10).unwrap(), [1; 10]);
}

#[test]
fn the_last_one_who_has_the_memory_frees_it_and_the_filler_is_told() {
    let (memory, mut filler) = Memory::new(1 << 20).unwrap();
    filler.append(&[1; 65_536]).unwrap();
    assert_eq!(memory.allocated_bytes(), 65_536);
    {
        let mut waiting = pin!(filler.until_wanted());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let waiting = thread::spawn(move || {
        assert_eq!(filler.wait_until_wanted(), None);
        filler
    });
    let weak = Arc::downgrade(&memory);
    drop(memory);
    let mut filler = waiting.join().unwrap();
    assert!(weak.upgrade().is_none() && filler.is_abandoned());
    assert_eq!(filler.append(b"x").unwrap_err().kind(), Kind::Stale);
    assert_eq!(block_on(filler.until_wanted()), None);
}

#[test]
fn a_reader_that_gives_up_is_not_waited_for() {
    let (memory, filler) = Memory::new(100).unwrap();
    {
        let mut waiting = pin!(memory.filled(0..10));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(waiting.as_mut().poll(&mut cx), Poll::Pending));
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert_eq!(filler.wanted(), Some(0..10));
    }
    assert_eq!(filler.wanted(), None);
}
