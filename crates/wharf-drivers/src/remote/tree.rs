//! The nodes that somebody knows, by their paths. A path is relative to the root, without slashes at its ends.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use wharf::{Kind, Time};

use super::content::Content;
use super::guesses::Guesses;
use super::listing::Listing;
use super::meta::{Meta, Version};
use super::neighbours::Neighbours;
use super::paths::inside;
use super::spool::Spool;

/// One file or directory. Its inode number is its own as long as anybody knows it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) inode: u64,
    pub(super) kind: Kind,
    tree: Weak<Tree>,
    state: Mutex<State>,
    /// Held while its local copy is made.
    pub(super) making: tokio::sync::Mutex<()>,
}

/// What changes about a node.
#[derive(Debug)]
pub(super) struct State {
    pub(super) path: Arc<str>,
    pub(super) meta: Meta,
    /// When the service said so.
    pub(super) asked: Instant,
    pub(super) opens: u32,
    /// Of a file: the version that was last opened.
    pub(super) content: Option<Arc<Content>>,
    /// The version whose bytes the kernel may still have.
    pub(super) kept: Option<Version>,
    /// Of a directory.
    pub(super) listing: Option<Arc<Listing>>,
    /// Of a directory: small files that are opened one after the other.
    pub(super) neighbours: Neighbours,
    /// Of a directory: what is asked for ahead of those who look at its names.
    pub(super) guesses: Guesses,
    /// Of a directory: names that were asked for one by one.
    pub(super) lookups: u32,
    /// Of a file that is being changed: its local copy, which is what everybody sees.
    pub(super) local: Option<Arc<Spool>>,
    /// What was set through this mount, and the service does not keep.
    pub(super) set: Set,
    /// It has no name any more, or another file has it.
    pub(super) gone: bool,
    /// Its name was taken away here: what is written to it is for those who have it open.
    pub(super) removed: bool,
}

/// Attributes that hold as long as somebody knows the node.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    pub(super) permissions: Option<u16>,
    pub(super) accessed: Option<Time>,
    pub(super) modified: Option<Time>,
    pub(super) changed: Option<Time>,
}

impl Set {
    /// Contents, or the names in a directory, were changed now.
    pub(super) fn touch(&mut self, now: Time) {
        (self.modified, self.changed) = (Some(now), Some(now));
    }
}

impl Node {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn path(&self) -> Arc<str> {
        self.lock().path.clone()
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}

impl State {
    /// Whether what is known of it may still be believed.
    pub(super) fn is_fresh(&self, lifetime: Duration) -> bool {
        self.gone || self.local.is_some() || self.asked.elapsed() < lifetime
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(tree) = self.tree.upgrade() {
            let path = self.path();
            let mut nodes = tree.lock();
            // Another node may have taken the path.
            if nodes.by_path.get(&path).is_some_and(|node| node.strong_count() == 0) {
                nodes.by_path.remove(&path);
            }
        }
    }
}

/// The nodes that somebody knows.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Mutex<Nodes>,
    this: Weak<Tree>,
}

#[derive(Debug)]
struct Nodes {
    by_path: BTreeMap<Arc<str>, Weak<Node>>,
    inode_next: u64,
}

pub(super) const ROOT_INODE: u64 = 1;

impl Tree {
    pub(super) fn new() -> (Arc<Tree>, Arc<Node>) {
        let nodes = Nodes { by_path: BTreeMap::new(), inode_next: ROOT_INODE };
        let tree = Arc::new_cyclic(|this| Tree { nodes: Mutex::new(nodes), this: this.clone() });
        let inode = tree.new_inode();
        let root = tree.node("", inode, Meta::directory(), Instant::now());
        (tree, root)
    }

    /// A number that no node has.
    pub(super) fn new_inode(&self) -> u64 {
        let mut nodes = self.lock();
        nodes.inode_next += 1;
        nodes.inode_next - 1
    }

    /// The node at a path, if anybody knows it.
    pub(super) fn get(&self, path: &str) -> Option<Arc<Node>> {
        self.lock().by_path.get(path)?.upgrade()
    }

    /// The node at a path: the one that is known, if it is of the same kind, or a new one with this number.
    pub(super) fn node(&self, path: &str, inode: u64, meta: Meta, asked: Instant) -> Arc<Node> {
        let mut nodes = self.lock();
        let known = nodes.by_path.get(path).and_then(Weak::upgrade);
        if let Some(known) = known {
            drop(nodes);
            if known.kind == meta.kind {
                return known;
            }
            self.retire(&known);
            return self.node(path, inode, meta, asked);
        }
        let path: Arc<str> = path.into();
        let state = State {
            path: path.clone(),
            asked,
            opens: 0,
            content: None,
            kept: None,
            listing: None,
            lookups: 0,
            neighbours: Neighbours::default(),
            guesses: Guesses::default(),
            local: None,
            set: Set::default(),
            gone: false,
            removed: false,
            meta: meta.clone(),
        };
        let node = Node {
            inode,
            kind: meta.kind,
            tree: self.this.clone(),
            state: Mutex::new(state),
            making: Default::default(),
        };
        let node = Arc::new(node);
        nodes.by_path.insert(path, Arc::downgrade(&node));
        node
    }

