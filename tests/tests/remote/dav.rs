//! What makes a WebDAV server of the web server: properties, uploads, and names that come, go and move.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};

use crate::server::{Fault, File, Request};

/// Files and directories, by paths without slashes at their ends.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, File>,
    pub(crate) directories: BTreeSet<String>,
    /// All versions of a file look alike: there is one date for all, and no tag.
    pub(crate) timeless: bool,
}

impl Tree {
    pub(crate) fn put(&mut self, path: &str, bytes: Vec<u8>) {
        let version = self.files.get(path).map_or(1, |file| file.version + 1);
        self.files.insert(path.to_owned(), File { bytes: bytes.into(), version });
    }

    pub(crate) fn is_directory(&self, path: &str) -> bool {
        let below = format!("{path}/");
        path.is_empty()
            || self.directories.contains(path)
            || self.files.keys().any(|file| file.starts_with(&below))
    }

    /// The names right below a directory, with whether they are directories.
    fn names(&self, directory: &str) -> BTreeMap<String, bool> {
        let below = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let mut names = BTreeMap::new();
        for path in self.files.keys().chain(&self.directories) {
            if let Some(rest) = path.strip_prefix(&below).filter(|rest| !rest.is_empty()) {
                let name = rest.split('/').next().expect("a name");
                names.insert(name.to_owned(), self.is_directory(&format!("{below}{name}")));
            }
        }
        names
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.files.retain(|file, _| file != path && !file.starts_with(&below));
        self.directories.retain(|directory| directory != path && !directory.starts_with(&below));
    }

    fn moved(&mut self, from: &str, to: &str, keep: bool) {
        let to_path = |path: &str| {
            let rest = path.strip_prefix(from)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
        };
        let files: Vec<_> =
            self.files.iter().filter_map(|(path, file)| Some((to_path(path)?, file.clone()))).collect();
        let directories: Vec<_> = self.directories.iter().filter_map(|path| to_path(path)).collect();
        if !keep {
            self.remove(from);
        }
        self.remove(to);
        self.files.extend(files);
        self.directories.extend(directories);
    }

    /// The answer to a question for properties.
    fn properties(&self, path: &str, deep: bool) -> Option<String> {
        if !self.is_directory(path) && !self.files.contains_key(path) {
            return None;
        }
        let mut text = String::from("<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\">");
        self.describe(path, &mut text);
        if deep && self.is_directory(path) {
            let below = if path.is_empty() { String::new() } else { format!("{path}/") };
            self.names(path).keys().for_each(|name| self.describe(&format!("{below}{name}"), &mut text));
        }
        Some(text + "</D:multistatus>")
    }

    fn describe(&self, path: &str, text: &mut String) {
        let shown = path.replace(' ', "%20");
        let (href, properties) = match self.files.get(path) {
            Some(file) => {
                let (len, version) = (file.bytes.len(), file.version);
                let tag = match self.timeless {
                    true => String::new(),
                    false => format!("<D:getetag>\"{version}\"</D:getetag>"),
                };
                (
                    format!("/{shown}"),
                    format!("<D:getcontentlength>{len}</D:getcontentlength>{tag}<D:resourcetype/>"),
                )
            }
            None if path.is_empty() => {
                ("/".into(), "<D:resourcetype><D:collection/></D:resourcetype>".into())
            }
            None => (format!("/{shown}/"), "<D:resourcetype><D:collection/></D:resourcetype>".into()),
        };
        let date = "<D:getlastmodified>Mon, 01 Jan 2024 00:00:00 GMT</D:getlastmodified>";
        let _ = write!(
            text,
            "<D:response><D:href>{href}</D:href><D:propstat><D:prop>{date}{properties}</D:prop>\
             <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        );
    }
}

/// Answers a request of WebDAV; `None` for others. The tree is locked only when the whole body is there.
pub(crate) fn answer(
    tree: &std::sync::Mutex<Tree>,
    request: &Request,
    body: &mut impl BufRead,
    fault: Option<Fault>,
    out: &mut impl Write,
) -> Option<io::Result<()>> {
    let path = request.path.trim_matches('/');
    let status = match request.method.as_str() {
        "PROPFIND" => {
            let mut ignored = Vec::new();
            if let Err(error) = read_body(request, body, None, &mut ignored) {
                return Some(Err(error));
            }
            let deep = request.headers.get("depth").is_none_or(|depth| depth != "0");
            match tree.lock().unwrap().properties(path, deep) {
                Some(text) => {
                    let head = "HTTP/1.1 207 Multi-Status\r\nContent-Type: application/xml";
                    return Some(write!(out, "{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
                }
                None => "404 Not Found",
            }
        }
        "PUT" => {
            let mut bytes = Vec::new();
            if let Err(error) = read_body(request, body, fault, &mut bytes) {
                return Some(Err(error));
            }
            if fault == Some(Fault::Unavailable) {
                "503 Service Unavailable"
            } else {
                tree.lock().unwrap().put(path, bytes);
                "201 Created"
            }
        }
        "MKCOL" if tree.lock().unwrap().is_directory(path) => "405 Method Not Allowed",
        "MKCOL" => {
            tree.lock().unwrap().directories.insert(path.to_owned());
            "201 Created"
        }
        "DELETE" => {
            tree.lock().unwrap().remove(path);
            "204 No Content"
        }
        "MOVE" | "COPY" => {
            let target = request.headers.get("destination").and_then(|url| url.splitn(4, '/').nth(3));
            let target = target.unwrap_or_default().trim_matches('/').replace("%20", " ");
            tree.lock().unwrap().moved(path, &target, request.method == "COPY");
            "201 Created"
        }
        _ => return None,
    };
    Some(write!(out, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
}

/// Reads the body of a request, or half of it.
fn read_body(
    request: &Request,
    body: &mut impl BufRead,
    fault: Option<Fault>,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    let len: u64 = request.headers.get("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
    let wanted = if fault == Some(Fault::Half) { len / 2 } else { len };
    let read = body.take(wanted).read_to_end(into)? as u64;
    if read == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
