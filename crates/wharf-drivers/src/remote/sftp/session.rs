//! One connection that speaks SFTP: many requests under way, answered in any order.
//!
//! Whoever gives up an answer is forgotten, and what he had opened is closed when its handle comes. A server from
//! which nothing at all is heard while somebody waits has gone: the connection ends, and everybody is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;
use wharf::Error;
use wharf::error::Kind;

use super::super::Result;
use super::super::failure::Failure;
use super::ssh::{self, Ssh, Target};
use super::wire::{self, Access, Attributes, Handle, PACKET_BYTES_MAX, Reply, Request, Status};

/// Packets that are short are sent together up to this.
const BATCH_BYTES: usize = 64 << 10;
/// Room for what comes.
const READ_BYTES: usize = 256 << 10;
/// Less room than this is not worth a read.
const READ_BYTES_LEAST: usize = 32 << 10;
/// What ssh says at its end is waited for so long.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One connection. It ends when nobody uses it.
#[derive(Debug)]
pub(super) struct Session {
    shared: Arc<Shared>,
    /// Names can be replaced in one step.
    pub(super) replaces: bool,
    _ssh: Ssh,
}

#[derive(Debug)]
struct Shared {
    out: mpsc::UnboundedSender<Bytes>,
    waiting: Mutex<Waiting>,
    begun: Instant,
    /// When something came last, in milliseconds since then.
    heard_ms: AtomicU64,
    /// How long a server may say nothing.
    patience: Duration,
}

#[derive(Debug, Default)]
struct Waiting {
    id: u32,
    /// Who waits for which number.
    replies: HashMap<u32, oneshot::Sender<Reply>>,
    /// Replies that are still to come, whether or not anybody waits for them.
    owed: u64,
    ended: bool,
}

impl Session {
    /// Connects. After silence of `patience` the server has gone.
    pub(super) async fn connect(target: &Target, patience: Duration) -> Result<Session, Failure> {
        const DOING: &str = "connecting";
        let (ssh, stream, complaints) = target.start().map_err(|error| ssh::not_started(DOING, error))?;
        let complaints = tokio::spawn(ssh::listen(complaints));
        let (mut from, mut to) = stream.into_split();
        let greeted = async {
            to.write_all(&wire::hello()).await.ok()?;
            let mut buffer = BytesMut::new();
            let hello = next(&mut from, &mut buffer).await?;
            Some((hello, buffer))
        };
        let Some((hello, buffer)) = greeted.await else {
            // Nobody else keeps the pipe open then.
            drop(ssh);
            let complaints = tokio::time::timeout(LAST_WORDS, complaints).await;
            let complaints = complaints.ok().and_then(Result::ok).unwrap_or_default();
            return Err(target.explain(DOING, &complaints));
        };
        let replaces = wire::decode_hello(hello).ok_or_else(|| {
            let why = "what answers does not speak version 3 of SFTP";
            Failure::of(Error::new(Kind::Io).doing(DOING).because(why))
        })?;
        let (out, packets) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            out,
            waiting: Mutex::default(),
            begun: Instant::now(),
            heard_ms: AtomicU64::new(0),
            patience,
        });
        tokio::spawn(send(to, packets));
        tokio::spawn(receive(from, buffer, shared.clone()));
        Ok(Session { shared, replaces, _ssh: ssh })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.shared.lock().ended
    }

    /// Sends a request. Its answer may be awaited while others are under way.
    pub(super) fn ask(&self, doing: &'static str, request: Request<'_>) -> Answer {
        let (sender, reply) = oneshot::channel();
        let mut waiting = self.shared.lock();
        let id = waiting.next();
        // One that comes too late is told at once that nobody answers.
        if !waiting.ended {
            waiting.replies.insert(id, sender);
        }
        drop(waiting);
        let _ = self.shared.out.send(request.encode(id));
        Answer { shared: self.shared.clone(), id, doing, since: Instant::now(), reply }
    }

    /// Sends a request whose answer nobody waits for.
    pub(super) fn tell(&self, request: Request<'_>) {
        self.shared.tell(request);
    }

    pub(super) async fn open(
        &self,
        doing: &'static str,
        path: &str,
        access: Access,
    ) -> Result<File<'_>, Failure> {
        let handle = self.ask(doing, Request::Open { path, access }).handle().await?;
        Ok(File { session: self, handle })
    }

    pub(super) async fn open_directory(&self, doing: &'static str, path: &str) -> Result<File<'_>, Failure> {
        let handle = self.ask(doing, Request::OpenDirectory { path }).handle().await?;
        Ok(File { session: self, handle })
    }
}

