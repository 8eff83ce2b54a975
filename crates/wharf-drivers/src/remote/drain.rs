//! The end of a volume: what the service does not have yet is brought there, as long as it takes any.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use wharf::Error;
use wharf::error::Kind as Why;

use crate::progress::{Progress, Step, Unit};

use super::knowledge::Knowledge;
use super::tree::Node;

/// How often it is told how far it has come.
const TICK: Duration = Duration::from_millis(100);

/// What a volume has yet to bring to its service.
#[derive(Clone, Debug)]
pub struct Uploads(pub(super) Arc<Knowledge>);

impl Uploads {
    /// Brings it there, side by side, and tells how far that has come; returns how many files could not be brought.
    /// Blocks, for as long as the service takes anything: one that answers no more is given up after a deadline.
    /// What it does not have then is kept for the next mount, and the log names each file.
    ///
    /// To be called when nobody uses the volume any more, and before it is shut down: that has less time.
    pub fn finish(&self, progress: &dyn Progress) -> usize {
        let engine = &self.0.supply.engine;
        if engine.has_ended() { self.0.unfinished().len() } else { engine.block_on(self.0.drain(progress)) }
    }
}

impl Knowledge {
    /// Files that the service does not have as they are.
    fn unfinished(&self) -> Vec<Arc<Node>> {
        let mut seen = HashSet::new();
        let unsettled: Vec<_> = self.unsettled().values().cloned().collect();
        let mut files = self.changed();
        files.extend(unsettled.into_iter().filter(is_dirty));
        files.retain(|node| !node.lock().gone && seen.insert(node.inode));
        files
    }

    /// Tries once more to bring it all to the service. Returns how many files are left.
    pub(super) async fn drain(self: &Arc<Self>, progress: &dyn Progress) -> usize {
        let files = self.unfinished();
        if files.is_empty() {
            return 0;
        }
        let side_by_side = self.options.connections_max as usize;
        let upload = |node: Arc<Node>| async move { (self.settle(&node).await, node) };
        let mut uploads = stream::iter(files.clone()).map(upload).buffer_unordered(side_by_side);
        let (mut tried, mut failed_in_a_row) = (HashSet::new(), 0);
        // As many as are tried at once, and none of them taken: so would be the others.
        while failed_in_a_row < side_by_side {
            match tokio::time::timeout(TICK, uploads.next()).await {
                Err(_) => {}
                Ok(None) => break,
                Ok(Some((uploaded, node))) => {
                    tried.insert(node.inode);
                    let is_gone = |error: &Error| matches!(error.kind(), Why::TimedOut | Why::Io);
                    failed_in_a_row = match &uploaded {
                        Err(error) if is_gone(error) => failed_in_a_row + 1,
                        _ => 0,
                    };
                    if let Err(error) = uploaded {
                        log::error!("{}: {error}", node.path());
                    }
                }
            }
            progress.at(step(&files));
        }
        drop(uploads);
        progress.done();
        let left = files.iter().filter(|node| is_dirty(node));
        left.inspect(|node| {
            if !tried.contains(&node.inode) {
                keep(node);
            }
        })
        .count()
    }
}

fn is_dirty(node: &Arc<Node>) -> bool {
    node.lock().local.as_ref().is_some_and(|local| local.lock().is_dirty())
}

fn step(files: &[Arc<Node>]) -> Step<'static> {
    let (mut total, mut done) = (0, 0);
    for node in files {
        let state = node.lock();
        let (size, sent) = match &state.local {
            Some(local) => local.progress(),
            // The service has it.
            None => (state.meta.version.size, state.meta.version.size),
        };
        (total, done) = (total + size, done + sent);
    }
    Step { doing: "uploading what was changed", done, total: Some(total), unit: Unit::Bytes }
}

/// One that was not even tried any more is noted where the next mount finds it.
fn keep(node: &Arc<Node>) {
    let (path, local) = {
        let state = node.lock();
        (state.path.clone(), state.local.clone())
    };
    let Some(local) = local else { return };
    let kept = local.data.display();
    match local.mark(&path) {
        Ok(()) => {
            log::error!("{path}: the service takes nothing; it is kept in {kept} and will be tried again")
        }
        Err(error) => {
            log::error!("{path}: the service takes nothing; it is kept in {kept}, without a note ({error})")
        }
    }
}
