//! One long request for a file's contents, that goes on as long as its reader does.
//!
//! For services at which every request is costly to begin. It reads as far as it is asked to, hands every block on
//! when it has come, and then waits: for being asked to go on, for a while, or for the end of its reader. Of what was
//! read, nothing is handed on before the service has said, asked after it had come, that the file is still the same.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::sync::{SemaphorePermit, mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::arrivals::{Arrivals, State};
use super::content::{Content, Supply};
use super::engine::late;
use super::failure::{Failure, chance, pause};
use super::ftp::{Ftp, Transfer};
use super::store::{ATTEMPTS_MAX, Store};

const DOING: &str = "reading a file";
/// A reader that does not go on for so long is not waited for: the connection is for others.
const WAITING_MAX: Duration = Duration::from_secs(20);
/// Connections of a stream at work: one for the contents, one to ask whether they are the same.
pub(super) const CONNECTIONS: u32 = 2;

/// Who is told of some blocks, one after the other.
pub(super) type Wanted = Vec<watch::Sender<State>>;

/// The readers' side of a stream. When the last has let go of it, it ends as soon as nobody waits for its blocks.
#[derive(Debug)]
pub(super) struct Stream {
    /// Behind the last block that it was asked for.
    end: AtomicU32,
    more: mpsc::UnboundedSender<Wanted>,
}

impl Stream {
    /// Asks for blocks from `first` on.
    pub(super) fn start(
        content: &Arc<Content>,
        supply: &Arc<Supply>,
        first: u32,
        wanted: Wanted,
    ) -> Arc<Stream> {
        let end = AtomicU32::new(first + wanted.len() as u32);
        let arrivals = Arrivals::new(content.clone(), supply.clone(), first, wanted);
        let (more, claims) = mpsc::unbounded_channel();
        let course = Course { arrivals, claims, is_left: false, progress: Instant::now() };
        supply.engine.detach(course.run());
        Arc::new(Stream { end, more })
    }

    /// Whether this is the next block that it would have.
    pub(super) fn goes_on_with(&self, first: u32) -> bool {
        self.end.load(Ordering::Relaxed) == first && !self.more.is_closed()
    }

    /// Asks for the blocks that follow; gives them back if it has ended. One at a time calls this.
    pub(super) fn extend(&self, wanted: Wanted) -> Result<(), Wanted> {
        let count = wanted.len() as u32;
        self.more.send(wanted).map_err(|refused| refused.0)?;
        self.end.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }
}

/// The working side of a stream.
struct Course {
    arrivals: Arrivals,
    claims: mpsc::UnboundedReceiver<Wanted>,
    /// Nobody will ask for more.
    is_left: bool,
    /// When something was handed on last, or it was asked for after a wait.
    progress: Instant,
}

/// The service is being asked whether bytes are those that they should be.
struct Check<'a> {
    asked: Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>,
    bytes: Vec<Bytes>,
}

enum Event {
    Came(Result<Bytes, Failure>),
    Checked(Result<(), Failure>),
    Asked(Option<Wanted>),
}

impl Course {
    async fn run(mut self) {
        let store = self.arrivals.store().clone();
        let Some(ftp) = store.ftp() else { return };
        let (mut number, mut failed_at) = (0, self.progress);
        loop {
            let failure = match self.attempt(&store, ftp).await {
                Ok(()) => {
                    // What it was asked for in this moment is still brought.
                    self.claims.close();
                    while let Ok(wanted) = self.claims.try_recv() {
                        self.arrivals.extend(wanted);
                    }
                    self.is_left = true;
                    self.arrivals.give_up();
                    self.progress = Instant::now();
                    match self.arrivals.next() {
                        None => return,
                        Some(_) => continue,
                    }
                }
                Err(failure) => failure,
            };
            number = if self.progress > failed_at { 1 } else { number + 1 };
            failed_at = Instant::now();
            let rest = pause(number, chance());
            let is_over = self.progress.elapsed() + rest >= store.deadline;
            if !failure.again || number == ATTEMPTS_MAX || is_over {
                self.arrivals.why = failure.error.kind();
                let content = self.arrivals.content();
                if !content.is_ended() {
                    log::warn!("{}: {}", content.path(), failure.error);
                }
                return;
            }
            log::debug!("{}; asking again in {rest:?}", failure.error);
            tokio::time::sleep(rest).await;
        }
    }

