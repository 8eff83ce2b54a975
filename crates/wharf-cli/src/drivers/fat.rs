//! `fat:IMAGE[@OFFSET|#PARTITION]`

use wharf_drivers::fat::{Fat, Options, Part, READ_AHEAD_BYTES};
use wharf_fuse::mount::Access;

use crate::failure::Failure;
use crate::plan::Mount;
use crate::show::{plain, quoted};
use crate::spec;

/// The volume, to be mounted: read only, unless writing was asked for.
pub(crate) fn for_mount(spec: &spec::Fat, plan: &Mount) -> Result<Fat, Failure> {
    open(spec, spec.write && plan.access != Access::Read)
}

/// The volume, to be looked at.
pub(crate) fn for_info(spec: &spec::Fat) -> Result<Fat, Failure> {
    open(spec, false)
}

/// More than the kernel's own choice, if this is root, whom it is allowed to.
pub(crate) fn read_ahead() -> Option<u32> {
    rustix::process::getuid().is_root().then_some(READ_AHEAD_BYTES)
}

fn open(spec: &spec::Fat, write: bool) -> Result<Fat, Failure> {
    let options = Options::default();
    let options = Options {
        write,
        uid: spec.uid.unwrap_or(rustix::process::getuid().as_raw()),
        gid: spec.gid.unwrap_or(rustix::process::getgid().as_raw()),
        umask: spec.umask.unwrap_or(options.umask),
        minutes_east: spec.minutes_east.unwrap_or(options.minutes_east),
        ..options
    };
    let part = match spec.part {
        spec::Part::Whole => Part::Whole,
        spec::Part::Offset(offset) => Part::Offset(offset),
        spec::Part::Partition(number) => Part::Partition(number),
    };
    Fat::open(&spec.disc, part, options).map_err(|error| {
        Failure::Operation(format!(
            "{} cannot be served ({error}); see what it is with: blkid -p {}",
            plain(&spec.disc),
            quoted(&spec.disc)
        ))
    })
}
