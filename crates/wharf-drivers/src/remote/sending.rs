//! The operations of a service that change something.
//!
//! Tried again is only what may be done twice: making a directory that may be there, removing what may be
//! gone, copying and uploading whole files. A rename is not.

use std::time::Instant;

use futures_util::TryStreamExt;
use wharf::Error;
use wharf::error::Kind;

use super::Result;
use super::engine::within;
use super::failure::{Failure, chance, pause};
use super::outgoing::Outgoing;
use super::paths::is_plain;
use super::store::{ATTEMPTS_MAX, Store};

/// Bytes that are read from the local copy and sent at once; the least part of an upload in parts.
const PART_BYTES: u64 = 8 << 20;
/// S3 takes ten thousand parts.
const PARTS_MAX: u64 = 9_000;
/// Parts that are sent side by side.
const PARTS_AT_ONCE: usize = 4;

impl Store {
    pub(super) async fn make_directory(&self, path: &str) -> Result<()> {
        const DOING: &str = "making a directory";
        let directory = format!("{path}/");
        let attempt = || async {
            match &self.own {
                Some(own) => own.make_directory(path).await,
                None => {
                    self.operator()?.create_dir(&directory).await.map_err(|error| Failure::new(DOING, error))
                }
            }
        };
        self.tried(DOING, attempt).await
    }

    pub(super) async fn remove(&self, path: &str) -> Result<()> {
        const DOING: &str = "removing a file";
        if let Some(own) = &self.own {
            return gone(self.tried(DOING, || own.remove(path)).await);
        }
        let attempt =
            || async { self.operator()?.delete(path).await.map_err(|error| Failure::new(DOING, error)) };
        self.tried(DOING, attempt).await
    }

    /// Removes an empty directory. Some services remove what is in it, too: look first.
    pub(super) async fn remove_directory(&self, path: &str) -> Result<()> {
        if let Some(own) = &self.own {
            return gone(self.tried("removing a directory", || own.remove_directory(path)).await);
        }
        self.remove(&format!("{path}/")).await
    }

    /// Whether a directory has nothing in it.
    pub(super) async fn is_empty(&self, path: &str) -> Result<bool> {
        const DOING: &str = "listing a directory";
        let directory = format!("{path}/");
        let attempt = || async {
            if let Some(own) = &self.own {
                return own.list(path).await.map(|found| !found.iter().any(|found| is_plain(&found.name)));
            }
            let failed = |error| Failure::new(DOING, error);
            let mut lister = self.operator()?.lister(&directory).await.map_err(failed)?;
            while let Some(entry) = lister.try_next().await.map_err(failed)? {
                if entry.path().trim_matches('/') != path {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        self.tried(DOING, attempt).await
    }

    /// Moves a file, or a directory where the service moves things by itself. Where it does not, a file is
    /// copied by the service and then removed.
    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<()> {
        const DOING: &str = "renaming";
        if self.can().rename {
            let once = async {
                let _connection = self.connections.acquire().await;
                let renamed = match &self.own {
                    Some(own) => own.rename(from, to).await,
                    None => self.renamed(from, to).await,
                };
                renamed.map_err(|failure| failure.error)
            };
            return within(self.deadline, DOING, once).await;
        }
        let copy = || async {
            self.operator()?.copy(from, to).await.map(drop).map_err(|error| Failure::new(DOING, error))
        };
        self.tried(DOING, copy).await?;
        self.remove(from).await
    }

    async fn renamed(&self, from: &str, to: &str) -> Result<(), Failure> {
        self.operator()?.rename(from, to).await.map_err(|error| Failure::new("renaming", error))
    }

    /// Uploads a file whole; the service shows it when it has all of it, as far as it can. Each step has the
    /// deadline; after a failure it begins anew.
    pub(super) async fn upload(&self, path: &str, file: &Outgoing) -> Result<()> {
        let begun = Instant::now();
        for number in 1.. {
            let connection = self.connections.acquire().await;
            let failure = match self.upload_once(path, file).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            drop(connection);
            let rest = pause(number, chance());
            if !failure.again || number == ATTEMPTS_MAX || begun.elapsed() + rest >= self.deadline {
                return Err(failure.error);
            }
            log::debug!("{}; uploading again in {rest:?}", failure.error);
            tokio::time::sleep(rest).await;
        }
        Err(Error::io("uploading a file"))
    }

    async fn upload_once(&self, path: &str, file: &Outgoing) -> Result<(), Failure> {
        const DOING: &str = "uploading a file";
        let size = file.size;
        let failed = |error| Failure::new(DOING, error);
        if let Some(own) = &self.own {
            return own.upload(path, file, self.deadline).await;
        }
        if let Some(web) = self.web.as_ref().filter(|_| !self.can().write_can_multi) {
            return web.put(path, file, self.deadline).await;
        }
        let part = PART_BYTES.max(size.div_ceil(PARTS_MAX));
        let mut writer = self
            .operator()?
            .writer_with(path)
            .concurrent(PARTS_AT_ONCE)
            .chunk(part as usize)
            .await
            .map_err(failed)?;
        let sent = async {
            let mut at = 0;
            while at < size || (size == 0 && at == 0) {
                let piece = file.piece(at, part.min(size - at)).await?;
                at += (piece.len() as u64).max(1);
                step(self, writer.write(piece)).await?;
            }
            step(self, writer.close()).await.map(drop)
        };
        let sent = sent.await;
        if sent.is_err() {
            // As well as it can: parts that were sent take space there.
            let _ = tokio::time::timeout(self.deadline / 4, writer.abort()).await;
        }
        sent
    }
}

/// What is gone already is as good as removed.
fn gone(removed: Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        removed => removed,
    }
}

/// One step of an upload, within the deadline.
async fn step<T>(store: &Store, work: impl Future<Output = opendal::Result<T>>) -> Result<T, Failure> {
    const DOING: &str = "uploading a file";
    let timed = within(store.deadline, DOING, async { Ok(work.await) }).await.map_err(Failure::of)?;
    timed.map_err(|error| Failure::new(DOING, error))
}
