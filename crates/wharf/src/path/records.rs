//! What is known of names: a record for every known node and for all directories above it. Plain data,
//! without locks; [`tree`](super::tree) has those.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use crate::error::{Error, Kind as ErrorKind, Result};
use crate::name::OwnedName;
use crate::op::RenameHow;
use crate::{Kind, Name};

/// The place of a record.
pub(super) type Id = usize;

/// The root's record, which stays.
pub(super) const ROOT: Id = 0;

/// Where numbers of our own begin: beyond those that file systems count to.
const FIRST_OWN_INODE: u64 = 1 << 48;

/// One node. Its value is held by others; the record only knows it.
pub(super) struct Record<H> {
    /// Directory and name; the first is the path that is used. None for what was removed.
    names: Vec<(Id, OwnedName)>,
    children: HashMap<OwnedName, Id>,
    pub(super) known: Weak<H>,
    /// The author's number, or 0.
    told: u64,
    /// The number that the kernel knows: the author's, unless that is 0 or another record still has it.
    shown: u64,
    kind: Kind,
    open_files: u32,
    /// The last name went because something else has it now.
    replaced: bool,
    /// Paths in use that lead here or through here.
    pub(super) users: u32,
    /// The name is being moved or removed.
    pub(super) moving: bool,
    pub(super) movers_waiting: u32,
}

impl<H> Record<H> {
    fn new(told: u64, shown: u64, kind: Kind) -> Record<H> {
        Record {
            names: Vec::new(),
            children: HashMap::new(),
            known: Weak::new(),
            told,
            shown,
            kind,
            open_files: 0,
            replaced: false,
            users: 0,
            moving: false,
            movers_waiting: 0,
        }
    }

    fn is_needed(&self) -> bool {
        self.known.strong_count() > 0
            || !self.children.is_empty()
            || self.users > 0
            || self.moving
            || self.movers_waiting > 0
    }
}

/// A node as the author answers it: a number, or 0, and what it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) inode: u64,
    pub(super) kind: Kind,
    /// It has just been made: whatever had its name or its number before is something else.
    pub(super) new: bool,
}

pub(super) struct Records<H> {
    places: Vec<Option<Record<H>>>,
    free: Vec<Id>,
    /// By the numbers that authors gave.
    by_told: HashMap<u64, Id>,
    /// Numbers that the kernel knows. No two records have the same: it would take them for one node.
    shown: HashSet<u64>,
    next_own_inode: u64,
}

impl<H> Records<H> {
    pub(super) fn new() -> Records<H> {
        Records {
            places: vec![Some(Record::new(0, 0, Kind::Directory))],
            free: Vec::new(),
            by_told: HashMap::new(),
            shown: HashSet::new(),
            next_own_inode: FIRST_OWN_INODE,
        }
    }

    /// Ids come from nodes that are known, or are kept while they are used: they always have a record.
    pub(super) fn at(&mut self, id: Id) -> &mut Record<H> {
        self.places[id].as_mut().expect("a record stays while its node is known or in use")
    }

    fn get(&self, id: Id) -> &Record<H> {
        self.places[id].as_ref().expect("a record stays while its node is known or in use")
    }

    pub(super) fn child(&self, parent: Id, name: Name<'_>) -> Option<Id> {
        self.get(parent).children.get(name.as_os_str()).copied()
    }

    pub(super) fn known(&self, id: Id) -> Option<Arc<H>> {
        self.get(id).known.upgrade()
    }

    pub(super) fn is_nameless(&self, id: Id) -> bool {
        id != ROOT && self.get(id).names.is_empty()
    }

    /// A node and the directories above it, up to the root.
    ///
    /// # Errors
    /// If it has no name, or a directory above it has none: [`ErrorKind::NotFound`] if that was removed;
    /// [`ErrorKind::Stale`], which makes the kernel look the name up again, if it was replaced.
    pub(super) fn along(&self, id: Id) -> Result<Vec<Id>> {
        let mut along = vec![id];
        let mut id = id;
        while id != ROOT {
            let record = self.get(id);
            let gone = if record.replaced { ErrorKind::Stale } else { ErrorKind::NotFound };
            (id, _) = *record.names.first().ok_or(Error::new(gone))?;
            along.push(id);
        }
        Ok(along)
    }

    /// The path of what [`along`](Self::along) found, or of a name in it. The root's is empty.
    pub(super) fn path(&self, along: &[Id], name: Option<Name<'_>>) -> PathBuf {
        let names = along.iter().rev().filter_map(|id| self.get(*id).names.first());
        let path: PathBuf = names.map(|(_, name)| name.as_name().as_os_str()).collect();
        match name {
            Some(name) => path.join(name.as_os_str()),
            None => path,
        }
    }

    /// What a path leads to.
    pub(super) fn follow(&self, path: &Path) -> Option<Id> {
        path.iter().try_fold(ROOT, |id, name| self.get(id).children.get(name).copied())
    }