impl Waiting {
    fn next(&mut self) -> u32 {
        self.owed += 1;
        self.id = self.id.wrapping_add(1);
        self.id
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, request: Request<'_>) {
        let id = self.lock().next();
        let _ = self.out.send(request.encode(id));
    }

    fn heard(&self) -> Instant {
        self.begun + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    /// Nothing comes any more.
    fn end(&self) {
        let mut waiting = self.lock();
        waiting.ended = true;
        waiting.replies.clear();
    }

    /// False if nothing was asked that this could answer.
    fn give(&self, id: u32, reply: Reply) -> bool {
        let mut waiting = self.lock();
        let Some(owed) = waiting.owed.checked_sub(1) else { return false };
        waiting.owed = owed;
        let waits = waiting.replies.remove(&id);
        drop(waiting);
        let unwanted = match waits {
            Some(waits) => waits.send(reply).err(),
            None => Some(reply),
        };
        self.discard(unwanted);
        true
    }

    /// What was opened for nobody is closed.
    fn discard(&self, reply: Option<Reply>) {
        if let Some(Reply::Handle(handle)) = reply {
            self.tell(Request::Close { handle: &handle });
        }
    }
}

/// An open file or directory; closed when it is dropped.
#[derive(Debug)]
pub(super) struct File<'a> {
    pub(super) session: &'a Session,
    pub(super) handle: Handle,
}

impl File<'_> {
    /// Closes it, and sees how that ends: what was written may fail only then.
    pub(super) async fn close(mut self, doing: &'static str) -> Result<(), Failure> {
        let handle = std::mem::take(&mut self.handle);
        self.session.ask(doing, Request::Close { handle: &handle }).done().await
    }
}

impl Drop for File<'_> {
    fn drop(&mut self) {
        if !self.handle.is_empty() {
            self.session.tell(Request::Close { handle: &self.handle });
        }
    }
}

/// An answer that is on its way.
#[derive(Debug)]
pub(super) struct Answer {
    shared: Arc<Shared>,
    id: u32,
    doing: &'static str,
    since: Instant,
    reply: oneshot::Receiver<Reply>,
}

impl Answer {
    pub(super) async fn reply(mut self) -> Result<Reply, Failure> {
        loop {
            let heard = self.shared.heard().max(self.since);
            match timeout_at((heard + self.shared.patience).into(), &mut self.reply).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(_)) => return Err(lost(self.doing, "the connection ended")),
                Err(_) if self.shared.heard() > heard => {}
                Err(_) => {
                    self.shared.end();
                    return Err(lost(self.doing, "nothing is heard of the server"));
                }
            }
        }
    }

    pub(super) async fn handle(self) -> Result<Handle, Failure> {
        let doing = self.doing;
        match self.reply().await? {
            Reply::Handle(handle) => Ok(handle),
            other => Err(unlike(doing, other)),
        }
    }

    pub(super) async fn attributes(self) -> Result<Attributes, Failure> {
        let doing = self.doing;
        match self.reply().await? {
            Reply::Attributes(attributes) => Ok(attributes),
            other => Err(unlike(doing, other)),
        }
    }

    /// The end of something that answers nothing else.
    pub(super) async fn done(self) -> Result<(), Failure> {
        let doing = self.doing;
        match self.reply().await? {
            Reply::Status(Status { code: Status::OK, .. }) => Ok(()),
            other => Err(unlike(doing, other)),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.shared.lock().replies.remove(&self.id);
        self.shared.discard(self.reply.try_recv().ok());
    }
}

