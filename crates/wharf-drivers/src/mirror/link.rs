//! Opening again what a descriptor is for.

use std::os::fd::{AsFd, AsRawFd};

/// The way to a descriptor's file that asks for permissions anew: a magic link of this process's own. It is
/// the only absolute path of the mirror, and nothing in it comes from outside.
pub(super) fn magic_link(descriptor: impl AsFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd())
}
