//! One entry of a ring: where the kernel puts a request and takes the answer from.
//!
//! An entry is in one of two hands. The kernel's: from its registration or commit until a completion
//! brings a request. Ours: from then until it is committed. We touch its memory only in between.
#![expect(unsafe_code, reason = "the io-uring crate has no way to set the length of a command's entry")]

use std::io;

use io_uring::opcode;
use io_uring::squeue::Entry128;
use io_uring::types::Fixed;
use wharf::Errno;
use wharf::session::{Completion, Reply};
use wharf_mem::{Mapping, Payload};

use crate::wire::{self, Terms};

/// `struct fuse_uring_req_header`: the header in and out, the operation's first argument, and the ring's own part.
const HEADER_BYTES: usize = 288;
const IN_OUT: std::ops::Range<usize> = 0..128;
const OP_IN: std::ops::Range<usize> = 128..256;
const COMMIT_ID: std::ops::Range<usize> = 264..272;
const PAYLOAD_SIZE: std::ops::Range<usize> = 272..276;
/// Behind the header: the two `struct iovec` that tell the kernel where header and payload are.
const VECTORS: usize = 512;
const RECORD_BYTES: usize = 1024;

/// `FUSE_IO_URING_CMD_REGISTER` and `FUSE_IO_URING_CMD_COMMIT_AND_FETCH`.
const REGISTER: u32 = 1;
const COMMIT_AND_FETCH: u32 = 2;

/// One entry.
pub(super) struct Entry {
    /// The header and the vectors.
    record: Payload,
    /// `None` while an operation has it.
    payload: Option<Payload>,
    commit_id: u64,
}

/// A request that came in an entry.
pub(super) struct Incoming {
    pub(super) header: wire::Header,
    /// Bytes of a write in the payload.
    pub(super) data: Option<usize>,
    pub(super) payload: Payload,
}

impl Entry {
    /// Makes `count` entries for payloads of `payload_bytes`, in large pages if that is wanted.
    pub(super) fn many(count: usize, payload_bytes: usize, large_pages: bool) -> io::Result<Vec<Entry>> {
        let records = Payload::cut(Mapping::anonymous(count * RECORD_BYTES)?, RECORD_BYTES, count);
        let room = Mapping::anonymous(count * payload_bytes)?;
        if large_pages && let Err(error) = room.prefer_large_pages() {
            log::debug!("answers are kept in ordinary pages: {error}");
        }
        let payloads = Payload::cut(room, payload_bytes, count);
        let entry = |(record, payload)| Entry { record, payload: Some(payload), commit_id: 0 };
        Ok(records.into_iter().zip(payloads).map(entry).collect())
    }

    /// The submission that gives the entry to the kernel for the first time.
    pub(super) fn register(&mut self, device: Fixed, queue: u16, mark: u64) -> Option<Entry128> {
        let payload = self.payload.as_ref()?;
        let vectors = [
            self.record.as_ptr().as_ptr() as u64,
            HEADER_BYTES as u64,
            payload.as_ptr().as_ptr() as u64,
            payload.len() as u64,
        ];
        let address = self.record.as_ptr().as_ptr().wrapping_add(VECTORS) as u64;
        let place = self.record.bytes_mut()?.get_mut(VECTORS..VECTORS + 32)?;
        for (place, value) in place.as_chunks_mut().0.iter_mut().zip(vectors) {
            *place = value.to_ne_bytes();
        }
        let submission =
            opcode::UringCmd80::new(device, REGISTER).cmd(command(0, queue)).addr(Some(address)).build();
        Some(with_len(submission, 2).user_data(mark))
    }

    /// Reads what the kernel put here. `head` becomes the request as `/dev/fuse` would have brought it.
    pub(super) fn receive(&mut self, head: &mut Vec<u8>) -> Result<Incoming, Errno> {
        let mut payload = self.payload.take().ok_or(Errno::EIO)?;
        let received = self.gather(&mut payload, head);
        match received {
            Ok((header, data)) => Ok(Incoming { header, data, payload }),
            Err(errno) => {
                self.payload = Some(payload);
                Err(errno)
            }
        }
    }

