//! What the client that does the work and the runner that compares the servers agree on.

pub mod clock;
pub mod works;
