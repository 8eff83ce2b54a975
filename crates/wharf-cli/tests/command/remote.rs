//! What is behind a service, as the command mounts it: how it ends, and who learns of credentials.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

use crate::wharf::{Room, Running, command, run, wharf};

/// As much of a WebDAV server as an upload needs. It takes files only when told to, and slowly.
#[derive(Clone)]
struct Server {
    url: String,
    takes: Arc<AtomicBool>,
    files: Arc<Mutex<HashMap<String, usize>>>,
    /// What it was told last of who asks.
    authorization: Arc<Mutex<String>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let url = format!("webdav://{}/", listener.local_addr().expect("bound"));
        let server =
            Server { url, takes: Arc::default(), files: Arc::default(), authorization: Arc::default() };
        let ours = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = ours.clone();
                thread::spawn(move || while answer(&stream, &server).is_some() {});
            }
        });
        server
    }
}

/// Answers one request; `None` at the end of the connection.
fn answer(mut stream: &TcpStream, server: &Server) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut len) = (String::new(), 0);
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { continue };
        match &*name.to_ascii_lowercase() {
            "content-length" => len = value.trim().parse().ok()?,
            "authorization" => value.trim().clone_into(&mut server.authorization.lock().expect("no panics")),
            _ => {}
        }
    }
    let takes = server.takes.load(Ordering::SeqCst);
    let mut left = len;
    let mut piece = vec![0; 256 << 10];
    while left > 0 {
        if method == "PUT" && takes {
            thread::sleep(Duration::from_millis(100));
        }
        let some = left.min(piece.len());
        reader.read_exact(&mut piece[..some]).ok()?;
        left -= some;
    }
    let known = server.files.lock().expect("no panics").get(&path).copied();
    let (status, body) = match &*method {
        "PUT" if !takes => ("503 Service Unavailable", String::new()),
        "PUT" => {
            server.files.lock().expect("no panics").insert(path, len);
            ("201 Created", String::new())
        }
        "PROPFIND" if path == "/" => {
            ("207 Multi-Status", properties("/", "<D:resourcetype><D:collection/></D:resourcetype>"))
        }
        "PROPFIND" if known.is_some() => {
            let len = known.unwrap_or_default();
            let told = format!("<D:getcontentlength>{len}</D:getcontentlength><D:resourcetype/>");
            ("207 Multi-Status", properties(&path, &told))
        }
        _ => ("404 Not Found", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()
}

fn properties(path: &str, told: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>{path}</D:href><D:propstat><D:prop>\
         <D:getlastmodified>Mon, 01 Jan 2024 00:00:00 GMT</D:getlastmodified>{told}</D:prop>\
         <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"
    )
}

#[test]
fn an_upload_at_the_end_of_a_mount_tells_how_far_it_has_come() {
    for on_terminal in [false, true] {
        let (room, server) = (Room::new(), Server::start());
        let spool = format!("spool={}", room.at("spool"));
        let (spec, point) = (format!("remote:{}", server.url), room.point());
        let options = ["--option", "deadline=1s", "--option", &spool, "--no-direct"];
        let mut host = command();
        host.args(["mount", &spec, &point]).args(options);
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        unlockpt(&terminal).expect("a terminal");
        let name =
            ptsname(&terminal, Vec::new()).expect("it has a name").into_string().expect("plain letters");
        let screen = File::options().read(true).write(true).open(name).expect("a terminal");
        let host = if on_terminal {
            Running::start_on(&mut host, screen.try_clone().expect("a descriptor"))
        } else {
            Running::start(&mut host)
        };
        host.line();
        let mut file = File::create(room.at("point/file")).expect("a file");
        file.write_all(&vec![7; 4 << 20]).expect("there is room here");
        assert!(file.sync_all().is_err(), "the server has not taken it");
        drop(file);
        server.takes.store(true, Ordering::SeqCst);
        wharf(&["unmount", &point]).succeeded();
        let ended = host.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(server.files.lock().expect("no panics").get("/file"), Some(&(4 << 20)));
        let told = if on_terminal {
            let mut seen = vec![0; 100_000];
            let count = File::from(terminal).read(&mut seen).expect("something was shown");
            String::from_utf8_lossy(&seen[..count]).into_owned()
        } else {
            ended.errors
        };
        let start = if on_terminal {
            "\ruploading what was changed: "
        } else {
            "wharf: uploading what was changed: "
        };
        assert!(told.contains(start) && told.contains(" of 4.0 MiB ("), "{told:?}");
    }
}

#[test]
fn places_that_are_named_from_here_are_meant_by_a_mount_in_the_background_too() {
    let (room, server) = (Room::new(), Server::start());
    server.takes.store(true, Ordering::SeqCst);
    let mut mount = command();
    mount.args(["mount", &format!("remote:{}", server.url), "point", "--daemon"]).current_dir(room.path());
    mount.args(["--option", "spool=ours", "--option", "cache-dir=ours", "--option", "disc-cache=16M"]);
    run(&mut mount).succeeded();
    fs::write(room.at("point/file"), "words").expect("there is a place for it");
    assert_eq!(server.files.lock().expect("no panics").get("/file"), Some(&5));
    for kind in ["wharf-remote", "wharf-remote-cache"] {
        assert!(room.path().join("ours").join(kind).is_dir(), "{kind}");
    }
    wharf(&["unmount", &room.point()]).succeeded();
}

#[test]
fn credentials_reach_the_server_and_nobody_else() {
    let (room, server) = (Room::new(), Server::start());
    server.takes.store(true, Ordering::SeqCst);
    let url = server.url.replace("://", "://somebody@");
    let (spool, log) = (format!("spool={}", room.at("spool")), room.at("log"));
    let mut mount = command();
    mount.args(["mount", &format!("remote:{url}"), &room.point(), "--option", &spool]);
    mount.args(["--log", "trace", "--log-file", &log]).env("WHARF_REMOTE_PASSWORD", "sesame");
    let host = Running::start(&mut mount);
    let line = host.line();
    fs::write(room.at("point/file"), "words").expect("it is mounted");
    // somebody:sesame
    assert_eq!(*server.authorization.lock().expect("no panics"), "Basic c29tZWJvZHk6c2VzYW1l");
    let command_line = fs::read_to_string(format!("/proc/{}/cmdline", host.pid())).expect("it runs");
    let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let listed = room.details();
    wharf(&["unmount", &room.point()]).succeeded();
    let ended = host.end();
    let log = fs::read_to_string(log).expect("a log");
    assert!(!log.is_empty());
    for (what, text) in
        [("line", &line), ("table", &table), ("list", &listed), ("log", &log), ("errors", &ended.errors)]
    {
        for secret in ["sesame", "somebody", "c29tZWJvZHk6c2VzYW1l"] {
            assert!(!text.contains(secret), "{secret} is in the {what}: {text}");
        }
    }
    assert!(!command_line.contains("sesame"));
}
