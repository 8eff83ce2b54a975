//! The index pages of a web server as a directory: each link right below a page is a name.
//!
//! `web 127.0.0.1:8000 DIR` shows what `python3 -m http.server` serves. Plain code that blocks, with paths.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use wharf::blocking::{Pool, PoolLimits};
use wharf::path::{At, FileSystem, Names};
use wharf::{Attributes, Capabilities, Context, Error, Kind, Opened, Result, op};
use wharf_fuse::{Mount, mount::Options};

fn odd() -> Error {
    Error::io("reading an answer that is none")
}

/// `HOST:PORT`.
struct Web(String);
/// An answer: its status, the length it tells, its body.
struct Page(u16, Option<u64>, Vec<u8>);

impl Web {
    /// Asks for what is at a path. The connection ends with the answer.
    fn ask(&self, method: &str, path: &str) -> Result<Page> {
        let mut stream = TcpStream::connect(&self.0)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "{method} /{path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.0)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(odd)?;
        let body = answer.split_off(end + 4);
        let head = String::from_utf8_lossy(&answer).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        Ok(Page(status.ok_or_else(odd)?, length, body))
    }
}

/// The path of a request: names are as links write them, with percent signs.
fn link<'a>(at: &'a At<'_, Web>) -> Result<&'a str> {
    let path = at.path()?.to_str().filter(|path| path.bytes().all(|byte| byte.is_ascii_graphic()));
    path.ok_or_else(Error::not_found)
}

impl FileSystem for Web {
    type Data = ();
    type File = Vec<u8>; // What is in it.

    fn capabilities(&self) -> Capabilities {
        Capabilities::empty()
    }
    fn getattr(&self, _: &Context, at: &At<'_, Self>) -> Result<Attributes> {
        let path = link(at)?;
        match self.ask("HEAD", path)? {
            Page(200, ..) if path.is_empty() => Ok(Attributes::directory(0)),
            // Servers lead from a directory's name to the same with a slash.
            Page(301 | 302, ..) => Ok(Attributes::directory(0)),
            Page(200, length, _) => Ok(Attributes::file(0, length.ok_or_else(Error::not_supported)?)),
            _ => Err(Error::not_found()),
        }
    }
    fn list(&self, _: &Context, at: &At<'_, Self>, names: &mut Names) -> Result<()> {
        let path = link(at)?;
        let Page(_, _, page) =
            self.ask("GET", &if path.is_empty() { String::new() } else { format!("{path}/") })?;
        for link in String::from_utf8_lossy(&page).split("href=\"").skip(1) {
            let link = link.split('"').next().unwrap_or_default();
            let (name, kind) =
                link.strip_suffix('/').map_or((link, Kind::File), |name| (name, Kind::Directory));
            if !name.is_empty() && !name.contains(['/', '?', ':']) {
                names.add(name, kind)?;
            }
        }
        Ok(())
    }
    fn open(&self, _: &Context, at: &At<'_, Self>, _: op::Open) -> Result<Opened<Vec<u8>>> {
        let path = link(at)?;
        let Page(200, _, body) = self.ask("GET", path)? else { return Err(Error::not_found()) };
        Ok(Opened::new(body))
    }
    fn read(
        &self,
        _: &Context,
        _: &At<'_, Self>,
        file: &Vec<u8>,
        op: op::Read,
        into: &mut [u8],
    ) -> Result<usize> {
        Ok(file.get(op.offset as usize..).unwrap_or_default().read(into)?)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let usage = "say what and where: web HOST:PORT DIRECTORY";
    let (server, point) = (std::env::args().nth(1).ok_or(usage)?, std::env::args_os().nth(2).ok_or(usage)?);
    let web = wharf::path::serve(Web(server), Pool::new(PoolLimits::default()));
    Mount::new(web, Options::new("web", "web:")?).at(point)?.wait();
    Ok(())
}
