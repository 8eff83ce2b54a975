//! FTP: a few logged-in connections, each used for one thing at a time and then again.
//!
//! OpenDAL's own FTP cannot use a connection again once it has read from it, and asks for whole directories to tell of one
//! file; with the distance of a network that is most of the time. So this part is ours, on the same library.

use std::ops::Range;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use opendal::ErrorKind;
use suppaftp::list::{File, ListParser};
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::tokio_rustls::TlsConnector;
use suppaftp::types::FileType;
use suppaftp::{FtpError, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wharf::{Error, Kind, Time};

use super::Result;
use super::failure::Failure;
use super::meta::{Found, Meta, Version};
use super::outgoing::Outgoing;
use super::paths::{apart, inside};

/// Bytes that are read or sent at once.
const PIECE_BYTES: usize = 128 << 10;

/// An FTP server.
pub(super) struct Ftp {
    /// Host and port.
    pub(super) address: String,
    /// The host alone, for its certificate; `None`: no TLS.
    pub(super) secure: Option<(String, Arc<rustls::ClientConfig>)>,
    pub(super) user: String,
    pub(super) password: String,
    /// Begins and ends with a slash.
    pub(super) root: String,
    /// Connections that nobody uses just now.
    pub(super) idle: Mutex<Vec<AsyncRustlsFtpStream>>,
    /// The server has no listings for machines.
    pub(super) lists_for_people: AtomicBool,
    pub(super) uploads: AtomicU64,
}

impl Ftp {
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// Sees that the server lets us in and has the directory.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        const DOING: &str = "connecting";
        let mut connection = self.take(DOING).await?;
        let changed = connection.cwd(&self.root).await;
        self.done(connection, changed, DOING)
    }

    async fn take(&self, doing: &'static str) -> Result<AsyncRustlsFtpStream, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => self.connect().await.map_err(|error| failed(doing, error)),
        }
    }

    async fn connect(&self) -> Result<AsyncRustlsFtpStream, FtpError> {
        let mut connection = AsyncRustlsFtpStream::connect(&self.address).await?;
        let _ = connection.get_ref().set_nodelay(true);
        if let Some((host, config)) = &self.secure {
            let connector = AsyncRustlsConnector::from(TlsConnector::from(config.clone()));
            connection = connection.into_secure(connector, host).await?;
        }
        connection.login(&self.user, &self.password).await?;
        connection.transfer_type(FileType::Binary).await?;
        // Servers behind a translation of addresses tell the address that they have themselves.
        connection.set_passive_nat_workaround(true);
        Ok(connection)
    }

    /// Ends one use of a connection. After a refusal it is as good as before; after anything else it is not used again.
    fn done<T>(
        &self,
        connection: AsyncRustlsFtpStream,
        outcome: Result<T, FtpError>,
        doing: &'static str,
    ) -> Result<T, Failure> {
        let refused = |error: &FtpError| is_unknown(error) || is_refused(error);
        if outcome.as_ref().is_ok() || outcome.as_ref().is_err_and(refused) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        outcome.map_err(|error| failed(doing, error))
    }

    pub(super) async fn stat(&self, path: &str) -> Result<Meta, Failure> {
        const DOING: &str = "asking for a file";
        let path = self.path(path);
        let mut connection = self.take(DOING).await?;
        if !self.lists_for_people.load(Ordering::Relaxed) {
            match connection.mlst(Some(&path)).await {
                Err(error) if is_unknown(&error) => self.lists_for_people.store(true, Ordering::Relaxed),
                line => {
                    let line = self.done(connection, line, DOING)?;
                    let told = ListParser::parse_mlst(&line).ok().and_then(|file| found(&file)?.meta);
                    return told.ok_or_else(|| Failure::of(Error::not_found()));
                }
            }
        }
        let told = async {
            match connection.size(&path).await {
                Ok(size) => {
                    let modified = connection.mdtm(&path).await.ok();
                    let modified =
                        modified.map(|time| Time { seconds: time.and_utc().timestamp(), nanoseconds: 0 });
                    let version = Version { size: size as u64, modified, etag: None };
                    Ok(Meta { kind: Kind::File, version })
                }
                Err(error) if is_refused(&error) => connection.cwd(&path).await.map(|()| Meta::directory()),
                Err(error) => Err(error),
            }
        };
        let told = told.await;
        self.done(connection, told, DOING)
    }

    pub(super) async fn list(&self, path: &str) -> Result<Vec<Found>, Failure> {
        const DOING: &str = "listing a directory";
        let path = self.path(path);
        if !self.lists_for_people.load(Ordering::Relaxed) {
            let mut connection = self.take(DOING).await?;
            match connection.mlsd(Some(&path)).await {
                Err(error) if is_unknown(&error) => self.lists_for_people.store(true, Ordering::Relaxed),
                lines => {
                    let lines = self.done(connection, lines, DOING)?;
                    return Ok(lines
                        .iter()
                        .filter_map(|line| found(&ListParser::parse_mlsd(line).ok()?))
                        .collect());
                }
            }
        }
        let mut connection = self.take(DOING).await?;
        let lines = connection.list(Some(&path)).await;
        let lines = self.done(connection, lines, DOING)?;
        let mut all: Vec<_> = lines.iter().filter_map(|line| found(&File::from_str(line).ok()?)).collect();
        // These times are the server's own, without its zone, and to the minute: nothing to tell versions by.
        all.iter_mut().filter_map(|found| found.meta.as_mut()).for_each(|meta| meta.version.modified = None);
        Ok(all)
    }

    /// Reads a range and gives it to `take` piece by piece; fewer bytes are a failure.
    pub(super) async fn read(
        &self,
        path: &str,
        range: Range<u64>,
        size: u64,
        take: &mut (dyn FnMut(Bytes) + Send),
    ) -> Result<(), Failure> {
        const DOING: &str = "reading a file";
        let mut connection = self.take(DOING).await?;
        let path = self.path(path);
        let read = async {
            if range.start > 0 {
                connection.resume_transfer(range.start as usize).await?;
            }
            let mut stream = connection.retr_as_stream(&path).await?;
            let mut left = range.end - range.start;
            while left > 0 {
                let mut piece = BytesMut::with_capacity(PIECE_BYTES.min(left as usize));
                let mut part = (&mut stream).take(left);
                match part.read_buf(&mut piece).await.map_err(FtpError::ConnectionError)? {
                    0 => return Err(FtpError::ConnectionError(std::io::ErrorKind::UnexpectedEof.into())),
                    len => left -= len as u64,
                }
                take(piece.freeze());
            }
            match range.end < size {
                // What the server says of our hanging up, and how often, nobody waits for.
                true => Ok(false),
                false => connection.finalize_retr_stream(stream).await.map(|()| true),
            }
        };
        match read.await {
            Ok(false) => Ok(()),
            other => self.done(connection, other, DOING).map(drop),
        }
    }

    pub(super) async fn make_directory(&self, path: &str) -> Result<(), Failure> {
        self.simple("making a directory", path, async |connection, path| connection.mkdir(path).await).await
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), Failure> {
        self.simple("removing a file", path, async |connection, path| connection.rm(path).await).await
    }

    pub(super) async fn remove_directory(&self, path: &str) -> Result<(), Failure> {
        self.simple("removing a directory", path, async |connection, path| connection.rmdir(path).await).await
    }

    async fn simple(
        &self,
        doing: &'static str,
        path: &str,
        work: impl AsyncFnOnce(&mut AsyncRustlsFtpStream, &str) -> Result<(), FtpError>,
    ) -> Result<(), Failure> {
        let mut connection = self.take(doing).await?;
        let outcome = work(&mut connection, &self.path(path)).await;
        self.done(connection, outcome, doing)
    }

    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        const DOING: &str = "renaming";
        let mut connection = self.take(DOING).await?;
        let outcome = connection.rename(self.path(from), self.path(to)).await;
        self.done(connection, outcome, DOING)
    }

    /// Uploads a file beside its place, and moves it there when the server has all of it.
    pub(super) async fn upload(&self, path: &str, file: &Outgoing) -> Result<(), Failure> {
        const DOING: &str = "uploading a file";
        let (directory, name) = apart(path);
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let draft = inside(directory, &format!(".{name}.upload-{}-{number}", std::process::id()));
        let (path, draft) = (self.path(path), self.path(&draft));
        let mut connection = self.take(DOING).await?;
        let sent: Result<(), Sent> = async {
            let mut stream = connection.put_with_stream(&draft).await?;
            let mut at = 0;
            while at < file.size {
                let len = (PIECE_BYTES as u64).min(file.size - at);
                let bytes = file.piece(at, len).await.map_err(Sent::Local)?;
                stream.write_all(&bytes).await.map_err(FtpError::ConnectionError)?;
                at += bytes.len() as u64;
            }
            connection.finalize_put_stream(stream).await?;
            if connection.rename(&draft, &path).await.is_err() {
                // Some servers do not replace.
                let _ = connection.rm(&path).await;
                connection.rename(&draft, &path).await?;
            }
            Ok(())
        }
        .await;
        match sent {
            Ok(()) => self.done(connection, Ok(()), DOING),
            Err(Sent::There(error)) => self.done(connection, Err(error), DOING),
            Err(Sent::Local(failure)) => Err(failure),
        }
    }
}

