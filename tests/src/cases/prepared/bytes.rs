//! Every byte where it was put, however it is read.

use std::{
    fs::File,
    io::{IoSliceMut, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

use rustix::{
    fs::{Advice, OFlags, fadvise},
    io::Errno,
};

use super::{Case, FILES, LARGE, MANY, case, contents};
use crate::{
    child::Child,
    dir::{Dir, must_fail, read_at, same_bytes},
    sys::Mapping,
};

pub(super) const CASES: &[Case] = &[
    case!(reading every_file_has_the_bytes_that_were_put_there),
    case!(reading pieces_of_any_length_add_up),
    case!(reading any_length_is_read_at_any_place),
    case!(reading what_was_dropped_from_the_cache_is_read_again),
    case!(reading a_read_at_or_past_the_end_gives_nothing),
    case!(reading a_read_across_the_end_is_short),
    case!(reading a_place_is_read_and_the_offset_stays),
    case!(reading vectors_are_filled_in_order),
    case!(reading seeking_finds_start_place_and_end),
    case!(reading data_begins_at_the_start_and_a_hole_is_at_the_end),
    case!(reading a_bad_buffer_fails_and_harms_nothing),
    case!(reading a_mapping_shows_the_bytes_and_zeros_behind_them),
    case!(reading stores_in_a_private_mapping_stay_there),
    case!(reading the_kernel_copies_a_file_elsewhere),
    case!(reading direct_reads_give_the_same, DIRECT),
    case!(reading many_readers_do_not_disturb_each_other),
    case!(reading readers_share_a_descriptor),
];

fn open(dir: &Dir, name: &str) -> File {
    dir.open(name, OFlags::RDONLY)
}

fn drop_cache(file: &File) {
    fadvise(file, 0, None, Advice::DontNeed).expect("fadvise");
}

/// Places and lengths without an order.
fn places(seed: u64, length: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let at = (state >> 8) as usize % length;
        let most = [1, 100, 4096, 70_000, 300_000][state as usize % 5];
        (at, (1 + (state >> 40) as usize % most).min(length - at))
    })
}

fn every_file_has_the_bytes_that_were_put_there(dir: &Dir) {
    for (name, length) in FILES {
        assert_eq!(dir.stat(name).len(), *length as u64, "{name}");
        same_bytes(&dir.bytes(name), &contents(name));
    }
    for at in 0..MANY {
        assert_eq!(dir.bytes(format!("many/entry-{at}")), at.to_string().as_bytes());
    }
}

fn pieces_of_any_length_add_up(dir: &Dir) {
    for name in LARGE {
        let want = contents(name);
        for length in [511, 4096, 4097, 65_537, 1 << 20, 8 << 20] {
            let mut file = open(dir, name);
            drop_cache(&file);
            let (mut got, mut piece) = (Vec::new(), vec![0; length]);
            loop {
                match file.read(&mut piece).expect("to read") {
                    0 => break,
                    count => got.extend_from_slice(&piece[..count]),
                }
            }
            same_bytes(&got, &want);
        }
    }
}

fn any_length_is_read_at_any_place(dir: &Dir) {
    for (name, length) in FILES.iter().filter(|(_, length)| *length > 0) {
        let (want, file) = (contents(name), open(dir, name));
        for (at, count) in places(*length as u64, *length).take(200) {
            same_bytes(&read_at(&file, at as u64, count), &want[at..at + count]);
        }
    }
}

fn what_was_dropped_from_the_cache_is_read_again(dir: &Dir) {
    for name in LARGE {
        let (want, file) = (contents(name), open(dir, name));
        for (at, count) in places(7, want.len()).take(20) {
            drop_cache(&file);
            same_bytes(&read_at(&file, at as u64, count), &want[at..at + count]);
        }
    }
}

fn a_read_at_or_past_the_end_gives_nothing(dir: &Dir) {
    for (name, length) in FILES {
        let file = open(dir, name);
        for offset in [*length as u64, *length as u64 + 1, *length as u64 + 4096, 1 << 40] {
            assert_eq!(file.read_at(&mut [0; 100], offset).expect("to read"), 0, "{name} at {offset}");
        }
    }
}

fn a_read_across_the_end_is_short(dir: &Dir) {
    for (name, length) in FILES.iter().filter(|(_, length)| *length > 0) {
        let file = open(dir, name);
        drop_cache(&file);
        let mut room = vec![0; 8192];
        assert_eq!(file.read_at(&mut room, *length as u64 - 1).expect("to read"), 1, "{name}");
        assert_eq!(room[0], *contents(name).last().expect("a byte"));
    }
    let file = open(dir, "short");
    assert_eq!(file.read_at(&mut [0; 8192], 0).expect("to read"), 5000);
}

fn a_place_is_read_and_the_offset_stays(dir: &Dir) {
    let (want, mut file) = (contents("short"), open(dir, "short"));
    let mut bytes = [0; 10];
    file.read_exact(&mut bytes).expect("to read");
    assert_eq!(bytes, want[..10]);
    same_bytes(&read_at(&file, 4000, 100), &want[4000..4100]);
    assert_eq!(file.stream_position().expect("an offset"), 10);
    file.read_exact(&mut bytes).expect("to read");
    assert_eq!(bytes, want[10..20]);
}

