//! Which paths are in use, and who may move them.
//!
//! A path in use (by a method of the author's that asked for it) keeps every name along it where it is: who
//! wants to move or remove a name waits until no path leads through what it names, and whoever wants such a path
//! then waits until that is done. So a path is right for as long as it is used, though no lock is held meanwhile.
//!
//! Nobody waits for ever for another who waits: a mover takes all it needs at once or nothing, and who uses a
//! path already gets a second one past movers that only wait. Values of the author's are never dropped under
//! the lock here.
//!
//! Generic in the value of a node, which is known only as long as somebody else holds it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, Kind as ErrorKind, Result};
use crate::op::RenameHow;
use crate::{Cancellation, Name};

use super::records::{Id, ROOT, Records, Told};

/// How often someone who waits for a path looks whether the caller gave up.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) struct Tree<H> {
    records: Mutex<Records<H>>,
    /// Somebody who was waited for is done.
    changed: Condvar,
}

/// A path in use.
pub(super) struct InUse<'t, H> {
    tree: &'t Tree<H>,
    pub(super) path: PathBuf,
    along: Vec<Id>,
}

/// Names that are being moved or removed.
pub(super) struct Moving<'t, H> {
    tree: &'t Tree<H>,
    /// The paths of the names, in the order in which they were asked for.
    pub(super) paths: Vec<PathBuf>,
    /// The directories of the names and those above, in use.
    along: Vec<Id>,
    /// What has the names, as far as it is known.
    moved: Vec<Id>,
}

impl<H> Tree<H> {
    /// A tree with a root, whose value `make` makes.
    pub(super) fn with_root(make: impl FnOnce(Arc<Tree<H>>) -> Arc<H>) -> Arc<H> {
        let tree = Arc::new(Tree { records: Mutex::new(Records::new()), changed: Condvar::new() });
        let root = make(tree.clone());
        tree.lock().at(ROOT).known = Arc::downgrade(&root);
        root
    }

    fn lock(&self) -> MutexGuard<'_, Records<H>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has a name in a directory, if it is known.
    pub(super) fn child(&self, parent: Id, name: Name<'_>) -> Option<Arc<H>> {
        let records = self.lock();
        records.known(records.child(parent, name)?)
    }

    /// What a path leads to, if it is known.
    pub(super) fn follow(&self, path: &Path) -> Option<Arc<H>> {
        let records = self.lock();
        records.known(records.follow(path)?)
    }

    /// Whether a node has no name (any more).
    pub(super) fn is_nameless(&self, id: Id) -> bool {
        self.lock().is_nameless(id)
    }

