//! The trait: each operation to what does it.

use std::sync::Arc;
use std::time::Duration;

use wharf::op::{self, OpenFlags, SetTime};
use wharf::{
    Attributes, Cache, Capabilities, Context, Created, Entry, Error, Extended, FileSystem, Kind, Lifetimes,
    Listing, Opened, Result, Source, Statfs, Time, Window,
};

use crate::desk::block_on;

use super::medium::Lane;
use super::node::Inode;
use super::slot::READ_ONLY;
use super::volume::{Bell, Freed, Shared, State};
use super::{Fat, File, Node, name, rename};

const CAPABILITIES: Capabilities =
    Capabilities::LIST_ENTRIES.union(Capabilities::STATX).union(Capabilities::EXPLICIT_INVALIDATION);
const WRITING: Capabilities = Capabilities::WRITE
    .union(Capabilities::FSYNC)
    .union(Capabilities::SYNCFS)
    .union(Capabilities::RENAME_FLAGS);

impl FileSystem for Fat {
    type Node = Node;
    type File = File;

    fn capabilities(&self) -> Capabilities {
        if self.shared.options.write { CAPABILITIES | WRITING } else { CAPABILITIES }
    }

    fn root(&self) -> Node {
        self.root.clone()
    }

    async fn start(&self) -> Result<()> {
        self.start_flushing();
        Ok(())
    }

    async fn shutdown(&self) {
        self.shared.ring(Bell::Over);
        // Nothing is served any more that could be held up.
        if let Err(error) = block_on(self.shared.close()) {
            log::error!("what was changed last could not be written: {error}");
        }
    }

    async fn lookup(&self, cx: &Context, parent: &Node, op: op::Lookup<'_>) -> Result<Entry<Node>> {
        let name = std::str::from_utf8(op.name.as_bytes()).map_err(|_| Error::not_found())?;
        name::fits(name)?;
        self.meet(cx);
        let mut state = self.shared.state().await?;
        let (inode, exact) = self.shared.find(&mut state, lane(cx), &parent.0, name).await?;
        let mut entry = entry(inode);
        if !exact {
            // Another way to write a name is not to be remembered beside the name: both would have to go.
            entry.lifetimes = Some(Lifetimes { entry: Duration::ZERO, ..Lifetimes::LONG });
        }
        Ok(entry)
    }

    async fn getattr(&self, _: &Context, node: &Node, _: Option<&File>) -> Result<Attributes> {
        self.shared.medium.disc().check()?;
        Ok(node.0.attributes())
    }

    async fn setattr(
        &self,
        cx: &Context,
        node: &Node,
        _: Option<&File>,
        op: op::SetAttributes,
    ) -> Result<Attributes> {
        let shared = &self.shared;
        shared.medium.disc().check()?;
        shared.may_become(&op)?;
        if let Some(size) = op.size {
            if node.0.is_directory() {
                return Err(Error::is_a_directory());
            }
            shared.resize(lane(cx), &node.0, size).await?;
        }
        shared.set_attributes(&node.0, &op);
        Ok(node.0.attributes())
    }

    async fn mknod(&self, cx: &Context, parent: &Node, op: op::MakeNode<'_>) -> Result<Entry<Node>> {
        if op.kind != Kind::File {
            return Err(Error::not_permitted());
        }
        self.make(cx, parent, &op.new, false).await.map(entry)
    }

    async fn mkdir(&self, cx: &Context, parent: &Node, op: op::MakeDirectory<'_>) -> Result<Entry<Node>> {
        self.make(cx, parent, &op.new, true).await.map(entry)
    }

    async fn create(&self, cx: &Context, parent: &Node, op: op::Create<'_>) -> Result<Created<Node, File>> {
        let inode = match self.make(cx, parent, &op.new, false).await {
            Err(error)
                if error.kind() == wharf::error::Kind::Exists && !op.flags.contains(OpenFlags::EXCLUSIVE) =>
            {
                let mut state = self.shared.state().await?;
                let name = name::checked(op.new.name)?;
                self.shared.find(&mut state, lane(cx), &parent.0, name).await?.0
            }
            made => made?,
        };
        let opened = self.opened(cx, &inode).await?;
        Ok(Created { entry: entry(inode), opened })
    }

