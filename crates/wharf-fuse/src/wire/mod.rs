//! The language of the kernel, FUSE 7.45: bytes to operations, answers to bytes, and what both sides agree on.
//!
//! Nothing here reads a descriptor, a clock or a global, and nothing is unsafe: the transports move the
//! bytes, this makes sense of them. Left out is what a mounted file system cannot meet: character devices in
//! user space, and the mappings and submounts of virtiofs.
//!
//! Invariant: whatever the bytes, a function here returns, with a value or with the number that refuses them.
#![forbid(unsafe_code)]

mod abi;
mod body;
mod control;
mod decode;
mod dirent;
mod encode;
mod header;
mod init;
pub mod notice;
mod opcode;
#[cfg(test)]
mod tests;
pub mod uring;

pub use control::{Control, Forgets, control};
pub use decode::{decode, reply_room};
pub use dirent::DirentForm;
pub use encode::{Encoded, encode};
pub use header::{Header, IN_HEADER_BYTES, OUT_HEADER_BYTES, header, out_header};
pub use init::{InitFlags, InitReply, Terms, Wanted, negotiate};
pub use opcode::Opcode;
