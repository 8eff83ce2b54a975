//! A host that says and writes anything, and one that says nothing.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketAddrUnix, SocketFlags, accept_with, bind, listen};
use wharf_direct::client::{Piece, Volume};

use wharf_direct::layout::{Listed, Message, Opened, Welcome};
use wharf_mem::{Access, Arena, Channels, HostChannel, Inbox, PinTable, Section, Shared, Snapshot};

use super::{Random, connected, receive, send, socket, time};

/// Where nobody honest listens.
struct Trap {
    listener: OwnedFd,
    path: PathBuf,
    _room: tempfile::TempDir,
}

impl Trap {
    fn new(backlog: i32) -> Trap {
        let room = tempfile::tempdir().unwrap();
        let (listener, path) = (socket(), room.path().join("host"));
        bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&listener, backlog).unwrap();
        Trap { listener, path, _room: room }
    }
}

/// What the host has of one client.
struct Victim {
    socket: OwnedFd,
    hosts: Vec<HostChannel>,
    answers: Shared,
    arena: Shared,
    files: Vec<OwnedFd>,
}

/// A second mapping of memory that is handed out to be read, to be written to.
fn scribble(file: &OwnedFd) -> Shared {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Its owner may do that.
    rustix::fs::fchmod(file, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    Shared::of_stranger(file.into(), len, Access::Write).unwrap()
}

impl Victim {
    fn new(socket: OwnedFd, count: usize) -> Victim {
        let channels = Channels::create(count).unwrap();
        let hosts = (0..count).map(|index| channels.host(index).unwrap()).collect();
        let (requests, answers) = channels.hand_out().unwrap();
        let arena = Arena::create(64 * count as u32, 65_536).unwrap().hand_out().unwrap();
        let inbox = Inbox::create((count as u64) << 20).unwrap().hand_out().unwrap();
        let pins = PinTable::create().unwrap().hand_out().unwrap();
        let (answers_too, arena_too) = (scribble(&answers), scribble(&arena));
        let files = vec![requests, answers, inbox, arena, pins];
        Victim { socket, hosts, answers: answers_too, arena: arena_too, files }
    }

    /// Answers of any words to whatever was asked.
    fn answer(&mut self, random: &mut Random) {
        for host in &mut self.hosts {
            let bits = host.take().unwrap_or_default();
            for request in host.requests(bits).collect::<Vec<_>>() {
                let mut body = [0; 7].map(|_: u64| random.word());
                match random.below(4) {
                    0 => body[..2].copy_from_slice(&[1 << 32, 0]),
                    1 | 2 => body[0] = 0,
                    _ => {}
                }
                host.answer(request.taken, body);
            }
            host.ring();
        }
    }

    fn says_something(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&now)).is_ok_and(|count| count > 0)
    }
}

/// What a host gives as a file.
fn file(random: &mut Random) -> OwnedFd {
    let path = ["/dev/zero", "/proc/self/exe", "/"][random.below(3) as usize];
    if random.below(4) == 0 {
        std::io::pipe().unwrap().0.into()
    } else {
        std::fs::File::open(path).unwrap().into()
    }
}

