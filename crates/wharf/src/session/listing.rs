//! The answer to a listing, written entry by entry into the reply's own window.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use wharf_mem::Window;

use crate::context::Context;
use crate::{Attributes, Defaults, Entry, FileSystem, Kind, Listed, Name, NodeId, Pattern, op};

use super::dispatch::{Answer, InUse};
use super::guest::Asker;
use super::nodes::Nodes;
use super::reply::{EntryReply, Reply};
use super::sieve::Sieve;
use super::{Protocol, Session};

/// A transport's form of a directory entry.
pub trait ListForm: Send + Sync {
    /// Bytes that an entry with a name of `name_bytes` takes.
    fn bytes(&self, name_bytes: usize, form: EntryForm) -> usize;

    /// Writes it at `at`; there is room.
    fn put(&self, into: &mut Window<'_>, at: usize, line: &Line<'_>);
}

/// Which of the two forms of a listing is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryForm {
    /// Names with numbers and kinds.
    Plain,
    /// The same with the whole entry, as a lookup would give it.
    Whole,
}

/// One entry of a listing, as a transport writes it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The name, `.` and `..` included.
    pub name: &'a [u8],
    /// Its inode number.
    pub inode: u64,
    /// What it is.
    pub kind: Kind,
    /// Where a listing goes on after it.
    pub cursor: u64,
    /// The form.
    pub form: EntryForm,
    /// The node, if the file system gave it. Guests are told of none.
    pub entry: Option<&'a EntryReply>,
    /// What it is like, if the file system said so.
    pub attributes: Option<&'a Attributes>,
}

/// The inode number of a `..` that nobody asked the file system for; the kernel's own choice too.
const UNKNOWN_INODE: u64 = 0xFFFF_FFFF;

/// Cursors after `..` and after `.`: at the upper end, where no file system's own cursors are.
const AFTER_DOTS: u64 = i64::MAX as u64 - 2;
const AFTER_DOT: u64 = i64::MAX as u64 - 1;

/// A directory listing on its way to the caller. See [`FileSystem::readdir`](crate::FileSystem::readdir).
pub struct Listing<'a, N> {
    into: Window<'a>,
    used: usize,
    /// Bytes of `.` and `..`.
    dots: usize,
    form: EntryForm,
    /// Nodes that are told are counted.
    counts: bool,
    sieve: Sieve<'a>,
    writer: &'a Arc<dyn ListForm>,
    nodes: &'a Nodes<N>,
    defaults: &'a Defaults,
}

impl<'a, N: Clone> Listing<'a, N> {
    /// Begins a listing at `cursor` as the kernel has it. Returns it with the cursor for the file system.
    ///
    /// One of some names only has no `.` and `..`.
    pub(crate) fn begin(
        into: Window<'a>,
        (form, counts, sieve): (EntryForm, bool, Sieve<'a>),
        cursor: u64,
        inode: Option<u64>,
        writer: &'a Arc<dyn ListForm>,
        nodes: &'a Nodes<N>,
        defaults: &'a Defaults,
    ) -> (Listing<'a, N>, u64) {
        let has_dots = sieve.pattern().is_none();
        let mut listing = Listing { into, used: 0, dots: 0, form, counts, sieve, writer, nodes, defaults };
        if has_dots && cursor == 0 {
            listing.dot(b".", inode.unwrap_or(UNKNOWN_INODE), AFTER_DOT);
        }
        if has_dots && (cursor == 0 || cursor == AFTER_DOT) {
            listing.dot(b"..", UNKNOWN_INODE, AFTER_DOTS);
        }
        let cursor = if cursor == AFTER_DOT || cursor == AFTER_DOTS { 0 } else { cursor };
        (listing, cursor)
    }

    fn dot(&mut self, name: &[u8], inode: u64, cursor: u64) {
        if let Some(after) = self.after(name.len()) {
            self.put(name, (inode, Kind::Directory, cursor), None, None, after);
            self.dots = after;
        }
    }

    /// Whether whole entries are wanted: then give them with [`add_entry`](Self::add_entry) where that is
    /// cheap, and save the lookups that would follow.
    pub fn wants_entries(&self) -> bool {
        self.form == EntryForm::Whole
    }

    /// The pattern that describes the names that are wanted, if not all are. A file system that can find such names by
    /// itself need not [add](Self::add) others; those are left out here.
    pub fn pattern(&self) -> Option<&Pattern<'a>> {
        self.sieve.pattern()
    }

    /// Whether a name is wanted, for those to whom it costs something to make an entry. Add the name all the same.
    pub fn wants(&self, name: Name<'_>) -> bool {
        self.sieve.wants(name.as_bytes())
    }

