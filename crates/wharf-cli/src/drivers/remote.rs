//! `remote:URL`

use wharf_drivers::remote::{Location, Remote};
use wharf_fuse::mount::Access;

use crate::failure::Failure;
use crate::plan::Mount;
use crate::spec;

/// Where the spec leads. The error is a sentence with the way out.
pub(crate) fn location(spec: &spec::Remote) -> Result<Location, String> {
    let mut location = Location::parse(&spec.url)?;
    for setting in &spec.settings {
        location.options.set(&setting.name, &setting.value)?;
    }
    Ok(location)
}

/// The service, to be mounted.
pub(crate) fn for_mount(spec: &spec::Remote, plan: &Mount) -> Result<Remote, Failure> {
    open(spec, plan.access == Access::Read)
}

/// The service, to be looked at.
pub(crate) fn for_info(spec: &spec::Remote) -> Result<Remote, Failure> {
    open(spec, true)
}

fn open(spec: &spec::Remote, read_only: bool) -> Result<Remote, Failure> {
    let mut location = location(spec).map_err(Failure::Usage)?;
    location.options.read_only = read_only;
    Remote::new(&location).map_err(Failure::Operation)
}
