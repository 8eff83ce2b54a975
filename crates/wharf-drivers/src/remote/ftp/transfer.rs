//! One file on its way from the server: from some place on, for as long as anybody reads on.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use suppaftp::FtpError;
use suppaftp::tokio::{AsyncDataStream, AsyncRustlsStream};
use tokio::io::AsyncReadExt;

use super::pool::{Connection, Pool, is_usable};
use super::{Failure, Ftp, failed};

const DOING: &str = "reading a file";
/// Bytes that are read at once, at most.
const PIECE_BYTES: usize = 128 << 10;
/// Less room than this is not worth a read.
const PIECE_BYTES_LEAST: usize = 16 << 10;
/// What a server says of our hanging up is not waited for longer.
const HANGING_UP_MAX: Duration = Duration::from_secs(5);

/// One file on its way from the server. Dropped, it takes its connection along.
pub(in super::super) struct Transfer {
    connection: Connection,
    data: AsyncDataStream<AsyncRustlsStream>,
    pool: Arc<Pool>,
    /// Where in the file the next byte is.
    at: u64,
    /// What pieces are parts of: however short they are, no memory is lost between them.
    buffer: BytesMut,
}

impl Ftp {
    /// Asks for a file from some place on.
    pub(in super::super) async fn begin(&self, path: &str, from: u64) -> Result<Transfer, Failure> {
        let mut connection = self.take(DOING).await?;
        let asked = async {
            if from > 0 {
                connection.resume_transfer(from as usize).await?;
            }
            connection.retr_as_stream(self.path(path)).await
        };
        match asked.await {
            Ok(data) => {
                let pool = self.pool.clone();
                Ok(Transfer { connection, data, pool, at: from, buffer: BytesMut::new() })
            }
            refused => self.done(connection, refused.map(|_| unreachable!("it was refused")), DOING),
        }
    }

    /// Comes when a transfer of which nobody reads on is to be given up for another operation.
    pub(in super::super) async fn wanted(&self) {
        self.pool.wanted().await;
    }
}

impl Transfer {
    pub(in super::super) fn at(&self) -> u64 {
        self.at
    }

    /// The next bytes, at most `len_max`, which is not zero. The end of the file is a failure.
    pub(in super::super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        len_max: u64,
    ) -> Poll<Result<Bytes, Failure>> {
        let read = match ready!(self.poll_some(cx, len_max)) {
            Ok(piece) if piece.is_empty() => Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => read,
        };
        Poll::Ready(read.map_err(|error| failed(DOING, FtpError::ConnectionError(error))))
    }

    /// As [`poll_read`](Self::poll_read).
    pub(super) async fn read(&mut self, len_max: u64) -> Result<Bytes, Failure> {
        poll_fn(|cx| self.poll_read(cx, len_max)).await
    }

    /// The next bytes; none at the end of the file.
    fn poll_some(&mut self, cx: &mut Context<'_>, len_max: u64) -> Poll<std::io::Result<Bytes>> {
        if self.buffer.capacity() < PIECE_BYTES_LEAST {
            self.buffer.reserve(PIECE_BYTES);
        }
        let mut part = (&mut self.data).take(len_max);
        // A read that is not done yet has read nothing: it need not be the same the next time.
        let len = ready!(pin!(part.read_buf(&mut self.buffer)).poll(cx))?;
        self.at += len as u64;
        Poll::Ready(Ok(self.buffer.split().freeze()))
    }

    /// After the last byte: makes sure that it was the last.
    pub(in super::super) async fn finish(mut self) -> Result<(), Failure> {
        let more = poll_fn(|cx| self.poll_some(cx, 1)).await;
        if !more.map_err(|error| failed(DOING, FtpError::ConnectionError(error)))?.is_empty() {
            return Err(Failure::stale(DOING));
        }
        let ended = self.connection.finalize_retr_stream(self.data).await;
        if is_usable(&ended) {
            self.pool.give_back(self.connection);
        }
        ended.map_err(|error| failed(DOING, error))
    }

    /// Reads no more. The server's word for that is waited for elsewhere, after which the connection may be used again.
    pub(in super::super) fn hang_up(self) {
        let Transfer { mut connection, data, pool, .. } = self;
        tokio::spawn(async move {
            let settled = async {
                match connection.finalize_retr_stream(data).await {
                    Ok(()) | Err(FtpError::UnexpectedResponse(_)) => {}
                    Err(error) => return Err(error),
                }
                // Some servers have two words for it. The answer to this is right only after the last.
                connection.noop().await
            };
            let patience = tokio::time::timeout(HANGING_UP_MAX, pool.wanted());
            let is_settled = match select(pin!(settled), pin!(patience)).await {
                Either::Left((settled, _)) => settled.is_ok(),
                Either::Right(_) => false,
            };
            if is_settled {
                pool.give_back(connection);
            }
        });
    }
}
