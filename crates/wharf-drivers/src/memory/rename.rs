//! Renaming: one step, whatever is at either name.
//!
//! All renames of a volume go one after the other, so that the tree above two directories stands still while
//! it is looked at, and two directories can be locked in any order.

use std::sync::{Arc, PoisonError, RwLockWriteGuard};

use wharf::error::Kind as ErrorKind;
use wharf::op::RenameHow;
use wharf::{Error, Kind, Name, Result, Time};

use super::directory;
use super::inode::{Inode, State};
use super::names::{Make, Maker, check_length};
use super::{LINKS_MAX, Memory};

/// Where a rename goes from and to.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) parent: &'a Arc<Inode>,
    pub(super) from: Name<'a>,
    pub(super) new_parent: &'a Arc<Inode>,
    pub(super) to: Name<'a>,
}

/// One directory or two, locked.
struct Parents<'a> {
    old: RwLockWriteGuard<'a, State>,
    second: Option<RwLockWriteGuard<'a, State>>,
}

impl Parents<'_> {
    fn destination(&mut self) -> &mut State {
        self.second.as_mut().unwrap_or(&mut self.old)
    }
}

impl Memory {
    pub(super) fn rename(&self, maker: &Maker<'_>, places: Places<'_>, how: RenameHow) -> Result<()> {
        let Places { parent, from, new_parent, to } = places;
        check_length(from)?;
        check_length(to)?;
        let alone = self.renames.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let moved = self.find(parent, from)?;
            let target = new_parent.state().directory()?.get(to).cloned();
            refuse_circles(places, &moved, target.as_ref(), how)?;
            let mut parents = Parents {
                old: parent.state_mut(),
                second: (!Arc::ptr_eq(parent, new_parent)).then(|| new_parent.state_mut()),
            };
            // Making and removing do not wait for renames, so the names may lead elsewhere by now.
            let still_moved = parents.old.directory_mut()?.find(from)?;
            let moved_stays = Arc::ptr_eq(still_moved, &moved);
            let still_target = parents.destination().directory_mut()?.get(to);
            if moved_stays && still_target.map(Arc::as_ptr) == target.as_ref().map(Arc::as_ptr) {
                self.rename_locked(maker, places, how, &mut parents, &moved, target.as_ref())?;
                // What was replaced may end with the last hold on it, after all locks.
                drop(parents);
                drop(alone);
                return Ok(());
            }
        }
    }

    fn rename_locked(
        &self,
        maker: &Maker<'_>,
        places: Places<'_>,
        how: RenameHow,
        parents: &mut Parents<'_>,
        moved: &Arc<Inode>,
        target: Option<&Arc<Inode>>,
    ) -> Result<()> {
        let whiteout = match how {
            RenameHow::NoReplace | RenameHow::NoReplaceWhiteout if target.is_some() => {
                return Err(Error::exists());
            }
            RenameHow::Exchange => {
                return exchange(places, parents, moved, target.ok_or_else(Error::not_found)?);
            }
            RenameHow::Replace | RenameHow::NoReplace => false,
            RenameHow::ReplaceWhiteout | RenameHow::NoReplaceWhiteout => true,
        };
        let Places { parent, from, new_parent, to } = places;
        if target.is_some_and(|target| Arc::ptr_eq(target, moved)) {
            return Ok(());
        }
        // Until it is decided, nobody may put anything into a directory that is about to go.
        let mut replaced = target.map(|target| target.state_mut());
        let replaces_directory = target.is_some_and(|target| target.is_directory());
        match (&replaced, moved.is_directory()) {
            (Some(_), true) if !replaces_directory => return Err(Error::not_a_directory()),
            (Some(_), false) if replaces_directory => return Err(Error::is_a_directory()),
            (Some(state), true) if !state.directory()?.is_empty() => return Err(Error::not_empty()),
            _ => {}
        }
        let moves_directory = moved.is_directory() && !Arc::ptr_eq(parent, new_parent);
        if moves_directory && !replaces_directory && parents.destination().links >= LINKS_MAX {
            return Err(Error::new(ErrorKind::TooManyLinks));
        }

        // What can fail comes first.
        let left_behind = if whiteout {
            let make = Make::new(Kind::CharDevice, 0, 0);
            Some(self.new_inode(maker, parent, &parents.old, &make)?)
        } else {
            None
        };
        let before = if whiteout { 0 } else { directory::cost(from) };
        let after = if replaced.is_some() { 0 } else { directory::cost(to) };
        self.space.recharge(before, after)?;

        let now = Time::now();
        let old = parents.old.directory_mut()?;
        match left_behind {
            Some(whiteout) => drop(old.replace(from, whiteout)),
            None => drop(old.detach(from)),
        }
        let new = parents.destination().directory_mut()?;
        if replaced.is_some() {
            new.replace(to, moved.clone());
        } else {
            new.attach(to, moved.clone());
        }
        if let Some(replaced) = &mut replaced {
            if replaces_directory {
                replaced.links = 0;
                replaced.changed = now;
                parents.destination().links -= 1;
            } else {
                replaced.lose_link(now);
            }
        }
        drop(replaced);
        arrived(moved, parents, moves_directory.then_some(new_parent), now)?;
        parents.old.modified_at(now);
        parents.destination().modified_at(now);
        Ok(())
    }
}

