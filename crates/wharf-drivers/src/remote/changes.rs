//! Names that come, go and move. Such a change is done when the service has done it.

use std::sync::Arc;
use std::time::Instant;

use wharf::error::Kind as Why;
use wharf::{Context, Error, Time};

use super::Result;
use super::content::Content;
use super::knowledge::Knowledge;
use super::listing::Item;
use super::meta::Meta;
use super::paths::{inside, is_plain};
use super::store::Store;
use super::tree::{Node, Set};

impl Knowledge {
    pub(super) async fn make_directory(
        self: &Arc<Self>,
        cx: &Context,
        parent: &Arc<Node>,
        name: &str,
    ) -> Result<Arc<Node>> {
        self.expect_absent(cx, parent, name).await?;
        let path = inside(&parent.path(), name);
        self.change(
            "making a directory",
            &path,
            |store, path| async move { store.make_directory(&path).await },
        )
        .await?;
        let node = self.tree.node(&path, self.tree.new_inode(), Meta::directory(), Instant::now());
        let now = Time::now();
        node.lock().set =
            Set { accessed: Some(now), modified: Some(now), changed: Some(now), permissions: None };
        self.appeared(parent, name, &node, Meta::directory());
        Ok(node)
    }

    /// Fails if there is such a name, or could not be.
    pub(super) async fn expect_absent(
        self: &Arc<Self>,
        cx: &Context,
        parent: &Arc<Node>,
        name: &str,
    ) -> Result<()> {
        if !is_plain(name) {
            return Err(Error::invalid());
        }
        match self.lookup(cx, parent, name).await {
            Ok(_) => Err(Error::exists()),
            Err(error) if error.kind() == Why::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn unlink(self: &Arc<Self>, cx: &Context, parent: &Arc<Node>, name: &str) -> Result<()> {
        let node = self.lookup(cx, parent, name).await?;
        if node.is_directory() {
            return Err(Error::is_a_directory());
        }
        self.preserve(cx, &node).await;
        // An upload that is under way would bring the name back.
        let local = node.lock().local.clone();
        let _alone = match &local {
            Some(local) => Some(local.gate.write().await),
            None => None,
        };
        let path = node.path();
        self.ends(&path, false);
        let removed =
            self.change("removing a file", &path, |store, path| async move { store.remove(&path).await });
        let removed = removed.await;
        self.ends(&path, false);
        removed?;
        self.vanished(parent, name, &node);
        Ok(())
    }

    pub(super) async fn rmdir(self: &Arc<Self>, cx: &Context, parent: &Arc<Node>, name: &str) -> Result<()> {
        let node = self.lookup(cx, parent, name).await?;
        if !node.is_directory() {
            return Err(Error::not_a_directory());
        }
        self.expect_empty(&node).await?;
        let path = node.path();
        let doing = "removing a directory";
        self.change(doing, &path, |store, path| async move { store.remove_directory(&path).await }).await?;
        self.vanished(parent, name, &node);
        Ok(())
    }

    /// Asks the service, not what is remembered: some remove whole trees.
    async fn expect_empty(self: &Arc<Self>, directory: &Arc<Node>) -> Result<()> {
        let path = directory.path();
        if self.tree.below(&path).iter().any(|node| node.lock().local.is_some()) {
            return Err(Error::not_empty());
        }
        let empty = self
            .change("listing a directory", &path, |store, path| async move { store.is_empty(&path).await });
        if empty.await? { Ok(()) } else { Err(Error::not_empty()) }
    }

    pub(super) async fn rename(
        self: &Arc<Self>,
        cx: &Context,
        (from_parent, from): (&Arc<Node>, &str),
        (to_parent, to): (&Arc<Node>, &str),
    ) -> Result<()> {
        if !is_plain(to) {
            return Err(Error::invalid());
        }
        let node = self.lookup(cx, from_parent, from).await?;
        let can = self.supply.store.can();
        if !can.rename && (node.is_directory() || !can.copy) {
            // Programs then copy and remove by themselves, as between two disks.
            return Err(Error::new(Why::CrossDevice));
        }
        let replaced = match self.lookup(cx, to_parent, to).await {
            Ok(replaced) => Some(replaced),
            Err(error) if error.kind() == Why::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(replaced) = &replaced {
            match (node.is_directory(), replaced.is_directory()) {
                _ if Arc::ptr_eq(&node, replaced) => return Ok(()),
                (true, false) => return Err(Error::not_a_directory()),
                (false, true) => return Err(Error::is_a_directory()),
                (true, true) => self.rmdir(cx, to_parent, to).await?,
                (false, false) => self.preserve(cx, replaced).await,
            }
        }
        // What is not there yet cannot be moved there.
        self.settle(&node).await?;
        for below in self.tree.below(&node.path()).iter().filter(|_| node.is_directory()) {
            self.settle(below).await?;
        }
        let (old, new) = (node.path(), inside(&to_parent.path(), to));
        // Short files that are here stay here: the one under its new name, and the one that it replaces for
        // those who were about to open it.
        let bytes = self.whole(&node);
        let replaced = replaced.filter(|replaced| !replaced.is_directory());
        let old_bytes = replaced.as_ref().and_then(|replaced| self.whole(replaced));
        let target = new.clone();
        let ends = || {
            self.ends(&old, node.is_directory());
            self.ends(&new, node.is_directory());
        };
        ends();
        let renamed =
            self.change("renaming", &old, |store, from| async move { store.rename(&from, &target).await });
        let renamed = renamed.await;
        ends();
        renamed?;
        if let Some(replaced) = replaced {
            if let Some(bytes) = old_bytes {
                let mut state = replaced.lock();
                let version = state.meta.version.clone();
                state.content = Some(Content::held(state.path.clone(), version, bytes));
            }
            self.vanished(to_parent, to, &replaced);
        }
        {
            let mut state = from_parent.lock();
            state.set.touch(Time::now());
            if let Some(listing) = &state.listing {
                listing.remove(from);
            }
        }
        self.tree.moved(&node, &new);
        let store = self.supply.store.clone();
        let told = self.supply.engine.finish(async move { store.stat(&new).await }).await;
        let meta = told.unwrap_or_else(|_| node.lock().meta.clone());
        {
            let mut state = node.lock();
            state.content = None;
            state.meta = meta.clone();
            state.asked = Instant::now();
        }
        if let Some(bytes) = bytes {
            self.content(&node).fill(&self.supply, bytes);
        }
        self.appeared(to_parent, to, &node, meta);
        Ok(())
    }

    /// A file that somebody has open loses its name: its contents are kept for those who have it.
    async fn preserve(self: &Arc<Self>, cx: &Context, node: &Arc<Node>) {
        if node.lock().opens > 0
            && let Err(error) = self.local(cx, node, u64::MAX).await
        {
            log::debug!("{}: its contents go with its name: {error}", node.path());
        }
    }

    /// Has the service do something, whether or not the caller goes on waiting.
    async fn change<T, F>(
        &self,
        doing: &'static str,
        path: &str,
        work: impl FnOnce(Arc<Store>, String) -> F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.spools()?;
        let work = work(self.supply.store.clone(), path.to_owned());
        self.supply.engine.finish(work).await.inspect_err(|error| log::debug!("{doing}: {error}"))
    }

    /// A name leads to a node now.
    pub(super) fn appeared(&self, parent: &Arc<Node>, name: &str, node: &Arc<Node>, meta: Meta) {
        parent.lock().set.touch(Time::now());
        if let Some(listing) = parent.lock().listing.clone() {
            listing.put(Item { name: name.into(), kind: node.kind, inode: node.inode, meta: Some(meta) });
        }
    }

    /// A name leads nowhere now.
    fn vanished(&self, parent: &Arc<Node>, name: &str, node: &Arc<Node>) {
        self.unsettled().remove(&node.inode);
        self.tree.retire(node);
        let mut state = node.lock();
        state.removed = true;
        let local = state.local.as_ref().inspect(|local| local.lock().unwanted = true).cloned();
        let unused = (state.opens == 0).then(|| state.local.take()).flatten();
        drop(state);
        drop((local, unused));
        let mut state = parent.lock();
        state.set.touch(Time::now());
        if let Some(listing) = &state.listing {
            listing.remove(name);
        }
    }
}
