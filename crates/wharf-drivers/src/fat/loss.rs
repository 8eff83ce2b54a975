//! What is done when the disc has gone: people are told what is lost, and the kernel that nothing it keeps holds any more.
//!
//! Whatever asks the volume fails by then. But what is in a page cache is read without asking, and what was changed and
//! not written is seen by nobody; so both need somebody who does something, once.

use std::sync::Arc;
use std::thread;

use wharf::Notifier;
use wharf::notice::Notice;

use crate::desk::block_on;

use super::volume::Shared;

/// Notices that are sent before their end is waited for.
const NOTICES_AT_ONCE: usize = 256;

/// What there was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Loss {
    /// Files and directories whose entries have changes that were not written.
    pub(super) entries: usize,
    /// Blocks of tables and directories with such changes.
    pub(super) blocks: usize,
    /// The nodes that anybody knows.
    pub(super) known: Vec<u64>,
}

impl Shared {
    /// Has the loss of the disc dealt with, whoever finds it out.
    pub(super) fn expect_loss(self: &Arc<Shared>) {
        let shared = Arc::downgrade(self);
        self.medium.disc().on_loss(move || {
            let Some(shared) = shared.upgrade() else { return };
            log::error!("the disc has gone: its files cannot be used any more");
            // Not here: the one who found it out may be a queue, and may hold the volume's state.
            let dealt = thread::Builder::new().name("fat-lost".into()).spawn(move || shared.deal_with_loss());
            if let Err(error) = dealt {
                log::error!("what the kernel has in its cache may still be read: {error}");
            }
        });
    }

    fn deal_with_loss(&self) {
        let Loss { entries, blocks, known } = block_on(self.loss());
        if entries + blocks > 0 {
            log::error!(
                "what was changed last is lost: the entries of {entries} files and directories, and {blocks} blocks \
                 of tables and directories"
            );
        }
        if let Some(notifier) = self.notifier.get() {
            forget(notifier, &known);
        }
    }

    /// What is lost, and who is to be told.
    pub(super) async fn loss(&self) -> Loss {
        // The state itself: those who ask for it as usual are refused by now.
        let state = self.desk.take().await;
        Loss { entries: self.dirty().len(), blocks: state.cache.waiting(), known: state.known() }
    }
}

/// Names are asked for again, and contents are read again: neither works.
fn forget(notifier: &Notifier, known: &[u64]) {
    drop(notifier.send(Notice::Epoch));
    for some in known.chunks(NOTICES_AT_ONCE) {
        let sent: Vec<_> = some.iter().map(|inode| notifier.contents(*inode)).collect();
        // So that there is room for the next. If the volume ends meanwhile that is as good.
        sent.into_iter().for_each(|sent| drop(sent.wait()));
    }
}
