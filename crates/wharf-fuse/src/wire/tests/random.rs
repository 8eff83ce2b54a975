//! Bytes that nobody made on purpose. The rule is only that everything returns.

use wharf::{Capabilities, Limits};
use wharf_mem::Payload;

use super::{agreed, init, request};
use crate::wire::uring::{IN_OUT_BYTES, OP_IN_BYTES, gather};
use crate::wire::{InitFlags, Opcode, Terms, Wanted, control, decode, header, negotiate, reply_room};

const INPUTS: usize = 200_000;

/// Xorshift, so that a seed always tells the same story.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Bytes that are often zero, so that sizes and flags are often small.
    fn bytes(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            let word = self.next();
            let mask = if word & 3 == 0 { u64::MAX } else { self.next() & self.next() & self.next() };
            chunk.copy_from_slice(&(word & mask).to_ne_bytes()[..chunk.len()]);
        }
    }

    /// A request whose header is nearly right.
    fn request(&mut self, into: &mut Vec<u8>) {
        let opcode = Opcode::ALL[self.below(Opcode::ALL.len())];
        let size = self.below(240);
        into.clear();
        into.extend(request(opcode, &[]));
        into.resize(40 + size, 0);
        self.bytes(&mut into[40..]);
        if self.below(8) > 0 {
            let len = into.len() as u32;
            into[..4].copy_from_slice(&len.to_ne_bytes());
        }
        if self.below(4) == 0 {
            into[36] = self.below(9) as u8;
        }
        for _ in 0..self.below(3) {
            let place = self.below(into.len());
            into[place] = self.next() as u8;
        }
        into.truncate(if self.below(16) == 0 { self.below(into.len()) } else { into.len() });
    }
}

fn all_terms() -> Vec<Terms> {
    let wanted = Wanted::new(Capabilities::all(), Limits::default());
    let old = negotiate(&init(37, InitFlags::all()), &wanted).expect("INIT").0;
    vec![agreed(45, &wanted).0, old, super::terms_for(Capabilities::empty())]
}

#[test]
fn whatever_bytes_come_they_are_decoded_or_refused() {
    let mut random = Random(0x5eed_0001);
    let terms = all_terms();
    let mut payload = Payload::anonymous(4096).expect("there is memory");
    let mut lease = payload.lease().expect("nobody else has it");
    let mut head = Vec::new();
    let mut valid = 0;
    for round in 0..INPUTS {
        random.request(&mut head);
        let terms = &terms[round % terms.len()];
        let room = reply_room(&head, terms);
        assert!(room <= terms.payload_bytes as usize);
        let _ = control(&head).map(|control| format!("{control:?}").len());
        if let Ok(Some(crate::wire::Control::BatchForget(forgets))) = control(&head) {
            assert!(forgets.count() <= head.len());
        }
        let data = if round % 16 == 0 { lease.data(random.below(64)) } else { None };
        valid += usize::from(decode(&head, data, terms).is_ok());
    }
    assert!(valid > INPUTS / 20, "only {valid} were valid: the rest of decode was not reached");
}

#[test]
fn whatever_a_kernel_offers_it_gets_an_answer() {
    let mut random = Random(0x5eed_0002);
    let limits = Limits { payload_bytes_max: u32::MAX, background_max: u16::MAX, ..Limits::default() };
    let mut body = [0; 80];
    let mut valid = 0;
    for round in 0..INPUTS / 4 {
        let size = random.below(body.len());
        random.bytes(&mut body[..size]);
        if round % 2 == 0 {
            body[..8].copy_from_slice(&[7, 0, 0, 0, random.below(60) as u8, 0, 0, 0]);
        }
        let wanted = Wanted {
            page_bytes: random.next() as u32,
            offer_passthrough: true,
            offer_uring: true,
            ..Wanted::new(Capabilities::from_bits_truncate(random.next()), limits)
        };
        if let Ok((terms, reply)) = negotiate(&request(Opcode::Init, &[&body[..size]]), &wanted) {
            valid += 1;
            assert!(matches!(reply.bytes().len(), 24 | 64));
            assert!(terms.payload_bytes >= terms.max_write);
        }
    }
    assert!(valid > INPUTS / 20, "only {valid} were valid");
}

#[test]
fn whatever_a_ring_brings_is_gathered_or_refused() {
    let mut random = Random(0x5eed_0003);
    let payload = [7; 512];
    let (mut request, mut head) = (Vec::new(), Vec::new());
    let mut valid = 0;
    for _ in 0..INPUTS / 2 {
        random.request(&mut request);
        let mut in_out = [0; IN_OUT_BYTES];
        let header_bytes = request.len().min(40);
        in_out[..header_bytes].copy_from_slice(&request[..header_bytes]);
        let payload_sz = match random.below(4) {
            0 => random.below(usize::MAX),
            _ => random.below(200),
        };
        let gathered = gather(&in_out, &[1; OP_IN_BYTES], &payload, payload_sz, &mut head);
        if let Ok((told, data)) = gathered {
            valid += 1;
            assert_eq!(header(&head).map(|header| header.opcode), Some(told.opcode));
            assert_eq!(data.is_some(), told.opcode == Ok(Opcode::Write));
        }
    }
    assert!(valid > 500, "only {valid} were valid");
}
