//! Programs that look at every name of a directory do so in the order of its listing. Where listings tell nothing but
//! names, each look would cost a round trip: so the next names are asked for before they are looked at.
//!
//! It is a guess, and costs little if it is wrong: nobody is told anything that was not asked for by name and is not
//! young enough to be believed, and of one who stops no more is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use wharf::{Context, Kind};

use super::Result;
use super::knowledge::Knowledge;
use super::meta::Meta;
use super::neighbours::Neighbours;
use super::paths::inside;
use super::tree::Node;

/// Names to be ahead, at most, for each connection: so none of them is idle.
const AHEAD_PER_CONNECTION: usize = 4;
/// Answers that nobody wanted so far are forgotten when there are so many of them.
const ANSWERS_MAX: usize = 1024;

/// What is known ahead of the names of one directory.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    looks: Neighbours,
    answers: HashMap<Arc<str>, Answer>,
}

#[derive(Debug)]
struct Answer {
    asked: Instant,
    told: watch::Receiver<Told>,
}

/// `None`: not yet. A name that could not be asked for is asked for again by who wants it.
type Told = Option<Option<Meta>>;

impl Guesses {
    fn is_asked(&self, name: &str, lifetime: Duration) -> bool {
        self.answers.get(name).is_some_and(|answer| answer.asked.elapsed() < lifetime)
    }

    fn put(&mut self, name: Arc<str>, told: watch::Receiver<Told>, lifetime: Duration) {
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.retain(|_, answer| answer.asked.elapsed() < lifetime);
        }
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.clear();
        }
        self.answers.insert(name, Answer { asked: Instant::now(), told });
    }

    fn take(&mut self, name: &str, lifetime: Duration) -> Option<Answer> {
        self.answers.remove(name).filter(|answer| answer.asked.elapsed() < lifetime)
    }
}

impl Knowledge {
    /// What a name is, and when that was asked for: ahead of this, perhaps, or else now.
    pub(super) async fn foreseen(
        &self,
        cx: &Context,
        parent: &Arc<Node>,
        name: &str,
        path: &str,
    ) -> Result<(Meta, Instant)> {
        if !self.lists_sizes {
            self.ask_ahead(parent, name);
            let answer = parent.lock().guesses.take(name, self.options.lifetime);
            if let Some(Answer { asked, mut told }) = answer {
                let told =
                    async { Ok(told.wait_for(Option::is_some).await.ok().and_then(|told| told.clone())) };
                if let Some(Some(meta)) = cx.unless_cancelled(told).await? {
                    return Ok((meta, asked));
                }
            }
        }
        // From before the question: an own change that ends meanwhile is newer than the answer.
        let asked = Instant::now();
        Ok((self.stat(cx, path).await?, asked))
    }

    /// Asks for the names that are likely to be looked at next.
    fn ask_ahead(&self, parent: &Arc<Node>, name: &str) {
        let lifetime = self.options.lifetime;
        let ahead_max = self.options.connections_max as usize * AHEAD_PER_CONNECTION;
        let (directory, listing, (from, count)) = {
            let mut state = parent.lock();
            // However old it is: the order is all that is taken from it.
            let Some(listing) = state.listing.clone().filter(|_| !lifetime.is_zero()) else { return };
            let Some(place) = listing.place(name) else { return };
            let Some(places) = state.guesses.looks.opened(place, ahead_max) else { return };
            (state.path.clone(), listing, places)
        };
        let mut names = Vec::new();
        listing.each(from, |place, item| {
            let within = place < from + count;
            if within && item.kind == Kind::File && item.meta.is_none() {
                names.push(item.name.clone());
            }
            within
        });
        for name in names {
            let path = inside(&directory, &name);
            let is_known = self.tree.get(&path).is_some_and(|node| node.lock().is_fresh(lifetime));
            let mut state = parent.lock();
            if is_known || state.guesses.is_asked(&name, lifetime) {
                continue;
            }
            let (tell, told) = watch::channel(None);
            state.guesses.put(name, told, lifetime);
            drop(state);
            let store = self.supply.store.clone();
            self.supply.engine.detach(async move {
                tell.send_replace(Some(store.stat(&path).await.ok()));
            });
        }
    }
}
