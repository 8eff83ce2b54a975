//! What is inside a source, told without serving it.
//!
//! A driver says what it found as facts with names and units; who asked decides how they look.

use std::fmt;

/// A source that has been opened and can tell what is inside.
pub trait Describe {
    /// What is inside. May block: it is asked before the source is served, or instead.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn describe(&self) -> wharf::Result<Info>;
}

/// What is inside a source: facts in the order in which a reader wants them, then remarks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    facts: Vec<Fact>,
    remarks: Vec<String>,
}

/// One fact. Its value may hold what a stranger has written: show it with care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// A word or two, in small letters.
    pub name: &'static str,
    /// What there is.
    pub value: Value,
}

/// The value of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Words.
    Text(String),
    /// How many.
    Count(u64),
    /// How much.
    Bytes(u64),
}

impl Info {
    /// Nothing yet.
    pub fn new() -> Info {
        Info::default()
    }

    /// Adds words.
    #[must_use]
    pub fn text(self, name: &'static str, text: impl fmt::Display) -> Info {
        self.fact(name, Value::Text(text.to_string()))
    }

    /// Adds a number of things.
    #[must_use]
    pub fn count(self, name: &'static str, count: u64) -> Info {
        self.fact(name, Value::Count(count))
    }

    /// Adds a number of bytes.
    #[must_use]
    pub fn bytes(self, name: &'static str, bytes: u64) -> Info {
        self.fact(name, Value::Bytes(bytes))
    }

    /// Adds a sentence about something that a user should know: what is left out, what is damaged.
    #[must_use]
    pub fn remark(mut self, sentence: impl fmt::Display) -> Info {
        self.remarks.push(sentence.to_string());
        self
    }

    fn fact(mut self, name: &'static str, value: Value) -> Info {
        self.facts.push(Fact { name, value });
        self
    }

    /// The facts.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// The remarks.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }
}
