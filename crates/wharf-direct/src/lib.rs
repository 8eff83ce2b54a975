//! The way past the kernel: a process on the same machine reads a volume's files through memory that it shares
//! with the host.
//!
//! - [`client`] is the reader's end.
//! - [`server`] is the host's: it serves a session beside the kernel's transport.
//! - [`layout`] is what goes between them, pure. `docs/direct-protocol.md` describes it.
#![deny(unsafe_code)]

pub mod client;
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "the host's end stands beside the client's"))]
mod lane;
pub mod layout;
#[cfg(feature = "server")]
pub mod server;
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "the host's end stands beside the client's"))]
mod socket;
