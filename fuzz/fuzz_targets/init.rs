//! INIT of any bytes, for volumes that want anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf::{Capabilities, Limits};
use wharf_fuse::wire::{Wanted, negotiate};
use wharf_fuzz::init;

fuzz_target!(|bytes: &[u8]| {
    let Some((wants, body)) = bytes.split_first_chunk::<20>() else { return };
    let number = |at: usize| u32::from_ne_bytes([wants[at], wants[at + 1], wants[at + 2], wants[at + 3]]);
    let capabilities = u64::from(number(0)) | u64::from(number(4)) << 32;
    let limits =
        Limits { payload_bytes_max: number(8), background_max: number(12) as u16, ..Limits::default() };
    let wanted = Wanted {
        page_bytes: number(16),
        offer_uring: wants[14] & 1 != 0,
        offer_passthrough: wants[14] & 2 != 0,
        default_permissions: wants[14] & 4 != 0,
        request_timeout_s: u16::from(wants[15]),
        ..Wanted::new(Capabilities::from_bits_truncate(capabilities), limits)
    };
    let _ = negotiate(bytes, &wanted);
    if let Ok((terms, reply)) = negotiate(&init(body), &wanted) {
        assert!(matches!(reply.bytes().len(), 24 | 64));
        assert!(terms.payload_bytes >= terms.max_write);
        assert!(terms.max_write >= 4096);
    }
});
