//! Small files are read one after the other, in the order of their directory, by programs that read them all.
//! Each alone would cost a round trip: so the next ones are fetched before they are asked for.

use std::sync::Arc;

use wharf::Kind;

use super::cache::BLOCK_BYTES;
use super::knowledge::Knowledge;
use super::listing::{Item, Listing};
use super::paths::{apart, inside};
use super::tree::Node;

/// So many of them have to be opened before the next are fetched.
const STREAK: u32 = 3;
/// Opened side by side, they come a little out of order.
const DISORDER: usize = 64;
/// Files to be ahead, at most.
const AHEAD_MAX: usize = 128;

/// How the small files of one directory have been opened.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// The place of the farthest that was opened, in the listing.
    last: usize,
    streak: u32,
    /// Behind the place of the last that was fetched.
    fetched: usize,
}

impl Neighbours {
    /// Notes that the file at a place was opened; returns from where on to fetch how many places, to be `ahead_max`
    /// ahead at most.
    pub(super) fn opened(&mut self, place: usize, ahead_max: usize) -> Option<(usize, usize)> {
        let near = place.abs_diff(self.last) <= DISORDER;
        if !near {
            *self = Neighbours { last: place, streak: 0, fetched: place };
            return None;
        }
        self.streak = self.streak.saturating_add(1);
        self.last = self.last.max(place);
        if self.streak < STREAK {
            return None;
        }
        // Twice as far as they have come, so that little is fetched for one who stops soon.
        let ahead = (self.streak as usize * 2).min(ahead_max);
        let from = self.fetched.max(self.last + 1);
        let to = self.last + 1 + ahead;
        (to > from).then(|| {
            self.fetched = to;
            (from, to - from)
        })
    }
}

impl Knowledge {
    /// A file was opened to be read.
    pub(super) fn fetch_neighbours(&self, node: &Arc<Node>) {
        let path = {
            let state = node.lock();
            if state.meta.version.size > BLOCK_BYTES {
                return;
            }
            state.path.clone()
        };
        let (directory, name) = apart(&path);
        let Some(parent) = self.tree.get(directory) else { return };
        let (listing, places) = {
            let mut state = parent.lock();
            let Some(listing) = state.listing.clone() else { return };
            let Some(place) = listing.place(name) else { return };
            let Some(places) = state.neighbours.opened(place, AHEAD_MAX) else { return };
            (listing, places)
        };
        for item in small(&listing, places) {
            let Some(meta) = item.meta else { continue };
            let path: Arc<str> = inside(directory, &item.name).into();
            // One that is being changed is not with the service as it is.
            if self.tree.get(&path).is_some_and(|node| node.lock().local.is_some()) {
                continue;
            }
            let content = self.content_at(&path, &meta.version);
            content.prefetch(&self.supply, &(0..content.version.size));
        }
    }
}

/// The small files at so many places from one on.
fn small(listing: &Listing, (from, count): (usize, usize)) -> Vec<Item> {
    let mut found = Vec::new();
    listing.each(from, |place, item| {
        let within = place < from + count;
        let is_small = |meta: &super::meta::Meta| meta.kind == Kind::File && meta.version.size <= BLOCK_BYTES;
        if within && item.meta.as_ref().is_some_and(is_small) {
            found.push(item.clone());
        }
        within
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_through_a_directory_is_ahead_of_and_everything_is_fetched_once() {
        let mut neighbours = Neighbours::default();
        let mut until = 0;
        for place in 0..1000 {
            if let Some((from, count)) = neighbours.opened(place, AHEAD_MAX) {
                assert!(from >= until && from == until.max(place + 1), "{from} after {until}");
                until = from + count;
            }
            assert!(until <= place + 1 + AHEAD_MAX);
        }
        assert!(until >= 1100);
    }

    #[test]
    fn who_opens_here_and_there_fetches_nothing() {
        let mut neighbours = Neighbours::default();
        assert!((0..100).all(|step| neighbours.opened(step * 977 % 10_000 + 100, AHEAD_MAX).is_none()));
    }
}
