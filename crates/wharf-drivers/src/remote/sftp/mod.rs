//! SFTP: a few connections that `ssh` makes, each with many requests under way.
//!
//! The protocol is spoken by ourselves, because its libraries are not made for servers that misbehave, and OpenDAL's
//! service is built on one of them (docs/notes/0016). Links are followed where they lead to files; a link to a
//! directory is not there, or else who removes a tree would leave it.

mod pool;
mod session;
mod ssh;
mod transfer;
mod wire;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use wharf::error::Kind as Why;
use wharf::{Error, Kind, Time};

use super::Result;
use super::failure::{Failure, chance};
use super::meta::{Found, Meta, Version};
use super::paths::inside;
use pool::Pool;
use session::{Session, unlike};
use wire::{Attributes, Reply, Request, Status};

pub(super) use ssh::Target;

/// Parts of a listing that are asked for at once: few at first, for most directories are short.
const PARTS_FIRST: usize = 4;
const PARTS_MAX: usize = 64;

/// An SFTP server.
pub(super) struct Sftp {
    pool: Arc<Pool>,
    /// Ends in a slash, or is empty for the user's home.
    root: String,
    /// What the names of files begin with that are being uploaded. They are not listed.
    drafts: String,
    uploads: AtomicU64,
    /// What uploads that failed may have left there.
    drafts_left: Mutex<Vec<String>>,
}

impl Sftp {
    /// Says nothing to the server yet. `root` begins and ends with a slash.
    pub(super) fn new(target: Target, root: &str, deadline: Duration) -> Sftp {
        let root = root.strip_prefix("/~/").unwrap_or(root).to_owned();
        Sftp {
            pool: Pool::new(target, deadline),
            root,
            drafts: format!(".upload-{:016x}-", chance()),
            uploads: AtomicU64::new(0),
            drafts_left: Mutex::default(),
        }
    }

    fn path(&self, path: &str) -> String {
        let path = format!("{}{path}", self.root);
        match path.len() {
            0 => ".".to_owned(),
            1 => path,
            _ => path.trim_end_matches('/').to_owned(),
        }
    }

