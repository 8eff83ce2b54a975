//! FUSE as the session knows it: the wire, what was agreed on, and the kernel's own reading of files.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use wharf::session::{BackingId, EntryForm, Line, ListForm, Operation, Passed, Protocol, Request};
use wharf::{Data, Errno, NodeId, Window};

use crate::mount::Allow;
use crate::passthrough::Passthrough;
use crate::wire::{self, DirentForm, Terms};

/// One FUSE connection, as far as the session needs it.
pub(crate) struct Fuse {
    terms: Terms,
    passthrough: Option<Passthrough>,
    /// The only user beside root who may use the mount, if the kernel leaves that to us.
    only_user: Option<u32>,
}

impl Fuse {
    pub(crate) fn new(terms: Terms, device: Arc<OwnedFd>, allow: Allow) -> Fuse {
        let passthrough = terms.passthrough.then(|| Passthrough::new(device));
        let only_user = (allow == Allow::Root).then(|| rustix::process::geteuid().as_raw());
        Fuse { terms, passthrough, only_user }
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    fn lets_in(&self, request: &Request<'_>) -> bool {
        let Some(owner) = self.only_user else { return true };
        let closes = matches!(
            request.operation,
            Operation::Release { .. } | Operation::ReleaseDirectory { .. } | Operation::Flush { .. }
        );
        closes || request.caller.uid == 0 || request.caller.uid == owner
    }
}

impl ListForm for Fuse {
    fn bytes(&self, name_bytes: usize, form: EntryForm) -> usize {
        DirentForm.bytes(name_bytes, form)
    }

    fn put(&self, into: &mut Window<'_>, at: usize, line: &Line<'_>) {
        DirentForm.put(into, at, line);
    }
}

impl Protocol for Fuse {
    fn decode<'a>(&'a self, head: &'a [u8], data: Option<Data<'a>>) -> Result<Request<'a>, Errno> {
        let request = wire::decode(head, data, &self.terms)?;
        if self.lets_in(&request) { Ok(request) } else { Err(Errno::EACCES) }
    }

    fn backing_open(&self, node: NodeId, backing: &OwnedFd) -> Passed {
        self.passthrough.as_ref().map_or(Passed::No, |passthrough| passthrough.open(node, backing))
    }

    fn handler_open(&self, node: NodeId) -> Passed {
        self.passthrough.as_ref().map_or(Passed::No, |passthrough| passthrough.open_served(node))
    }

    fn closed(&self, node: NodeId, _: Option<BackingId>) {
        if let Some(passthrough) = &self.passthrough {
            passthrough.closed(node);
        }
    }
}

impl std::fmt::Debug for Fuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fuse").field("terms", &self.terms).finish_non_exhaustive()
    }
}