/// Gives each the other's place.
fn exchange(
    places: Places<'_>,
    parents: &mut Parents<'_>,
    one: &Arc<Inode>,
    other: &Arc<Inode>,
) -> Result<()> {
    let Places { parent, from, new_parent, to } = places;
    if Arc::ptr_eq(one, other) {
        return Ok(());
    }
    let apart = !Arc::ptr_eq(parent, new_parent);
    let (there, back) = (apart && one.is_directory(), apart && other.is_directory());
    if there && !back && parents.destination().links >= LINKS_MAX
        || back && !there && parents.old.links >= LINKS_MAX
    {
        return Err(Error::new(ErrorKind::TooManyLinks));
    }
    let now = Time::now();
    parents.old.directory_mut()?.replace(from, other.clone());
    parents.destination().directory_mut()?.replace(to, one.clone());
    arrived(one, parents, there.then_some(new_parent), now)?;
    let mut state = other.state_mut();
    state.changed = now;
    if back {
        state.directory_mut()?.moved_to(parent);
        parents.old.links += 1;
        parents.destination().links -= 1;
    }
    parents.old.modified_at(now);
    parents.destination().modified_at(now);
    Ok(())
}

/// Tells a node that it has another name, and a directory that it is in another.
fn arrived(
    moved: &Inode,
    parents: &mut Parents<'_>,
    new_parent: Option<&Arc<Inode>>,
    now: Time,
) -> Result<()> {
    let mut state = moved.state_mut();
    state.changed = now;
    if let Some(new_parent) = new_parent {
        state.directory_mut()?.moved_to(new_parent);
        parents.old.links -= 1;
        parents.destination().links += 1;
    }
    Ok(())
}

/// No directory moves into itself, or in the place of one that it is in.
fn refuse_circles(
    places: Places<'_>,
    moved: &Arc<Inode>,
    target: Option<&Arc<Inode>>,
    how: RenameHow,
) -> Result<()> {
    if is_within(places.new_parent, moved) {
        return Err(Error::invalid());
    }
    match target {
        Some(target) if is_within(places.parent, target) => match how {
            RenameHow::Exchange => Err(Error::invalid()),
            RenameHow::NoReplace | RenameHow::NoReplaceWhiteout => Err(Error::exists()),
            RenameHow::Replace | RenameHow::ReplaceWhiteout => Err(Error::not_empty()),
        },
        _ => Ok(()),
    }
}

/// Whether a directory is this one, or somewhere in it.
fn is_within(directory: &Arc<Inode>, ancestor: &Arc<Inode>) -> bool {
    if !ancestor.is_directory() {
        return false;
    }
    let mut above = Some(directory.clone());
    while let Some(at) = above {
        if Arc::ptr_eq(&at, ancestor) {
            return true;
        }
        above = at.state().directory().ok().and_then(|directory| directory.parent());
    }
    false
}