    /// One connection's part of it. Ends well when nobody wants more, or others want the connection.
    async fn attempt(&mut self, store: &Store, ftp: &Ftp) -> Result<(), Failure> {
        let (path, version) = (self.arrivals.content().path(), self.arrivals.content().version.clone());
        let from = self.arrivals.rest().start;
        let begun = async {
            let turn = store.connections.acquire_many(CONNECTIONS).await.ok();
            (turn, ftp.begin(&path, from).await)
        };
        let (mut turn, begun) = self.soon(store, begun).await?;
        let mut transfer = begun?;
        let mut came: Vec<Bytes> = Vec::new();
        let mut check: Option<Check<'_>> = None;
        loop {
            if self.arrivals.content().is_ended() {
                return Err(Failure::stale(DOING));
            }
            if self.is_left {
                self.arrivals.give_up();
            }
            let has_all = came.is_empty() && check.is_none() && transfer.at() >= self.arrivals.rest().end;
            let is_over = transfer.at() == version.size || self.is_left;
            if (has_all && is_over) || self.arrivals.next().is_none() && self.is_left {
                break;
            }
            if has_all {
                drop(turn);
                if !self.waits(ftp).await {
                    break;
                }
                self.progress = Instant::now();
                match self.turn(store, ftp).await? {
                    next @ Some(_) => turn = next,
                    None => break,
                }
                continue;
            }
            if check.is_none() && !came.is_empty() {
                let (path, version) = (self.arrivals.content().path(), version.clone());
                let asked = Box::pin(async move { store.expect(&path, &version, DOING).await });
                check = Some(Check { asked, bytes: std::mem::take(&mut came) });
            }
            match self.next(store, &mut transfer, &mut check).await? {
                Event::Came(piece) => came.push(piece?),
                Event::Asked(Some(wanted)) => self.arrivals.extend(wanted),
                Event::Asked(None) => self.is_left = true,
                Event::Checked(same) => {
                    same?;
                    let bytes = check.take().map(|check| check.bytes).unwrap_or_default();
                    bytes.into_iter().for_each(|piece| self.arrivals.take(piece));
                    self.progress = Instant::now();
                    // However long the file is, others have their turn.
                    drop(turn);
                    match self.turn(store, ftp).await? {
                        next @ Some(_) => turn = next,
                        None => break,
                    }
                }
            }
        }
        transfer.hang_up();
        Ok(())
    }

    /// The next turn of the connections; `None` if those who come first have none to use but this one.
    async fn turn<'a>(&self, store: &'a Store, ftp: &Ftp) -> Result<Option<SemaphorePermit<'a>>, Failure> {
        let turn = pin!(store.connections.acquire_many(CONNECTIONS));
        let turn = async {
            match select(turn, pin!(ftp.wanted())).await {
                Either::Left((turn, _)) => turn.ok(),
                Either::Right(_) => None,
            }
        };
        self.soon(store, turn).await
    }

    /// What has to be done before the next bytes can come.
    async fn soon<T>(&self, store: &Store, work: impl Future<Output = T>) -> Result<T, Failure> {
        timeout_at(self.progress + store.deadline, work).await.map_err(|_| Failure::of(late(DOING)))
    }

    /// What happens next.
    async fn next(
        &mut self,
        store: &Store,
        transfer: &mut Transfer,
        check: &mut Option<Check<'_>>,
    ) -> Result<Event, Failure> {
        let until = self.progress + store.deadline;
        let left = self.arrivals.rest().end.saturating_sub(transfer.at());
        let next = poll_fn(|cx| {
            if let Some(check) = check
                && let Poll::Ready(checked) = check.asked.as_mut().poll(cx)
            {
                return Poll::Ready(Event::Checked(checked));
            }
            if !self.is_left
                && let Poll::Ready(asked) = self.claims.poll_recv(cx)
            {
                return Poll::Ready(Event::Asked(asked));
            }
            if left > 0
                && let Poll::Ready(piece) = transfer.poll_read(cx, left)
            {
                return Poll::Ready(Event::Came(piece));
            }
            Poll::Pending
        });
        timeout_at(until, next).await.map_err(|_| Failure::of(late(DOING)))
    }

    /// Waits for being asked to go on. False when that does not come, or the connection is for others.
    async fn waits(&mut self, ftp: &Ftp) -> bool {
        let asked = timeout(WAITING_MAX, self.claims.recv());
        match select(pin!(asked), pin!(ftp.wanted())).await {
            Either::Left((Ok(Some(wanted)), _)) => {
                self.arrivals.extend(wanted);
                true
            }
            Either::Left((Ok(None) | Err(_), _)) | Either::Right(_) => false,
        }
    }
}

impl Drop for Course {
    /// Whoever has asked meanwhile is told what the others are.
    fn drop(&mut self) {
        self.claims.close();
        while let Ok(wanted) = self.claims.try_recv() {
            self.arrivals.extend(wanted);
        }
    }
}