    /// A name was found to lead to what the author tells, or nothing had a name (`None`). Returns its place,
    /// and its number.
    pub(super) fn found(&mut self, name: Option<(Id, Name<'_>)>, told: Told) -> (Id, u64) {
        let before = name.and_then(|(parent, name)| self.child(parent, name));
        let same = match told.inode {
            // Without numbers a name is all there is to tell a node by.
            0 => before.filter(|id| !told.new && self.get(*id).kind == told.kind),
            inode => self.by_told.get(&inode).copied().filter(|id| self.is_still(*id, told)),
        };
        let id = same.unwrap_or_else(|| self.insert(told));
        if let Some((parent, name)) = name
            && before != Some(id)
        {
            if told.kind == Kind::Directory && !self.is_within(parent, id) {
                self.unname_all(id);
            }
            self.name(id, parent, name);
        }
        (id, self.get(id).shown)
    }

    /// Whether a number that was told again means the same node. File systems give the number of what was
    /// removed to the next that is made, perhaps before we have noted the removal.
    fn is_still(&self, id: Id, told: Told) -> bool {
        let record = self.get(id);
        let may_be_gone = record.moving || (record.names.is_empty() && record.open_files == 0);
        !(told.new || may_be_gone) && record.kind == told.kind
    }

    /// Whether `id` is `above` or below it. A node within itself would have a path without an end; only an
    /// author who gives numbers twice tells so.
    fn is_within(&self, id: Id, above: Id) -> bool {
        let up = std::iter::successors(Some(id), |id| Some(self.get(*id).names.first()?.0));
        up.take_while(|id| *id != ROOT).any(|id| id == above) || above == ROOT
    }

    /// A directory has one name; if it appears under another it was moved by others.
    fn unname_all(&mut self, id: Id) {
        self.at(id).users += 1;
        for (parent, name) in self.get(id).names.clone() {
            self.unname(parent, name.as_name(), false);
        }
        self.at(id).users -= 1;
    }

    fn insert(&mut self, told: Told) -> Id {
        let id = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        if told.inode != 0 {
            self.by_told.insert(told.inode, id);
        }
        let mut shown = told.inode;
        while shown == 0 || !self.shown.insert(shown) {
            self.next_own_inode += 1;
            shown = self.next_own_inode;
        }
        self.places[id] = Some(Record::new(told.inode, shown, told.kind));
        id
    }

    /// A file was opened.
    pub(super) fn opened(&mut self, id: Id) {
        self.at(id).open_files += 1;
    }

    /// A file was closed.
    pub(super) fn closed(&mut self, id: Id) {
        self.at(id).open_files -= 1;
    }

    /// Gives a node a name; whatever had it before has lost it.
    pub(super) fn name(&mut self, id: Id, parent: Id, name: Name<'_>) {
        if self.is_within(parent, id) || self.child(parent, name) == Some(id) {
            return;
        }
        self.unname(parent, name, true);
        self.at(parent).children.insert(name.to_owned(), id);
        self.at(id).names.push((parent, name.to_owned()));
    }

    /// Takes a name away, if anything is known to have it.
    pub(super) fn unname(&mut self, parent: Id, name: Name<'_>, replaced: bool) {
        let Some(id) = self.at(parent).children.remove(name.as_os_str()) else { return };
        let record = self.at(id);
        record.names.retain(|(other, theirs)| (*other, theirs.as_name()) != (parent, name));
        record.replaced = replaced;
        self.prune(id);
    }

    /// A rename has happened.
    pub(super) fn renamed(&mut self, from: (Id, Name<'_>), to: (Id, Name<'_>), how: RenameHow) {
        let (source, target) = (self.child(from.0, from.1), self.child(to.0, to.1));
        if source.is_some() && source == target {
            // Two names of one node: rename(2) leaves both.
            return;
        }
        // Both are held while names change hands, so that neither is pruned between two names.
        let both = || source.into_iter().chain(target);
        both().for_each(|id| self.at(id).users += 1);
        self.unname(from.0, from.1, false);
        self.unname(to.0, to.1, true);
        if let Some(source) = source {
            self.name(source, to.0, to.1);
        }
        if let (Some(target), RenameHow::Exchange) = (target, how) {
            self.name(target, from.0, from.1);
        }
        both().for_each(|id| self.at(id).users -= 1);
        both().for_each(|id| self.prune(id));
    }

    /// Gives up a record that nobody needs, and those above that were needed for it only.
    pub(super) fn prune(&mut self, id: Id) {
        let mut next = vec![id];
        while let Some(id) = next.pop() {
            if id == ROOT || self.places[id].as_ref().is_none_or(Record::is_needed) {
                continue;
            }
            let Some(record) = self.places[id].take() else { continue };
            self.free.push(id);
            self.shown.remove(&record.shown);
            if self.by_told.get(&record.told) == Some(&id) {
                self.by_told.remove(&record.told);
            }
            for (parent, name) in record.names {
                self.at(parent).children.remove(&name);
                next.push(parent);
            }
        }
    }

    /// The number that the kernel knows.
    #[cfg(test)]
    pub(super) fn shown(&self, id: Id) -> u64 {
        self.get(id).shown
    }

    /// Records there are, beside the root.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len() - 1
    }
}
