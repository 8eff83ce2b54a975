//! A small web server that does as it is told, well or badly: files with tags, ranges and indexes; answers
//! that end early, resets, storms of 503, silence. On loopback, a thread a connection. WebDAV is in `dav`.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::dav::{self, Tree};

/// What the server does wrong to requests of contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Says 503.
    Unavailable,
    /// Ends the connection half-way through the body.
    Half,
    /// Closes the connection instead of answering.
    Reset,
    /// Never answers.
    Silence,
    /// Takes a while for every piece of 64 KiB.
    Slow(Duration),
    /// Sends other bytes under the old tag's request: ignores conditions.
    IgnoresConditions,
}

/// Which requests it does wrong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// Those that give or take contents.
    Contents,
    /// All of one method.
    Method(&'static str),
    Everybody,
}

impl To {
    fn includes(self, request: &Request) -> bool {
        let is_file = !request.path.is_empty() && !request.path.ends_with('/');
        match self {
            To::Contents => matches!(&*request.method, "GET" | "PUT") && is_file,
            To::Method(method) => request.method == method,
            To::Everybody => true,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) version: usize,
}

#[derive(Debug, Default)]
struct Shared {
    tree: Mutex<Tree>,
    faults: Mutex<Vec<(Fault, To, usize)>>,
    /// Requests that came, by method.
    requests: Mutex<HashMap<String, usize>>,
    /// Bodies that are being sent now, and the most there ever were.
    sending: AtomicUsize,
    sending_most: AtomicUsize,
    stopped: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

/// A web server on loopback.
pub(crate) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let shared: Arc<Shared> = Arc::default();
        let listener = bind("127.0.0.1:0".parse().expect("an address"));
        let address = listener.local_addr().expect("bound");
        Server { thread: Some(listen(listener, shared.clone())), shared, address }
    }

    /// Kills it, as a crash would: connections end where they are. Files are kept for [`restart`](Self::restart).
    pub(crate) fn kill(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("an end of the server");
        }
        for stream in self.shared.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on no date and no tag tells one version of a file from another.
    pub(crate) fn timeless(&self) {
        self.shared.tree.lock().unwrap().timeless = true;
    }

    /// The same server at the same address again.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.thread = Some(listen(bind(self.address), self.shared.clone()));
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The same as a WebDAV server.
    pub(crate) fn dav_url(&self) -> String {
        format!("webdav://{}/", self.address)
    }

    /// Puts a file there, or other contents into it.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        self.shared.tree.lock().unwrap().put(path, bytes.to_vec());
    }

    pub(crate) fn get(&self, path: &str) -> Option<Arc<Vec<u8>>> {
        self.shared.tree.lock().unwrap().files.get(path).map(|file| file.bytes.clone())
    }

    pub(crate) fn remove(&self, path: &str) {
        self.shared.tree.lock().unwrap().files.remove(path);
    }

    /// Does wrong to so many requests of contents, beginning now.
    pub(crate) fn fault(&self, fault: Fault, times: usize) {
        self.fault_to(To::Contents, fault, times);
    }

    pub(crate) fn fault_to(&self, to: To, fault: Fault, times: usize) {
        self.shared.faults.lock().unwrap().push((fault, to, times));
    }

    pub(crate) fn behave(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    pub(crate) fn requests(&self, method: &str) -> usize {
        self.shared.requests.lock().unwrap().get(method).copied().unwrap_or_default()
    }

    /// The most bodies that were sent side by side.
    pub(crate) fn sending_most(&self) -> usize {
        self.shared.sending_most.load(Ordering::SeqCst)
    }
}

fn bind(address: SocketAddr) -> TcpListener {
    TcpListener::bind(address).expect("a port on loopback")
}