/// The connection is gone: another one may be better.
fn lost(doing: &'static str, why: &'static str) -> Failure {
    Failure { error: Error::new(Kind::Io).doing(doing).because(why), again: true }
}

/// What a reply means that is not the one that was hoped for.
pub(super) fn unlike(doing: &'static str, reply: Reply) -> Failure {
    let Reply::Status(status) = reply else {
        return Failure::of(Error::new(Kind::Io).doing(doing).because("the server answered something else"));
    };
    let kind = match status.code {
        Status::NO_SUCH_FILE => Kind::NotFound,
        Status::PERMISSION_DENIED => Kind::PermissionDenied,
        Status::UNSUPPORTED => Kind::NotSupported,
        _ => Kind::Io,
    };
    let words = status.words.escape_debug().take(200).collect::<String>();
    Failure::of(Error::new(kind).doing(doing).because(format!("the server says: {words}")))
}

/// Sends packets as they come, until the connection ends or nobody has any more.
async fn send(mut to: OwnedWriteHalf, mut packets: mpsc::UnboundedReceiver<Bytes>) {
    let mut batch = BytesMut::with_capacity(BATCH_BYTES);
    while let Some(packet) = packets.recv().await {
        batch.extend_from_slice(&packet);
        while batch.len() < BATCH_BYTES
            && let Ok(packet) = packets.try_recv()
        {
            batch.extend_from_slice(&packet);
        }
        if to.write_all(&batch).await.is_err() {
            return;
        }
        batch.clear();
    }
}

/// Gives replies to who waits for them, until the connection ends.
async fn receive(mut from: OwnedReadHalf, mut buffer: BytesMut, shared: Arc<Shared>) {
    while let Some(packet) = next(&mut from, &mut buffer).await {
        shared.heard_ms.store(shared.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        if !wire::decode(packet).is_some_and(|(id, reply)| shared.give(id, reply)) {
            log::warn!("an SFTP server sent what is no reply; its connection is given up");
            break;
        }
    }
    shared.end();
}

/// The next packet; `None` when there is none, or one that is too long.
async fn next(from: &mut OwnedReadHalf, buffer: &mut BytesMut) -> Option<Bytes> {
    loop {
        if let Some(head) = buffer.first_chunk::<4>() {
            let len = u32::from_be_bytes(*head) as usize;
            if len > PACKET_BYTES_MAX {
                return None;
            }
            if buffer.len() >= 4 + len {
                buffer.advance(4);
                return Some(buffer.split_to(len).freeze());
            }
        }
        // Replies that are still held share this memory: a new one for each of them would be held with it.
        if buffer.capacity() - buffer.len() < READ_BYTES_LEAST {
            buffer.reserve(READ_BYTES);
        }
        if from.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_for_nobody_is_closed_and_more_replies_than_requests_are_found_out() {
        let (out, mut sent) = mpsc::unbounded_channel();
        let shared = Shared {
            out,
            waiting: Mutex::default(),
            begun: Instant::now(),
            heard_ms: AtomicU64::new(0),
            patience: Duration::from_secs(1),
        };
        let handle = Bytes::from_static(b"h");
        assert!(!shared.give(1, Reply::Handle(handle.clone())), "nothing was asked");
        let id = shared.lock().next();
        assert!(shared.give(id, Reply::Handle(handle.clone())));
        assert_eq!(sent.try_recv(), Ok(Request::Close { handle: &handle }.encode(id + 1)));
        assert!(shared.give(id + 1, Reply::Status(Status { code: Status::OK, words: String::new() })));
        assert!(!shared.give(id, Reply::Handle(handle)), "all was answered");
        assert!(sent.try_recv().is_err());
    }
}
