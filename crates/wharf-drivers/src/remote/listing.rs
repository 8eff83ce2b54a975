//! One listing of one directory: names as they come from the service, and what is changed here meanwhile.
//!
//! Places only grow: a cursor is a place, and stays good whatever comes and goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use wharf::error::Kind as Why;
use wharf::{Error, Kind};

use super::Result;
use super::meta::Meta;

/// One name in a directory.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    pub(super) inode: u64,
    /// Not told by every service.
    pub(super) meta: Option<Meta>,
}

/// One listing of one directory, perhaps still being loaded.
#[derive(Debug)]
pub(super) struct Listing {
    names: Mutex<Names>,
    changed: Notify,
    begun: Instant,
}

#[derive(Debug, Default)]
struct Names {
    /// `None` where a name was removed.
    items: Vec<Option<Item>>,
    places: HashMap<Arc<str>, usize>,
    /// All names are here, or it failed.
    end: Option<Result<(), Why>>,
}

impl Listing {
    pub(super) fn new() -> Arc<Listing> {
        Arc::new(Listing { names: Mutex::default(), changed: Notify::new(), begun: Instant::now() })
    }

    /// Whether it may still be believed: being loaded, or loaded and young.
    pub(super) fn is_good(&self, lifetime: Duration) -> bool {
        match self.lock().end {
            None => true,
            Some(Ok(())) => self.begun.elapsed() < lifetime,
            Some(Err(_)) => false,
        }
    }

    /// When it was asked for.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// A name came from the service. A name that is known already, or was removed here, stays as it is.
    pub(super) fn add(&self, item: Item) {
        let mut names = self.lock();
        if !names.places.contains_key(&item.name) {
            names.push(item);
            drop(names);
            self.changed.notify_waiters();
        }
    }

    /// A name was made here, or leads to something else now.
    pub(super) fn put(&self, item: Item) {
        let mut names = self.lock();
        match names.places.get(&item.name).copied() {
            Some(place) if names.items[place].is_some() => names.items[place] = Some(item),
            _ => names.push(item),
        }
        drop(names);
        self.changed.notify_waiters();
    }

    /// A name was removed here.
    pub(super) fn remove(&self, name: &str) {
        let mut names = self.lock();
        match names.places.get(name).copied() {
            Some(place) => names.items[place] = None,
            None => {
                // It may still come from the service, which was asked before.
                let place = names.items.len();
                names.items.push(None);
                names.places.insert(name.into(), place);
            }
        }
    }

    /// The service has told everything, or failed.
    pub(super) fn end(&self, end: Result<(), Why>) {
        self.lock().end = Some(end);
        self.changed.notify_waiters();
    }

    /// What has the name; waits until that is known.
    pub(super) async fn find(&self, name: &str) -> Result<Option<Item>> {
        self.wait(|names| match names.places.get(name) {
            Some(place) => Some(Ok(names.items[*place].clone())),
            None => names.end.map(|end| end.map(|()| None).map_err(Error::new)),
        })
        .await
    }

    /// Where a name is, if it is here.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.lock().places.get(name).copied()
    }

    /// The number of what has a name, if that is here.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        let names = self.lock();
        names.items[*names.places.get(name)?].as_ref().map(|item| item.inode)
    }

    /// Waits until there is an entry at or behind `place`, or the end.
    pub(super) async fn reach(&self, place: usize) -> Result<()> {
        self.wait(|names| {
            let more = names.items.len() > place;
            if more { Some(Ok(())) } else { names.end.map(|end| end.map_err(Error::new)) }
        })
        .await
    }

    /// The items from `place` on, with their places, for as long as `take` takes them.
    pub(super) fn each(&self, place: usize, mut take: impl FnMut(usize, &Item) -> bool) {
        let names = self.lock();
        for (place, item) in names.items.iter().enumerate().skip(place) {
            if let Some(item) = item
                && !take(place, item)
            {
                return;
            }
        }
    }

    /// The first item at or behind `place`, with its place.
    pub(super) fn next(&self, place: usize) -> Option<(usize, Item)> {
        let mut found = None;
        self.each(place, |at, item| {
            found = Some((at, item.clone()));
            false
        });
        found
    }

    async fn wait<T>(&self, look: impl Fn(&Names) -> Option<Result<T>>) -> Result<T> {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = look(&self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    fn push(&mut self, item: Item) {
        self.places.insert(item.name.clone(), self.items.len());
        self.items.push(Some(item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str) -> Item {
        Item { name: name.into(), kind: Kind::File, inode: 9, meta: None }
    }

    fn names(listing: &Listing) -> String {
        let mut names = Vec::new();
        listing.each(0, |place, item| {
            names.push(format!("{place}{}", item.name));
            true
        });
        names.join(" ")
    }

    #[test]
    fn what_was_removed_here_does_not_come_back_with_a_late_answer() {
        let listing = Listing::new();
        listing.add(item("a"));
        listing.remove("b");
        listing.add(item("b"));
        listing.add(item("c"));
        listing.remove("a");
        assert_eq!(names(&listing), "2c");
        listing.put(item("b"));
        assert_eq!(names(&listing), "2c 3b", "what is made again gets a new place: nobody has seen it");
    }

    #[test]
    fn a_name_is_waited_for_until_it_comes_or_the_end_does() {
        let listing = Listing::new();
        let other = listing.clone();
        let waiting = std::thread::spawn(move || {
            let found = wharf::testing::block_on(other.find("b")).unwrap();
            (found.is_some(), wharf::testing::block_on(other.find("x")).map(|found| found.is_some()))
        });
        listing.add(item("a"));
        listing.add(item("b"));
        listing.end(Err(Why::TimedOut));
        let (there, absent) = waiting.join().unwrap();
        assert!(there);
        assert_eq!(absent.unwrap_err().kind(), Why::TimedOut);
        assert!(!listing.is_good(Duration::MAX));
    }
}
