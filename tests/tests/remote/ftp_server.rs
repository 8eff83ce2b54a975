//! A small FTP server that does as it is told, of the old kind: no listings for machines, times to the second. It reads
//! its files anew for each piece that it sends, so one that changes meanwhile arrives as a mixture.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const PIECE_BYTES: usize = 64 << 10;

#[derive(Default)]
struct Shared {
    /// Contents, and a number that its time is made of.
    files: Mutex<BTreeMap<String, (Vec<u8>, u64)>>,
    /// Commands that came.
    commands: Mutex<BTreeMap<String, usize>>,
    here: AtomicUsize,
    here_most: AtomicUsize,
    sending: AtomicUsize,
    /// After so many bytes of a file the connection breaks, once for each that is here.
    breaks: Mutex<Vec<usize>>,
    /// Bytes of a file after which nothing more is sent.
    stuck_after: Mutex<Option<usize>>,
    pause: Mutex<Duration>,
    /// A name that is taken is not given to another file.
    keeps_names: AtomicBool,
    /// Nothing is renamed.
    keeps_all: AtomicBool,
    /// Says two things when somebody hangs up.
    talks: AtomicBool,
    stopped: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

/// An FTP server on loopback.
pub(crate) struct FtpServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<thread::JoinHandle<()>>,
}

impl FtpServer {
    pub(crate) fn start() -> FtpServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("bound");
        let shared: Arc<Shared> = Arc::default();
        let ours = shared.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                ours.streams.lock().unwrap().extend(stream.try_clone());
                let shared = ours.clone();
                thread::spawn(move || {
                    let here = shared.here.fetch_add(1, Ordering::SeqCst) + 1;
                    shared.here_most.fetch_max(here, Ordering::SeqCst);
                    let _ = Talk::new(&shared, &stream).and_then(|talk| talk.go_on());
                    let _ = stream.shutdown(Shutdown::Both);
                    shared.here.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        FtpServer { shared, address, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("ftp://me@{}/", self.address)
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let mut files = self.shared.files.lock().unwrap();
        let version = files.get(path).map_or(0, |(_, version)| version + 1);
        files.insert(path.to_owned(), (bytes.to_vec(), version));
    }

    pub(crate) fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.shared.files.lock().unwrap().get(path).map(|(bytes, _)| bytes.clone())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.shared.files.lock().unwrap().keys().cloned().collect()
    }

    /// How often a command came.
    pub(crate) fn commands(&self, command: &str) -> usize {
        self.shared.commands.lock().unwrap().get(command).copied().unwrap_or_default()
    }

    /// Connections that are here now, and the most there ever were.
    pub(crate) fn here(&self) -> (usize, usize) {
        (self.shared.here.load(Ordering::SeqCst), self.shared.here_most.load(Ordering::SeqCst))
    }

    /// Files that are being sent now.
    pub(crate) fn sending(&self) -> usize {
        self.shared.sending.load(Ordering::SeqCst)
    }

    pub(crate) fn breaks_after(&self, bytes: &[usize]) {
        self.shared.breaks.lock().unwrap().extend(bytes);
    }

    pub(crate) fn stuck_after(&self, bytes: Option<usize>) {
        *self.shared.stuck_after.lock().unwrap() = bytes;
    }

    /// Before each piece that it sends.
    pub(crate) fn pause(&self, pause: Duration) {
        *self.shared.pause.lock().unwrap() = pause;
    }

    pub(crate) fn keeps_names(&self) {
        self.shared.keeps_names.store(true, Ordering::SeqCst);
    }

    pub(crate) fn keeps_all(&self, keeps: bool) {
        self.shared.keeps_all.store(keeps, Ordering::SeqCst);
    }

    pub(crate) fn talks(&self) {
        self.shared.talks.store(true, Ordering::SeqCst);
    }
}

impl Drop for FtpServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("an end of the server");
        }
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// One connection.
struct Talk<'a> {
    shared: &'a Shared,
    reader: BufReader<TcpStream>,
    out: TcpStream,
    data: Option<TcpListener>,
    rest: usize,
    from: String,
}

impl<'a> Talk<'a> {
    fn new(shared: &'a Shared, stream: &TcpStream) -> std::io::Result<Talk<'a>> {
        stream.set_nodelay(true)?;
        let (reader, out) = (BufReader::new(stream.try_clone()?), stream.try_clone()?);
        Ok(Talk { shared, reader, out, data: None, rest: 0, from: String::new() })
    }

    fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.out.write_all(format!("{text}\r\n").as_bytes())
    }

    fn go_on(mut self) -> std::io::Result<()> {
        self.say("220 welcome")?;
        let mut line = String::new();
        while self.reader.read_line(&mut line)? > 0 {
            let (command, word) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
            *self.shared.commands.lock().unwrap().entry(command.to_owned()).or_default() += 1;
            let (command, word) = (command.to_owned(), word.to_owned());
            self.answer(&command, &word)?;
            line.clear();
        }
        Ok(())
    }

