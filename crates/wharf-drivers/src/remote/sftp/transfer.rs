//! Contents, in both directions: a range of pieces that are under way side by side.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use wharf::Error;
use wharf::error::Kind as Why;

use super::super::Result;
use super::super::failure::Failure;
use super::super::meta::Version;
use super::super::outgoing::Outgoing;
use super::super::paths::{apart, inside};
use super::session::{Answer, File, Session, unlike};
use super::wire::{Access, Attributes, PIECE_BYTES, Reply, Request, Status};
use super::{Sftp, meta, move_to};

const READING: &str = "reading a file";
const UPLOADING: &str = "uploading a file";

/// Pieces of an upload that are under way at once.
const WRITES_MAX: usize = 64;
/// Bytes of the local copy that are read at once.
const LOCAL_BYTES: u64 = 1 << 20;

impl Sftp {
    /// Reads a range of exactly these contents. Nothing is given to `take` before all of it is known to be of this
    /// version; more or fewer bytes are a failure.
    pub(in super::super) async fn read(
        &self,
        path: &str,
        range: Range<u64>,
        version: &Version,
        take: &mut (dyn FnMut(Bytes) + Send),
    ) -> Result<(), Failure> {
        let session = self.pool.session().await?;
        let file = session.open(READING, &self.path(path), Access::Read).await?;
        let before = file.attributes(READING);
        let pieces: Vec<_> =
            pieces(range).map(|piece| (file.read(piece.start, length(&piece)), piece)).collect();
        // Servers answer what concerns one file in the order in which it is asked.
        let mut after = file.attributes(READING);
        expect(before.attributes().await?, version)?;
        let mut held = Vec::with_capacity(pieces.len());
        for (answer, mut piece) in pieces {
            let mut answer = answer;
            loop {
                let bytes = match answer.reply().await? {
                    Reply::Data(bytes) => bytes,
                    Reply::Status(status) if status.code == Status::END => {
                        return Err(Failure::stale(READING));
                    }
                    other => return Err(unlike(READING, other)),
                };
                let (came, asked) = (bytes.len() as u64, piece.end - piece.start);
                if came == 0 || came > asked {
                    let why = "the server sent another number of bytes than was asked for";
                    return Err(Failure::of(Error::new(Why::Io).doing(READING).because(why)));
                }
                held.push(bytes);
                if came == asked {
                    break;
                }
                // It gives less at once; the rest is asked for, and the version once more behind it.
                piece.start += came;
                answer = file.read(piece.start, length(&piece));
                after = file.attributes(READING);
            }
        }
        expect(after.attributes().await?, version)?;
        held.into_iter().for_each(take);
        Ok(())
    }

    /// Uploads a file beside its place, and moves it there when the server has all of it.
    pub(in super::super) async fn upload(&self, path: &str, file: &Outgoing) -> Result<(), Failure> {
        let session = self.pool.session().await?;
        self.clear(&session);
        let (directory, _) = apart(path);
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let draft = self.path(&inside(directory, &format!("{}{number}", self.drafts)));
        let path = self.path(path);
        let replaced = session.ask(UPLOADING, Request::Stat { path: &path });
        let mut draft = Draft { sftp: self, session: session.clone(), path: draft, is_left: true };
        let to = session.open(UPLOADING, &draft.path, Access::New).await?;
        // A program stays one that can be run, and what is private stays so, before it has contents.
        if let Some(mode) = replaced.attributes().await.ok().and_then(|told| told.mode) {
            to.set_mode(UPLOADING, mode & 0o777).reply().await?;
        }
        let mut under_way: VecDeque<Answer> = VecDeque::with_capacity(WRITES_MAX);
        let mut at = 0;
        while at < file.size {
            let local = file.piece(at, LOCAL_BYTES.min(file.size - at)).await?;
            for bytes in local.chunks(PIECE_BYTES as usize) {
                if under_way.len() == WRITES_MAX
                    && let Some(oldest) = under_way.pop_front()
                {
                    oldest.done().await?;
                }
                under_way.push_back(to.write(at, bytes));
                at += bytes.len() as u64;
            }
        }
        for answer in under_way {
            answer.done().await?;
        }
        to.close(UPLOADING).await?;
        move_to(&session, UPLOADING, &draft.path, &path).await?;
        draft.is_left = false;
        Ok(())
    }

    /// Removes what earlier uploads left, as well as it can: their connection may have broken.
    pub(super) fn clear(&self, session: &Session) {
        for path in self.drafts_left.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            session.tell(Request::Remove { path: &path });
        }
    }
}

/// A file that is being uploaded. If nothing comes of it, it is removed, now, with the next upload or with its directory.
struct Draft<'a> {
    sftp: &'a Sftp,
    session: Arc<Session>,
    path: String,
    is_left: bool,
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if self.is_left {
            self.session.tell(Request::Remove { path: &self.path });
            let path = std::mem::take(&mut self.path);
            self.sftp.drafts_left.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        }
    }
}

impl File<'_> {
    fn attributes(&self, doing: &'static str) -> Answer {
        self.session.ask(doing, Request::FileStat { handle: &self.handle })
    }

    fn read(&self, at: u64, len: u32) -> Answer {
        self.session.ask(READING, Request::Read { handle: &self.handle, at, len })
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Answer {
        self.session.ask(UPLOADING, Request::Write { handle: &self.handle, at, bytes })
    }

    fn set_mode(&self, doing: &'static str, mode: u32) -> Answer {
        self.session.ask(doing, Request::SetMode { handle: &self.handle, mode })
    }
}

/// An open file has these contents, or is stale.
fn expect(told: Attributes, version: &Version) -> Result<(), Failure> {
    match meta(&told) {
        Some(now) if now.version.is_same(version) => Ok(()),
        _ => Err(Failure::stale(READING)),
    }
}

/// A range in pieces of which each is one request.
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let step = u64::from(PIECE_BYTES);
    let end = range.end;
    range.step_by(PIECE_BYTES as usize).map(move |start| start..(start + step).min(end))
}

fn length(piece: &Range<u64>) -> u32 {
    // No piece is longer than a request may ask for.
    (piece.end - piece.start) as u32
}
