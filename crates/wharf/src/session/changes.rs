//! Operations after which somebody has to be told that contents changed, whatever came of them: a change that
//! failed may have changed something.
//!
//! Each is a future of its own. What is kept while somebody is told has a place in it and not in the future of
//! every operation, where the compiler would keep all such places side by side.

use std::ops::Range;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::{Created, FileSystem, HandleId, NodeId, Opened, Source, op};

use super::dispatch::{Answer, InUse};
use super::guest::Asker;
use super::{Protocol, Reply, Session};

const ALL: Range<u64> = 0..u64::MAX;

impl<F: FileSystem, P: Protocol> Session<F, P> {
    pub(super) async fn set_attributes(
        &self,
        cx: &Context,
        id: NodeId,
        node: &F::Node,
        (handle, op): (Option<HandleId>, op::SetAttributes),
        asker: Asker<'_>,
    ) -> Answer {
        let open = self.maybe_open(handle);
        let resizes = op.size.is_some();
        let attributes = self.fs.setattr(cx, node, open.as_ref().map(|open| &open.file), op).await;
        if resizes {
            self.changed(id, ALL, asker).await;
        }
        Ok(Reply::Attributes(attributes?, self.defaults.lifetimes.attributes))
    }

    pub(super) async fn open_file(
        &self,
        cx: &Context,
        id: NodeId,
        node: &F::Node,
        op: op::Open,
        asker: Asker<'_>,
    ) -> Answer {
        let opened = self.fs.open(cx, node, op).await;
        if op.flags.contains(op::OpenFlags::TRUNCATE) {
            self.changed(id, ALL, asker).await;
        }
        let opened = opened?;
        if writes_memory(&opened, op.flags) {
            return Err(Box::pin(self.refuse_writing(cx, opened, op.flags)).await);
        }
        Ok(Reply::Opened(self.opened(id, false, op.flags, opened, asker)))
    }

    pub(super) async fn create(
        &self,
        cx: &Context,
        id: NodeId,
        node: &F::Node,
        op: op::Create<'_>,
        asker: Asker<'_>,
    ) -> Answer {
        let flags = op.flags;
        let created = self.renaming([Some(id), None], self.fs.create(cx, node, op)).await?;
        let created = self.created(cx, flags, created, asker).await?;
        if let (Reply::Created(entry, _), true) = (&created, flags.contains(op::OpenFlags::TRUNCATE)) {
            self.changed(entry.node, ALL, asker).await;
        }
        Ok(created)
    }

    pub(super) async fn create_unnamed(
        &self,
        cx: &Context,
        node: &F::Node,
        op: op::Tmpfile,
        asker: Asker<'_>,
    ) -> Answer {
        let flags = op.flags;
        let created = self.fs.tmpfile(cx, node, op).await?;
        self.created(cx, flags, created, asker).await
    }

    async fn created(
        &self,
        cx: &Context,
        flags: op::OpenFlags,
        created: Created<F::Node, F::File>,
        asker: Asker<'_>,
    ) -> Answer {
        let Created { entry, opened } = created;
        if writes_memory(&opened, flags) {
            return Err(Box::pin(self.refuse_writing(cx, opened, flags)).await);
        }
        let entry = self.count(entry)?;
        Ok(Reply::Created(entry, self.opened(entry.node, false, flags, opened, asker)))
    }

    pub(super) async fn write(
        &self,
        cx: &Context,
        id: NodeId,
        open: InUse<F::File>,
        op: op::Write<'_>,
        asker: Asker<'_>,
    ) -> Answer {
        let len = op.data.len();
        // Where it is appended the file system alone knows.
        let append = op.flags.contains(op::OpenFlags::APPEND);
        let range = if append { ALL } else { op.offset..op.offset.saturating_add(len as u64) };
        let written = match open.source() {
            // What has to clear privileges too is for the file system, wherever the bytes are.
            Source::Backing(backing) if !op.kill_privileges => {
                cx.io().write(backing, op.offset, op.data).await
            }
            Source::Handler | Source::Backing(_) | Source::Extents(_) => {
                self.fs.write(cx, open.file(), op).await
            }
            Source::Memory(_) => Err(Error::read_only()),
        };
        self.changed(id, range, asker).await;
        let written = written?;
        if written > len {
            return Err(Error::io("writing: the file system claims more bytes than it was given"));
        }
        Ok(Reply::Written(written))
    }

    pub(super) async fn allocate(
        &self,
        cx: &Context,
        id: NodeId,
        open: InUse<F::File>,
        op: op::Fallocate,
        asker: Asker<'_>,
    ) -> Answer {
        let allocated = self.fs.fallocate(cx, open.file(), op).await;
        self.changed(id, ALL, asker).await;
        allocated.map(|()| Reply::Nothing)
    }

    pub(super) async fn copy_range(
        &self,
        cx: &Context,
        (from, to): (InUse<F::File>, InUse<F::File>),
        (to_node, op): (NodeId, op::CopyRange),
        asker: Asker<'_>,
    ) -> Result<u64> {
        let copied = self.fs.copy_file_range(cx, from.file(), to.file(), op).await;
        self.changed(to_node, op.to..op.to.saturating_add(op.len), asker).await;
        Ok(copied?.min(op.len))
    }

    /// What the author opened is not opened after all.
    async fn refuse_writing(&self, cx: &Context, opened: Opened<F::File>, flags: op::OpenFlags) -> Error {
        let op = op::Release { flags, owner: None, unlock_flock: false };
        self.fs.release(cx, &opened.file, op).await;
        Error::read_only()
    }
}

/// What is in memory is never written: the kernel would do so behind everybody's back.
fn writes_memory<F>(opened: &Opened<F>, flags: op::OpenFlags) -> bool {
    matches!(opened.source, Source::Memory(_)) && flags.writes()
}
