//! File systems that ship with Wharf, a feature each.
//!
//! A driver knows the model ([`wharf`]) and no transport: any volume can serve it.
//!
//! What they have in common: [`info`] tells what is inside a source without serving it, and [`progress`] is
//! told how far long work has come.

#![deny(unsafe_code)]

pub mod info;
pub mod progress;

#[cfg(any(feature = "fat", feature = "zip"))]
mod desk;
#[cfg(feature = "fat")]
pub mod fat;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "mirror")]
pub mod mirror;
#[cfg(any(feature = "mirror", feature = "zip"))]
mod processors;
#[cfg(feature = "remote")]
pub mod remote;
#[cfg(feature = "zip")]
pub mod zip;
