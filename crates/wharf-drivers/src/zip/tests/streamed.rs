//! Members for which there is no room: read all the same, in order, within the limit.

use std::sync::Arc;

use wharf::Errno;
use wharf::op::OpenFlags;
use wharf::testing::{Ask, Volume};

use super::super::contents::{Contents, HELD_BACK_BYTES};
use super::super::streamed::{WINDOW_BYTES_MAX, WINDOW_BYTES_MIN};
use super::super::{Options, Zip};
use super::maker::{Part, archive, text};
use super::{open_with, options, volume};

const READ: OpenFlags = OpenFlags::empty();
const LEN: usize = 6 << 20;

fn with_room(parts: &[Part], cache_bytes_max: u64) -> (Arc<Contents>, Volume<Zip>) {
    let zip = open_with(&archive(parts), Options { cache_bytes_max, ..options() }).expect("an archive");
    (zip.contents.clone(), volume(zip))
}

#[test]
fn a_member_for_which_there_is_no_room_is_read_within_the_limit() {
    let bytes = text(LEN);
    for room in [WINDOW_BYTES_MIN, WINDOW_BYTES_MAX, LEN as u64 - 1] {
        let (contents, mut volume) = with_room(&[Part::deflated("large", &bytes)], room);
        let open = volume.open("large", READ).expect("open");
        assert!(contents.bytes() <= room);
        let mut at = 0;
        // Odd steps, so that none ends where a step of the unpacking does.
        for len in [1, 4096, 100_003, 128 << 10].into_iter().cycle() {
            let part = volume.read_at(open, at as u64, len).expect("read");
            assert!(part == bytes[at..LEN.min(at + len as usize)], "{len} at {at} with room for {room}");
            at += part.len();
            if part.is_empty() {
                break;
            }
        }
        assert_eq!(at, LEN);
        volume.close(open).expect("closed");
        assert_eq!(contents.bytes(), 0);
    }
}

#[test]
fn a_streamed_member_is_read_anywhere_from_its_beginning_on() {
    let bytes = text(LEN);
    let (_, mut volume) = with_room(&[Part::deflated("large", &bytes)], WINDOW_BYTES_MIN);
    let open = [(); 2].map(|()| volume.open("large", READ).map_err(|errno| errno.to_string()));
    // There is room for one window, and not for two.
    let [Ok(open), Err(refused)] = open else { panic!("{open:?}") };
    assert_eq!(refused, Errno::ENOMEM.to_string());
    for at in [0, LEN - 1, LEN / 2, LEN / 2 - 1000, 3, LEN - 70_000, LEN - 200_000, LEN, LEN + 1] {
        let part = volume.read_at(open, at as u64, 120_000).expect("read");
        assert!(part == bytes[LEN.min(at)..LEN.min(at + 120_000)], "at {at}");
    }
    volume.close(open).expect("closed");
}

#[test]
fn each_who_streams_a_member_has_a_place_of_his_own() {
    let bytes = text(LEN);
    let (contents, mut volume) = with_room(&[Part::deflated("large", &bytes)], 3 * WINDOW_BYTES_MIN);
    let opens = [(); 3].map(|()| volume.open("large", READ).expect("open"));
    for step in 0..40 {
        for (reader, open) in opens.iter().enumerate() {
            let at = step * 100_000 + reader * 500_000;
            let part = volume.read_at(*open, at as u64, 100_000).expect("read");
            assert!(part == bytes[at..at + 100_000], "reader {reader} at {at}");
        }
        assert!(contents.bytes() <= 3 * WINDOW_BYTES_MIN);
    }
    opens.into_iter().for_each(|open| volume.close(open).expect("closed"));
}

#[test]
fn a_streamed_member_with_a_wrong_checksum_is_never_read_to_its_end() {
    let bytes = text(LEN);
    let longer = Part { size: LEN as u64 + 1, ..Part::deflated("large", &bytes) };
    let shorter = Part {
        size: LEN as u64 - 1,
        crc: crc32fast::hash(&bytes[..LEN - 1]),
        ..Part::deflated("large", &bytes)
    };
    let wrong = Part { crc: 1, ..Part::deflated("large", &bytes) };
    for part in [longer, shorter, wrong] {
        let (_, mut volume) = with_room(&[part], 2 * WINDOW_BYTES_MIN);
        let [first, second] = [(); 2].map(|()| volume.open("large", READ).expect("open"));
        assert!(volume.read_at(first, 0, 4096).expect("before it is known") == bytes[..4096]);
        let held = LEN as u64 - HELD_BACK_BYTES + 2;
        assert_eq!(volume.read_at(first, held, 4096), Err(Errno::EIO));
        // From now on it is known to be damaged.
        for open in [first, second] {
            assert_eq!(volume.read_at(open, 0, 4096), Err(Errno::EIO));
            volume.close(open).expect("closed");
        }
        assert_eq!(volume.open("large", READ), Err(Errno::EIO));
    }
}

#[test]
fn who_gives_up_waits_no_longer_for_what_is_far_away() {
    let zeros = vec![0; 64 << 20];
    let (_, mut volume) = with_room(&[Part::deflated("large", &zeros)], WINDOW_BYTES_MIN);
    let open = volume.open("large", READ).expect("open");
    // What the other end is reached by before it is told does not count.
    let given_up = (0..50).any(|_| {
        let far = volume.begin(&Ask::read(open, (64 << 20) - 1, 1));
        let behind = volume.begin(&Ask::read(open, 0, 1));
        volume.interrupt(behind);
        volume.interrupt(far);
        let results = [volume.wait(behind).result, volume.wait(far).result];
        // After that it goes on.
        assert_eq!(volume.read_at(open, 0, 1).expect("read"), [0]);
        results.iter().all(|result| matches!(result, Err(Errno::EINTR)))
    });
    assert!(given_up);
    volume.close(open).expect("closed");
}

#[test]
fn without_room_for_a_window_a_member_is_refused() {
    let small = Part::deflated("small", &text(5000));
    let parts = [Part::deflated("large", &text(LEN)), small];
    let (_, mut volume) = with_room(&parts, WINDOW_BYTES_MIN - 1);
    assert_eq!(volume.open("large", READ), Err(Errno::ENOMEM));
    assert_eq!(volume.read("small").expect("read"), text(5000));
}
