//! What the session and the adapters promise, shown without a kernel: requests and histories of events go in,
//! and what became of them is read off.

mod blocking;
mod claims;
mod ending;
mod every;
mod guests;
mod history;
mod lookups;
mod names;
mod path;
mod path_echo;
mod paths;
mod scatter;
mod script;
