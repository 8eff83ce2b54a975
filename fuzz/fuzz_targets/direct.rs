//! Whatever a host and its clients may say to each other, in either direction: understood as what would be said the same
//! way again, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_direct::layout::{
    Answer, Ask, FILE_BYTES_MAX, INBOX_BYTES, Message, RECORD_BYTES, Record, SLOT_BYTES, Ticket, line_bytes, lines,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 5 {
        0 => {
            if let Ok(message) = Message::decode(bytes) {
                assert_eq!(message.encode(), bytes);
            }
        }
        1 => {
            let words: [u64; 7] = words(bytes);
            if let Ok(ask) = Ask::decode(words) {
                assert_eq!(ask.encode(), words);
                assert!(ask.inbox_bytes() <= INBOX_BYTES);
                if let Ask::Read { offset, len, .. } | Ask::Write { offset, len, .. } = ask {
                    assert!(len as usize <= SLOT_BYTES && offset + u64::from(len) <= FILE_BYTES_MAX);
                }
            }
            let _ = Answer::decode(words[..2].try_into().expect("two words"));
        }
        2 => {
            if let Ok(all) = lines(bytes) {
                // A record that says nothing is not kept.
                let bytes_of = |whole: bool| all.iter().map(|line| line_bytes(line.name.len(), whole)).sum::<usize>();
                assert!((bytes_of(false)..=bytes_of(true)).contains(&bytes.len()));
            }
        }
        3 => {
            let mut record = [0; RECORD_BYTES];
            fill(&mut record, bytes);
            let _ = Record::decode(&record);
        }
        _ => {
            let mut ticket = [0; 256];
            fill(&mut ticket, bytes);
            if let Ok(ticket) = Ticket::decode(&ticket) {
                assert!(Ticket::encode(ticket.secret, &ticket.socket).is_some());
            }
        }
    }
});

fn fill(into: &mut [u8], bytes: &[u8]) {
    let count = into.len().min(bytes.len());
    into[..count].copy_from_slice(&bytes[..count]);
}

/// The first words of the bytes, with zeros behind them.
fn words<const COUNT: usize>(bytes: &[u8]) -> [u64; COUNT] {
    std::array::from_fn(|index| {
        let mut word = [0; 8];
        fill(&mut word, bytes.get(index * 8..).unwrap_or_default());
        u64::from_ne_bytes(word)
    })
}