    /// Sees that the server lets us in and has the directory.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        const DOING: &str = "connecting";
        let session = self.pool.session().await?;
        let told = session.ask(DOING, Request::Stat { path: &self.path("") }).attributes().await?;
        match kind(&told) {
            Some(Kind::Directory) => Ok(()),
            _ => Err(Failure::of(Error::new(Why::NotADirectory).doing(DOING))),
        }
    }

    pub(super) async fn stat(&self, path: &str) -> Result<Meta, Failure> {
        const DOING: &str = "asking for a file";
        let session = self.pool.session().await?;
        let asked = self.path(path);
        let told = match path {
            // The root may be a link.
            "" => session.ask(DOING, Request::Stat { path: &asked }).attributes().await?,
            _ => session.ask(DOING, Request::NameStat { path: &asked }).attributes().await?,
        };
        let meta = match kind(&told) {
            Some(Kind::Symlink) => target_of(&session, DOING, &asked).await?,
            _ => meta(&told),
        };
        meta.ok_or_else(|| Failure::of(Error::not_found()))
    }

    pub(super) async fn list(&self, path: &str) -> Result<Vec<Found>, Failure> {
        const DOING: &str = "listing a directory";
        let session = self.pool.session().await?;
        let directory = session.open_directory(DOING, &self.path(path)).await?;
        let (mut found, mut links) = (Vec::new(), Vec::new());
        let (mut parts, mut ended) = (PARTS_FIRST, false);
        while !ended {
            let asked = (0..parts)
                .map(|_| session.ask(DOING, Request::ReadDirectory { handle: &directory.handle }).reply());
            for reply in join_all(asked).await {
                match reply? {
                    Reply::Names(names) => {
                        for (name, told) in names {
                            let Ok(name) = String::from_utf8(name.into()) else { continue };
                            if name.starts_with(&self.drafts) {
                                continue;
                            }
                            match kind(&told) {
                                Some(Kind::Symlink) => links.push(name),
                                _ => found.extend(named(name, meta(&told))),
                            }
                        }
                    }
                    Reply::Status(status) if status.code == Status::END => ended = true,
                    other => return Err(unlike(DOING, other)),
                }
            }
            parts = (parts * 4).min(PARTS_MAX);
        }
        drop(directory);
        for links in links.chunks(PARTS_MAX) {
            let targets = links.iter().map(|name| {
                let path = self.path(&inside(path, name));
                let session = &session;
                async move { target_of(session, DOING, &path).await }
            });
            for (name, target) in links.iter().zip(join_all(targets).await) {
                match target {
                    Ok(meta) => found.extend(named(name.clone(), meta)),
                    // It leads nowhere, or not for us.
                    Err(failure) if !failure.again => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn make_directory(&self, path: &str) -> Result<(), Failure> {
        const DOING: &str = "making a directory";
        let session = self.pool.session().await?;
        let path = self.path(path);
        let reply = session.ask(DOING, Request::MakeDirectory { path: &path }).reply().await?;
        let failed = match reply {
            Reply::Status(Status { code: Status::OK, .. }) => return Ok(()),
            other => unlike(DOING, other),
        };
        // An earlier attempt may have made it: servers have no number for that.
        let there = session.ask(DOING, Request::Stat { path: &path }).attributes().await;
        if there.is_ok_and(|told| kind(&told) == Some(Kind::Directory)) { Ok(()) } else { Err(failed) }
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), Failure> {
        let session = self.pool.session().await?;
        session.ask("removing a file", Request::Remove { path: &self.path(path) }).done().await
    }

    /// Removes a directory that is empty: the server sees to that.
    pub(super) async fn remove_directory(&self, path: &str) -> Result<(), Failure> {
        const DOING: &str = "removing a directory";
        let session = self.pool.session().await?;
        // What nobody sees must not keep it from being empty.
        self.clear(&session);
        match session.ask(DOING, Request::RemoveDirectory { path: &self.path(path) }).reply().await? {
            Reply::Status(Status { code: Status::OK, .. }) => Ok(()),
            // There is no number for it, and hardly another reason.
            Reply::Status(Status { code: Status::FAILURE, .. }) => {
                Err(Failure::of(Error::new(Why::NotEmpty).doing(DOING)))
            }
            other => Err(unlike(DOING, other)),
        }
    }

    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        let session = self.pool.session().await?;
        move_to(&session, "renaming", &self.path(from), &self.path(to)).await
    }
}

/// Moves a name and replaces another; in one step where the server can.
async fn move_to(session: &Session, doing: &'static str, from: &str, to: &str) -> Result<(), Failure> {
    if session.replaces {
        return session.ask(doing, Request::Replace { from, to }).done().await;
    }
    let failed = match session.ask(doing, Request::Rename { from, to }).reply().await? {
        Reply::Status(Status { code: Status::OK, .. }) => return Ok(()),
        other => unlike(doing, other),
    };
    // Nothing is taken away for what is not there itself, or could not take its place.
    for path in [from, to] {
        let there = session.ask(doing, Request::NameStat { path }).attributes().await;
        if !there.is_ok_and(|told| kind(&told) != Some(Kind::Directory)) {
            return Err(failed);
        }
    }
    session.ask(doing, Request::Remove { path: to }).done().await?;
    session.ask(doing, Request::Rename { from, to }).done().await
}

/// What a link leads to, unless that is a directory.
async fn target_of(session: &Session, doing: &'static str, path: &str) -> Result<Option<Meta>, Failure> {
    let told = session.ask(doing, Request::Stat { path }).attributes().await?;
    Ok(meta(&told).filter(|meta| meta.kind == Kind::File))
}

fn kind(told: &Attributes) -> Option<Kind> {
    match told.mode? & 0o170_000 {
        0o040_000 => Some(Kind::Directory),
        0o100_000 => Some(Kind::File),
        0o120_000 => Some(Kind::Symlink),
        _ => None,
    }
}

/// `None` for what is neither file nor directory.
fn meta(told: &Attributes) -> Option<Meta> {
    let modified = told.modified.map(|seconds| Time { seconds: seconds.into(), nanoseconds: 0 });
    match kind(told)? {
        Kind::Directory => {
            Some(Meta { kind: Kind::Directory, version: Version { modified, ..Version::default() } })
        }
        Kind::File => {
            Some(Meta { kind: Kind::File, version: Version { size: told.size?, modified, etag: None } })
        }
        _ => None,
    }
}

fn named(name: String, meta: Option<Meta>) -> Option<Found> {
    let meta = meta.filter(|_| !matches!(&*name, "." | ".."))?;
    Some(Found { name, kind: meta.kind, meta: Some(meta) })
}
