//! The smallest server: it answers INIT and the root's attributes from raw bytes, and refuses the rest.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::io::{Errno, read, write};

const GETATTR: u32 = 3;
const INIT: u32 = 26;
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;

#[derive(Clone, Copy)]
pub(crate) enum Manners {
    Good,
    /// The root is a file.
    File,
    /// INIT is answered and nothing after it.
    SilentAfterInit,
    RefusesInit,
}

/// Serves until the kernel ends the connection, and gives the opcodes it saw and the error it ended with.
pub(crate) fn serve(device: Arc<OwnedFd>, manners: Manners) -> JoinHandle<(Vec<u32>, Errno)> {
    std::thread::spawn(move || {
        let mut seen = Vec::new();
        let mut request = vec![0; 1 << 17];
        loop {
            match read(&device, &mut request) {
                Ok(_) => {}
                Err(Errno::INTR | Errno::NOENT) => continue,
                Err(cause) => return (seen, cause),
            }
            let opcode = u32::from_ne_bytes(request[4..8].try_into().expect("four bytes"));
            seen.push(opcode);
            let (error, body) = match (opcode, manners) {
                (INIT, Manners::RefusesInit) => (-Errno::PROTO.raw_os_error(), Vec::new()),
                (INIT, _) => (0, init()),
                (_, Manners::SilentAfterInit) => continue,
                (GETATTR, Manners::File) => (0, attributes(FILE)),
                (GETATTR, _) => (0, attributes(DIRECTORY)),
                _ => (-Errno::NOSYS.raw_os_error(), Vec::new()),
            };
            let mut reply = Vec::from(u32::try_from(16 + body.len()).expect("short").to_ne_bytes());
            reply.extend(error.to_ne_bytes());
            reply.extend(&request[8..16]);
            reply.extend(body);
            // The request may have been aborted meanwhile.
            let _ = write(&device, &reply);
        }
    })
}

/// `struct fuse_init_out` for 7.41, with passthrough, which the backing calls need.
fn init() -> Vec<u8> {
    const INIT_EXT: u32 = 1 << 30;
    const PASSTHROUGH_HIGH: u32 = 1 << 5;
    let words = [7, 41, 65536, INIT_EXT, 0x000c_0010, 65536, 1, 0, PASSTHROUGH_HIGH, 1];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    bytes.resize(64, 0);
    bytes
}

/// `struct fuse_attr_out`: no lifetime, node 1, and the mode.
fn attributes(mode: u32) -> Vec<u8> {
    let mut bytes = vec![0; 104];
    bytes[16] = 1;
    bytes[76..80].copy_from_slice(&mode.to_ne_bytes());
    bytes[80] = 1;
    bytes
}
