//! The file system that the kernel sees.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wharf::error::Kind as Why;
use wharf::{
    Attributes, Cache, Capabilities, Context, Created, Entry, Error, FileSystem, Kind, Listed,
    Listing as Answer, Name, Opened, Statfs, Time, Window, op,
};

use crate::progress::Silent;

use super::ahead::Ahead;
use super::content::Content;
use super::listing::{Item, Listing};
use super::paths::inside;
use super::stream::Stream;
use super::tree::Node;
use super::{Remote, Result};

/// One file or directory.
#[derive(Clone, Debug)]
pub struct Known(pub(super) Arc<Node>);

/// One open file or directory.
#[derive(Debug)]
pub struct Open(Sort);

#[derive(Debug)]
enum Sort {
    File {
        node: Arc<Node>,
        /// What it had when it was opened; `None` if it was being changed then.
        content: Option<Arc<Content>>,
        /// Opened to be written to.
        writes: bool,
        course: Mutex<Course>,
    },
    Directory {
        node: Arc<Node>,
        /// Kept from one part of the listing to the next, so that places stay good.
        listing: Mutex<Option<Arc<Listing>>>,
    },
}

/// How an open file is read.
#[derive(Debug, Default)]
struct Course {
    ahead: Ahead,
    /// The long request by which it is read, where there are such.
    stream: Option<Arc<Stream>>,
}

fn known(entry: Entry<Arc<Node>>) -> Entry<Known> {
    Entry { node: Known(entry.node), attributes: entry.attributes, lifetimes: entry.lifetimes }
}

/// The longest name, which is as long as on most services' own discs.
const NAME_BYTES_MAX: usize = 255;

/// A name that may be there; one that is no text is not.
fn there(name: Name<'_>) -> Result<&str> {
    if name.as_bytes().len() > NAME_BYTES_MAX {
        return Err(Error::new(Why::NameTooLong));
    }
    name.as_os_str().to_str().ok_or_else(Error::not_found)
}

/// A name that is to be made.
fn made(name: Name<'_>) -> Result<&str> {
    name.as_os_str().to_str().ok_or_else(Error::invalid)
}

impl Remote {
    async fn opened(&self, cx: &Context, node: &Arc<Node>, flags: op::OpenFlags) -> Result<Opened<Open>> {
        let writes = flags.writes();
        if writes && self.knowledge.spools.is_none() {
            return Err(Error::read_only());
        }
        self.knowledge.refresh(cx, node).await?;
        let has_local = {
            let mut state = node.lock();
            let is_held = state.content.as_ref().is_some_and(|content| content.is_held());
            if state.gone && state.local.is_none() && !is_held {
                let path = state.path.clone();
                drop(state);
                // Stale has the kernel look again: there is something else of that name.
                let other = self.knowledge.tree.get(&path);
                return Err(if other.is_some() { Error::new(Why::Stale) } else { Error::not_found() });
            }
            state.opens += 1;
            state.local.is_some()
        };
        let content = (!has_local).then(|| self.knowledge.content(node));
        let mut state = node.lock();
        let kept = match (&content, &state.kept) {
            (Some(content), Some(kept)) => kept.is_same(&content.version),
            // All that changes it comes through here.
            (None, _) => true,
            _ => false,
        };
        if let Some(content) = &content {
            state.kept = Some(content.version.clone());
        }
        drop(state);
        if content.is_some() && !writes {
            self.knowledge.fetch_neighbours(node);
        }
        let file = Sort::File { node: node.clone(), content, writes, course: Mutex::default() };
        Ok(Opened::new(Open(file)).cache(if kept { Cache::Keep } else { Cache::WhileOpen }))
    }

