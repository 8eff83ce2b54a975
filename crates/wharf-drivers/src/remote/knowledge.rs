//! What is known of the service's files: how it is learnt, how long it is believed, and who is told when it
//! turns out to be different.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use wharf::error::Kind as Why;
use wharf::notice::Notice;
use wharf::{Attributes, Context, Entry, Error, Kind, Lifetimes, Notifier, Time};

use super::Result;
use super::content::{Content, Supply};
use super::lately::Lately;
use super::listing::{Item, Listing};
use super::meta::{Found, Meta, Version};
use super::options::Options;
use super::paths::{apart, inside, is_plain};
use super::spool::Spools;
use super::tree::{Node, Set, Tree};

/// After so many names of a directory that were asked for one by one, all of them are.
const LOOKUPS_BEFORE_LISTING: u32 = 2;

/// What is known, and how more is learnt.
#[derive(Debug)]
pub(super) struct Knowledge {
    pub(super) supply: Arc<Supply>,
    pub(super) tree: Arc<Tree>,
    pub(super) options: Options,
    /// Whether the service tells sizes with its names, so that a listing saves the questions that follow.
    pub(super) lists_sizes: bool,
    /// For what has no time of its own.
    begun: Time,
    /// Of a service that can be written to.
    pub(super) spools: Option<Spools>,
    lately: Mutex<Lately>,
    /// Files whose last upload failed or is still to come, by their numbers.
    unsettled: Mutex<HashMap<u64, Arc<Node>>>,
    /// Learnt from the first operation.
    notifier: OnceLock<Notifier>,
}

impl Knowledge {
    pub(super) fn new(
        supply: Arc<Supply>,
        tree: Arc<Tree>,
        options: Options,
        spools: Option<Spools>,
    ) -> Knowledge {
        let lists_sizes = supply.store.lists_sizes();
        let (begun, lately, unsettled) = (Time::now(), Mutex::default(), Mutex::default());
        let notifier = OnceLock::new();
        Knowledge { supply, tree, options, lists_sizes, begun, spools, lately, unsettled, notifier }
    }

