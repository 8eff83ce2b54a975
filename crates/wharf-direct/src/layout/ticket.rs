//! What an open file on a mount says when it is asked for the direct path.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{MAGIC, Malformed, VERSION};

/// What only the host and the holder of a ticket know.
pub type Secret = [u8; 16];

/// Where to go, and what to show there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The host's socket.
    pub socket: PathBuf,
    /// What opens the file, once.
    pub secret: Secret,
}

const BYTES: usize = 256;
const PATH_AT: usize = 32;
/// Longest path of a socket.
const PATH_BYTES_MAX: usize = 107;

impl Ticket {
    /// As the ioctl hands it out; `None` if the path is too long for a socket.
    pub fn encode(secret: Secret, socket: &Path) -> Option<[u8; BYTES]> {
        let path = socket.as_os_str().as_bytes();
        let len = u32::try_from(path.len()).ok().filter(|len| *len as usize <= PATH_BYTES_MAX)?;
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        bytes[8..12].copy_from_slice(&VERSION.to_ne_bytes());
        bytes[12..16].copy_from_slice(&len.to_ne_bytes());
        bytes[16..PATH_AT].copy_from_slice(&secret);
        bytes[PATH_AT..PATH_AT + path.len()].copy_from_slice(path);
        Some(bytes)
    }

    /// What the ioctl handed out.
    ///
    /// # Errors
    /// If it is no ticket of this version.
    pub fn decode(bytes: &[u8; BYTES]) -> Result<Ticket, Malformed> {
        let number = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let len = number(12) as usize;
        if bytes[..8] != MAGIC.to_ne_bytes() || number(8) != VERSION || !(1..=PATH_BYTES_MAX).contains(&len) {
            return Err(Malformed);
        }
        let path = &bytes[PATH_AT..PATH_AT + len];
        if path.contains(&0) || path[0] != b'/' {
            return Err(Malformed);
        }
        let mut secret = Secret::default();
        secret.copy_from_slice(&bytes[16..PATH_AT]);
        Ok(Ticket { socket: std::ffi::OsStr::from_bytes(path).into(), secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_and_nothing_else_is_one() {
        let bytes = Ticket::encode([7; 16], Path::new("/run/wharf/x")).unwrap();
        let ticket = Ticket::decode(&bytes).unwrap();
        assert_eq!((ticket.socket, ticket.secret), ("/run/wharf/x".into(), [7; 16]));
        for at in [0, 8, 13, 32, 35] {
            let mut changed = bytes;
            changed[at] = 0;
            assert_eq!(Ticket::decode(&changed).is_ok(), at == 13, "byte {at}");
        }
        assert_eq!(Ticket::decode(&[0; 256]), Err(Malformed));
        assert_eq!(Ticket::decode(&[255; 256]), Err(Malformed));
        assert_eq!(Ticket::encode([0; 16], Path::new(&"x".repeat(108))), None);
    }
}
