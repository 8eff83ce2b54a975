//! `wharf cat`: files of a volume to standard output, without going through its mount.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;

use crate::failure::Failure;
use crate::plan::Cat;
use crate::show::unwritten;
use crate::volumes::{self, Spilt, pour};

/// Prints them. That nobody reads on is no failure.
pub(crate) fn run(plan: &Cat) -> Result<(), Failure> {
    // The standard library's own would look for the ends of lines.
    let output = io::stdout().as_fd().try_clone_to_owned().map_err(|error| unwritten(&error))?;
    let mut output = File::from(output);
    for address in &plan.addresses {
        let place = volumes::find(address)?;
        let (node, record) = place.walk()?;
        let reader = place.open(&place.path, &node, &record)?;
        match pour(&reader, |bytes| output.write_all(bytes)) {
            Ok(()) => {}
            Err(Spilt::Writing(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(Spilt::Writing(error)) => return Err(unwritten(&error)),
            Err(Spilt::Reading(error)) => return Err(place.failure(&error)),
        }
    }
    Ok(())
}
