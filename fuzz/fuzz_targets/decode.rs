//! Requests of any bytes, as `/dev/fuse` would bring them: decoded, or refused.
#![no_main]

use std::sync::{LazyLock, Mutex, PoisonError};

use libfuzzer_sys::fuzz_target;
use wharf_fuse::wire::{Control, control, decode, header, reply_room};
use wharf_fuzz::{TERMS, tell_len};
use wharf_mem::Payload;

/// The bytes of writes. What they are does not matter here.
static PAYLOAD: LazyLock<Mutex<Payload>> =
    LazyLock::new(|| Mutex::new(Payload::anonymous(256).expect("there is memory")));

fuzz_target!(|bytes: &[u8]| {
    let Some(([choice, data_bytes], rest)) = bytes.split_first_chunk() else { return };
    let terms = &TERMS[usize::from(*choice) % TERMS.len()];
    let mut head = rest.to_vec();
    let _ = header(&head);
    if let Ok(Some(Control::BatchForget(forgets))) = control(&head) {
        assert!(forgets.count() * 16 <= head.len());
    }
    assert!(reply_room(&head, terms) <= terms.payload_bytes as usize);
    let _ = decode(&head, None, terms);

    let len = head.len();
    tell_len(&mut head, len);
    let _ = decode(&head, None, terms);

    let data_bytes = usize::from(*data_bytes);
    tell_len(&mut head, len + data_bytes);
    let mut payload = PAYLOAD.lock().unwrap_or_else(PoisonError::into_inner);
    let mut lease = payload.lease().expect("nobody else has it");
    let _ = decode(&head, lease.data(data_bytes), terms);
});
