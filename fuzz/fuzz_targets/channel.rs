//! A hostile client: any bytes in the memory that it may write, at any time. The host takes what it can, answers
//! what it took, and finds out who cheats; nothing else happens.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;

use libfuzzer_sys::fuzz_target;
use wharf_mem::{BLOCK_BYTES, BODY_WORDS, Channels, Inbox, PINS_BYTES, PinTable, SLOTS, Section, Sleep};

fuzz_target!(|steps: Vec<(u8, u16, Vec<u8>)>| {
    let channels = Channels::create(1).unwrap();
    let mut host = channels.host(0).unwrap();
    let requests = File::from(channels.hand_out().unwrap().0);
    let table = PinTable::create().unwrap();
    let pins = File::from(table.hand_out().unwrap());
    let inbox = Inbox::create(4096).unwrap();
    let section = Section::create(4 * BLOCK_BYTES, 4 * BLOCK_BYTES).unwrap();
    let mut owed = Vec::new();
    for (step, number, bytes) in steps {
        match step % 7 {
            // Beyond the end the client can write as little as it can resize.
            0 => _ = requests.write_at(&bytes, u64::from(number) % 8192),
            1 => _ = pins.write_at(&bytes, u64::from(number) % PINS_BYTES),
            2 => {
                let Some(bits) = host.take() else { return };
                owed.extend(host.requests(bits));
                assert_eq!(owed.len(), host.busy() as usize);
                assert!(owed.len() <= SLOTS);
            }
            3 if !owed.is_empty() => {
                let request = owed.swap_remove(usize::from(number) % owed.len());
                host.answer(request.taken, [1; BODY_WORDS]);
            }
            4 => host.ring(),
            5 => _ = Sleep::begin(std::iter::once(&host)).map(|sleep| sleep.words().count()),
            _ => {
                section.put(0, &[1; BLOCK_BYTES as usize]).unwrap();
                section.publish(0..BLOCK_BYTES);
                let id = u64::from(number);
                section.evict(0..4, |block| table.holds(id, block));
                let mut copy = vec![0; bytes.len()];
                let _ = inbox.copy_out(id, &mut copy);
            }
        }
    }
});
