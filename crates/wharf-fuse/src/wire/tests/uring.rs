use std::mem::offset_of;

use wharf::Errno;
use zerocopy::IntoBytes;

use super::{request, terms};
use crate::wire::abi::{CreateIn, ReadIn, WriteIn};
use crate::wire::uring::{
    Command, EntryInOut, IN_OUT_BYTES, OP_IN_BYTES, RequestHeader, gather, payload_bytes,
};
use crate::wire::{IN_HEADER_BYTES, Opcode};

/// Lays a request out as the kernel does, with `argument_bytes` in its first argument, and gathers it.
fn gathered(request: &[u8], argument_bytes: usize) -> Result<(Vec<u8>, Option<usize>), Errno> {
    let mut in_out = [0xee; IN_OUT_BYTES];
    in_out[..IN_HEADER_BYTES].copy_from_slice(&request[..IN_HEADER_BYTES]);
    let (argument, rest) = request[IN_HEADER_BYTES..].split_at(argument_bytes);
    let mut op_in = [0xee; OP_IN_BYTES];
    op_in[..argument.len()].copy_from_slice(argument);
    let mut payload = rest.to_vec();
    payload.resize(4096, 0xee);
    let mut head = b"of the last request".to_vec();
    let (_, data) = gather(&in_out, &op_in, &payload, rest.len(), &mut head)?;
    Ok((head, data))
}

#[test]
fn a_request_is_put_together_as_the_device_would_have_given_it() {
    let read = ReadIn { size: 4096, ..ReadIn::default() };
    let create = CreateIn::default();
    let requests = [
        (request(Opcode::Read, &[read.as_bytes()]), 40),
        (request(Opcode::Lookup, &[b"name\0"]), 0),
        (request(Opcode::Symlink, &[b"name\0target\0"]), 0),
        (request(Opcode::Create, &[create.as_bytes(), b"name\0", b"extensions.."]), 16),
        (request(Opcode::Setxattr, &[&[0; 8], b"name\0value"]), 8),
        (request(Opcode::Setxattr, &[&[0; 16], b"name\0value"]), 16),
        (request(Opcode::NotifyReply, &[&[0; 40], b"bytes"]), 0),
        (request(Opcode::Statfs, &[]), 0),
    ];
    for (request, argument_bytes) in requests {
        assert_eq!(gathered(&request, argument_bytes), Ok((request.clone(), None)));
    }
}

#[test]
fn the_bytes_of_a_write_stay_in_the_payload() {
    let raw = WriteIn { size: 5, ..WriteIn::default() };
    let request = request(Opcode::Write, &[raw.as_bytes(), b"bytes"]);
    assert_eq!(gathered(&request, 40), Ok((request[..80].to_vec(), Some(5))));
}

#[test]
fn a_first_argument_of_another_size_is_refused() {
    let read = request(Opcode::Read, &[&[0; 40]]);
    assert_eq!(gathered(&read, 39), Err(Errno::EIO));
    assert_eq!(gathered(&request(Opcode::Lookup, &[b"name\0"]), 5), Err(Errno::EIO));
    assert_eq!(gathered(&request(Opcode::Setxattr, &[&[0; 20]]), 12), Err(Errno::EIO));
    assert_eq!(gathered(&request(Opcode::Forget, &[&[0; 8]]), 8), Err(Errno::EIO));
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let request = request(Opcode::Read, &[&[0; 40]]);
    let mut in_out = [0; IN_OUT_BYTES];
    in_out[..IN_HEADER_BYTES].copy_from_slice(&request[..IN_HEADER_BYTES]);
    let mut head = Vec::new();
    let mut gather = |len: u32, payload_sz| {
        in_out[..4].copy_from_slice(&len.to_ne_bytes());
        gather(&in_out, &[0; OP_IN_BYTES], &[0; 100], payload_sz, &mut head).map(|(_, data)| data)
    };
    assert_eq!(gather(80, 0), Ok(None));
    assert_eq!(gather(80, 1), Err(Errno::EIO));
    assert_eq!(gather(181, 101), Err(Errno::EIO));
    assert_eq!(gather(39, 0), Err(Errno::EIO));
    assert_eq!(gather(0, 0), Err(Errno::EIO));
    assert_eq!(gather(u32::MAX, 0), Err(Errno::EIO));
    assert_eq!(gather(80, usize::MAX), Err(Errno::EIO));
}

#[test]
fn the_rings_own_structs_lie_as_the_kernel_has_them() {
    assert_eq!(offset_of!(RequestHeader, op_in), 128);
    assert_eq!(offset_of!(RequestHeader, entry), 256);
    assert_eq!(offset_of!(EntryInOut, commit_id), 8);
    assert_eq!(offset_of!(EntryInOut, payload_sz), 16);
    assert_eq!(Command::new(3, 4).as_bytes()[8..18], [4, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
    assert_eq!(payload_bytes(&terms()), 1 << 20);
}