    /// A node loses its name.
    pub(super) fn retire(&self, node: &Arc<Node>) {
        let mut state = node.lock();
        state.gone = true;
        let path = state.path.clone();
        drop(state);
        let mut nodes = self.lock();
        if nodes.by_path.get(&path).is_some_and(|there| std::ptr::eq(there.as_ptr(), Arc::as_ptr(node))) {
            nodes.by_path.remove(&path);
        }
    }

    /// A node has another path now, and so has everything below it.
    pub(super) fn moved(&self, node: &Arc<Node>, to: &str) {
        let from = node.path();
        let mut all = self.below(&from);
        all.push(node.clone());
        for node in all {
            let old = node.path();
            let new: Arc<str> = format!("{to}{}", &old[from.len()..]).into();
            let mut nodes = self.lock();
            if nodes.by_path.get(&old).is_some_and(|there| std::ptr::eq(there.as_ptr(), Arc::as_ptr(&node))) {
                nodes.by_path.remove(&old);
            }
            nodes.by_path.insert(new.clone(), Arc::downgrade(&node));
            drop(nodes);
            let mut state = node.lock();
            if let Some(content) = &state.content {
                content.moved(new.clone());
            }
            state.path = new;
        }
    }

    /// The known nodes below a directory, at any depth.
    pub(super) fn below(&self, directory: &str) -> Vec<Arc<Node>> {
        let prefix = inside(directory, "");
        let nodes = self.lock();
        let from = (Bound::Included(&*prefix), Bound::Unbounded);
        let behind = nodes.by_path.range::<str, _>(from).take_while(|(path, _)| path.starts_with(&prefix));
        behind.filter_map(|(_, node)| node.upgrade()).filter(|node| node.inode != ROOT_INODE).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Meta {
        Meta { kind: Kind::File, version: Version::default() }
    }

    #[test]
    fn a_node_is_one_as_long_as_anybody_knows_it() {
        let (tree, _root) = Tree::new();
        let node = tree.node("a/b", tree.new_inode(), file(), Instant::now());
        let again = tree.node("a/b", tree.new_inode(), file(), Instant::now());
        assert!(Arc::ptr_eq(&node, &again));
        drop((node, again));
        assert!(tree.get("a/b").is_none());
        assert_eq!(tree.lock().by_path.len(), 1, "only the root is left");
    }

    #[test]
    fn what_lost_its_name_does_not_take_its_followers_name_along() {
        let (tree, _root) = Tree::new();
        let old = tree.node("a", tree.new_inode(), file(), Instant::now());
        tree.retire(&old);
        let new = tree.node("a", tree.new_inode(), file(), Instant::now());
        assert_ne!(old.inode, new.inode);
        tree.retire(&old);
        drop(old);
        assert!(Arc::ptr_eq(&tree.get("a").unwrap(), &new));
        let other = tree.node("a", tree.new_inode(), Meta::directory(), Instant::now());
        assert!(new.lock().gone && other.is_directory());
    }

    #[test]
    fn what_is_below_a_directory_moves_with_it() {
        let (tree, _root) = Tree::new();
        let make = |path: &str, meta| tree.node(path, tree.new_inode(), meta, Instant::now());
        let (a, x, other) = (make("a", Meta::directory()), make("a/x", file()), make("a-b", file()));
        tree.moved(&a, "c/d");
        assert_eq!((&*a.path(), &*x.path(), &*other.path()), ("c/d", "c/d/x", "a-b"));
        assert!(tree.get("a/x").is_none() && Arc::ptr_eq(&tree.get("c/d/x").unwrap(), &x));
    }

    #[test]
    fn below_a_directory_is_what_begins_with_its_path_and_a_slash() {
        let (tree, _root) = Tree::new();
        let keep: Vec<_> = ["a", "a/x", "a/x/y", "a-b", "b"]
            .map(|path| tree.node(path, tree.new_inode(), file(), Instant::now()))
            .into();
        let below =
            |path: &str| tree.below(path).iter().map(|node| node.path()).collect::<Vec<_>>().join(" ");
        assert_eq!(below("a"), "a/x a/x/y");
        assert_eq!(below("").split(' ').count(), keep.len());
    }
}