    async fn unlink(&self, cx: &Context, parent: &Node, op: op::Remove<'_>) -> Result<()> {
        let name = name::checked(op.name).map_err(|_| Error::not_found())?;
        let mut state = self.shared.state_to_change(lane(cx)).await?;
        self.shared.unlink(&mut state, lane(cx), &parent.0, name).await
    }

    async fn rmdir(&self, cx: &Context, parent: &Node, op: op::Remove<'_>) -> Result<()> {
        let name = name::checked(op.name).map_err(|_| Error::not_found())?;
        let mut state = self.shared.state_to_change(lane(cx)).await?;
        self.shared.rmdir(&mut state, lane(cx), &parent.0, name).await
    }

    async fn rename(&self, cx: &Context, parent: &Node, new_parent: &Node, op: op::Rename<'_>) -> Result<()> {
        let names = rename::Move {
            parent: &parent.0,
            from: name::checked(op.from).map_err(|_| Error::not_found())?,
            new_parent: &new_parent.0,
            to: name::checked(op.to)?,
            how: op.how,
        };
        let mut state = self.shared.state_to_change(lane(cx)).await?;
        self.shared.rename(&mut state, lane(cx), names).await
    }

    async fn open(&self, cx: &Context, node: &Node, _: op::Open) -> Result<Opened<File>> {
        self.opened(cx, &node.0).await
    }

    async fn opendir(&self, cx: &Context, node: &Node, _: op::Open) -> Result<Opened<File>> {
        node.0.key()?;
        self.meet(cx);
        // A listing that the kernel keeps could skip entries when others are removed under it.
        Ok(Opened::new(File(node.0.clone())).cache(Cache::Direct))
    }

    /// Only for files that are no longer what their source says: reads of extents do not come here.
    async fn read(&self, _: &Context, _: &File, _: op::Read, _: Window<'_>) -> Result<usize> {
        Err(Error::is_a_directory())
    }

    async fn write(&self, cx: &Context, file: &File, op: op::Write<'_>) -> Result<usize> {
        self.shared.write(lane(cx), &file.0, op.offset, op.data).await
    }

    async fn fsync(&self, cx: &Context, file: &File, _: op::Fsync) -> Result<()> {
        let mut state = self.shared.state().await?;
        self.shared.flush_file(&mut state, lane(cx), &file.0).await
    }

    async fn fsyncdir(&self, cx: &Context, _: &File, _: op::Fsync) -> Result<()> {
        self.flush(cx).await
    }

    async fn syncfs(&self, cx: &Context, _: &Node) -> Result<()> {
        self.flush(cx).await
    }

    async fn readdir(
        &self,
        cx: &Context,
        file: &File,
        op: op::List,
        list: &mut Listing<'_, Node>,
    ) -> Result<()> {
        let mut state = self.shared.state().await?;
        self.shared.list(&mut state, lane(cx), &file.0, op.cursor, list).await
    }

    async fn statfs(&self, cx: &Context, _: &Node) -> Result<Statfs> {
        let mut state = self.shared.state().await?;
        let free = self.shared.free_told(&mut state, lane(cx)).await?.unwrap_or(0).into();
        let geometry = &self.shared.geometry;
        Ok(Statfs {
            block_size: geometry.cluster_bytes,
            blocks: geometry.clusters.into(),
            blocks_free: free,
            blocks_available: free,
            files: 0,
            files_free: 0,
            name_bytes_max: 255,
        })
    }

    async fn statx(&self, _: &Context, node: &Node, _: Option<&File>, _: op::Statx) -> Result<Extended> {
        self.shared.medium.disc().check()?;
        Ok(Extended { attributes: node.0.attributes(), flags: 0, flags_known: 0 })
    }
}