    pub(super) fn unsettled(&self) -> MutexGuard<'_, HashMap<u64, Arc<Node>>> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lifetime(&self) -> Duration {
        self.options.lifetime
    }

    /// What has a name.
    pub(super) async fn lookup(
        self: &Arc<Self>,
        cx: &Context,
        parent: &Arc<Node>,
        name: &str,
    ) -> Result<Arc<Node>> {
        if !is_plain(name) {
            return Err(Error::not_found());
        }
        let path = inside(&parent.path(), name);
        let known = self.tree.get(&path);
        if let Some(node) = known.filter(|node| node.lock().is_fresh(self.lifetime())) {
            return Ok(node);
        }
        let inode = match self.listing_for_lookup(cx, parent) {
            None => self.number(parent, name),
            Some(listing) => {
                let found = cx.unless_cancelled(async { listing.find(name).await }).await?;
                let item = found.ok_or_else(Error::not_found)?;
                if let Some(meta) = item.meta {
                    return Ok(self.learn(&path, item.inode, meta, listing.begun()));
                }
                item.inode
            }
        };
        // What was asked ahead and failed, and the question that follows then, have one deadline together.
        let (engine, patience) = (&self.supply.engine, self.supply.store.deadline);
        let foreseen = self.foreseen(cx, parent, name, &path);
        let (meta, asked) = engine.await_within(patience, "asking for a file", foreseen).await?;
        Ok(self.learn(&path, inode, meta, asked))
    }

    /// The number of what has a name: that which a listing has told, however old it is, or else a new one.
    fn number(&self, parent: &Arc<Node>, name: &str) -> u64 {
        let listing = parent.lock().listing.clone();
        listing.and_then(|listing| listing.number(name)).unwrap_or_else(|| self.tree.new_inode())
    }

    /// The listing that answers for names: one that is there, or one that is worth to be asked for.
    fn listing_for_lookup(self: &Arc<Self>, cx: &Context, parent: &Arc<Node>) -> Option<Arc<Listing>> {
        let mut state = parent.lock();
        let good = state.listing.clone().filter(|listing| listing.is_good(self.lifetime()));
        if good.is_some() || !self.lists_sizes {
            return good;
        }
        state.lookups += 1;
        let worth = state.lookups > LOOKUPS_BEFORE_LISTING;
        drop(state);
        worth.then(|| self.listing(cx, parent))
    }

    /// The names of a directory, as they are or will be soon.
    pub(super) fn listing(self: &Arc<Self>, cx: &Context, directory: &Arc<Node>) -> Arc<Listing> {
        let notifier = self.notifier.get_or_init(|| cx.notifier().clone());
        let mut state = directory.lock();
        let before = state.listing.clone();
        if let Some(listing) = before.clone().filter(|listing| listing.is_good(self.lifetime())) {
            return listing;
        }
        let listing = Listing::new();
        state.listing = Some(listing.clone());
        state.lookups = 0;
        drop(state);
        let work = load(self.clone(), directory.clone(), before, listing.clone(), notifier.clone());
        self.supply.engine.detach(work);
        listing
    }

    /// Asks the service what is at a path.
    pub(super) async fn stat(&self, cx: &Context, path: &str) -> Result<Meta> {
        let (store, path) = (self.supply.store.clone(), path.to_owned());
        self.supply.engine.ask(cx, async move { store.stat(&path).await }).await
    }

    /// Makes sure that what is known of a node may be believed.
    pub(super) async fn refresh(&self, cx: &Context, node: &Arc<Node>) -> Result<()> {
        let path = {
            let state = node.lock();
            if state.is_fresh(self.lifetime()) || node.inode == super::tree::ROOT_INODE {
                return Ok(());
            }
            state.path.clone()
        };
        self.notifier.get_or_init(|| cx.notifier().clone());
        let asked = Instant::now();
        let told = self.stat(cx, &path).await;
        if node.lock().asked > asked {
            // Changed here, or asked for by another, while the answer was on its way.
            return Ok(());
        }
        match told {
            Ok(meta) if meta.kind == node.kind => {
                self.learn(&path, node.inode, meta, asked);
                Ok(())
            }
            Ok(_) => {
                self.lose(node);
                Err(Error::new(Why::Stale))
            }
            Err(error) => {
                if error.kind() == Why::NotFound {
                    self.lose(node);
                }
                Err(error)
            }
        }
    }

    /// The contents of what is at a path, whether or not anybody knows it.
    pub(super) fn content_at(&self, path: &Arc<str>, version: &Version) -> Arc<Content> {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner).get(path, version)
    }

    /// A change to what is at a path, or below it, is about to begin, or has ended, well or not. Called at
    /// both moments: contents of before are not asked for any more, and those of meanwhile are of neither side.
    pub(super) fn ends(&self, path: &str, is_directory: bool) {
        // First, so that no node gets them from there again.
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.forget(path);
        if is_directory {
            lately.forget_below(path);
        }
        drop(lately);
        let below = if is_directory { self.tree.below(path) } else { Vec::new() };
        for node in below.into_iter().chain(self.tree.get(path)) {
            if let Some(content) = node.lock().content.take() {
                content.end();
            }
        }
        if let Some(disc) = &self.supply.disc {
            disc.forget(path, is_directory);
        }
    }

    /// All of a short file that the service has as we know it, if its bytes are here.
    pub(super) fn whole(&self, node: &Arc<Node>) -> Option<bytes::Bytes> {
        {
            let state = node.lock();
            let is_dirty = state.local.as_ref().is_some_and(|local| local.lock().is_dirty());
            if node.is_directory() || is_dirty || state.meta.version.size > super::cache::BLOCK_BYTES {
                return None;
            }
        }
        self.content(node).whole(&self.supply)
    }

    /// What the service says of a path becomes what we know. Whoever knew otherwise is told. Returns the node
    /// that has the path now.
    pub(super) fn learn(&self, path: &str, inode: u64, meta: Meta, asked: Instant) -> Arc<Node> {
        let node = self.tree.node(path, inode, meta.clone(), asked);
        let mut state = node.lock();
        if state.asked > asked || state.local.is_some() {
            return {
                drop(state);
                node
            };
        }
        let is_same = node.is_directory() || state.meta.version.is_same(&meta.version);
        if is_same {
            // A tag that was known is not forgotten for an answer without one.
            let etag = meta.version.etag.clone().or_else(|| state.meta.version.etag.clone());
            state.meta = meta;
            state.meta.version.etag = etag;
            state.asked = asked;
            return {
                drop(state);
                node
            };
        }
        if state.opens == 0 {
            state.meta = meta;
            state.asked = asked;
            state.content = None;
            state.set = Set::default();
            drop(state);
            self.tell(Notice::Contents { inode: node.inode, range: 0..u64::MAX });
            return node;
        }
        // Who has it open goes on with what was opened. The name leads to another file from now on, so that
        // nobody, and no cache, ever sees a mixture of both.
        drop(state);
        self.lose(&node);
        self.tree.node(path, self.tree.new_inode(), meta, asked)
    }

    /// The contents of an open file are not those of the service any more.
    pub(super) fn outdated(&self, node: &Arc<Node>) {
        self.lose(node);
    }

    /// A node has lost its name on the other side.
    fn lose(&self, node: &Arc<Node>) {
        self.tree.retire(node);
        let path = node.path();
        let (directory, name) = apart(&path);
        if let Some(parent) = self.tree.get(directory) {
            self.tell(Notice::EntryGone { parent: parent.inode, name: name.into() });
            // What it knows of the name is as old.
            parent.lock().listing = None;
        }
    }

    fn tell(&self, notice: Notice) {
        if let Some(notifier) = self.notifier.get() {
            notifier.send(notice);
        }
    }

    /// The contents that a file has, as far as is known.
    pub(super) fn content(&self, node: &Arc<Node>) -> Arc<Content> {
        let mut state = node.lock();
        let (path, version) = (state.path.clone(), state.meta.version.clone());
        // What has its path now, if anything, are another's.
        let lost = state.gone.then(|| Content::lost(path.clone(), version.clone()));
        let lately = || lost.unwrap_or_else(|| self.content_at(&path, &version));
        state.content.get_or_insert_with(lately).clone()
    }

    pub(super) fn entry(&self, node: Arc<Node>) -> Entry<Arc<Node>> {
        let attributes = self.attributes(&node);
        let lifetimes = Lifetimes { entry: self.lifetime(), attributes: self.lifetime() };
        Entry { node, attributes, lifetimes: Some(lifetimes) }
    }

    pub(super) fn attributes(&self, node: &Arc<Node>) -> Attributes {
        let state = node.lock();
        let mut version = state.meta.version.clone();
        if let Some(local) = &state.local {
            let local = local.lock();
            (version.size, version.modified) = (local.size, Some(local.modified));
        }
        let mut attributes = match node.kind {
            Kind::Directory => Attributes::directory(node.inode),
            _ => Attributes::file(node.inode, version.size),
        };
        if self.spools.is_none() {
            attributes.permissions &= !0o222;
        }
        let set = &state.set;
        attributes.permissions = set.permissions.unwrap_or(attributes.permissions);
        attributes.uid = self.options.uid;
        attributes.gid = self.options.gid;
        attributes.links = if state.gone { 0 } else { attributes.links };
        // What a service tells no time of is as old as the mount.
        let told = version.modified.unwrap_or(self.begun);
        attributes.modified = set.modified.unwrap_or(told);
        attributes.accessed = set.accessed.unwrap_or(told);
        attributes.changed = set.changed.unwrap_or(told).max(told);
        attributes.block_size = super::cache::BLOCK_BYTES as u32;
        attributes
    }
}

