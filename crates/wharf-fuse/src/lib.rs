//! Brings a Wharf file system into the Linux kernel's tree and its requests out of it, by FUSE.
#![deny(unsafe_code)]

pub mod device;
pub mod mount;
pub mod wire;