    /// Tells one name of a directory. False when there is no room.
    fn tell(
        &self,
        list: &mut Answer<'_, Known>,
        directory: &str,
        cursor: u64,
        item: &Item,
        asked: Instant,
    ) -> bool {
        let Some(name) = Name::new(item.name.as_bytes()) else { return true };
        let listed = Listed { name, inode: item.inode, kind: item.kind, cursor };
        match &item.meta {
            Some(meta) if list.wants_entries() => {
                let node =
                    self.knowledge.learn(&inside(directory, &item.name), item.inode, meta.clone(), asked);
                let listed = Listed { inode: node.inode, ..listed };
                list.add_entry(listed, known(self.knowledge.entry(node)))
            }
            _ => list.add(listed),
        }
    }
}

impl FileSystem for Remote {
    type Node = Known;
    type File = Open;

    fn capabilities(&self) -> Capabilities {
        let changes = Capabilities::WRITE
            | Capabilities::SPECIAL_FILES
            | Capabilities::FLUSH
            | Capabilities::FSYNC
            | Capabilities::SYNCFS;
        let can = if self.knowledge.spools.is_some() { changes } else { Capabilities::empty() };
        can | Capabilities::LIST_ENTRIES
    }

    fn root(&self) -> Known {
        Known(self.root.clone())
    }

    async fn lookup(&self, cx: &Context, parent: &Known, op: op::Lookup<'_>) -> Result<Entry<Known>> {
        let node = self.knowledge.lookup(cx, &parent.0, there(op.name)?).await?;
        Ok(known(self.knowledge.entry(node)))
    }

    async fn getattr(&self, cx: &Context, node: &Known, _file: Option<&Open>) -> Result<Attributes> {
        self.knowledge.refresh(cx, &node.0).await?;
        Ok(self.knowledge.attributes(&node.0))
    }

    async fn setattr(
        &self,
        cx: &Context,
        node: &Known,
        _file: Option<&Open>,
        op: op::SetAttributes,
    ) -> Result<Attributes> {
        let Known(node) = node;
        let now = self.knowledge.attributes(node);
        let differs = |new: Option<u32>, now: u32| new.is_some_and(|new| new != now);
        if differs(op.uid, now.uid) || differs(op.gid, now.gid) {
            return Err(Error::not_supported());
        }
        if let Some(size) = op.size {
            self.knowledge.resize(cx, node, size).await?;
            if node.lock().opens == 0 {
                // No close will follow.
                self.knowledge.settle(node).await?;
            }
        }
        // No service keeps these; programs that set them need not know.
        let at = |time| match time {
            op::SetTime::Now => Time::now(),
            op::SetTime::At(time) => time,
        };
        let mut state = node.lock();
        state.set.permissions = op.permissions.or(state.set.permissions);
        state.set.accessed = op.accessed.map(at).or(state.set.accessed);
        state.set.modified = op.modified.map(at).or(state.set.modified);
        state.set.changed = Some(Time::now());
        drop(state);
        Ok(self.knowledge.attributes(node))
    }

    async fn mknod(&self, cx: &Context, parent: &Known, op: op::MakeNode<'_>) -> Result<Entry<Known>> {
        if op.kind != Kind::File {
            return Err(Error::not_permitted());
        }
        let name = made(op.new.name)?;
        self.knowledge.expect_absent(cx, &parent.0, name).await?;
        let node = self.knowledge.create(&parent.0, name)?;
        node.lock().set.permissions = Some(op.new.permissions);
        // No close will follow.
        self.knowledge.settle(&node).await?;
        Ok(known(self.knowledge.entry(node)))
    }

    async fn mkdir(&self, cx: &Context, parent: &Known, op: op::MakeDirectory<'_>) -> Result<Entry<Known>> {
        let node = self.knowledge.make_directory(cx, &parent.0, made(op.new.name)?).await?;
        node.lock().set.permissions = Some(op.new.permissions);
        Ok(known(self.knowledge.entry(node)))
    }

    async fn unlink(&self, cx: &Context, parent: &Known, op: op::Remove<'_>) -> Result<()> {
        self.knowledge.unlink(cx, &parent.0, there(op.name)?).await
    }

