//! From the bytes of a request to an operation, or to the number that refuses it.
//!
//! `EIO` answers bytes that are not what the protocol says; `EINVAL` and its more telling relatives answer
//! requests that can be read and make no sense; `ENOSYS` answers what is not known here, which the kernel
//! remembers. Nothing panics, whatever the bytes.

mod extensions;
mod files;
mod flags;
mod locks;
mod names;
mod nodes;

pub(super) use locks::{F_RDLCK, F_UNLCK, F_WRLCK};

use wharf::session::{Operation, Request};
use wharf::{Data, Errno, NodeId};
use zerocopy::FromBytes;

use super::abi::{GetxattrIn, IoctlIn, ReadIn};
use super::body::{Body, MALFORMED};
use super::{IN_HEADER_BYTES, Opcode, Terms, header};

/// Room that the target of a symbolic link may take: the kernel reads up to a page with a NUL of its own.
const TARGET_BYTES_MAX: usize = 4095;

/// Makes an operation of a request.
///
/// `head` is the header with arguments and names contiguous, as `/dev/fuse` gives them. For a write it ends
/// after `fuse_write_in`, and the bytes come as `data`.
///
/// # Errors
/// The number to answer with.
pub fn decode<'a>(head: &'a [u8], data: Option<Data<'a>>, terms: &Terms) -> Result<Request<'a>, Errno> {
    let header = header(head).ok_or(MALFORMED)?;
    let data_bytes = data.as_ref().map_or(0, |data| data.len());
    if head.len().checked_add(data_bytes) != usize::try_from(header.len).ok() {
        return Err(MALFORMED);
    }
    let opcode = header.opcode.map_err(|_| Errno::ENOSYS)?;
    let node = NodeId::new(header.node).ok_or(Errno::EINVAL)?;
    let mut body = Body::new(head.get(IN_HEADER_BYTES..).unwrap_or_default());
    let extensions = body.split_end(header.extension_bytes())?;
    let operation = match (opcode, data) {
        (Opcode::Write, Some(data)) => files::write(body, data, terms)?,
        (Opcode::Write, None) | (_, Some(_)) => return Err(MALFORMED),
        (_, None) => operation(opcode, body, extensions, terms)?,
    };
    Ok(Request { node, caller: header.caller(), operation })
}

fn operation<'a>(
    opcode: Opcode,
    body: Body<'a>,
    extensions: Body<'a>,
    terms: &Terms,
) -> Result<Operation<'a>, Errno> {
    match opcode {
        Opcode::Lookup => names::lookup(body),
        Opcode::Symlink => names::symlink(body, extensions, terms),
        Opcode::Mknod => names::mknod(body, extensions, terms),
        Opcode::Mkdir => names::mkdir(body, extensions, terms),
        Opcode::Create => names::create(body, extensions, terms),
        Opcode::Tmpfile => names::tmpfile(body),
        Opcode::Unlink => Ok(Operation::Unlink { op: names::remove(body)? }),
        Opcode::Rmdir => Ok(Operation::RemoveDirectory { op: names::remove(body)? }),
        Opcode::Rename => names::rename(body),
        Opcode::Rename2 => names::rename2(body),
        Opcode::Link => names::link(body),

        Opcode::Getattr => nodes::getattr(body),
        Opcode::Setattr => nodes::setattr(body),
        Opcode::Statx => nodes::statx(body),
        Opcode::Readlink => Ok(Operation::ReadLink),
        Opcode::Statfs => Ok(Operation::Statfs),
        Opcode::Syncfs => Ok(Operation::SyncFs),
        Opcode::Access => nodes::access(body),
        Opcode::Bmap => nodes::bmap(body),
        Opcode::Setxattr => nodes::setxattr(body, terms),
        Opcode::Getxattr => nodes::getxattr(body, terms),
        Opcode::Listxattr => nodes::listxattr(body, terms),
        Opcode::Removexattr => nodes::removexattr(body),

        Opcode::Open => Ok(Operation::Open { op: files::open(body)? }),
        Opcode::Opendir => Ok(Operation::OpenDirectory { op: files::open(body)? }),
        Opcode::Read => files::read(body, terms),
        Opcode::Readdir => files::list(body, false, terms),
        Opcode::Readdirplus => files::list(body, true, terms),
        Opcode::Flush => files::flush(body),
        Opcode::Release => files::release(body).map(|(handle, op)| Operation::Release { handle, op }),
        Opcode::Releasedir => {
            files::release(body).map(|(handle, op)| Operation::ReleaseDirectory { handle, op })
        }
        Opcode::Fsync => files::fsync(body).map(|(handle, op)| Operation::Fsync { handle, op }),
        Opcode::Fsyncdir => files::fsync(body).map(|(handle, op)| Operation::FsyncDirectory { handle, op }),
        Opcode::Fallocate => files::fallocate(body),
        Opcode::Lseek => files::lseek(body),
        Opcode::CopyFileRange => files::copy_file_range(body, false),
        Opcode::CopyFileRange64 => files::copy_file_range(body, true),
        Opcode::Ioctl => files::ioctl(body, terms),
        Opcode::Poll => files::poll(body),

        Opcode::Getlk => locks::getlk(body),
        Opcode::Setlk => locks::setlk(body, false),
        Opcode::Setlkw => locks::setlk(body, true),

        // `control` is for these; a write without data was refused before.
        Opcode::Forget
        | Opcode::BatchForget
        | Opcode::Init
        | Opcode::Interrupt
        | Opcode::Destroy
        | Opcode::NotifyReply
        | Opcode::Write => Err(MALFORMED),
    }
}

/// Bytes of payload that the answer to a request may need, known before it is decoded. 0 for none, and
/// whenever [`decode`] is going to refuse it for its size.
pub fn reply_room(head: &[u8], terms: &Terms) -> usize {
    let Some(Ok(opcode)) = header(head).map(|header| header.opcode) else { return 0 };
    let body = head.get(IN_HEADER_BYTES..).unwrap_or_default();
    let asked = match opcode {
        Opcode::Read | Opcode::Readdir | Opcode::Readdirplus => asked(body, |raw: ReadIn| raw.size),
        Opcode::Getxattr | Opcode::Listxattr => asked(body, |raw: GetxattrIn| raw.size),
        Opcode::Ioctl => asked(body, |raw: IoctlIn| raw.out_size),
        Opcode::Readlink => TARGET_BYTES_MAX,
        _ => 0,
    };
    if asked <= terms.payload_bytes as usize { asked } else { 0 }
}

fn asked<T: FromBytes>(body: &[u8], size: impl Fn(T) -> u32) -> usize {
    T::read_from_prefix(body).map_or(0, |(raw, _)| size(raw) as usize)
}

/// An answer of `size` bytes has room in the payload.
fn fits(size: u32, terms: &Terms) -> Result<u32, Errno> {
    if size <= terms.payload_bytes { Ok(size) } else { Err(Errno::EINVAL) }
}

/// Files end before `i64::MAX`, the greatest position there is.
const POSITION_MAX: u64 = i64::MAX as u64;

/// Where a range ends; `None` beyond the greatest position.
fn end_of(offset: u64, len: u64) -> Option<u64> {
    offset.checked_add(len).filter(|end| *end <= POSITION_MAX)
}
