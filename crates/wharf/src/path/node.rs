//! What stands for a node and an open file where the author has paths.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::Attributes;

use super::FileSystem;
use super::listing::Snapshot;
use super::records::Id;
use super::tree::Tree;

/// A node of a [path file system](FileSystem), with the author's [`Data`](FileSystem::Data) for it.
pub struct Node<T: FileSystem>(pub(super) Arc<Known<T>>);

/// As long as this is held the node is known.
pub(super) struct Known<T: FileSystem> {
    pub(super) tree: Arc<Tree<Known<T>>>,
    pub(super) id: Id,
    /// Its number; the root's is learnt when the author first tells it.
    inode: OnceLock<u64>,
    pub(super) data: T::Data,
    /// Its open files, for when there is no path any more.
    open: Mutex<Vec<Weak<T::File>>>,
    /// What the author told last, for when there is neither.
    last: Mutex<Option<Attributes>>,
}

/// The root's number if the author gives none.
const ROOT_INODE: u64 = 1;

impl<T: FileSystem> Known<T> {
    pub(super) fn new(tree: Arc<Tree<Known<T>>>, id: Id, inode: u64, data: T::Data) -> Arc<Known<T>> {
        let inode = if inode == 0 { OnceLock::new() } else { OnceLock::from(inode) };
        Arc::new(Known { tree, id, inode, data, open: Mutex::default(), last: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, Vec<Weak<T::File>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Any of its open files.
    pub(super) fn any_file(&self) -> Option<Arc<T::File>> {
        self.open().iter().find_map(Weak::upgrade)
    }

    /// Its number, as the kernel knows it.
    pub(super) fn inode(&self) -> u64 {
        self.inode.get().copied().unwrap_or(ROOT_INODE)
    }

    /// Its attributes with its number.
    pub(super) fn numbered(&self, attributes: Attributes) -> Attributes {
        let told = if attributes.inode == 0 { ROOT_INODE } else { attributes.inode };
        let inode = *self.inode.get_or_init(|| told);
        let attributes = Attributes { inode, ..attributes };
        *self.last() = Some(attributes);
        attributes
    }

    fn last(&self) -> MutexGuard<'_, Option<Attributes>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attributes of what has no name and no open file: a removed directory that is somebody's working
    /// directory, say. Nobody can ask the author about it any more.
    pub(super) fn last_attributes(&self) -> Option<Attributes> {
        let gone = self.tree.is_nameless(self.id) && self.any_file().is_none();
        let last = gone.then(|| *self.last()).flatten();
        last.map(|attributes| Attributes { links: 0, ..attributes })
    }
}

impl<T: FileSystem> Drop for Known<T> {
    fn drop(&mut self) {
        self.tree.forgotten(self.id);
    }
}

impl<T: FileSystem> Clone for Node<T> {
    fn clone(&self) -> Node<T> {
        Node(self.0.clone())
    }
}

impl<T: FileSystem> fmt::Debug for Node<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.0.inode())
    }
}

/// An open file or directory of a [path file system](FileSystem).
pub struct File<T: FileSystem> {
    pub(super) node: Node<T>,
    pub(super) what: What<T>,
}

pub(super) enum What<T: FileSystem> {
    File(Arc<T::File>),
    Directory(Mutex<Arc<Snapshot>>),
}

impl<T: FileSystem> File<T> {
    pub(super) fn new(node: &Node<T>, file: T::File) -> File<T> {
        let file = Arc::new(file);
        node.0.open().push(Arc::downgrade(&file));
        node.0.tree.opened(node.0.id);
        File { node: node.clone(), what: What::File(file) }
    }

    pub(super) fn directory(node: &Node<T>) -> File<T> {
        File { node: node.clone(), what: What::Directory(Mutex::default()) }
    }

    /// The author's value, if it is a file.
    pub(super) fn file(&self) -> Option<&Arc<T::File>> {
        match &self.what {
            What::File(file) => Some(file),
            What::Directory(_) => None,
        }
    }
}

impl<T: FileSystem> Drop for File<T> {
    fn drop(&mut self) {
        if let What::File(file) = &self.what {
            self.node.0.open().retain(|other| other.as_ptr() != Arc::as_ptr(file));
            self.node.0.tree.closed(self.node.0.id);
        }
    }
}

impl<T: FileSystem> fmt::Debug for File<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({:?})", self.node)
    }
}
