//! One file or directory that somebody knows: its entry as it is now, and where its bytes are.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wharf::{Attributes, Disc, Error, Extents, Kind, Result, Run};

use crate::desk::Desk;

use super::index::root_key;
use super::runs::Runs;
use super::slot::{READ_ONLY, Slot};
use super::volume::{Gone, Shared};

/// An entry's place: its directory, by that one's first cluster, and its slot there.
pub(super) type Place = (u32, u32);

/// A file or directory. See the [module](self).
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) shared: Arc<Shared>,
    facts: Mutex<Facts>,
    /// Held while a file's length changes, or a part of a sector is written.
    pub(super) gate: Desk<()>,
}

/// What may change.
#[derive(Debug)]
pub(super) struct Facts {
    /// `None` for the root, and for what was removed.
    pub(super) place: Option<Place>,
    pub(super) is_root: bool,
    pub(super) slot: Slot,
    /// A file's clusters, once somebody wanted them.
    pub(super) runs: Option<Runs>,
    /// How many of them the disc has linked.
    pub(super) linked: u32,
    /// Its directory, as it is to be flushed, tells of clusters that the disc may not have linked.
    pub(super) told: bool,
    /// Held by reads of what the file has now; another one comes with every cut.
    pub(super) token: Arc<()>,
    /// What is wrong with it: then it is only read.
    pub(super) wrong: Option<&'static str>,
}

impl Facts {
    pub(super) fn new(place: Option<Place>, slot: Slot) -> Facts {
        let (is_root, told, token) = (false, false, Arc::default());
        Facts { place, is_root, slot, runs: None, linked: 0, told, token, wrong: None }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.place.is_none() && !self.is_root
    }

    /// Fails for a file that must not be changed.
    pub(super) fn sound(&self) -> Result<()> {
        match self.wrong {
            Some(words) => Err(Error::io("changing a file that is damaged").because(words)),
            None => Ok(()),
        }
    }
}

impl Inode {
    pub(super) fn new(number: u64, shared: Arc<Shared>, facts: Facts) -> Inode {
        Inode { number, shared, facts: Mutex::new(facts), gate: Desk::new(()) }
    }

    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_directory(&self) -> bool {
        let facts = self.facts();
        facts.is_root || facts.slot.is_directory()
    }

    /// The first cluster of a directory, by which it is known.
    ///
    /// # Errors
    /// `NotADirectory`, or `NotFound` if it was removed.
    pub(super) fn key(&self) -> Result<u32> {
        let facts = self.facts();
        let geometry = &self.shared.geometry;
        if facts.is_root {
            return Ok(root_key(geometry));
        }
        if !facts.slot.is_directory() {
            return Err(Error::not_a_directory());
        }
        if facts.is_gone() {
            return Err(Error::not_found());
        }
        let key = facts.slot.first(geometry.width);
        if key == 0 || key == root_key(geometry) {
            return Err(Error::io("entering a directory").because("it says that it is the root"));
        }
        Ok(key)
    }

    pub(super) fn attributes(&self) -> Attributes {
        let facts = self.facts();
        let links = u32::from(!facts.is_gone());
        Attributes { links, ..self.shared.attributes(self.number, facts.is_root, &facts.slot) }
    }
}

impl Shared {
    /// What an entry says, in the terms of stat(2).
    pub(super) fn attributes(&self, number: u64, is_root: bool, slot: &Slot) -> Attributes {
        let options = &self.options;
        let directory = is_root || slot.is_directory();
        let mut permissions = 0o777 & !options.umask;
        if slot.attributes() & READ_ONLY != 0 {
            permissions &= !0o222;
        }
        let kind = if directory { Kind::Directory } else { Kind::File };
        let size = if directory { 0 } else { u64::from(slot.size()) };
        let cluster = u64::from(self.geometry.cluster_bytes);
        let modified = self.zone().time(slot.modified(), 0);
        let (born, hundredths) = slot.born();
        Attributes {
            // Nobody counts the subdirectories of a directory; 1 says so.
            links: 1,
            uid: options.uid,
            gid: options.gid,
            size,
            blocks: size.div_ceil(cluster) * (cluster / 512),
            block_size: self.geometry.cluster_bytes,
            accessed: self.zone().time(slot.accessed(), 0),
            modified,
            changed: modified,
            born: (born.date != 0).then(|| self.zone().time(born, hundredths)),
            ..Attributes::new(number, kind, permissions)
        }
    }
}

impl Extents for Inode {
    fn disc(&self) -> &Disc {
        self.shared.medium.disc()
    }

    fn len_bytes(&self) -> u64 {
        self.facts().slot.size().into()
    }

    fn runs(&self, range: Range<u64>, into: &mut Vec<Run>) -> Result<()> {
        let shared = &self.shared;
        let each = u64::from(shared.geometry.cluster_bytes);
        let facts = self.facts();
        let runs = facts.runs.as_ref().ok_or(Error::io("reading a file that was not opened"))?;
        // It may have become shorter since it was asked how long it is.
        let range = range.start..range.end.min(facts.slot.size().into());
        if range.is_empty() {
            return Ok(());
        }
        if range.end.div_ceil(each) > u64::from(runs.len()) {
            return Err(Error::io("reading a file").because("its chain of clusters ends before it does"));
        }
        let first = (range.start / each) as u32;
        let covering = runs.from(first).iter().take_while(|run| u64::from(run.index) * each < range.end);
        into.extend(covering.map(|run| {
            let offset = u64::from(run.index) * each;
            Run {
                offset,
                disc_offset: Some(shared.medium.base() + shared.geometry.offset(run.span.first)),
                len: (u64::from(run.span.count) * each).min(range.end - offset),
            }
        }));
        Ok(())
    }

    fn hold(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self.facts().token.clone())
    }
}

impl Drop for Inode {
    /// Nobody has it open any more and nobody knows it: what was removed gives its clusters back.
    fn drop(&mut self) {
        let facts = self.facts.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(runs) = facts.runs.take() else { return };
        let free = facts.place.is_none() && !facts.is_root && facts.wrong.is_none();
        let claimed = facts.wrong.is_none();
        self.shared.went(Gone { spans: runs.spans().collect(), free, claimed });
    }
}

impl fmt::Debug for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inode").field("number", &self.number).finish_non_exhaustive()
    }
}