    /// Adds an entry. False when there is no room, or enough was left out for now: stop, the listing goes on later after
    /// the last cursor.
    #[must_use = "without room the listing must stop"]
    pub fn add(&mut self, listed: Listed<'_>) -> bool {
        let name = listed.name.as_bytes();
        if let Some(goes_on) = self.sieve.passes(name, listed.cursor) {
            return goes_on;
        }
        let Some(after) = self.after(name.len()) else { return false };
        self.put(name, (listed.inode, listed.kind, listed.cursor), None, None, after);
        true
    }

    /// Adds an entry with its node. False as for [`add`](Self::add).
    #[must_use = "without room the listing must stop"]
    pub fn add_entry(&mut self, listed: Listed<'_>, entry: Entry<N>) -> bool {
        let name = listed.name.as_bytes();
        if self.form == EntryForm::Plain {
            return self.add(listed);
        }
        if let Some(goes_on) = self.sieve.passes(name, listed.cursor) {
            return goes_on;
        }
        // Room first: what is counted must be told.
        let Some(after) = self.after(name.len()) else { return false };
        let attributes = entry.attributes;
        let entry = self.counts.then(|| counted(entry, self.nodes, self.defaults));
        let about = (listed.inode, listed.kind, listed.cursor);
        self.put(name, about, entry.as_ref(), Some(&attributes), after);
        true
    }

    /// Where the file system goes on at once: nothing was added, and it was stopped because so much was left out.
    pub(crate) fn goes_on(&mut self) -> Option<u64> {
        let cursor = self.sieve.goes_on();
        cursor.filter(|_| !self.has_entries())
    }

    /// Which names are wanted.
    pub(crate) fn sieve(&mut self) -> &mut Sieve<'a> {
        &mut self.sieve
    }

    pub(crate) fn bytes(&self) -> usize {
        self.used
    }

    /// The form of entries, the bytes left for them, and who knows how many an entry takes.
    pub(crate) fn room(&self) -> (EntryForm, usize, &Arc<dyn ListForm>) {
        (self.form, self.into.len() - self.used, self.writer)
    }

    /// Whether the file system has added anything.
    pub(crate) fn has_entries(&self) -> bool {
        self.used > self.dots
    }

    /// Where an entry with such a name would end, if there is room for it.
    fn after(&self, name_bytes: usize) -> Option<usize> {
        let after = self.used + self.writer.bytes(name_bytes, self.form);
        (after <= self.into.len()).then_some(after)
    }

    fn put(
        &mut self,
        name: &[u8],
        (inode, kind, cursor): (u64, Kind, u64),
        entry: Option<&EntryReply>,
        attributes: Option<&Attributes>,
        after: usize,
    ) {
        let line = Line { name, inode, kind, cursor, form: self.form, entry, attributes };
        self.writer.put(&mut self.into, self.used, &line);
        self.used = after;
    }
}

impl<N> std::fmt::Debug for Listing<'_, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("used", &self.used).field("form", &self.form).finish_non_exhaustive()
    }
}

/// Counts a lookup for an entry that is about to be told, and names its node.
pub(crate) fn counted<N: Clone>(entry: Entry<N>, nodes: &Nodes<N>, defaults: &Defaults) -> EntryReply {
    let lifetimes = entry.lifetimes.unwrap_or(defaults.lifetimes);
    EntryReply {
        node: nodes.found(entry.attributes.inode, entry.node),
        attributes: entry.attributes,
        entry_lifetime: lifetimes.entry,
        attributes_lifetime: lifetimes.attributes,
    }
}

impl<F: FileSystem, P: Protocol> Session<F, P> {
    /// Lists an open directory from a cursor of the transport on.
    // No part of `dispatch`: what lives across two suspensions has a place of its own in a future.
    pub(super) async fn list(
        &self,
        cx: &Context,
        id: NodeId,
        open: InUse<F::File>,
        (form, pattern, cursor): (EntryForm, Option<Pattern<'_>>, u64),
        into: Window<'_>,
        asker: Asker<'_>,
    ) -> Answer {
        let list_form: Arc<dyn ListForm>;
        let (list_form, counts) = match asker {
            Asker::First => (&self.list_form, true),
            Asker::Guest(guest) => {
                list_form = guest.clone();
                (&list_form, false)
            }
        };
        let (mut listing, mut cursor) = Listing::begin(
            into,
            (form, counts, Sieve::new(pattern)),
            cursor,
            self.nodes.inode(id),
            list_form,
            &self.nodes,
            &self.defaults,
        );
        loop {
            match self.fs.readdir(cx, open.file(), op::List { cursor }, &mut listing).await {
                // Nodes that were told have been counted. The next call meets the error again.
                Err(error) if listing.has_entries() => log::debug!("listing ended early: {error}"),
                result => result?,
            }
            match listing.goes_on() {
                Some(further) => cursor = further,
                None => break,
            }
            others_first().await;
        }
        Ok(Reply::Bytes(listing.bytes()))
    }
}

/// Lets the queue do something else.
fn others_first() -> impl Future<Output = ()> {
    let mut waited = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}