/// Loads a listing, and tells who knew otherwise.
async fn load(
    knowledge: Arc<Knowledge>,
    directory: Arc<Node>,
    before: Option<Arc<Listing>>,
    listing: Arc<Listing>,
    notifier: Notifier,
) {
    let path = directory.path();
    let mut inodes = HashMap::new();
    if let Some(before) = &before {
        before.each(0, |_, item| {
            inodes.insert(item.name.clone(), item.inode);
            true
        });
    }
    let tree = &knowledge.tree;
    let add = |found: Found| {
        if !is_plain(&found.name) {
            log::debug!("{path}: the name {:?} cannot be shown", found.name);
            return;
        }
        let known = tree.get(&inside(&path, &found.name)).map(|node| node.inode);
        let inode = known.or_else(|| inodes.get(&*found.name).copied()).unwrap_or_else(|| tree.new_inode());
        listing.add(Item { name: found.name.into(), kind: found.kind, inode, meta: found.meta });
    };
    let listed = knowledge.supply.store.list(&path, &add).await;
    if let Err(error) = &listed {
        log::info!("{path}/: {error}");
        listing.end(Err(error.kind()));
        return;
    }
    // What is made here is no news to the service only.
    for node in tree.below(&path) {
        let state = node.lock();
        let (parent, name) = apart(&state.path);
        if parent == &*path && state.local.is_some() && !state.gone {
            let meta = Some(state.meta.clone());
            listing.add(Item { name: name.into(), kind: node.kind, inode: node.inode, meta });
        }
    }
    listing.end(Ok(()));
    // Only those that somebody knows can be known wrongly.
    for node in tree.below(&path) {
        let its = node.path();
        let (parent, name) = apart(&its);
        if parent != &*path || node.lock().asked > listing.begun() {
            continue;
        }
        match listing.find(name).await {
            Ok(None) => {
                tree.retire(&node);
                let (parent, child) = (directory.inode, node.inode);
                notifier.send(Notice::Deleted { parent, child, name: name.into() });
            }
            Ok(Some(Item { meta: Some(meta), .. })) if meta.kind == node.kind => {
                knowledge.learn(&its, node.inode, meta, listing.begun());
            }
            _ => {}
        }
    }
}
