//! The file systems that can be mounted, each made from its spec. One file per driver; a driver that this
//! command was built without is refused by name.

#[cfg(not(any(
    feature = "fat",
    feature = "memory",
    feature = "mirror",
    feature = "remote",
    feature = "zip"
)))]
compile_error!("wharf mounts nothing without a driver: build it with at least one of its features");

#[cfg(feature = "fat")]
pub(crate) mod fat;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(feature = "mirror")]
pub(crate) mod mirror;
#[cfg(feature = "remote")]
pub(crate) mod remote;
#[cfg(feature = "zip")]
pub(crate) mod zip;

use crate::failure::Failure;
use crate::spec::Spec;

/// How far the kernel should read ahead in files of this driver, if nobody chose and it may be told.
pub(crate) fn read_ahead(spec: &Spec) -> Option<u32> {
    match spec {
        #[cfg(feature = "fat")]
        Spec::Fat(_) => fat::read_ahead(),
        _ => None,
    }
}

/// Whether answers come straight from a disc.
pub(crate) fn reads_discs(spec: &Spec) -> bool {
    matches!(spec, Spec::Fat(_))
}

/// The refusal of what was left out of this build.
#[cfg_attr(
    all(feature = "fat", feature = "memory", feature = "mirror", feature = "remote", feature = "zip"),
    expect(dead_code, reason = "called where a driver is left out")
)]
pub(crate) fn left_out(spec: &Spec) -> Failure {
    let driver = spec.driver();
    Failure::Operation(format!(
        "this wharf was built without {driver}; build it with: cargo install wharf-cli --features {driver}"
    ))
}
