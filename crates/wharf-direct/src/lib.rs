//! The way past the kernel: a process on the same machine reads a volume's files through memory that it shares
//! with the host.
//!
//! [`client`] is the reader's end.
#![deny(unsafe_code)]

pub mod client;
