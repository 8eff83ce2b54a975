use wharf::{Capabilities, NodeId};

use super::{terms, terms_for};
use crate::wire::notice::{Message, encode};
use crate::wire::{InitFlags, Terms};

fn node(raw: u64) -> NodeId {
    NodeId::new(raw).expect("not zero")
}

/// Code and body of a notice, whose header must fit it.
fn parts(message: &Message<'_>) -> (i32, Vec<u8>) {
    let bytes = encode(message);
    assert_eq!(bytes[..4], (bytes.len() as u32).to_ne_bytes());
    assert_eq!(bytes[8..16], [0; 8], "a notice answers no request");
    let code = i32::from_ne_bytes(bytes[4..8].try_into().expect("four bytes"));
    (code, bytes[16..].to_vec())
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Two halves of a word, in the order of memory.
fn halves(first: u32, second: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

#[test]
fn a_notice_has_its_code_its_struct_and_what_follows() {
    let name = b"name";
    let named = |front: &[u64]| [words(front), b"name\0".to_vec()].concat();
    let cases = [
        (Message::Poll { waker: 9 }, (1, words(&[9]))),
        (Message::InvalInode { node: node(2), offset: -1, length: 4 }, (2, words(&[2, u64::MAX, 4]))),
        (Message::InvalEntry { parent: node(2), name, expire_only: false }, (3, named(&[2, halves(4, 0)]))),
        (Message::InvalEntry { parent: node(2), name, expire_only: true }, (3, named(&[2, halves(4, 1)]))),
        (
            Message::Store { node: node(2), offset: 3, bytes: b"xyz" },
            (4, [words(&[2, 3, halves(3, 0)]), b"xyz".to_vec()].concat()),
        ),
        (
            Message::Retrieve { unique: 7, node: node(2), offset: 3, size: 5 },
            (5, words(&[7, 2, 3, halves(5, 0)])),
        ),
        (Message::Delete { parent: node(2), child: node(3), name }, (6, named(&[2, 3, halves(4, 0)]))),
        (Message::Resend, (7, vec![])),
        (Message::IncEpoch, (8, vec![])),
        (Message::Prune { nodes: vec![node(2), node(3)] }, (9, words(&[halves(2, 0), 0, 2, 3]))),
    ];
    for (message, expected) in cases {
        assert_eq!(parts(&message), expected, "{message:?}");
    }
}

#[test]
fn a_kernel_is_told_only_what_it_knows() {
    let old = Terms { minor: 31, flags: InitFlags::empty(), ..terms() };
    let expire = |expire_only| Message::InvalEntry { parent: node(2), name: b"n", expire_only };
    assert!(expire(false).is_known(&old) && !expire(true).is_known(&old));
    assert!(Message::Store { node: node(2), offset: 0, bytes: b"" }.is_known(&old));
    for newer in [Message::Resend, Message::IncEpoch, Message::Prune { nodes: vec![] }, expire(true)] {
        assert!(!newer.is_known(&old), "{newer:?}");
        assert!(newer.is_known(&terms_for(Capabilities::empty())), "{newer:?}");
    }
}
