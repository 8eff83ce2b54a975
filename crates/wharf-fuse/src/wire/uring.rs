//! How a request lies in memory when it comes over io_uring, and how the contiguous form is made of it.
//!
//! The kernel copies the request's header to `in_out`, its first argument to `op_in` and all others, one
//! after another, to the payload. Requests without fixed part (LOOKUP, say) have an empty first argument,
//! so that their names are in the payload. Extensions are the last argument. An answer goes the other way
//! with one difference: all of it is in the payload, and only its header in `in_out`.

use wharf::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::abi::{
    AccessIn, BmapIn, CopyFileRangeIn, CreateIn, FallocateIn, FlushIn, FsyncIn, GetattrIn, GetxattrIn,
    IoctlIn, LinkIn, LkIn, LseekIn, MkdirIn, MknodIn, OpenIn, PollIn, ReadIn, ReleaseIn, Rename2In, RenameIn,
    SetattrIn, SetxattrIn, StatxIn, SyncfsIn, WriteIn,
};
use super::body::MALFORMED;
use super::{Header, IN_HEADER_BYTES, Opcode, Terms, header};

/// Bytes for the header of a request, or of its answer.
pub const IN_OUT_BYTES: usize = 128;
/// Bytes for the first argument.
pub const OP_IN_BYTES: usize = 128;

/// `FUSE_IO_URING_CMD_REGISTER`: gives the kernel an entry to put a request into.
pub const REGISTER: u32 = 1;
/// `FUSE_IO_URING_CMD_COMMIT_AND_FETCH`: answers, and gives the entry back.
pub const COMMIT_AND_FETCH: u32 = 2;

/// `struct fuse_uring_req_header`: what an entry has beside its payload.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RequestHeader {
    /// The request's header; for the answer, its header.
    pub in_out: [u8; IN_OUT_BYTES],
    /// The first argument.
    pub op_in: [u8; OP_IN_BYTES],
    /// What belongs to the entry rather than to the request.
    pub entry: EntryInOut,
}
const _: () = assert!(size_of::<RequestHeader>() == 288);

/// `struct fuse_uring_ent_in_out`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EntryInOut {
    /// None are known.
    pub flags: u64,
    /// Names the request in [`Command`].
    pub commit_id: u64,
    /// Bytes in the payload, either way.
    pub payload_sz: u32,
    /// Zero.
    pub padding: u32,
    /// Zero.
    pub reserved: u64,
}
const _: () = assert!(size_of::<EntryInOut>() == 32);

/// `struct fuse_uring_cmd_req`: the command area of a submission.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Command {
    /// None are known.
    pub flags: u64,
    /// Which request is answered; 0 to register.
    pub commit_id: u64,
    /// The queue: the number of a CPU.
    pub qid: u16,
    /// Zero.
    pub padding: [u8; 6],
}
const _: () = assert!(size_of::<Command>() == 24);

impl Command {
    /// For the entries of queue `qid`; `commit_id` is 0 to register one.
    pub fn new(qid: u16, commit_id: u64) -> Command {
        Command { qid, commit_id, ..Command::default() }
    }
}

/// Bytes for the payload of an entry: no fewer than the kernel demands.
pub fn payload_bytes(terms: &Terms) -> usize {
    const MIN_READ_BUFFER: u32 = 8192;
    terms.payload_bytes.max(MIN_READ_BUFFER) as usize
}

/// Puts the parts of a request one after another into `head`, as `/dev/fuse` would have given them.
///
/// Returns the header. The bytes of a write stay where they are; their number is returned too. `payload_sz` is the kernel's, from
/// [`EntryInOut`].
///
/// # Errors
/// The number to answer with, for parts that do not make up a request.
pub fn gather(
    in_out: &[u8; IN_OUT_BYTES],
    op_in: &[u8; OP_IN_BYTES],
    payload: &[u8],
    payload_sz: usize,
    head: &mut Vec<u8>,
) -> Result<(Header, Option<usize>), Errno> {
    head.clear();
    let header = header(in_out).ok_or(MALFORMED)?;
    let len = usize::try_from(header.len).map_err(|_| MALFORMED)?;
    let payload = payload.get(..payload_sz).ok_or(MALFORMED)?;
    // What is neither header nor payload is the first argument. The kernel does not tell its size.
    let argument_bytes = len.checked_sub(IN_HEADER_BYTES).and_then(|rest| rest.checked_sub(payload_sz));
    let argument = argument_bytes.and_then(|bytes| op_in.get(..bytes)).ok_or(MALFORMED)?;
    if let Ok(opcode) = header.opcode
        && !is_argument(opcode, argument.len())
    {
        return Err(MALFORMED);
    }
    head.extend_from_slice(&in_out[..IN_HEADER_BYTES]);
    head.extend_from_slice(argument);
    if header.opcode == Ok(Opcode::Write) {
        return Ok((header, Some(payload_sz)));
    }
    head.extend_from_slice(payload);
    Ok((header, None))
}

/// Whether the first argument of such a request can have so many bytes.
fn is_argument(opcode: Opcode, bytes: usize) -> bool {
    let expected = match opcode {
        Opcode::Lookup
        | Opcode::Symlink
        | Opcode::Unlink
        | Opcode::Rmdir
        | Opcode::Removexattr
        | Opcode::Readlink
        | Opcode::Statfs
        | Opcode::Destroy
        | Opcode::NotifyReply => 0,
        // Eight bytes unless the longer form was agreed on.
        Opcode::Setxattr if bytes == 8 => 8,
        Opcode::Setxattr => size_of::<SetxattrIn>(),
        Opcode::Getattr => size_of::<GetattrIn>(),
        Opcode::Setattr => size_of::<SetattrIn>(),
        Opcode::Mknod => size_of::<MknodIn>(),
        Opcode::Mkdir => size_of::<MkdirIn>(),
        Opcode::Rename => size_of::<RenameIn>(),
        Opcode::Rename2 => size_of::<Rename2In>(),
        Opcode::Link => size_of::<LinkIn>(),
        Opcode::Open | Opcode::Opendir => size_of::<OpenIn>(),
        Opcode::Create | Opcode::Tmpfile => size_of::<CreateIn>(),
        Opcode::Read | Opcode::Readdir | Opcode::Readdirplus => size_of::<ReadIn>(),
        Opcode::Write => size_of::<WriteIn>(),
        Opcode::Release | Opcode::Releasedir => size_of::<ReleaseIn>(),
        Opcode::Fsync | Opcode::Fsyncdir => size_of::<FsyncIn>(),
        Opcode::Getxattr | Opcode::Listxattr => size_of::<GetxattrIn>(),
        Opcode::Flush => size_of::<FlushIn>(),
        Opcode::Getlk | Opcode::Setlk | Opcode::Setlkw => size_of::<LkIn>(),
        Opcode::Access => size_of::<AccessIn>(),
        Opcode::Bmap => size_of::<BmapIn>(),
        Opcode::Ioctl => size_of::<IoctlIn>(),
        Opcode::Poll => size_of::<PollIn>(),
        Opcode::Fallocate => size_of::<FallocateIn>(),
        Opcode::Lseek => size_of::<LseekIn>(),
        Opcode::CopyFileRange | Opcode::CopyFileRange64 => size_of::<CopyFileRangeIn>(),
        Opcode::Syncfs => size_of::<SyncfsIn>(),
        Opcode::Statx => size_of::<StatxIn>(),
        // Only ever on the device.
        Opcode::Forget | Opcode::BatchForget | Opcode::Init | Opcode::Interrupt => return false,
    };
    bytes == expected
}
