//! The thread that tells the kernel what changed.
//!
//! It holds no lock and runs no operation, so it may wait as long as the kernel likes: a notice can have to
//! wait for a read of the same file that one of our queues has yet to answer.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, PoisonError};

use rustix::io::Errno as Os;
use wharf::notice::{Notice, Pending};
use wharf::session::Session;
use wharf::{Errno, Error, FileSystem, NodeId};

use crate::control::Retrievals;
use crate::protocol::Fuse;
use crate::wire::notice::{Message, RETRIEVAL_FIRST, RETRIEVAL_STEP, encode};

/// Sends notices until their queue is closed.
pub(crate) fn run<F: FileSystem>(device: &Arc<OwnedFd>, session: &Session<F, Fuse>, retrievals: &Retrievals) {
    let mut next_retrieval = RETRIEVAL_FIRST;
    while let Some(pending) = session.notifier().next() {
        if let Notice::Retrieve { .. } = pending.notice {
            retrieve(device, session, retrievals, pending, next_retrieval);
            next_retrieval = next_retrieval.wrapping_add(RETRIEVAL_STEP);
            continue;
        }
        let answer = messages(session, &pending.notice)
            .and_then(|messages| messages.iter().try_for_each(|message| tell(device, message)));
        pending.confirm(answer.map(|()| Vec::new()));
    }
}

/// A retrieval is confirmed by what comes back, so it waits under its number; unless it could not be sent.
fn retrieve<F: FileSystem>(
    device: &Arc<OwnedFd>,
    session: &Session<F, Fuse>,
    retrievals: &Retrievals,
    pending: Pending,
    unique: u64,
) {
    let Notice::Retrieve { inode, offset, size } = pending.notice else { return };
    // The answer comes as one request, its own head and all, in one payload.
    let size = size.min(session.protocol().terms().payload_bytes.saturating_sub(4096));
    let message = node(session, inode).map(|node| Message::Retrieve { unique, node, offset, size });
    let lock = || retrievals.lock().unwrap_or_else(PoisonError::into_inner);
    lock().insert(unique, pending);
    let sent = message.and_then(|message| tell(device, &message));
    if let Err(error) = sent
        && let Some(pending) = lock().remove(&unique)
    {
        pending.confirm(Err(error));
    }
}

fn node<F: FileSystem>(session: &Session<F, Fuse>, inode: u64) -> Result<NodeId, Error> {
    // What the kernel does not know, it need not be told about; `confirm` takes this for success.
    session.node_of(inode).ok_or(Error::not_found())
}

fn messages<'a, F: FileSystem>(
    session: &Session<F, Fuse>,
    notice: &'a Notice,
) -> Result<Vec<Message<'a>>, Error> {
    use std::os::unix::ffi::OsStrExt;
    let node = |inode| node(session, inode);
    Ok(match notice {
        Notice::Contents { inode, range } => {
            let offset = i64::try_from(range.start).unwrap_or(i64::MAX);
            // Zero stands for all that follows.
            let length = range.end.saturating_sub(range.start);
            let length = if range.end == u64::MAX { 0 } else { i64::try_from(length).unwrap_or(0) };
            vec![Message::InvalInode { node: node(*inode)?, offset, length }]
        }
        // A negative offset leaves the contents alone, and so waits for no page.
        Notice::Attributes { inode } => {
            vec![Message::InvalInode { node: node(*inode)?, offset: -1, length: 0 }]
        }
        Notice::EntryGone { parent, name } => {
            vec![Message::InvalEntry { parent: node(*parent)?, name: name.as_bytes(), expire_only: false }]
        }
        Notice::EntryExpired { parent, name } => {
            vec![Message::InvalEntry { parent: node(*parent)?, name: name.as_bytes(), expire_only: true }]
        }
        Notice::Deleted { parent, child, name } => {
            vec![Message::Delete { parent: node(*parent)?, child: node(*child)?, name: name.as_bytes() }]
        }
        Notice::Store { inode, offset, bytes } => {
            vec![Message::Store { node: node(*inode)?, offset: *offset, bytes }]
        }
        Notice::Prune { inodes } => {
            let known = inodes.iter().filter_map(|inode| session.node_of(*inode)).collect();
            vec![Message::Prune { nodes: known }]
        }
        Notice::Epoch => vec![Message::IncEpoch],
        Notice::Poll { waker } => vec![Message::Poll { waker: waker.0 }],
        _ => return Err(Error::not_supported()),
    })
}

fn tell(device: &Arc<OwnedFd>, message: &Message<'_>) -> Result<(), Error> {
    let bytes = encode(message);
    loop {
        match rustix::io::write(device.as_fd(), &bytes) {
            Ok(_) => return Ok(()),
            Err(Os::INTR) => {}
            // A name in use as a directory with something below it stays; it is only looked up again later.
            Err(Os::NOTEMPTY) if matches!(message, Message::InvalEntry { .. }) => return Ok(()),
            // A kernel that does not know the notice says so in this way.
            Err(Os::INVAL) if !matches!(message, Message::Store { .. } | Message::Retrieve { .. }) => {
                return Err(Error::not_supported());
            }
            Err(error) => {
                let errno = Errno::new(error.raw_os_error());
                return Err(Error::os(errno.map_or(0, Errno::get)).doing("sending a notice"));
            }
        }
    }
}
