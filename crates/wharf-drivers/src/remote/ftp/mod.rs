//! FTP: a few logged-in connections, each used for one thing at a time and then again.
//!
//! OpenDAL's own FTP cannot use a connection again once it has read from it, and asks for whole directories to tell of one
//! file; with the distance of a network that is most of the time. So this part is ours, on the same library.

mod pool;
mod transfer;

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use opendal::ErrorKind;
use suppaftp::list::{File, ListParser};
use suppaftp::{FtpError, Status};
use tokio::io::AsyncWriteExt;
use wharf::error::Kind as Why;
use wharf::{Error, Kind, Time};

use super::Result;
use super::failure::Failure;
use super::meta::{Found, Meta, Version};
use super::outgoing::Outgoing;

use pool::{Connection, Pool, is_usable};

pub(super) use pool::Login;
pub(super) use transfer::Transfer;

/// Bytes that are sent at once.
const PIECE_BYTES: u64 = 128 << 10;

/// An FTP server.
pub(super) struct Ftp {
    pool: Arc<Pool>,
    /// Begins and ends with a slash.
    root: String,
    /// The server has no listings for machines.
    lists_for_people: AtomicBool,
    /// For names that nobody else uses.
    drafts: AtomicU64,
}

impl Ftp {
    /// Connects to nobody yet.
    pub(super) fn new(login: Login, root: String, connections_max: u32) -> Ftp {
        let pool = Pool::new(login, connections_max);
        Ftp { pool, root, lists_for_people: AtomicBool::new(false), drafts: AtomicU64::new(0) }
    }

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

    async fn take(&self, doing: &'static str) -> Result<Connection, Failure> {
        self.pool.take().await.map_err(|error| failed(doing, error))
    }

    /// Ends one use of a connection. After a refusal it is as good as before; after anything else it is not used again.
    fn done<T>(
        &self,
        connection: Connection,
        outcome: Result<T, FtpError>,
        doing: &'static str,
    ) -> Result<T, Failure> {
        if is_usable(&outcome) {
            self.pool.give_back(connection);
        } else if matches!(&outcome, Err(error @ FtpError::ConnectionError(_)) if !is_unspeakable(error)) {
            self.pool.distrust();
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

    /// Reads so many bytes of a file, from some place on, and gives them to `take` piece by piece. Fewer are a
    /// failure, and so are more, if these are to be the last.
    pub(super) async fn read(
        &self,
        path: &str,
        (from, len, is_last): (u64, u64, bool),
        take: &mut (dyn FnMut(Bytes) + Send),
    ) -> Result<(), Failure> {
        let mut transfer = self.begin(path, from).await?;
        let end = from + len;
        while transfer.at() < end {
            take(transfer.read(end - transfer.at()).await?);
        }
        if is_last {
            return transfer.finish().await;
        }
        transfer.hang_up();
        Ok(())
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
        work: impl AsyncFnOnce(&mut Connection, &str) -> Result<(), FtpError>,
    ) -> Result<(), Failure> {
        let mut connection = self.take(doing).await?;
        let outcome = work(&mut connection, &self.path(path)).await;
        self.done(connection, outcome, doing)
    }

    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        const DOING: &str = "renaming";
        let mut connection = self.take(DOING).await?;
        let (from, to) = (self.path(from), self.path(to));
        let outcome = self.put_in_place(&mut connection, &from, &to).await;
        let refused = outcome.as_ref().is_err_and(is_refused);
        let is_there =
            refused && (connection.size(&from).await.is_ok() || connection.cwd(&from).await.is_ok());
        match self.done(connection, outcome, DOING) {
            Err(failure) if is_there => {
                Err(Failure::of(Error::new(Why::PermissionDenied).doing(DOING).because(failure.error)))
            }
            outcome => outcome,
        }
    }

    /// Gives a file another path, in place of what is there. Some servers do not replace: for those the other is
    /// moved aside first, and back if that did not help. No refusal takes it away.
    async fn put_in_place(&self, connection: &mut Connection, from: &str, to: &str) -> Result<(), FtpError> {
        let refused = match connection.rename(from, to).await {
            Err(error) if is_refused(&error) => error,
            outcome => return outcome,
        };
        for path in [from, to] {
            match connection.size(path).await {
                Ok(_) => {}
                Err(error) if is_refused(&error) => return Err(refused),
                Err(error) => return Err(error),
            }
        }
        let aside = self.beside(to, "replaced");
        connection.rename(to, &aside).await?;
        let outcome = connection.rename(from, to).await;
        match &outcome {
            // It is replaced, whether or not what was there can be removed.
            Ok(()) => drop(connection.rm(&aside).await),
            Err(_) => connection.rename(&*aside, to).await?,
        }
        outcome
    }

    /// A name that nobody else uses, in the same directory.
    fn beside(&self, path: &str, what: &str) -> String {
        let (directory, name) = path.rsplit_once('/').unwrap_or_default();
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        format!("{directory}/.{name}.{what}-{}-{number}", std::process::id())
    }

    /// Uploads a file beside its place, and moves it there when the server has all of it.
    pub(super) async fn upload(&self, path: &str, file: &Outgoing) -> Result<(), Failure> {
        const DOING: &str = "uploading a file";
        let path = self.path(path);
        let draft = self.beside(&path, "upload");
        let mut connection = self.take(DOING).await?;
        let sent: Result<(), Sent> = async {
            let mut stream = connection.put_with_stream(&draft).await?;
            let mut at = 0;
            while at < file.size {
                let len = PIECE_BYTES.min(file.size - at);
                let bytes = file.piece(at, len).await.map_err(Sent::Local)?;
                stream.write_all(&bytes).await.map_err(FtpError::ConnectionError)?;
                at += bytes.len() as u64;
            }
            connection.finalize_put_stream(stream).await?;
            let placed = self.put_in_place(&mut connection, &draft, &path).await;
            if placed.as_ref().is_err_and(is_refused) {
                // The next attempt has its own.
                let _ = connection.rm(&draft).await;
            }
            placed?;
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

/// The server does not have it, does not give it, or does not take the name.
fn is_refused(error: &FtpError) -> bool {
    let refused = [Status::FileUnavailable, Status::BadFilename];
    matches!(error, FtpError::UnexpectedResponse(told) if refused.contains(&told.status))
}

/// No command has a line break in it: it was not sent.
fn is_unspeakable(error: &FtpError) -> bool {
    matches!(error, FtpError::ConnectionError(cause) if cause.kind() == std::io::ErrorKind::InvalidInput)
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
    if is_unspeakable(&error) {
        return Failure::of(Error::invalid().doing(doing).because(error));
    }
    let (kind, again) = match &error {
        FtpError::ConnectionError(_) | FtpError::BadResponse | FtpError::DataConnectionAlreadyOpen => {
            (ErrorKind::Unexpected, true)
        }
        FtpError::UnexpectedResponse(told) => match told.status {
            Status::FileUnavailable => (ErrorKind::NotFound, false),
            Status::NotLoggedIn | Status::BadFilename => (ErrorKind::PermissionDenied, false),
            Status::CommandNotImplemented | Status::BadCommand => (ErrorKind::Unsupported, false),
            // What passes: too many connections, busy, broken off.
            other => (ErrorKind::Unexpected, (400..500).contains(&other.code())),
        },
        _ => (ErrorKind::Unexpected, false),
    };
    let told = opendal::Error::new(kind, "the server refused or failed").set_source(error);
    Failure::new(doing, told.with_temporary(again))
}
