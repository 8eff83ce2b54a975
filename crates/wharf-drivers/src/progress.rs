//! How far long work has come: reading an index when a volume is made, bringing changes to their store
//! when it ends.

use std::fmt;

/// Who is told how far work has come. It decides how often to say so: call it as often as is cheap.
pub trait Progress: fmt::Debug + Send + Sync {
    /// The work has come so far. May be called from any thread.
    fn at(&self, step: Step<'_>);

    /// There is no more to tell of this work.
    fn done(&self);
}

/// How far work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// What is being done, as in "reading the index".
    pub doing: &'a str,
    /// How much of it is done.
    pub done: u64,
    /// How much there is, where that is known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: Unit,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Entries, files, things.
    Items,
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn at(&self, _: Step<'_>) {}
    fn done(&self) {}
}