/// Why an upload failed.
enum Sent {
    Local(Failure),
    There(FtpError),
}

impl From<FtpError> for Sent {
    fn from(error: FtpError) -> Sent {
        Sent::There(error)
    }
}

/// The server does not know the command.
fn is_unknown(error: &FtpError) -> bool {
    let unknown = [Status::BadCommand, Status::CommandNotImplemented];
    matches!(error, FtpError::UnexpectedResponse(told) if unknown.contains(&told.status))
}

/// The server does not have it, or does not give it.
fn is_refused(error: &FtpError) -> bool {
    matches!(error, FtpError::UnexpectedResponse(told) if told.status == Status::FileUnavailable)
}

fn found(file: &File) -> Option<Found> {
    let modified = file.modified();
    let modified = (modified != SystemTime::UNIX_EPOCH).then(|| Time::from(modified));
    let meta = if file.is_directory() {
        Meta { kind: Kind::Directory, version: Version { modified, ..Version::default() } }
    } else if file.is_file() {
        Meta { kind: Kind::File, version: Version { size: file.size() as u64, modified, etag: None } }
    } else {
        return None;
    };
    Some(Found { name: file.name().to_owned(), kind: meta.kind, meta: Some(meta) })
}

fn failed(doing: &'static str, error: FtpError) -> Failure {
    let (kind, again) = match &error {
        FtpError::ConnectionError(_) | FtpError::BadResponse | FtpError::DataConnectionAlreadyOpen => {
            (ErrorKind::Unexpected, true)
        }
        FtpError::UnexpectedResponse(told) => match told.status {
            Status::FileUnavailable => (ErrorKind::NotFound, false),
            Status::NotLoggedIn => (ErrorKind::PermissionDenied, false),
            Status::CommandNotImplemented | Status::BadCommand => (ErrorKind::Unsupported, false),
            // What passes: too many connections, busy, broken off.
            other => (ErrorKind::Unexpected, (400..500).contains(&other.code())),
        },
        _ => (ErrorKind::Unexpected, false),
    };
    let told = opendal::Error::new(kind, "the server refused or failed").set_source(error);
    Failure::new(doing, told.with_temporary(again))
}
