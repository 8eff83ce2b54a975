//! The command as a shell sees it: what it prints, how it ends, and what is mounted meanwhile.
//!
//! The tests that mount need `/dev/fuse` and root, and fail without them.

mod direct;
mod mounts;
mod remote;
mod run;
mod signals;
mod usage;
mod users;
mod volumes;
mod wharf;
