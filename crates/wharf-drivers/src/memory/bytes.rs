//! What is done with the bytes of a node: under its lock, with its times and its privileges.
//!
//! How bytes are kept is in `contents`.

use std::ops::Range;

use wharf::error::Kind as ErrorKind;
use wharf::op::{Fallocate, FallocateMode, SeekFor};
use wharf::{Error, Result, Time};

use super::contents::Sink;
use super::inode::{Body, Inode};

/// Bytes that one request copies at the most: a caller that wants more asks again, and a queue is never
/// busy with one request for long.
const COPY_BYTES_MAX: u64 = 16 << 20;

/// What becomes of the time of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// It stays.
    Never,
    /// It moves if it is behind the other times.
    IfBehind,
    /// It moves.
    Always,
}

impl Inode {
    /// Reads up to `len` bytes; fewer only at the end of the file.
    pub(super) fn read(&self, offset: u64, len: usize, into: &mut impl Sink, touch: Touch) -> Result<usize> {
        let state = self.state();
        let count = state.contents()?.read(offset, len, into);
        let behind = state.access_is_behind();
        drop(state);
        self.touch(touch, behind);
        Ok(count)
    }

    /// Writes as much as there is space for. `kill`: the writer may not keep the set-ID bits.
    pub(super) fn write(&self, offset: u64, data: &[u8], kill: bool) -> Result<usize> {
        let mut state = self.state_mut();
        let count = state.contents_mut()?.write(offset, data, &self.space)?;
        if count > 0 {
            state.bytes_changed(kill, &self.space);
        }
        Ok(count)
    }

    /// Makes the file empty, as opening it may.
    pub(super) fn truncate(&self, kill: bool) -> Result<()> {
        let mut state = self.state_mut();
        state.contents_mut()?.set_size(0, &self.space)?;
        state.bytes_changed(kill, &self.space);
        Ok(())
    }

    /// Where a symbolic link leads.
    pub(super) fn target(&self, put: impl FnOnce(&[u8]) -> usize) -> Result<usize> {
        let state = self.state();
        let Body::Symlink(target) = &state.body else { return Err(Error::invalid()) };
        let count = put(target);
        let behind = state.access_is_due(Time::now());
        drop(state);
        self.touch(Touch::IfBehind, behind);
        Ok(count)
    }

    pub(super) fn fallocate(&self, op: &Fallocate, kill: bool) -> Result<()> {
        let Range { start, end } = op.range;
        if start >= end {
            return Err(Error::invalid());
        }
        let mut state = self.state_mut();
        let contents = state.contents_mut()?;
        let range = start..end;
        match op.mode {
            FallocateMode::Allocate | FallocateMode::Unshare => contents.allocate(range, &self.space)?,
            FallocateMode::Zero => {
                contents.allocate(range.clone(), &self.space)?;
                contents.zero(range, &self.space);
            }
            FallocateMode::PunchHole => contents.punch(range, &self.space),
            FallocateMode::Collapse => contents.collapse(range, &self.space)?,
            FallocateMode::Insert => contents.insert(range, &self.space)?,
        }
        let extends =
            matches!(op.mode, FallocateMode::Allocate | FallocateMode::Unshare | FallocateMode::Zero);
        if extends && !op.keep_size {
            contents.extend_to(end);
        }
        state.bytes_changed(kill, &self.space);
        Ok(())
    }

    pub(super) fn seek(&self, offset: u64, what: SeekFor) -> Result<u64> {
        let state = self.state();
        let contents = state.contents()?;
        let found = match what {
            SeekFor::Data => contents.next_data(offset),
            SeekFor::Hole => contents.next_hole(offset),
        };
        found.ok_or(Error::new(ErrorKind::NothingThere))
    }

    /// Copies to another file or within this one; 0 at the end of it.
    pub(super) fn copy_to(&self, target: &Inode, from: u64, to: u64, len: u64, kill: bool) -> Result<u64> {
        let len = len.min(COPY_BYTES_MAX);
        let copied = if std::ptr::eq(self, target) {
            if from.abs_diff(to) < len {
                return Err(Error::invalid());
            }
            let mut state = self.state_mut();
            let copied = state.contents_mut()?.copy_within(from, to, len, &self.space)?;
            if copied > 0 {
                state.bytes_changed(kill, &self.space);
            }
            copied
        } else {
            let (source, mut state);
            if self.number < target.number {
                source = self.state();
                state = target.state_mut();
            } else {
                state = target.state_mut();
                source = self.state();
            }
            let copied = state.contents_mut()?.copy(source.contents()?, from, to, len, &self.space)?;
            if copied > 0 {
                state.bytes_changed(kill, &self.space);
            }
            copied
        };
        let behind = self.state().access_is_behind();
        self.touch(Touch::IfBehind, behind);
        Ok(copied)
    }

    /// Moves the time of access after a read, if it is to move. The usual answer is no, at no cost.
    pub(super) fn touch(&self, touch: Touch, behind: bool) {
        if touch == Touch::Always || touch == Touch::IfBehind && behind {
            self.state_mut().accessed = Time::now();
        }
    }
}