    async fn rmdir(&self, cx: &Context, parent: &Known, op: op::Remove<'_>) -> Result<()> {
        self.knowledge.rmdir(cx, &parent.0, there(op.name)?).await
    }

    async fn rename(
        &self,
        cx: &Context,
        parent: &Known,
        new_parent: &Known,
        op: op::Rename<'_>,
    ) -> Result<()> {
        if op.how != op::RenameHow::Replace {
            return Err(Error::invalid());
        }
        self.knowledge.rename(cx, (&parent.0, there(op.from)?), (&new_parent.0, made(op.to)?)).await
    }

    async fn create(&self, cx: &Context, parent: &Known, op: op::Create<'_>) -> Result<Created<Known, Open>> {
        let name = made(op.new.name)?;
        match self.knowledge.expect_absent(cx, &parent.0, name).await {
            Ok(()) => {}
            Err(error) if error.kind() == Why::Exists && !op.flags.contains(op::OpenFlags::EXCLUSIVE) => {
                let node = self.knowledge.lookup(cx, &parent.0, name).await?;
                let opened = self.opened(cx, &node, op.flags).await?;
                return Ok(Created { entry: known(self.knowledge.entry(node)), opened });
            }
            Err(error) => return Err(error),
        }
        let node = self.knowledge.create(&parent.0, name)?;
        node.lock().set.permissions = Some(op.new.permissions);
        let opened = self.opened(cx, &node, op.flags).await?;
        Ok(Created { entry: known(self.knowledge.entry(node)), opened })
    }

    async fn open(&self, cx: &Context, node: &Known, op: op::Open) -> Result<Opened<Open>> {
        self.opened(cx, &node.0, op.flags).await
    }

    async fn opendir(&self, _cx: &Context, node: &Known, _op: op::Open) -> Result<Opened<Open>> {
        Ok(Opened::new(Open(Sort::Directory { node: node.0.clone(), listing: Mutex::default() })))
    }

    async fn release(&self, _cx: &Context, file: &Open, _op: op::Release) {
        if let Sort::File { node, .. } = &file.0 {
            self.knowledge.let_go(node);
        }
    }

    async fn write(&self, cx: &Context, file: &Open, op: op::Write<'_>) -> Result<usize> {
        let Sort::File { node, .. } = &file.0 else { return Err(Error::is_a_directory()) };
        let local = self.knowledge.local(cx, node, u64::MAX).await?;
        // An upload that is under way is waited for.
        let _shared = cx.unless_cancelled(async { Ok(local.gate.read().await) }).await?;
        let written = cx.io().write(&local.file, op.offset, op.data).await?;
        let mut state = local.lock();
        state.size = state.size.max(op.offset + written as u64);
        state.changed();
        let now = state.modified;
        drop(state);
        node.lock().set.touch(now);
        Ok(written)
    }

    async fn flush(&self, _cx: &Context, file: &Open, _op: op::Flush) -> Result<()> {
        match &file.0 {
            Sort::File { node, writes: true, .. } => self.knowledge.settle(node).await,
            _ => Ok(()),
        }
    }

    async fn fsync(&self, _cx: &Context, file: &Open, _op: op::Fsync) -> Result<()> {
        let Sort::File { node, .. } = &file.0 else { return Err(Error::is_a_directory()) };
        self.knowledge.settle(node).await
    }

    /// Names are with the service already.
    async fn fsyncdir(&self, _cx: &Context, _file: &Open, _op: op::Fsync) -> Result<()> {
        Ok(())
    }

    async fn syncfs(&self, _cx: &Context, _node: &Known) -> Result<()> {
        for node in self.knowledge.changed() {
            self.knowledge.settle(&node).await?;
        }
        Ok(())
    }

