//! `zip:FILE`

use std::io;

use rustix::process::{getgid, getuid};
use wharf_drivers::zip::{Options, Owners, Zip};

use crate::failure::Failure;
use crate::progress::Told;
use crate::show::{plain, quoted};
use crate::spec;

/// The archive. Root's shows owners as they are; a user's belongs to that user, who could otherwise not read it.
pub(crate) fn open(spec: &spec::Zip) -> Result<Zip, Failure> {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let options = Options {
        owners: if getuid().is_root() { Owners::Archive { uid, gid } } else { Owners::One { uid, gid } },
        cache_bytes_max: spec.cache_bytes_max.unwrap_or_else(quarter_of_memory),
    };
    Zip::open(&spec.archive, options, &Told::new()).map_err(|error| {
        let (archive, way_out) = (plain(&spec.archive), quoted(&spec.archive));
        Failure::Operation(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                format!("{archive} cannot be read ({error}); see it with: ls -l {way_out}")
            }
            _ => format!(
                "{archive} is no zip archive that can be shown ({error}); test it with: unzip -t {way_out}"
            ),
        })
    })
}

fn quarter_of_memory() -> u64 {
    let machine = rustix::system::sysinfo();
    machine.totalram * u64::from(machine.mem_unit) / 4
}