/// One conversation, until the host has had enough of it.
fn betray(trap: &Trap, random: &mut Random, over: &AtomicBool) {
    let socket = accept_with(&trap.listener, SocketFlags::CLOEXEC).unwrap();
    if over.load(Ordering::SeqCst) {
        return;
    }
    assert!(matches!(receive(&socket), Some((Message::Hello, _))), "a client says who it is");
    let count = 1 + random.below(3) as usize;
    let mut victim = Victim::new(socket, count);
    let claimed = if random.below(16) == 0 { random.word() as u32 } else { count as u32 };
    let welcome = Message::Welcome(Welcome { channels: claimed, volume: 1, whole: true }).encode();
    match random.below(16) {
        0 => {
            let len = random.below(65) as usize;
            send(&victim.socket, &random.bytes(len), &[]);
            return;
        }
        1 => victim.files.truncate(random.below(5) as usize),
        2 => victim.files.reverse(),
        _ => {}
    }
    send(&victim.socket, &welcome, &victim.files);
    let section = Section::create(300_000, 300_000).unwrap();
    let out = section.hand_out().unwrap();
    let map = scribble(&out.residency);
    let line = [&Listed::head(1, 1, 4, 1, false)[..], b"a\0\0\0\0\0\0\0"].concat();
    let snapshot = Snapshot::create(&line.repeat(10_000)).unwrap();
    let lines = scribble(&snapshot.hand_out().unwrap());
    let until = Instant::now() + Duration::from_millis(30);
    while Instant::now() < until {
        victim.answer(random);
        map.copy_in(random.below(12) * 8, &random.word().to_ne_bytes());
        if random.below(4) == 0 {
            // The file has all of its bytes, now and then.
            map.copy_in(0, &300_000u64.to_ne_bytes());
            map.copy_in(64, &[0x1fffeu64.to_ne_bytes(); 5].concat());
        }
        if random.below(64) == 0 {
            let at = random.below(victim.answers.len_bytes());
            victim.answers.copy_in(at, &random.bytes(64));
        }
        let at = random.below(victim.arena.len_bytes());
        victim.arena.copy_in(if random.below(2) == 0 { at } else { (at % 64) << 16 }, &random.bytes(300));
        if !victim.says_something() {
            continue;
        }
        lines.copy_in(random.below(lines.len_bytes()), &random.bytes(100));
        lines.copy_in(0, &u64::from(random.below(8) > 0).to_ne_bytes());
        let Some((asked, _)) = receive(&victim.socket) else { return };
        let pair = || vec![out.bytes.try_clone().unwrap(), out.residency.try_clone().unwrap()];
        let names = || vec![snapshot.hand_out().unwrap()];
        let honest =
            Message::SnapshotIs { memory_bytes: snapshot.memory_bytes(), whole: random.below(2) == 0 };
        let (message, files) = match random.below(7) {
            1.. if matches!(asked, Message::Snapshot { .. }) => (honest, names()),
            6 => (Message::SnapshotIs { memory_bytes: random.word(), whole: false }, names()),
            0 => (Message::NoSection, Vec::new()),
            1 => (Message::SectionIs { bytes_max: random.word(), number: 1 }, pair()),
            2 => (Message::Opened(Opened { handle: 1, writes: true, section: true }), pair()),
            3 => (Message::BackingIs, vec![file(random)]),
            _ => (Message::SectionIs { bytes_max: 300_000, number: random.word() }, pair()),
        };
        // And some that nobody asked for.
        for _ in 0..=random.below(2) {
            send(&victim.socket, &message.encode(), &files);
        }
    }
}

/// Everything that a client can do, whatever comes of it.
fn use_up(volume: &Volume, bytes: &mut [u8]) {
    let _ = volume.list(&volume.root(), b"*");
    for _ in 0..3 {
        if let Ok(Some(snapshot)) = volume.snapshot(&volume.root()) {
            // While it is written to; what is not whole ends it.
            let _ = (snapshot.entries().count(), snapshot.is_current(), snapshot.is_whole());
        }
    }
    let _ = volume.walk("a/b".as_ref());
    let Ok((node, _)) = volume.lookup(&volume.root(), b"a") else { return };
    let _ = (volume.read_link(&node), volume.attributes(&node));
    let Ok(reader) = volume.open(&node, true) else { return };
    for at in [0, 65_000, 299_990, i64::MAX as u64 - 5, u64::MAX - 5] {
        let _ = reader.read_at(at, bytes);
        let _ = reader.write_at(at, &bytes[..20_000]);
        let _ = reader.view(at..at.saturating_add(1000)).map(|view| view.copy_to(0, bytes));
        // All of it, however long it says that it is.
        let _ = reader.view(at..u64::MAX);
        let mut pieces: Vec<_> =
            bytes.chunks_mut(30_000).map(|into| Piece::new(at.saturating_add(5), into)).collect();
        reader.read_many(&mut pieces);
        reader.prefetch(at..u64::MAX);
        let _ = (reader.len(), reader.changed(), reader.sync(false), reader.is_direct());
    }
}

/// Lets the host go, whatever becomes of its client.
struct Release<'a>(&'a Trap, &'a AtomicBool);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
        // It may wait for somebody to come.
        drop(connected(&self.0.path));
    }
}

