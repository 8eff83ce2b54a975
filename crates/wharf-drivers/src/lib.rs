//! File systems that ship with Wharf, a feature each.

#![deny(unsafe_code)]

#[cfg(feature = "mirror")]
pub mod mirror;
