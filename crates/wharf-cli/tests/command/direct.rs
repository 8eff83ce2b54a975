//! Programs that read a mount past the kernel.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};

use wharf_direct::client::Reader;

use crate::wharf::{Room, wharf};

fn byte(at: usize) -> u8 {
    (at / 3 % 251) as u8
}

fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(byte).collect()
}

fn read(reader: &Reader, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    let count = reader.read_at(offset, &mut bytes).expect("it can be read");
    bytes.truncate(count);
    bytes
}

#[test]
fn a_reader_of_an_open_file_goes_past_the_kernel_and_both_see_what_is_written() {
    for transport in ["dev", "uring"] {
        let room = Room::new();
        room.daemon(&["--transport", transport]);
        let path = room.at("point/file");
        fs::write(&path, pattern(0, 300_000)).expect("a file");
        let mut file = OpenOptions::new().read(true).write(true).open(&path).expect("it is there");
        let reader = Reader::attach(&file).expect("a reader");
        assert!(reader.is_direct(), "over {transport}");
        for _ in 0..4 {
            assert!(read(&reader, 1000, 200_000) == pattern(1000, 200_000));
        }
        // The kernel has these pages by now.
        let mut seen = [0; 5];
        file.read_exact(&mut seen).expect("it can be read");
        assert_eq!(reader.write_at(0, b"reader").expect("it was opened for that"), 6);
        file.rewind().expect("a file");
        file.read_exact(&mut seen).expect("it can be read");
        assert_eq!(&seen, b"reade");
        file.rewind().expect("a file");
        file.write_all(b"kernel").expect("it can be written");
        assert_eq!(read(&reader, 0, 6), b"kernel");
        file.set_len(70_000).expect("it can be cut");
        assert_eq!(read(&reader, 69_999, 10).len(), 1);
        assert_eq!(reader.len().expect("it has one"), 70_000);
        let to_read = Reader::attach(File::open(&path).expect("it is there")).expect("a reader");
        assert!(to_read.is_direct() && to_read.write_at(0, b"x").is_err());
        // It lives on without its name.
        fs::remove_file(&path).expect("it is there");
        assert_eq!(read(&to_read, 0, 6), b"kernel");
        drop((file, reader, to_read));
        wharf(&["unmount", &room.point()]).succeeded();
    }
}

#[test]
fn a_mirrors_file_is_read_itself_by_its_owner() {
    let room = Room::new();
    fs::write(room.at("source/file"), pattern(0, 100_000)).expect("a file");
    wharf(&["mount", &room.spec("mirror"), &room.point(), "--daemon"]).succeeded();
    let file = File::open(room.at("point/file")).expect("it is there");
    let reader = Reader::attach(&file).expect("a reader");
    assert!(reader.is_direct());
    assert!(read(&reader, 5, 1000) == pattern(5, 1000));
    fs::write(room.at("source/file"), b"elsewhere").expect("it can be written");
    assert_eq!(read(&reader, 0, 100), b"elsewhere");
}

#[test]
fn without_the_direct_path_the_file_itself_is_read() {
    let room = Room::new();
    room.daemon(&["--no-direct"]);
    assert!(room.details().contains("direct    off"), "{}", room.details());
    fs::write(room.at("point/file"), b"bytes").expect("a file");
    let file = File::open(room.at("point/file")).expect("it is there");
    let reader = Reader::attach(&file).expect("a reader");
    assert!(!reader.is_direct());
    assert_eq!(read(&reader, 0, 10), b"bytes");
    assert!(Reader::attach_only(&file).is_err());
}
