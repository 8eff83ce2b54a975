//! `remote:URL`

use wharf_drivers::remote::{Remote, Uploads};
use wharf_fuse::mount::Access;

use crate::failure::Failure;
use crate::plan::Mount;
use crate::progress::Told;
use crate::spec;

/// The service, to be mounted.
pub(crate) fn for_mount(spec: &spec::Remote, plan: &Mount) -> Result<Remote, Failure> {
    open(spec, plan.access == Access::Read)
}

/// The service, to be looked at.
pub(crate) fn for_info(spec: &spec::Remote) -> Result<Remote, Failure> {
    open(spec, true)
}

/// Brings to the service what it does not have yet. What cannot be brought is named in the log.
pub(crate) fn finish(uploads: &Uploads) {
    uploads.finish(&Told::new());
}

fn open(spec: &spec::Remote, read_only: bool) -> Result<Remote, Failure> {
    let mut location = spec.location().map_err(Failure::Usage)?;
    location.options.read_only = read_only;
    Remote::new(&location).map_err(Failure::Operation)
}
