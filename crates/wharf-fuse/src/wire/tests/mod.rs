//! Rules of the wire, told with requests made by hand.

mod decode;
mod encode;
mod init;
mod layout;
mod notice;
mod random;
mod uring;

use wharf::{Capabilities, Errno, Limits};
use zerocopy::IntoBytes;

use super::abi::{InHeader, InitIn};
use super::{InitFlags, Opcode, Terms, Wanted, negotiate};

/// A request about node 5 with these parts after its header.
fn request(opcode: Opcode, parts: &[&[u8]]) -> Vec<u8> {
    about(5, opcode, parts)
}

fn about(nodeid: u64, opcode: Opcode, parts: &[&[u8]]) -> Vec<u8> {
    with_header(InHeader { nodeid, opcode: opcode as u32, ..InHeader::default() }, parts)
}

/// A request with this header, which need not tell the length, and these parts after it.
fn with_header(header: InHeader, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let len = (size_of::<InHeader>() + body.len()) as u32;
    let header = InHeader { len, unique: 12, uid: 1000, gid: 100, pid: 77, ..header };
    [header.as_bytes(), &body].concat()
}

/// The INIT of a kernel.
fn init(minor: u32, flags: InitFlags) -> Vec<u8> {
    let raw = InitIn {
        major: 7,
        minor,
        max_readahead: 131_072,
        flags: flags.bits() as u32,
        flags2: (flags.bits() >> 32) as u32,
        ..InitIn::default()
    };
    let bytes = if minor < 36 { &raw.as_bytes()[..16] } else { raw.as_bytes() };
    about(0, Opcode::Init, &[bytes])
}

/// What a kernel that offers everything agrees on with a file system that can do this.
fn terms_for(capabilities: Capabilities) -> Terms {
    agreed(45, &Wanted::new(capabilities, Limits::default())).0
}

fn terms() -> Terms {
    terms_for(Capabilities::POSIX)
}

fn agreed(minor: u32, wanted: &Wanted) -> (Terms, super::InitReply) {
    negotiate(&init(minor, InitFlags::all()), wanted).expect("there is a common language")
}

/// The name of an error, for comparing.
fn named(errno: Errno) -> &'static str {
    match errno {
        Errno::EIO => "EIO",
        Errno::EINVAL => "EINVAL",
        Errno::ENOSYS => "ENOSYS",
        Errno::EFBIG => "EFBIG",
        Errno::ENXIO => "ENXIO",
        Errno::ENOENT => "ENOENT",
        Errno::ESTALE => "ESTALE",
        Errno::ERANGE => "ERANGE",
        Errno::ENAMETOOLONG => "ENAMETOOLONG",
        Errno::EOPNOTSUPP => "EOPNOTSUPP",
        _ => "another error",
    }
}
