//! The file system that the kernel sees.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wharf::error::Kind as Why;
use wharf::{
    Attributes, Cache, Capabilities, Context, Entry, Error, FileSystem, Listed, Listing as Answer, Name,
    Opened, Window, op,
};

use super::ahead::Ahead;
use super::content::Content;
use super::knowledge::Knowledge;
use super::listing::{Item, Listing};
use super::tree::{Node, inside};
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
        content: Arc<Content>,
        ahead: Mutex<Ahead>,
    },
    Directory {
        node: Arc<Node>,
        /// Kept from one part of the listing to the next, so that places stay good.
        listing: Mutex<Option<Arc<Listing>>>,
    },
}

fn known(entry: Entry<Arc<Node>>) -> Entry<Known> {
    Entry { node: Known(entry.node), attributes: entry.attributes, lifetimes: entry.lifetimes }
}

fn name_of(name: Name<'_>) -> Option<&str> {
    name.as_os_str().to_str()
}

impl Remote {
    fn knowledge(&self) -> &Arc<Knowledge> {
        &self.knowledge
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
        Capabilities::LIST_ENTRIES
    }

    fn root(&self) -> Known {
        Known(self.root.clone())
    }

    async fn lookup(&self, cx: &Context, parent: &Known, op: op::Lookup<'_>) -> Result<Entry<Known>> {
        let name = name_of(op.name).ok_or_else(Error::not_found)?;
        let node = self.knowledge().lookup(cx, &parent.0, name).await?;
        Ok(known(self.knowledge().entry(node)))
    }

    async fn getattr(&self, cx: &Context, node: &Known, _file: Option<&Open>) -> Result<Attributes> {
        self.knowledge().refresh(cx, &node.0).await?;
        Ok(self.knowledge().attributes(&node.0))
    }

    async fn open(&self, cx: &Context, node: &Known, op: op::Open) -> Result<Opened<Open>> {
        let Known(node) = node;
        if op.flags.writes() {
            return Err(Error::read_only());
        }
        self.knowledge().refresh(cx, node).await?;
        if node.lock().gone {
            return Err(Error::new(Why::Stale));
        }
        let content = self.knowledge().content(node);
        let mut state = node.lock();
        state.opens += 1;
        let kept = state.kept.as_ref().is_some_and(|kept| kept.is_same(&content.version));
        state.kept = Some(content.version.clone());
        drop(state);
        let file = Sort::File { node: node.clone(), content, ahead: Mutex::default() };
        Ok(Opened::new(Open(file)).cache(if kept { Cache::Keep } else { Cache::WhileOpen }))
    }

    async fn opendir(&self, _cx: &Context, node: &Known, _op: op::Open) -> Result<Opened<Open>> {
        Ok(Opened::new(Open(Sort::Directory { node: node.0.clone(), listing: Mutex::default() })))
    }

    async fn release(&self, _cx: &Context, file: &Open, _op: op::Release) {
        if let Sort::File { node, .. } = &file.0 {
            node.lock().opens -= 1;
        }
    }

    async fn read(&self, cx: &Context, file: &Open, op: op::Read, mut into: Window<'_>) -> Result<usize> {
        let Sort::File { node, content, ahead } = &file.0 else { return Err(Error::is_a_directory()) };
        let size = content.version.size;
        let end = op.offset.saturating_add(into.len() as u64).min(size);
        if op.offset >= end {
            return Ok(0);
        }
        let supply = &self.knowledge().supply;
        let range = op.offset..end;
        let more = {
            let mut ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
            ahead.read(range.clone(), size, self.ahead_bytes_max)
        };
        let mut done = 0;
        let reading = content.read(supply, range, |piece| done += into.put_at(done, piece));
        if let Some(more) = more {
            content.prefetch(supply, &more);
        }
        let read = cx.unless_cancelled(reading).await;
        if read.as_ref().is_err_and(|error| matches!(error.kind(), Why::Stale | Why::NotFound)) {
            self.knowledge().outdated(node);
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
            let kept = kept.get_or_insert_with(|| self.knowledge().listing(cx, node));
            if op.cursor == 0 {
                *kept = self.knowledge().listing(cx, node);
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
}