    async fn read(&self, cx: &Context, file: &Open, op: op::Read, mut into: Window<'_>) -> Result<usize> {
        let Sort::File { node, content, course, .. } = &file.0 else { return Err(Error::is_a_directory()) };
        let local = node.lock().local.clone();
        if let Some(local) = local {
            return cx.io().read(&local.file, op.offset, into).await;
        }
        // It was changed or moved here, and the service has it: what it has now is what was written.
        let opened = content.clone().filter(|content| !content.is_ended());
        let content = opened.unwrap_or_else(|| self.knowledge.content(node));
        let size = content.version.size;
        let end = op.offset.saturating_add(into.len() as u64).min(size);
        if op.offset >= end {
            return Ok(0);
        }
        let supply = &self.knowledge.supply;
        let range = op.offset..end;
        let more = {
            let mut course = course.lock().unwrap_or_else(PoisonError::into_inner);
            let more = course.ahead.read(range.clone(), size, self.ahead_bytes_max);
            match more {
                Some(more) if supply.store.streams() => {
                    content.stream(supply, &(range.start..more.end), &mut course.stream);
                    None
                }
                more => {
                    if !course.ahead.goes_on() {
                        course.stream = None;
                    }
                    more
                }
            }
        };
        let mut done = 0;
        let reading = content.read(supply, range.clone(), |piece| done += into.put_at(done, piece));
        if let Some(more) = more {
            content.prefetch(supply, &more);
        }
        let mut read = cx.unless_cancelled(reading).await;
        let is_stale = |read: &Result<()>| {
            read.as_ref().is_err_and(|error| matches!(error.kind(), Why::Stale | Why::NotFound))
        };
        if is_stale(&read) && content.is_ended() {
            // A change that was made here meanwhile: what there is now is right.
            let local = node.lock().local.clone();
            if let Some(local) = local {
                return cx.io().read(&local.file, op.offset, into).await;
            }
            let content = self.knowledge.content(node);
            done = 0;
            let range = range.start..range.end.min(content.version.size);
            if !range.is_empty() {
                let reading = content.read(supply, range, |piece| done += into.put_at(done, piece));
                read = cx.unless_cancelled(reading).await;
            }
        } else if is_stale(&read) {
            self.knowledge.outdated(node);
        }
        if is_stale(&read) {
            return Err(Error::new(Why::Stale));
        }
        read.map(|()| done)
    }

    async fn readdir(
        &self,
        cx: &Context,
        file: &Open,
        op: op::List,
        list: &mut Answer<'_, Known>,
    ) -> Result<()> {
        let Sort::Directory { node, listing } = &file.0 else { return Err(Error::not_a_directory()) };
        let listing = {
            let mut kept = listing.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = kept.get_or_insert_with(|| self.knowledge.listing(cx, node));
            if op.cursor == 0 {
                *kept = self.knowledge.listing(cx, node);
            }
            kept.clone()
        };
        // A cursor is the place behind the last name that was seen.
        let mut place = op.cursor as usize;
        // Names are told as they come: one is enough to go on with.
        cx.unless_cancelled(async { listing.reach(place).await }).await?;
        let directory = node.path();
        while let Some((at, item)) = listing.next(place) {
            if !self.tell(list, &directory, at as u64 + 1, &item, listing.begun()) {
                break;
            }
            place = at + 1;
        }
        Ok(())
    }
    /// The room for files that are being changed; how much the service has nobody tells.
    async fn statfs(&self, _cx: &Context, _node: &Known) -> Result<Statfs> {
        match &self.knowledge.spools {
            Some(spools) => Ok(spools.room()?),
            None => Ok(Statfs { block_size: 4096, name_bytes_max: 255, ..Statfs::default() }),
        }
    }

    async fn shutdown(&self) {
        // Whoever waited for it with patience has done so before.
        let knowledge = self.knowledge.clone();
        let drained = async move { Ok(knowledge.drain(&Silent).await) };
        let _ = self.knowledge.supply.engine.finish(drained).await;
    }
}