    fn gather(
        &mut self,
        payload: &mut Payload,
        head: &mut Vec<u8>,
    ) -> Result<(wire::Header, Option<usize>), Errno> {
        let record = self.record.bytes_mut().ok_or(Errno::EIO)?;
        self.commit_id = u64::from_ne_bytes(record[COMMIT_ID].try_into().map_err(|_| Errno::EIO)?);
        let size = u32::from_ne_bytes(record[PAYLOAD_SIZE].try_into().map_err(|_| Errno::EIO)?) as usize;
        let bytes = payload.bytes_mut().ok_or(Errno::EIO)?;
        let in_out = record[IN_OUT].first_chunk().ok_or(Errno::EIO)?;
        let op_in = record[OP_IN].first_chunk().ok_or(Errno::EIO)?;
        wire::uring::gather(in_out, op_in, bytes, size, head)
    }

    /// Puts an answer in its place, and takes the payload back.
    pub(super) fn answer(&mut self, completion: Completion, terms: &Terms) {
        let Completion { request, result, mut payload, .. } = completion;
        let count = match &result {
            Ok(reply) => lay_out(reply, &mut payload, terms),
            Err(errno) => Err(*errno),
        };
        let error = count.err();
        let count = count.unwrap_or(0);
        let header = wire::out_header(request, error, count);
        if let Some(record) = self.record.bytes_mut() {
            record[..header.len()].copy_from_slice(&header);
            record[PAYLOAD_SIZE].copy_from_slice(&(count as u32).to_ne_bytes());
        }
        self.payload = Some(payload);
    }

    /// Refuses what came here and was no request.
    pub(super) fn refuse(&mut self, errno: Errno) {
        let Some(record) = self.record.bytes_mut() else { return };
        let request = wire::header(&record[IN_OUT]).map_or(wharf::RequestId(0), |header| header.unique);
        let header = wire::out_header(request, Some(errno), 0);
        record[..header.len()].copy_from_slice(&header);
        record[PAYLOAD_SIZE].copy_from_slice(&0u32.to_ne_bytes());
    }

    /// The submission that answers and fetches the next request.
    pub(super) fn commit(&self, device: Fixed, queue: u16, mark: u64) -> Entry128 {
        let command = command(self.commit_id, queue);
        opcode::UringCmd80::new(device, COMMIT_AND_FETCH).cmd(command).build().user_data(mark)
    }
}

/// Puts the fixed part of an answer before its bytes; returns how many bytes there are in all.
fn lay_out(reply: &Reply, payload: &mut Payload, terms: &Terms) -> Result<usize, Errno> {
    let encoded = wire::encode(reply, terms);
    let (fixed, count) = (encoded.fixed(), encoded.payload_bytes());
    if fixed.is_empty() {
        return Ok(count);
    }
    let bytes = payload.bytes_mut().ok_or(Errno::EIO)?;
    if fixed.len() + count > bytes.len() {
        return Err(Errno::EIO);
    }
    bytes.copy_within(..count, fixed.len());
    bytes[..fixed.len()].copy_from_slice(fixed);
    Ok(fixed.len() + count)
}

/// `struct fuse_uring_cmd_req`, in the room of a large submission entry.
fn command(commit_id: u64, queue: u16) -> [u8; 80] {
    let mut command = [0; 80];
    command[8..16].copy_from_slice(&commit_id.to_ne_bytes());
    command[16..18].copy_from_slice(&queue.to_ne_bytes());
    command
}

/// Sets `len` of an entry, for which the builder of commands has no setter.
fn with_len(entry: Entry128, len: u32) -> Entry128 {
    const LEN: std::ops::Range<usize> = 24..28;
    // SAFETY: `Entry128` is `struct io_uring_sqe` with the larger command room: 128 bytes, `repr(C)`, plain
    // integers without padding. Its size is checked by the compiler here.
    let mut bytes = unsafe { std::mem::transmute::<Entry128, [u8; 128]>(entry) };
    bytes[LEN].copy_from_slice(&len.to_ne_bytes());
    // SAFETY: as above; every pattern of bits is a valid entry.
    unsafe { std::mem::transmute::<[u8; 128], Entry128>(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_uring::types::Fd;

    #[test]
    fn the_length_of_a_submission_is_where_the_kernel_looks() {
        // A read puts its length in the same place, so its form tells where that is.
        let read = opcode::Read::new(Fd(1), std::ptr::null_mut(), 0x0102_0304).build();
        let read = Entry128::from(read);
        let zero = Entry128::from(opcode::Read::new(Fd(1), std::ptr::null_mut(), 0).build());
        assert_eq!(format!("{:?}", with_len(zero, 0x0102_0304)), format!("{read:?}"));
    }
}
