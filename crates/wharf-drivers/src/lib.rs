//! File systems that ship with Wharf, a feature each.
//!
//! A driver knows the model ([`wharf`]) and no transport: any volume can serve it.

#![deny(unsafe_code)]

#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "mirror")]
pub mod mirror;
