//! Where an operation takes place: its path, when it is asked for, and what is known beside it.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Kind, Result};
use crate::{Context, Name};

use super::FileSystem;
use super::node::{File, Known, Node};
use super::records::Told;
use super::tree::InUse;

/// Where an operation takes place: something that is there, or a name under which something is looked for,
/// made or removed.
pub struct At<'a, T: FileSystem> {
    operation: &'a Operation<'a>,
    place: Place<'a, T>,
    file: Option<&'a Arc<T::File>>,
    any_file: OnceCell<Option<Arc<T::File>>>,
    path: OnceCell<Held<'a, T>>,
}

/// What all places of one operation share.
pub(super) struct Operation<'a> {
    pub(super) cx: &'a Context,
    /// A path is in use already.
    holding: Cell<bool>,
}

enum Place<'a, T: FileSystem> {
    Node(&'a Node<T>),
    Name { parent: &'a Node<T>, name: Name<'a>, had: Had<T> },
}

/// What a name is known to lead to, or the data for what it turns out to lead to.
enum Had<T: FileSystem> {
    Known(Arc<Known<T>>),
    Fresh(T::Data),
}

enum Held<'a, T: FileSystem> {
    InUse(InUse<'a, Known<T>>),
    /// Kept by whoever moves it.
    Moving(PathBuf),
}

impl<'a> Operation<'a> {
    pub(super) fn new(cx: &'a Context) -> Operation<'a> {
        Operation { cx, holding: Cell::new(false) }
    }

    pub(super) fn node<T: FileSystem>(&'a self, node: &'a Node<T>) -> At<'a, T> {
        self.at(Place::Node(node), None)
    }

    pub(super) fn file<T: FileSystem>(&'a self, file: &'a File<T>) -> At<'a, T> {
        self.at(Place::Node(&file.node), file.file())
    }

    /// A node, asked about through an open file if there is one; by its path else.
    pub(super) fn node_or_file<T: FileSystem>(
        &'a self,
        node: &'a Node<T>,
        file: Option<&'a File<T>>,
    ) -> Result<At<'a, T>> {
        match file.and_then(File::file) {
            Some(file) => Ok(self.at(Place::Node(node), Some(file))),
            None => self.node(node).with_path(),
        }
    }

    pub(super) fn name<T: FileSystem>(&'a self, parent: &'a Node<T>, name: Name<'a>) -> At<'a, T> {
        let known = parent.0.tree.child(parent.0.id, name);
        let had = known.map_or_else(|| Had::Fresh(T::Data::default()), Had::Known);
        self.at(Place::Name { parent, name, had }, None)
    }

    fn at<T: FileSystem>(&'a self, place: Place<'a, T>, file: Option<&'a Arc<T::File>>) -> At<'a, T> {
        At { operation: self, place, file, any_file: OnceCell::new(), path: OnceCell::new() }
    }
}

impl<'a, T: FileSystem> At<'a, T> {
    /// The path, relative to the volume's root, which is the empty path. So it can be
    /// [joined](Path::join) to a directory of yours.
    ///
    /// It stays what it is while the method runs: whoever wants to move or remove what it leads to, or a
    /// directory above that, waits. Methods about a place have their path from the beginning. Those about an open
    /// file, and those about the whole volume, have it only if they ask; so ask if you need it, and before you take
    /// locks of your own: it may have to wait for a rename that needs your locks.
    ///
    /// # Errors
    /// [`Kind::NotFound`] or [`Kind::Stale`] if there is no path any more, because the last name that was
    /// known has been removed or leads to something else. What is then asked of a node that is open comes with
    /// an open [file](Self::file). [`Kind::Interrupted`] if the caller gave up waiting for a path that is being
    /// moved. Return them as they are.
    pub fn path(&self) -> Result<&Path> {
        let held = match self.path.get() {
            Some(held) => held,
            None => {
                let in_use = self.use_path()?;
                self.operation.holding.set(true);
                self.path.get_or_init(|| Held::InUse(in_use))
            }
        };
        Ok(match held {
            Held::InUse(in_use) => &in_use.path,
            Held::Moving(path) => path,
        })
    }

    /// The same place with its path in use from now on, if there is one.
    pub(super) fn with_path(self) -> Result<At<'a, T>> {
        match self.path() {
            // That there is none, only whoever asks needs to know.
            Err(error) if !matches!(error.kind(), Kind::NotFound | Kind::Stale) => Err(error),
            _ => Ok(self),
        }
    }

    fn use_path(&self) -> Result<InUse<'a, Known<T>>> {
        let (holding, cancellation) = (self.operation.holding.get(), self.operation.cx.cancellation());
        match self.place {
            Place::Node(Node(node)) => node.tree.use_path(node.id, None, holding, cancellation),
            Place::Name { parent: Node(parent), name, .. } => {
                parent.tree.use_path(parent.id, Some(name), holding, cancellation)
            }
        }
    }

    /// An open file to ask instead of the path: the one that asks, if one does; or, where there is no
    /// path any more, any that is open.
    pub fn file(&self) -> Option<&T::File> {
        match (self.file, &self.place) {
            (Some(file), _) => Some(file),
            (None, Place::Node(Node(node))) => {
                let any = || node.tree.is_nameless(node.id).then(|| node.any_file()).flatten();
                self.any_file.get_or_init(any).as_deref()
            }
            (None, Place::Name { .. }) => None,
        }
    }

    /// Your data for what is there. It begins as its default, and is kept as long as the kernel knows the node:
    /// through renames, after the last name has gone, and from one name to another of the same node.
    ///
    /// Where a name is looked up or something is made, the data is that of the new node, unless it turns
    /// out that it is one that is known under another name.
    pub fn data(&self) -> &T::Data {
        match &self.place {
            Place::Node(Node(node)) | Place::Name { had: Had::Known(node), .. } => &node.data,
            Place::Name { had: Had::Fresh(data), .. } => data,
        }
    }

    /// Your data for the directory that a name is in; `None` where the place is no name.
    pub fn parent_data(&self) -> Option<&T::Data> {
        match &self.place {
            Place::Node(_) => None,
            Place::Name { parent, .. } => Some(&parent.0.data),
        }
    }

    /// The same place, whose path is kept by whoever moves it.
    pub(super) fn moving(self, path: PathBuf) -> At<'a, T> {
        At { path: OnceCell::from(Held::Moving(path)), ..self }
    }

    /// The name led to what the author told. Its path stays in use until the node has its name.
    pub(super) fn found(self, told: Told) -> Node<T> {
        let At { place, path, .. } = self;
        let node = match place {
            Place::Node(node) => node.clone(),
            Place::Name { parent: Node(parent), name, had } => {
                let data = match had {
                    Had::Fresh(data) => data,
                    // The node may be another than the one that was known; no code of the author's runs later.
                    Had::Known(_) => T::Data::default(),
                };
                let make = |id, inode| Known::new(parent.tree.clone(), id, inode, data);
                Node(parent.tree.found(Some((parent.id, name)), told, make))
            }
        };
        drop(path);
        node
    }
}

impl<T: FileSystem> fmt::Debug for At<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Node(node) => write!(f, "At({node:?})"),
            Place::Name { parent, name, .. } => write!(f, "At({name:?} in {parent:?})"),
        }
    }
}