fn listen(listener: TcpListener, shared: Arc<Shared>) -> thread::JoinHandle<()> {
    shared.stopped.store(false, Ordering::SeqCst);
    thread::spawn(move || {
        for stream in listener.incoming() {
            if shared.stopped.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let _ = stream.set_nodelay(true);
            if let Ok(again) = stream.try_clone() {
                shared.connections.lock().unwrap().push(again);
            }
            let shared = shared.clone();
            thread::spawn(move || serve(&shared, stream));
        }
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&len| len > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
            None => {
                return Some(Request {
                    method,
                    path: path.trim_start_matches('/').replace("%20", " "),
                    headers,
                });
            }
        };
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let Ok(mut out) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        *shared.requests.lock().unwrap().entry(request.method.clone()).or_default() += 1;
        if answer(shared, &request, &mut reader, &mut out).is_err() {
            let _ = out.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// The next fault, if it is for such requests.
fn next_fault(shared: &Shared, request: &Request) -> Option<Fault> {
    let mut faults = shared.faults.lock().unwrap();
    let (fault, _, left) = faults.first_mut().filter(|(_, to, _)| to.includes(request))?;
    let fault = *fault;
    *left -= 1;
    if *left == 0 {
        faults.remove(0);
    }
    Some(fault)
}

fn answer(
    shared: &Shared,
    request: &Request,
    body: &mut BufReader<TcpStream>,
    out: &mut TcpStream,
) -> std::io::Result<()> {
    let fault = next_fault(shared, request);
    match fault {
        Some(Fault::Unavailable) if request.method == "GET" => return short(out, "503 Service Unavailable"),
        Some(Fault::Reset) => return Err(std::io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Silence) => {
            while !shared.stopped.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        _ => {}
    }
    if let Some(answered) = dav::answer(&shared.tree, request, body, fault, out) {
        return answered;
    }
    let (files, timeless) = {
        let tree = shared.tree.lock().unwrap();
        (tree.files.clone(), tree.timeless)
    };
    if request.path.is_empty() || request.path.ends_with('/') {
        return index(&files, &request.path, &request.method, out);
    }
    let Some(file) = files.get(&request.path) else {
        let below = format!("{}/", request.path);
        if files.keys().any(|path| path.starts_with(&below)) {
            let head = format!("HTTP/1.1 301 Moved\r\nLocation: /{below}\r\nContent-Length: 0\r\n\r\n");
            return out.write_all(head.as_bytes());
        }
        return short(out, "404 Not Found");
    };
    let tag = format!("\"{}\"", file.version);
    let differs = request.headers.get("if-match").is_some_and(|wanted| *wanted != tag);
    if differs && fault != Some(Fault::IgnoresConditions) {
        return short(out, "412 Precondition Failed");
    }
    let size = file.bytes.len();
    let range = request.headers.get("range").and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some(from.parse::<usize>().ok()?..to.parse::<usize>().map_or(size, |to| (to + 1).min(size)))
    });
    let (status, range) = match range {
        Some(range) if range.start >= size => return short(out, "416 Range Not Satisfiable"),
        Some(range) => ("206 Partial Content", range),
        None => ("200 OK", 0..size),
    };
    let partial = match status {
        "200 OK" => String::new(),
        _ => format!("Content-Range: bytes {}-{}/{size}\r\n", range.start, range.end - 1),
    };
    let body = &file.bytes[range];
    let tag = if timeless { String::new() } else { format!("ETag: {tag}\r\n") };
    let head = format!("HTTP/1.1 {status}\r\n{tag}Content-Length: {}\r\n{partial}\r\n", body.len());
    out.write_all(head.as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let now = shared.sending.fetch_add(1, Ordering::SeqCst) + 1;
    shared.sending_most.fetch_max(now, Ordering::SeqCst);
    let sent = send(shared, body, fault, out);
    shared.sending.fetch_sub(1, Ordering::SeqCst);
    sent
}

fn send(shared: &Shared, body: &[u8], fault: Option<Fault>, out: &mut TcpStream) -> std::io::Result<()> {
    match fault {
        Some(Fault::Half) => {
            out.write_all(&body[..body.len() / 2])?;
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
        Some(Fault::Slow(pause)) => body.chunks(64 << 10).try_for_each(|piece| {
            thread::sleep(pause);
            if shared.stopped.load(Ordering::SeqCst) {
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            out.write_all(piece)
        }),
        _ => out.write_all(body),
    }
}

fn short(out: &mut TcpStream, status: &str) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
}

fn index(
    files: &BTreeMap<String, File>,
    directory: &str,
    method: &str,
    out: &mut TcpStream,
) -> std::io::Result<()> {
    let mut names: Vec<String> = files
        .keys()
        .filter_map(|path| path.strip_prefix(directory))
        .map(|rest| rest.split_once('/').map_or(rest.to_owned(), |(name, _)| format!("{name}/")))
        .collect();
    names.dedup();
    if names.is_empty() && !directory.is_empty() {
        return short(out, "404 Not Found");
    }
    let link = |name: &String| format!("<a href=\"{}\">{name}</a>\n", name.replace(' ', "%20"));
    let page = format!("<html><a href=\"../\">..</a>\n{}</html>", names.iter().map(link).collect::<String>());
    write!(out, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", page.len())?;
    if method == "HEAD" { Ok(()) } else { out.write_all(page.as_bytes()) }
}
