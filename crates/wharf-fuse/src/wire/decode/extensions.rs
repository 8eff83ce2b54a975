//! What may follow the names of a request that makes something: a security context, a group.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use wharf::Errno;

use crate::wire::abi::{ExtHeader, Secctx};
use crate::wire::body::{Body, MALFORMED};
use crate::wire::{InitFlags, Terms};

/// Types up to this are the number of security contexts in a `fuse_secctx_header`.
const MAX_NR_SECCTX: u32 = 31;
const EXT_GROUPS: u32 = 32;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extensions<'a> {
    /// A security attribute: name and value.
    pub(super) security: Option<(&'a OsStr, &'a [u8])>,
    /// The supplementary group that applies.
    pub(super) group: Option<u32>,
}

/// Reads the extensions of a request, of whose names `body` is what remains.
pub(super) fn extensions<'a>(
    body: Body<'a>,
    extensions: Body<'a>,
    terms: &Terms,
) -> Result<Extensions<'a>, Errno> {
    // Minor versions 36 and 37 have security contexts and no field that tells their length.
    let told = terms.minor >= 38 || !terms.flags.contains(InitFlags::SECURITY_CTX);
    let mut rest = if told || !extensions.is_empty() {
        body.end()?;
        extensions
    } else {
        body
    };
    let mut found = Extensions::default();
    while !rest.is_empty() {
        let header: ExtHeader = rest.take()?;
        let bytes = usize::try_from(header.size).map_err(|_| MALFORMED)?;
        let contents = rest.bytes(bytes.checked_sub(size_of::<ExtHeader>()).ok_or(MALFORMED)?)?;
        let contents = Body::new(contents);
        match header.r#type {
            0 => {}
            1 => found.security = Some(security_context(contents)?),
            2..=MAX_NR_SECCTX => return Err(Errno::EOPNOTSUPP),
            EXT_GROUPS => found.group = group(contents)?,
            // Of a later kernel, which was not told that we understand it.
            _ => {}
        }
    }
    Ok(found)
}

fn security_context(mut contents: Body<'_>) -> Result<(&OsStr, &[u8]), Errno> {
    let context: Secctx = contents.take()?;
    let name = contents.text()?;
    let value = contents.bytes(usize::try_from(context.size).map_err(|_| MALFORMED)?)?;
    if name.is_empty() { Err(MALFORMED) } else { Ok((OsStr::from_bytes(name), value)) }
}

/// The kernel tells the one group that matters: the directory's, if the caller is in it.
fn group(mut contents: Body<'_>) -> Result<Option<u32>, Errno> {
    let count: u32 = contents.take()?;
    match count {
        0 => Ok(None),
        1 => contents.take().map(Some),
        _ => Err(MALFORMED),
    }
}
