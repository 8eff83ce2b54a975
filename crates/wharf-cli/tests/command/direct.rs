//! Programs that read a mount past the kernel, their deaths, and that of their host.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use wharf_direct::client::Reader;

use crate::wharf::{Room, eventually, wharf};

const FILE_BYTES: usize = 8 << 20;

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

/// Not a test: a process that reads for the tests below, until the host is gone. Wrong bytes end it with a panic.
#[test]
#[ignore = "run as a process of its own by other tests"]
fn a_client_for_others() {
    let Some(path) = std::env::var_os("WHARF_TEST_FILE") else { return };
    let Ok(file) = File::open(path) else { return };
    let Ok(reader) = Reader::attach_only(&file) else { return };
    drop(file);
    let mut random = u64::from(std::process::id());
    let mut bytes = vec![0; 150_000];
    loop {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let len = 1 + (random >> 40) as usize % if random >> 20 & 7 == 0 { 150_000 } else { 5000 };
        let offset = (random >> 33) as usize % (FILE_BYTES - len);
        match reader.read_at(offset as u64, &mut bytes[..len]) {
            Ok(count) => assert!(bytes[..count] == pattern(offset, count), "wrong bytes at {offset}"),
            // The host has gone.
            Err(_) => return,
        }
    }
}

fn client(path: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["direct::a_client_for_others", "--exact", "--ignored"]).env("WHARF_TEST_FILE", path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a process")
}

fn descriptors(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).expect("it runs").count()
}

#[test]
fn clients_and_hosts_that_are_killed_leak_nothing_and_nobody_reads_wrong_bytes() {
    // Longer by hand: WHARF_KILL_SECONDS=120.
    let seconds = std::env::var("WHARF_KILL_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let room = Room::new();
    room.daemon(&["--limit", "sections_bytes_max=2M"]);
    let path = room.at("point/file");
    fs::write(&path, pattern(0, FILE_BYTES)).expect("a file");
    let host = room.host();
    let alone = descriptors(host);
    let mut first = client(&path);
    eventually("a client has come", || descriptors(host) > alone + 4);
    first.kill().and_then(|()| first.wait()).expect("it ran");
    // What is kept of the file stays, and is counted by its two descriptors.
    let idle = descriptors(host);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut clients: Vec<Child> = (0..8).map(|_| client(&path)).collect();
    let mut random = 1u64;
    let mut killed = 0;
    while Instant::now() < until {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let one = &mut clients[(random >> 33) as usize % 8];
        std::thread::sleep(Duration::from_millis(random >> 40 & 63));
        if let Some(status) = one.try_wait().expect("a child") {
            assert!(status.success(), "a client read wrong bytes");
        }
        let _ = one.kill();
        let _ = one.wait();
        killed += 1;
        *one = client(&path);
    }
    assert!(killed > 10, "only {killed} were killed");
    for one in &mut clients {
        one.kill().and_then(|()| one.wait()).expect("a child");
    }
    // The section of the file, at most.
    eventually("the host has let go of them", || descriptors(host) <= idle + 2);
    let reader = Reader::attach_only(File::open(&path).expect("it is there")).expect("a reader");
    assert!(read(&reader, 12_345, 100_000) == pattern(12_345, 100_000));
    let mut clients: Vec<Child> = (0..4).map(|_| client(&path)).collect();
    std::thread::sleep(Duration::from_millis(500));
    kill_process(host, Signal::KILL).expect("it runs");
    for one in &mut clients {
        eventually("a client notices", || one.try_wait().expect("a child").is_some());
        assert!(one.wait().expect("a child").success(), "a client read wrong bytes");
    }
    eventually("a reader gets an error", || match reader.read_at(0, &mut [0; 100]) {
        Ok(_) => false,
        Err(error) => error.kind() == std::io::ErrorKind::NotConnected,
    });
    wharf(&["unmount", "--lazy", &room.point()]).succeeded();
    room.daemon(&[]);
    fs::write(&path, pattern(0, 1000)).expect("a file");
    let reader = Reader::attach(File::open(&path).expect("it is there")).expect("a reader");
    assert!(reader.is_direct());
    assert!(read(&reader, 0, 1000) == pattern(0, 1000));
}
