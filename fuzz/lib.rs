//! What the targets share.

use std::sync::LazyLock;

use wharf::{Capabilities, Limits};
use wharf_fuse::wire::{IN_HEADER_BYTES, InitFlags, Opcode, Terms, Wanted, negotiate};

/// Terms of several mounts: all that can be agreed on, an old kernel, and next to nothing.
pub static TERMS: LazyLock<[Terms; 3]> = LazyLock::new(|| {
    let all = Capabilities::all();
    [terms(45, all), terms(37, all), terms(12, Capabilities::empty())]
});

fn terms(minor: u32, capabilities: Capabilities) -> Terms {
    let flags = InitFlags::all().bits();
    let words = [7, minor, 0, flags as u32, (flags >> 32) as u32];
    let body: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    let wanted = Wanted::new(capabilities, Limits::default());
    negotiate(&init(&body), &wanted).expect("an ordinary INIT").0
}

/// An INIT with these bytes after its header.
pub fn init(body: &[u8]) -> Vec<u8> {
    let mut head = vec![0; IN_HEADER_BYTES];
    head[..4].copy_from_slice(&((IN_HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    head[4..8].copy_from_slice(&(Opcode::Init as u32).to_ne_bytes());
    head.extend_from_slice(body);
    head
}

/// Makes the header tell the true length, without which nothing else would be looked at.
pub fn tell_len(head: &mut [u8], len: usize) {
    if let Some(place) = head.get_mut(..4) {
        place.copy_from_slice(&(len as u32).to_ne_bytes());
    }
}