impl Fat {
    async fn make(
        &self,
        cx: &Context,
        parent: &Node,
        new: &op::New<'_>,
        directory: bool,
    ) -> Result<Arc<Inode>> {
        let name = name::checked(new.name)?;
        let attributes = if new.permissions & 0o222 == 0 && !directory { READ_ONLY } else { 0 };
        let mut state = self.shared.state_to_change(lane(cx)).await?;
        self.shared.make(&mut state, lane(cx), &parent.0, name, directory, attributes).await
    }

    async fn opened(&self, cx: &Context, inode: &Arc<Inode>) -> Result<Opened<File>> {
        if inode.is_directory() {
            return Err(Error::is_a_directory());
        }
        self.meet(cx);
        let mut state = self.shared.state().await?;
        self.shared.load(&mut state, lane(cx), inode).await?;
        Ok(Opened::new(File(inode.clone())).source(Source::Extents(inode.clone())).cache(Cache::Keep))
    }

    /// What an operation leads to may be kept by the kernel, which is to be told when the disc goes.
    fn meet(&self, cx: &Context) {
        self.shared.notifier.get_or_init(|| cx.notifier().clone());
    }

    async fn flush(&self, cx: &Context) -> Result<()> {
        let mut state = self.shared.state().await?;
        self.shared.flush(&mut state, lane(cx)).await
    }
}

impl Shared {
    /// Refuses what FAT cannot keep.
    fn may_become(&self, op: &op::SetAttributes) -> Result<()> {
        let options = &self.options;
        let all = 0o777 & !options.umask;
        let owners =
            op.uid.is_some_and(|uid| uid != options.uid) || op.gid.is_some_and(|gid| gid != options.gid);
        let modes = op.permissions.is_some_and(|permissions| {
            let writing = permissions & all & 0o222;
            permissions & !0o222 != all & !0o222 || writing != 0 && writing != all & 0o222
        });
        if owners || modes { Err(Error::not_permitted()) } else { Ok(()) }
    }

    fn set_attributes(&self, inode: &Arc<Inode>, op: &op::SetAttributes) {
        {
            let mut facts = inode.facts();
            let now = self.now();
            let at = |set: SetTime| match set {
                SetTime::Now => now,
                SetTime::At(time) => time,
            };
            if let Some(permissions) = op.permissions {
                let attributes = facts.slot.attributes() & !READ_ONLY;
                let read_only = if permissions & 0o222 == 0 { READ_ONLY } else { 0 };
                facts.slot.set_attributes(attributes | read_only);
            }
            if let Some(time) = op.accessed {
                facts.slot.set_accessed(self.stamp(at(time)));
            }
            if let Some(time) = op.modified {
                facts.slot.set_modified(self.stamp(at(time)));
            }
        }
        self.touch(inode);
    }

    fn stamp(&self, time: Time) -> super::time::Stamp {
        self.zone().stamp(time).0
    }

    /// Free clusters, with those that will be free after the next flush. Without a count of our own, what the
    /// volume says of itself; `None` if it does not.
    pub(super) async fn free_told(&self, state: &mut State, lane: Lane<'_>) -> Result<Option<u32>> {
        let waiting: u32 = state.pending.frees.iter().map(Freed::count).sum();
        if let Some(space) = &state.space {
            return Ok(Some(space.free().saturating_add(waiting)));
        }
        let told = state.told_free.or(self.read_info(state, lane).await?);
        Ok(told.filter(|free| *free <= self.geometry.clusters))
    }

    /// The volume's name: that in the root, else that in the boot sector.
    pub(super) async fn label(&self, state: &mut State, lane: Lane<'_>) -> Result<Option<String>> {
        let key = super::index::root_key(&self.geometry);
        let label = self.index(state, lane, key).await?.label.or(self.geometry.label);
        let label = label.map(|label| String::from_utf8_lossy(&label).trim_end().to_owned());
        Ok(label.filter(|label| !label.is_empty() && label != "NO NAME"))
    }
}

fn lane(cx: &Context) -> Lane<'_> {
    Lane::Queue(cx.io())
}

fn entry(inode: Arc<Inode>) -> Entry<Node> {
    let attributes = inode.attributes();
    Entry::new(Node(inode), attributes)
}