#[test]
fn a_hostile_host_gives_errors_or_nonsense_and_nothing_worse() {
    let (trap, over) = (Trap::new(8), AtomicBool::new(false));
    let mut random = Random::told();
    std::thread::scope(|scope| {
        let release = Release(&trap, &over);
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                betray(&trap, &mut random, &over);
            }
        });
        let mut bytes = vec![0; 200_000];
        let (until, mut conversations) = (Instant::now() + time(), 0);
        while Instant::now() < until {
            if let Ok(volume) = Volume::connect(&trap.path) {
                let began = Instant::now();
                use_up(&volume, &mut bytes);
                let took = began.elapsed();
                assert!(took < Duration::from_secs(20), "{took:?} with a host that has gone long since");
                conversations += 1;
            }
        }
        assert!(conversations > 0, "nobody was taken in");
        drop(release);
    });
}

#[test]
fn a_listing_without_an_end_ends() {
    let trap = Trap::new(8);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let volume = Volume::connect(&trap.path).unwrap();
            volume.list(&volume.root(), b"").unwrap_err()
        });
        let socket = accept_with(&trap.listener, SocketFlags::CLOEXEC).unwrap();
        assert!(matches!(receive(&socket), Some((Message::Hello, _))));
        let mut victim = Victim::new(socket, 1);
        let welcome = Message::Welcome(Welcome { channels: 1, volume: 1, whole: true }).encode();
        send(&victim.socket, &welcome, &victim.files);
        // Lines that nobody is told of take no memory, and are told of for ever.
        let line = [&Listed::head(1, 1, 4, 1, false)[..], b".\0\0\0\0\0\0\0"].concat();
        victim.arena.copy_in(0, &line.repeat(65_536 / line.len()));
        while !client.is_finished() {
            let host = &mut victim.hosts[0];
            let bits = host.take().unwrap();
            for request in host.requests(bits).collect::<Vec<_>>() {
                host.answer(request.taken, [0, 65_536, 0, 0, 0, 0, 0]);
            }
            host.ring();
        }
        assert_eq!(client.join().unwrap().kind(), ErrorKind::FileTooLarge);
    });
}

#[test]
fn a_host_that_says_nothing_is_given_up() {
    // One takes nobody in, because it has not taken the one before in; the other takes in and is silent.
    let (full, silent) = (Trap::new(0), Trap::new(8));
    let _before = connected(&full.path);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for (trap, kind) in [(&full, ErrorKind::WouldBlock), (&silent, ErrorKind::TimedOut)] {
            scope.spawn(move || assert_eq!(Volume::connect(&trap.path).unwrap_err().kind(), kind));
        }
    });
    let took = began.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[test]
fn a_snapshot_of_a_host_that_was_killed_is_over() {
    let trap = Trap::new(8);
    let line = [&Listed::head(1, 1, 4, 1, false)[..], b"a\0\0\0\0\0\0\0"].concat();
    let names = Snapshot::create(&line.repeat(10)).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let volume = Volume::connect(&trap.path).unwrap();
            volume.snapshot(&volume.root()).unwrap().expect("it is given")
        });
        let socket = accept_with(&trap.listener, SocketFlags::CLOEXEC).unwrap();
        assert!(matches!(receive(&socket), Some((Message::Hello, _))));
        let mut victim = Victim::new(socket, 1);
        let welcome = Message::Welcome(Welcome { channels: 1, volume: 1, whole: true }).encode();
        send(&victim.socket, &welcome, &victim.files);
        while !client.is_finished() {
            let host = &mut victim.hosts[0];
            let bits = host.take().unwrap();
            for request in host.requests(bits).collect::<Vec<_>>() {
                host.answer(request.taken, [0, 1, 0, 0, 0, 0, 0]);
            }
            host.ring();
            if victim.says_something() {
                assert!(matches!(receive(&victim.socket), Some((Message::Snapshot { handle: 1 }, _))));
                let message = Message::SnapshotIs { memory_bytes: names.memory_bytes(), whole: false };
                send(&victim.socket, &message.encode(), &[names.hand_out().unwrap()]);
            }
        }
        let snapshot = client.join().unwrap();
        assert!(snapshot.is_current() && snapshot.entries().count() == 10);
        // As of one that was killed: its memory says what it has said.
        drop(victim);
        crate::until("it is over", || !snapshot.is_current());
        assert!(snapshot.entries().all(|line| line.is_err()));
    });
}