    fn answer(&mut self, command: &str, word: &str) -> std::io::Result<()> {
        let path = word.trim_start_matches('/');
        let file =
            self.shared.files.lock().unwrap().get(path).map(|(bytes, version)| (bytes.len(), *version));
        match (command, file) {
            ("USER", _) => self.say("331 and the password?"),
            ("PASS", _) => self.say("230 come in"),
            ("TYPE" | "NOOP", _) => self.say("200 well"),
            ("CWD", None) if path.is_empty() => self.say("250 there"),
            ("PASV", _) => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let port = listener.local_addr()?.port();
                self.data = Some(listener);
                self.say(&format!("227 come here (127,0,0,1,{},{})", port >> 8, port & 255))
            }
            ("REST", _) => {
                self.rest = word.parse().unwrap_or(0);
                self.say("350 from there")
            }
            ("SIZE", Some((size, _))) => self.say(&format!("213 {size}")),
            ("MDTM", Some((_, version))) => self.say(&format!(
                "213 20200101{:02}{:02}{:02}",
                version / 3600,
                version / 60 % 60,
                version % 60
            )),
            ("RETR", Some(_)) => {
                self.shared.sending.fetch_add(1, Ordering::SeqCst);
                let sent = self.send(path);
                self.shared.sending.fetch_sub(1, Ordering::SeqCst);
                match sent? {
                    true => self.say("226 that is all"),
                    false if self.shared.talks.load(Ordering::SeqCst) => self.say("426 broken\r\n226 ended"),
                    false => self.say("426 broken"),
                }
            }
            ("LIST", _) => {
                let files = self.shared.files.lock().unwrap();
                let lines: String = (files.iter())
                    .map(|(name, (bytes, _))| {
                        format!("-rw-r--r--    1 me       us       {:8} Jan 01  2020 {name}\r\n", bytes.len())
                    })
                    .collect();
                drop(files);
                self.open()?.write_all(lines.as_bytes())?;
                self.say("226 that is all")
            }
            ("STOR", _) => {
                let (mut data, mut bytes) = (self.open()?, Vec::new());
                data.read_to_end(&mut bytes)?;
                self.shared.files.lock().unwrap().insert(path.to_owned(), (bytes, 0));
                self.say("226 got it")
            }
            ("DELE", Some(_)) => {
                self.shared.files.lock().unwrap().remove(path);
                self.say("250 gone")
            }
            ("RNFR", Some(_)) => {
                self.from = path.to_owned();
                self.say("350 and to?")
            }
            ("RNTO", taken) => {
                let (keeps_names, keeps_all) = (&self.shared.keeps_names, &self.shared.keeps_all);
                let is_kept = keeps_names.load(Ordering::SeqCst) && taken.is_some();
                if keeps_all.load(Ordering::SeqCst) || is_kept {
                    return self.say("553 no");
                }
                let mut files = self.shared.files.lock().unwrap();
                let moved = files.remove(&self.from);
                files.extend(moved.map(|file| (path.to_owned(), file)));
                drop(files);
                self.say("250 moved")
            }
            ("SIZE" | "MDTM" | "RETR" | "DELE" | "RNFR" | "CWD", _) => self.say("550 no such thing"),
            _ => self.say("500 what?"),
        }
    }

    fn open(&mut self) -> std::io::Result<TcpStream> {
        let listener = self.data.take().ok_or(std::io::ErrorKind::NotConnected)?;
        let (data, _) = listener.accept()?;
        self.say("150 here it is")?;
        Ok(data)
    }

    /// Sends a file from the place that was told last. False if nobody takes it.
    fn send(&mut self, path: &str) -> std::io::Result<bool> {
        let mut data = self.open()?;
        let mut at = std::mem::take(&mut self.rest);
        let mut sent = 0;
        let breaks_at = self.shared.breaks.lock().unwrap().pop();
        loop {
            let pause = *self.shared.pause.lock().unwrap();
            thread::sleep(pause);
            while self.shared.stuck_after.lock().unwrap().is_some_and(|bytes| sent >= bytes) {
                if self.shared.stopped.load(Ordering::SeqCst) {
                    return Err(std::io::ErrorKind::ConnectionReset.into());
                }
                thread::sleep(Duration::from_millis(2));
            }
            if breaks_at.is_some_and(|bytes| sent >= bytes) {
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            let piece = match self.shared.files.lock().unwrap().get(path) {
                Some((bytes, _)) => bytes[at.min(bytes.len())..(at + PIECE_BYTES).min(bytes.len())].to_vec(),
                None => Vec::new(),
            };
            if piece.is_empty() {
                return Ok(true);
            }
            if data.write_all(&piece).is_err() {
                return Ok(false);
            }
            at += piece.len();
            sent += piece.len();
        }
    }
}
