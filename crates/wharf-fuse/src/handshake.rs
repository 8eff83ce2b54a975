//! INIT: the one exchange before all others, always on the device.

use std::io;
use std::os::fd::BorrowedFd;

use wharf_mem::Payload;

use crate::wire::{self, Control, Terms, Wanted};

/// Room for INIT; the kernel wants this much for any read.
const ROOM_BYTES: usize = 64 * 1024;

/// Reads INIT, answers it, and returns what was agreed on.
///
/// # Errors
/// ENODEV if the mount failed or went away first; `Unsupported` if there is no agreement.
pub(crate) fn shake(device: BorrowedFd<'_>, wanted: &Wanted) -> io::Result<Terms> {
    let mut room = Payload::anonymous(ROOM_BYTES)?;
    let room = room.bytes_mut().ok_or(io::ErrorKind::OutOfMemory)?;
    loop {
        let count = match rustix::io::read(device, &mut *room) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let head = &room[..count];
        let Some(header) = wire::header(head) else { continue };
        if !matches!(wire::control(head), Ok(Some(Control::Init))) {
            let refusal = wire::out_header(header.unique, Some(wharf::Errno::EIO), 0);
            rustix::io::write(device, &refusal)?;
            continue;
        }
        match wire::negotiate(head, wanted) {
            Ok((terms, reply)) => {
                let body = reply.bytes();
                let mut answer = wire::out_header(header.unique, None, body.len()).to_vec();
                answer.extend_from_slice(body);
                rustix::io::write(device, &answer)?;
                // A kernel that speaks a newer major version takes ours from this and begins again.
                if reply.is_final() {
                    return Ok(terms);
                }
            }
            Err(errno) => {
                let refusal = wire::out_header(header.unique, Some(errno), 0);
                rustix::io::write(device, &refusal)?;
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("the kernel's FUSE speaks no version that Wharf knows: {errno}"),
                ));
            }
        }
    }
}
