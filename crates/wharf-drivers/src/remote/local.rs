//! Local copies of files that are written to, and their way to the service.
//!
//! A change of contents is done when close(2) or fsync(2) has said so; what the service would not take is kept
//! and tried again.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use wharf::error::Kind as Why;
use wharf::{Context, Error, Kind};

use super::Result;
use super::cache::BLOCK_BYTES;
use super::knowledge::Knowledge;
use super::listing::Item;
use super::meta::{Meta, Version};
use super::outgoing::{self, Outgoing};
use super::paths::{apart, inside};
use super::spool::{Spool, Spools, leftovers};
use super::store::Store;
use super::tree::Node;

/// Bytes that are copied at once.
const STEP_BYTES: u64 = 1 << 20;

impl Knowledge {
    pub(super) fn spools(&self) -> Result<&Spools> {
        self.spools.as_ref().ok_or_else(Error::read_only)
    }

    /// The local copy of a file that is to be changed, with at least the first `keep` bytes of what it had.
    pub(super) async fn local(
        self: &Arc<Self>,
        cx: &Context,
        node: &Arc<Node>,
        keep: u64,
    ) -> Result<Arc<Spool>> {
        if let Some(local) = node.lock().local.clone() {
            return Ok(local);
        }
        let (this, node) = (self.clone(), node.clone());
        self.supply.engine.ask(cx, async move { this.copy(&node, keep).await }).await
    }

    async fn copy(self: &Arc<Self>, node: &Arc<Node>, keep: u64) -> Result<Arc<Spool>> {
        // One copy, however many want to write.
        let _making = node.making.lock().await;
        if let Some(local) = node.lock().local.clone() {
            return Ok(local);
        }
        let content = self.content(node);
        let base = content.version.clone();
        let size = base.size.min(keep);
        let spool = self.spools()?.make(Some(base))?;
        spool.lock().unwanted = node.lock().removed;
        let file = std::fs::File::from(spool.file.try_clone()?);
        let mut at = 0;
        while at < size {
            let end = (at + STEP_BYTES).min(size);
            content.prefetch(&self.supply, &(end..(end + 16 * STEP_BYTES).min(size)));
            let mut written = Ok(());
            let mut to = at;
            let put = |piece: &[u8]| {
                if written.is_ok() {
                    written = file.write_all_at(piece, to);
                    to += piece.len() as u64;
                }
            };
            content.read(&self.supply, at..end, put).await?;
            written?;
            at = end;
        }
        spool.lock().size = size;
        node.lock().local = Some(spool.clone());
        Ok(spool)
    }

    /// A new file, which the service learns of when it is closed.
    pub(super) fn create(&self, parent: &Arc<Node>, name: &str) -> Result<Arc<Node>> {
        let path = inside(&parent.path(), name);
        let spool = self.spools()?.make(None)?;
        spool.lock().changed();
        let meta = Meta { kind: Kind::File, version: Version::default() };
        let node = self.tree.node(&path, self.tree.new_inode(), meta.clone(), Instant::now());
        let mut state = node.lock();
        state.local = Some(spool);
        drop(state);
        self.appeared(parent, name, &node, meta);
        Ok(node)
    }

    /// Cuts off or extends a file.
    pub(super) async fn resize(self: &Arc<Self>, cx: &Context, node: &Arc<Node>, size: u64) -> Result<()> {
        let spool = self.local(cx, node, size).await?;
        let _shared = spool.gate.read().await;
        let mut state = spool.lock();
        std::fs::File::from(spool.file.try_clone()?).set_len(size)?;
        state.size = size;
        state.changed();
        let now = state.modified;
        drop(state);
        node.lock().set.touch(now);
        Ok(())
    }

    /// Brings what was changed to the service, whether or not the caller goes on waiting.
    pub(super) async fn settle(self: &Arc<Self>, node: &Arc<Node>) -> Result<()> {
        let (this, node) = (self.clone(), node.clone());
        self.supply.engine.finish(async move { this.upload(&node).await }).await
    }

