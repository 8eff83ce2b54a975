//! The trait. Only what must read the archive waits; the rest is in the index.

use std::sync::Arc;

use wharf::error;
use wharf::{
    Attributes, Cache, Capabilities, Context, Entry, Error, FileSystem, Kind, Listed, Listing, Name, Opened,
    Result, Source, Statfs, Window, op,
};

use super::contents;
use super::index::{Index, Member, NAME_BYTES_MAX, Number, ROOT};
use super::unpack::{self, STORED};
use super::{Node, Zip};

/// An open file or directory of an archive.
#[derive(Debug)]
pub struct File(Kept);

#[derive(Debug)]
enum Kept {
    Directory(Number),
    /// Its bytes are in the archive as they are: the session knows where.
    Stored,
    /// Of a large one the session has the memory; this keeps it from being given back.
    Packed(contents::Open),
}

impl FileSystem for Zip {
    type Node = Node;
    type File = File;

    fn capabilities(&self) -> Capabilities {
        Capabilities::READ_ONLY
            | Capabilities::LIST_ENTRIES
            | Capabilities::STATELESS_DIRECTORIES
            | Capabilities::CACHE_SYMLINKS
            | Capabilities::EXPLICIT_INVALIDATION
    }

    fn root(&self) -> Node {
        Node(ROOT)
    }

    async fn lookup(&self, _: &Context, parent: &Node, op: op::Lookup<'_>) -> Result<Entry<Node>> {
        if op.name.as_bytes().len() > NAME_BYTES_MAX {
            return Err(Error::new(error::Kind::NameTooLong));
        }
        let number = self.index().find(parent.0, op.name.as_bytes()).ok_or_else(Error::not_found)?;
        Ok(self.entry(number))
    }

    async fn getattr(&self, _: &Context, node: &Node, _: Option<&File>) -> Result<Attributes> {
        Ok(self.index().attributes(node.0))
    }

    async fn readlink(&self, _: &Context, node: &Node, mut into: Window<'_>) -> Result<usize> {
        let number = node.0;
        if self.index().kind(number) != Kind::Symlink {
            return Err(Error::invalid());
        }
        let member = self.index().member(number).ok_or_else(Error::invalid)?;
        self.may_open(number, &member)?;
        let target = self.contents.run(move |contents| contents.whole(number, &member)).await?;
        if target.contains(&0) {
            return Err(Error::io("reading a link whose target no program could use"));
        }
        Ok(into.put(&target))
    }

    async fn open(&self, _: &Context, node: &Node, op: op::Open) -> Result<Opened<File>> {
        if op.flags.writes() {
            return Err(Error::read_only());
        }
        let number = node.0;
        let member = self.index().member(number).ok_or_else(Error::is_a_directory)?;
        self.may_open(number, &member)?;
        let (kept, source) = if member.method == STORED && member.size > 0 {
            let start = self.contents.run(move |contents| contents.stored(number, &member)).await?;
            (Kept::Stored, Source::Extents(Arc::new(self.contents.archive.part(start, member.size))))
        } else {
            let open = self.contents.open(number, member)?;
            let source = match &open {
                contents::Open::Large(open) => Source::Memory(open.memory.clone()),
                contents::Open::Small(_) | contents::Open::Streamed(_) => Source::Handler,
            };
            (Kept::Packed(open), source)
        };
        Ok(Opened::new(File(kept)).source(source).cache(Cache::Keep))
    }

    /// Directories are opened without a question.
    fn file(&self, node: &Node) -> Result<File> {
        Ok(File(Kept::Directory(node.0)))
    }

    async fn read(&self, cx: &Context, file: &File, op: op::Read, mut into: Window<'_>) -> Result<usize> {
        match &file.0 {
            Kept::Packed(contents::Open::Small(small)) => {
                let bytes = small.bytes().await?;
                let offset = usize::try_from(op.offset).unwrap_or(usize::MAX);
                Ok(into.put(bytes.get(offset..).unwrap_or_default()))
            }
            Kept::Packed(contents::Open::Streamed(streamed)) => streamed.read(cx, op.offset, into).await,
            // The session reads these by itself.
            Kept::Directory(_) | Kept::Stored | Kept::Packed(contents::Open::Large(_)) => {
                Err(Error::invalid())
            }
        }
    }

    async fn readdir(
        &self,
        _: &Context,
        file: &File,
        op: op::List,
        list: &mut Listing<'_, Node>,
    ) -> Result<()> {
        let Kept::Directory(directory) = file.0 else { return Err(Error::not_a_directory()) };
        let entries = self.index().entries(directory).ok_or_else(Error::not_a_directory)?;
        // A cursor is the number of entries before it.
        let next = u32::try_from(op.cursor).ok().and_then(|before| entries.start.checked_add(before));
        for number in next.unwrap_or(entries.end)..entries.end {
            let cursor = u64::from(number - entries.start) + 1;
            let Some(name) = Name::new(self.index().name(number)) else { continue };
            let kind = self.index().kind(number);
            let line = Listed { name, inode: Index::inode(number), kind, cursor };
            let fits =
                if list.wants_entries() { list.add_entry(line, self.entry(number)) } else { list.add(line) };
            if !fits {
                break;
            }
        }
        Ok(())
    }

    async fn statfs(&self, _: &Context, _: &Node) -> Result<Statfs> {
        Ok(Statfs {
            block_size: 4096,
            blocks: self.contents.archive.len().div_ceil(4096),
            files: self.index().len() as u64,
            name_bytes_max: NAME_BYTES_MAX as u32,
            ..Statfs::default()
        })
    }
}

impl Zip {
    fn entry(&self, number: Number) -> Entry<Node> {
        Entry::new(Node(number), self.index().attributes(number))
    }

    /// Refuses what cannot be unpacked here, with the reason in the log.
    fn may_open(&self, number: Number, member: &Member) -> Result<()> {
        if member.encrypted {
            log::warn!(
                "zip: {} is encrypted; unpack it with a program that asks for the password",
                self.index().path(number)
            );
            return Err(Error::permission_denied());
        }
        if !unpack::is_known(member.method) {
            log::warn!(
                "zip: {} is packed by {}, which is not known here",
                self.index().path(number),
                unpack::method_name(member.method)
            );
            return Err(Error::new(error::Kind::NotSupported));
        }
        Ok(())
    }
}
