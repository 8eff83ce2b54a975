//! Entries of a ring with any bytes: put together as a request, or refused; the request decoded, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_fuse::wire::uring::{IN_OUT_BYTES, OP_IN_BYTES, gather};
use wharf_fuse::wire::{Opcode, control, decode, header};
use wharf_fuzz::{TERMS, tell_len};

fuzz_target!(|bytes: &[u8]| {
    let Some(([choice, size, argument], rest)) = bytes.split_first_chunk() else { return };
    let (front, payload) = rest.split_at(rest.len().min(IN_OUT_BYTES + OP_IN_BYTES));
    let (mut in_out, mut op_in) = ([0; IN_OUT_BYTES], [0; OP_IN_BYTES]);
    let (header_bytes, argument_bytes) = front.split_at(front.len().min(40));
    in_out[..header_bytes.len()].copy_from_slice(header_bytes);
    let argument_bytes = &argument_bytes[..argument_bytes.len().min(OP_IN_BYTES)];
    op_in[..argument_bytes.len()].copy_from_slice(argument_bytes);
    let payload_sz = usize::from(*size);

    let mut head = Vec::new();
    let _ = gather(&in_out, &op_in, payload, payload_sz, &mut head);
    // With sizes that agree there is more to look at.
    tell_len(&mut in_out, 40 + usize::from(*argument) + payload_sz);
    let Ok((told, data)) = gather(&in_out, &op_in, payload, payload_sz, &mut head) else { return };
    let opcode = header(&head).expect("gathered behind its header").opcode;
    assert_eq!(told.opcode, opcode);
    assert_eq!(data.is_some(), opcode == Ok(Opcode::Write));
    let _ = control(&head);
    let _ = decode(&head, None, &TERMS[usize::from(*choice) % TERMS.len()]);
});
