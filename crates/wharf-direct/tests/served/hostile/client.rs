//! A client that writes anything, anywhere, at any time.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use wharf_direct::layout::Message;
use wharf_mem::{Access, Channels, PINS_BYTES, Shared};

use super::{Random, connected, receive, send, time};
use crate::fs::{Files, Served};

/// Names that it looks for, in even slots and in odd ones.
const NAMES: [&str; 2] = ["file", "other"];

/// One life of a hostile client. It knows the numbers of nodes that others use.
fn attack(path: &Path, random: &mut Random, nodes: &[u64]) {
    let socket = connected(path);
    if random.below(8) == 0 {
        let len = random.below(100) as usize;
        send(&socket, &random.bytes(len), &[]);
        return;
    }
    send(&socket, &Message::Hello.encode(), &[]);
    let Some((Message::Welcome(welcome), files)) = receive(&socket) else { return };
    let count = u64::from(welcome.channels);
    let [requests, answers, inbox, _, pins] = <[OwnedFd; 5]>::try_from(files).unwrap();
    let channels = Channels::of_host(requests.try_clone().unwrap(), answers, count as usize).unwrap();
    let requests = Shared::of_stranger(requests, 8192 * count, Access::Write).unwrap();
    let inbox = Shared::of_stranger(inbox, count << 20, Access::Write).unwrap();
    let pins = Shared::of_stranger(pins, PINS_BYTES, Access::Write).unwrap();
    for slot in 0..count * 64 {
        inbox.copy_in(slot << 14, NAMES[slot as usize % 2].as_bytes());
    }
    for _ in 0..random.below(400) {
        let channel = random.below(count);
        match random.below(8) {
            0 => _ = requests.copy_in(random.below(8192 * count), &random.bytes(64)),
            1 => _ = inbox.copy_in(random.below(count << 20), &random.bytes(300)),
            2 => _ = pins.copy_in(random.below(PINS_BYTES), &random.bytes(100)),
            3 => {
                // Nobody listens to the answer.
                let message = match random.below(6) {
                    0 => Message::Redeem([7; 16]),
                    1 => Message::Hello,
                    2 | 3 => Message::Snapshot { handle: handle(random) },
                    _ => Message::Section { handle: handle(random) },
                };
                send(&socket, &message.encode(), &[]);
            }
            _ => {
                let slot = random.below(64);
                let code = (1 + random.below(16)) | (random.below(2) << 16);
                let object = match random.below(8) {
                    0 => random.word(),
                    1..4 => nodes[random.below(nodes.len() as u64) as usize],
                    _ => handle(random),
                };
                let place = if random.below(4) == 0 { 0 } else { random.word() };
                let len = match random.below(4) {
                    0 => 0,
                    1 => NAMES[slot as usize % 2].len() as u64,
                    _ => random.word(),
                };
                let words = [random.next(), code, object, place, len, 0, 0, 0];
                requests.copy_in(channel * 8192 + 4096 + slot * 64, &words.map(u64::to_ne_bytes).concat());
                let bits = if random.below(50) == 0 { random.next() } else { 1 << slot };
                requests.copy_in(channel * 8192, &bits.to_ne_bytes());
            }
        }
        channels[channel as usize].ring();
    }
}

/// A number that one of the first handles has.
fn handle(random: &mut Random) -> u64 {
    1 << 32 | random.below(4)
}

#[test]
fn a_hostile_client_harms_itself() {
    let bytes = crate::pattern(300_000);
    let files = Files::with(&[("file", bytes.clone()), ("other", crate::pattern(100))]);
    let files = Files { keeps: true, ..files };
    // What they write is theirs to write, where they find it.
    files.keep("file");
    let served = Served::new(&files);
    let honest = served.open("file");
    let client = served.client();
    let known = NAMES.map(|name| client.lookup(&client.root(), name.as_bytes()).unwrap());
    let nodes = [1, known[0].1.node, known[1].1.node];
    let asked = files.reads.load(Ordering::SeqCst);
    let mut random = Random::told();
    // On a busy machine few lives fit into the time: some have to do something.
    let something =
        || files.releases.load(Ordering::SeqCst) > 0 && files.reads.load(Ordering::SeqCst) > asked + 5;
    let begun = Instant::now();
    while begun.elapsed() < time() || (!something() && begun.elapsed() < 30 * time()) {
        attack(&served.socket(), &mut random, &nodes);
        let offset = random.below(299_900);
        let read = crate::read(&honest, offset, 100);
        assert!(read == bytes[offset as usize..][..100], "an honest client reads what is there, at {offset}");
        served.client().ping().expect("a new client is served");
    }
    assert!(something(), "they opened something, which was closed, and read something");
    drop((honest, known, client));
    crate::until("they have gone", || served.volume.counts() == (0, 0));
}

#[test]
fn who_asks_and_does_not_listen_is_hung_up() {
    let served = Served::new(&Files::with(&[("file", crate::pattern(300_000))]));
    let socket = connected(&served.socket());
    send(&socket, &Message::Hello.encode(), &[]);
    assert!(matches!(receive(&socket), Some((Message::Welcome(_), _))));
    crate::until("it is hung up", || {
        let alive = send(&socket, &Message::Section { handle: 1 }.encode(), &[]);
        let mut polled = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::empty())];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        !alive && rustix::event::poll(&mut polled, Some(&now)).unwrap() == 1
    });
    let mut unheard = 0;
    while receive(&socket).is_some() {
        unheard += 1;
    }
    assert!((1..64).contains(&unheard), "{unheard} answers were on their way");
}

#[test]
fn who_holds_everything_is_hung_up_and_others_get_their_room() {
    let bytes = crate::pattern(8 << 20);
    let limits = wharf::Limits { sections_bytes_max: 1 << 20, pins_wait_ms: 200, ..wharf::Limits::default() };
    let files = Files::with(&[("file", bytes.clone())]);
    let served = Served::with(&files, limits);
    let honest = served.open("file");
    let check = |block: u64| {
        let at = block << 16;
        assert!(crate::read(&honest, at, 100) == bytes[at as usize..][..100], "block {block}");
    };
    // What an honest one looks at is little, and stays.
    (0..4).for_each(|_| check(0));
    let view = honest.view(0..100).unwrap();
    assert!(view.is_shared());
    let socket = connected(&served.socket());
    send(&socket, &Message::Hello.encode(), &[]);
    let Some((Message::Welcome(_), files_of_it)) = receive(&socket) else { panic!("it is let in") };
    let pins =
        Shared::of_stranger(files_of_it.into_iter().nth(4).unwrap(), PINS_BYTES, Access::Write).unwrap();
    for pin in 0..64u64 {
        pins.copy_in(pin * 32, &[1 + pin, 0, u64::MAX, 0].map(u64::to_ne_bytes).concat());
    }
    let mut block = 0;
    crate::until("it is hung up", || {
        block = block % 100 + 1;
        (0..3).for_each(|_| check(block));
        let mut polled = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::empty())];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut polled, Some(&now)).unwrap() == 1
    });
    for block in 101..128 {
        crate::until("others get their room", || {
            (0..3).for_each(|_| check(block));
            let asked = files.reads.load(Ordering::SeqCst);
            check(block);
            files.reads.load(Ordering::SeqCst) == asked
        });
    }
    let mut seen = [0; 100];
    assert_eq!(view.copy_to(0, &mut seen), 100);
    assert!(seen[..] == bytes[..100] && honest.is_direct(), "who holds little is left alone");
}
