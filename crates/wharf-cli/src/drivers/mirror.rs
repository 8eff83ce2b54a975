//! `mirror:PATH`

use std::path::{Path, PathBuf};

use wharf_drivers::mirror::{Mirror, Options};
use wharf_fuse::mount::Access;

use crate::failure::Failure;
use crate::place::without_links;
use crate::plan::Mount;
use crate::show::{plain, quoted};

/// The directory, to be mounted.
pub(crate) fn for_mount(source: &Path, plan: &Mount) -> Result<Mirror, Failure> {
    let inside =
        |place: PathBuf| source.canonicalize().is_ok_and(|root| place != root && place.starts_with(root));
    if without_links(&plan.point).is_some_and(inside) {
        return Err(Failure::Operation(format!(
            "{} lies inside {}, which would then show itself without end; choose a place outside of it",
            quoted(&plan.point),
            plain(source)
        )));
    }
    let options = Options {
        read_only: plan.access == Access::Read,
        exclusive: plan.exclusive,
        passthrough: plan.passthrough,
        ..Options::default()
    };
    open(source, options)
}

/// The directory, to be looked at.
pub(crate) fn for_info(source: &Path) -> Result<Mirror, Failure> {
    open(source, Options { read_only: true, ..Options::default() })
}

fn open(source: &Path, options: Options) -> Result<Mirror, Failure> {
    Mirror::new(source, options).map_err(|error| {
        Failure::Operation(format!(
            "{} cannot be shown ({error}); see it with: ls -ld {}",
            plain(source),
            quoted(source)
        ))
    })
}