    /// Uses the path of a node, or of a name in a directory. `holding`: the caller uses another path already.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Stale`] if there is no path any more;
    /// [`ErrorKind::Interrupted`] if the caller gives up.
    pub(super) fn use_path(
        &self,
        at: Id,
        name: Option<Name<'_>>,
        holding: bool,
        cancellation: &Cancellation,
    ) -> Result<InUse<'_, H>> {
        let mut records = self.lock();
        loop {
            let mut along = records.along(at)?;
            let path = records.path(&along, name);
            along.extend(name.and_then(|name| records.child(at, name)));
            let blocked = along.iter().any(|id| {
                let record = records.at(*id);
                record.moving || (record.movers_waiting > 0 && !holding)
            });
            if !blocked {
                along.iter().for_each(|id| records.at(*id).users += 1);
                return Ok(InUse { tree: self, path, along });
            }
            records = self.wait(records);
            if cancellation.is_cancelled() {
                return Err(Error::interrupted());
            }
        }
    }

    /// Waits until nobody uses what has these names or is below it, and keeps everybody away.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Stale`] if a directory has no path any more;
    /// [`ErrorKind::Interrupted`] if the caller gives up;
    /// [`ErrorKind::Invalid`] or [`ErrorKind::NotEmpty`] if something would be moved to a place below itself.
    pub(super) fn move_names(
        &self,
        names: &[(Id, Name<'_>)],
        cancellation: &Cancellation,
    ) -> Result<Moving<'_, H>> {
        let mut records = self.lock();
        loop {
            let (mut paths, mut along, mut moved) = (Vec::new(), Vec::new(), Vec::new());
            for (parent, name) in names {
                let up = records.along(*parent)?;
                paths.push(records.path(&up, Some(*name)));
                along.extend(up);
                moved.push(records.child(*parent, *name));
            }
            match moved.iter().position(|id| id.is_some_and(|id| along.contains(&id))) {
                Some(0) => return Err(Error::new(ErrorKind::Invalid)),
                Some(_) => return Err(Error::new(ErrorKind::NotEmpty)),
                None => {}
            }
            let moved: Vec<Id> = moved.into_iter().flatten().collect();
            let in_use = moved.iter().any(|id| records.at(*id).users > 0 || records.at(*id).moving);
            if !in_use && !along.iter().any(|id| records.at(*id).moving) {
                along.iter().for_each(|id| records.at(*id).users += 1);
                moved.iter().for_each(|id| records.at(*id).moving = true);
                return Ok(Moving { tree: self, paths, along, moved });
            }
            moved.iter().for_each(|id| records.at(*id).movers_waiting += 1);
            records = self.wait(records);
            moved.iter().for_each(|id| records.at(*id).movers_waiting -= 1);
            if cancellation.is_cancelled() {
                moved.iter().for_each(|id| records.prune(*id));
                self.changed.notify_all();
                return Err(Error::interrupted());
            }
        }
    }

    fn wait<'r>(&self, records: MutexGuard<'r, Records<H>>) -> MutexGuard<'r, Records<H>> {
        self.changed.wait_timeout(records, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0
    }

    /// A name was found to lead to what the author tells; without a name, a node was made that has none.
    /// `make` makes the value if the node is not known; it gets the node's place and number.
    pub(super) fn found(
        &self,
        name: Option<(Id, Name<'_>)>,
        told: Told,
        make: impl FnOnce(Id, u64) -> Arc<H>,
    ) -> Arc<H> {
        let mut records = self.lock();
        let (id, inode) = records.found(name, told);
        records.known(id).unwrap_or_else(|| {
            let made = make(id, inode);
            records.at(id).known = Arc::downgrade(&made);
            made
        })
    }

    /// A node was given one more name.
    pub(super) fn linked(&self, id: Id, parent: Id, name: Name<'_>) {
        self.lock().name(id, parent, name);
    }

    /// A file was opened.
    pub(super) fn opened(&self, id: Id) {
        self.lock().opened(id);
    }

    /// A file was closed.
    pub(super) fn closed(&self, id: Id) {
        self.lock().closed(id);
    }

    /// A node's value has gone. Another may have come.
    pub(super) fn forgotten(&self, id: Id) {
        self.lock().prune(id);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl<H> Drop for InUse<'_, H> {
    fn drop(&mut self) {
        let mut records = self.tree.lock();
        let mut waited_for = false;
        for id in &self.along {
            let record = records.at(*id);
            record.users -= 1;
            waited_for |= record.movers_waiting > 0;
        }
        self.along.iter().for_each(|id| records.prune(*id));
        drop(records);
        if waited_for {
            self.tree.changed.notify_all();
        }
    }
}

impl<H> Moving<'_, H> {
    /// The name was removed.
    pub(super) fn removed(self, name: (Id, Name<'_>)) {
        self.tree.lock().unname(name.0, name.1, false);
    }

    /// The first name was moved to the second.
    pub(super) fn renamed(self, from: (Id, Name<'_>), to: (Id, Name<'_>), how: RenameHow) {
        self.tree.lock().renamed(from, to, how);
    }
}

impl<H> Drop for Moving<'_, H> {
    fn drop(&mut self) {
        let mut records = self.tree.lock();
        self.along.iter().for_each(|id| records.at(*id).users -= 1);
        self.moved.iter().for_each(|id| records.at(*id).moving = false);
        self.along.iter().chain(&self.moved).for_each(|id| records.prune(*id));
        drop(records);
        self.tree.changed.notify_all();
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