fn vectors_are_filled_in_order(dir: &Dir) {
    let (want, mut file) = (contents("large"), open(dir, "large"));
    let (mut first, mut second, mut third) = (vec![0; 1], vec![0; 5000], vec![0; 70_000]);
    let mut vectors =
        [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second), IoSliceMut::new(&mut third)];
    assert_eq!(file.read_vectored(&mut vectors).expect("readv"), 75_001);
    same_bytes(&[first, second, third].concat(), &want[..75_001]);
}

fn seeking_finds_start_place_and_end(dir: &Dir) {
    let mut file = open(dir, "large");
    let length = contents("large").len() as u64;
    assert_eq!(file.seek(SeekFrom::End(0)).expect("to seek"), length);
    assert_eq!(file.seek(SeekFrom::End(-17)).expect("to seek"), length - 17);
    assert_eq!(file.seek(SeekFrom::Current(-100)).expect("to seek"), length - 117);
    assert_eq!(file.seek(SeekFrom::Start(1 << 40)).expect("to seek"), 1 << 40);
    let before = file.seek(SeekFrom::Current(-(1 << 41))).expect_err("before the start");
    assert_eq!(before.raw_os_error(), Some(Errno::INVAL.raw_os_error()));
    assert_eq!(file.stream_position().expect("an offset"), 1 << 40);
}

fn data_begins_at_the_start_and_a_hole_is_at_the_end(dir: &Dir) {
    use rustix::fs::{SeekFrom, seek};
    let file = open(dir, "short");
    assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(0));
    assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(5000));
    must_fail(seek(&file, SeekFrom::Data(5000)), Errno::NXIO);
}

fn a_bad_buffer_fails_and_harms_nothing(dir: &Dir) {
    let file = open(dir, "short");
    drop_cache(&file);
    // Memory that may be read and not written.
    let guarded = Mapping::shared(&file, 0, 4096, false).expect("a mapping");
    must_fail(guarded.fill_from(&file, 0, 100, 0), Errno::FAULT);
    same_bytes(&read_at(&file, 0, 5000), &contents("short"));
}

fn a_mapping_shows_the_bytes_and_zeros_behind_them(dir: &Dir) {
    for (name, length) in FILES.iter().filter(|(_, length)| *length > 0) {
        let file = open(dir, name);
        drop_cache(&file);
        let whole = length.next_multiple_of(4096);
        let mapping = Mapping::shared(&file, 0, whole, false).expect("a mapping");
        let bytes = mapping.read(0, whole);
        same_bytes(&bytes[..*length], &contents(name));
        assert!(bytes[*length..].iter().all(|byte| *byte == 0), "{name}: what is that behind its end?");
        must_fail(mapping.make_writable(), Errno::ACCESS);
    }
    must_fail(Mapping::shared(open(dir, "short"), 0, 4096, true), Errno::ACCESS);
}

fn stores_in_a_private_mapping_stay_there(dir: &Dir) {
    let file = open(dir, "short");
    let mapping = Mapping::private(&file, 0, 8192).expect("a mapping");
    mapping.write(100, b"changed");
    assert_eq!(mapping.read(100, 7), b"changed");
    same_bytes(&dir.bytes("short"), &contents("short"));
    same_bytes(&mapping.read(107, 4893), &contents("short")[107..]);
}

fn the_kernel_copies_a_file_elsewhere(dir: &Dir) {
    for name in LARGE {
        let file = open(dir, name);
        let copy =
            File::from(rustix::fs::memfd_create("copy", rustix::fs::MemfdFlags::CLOEXEC).expect("memory"));
        let want = contents(name);
        let mut done = 0;
        while done < want.len() {
            let count = rustix::fs::sendfile(&copy, &file, None, want.len() - done).expect("sendfile");
            assert!(count > 0, "sendfile ended at {done}");
            done += count;
        }
        same_bytes(&read_at(&copy, 0, want.len()), &want);
    }
}

fn direct_reads_give_the_same(dir: &Dir) {
    for name in LARGE {
        let want = contents(name);
        let file = dir.open(name, OFlags::RDONLY | OFlags::DIRECT);
        let room = Mapping::anonymous(1 << 20).expect("memory");
        for (at, length) in [(0, 4096), (4096, 1 << 20), (1 << 20, 8192), (512 << 10, 128 << 10)] {
            let count = room.fill_from(&file, 0, length, at as u64).expect("a direct read");
            same_bytes(&room.read(0, count), &want[at..at + length]);
        }
        let last = want.len() / 4096 * 4096;
        let count = room.fill_from(&file, 0, 8192, last as u64).expect("a direct read");
        same_bytes(&room.read(0, count), &want[last..]);
    }
}

fn many_readers_do_not_disturb_each_other(dir: &Dir) {
    let wants = LARGE.map(contents);
    let readers = (0..6).map(|seed| {
        let wants = &wants;
        Child::run(move || {
            for (name, want) in LARGE.iter().zip(wants) {
                let file = open(dir, name);
                for (at, count) in places(seed, want.len()).take(100) {
                    same_bytes(&read_at(&file, at as u64, count), &want[at..at + count]);
                }
            }
        })
    });
    let readers: Vec<Child> = readers.collect();
    readers.into_iter().for_each(Child::join);
}

fn readers_share_a_descriptor(dir: &Dir) {
    let name = LARGE[1];
    let (want, file) = (contents(name), open(dir, name));
    drop_cache(&file);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (want, file) = (&want, &file);
            scope.spawn(move || {
                for (at, count) in places(seed, want.len()).take(100) {
                    same_bytes(&read_at(file, at as u64, count), &want[at..at + count]);
                }
            });
        }
    });
}
