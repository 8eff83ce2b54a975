//! The example that shows a web server: that it is short, and works.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;

const LINES_MAX: usize = 99;

#[test]
fn the_example_fits_on_a_page() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("web.rs");
    assert!(fs::read_to_string(example).expect("the example").lines().count() <= LINES_MAX);
}

/// Serves `x` and `sub/y`, with indexes, as any server would.
fn serve(mut stream: TcpStream) -> Option<()> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    reader.read_line(&mut line).ok()?;
    while reader.read_line(&mut String::new()).ok()? > 2 {}
    let mut words = line.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let (status, body) = match path {
        "/" => (
            "200 OK",
            "<a href=\"../\">..</a> <a href=\"x\">x</a> <a href=\"sub/\">sub</a> <a href=\"?C=N\">s</a>",
        ),
        "/sub" => ("301 Moved", ""),
        "/sub/" => ("200 OK", "<a href=\"a%20b\">y</a>"),
        "/x" => ("200 OK", "short"),
        "/sub/a%20b" => ("200 OK", "deep"),
        _ => ("404 Not Found", ""),
    };
    let head = format!("HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    if method == "GET" { stream.write_all(body.as_bytes()).ok() } else { Some(()) }
}

/// The running example, and where it is mounted. Nothing of both is left when it is dropped.
struct Served<'a>(Child, &'a Path);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.1, UnmountFlags::DETACH);
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_web_server_is_a_directory() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|stream| drop(thread::spawn(|| serve(stream))))
    });
    let room = tempfile::tempdir().expect("a directory");
    let web = Command::new(env!("CARGO_BIN_EXE_web")).arg(address.to_string()).arg(room.path()).spawn();
    let mut web = Served(web.expect("it starts"), room.path());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fs::exists(room.path().join("x")).is_ok_and(|there| there) {
        let ended = web.0.try_wait().expect("it can be waited for");
        assert!(ended.is_none() && Instant::now() < deadline, "it does not mount: {ended:?}");
        thread::sleep(Duration::from_millis(5));
    }
    let names = |directory: &str| {
        let entries = fs::read_dir(room.path().join(directory)).expect("a listing");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("."), ["sub", "x"]);
    assert_eq!(names("sub"), ["a%20b"]);
    assert_eq!(fs::read_to_string(room.path().join("x")).expect("readable"), "short");
    assert_eq!(fs::read_to_string(room.path().join("sub/a%20b")).expect("readable"), "deep");
    assert!(!fs::exists(room.path().join("no\nthing")).expect("known"));
}
