//! Mounts Wharf file systems through the Linux kernel, by FUSE.
//!
//! [`Mount`] takes a file system and makes a [`Volume`] of it. Requests come over `/dev/fuse` or over rings
//! shared with the kernel ([`Transport`]), and are the same to the file system.
//!
//! The modules, from the kernel inwards: [`mount`] and [`device`] connect; [`wire`] is the protocol, pure;
//! `dev` and `uring` move the bytes; `notices` tells the kernel what changed.
#![deny(unsafe_code)]

mod awake;
mod builder;
mod control;
mod dev;
pub mod device;
mod handshake;
pub mod mount;
mod notices;
mod passthrough;
mod protocol;
mod serve;
mod uring;
mod volume;
pub mod wire;

pub use builder::{Error, Mount};
pub use volume::{Handle, Transport, Volume};
