//! What the session promises, shown without a kernel: histories of events go in, and what became of them is
//! read off.

mod claims;
mod ending;
mod history;
mod lookups;
mod script;