    pub(super) async fn upload(&self, node: &Arc<Node>) -> Result<()> {
        let Some(spool) = node.lock().local.clone() else { return Ok(()) };
        let _alone = spool.gate.write().await;
        let changes = {
            let state = spool.lock();
            if !state.is_dirty() {
                return Ok(());
            }
            state.changes
        };
        let outgoing = spool.outgoing();
        let size = outgoing.size;
        let (path, gone, removed) = {
            let state = node.lock();
            (state.path.clone(), state.gone, state.removed)
        };
        if removed {
            return Ok(());
        }
        if gone {
            let kept = format!("another file has its name now; it is kept in {}", spool.data.display());
            return Err(Error::new(Why::Stale).doing("uploading a file").because(kept));
        }
        spool.mark(&path)?;
        let store = &self.supply.store;
        self.ends(&path, false);
        let uploaded = store.upload(&path, &outgoing).await;
        self.ends(&path, false);
        if let Err(error) = uploaded {
            self.unsettled().insert(node.inode, node.clone());
            let kept = format!("{error}; it is kept in {} and will be tried again", spool.data.display());
            let kind = if error.kind() == Why::NotFound { Why::Io } else { error.kind() };
            return Err(Error::new(kind).doing("uploading a file").because(kept));
        }
        // What is short is often read, or replaced, soon: it need not be fetched back.
        let bytes = if size <= BLOCK_BYTES { outgoing::piece(&spool.file, 0, size).await.ok() } else { None };
        // Its new version, so that nobody takes our own change for another's.
        let told = store.stat(&path).await;
        let modified = Some(spool.lock().modified);
        let meta = told.unwrap_or(Meta { kind: Kind::File, version: Version { size, modified, etag: None } });
        spool.lock().uploaded = changes;
        spool.unmark();
        self.unsettled().remove(&node.inode);
        let mut state = node.lock();
        state.kept = Some(meta.version.clone());
        state.meta = meta.clone();
        state.asked = Instant::now();
        state.content = None;
        // Before the local copy goes, so that whoever missed it finds them.
        let content = self.content_at(&state.path.clone(), &meta.version);
        if let Some(bytes) = bytes.filter(|_| state.path == path) {
            content.fill(&self.supply, bytes);
        }
        if state.opens == 0 {
            state.local = None;
        }
        drop(state);
        let (directory, name) = apart(&path);
        if let Some(listing) = self.tree.get(directory).and_then(|parent| parent.lock().listing.clone()) {
            listing.put(Item { name: name.into(), kind: node.kind, inode: node.inode, meta: Some(meta) });
        }
        Ok(())
    }

    /// The last who had a file open has let go of it.
    pub(super) fn let_go(self: &Arc<Self>, node: &Arc<Node>) {
        let mut state = node.lock();
        state.opens -= 1;
        if state.opens > 0 {
            return;
        }
        let dirty = state.local.as_ref().is_some_and(|local| local.lock().is_dirty());
        if !dirty || state.gone {
            // Dropped outside: that removes a file.
            let local = state.local.take();
            drop(state);
            drop(local);
            return;
        }
        drop(state);
        // Written through a mapping after the last close, or a close that failed: nobody is left to be told.
        self.unsettled().insert(node.inode, node.clone());
        let (this, node) = (self.clone(), node.clone());
        self.supply.engine.detach(async move {
            if let Err(error) = this.upload(&node).await {
                log::error!("{}: {error}", node.path());
            }
        });
    }

    /// Files with changes that the service does not have yet.
    pub(super) fn changed(&self) -> Vec<Arc<Node>> {
        let is_dirty =
            |node: &Arc<Node>| node.lock().local.as_ref().is_some_and(|local| local.lock().is_dirty());
        self.tree.below("").into_iter().filter(is_dirty).collect()
    }
}

/// Brings to the service what earlier mounts could not. What it still does not take stays where it is, and
/// what was changed elsewhere meanwhile is left to people. A service that does not answer in time is not asked for
/// the others: the mount is waited for.
pub(super) async fn retry(store: &Store, directory: &std::path::Path) {
    let mut answers = true;
    for leftover in leftovers(directory) {
        let kept = leftover.data.display().to_string();
        if !answers {
            log::error!("{}: the service takes nothing; it is still kept in {kept}", leftover.path);
            continue;
        }
        let now = match store.stat(&leftover.path).await {
            Ok(meta) => Some(meta.version),
            Err(error) if error.kind() == Why::NotFound => None,
            Err(error) => {
                log::error!("{}: {error}; it is still kept in {kept}", leftover.path);
                answers = error.kind() != Why::TimedOut;
                continue;
            }
        };
        let unchanged = match (&leftover.base, &now) {
            (Some(base), Some(now)) => base.is_same(now),
            (None, None) => true,
            _ => false,
        };
        if !unchanged {
            log::error!(
                "{}: was changed elsewhere; what could not be uploaded is kept in {kept}: copy it where it belongs, or remove it",
                leftover.path
            );
            continue;
        }
        let brought = async {
            let file = std::fs::File::open(&leftover.data)?;
            let size = file.metadata()?.len();
            let file = Outgoing { file: Arc::new(file.into()), size, sent: Arc::default() };
            store.upload(&leftover.path, &file).await
        };
        match brought.await {
            Ok(()) => {
                log::warn!("{}: what an earlier mount could not upload is uploaded now", leftover.path);
                leftover.remove();
            }
            Err(error) => {
                log::error!("{}: {error}; it is still kept in {kept}", leftover.path);
                answers = error.kind() != Why::TimedOut;
            }
        }
    }
}
