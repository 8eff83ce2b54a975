//! A client and a host in one process, without a kernel between them.

mod fs;
mod hostile;
mod snapshots;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wharf::Limits;
use wharf::op::SetAttributes;
use wharf_direct::client::{Piece, Reader};

use fs::{Files, Served};

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7 % 251) as u8).collect()
}

fn read(reader: &Reader, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    let count = reader.read_at(offset, &mut bytes).unwrap();
    bytes.truncate(count);
    bytes
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_volume_is_used_without_a_mount() {
    let files = Files::with(&[("a.txt", b"one".to_vec()), ("b.rs", pattern(10)), ("c.txt", Vec::new())]);
    let served = Served::new(&files);
    let client = served.client();
    let names = |pattern: &str| {
        let listed = client.list(&client.root(), pattern.as_bytes()).unwrap();
        listed.into_iter().map(|line| String::from_utf8(line.name).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["a.txt", "b.rs", "c.txt"]);
    assert_eq!(names("*.txt"), ["a.txt", "c.txt"]);
    assert_eq!(names("nothing*"), Vec::<String>::new());
    let (node, about) = client.walk("a.txt".as_ref()).unwrap();
    assert_eq!((about.size, about.mode & 0o170_000), (3, 0o100_000));
    assert_eq!(client.attributes(&node).unwrap().size, 3);
    let reader = client.open(&node, false).unwrap();
    assert!(reader.is_direct());
    assert_eq!(read(&reader, 0, 10), b"one");
    assert_eq!(read(&reader, 2, 10), b"e");
    assert_eq!(read(&reader, 3, 10), b"");
    assert!(reader.write_at(0, b"x").is_err(), "it was opened to be read");
    assert_eq!(client.walk("none".as_ref()).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    client.ping().unwrap();
    drop((node, reader));
    until("everything is given back", || {
        client.ping().unwrap();
        served.volume.counts() == (0, 0)
    });
}

#[test]
fn a_long_listing_of_which_little_is_wanted_comes_whole() {
    let names: Vec<String> = (0..5000).map(|number| format!("a rather long name {number:05}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), Vec::new())).collect();
    let served = Served::new(&Files::with(&files));
    let client = served.client();
    assert_eq!(client.list(&client.root(), b"").unwrap().len(), 5000);
    let listed = client.list(&client.root(), b"*[0-4]999").unwrap();
    assert_eq!(listed.len(), 5);
    assert_eq!(client.list(&client.root(), b"*04999").unwrap().len(), 1);
}

#[test]
fn a_listing_says_what_names_are_like_and_nothing_is_looked_up_or_kept() {
    let names: Vec<String> = (0..2000).map(|number| format!("{number:04}")).collect();
    let mut files: Vec<_> = names.iter().map(|name| (name.as_str(), pattern(name.len()))).collect();
    files.push(("unknown", pattern(9)));
    let files = Files::with(&files);
    let served = Served::new(&files);
    let client = served.client();
    let listed = client.list_whole(&client.root(), b"").unwrap();
    assert_eq!(listed.len(), 2001);
    for line in &listed {
        let size = line.about.as_ref().map(|about| about.size);
        assert_eq!(size, (line.name != b"unknown").then_some(4), "{line:?}");
    }
    let few = client.list_whole(&client.root(), b"*99").unwrap();
    assert!(few.len() == 20 && few.iter().all(|line| line.about.as_ref().unwrap().inode == line.inode));
    assert!(client.list(&client.root(), b"").unwrap().iter().all(|line| line.about.is_none()));
    assert_eq!(files.lookups.load(Ordering::SeqCst), 0);
    until("directories are closed", || {
        client.ping().unwrap();
        served.volume.counts() == (0, 0)
    });
}

#[test]
fn a_file_system_may_find_the_names_of_a_pattern_itself() {
    let names: Vec<String> = (0..2000).map(|number| format!("{number:04}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), Vec::new())).collect();
    let files = Files::with(&files);
    let served = Served::new(&files);
    let client = served.client();
    let found = |pattern: &[u8]| client.list(&client.root(), pattern).unwrap().len() as u64;
    // What comes after the last one is listed once more, to find that there is none.
    assert_eq!((found(b"19*7"), files.told.swap(0, Ordering::SeqCst)), (10, 100 + 2), "by their beginning");
    assert_eq!((found(b"*7"), files.told.swap(0, Ordering::SeqCst)), (200, 2000 + 2), "the rest is left out");
}

#[test]
fn a_file_that_needs_no_opening_is_kept_too() {
    let files = Files { stateless: true, ..Files::with(&[("file", pattern(200_000))]) };
    let served = Served::new(&files);
    let reader = served.open("file");
    for _ in 0..3 {
        assert_eq!(read(&reader, 70_000, 100), pattern(200_000)[70_000..70_100]);
    }
    let asked = files.reads.load(Ordering::SeqCst);
    assert_eq!(read(&reader, 70_000, 1000), pattern(200_000)[70_000..71_000]);
    assert_eq!(files.reads.load(Ordering::SeqCst), asked);
    assert_eq!(served.server.usage().sections, 1);
}

#[test]
fn reads_of_every_sort_see_the_bytes_of_the_file() {
    let bytes = pattern(3_000_000);
    let served = Served::new(&Files::with(&[("file", bytes.clone())]));
    let reader = served.open("file");
    assert_eq!(reader.len().unwrap(), 3_000_000);
    // Each again, so that they come from slots, then from the section.
    for _ in 0..4 {
        for (offset, len) in
            [(0, 1), (65_530, 12), (100_000, 4096), (1, 2_999_999), (2_999_990, 100), (0, 3_000_000)]
        {
            let expected = &bytes[offset..(offset + len).min(bytes.len())];
            assert!(read(&reader, offset as u64, len) == expected, "{len} bytes at {offset}");
        }
    }
    assert!(served.server.usage().sections_bytes > 0);
    let mut buffers = vec![[0; 100]; 150];
    let mut pieces: Vec<_> =
        buffers.iter_mut().enumerate().map(|(at, into)| Piece::new(at as u64 * 19_993, into)).collect();
    reader.read_many(&mut pieces);
    assert!(pieces.iter().all(|piece| piece.result.as_ref().is_ok_and(|count| *count == 100)));
    for (at, buffer) in buffers.iter().enumerate() {
        assert!(buffer[..] == bytes[at * 19_993..][..100], "piece {at}");
    }
    let view = reader.view(10..20).unwrap();
    let mut copy = [0; 10];
    assert_eq!(view.copy_to(0, &mut copy), 10);
    assert_eq!(copy, bytes[10..20]);
    assert!(view.is_shared());
}

#[test]
fn a_block_that_is_read_again_is_asked_for_no_more() {
    let files = Files::with(&[("file", pattern(200_000))]);
    let served = Served::new(&files);
    let reader = served.open("file");
    for _ in 0..3 {
        read(&reader, 0, 100);
    }
    let asked = files.reads.load(Ordering::SeqCst);
    for at in 0..100 {
        assert_eq!(read(&reader, at * 600, 100), pattern(200_000)[at as usize * 600..][..100]);
    }
    assert_eq!(files.reads.load(Ordering::SeqCst), asked);
}

#[test]
fn what_is_not_to_be_kept_is_asked_for_each_time() {
    let files = Files::with(&[("fresh", pattern(200_000))]);
    let served = Served::new(&files);
    let reader = served.open("fresh");
    for _ in 0..5 {
        read(&reader, 0, 100);
    }
    assert_eq!(files.reads.load(Ordering::SeqCst), 5);
    assert_eq!(served.server.usage().sections, 0);
}

#[test]
fn what_is_read_without_asking_stays_while_others_come_and_go() {
    let limits = Limits { sections_bytes_max: 2 << 20, ..Limits::default() };
    let files = Files::with(&[("hot", pattern(65_536)), ("cold", pattern(16 << 20))]);
    let served = Served::with(&files, limits);
    let (hot, cold) = (served.open("hot"), served.open("cold"));
    (0..4).for_each(|_| _ = read(&hot, 0, 100));
    let asked = files.hot_reads.load(Ordering::SeqCst);
    // Not one after the other: what is fetched ahead could fill all the room twice between two reads.
    for block in (0..256u64).map(|step| step * 37 % 256) {
        assert_eq!(read(&hot, 100, 100), pattern(200)[100..]);
        // The second time it is kept, if there is room, and that is no hit yet.
        (0..2).for_each(|_| _ = read(&cold, block << 16, 100));
    }
    let before = files.reads.load(Ordering::SeqCst);
    read(&cold, 0, 100);
    assert!(files.reads.load(Ordering::SeqCst) > before, "the first of the others has gone");
    assert_eq!(files.hot_reads.load(Ordering::SeqCst), asked);
}

#[test]
fn what_is_prefetched_is_there() {
    let files = Files::with(&[("file", pattern(1 << 20))]);
    let served = Served::new(&files);
    let reader = served.open("file");
    until("it is fetched", || {
        reader.prefetch(0..1 << 20);
        served.server.usage().sections_bytes == 1 << 20
    });
    // The first finds the section.
    read(&reader, 0, 1);
    let asked = files.reads.load(Ordering::SeqCst);
    assert!(read(&reader, 0, 1 << 20) == pattern(1 << 20));
    assert_eq!(files.reads.load(Ordering::SeqCst), asked);
}

#[test]
fn what_is_written_on_either_way_is_read_on_the_other() {
    let files = Files::with(&[("file", pattern(300_000))]);
    let mut served = Served::new(&files);
    let reader = served.open("file");
    for _ in 0..3 {
        read(&reader, 70_000, 10);
    }
    assert!(!reader.changed().unwrap());
    let open = served.volume.open("file", wharf::op::OpenFlags::READ_WRITE).unwrap();
    served.volume.write_at(open, 70_000, b"by the kernel").unwrap();
    assert_eq!(read(&reader, 70_000, 13), b"by the kernel");
    assert_eq!(reader.write_at(70_000, b"by a client!!").unwrap(), 13);
    assert_eq!(read(&reader, 70_000, 13), b"by a client!!");
    assert_eq!(served.volume.read_at(open, 70_000, 13).unwrap(), b"by a client!!");
    let long = pattern(200_000);
    assert_eq!(reader.write_at(299_000, &long).unwrap(), 200_000);
    assert_eq!(reader.len().unwrap(), 499_000);
    assert!(read(&reader, 299_000, 300_000) == long);
    reader.sync(false).unwrap();
    served.volume.setattr("file", SetAttributes { size: Some(70_005), ..SetAttributes::default() }).unwrap();
    assert_eq!(read(&reader, 70_000, 13), b"by a ");
    assert_eq!(reader.len().unwrap(), 70_005);
    // Changed elsewhere, as a notice says.
    files.bytes.lock().unwrap().insert("file".into(), pattern(400_000));
    served.volume.notifier().contents(2).wait().unwrap();
    for _ in 0..3 {
        assert!(read(&reader, 1000, 300_000) == pattern(400_000)[1000..301_000]);
    }
}

#[test]
fn an_error_is_the_file_systems_own_and_passes() {
    let files = Files::with(&[("file", pattern(300_000))]);
    let served = Served::new(&files);
    let reader = served.open("file");
    read(&reader, 0, 10);
    files.fails.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(reader.read_at(0, &mut [0; 10]).unwrap_err().raw_os_error(), Some(5));
    }
    files.fails.store(false, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(read(&reader, 0, 10), pattern(10));
    }
}

#[test]
fn the_budget_holds_while_four_read_at_random() {
    let bytes = pattern(16 << 20);
    let files = Files::with(&[("file", bytes.clone())]);
    let limits = Limits { sections_bytes_max: 2 << 20, ..Limits::default() };
    let served = Served::with(&files, limits);
    let until = Instant::now() + Duration::from_secs(2);
    std::thread::scope(|scope| {
        for seed in 0..4u64 {
            let (server, socket, bytes) = (&served.server, served.socket(), &bytes);
            scope.spawn(move || {
                let reader = fs::open(&socket, "file");
                let mut random = seed + 1;
                let mut buffer = vec![0; 10_000];
                while Instant::now() < until {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Most of it in one half, so that blocks are read again.
                    let offset = (random >> 33) as usize % (bytes.len() / 2 - buffer.len());
                    let count = reader.read_at(offset as u64, &mut buffer).unwrap();
                    assert!(buffer[..count] == bytes[offset..offset + count], "torn at {offset}");
                    assert_eq!(count, buffer.len());
                    assert!(server.usage().sections_bytes <= 2 << 20);
                }
            });
        }
    });
}

#[test]
fn what_somebody_looks_at_is_not_evicted() {
    let bytes = pattern(8 << 20);
    let limits = Limits { sections_bytes_max: 1 << 20, ..Limits::default() };
    let served = Served::with(&Files::with(&[("file", bytes.clone())]), limits);
    let (reader, other) = (served.open("file"), served.open("file"));
    let mut view = reader.view(0..100).unwrap();
    until("it is kept", || {
        read(&reader, 0, 100);
        view = reader.view(0..100).unwrap();
        view.is_shared()
    });
    for _ in 0..3 {
        for block in 0..128 {
            read(&other, block << 16, 100);
        }
    }
    let mut copy = [0; 100];
    assert_eq!(view.copy_to(0, &mut copy), 100);
    assert_eq!(copy[..], bytes[..100]);
}

#[test]
fn who_looks_at_all_the_room_there_is_has_it_for_as_long_as_others_may_wait() {
    const WAIT_MS: u32 = 300;
    let bytes = pattern(1 << 20);
    // For one block.
    let limits = Limits { sections_bytes_max: 1 << 16, pins_wait_ms: WAIT_MS, ..Limits::default() };
    let files = Files::with(&[("file", bytes.clone())]);
    let served = Served::with(&files, limits);
    let holder = served.open("file");
    let begun = Instant::now();
    let mut view = holder.view(0..100).unwrap();
    until("it is kept", || {
        read(&holder, 0, 100);
        view = holder.view(0..100).unwrap();
        view.is_shared()
    });
    until("it is hung up", || holder.read_at(5 << 16, &mut [0; 100]).is_err());
    assert!(begun.elapsed() >= Duration::from_millis(WAIT_MS.into()), "{:?}", begun.elapsed());
    assert!(!holder.is_direct());
    let next = served.open("file");
    until("the next has the room", || {
        let asked = files.reads.load(Ordering::SeqCst);
        assert!(read(&next, 5 << 16, 100) == bytes[5 << 16..][..100]);
        files.reads.load(Ordering::SeqCst) == asked
    });
    let mut seen = [0xee; 100];
    assert_eq!(view.copy_to(0, &mut seen), 100);
    assert!(seen[..] == bytes[..100] || seen == [0; 100], "what was its to read, or nothing");
}

#[test]
fn a_host_that_ends_leaves_errors_and_nothing_open() {
    let files = Files::with(&[("file", pattern(300_000))]);
    let served = Served::new(&files);
    let reader = served.open("file");
    for _ in 0..3 {
        read(&reader, 0, 10);
    }
    assert_eq!(served.volume.counts().1, 1);
    served.server.end();
    assert_eq!(served.volume.counts(), (0, 0));
    assert_eq!(files.releases.load(Ordering::SeqCst), 1);
    assert_eq!(reader.read_at(0, &mut [0; 10]).unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    assert!(!reader.is_direct());
    assert!(wharf_direct::client::Volume::connect(&served.socket()).is_err());
}

#[test]
fn a_read_that_waits_ends_with_the_host() {
    let files = Files::with(&[("file", pattern(300_000))]);
    let limits = Limits { drain_ms: 100, ..Limits::default() };
    let served = Served::with(&files, limits);
    let reader = served.open("file");
    files.held.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| reader.read_at(0, &mut [0; 10]));
        until("the read has begun", || files.reads.load(Ordering::SeqCst) > 0);
        served.server.end();
        assert!(waiting.join().unwrap().is_err());
    });
    assert_eq!(served.volume.counts(), (0, 0));
}
