//! The calls of a program, by path, made of requests as the kernel makes them.

use crate::error::Errno;
use crate::op::{self, OpenFlags};
use crate::session::{EntryReply, Operation, Reply};
use crate::{Attributes, FileSystem, HandleId, NodeId, Pattern, Statfs};

use super::ask::{Ask, Parts};
use super::volume::Volume;
use super::wire::{Seen, lines};

type Answer<T> = Result<T, Errno>;

/// An open file or directory of a [`Volume`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The node.
    pub node: NodeId,
    /// The handle; 0 where nothing was opened because nothing needs to be.
    pub handle: HandleId,
}

/// Bytes that one listing asks for: few, so that long listings go on at a cursor.
const LIST_BYTES: u32 = 1024;
/// Bytes that one read asks for.
const READ_BYTES: u32 = 64 * 1024;

/// Paths are names with slashes between; the empty path is the root.
///
/// # Errors
/// The number that a program would get.
impl<F: FileSystem> Volume<F> {
    /// Follows a path by looking up every name of it. No symbolic link is followed.
    pub fn walk(&mut self, path: &str) -> Answer<NodeId> {
        let mut node = NodeId::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            node = self.lookup(node, name)?.node;
        }
        Ok(node)
    }

    fn parent<'a>(&mut self, path: &'a str) -> Answer<(NodeId, &'a str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.walk(parent)?, name))
    }

    /// Looks one name up.
    pub fn lookup(&mut self, parent: NodeId, name: &str) -> Answer<EntryReply> {
        let ask = Ask::new("lookup", parent, |parts| {
            Ok(Operation::Lookup { op: op::Lookup { name: parts.name()? } })
        });
        entry(self.call(&ask.string(name))?)
    }

    /// Tells what something is like.
    pub fn stat(&mut self, path: &str) -> Answer<Attributes> {
        let node = self.walk(path)?;
        self.getattr(node, None)
    }

    /// Asks for the attributes of a node, perhaps through an open file.
    pub fn getattr(&mut self, node: NodeId, handle: Option<HandleId>) -> Answer<Attributes> {
        let ask = Ask::new("getattr", node, move |_| Ok(Operation::GetAttributes { handle }));
        attributes(self.call(&ask)?)
    }

    /// Changes attributes.
    pub fn setattr(&mut self, path: &str, op: op::SetAttributes) -> Answer<Attributes> {
        let node = self.walk(path)?;
        let ask = Ask::new("setattr", node, move |_| Ok(Operation::SetAttributes { handle: None, op }));
        attributes(self.call(&ask)?)
    }

    /// Opens a file.
    pub fn open(&mut self, path: &str, flags: OpenFlags) -> Answer<Open> {
        let node = self.walk(path)?;
        self.open_node(node, flags)
    }

    /// Opens a file that was looked up.
    pub fn open_node(&mut self, node: NodeId, flags: OpenFlags) -> Answer<Open> {
        let op = op::Open { flags, kill_privileges: false };
        let ask = Ask::new("open", node, move |_| Ok(Operation::Open { op }));
        self.opened(node, &ask)
    }

    /// Makes a file and opens it for reading and writing.
    pub fn create(&mut self, path: &str) -> Answer<Open> {
        let (parent, name) = self.parent(path)?;
        let flags = OpenFlags::READ_WRITE | OpenFlags::EXCLUSIVE;
        let ask = Ask::new("create", parent, move |parts| {
            let new = new(parts, 0o644)?;
            Ok(Operation::Create { op: op::Create { new, flags, kill_privileges: false } })
        });
        match self.call(&ask.string(name))? {
            Reply::Created(entry, open) => Ok(Open { node: entry.node, handle: open.handle }),
            other => unexpected(&other),
        }
    }

    /// Makes a file without a name and opens it.
    pub fn tmpfile(&mut self, directory: &str) -> Answer<Open> {
        let parent = self.walk(directory)?;
        let op = op::Tmpfile { permissions: 0o600, umask: 0, flags: OpenFlags::READ_WRITE };
        match self.call(&Ask::new("tmpfile", parent, move |_| Ok(Operation::Tmpfile { op })))? {
            Reply::Created(entry, open) => Ok(Open { node: entry.node, handle: open.handle }),
            other => unexpected(&other),
        }
    }

    /// Reads up to `size` bytes of an open file.
    pub fn read_at(&mut self, open: Open, offset: u64, size: u32) -> Answer<Vec<u8>> {
        self.call_for_bytes(&Ask::read(open, offset, size))
    }

    /// Writes to an open file; returns how many bytes.
    pub fn write_at(&mut self, open: Open, offset: u64, bytes: &[u8]) -> Answer<usize> {
        match self.call(&Ask::write(open, offset).data(bytes))? {
            Reply::Written(count) => Ok(count),
            other => unexpected(&other),
        }
    }

    /// Closes an open file as the last close(2) does: `flush`, then `release`.
    pub fn close(&mut self, open: Open) -> Answer<()> {
        let Open { node, handle } = open;
        let op = op::Flush { owner: op::LockOwner(0) };
        let flushed = match self.call(&Ask::new("flush", node, move |_| Ok(Operation::Flush { handle, op })))
        {
            Err(errno) if errno != Errno::ENOSYS => Err(errno),
            _ => Ok(()),
        };
        let op = op::Release { flags: OpenFlags::empty(), owner: None, unlock_flock: false };
        self.call(&Ask::new("release", node, move |_| Ok(Operation::Release { handle, op })))?;
        flushed
    }

    /// Reads a whole file.
    pub fn read(&mut self, path: &str) -> Answer<Vec<u8>> {
        let open = self.open(path, OpenFlags::empty())?;
        let mut all = Vec::new();
        let read = loop {
            match self.read_at(open, all.len() as u64, READ_BYTES) {
                Ok(part) if part.is_empty() => break Ok(all),
                Ok(part) => all.extend(part),
                Err(errno) => break Err(errno),
            }
        };
        self.close(open)?;
        read
    }

    /// Writes a file: makes it if it is not there, and replaces what is in it.
    pub fn write(&mut self, path: &str, bytes: &[u8]) -> Answer<()> {
        let open = match self.open(path, OpenFlags::WRITE_ONLY) {
            Err(Errno::ENOENT) => self.create(path)?,
            Ok(open) => {
                let size = Some(0);
                let emptied = self.setattr(path, op::SetAttributes { size, ..op::SetAttributes::default() });
                if let Err(errno) = emptied {
                    self.close(open)?;
                    return Err(errno);
                }
                open
            }
            Err(errno) => return Err(errno),
        };
        let mut written = Ok(());
        for (index, part) in bytes.chunks(READ_BYTES as usize).enumerate() {
            let offset = u64::from(READ_BYTES) * index as u64;
            match self.write_at(open, offset, part) {
                Ok(count) if count == part.len() => {}
                Ok(_) => written = Err(Errno::EIO),
                Err(errno) => written = Err(errno),
            }
        }
        self.close(open)?;
        written
    }

    /// The names in a directory, without `.` and `..`, in the order in which they are listed.
    pub fn list(&mut self, path: &str) -> Answer<Vec<String>> {
        let names = self.list_entries(path, false)?.into_iter().map(|seen| seen.name);
        let names = names.filter(|name| name != b"." && name != b"..");
        Ok(names.map(|name| String::from_utf8_lossy(&name).into_owned()).collect())
    }

    /// The entries of a directory, whole ones if `whole`.
    pub fn list_entries(&mut self, path: &str, whole: bool) -> Answer<Vec<Seen>> {
        self.list_described(path, whole, "")
    }

    /// The entries whose names a pattern describes; an empty one describes all.
    pub fn list_described(&mut self, path: &str, whole: bool, pattern: &str) -> Answer<Vec<Seen>> {
        let node = self.walk(path)?;
        let op = op::Open { flags: OpenFlags::empty(), kill_privileges: false };
        let open =
            self.opened(node, &Ask::new("opendir", node, move |_| Ok(Operation::OpenDirectory { op })))?;
        let mut all: Vec<Seen> = Vec::new();
        let listed = loop {
            let cursor = all.last().map_or(0, |last| last.cursor);
            match self.list_some(open, cursor, whole, pattern) {
                Ok(part) if part.is_empty() => break Ok(all),
                Ok(part) => all.extend(part),
                Err(errno) => break Err(errno),
            }
        };
        let (handle, op) =
            (open.handle, op::Release { flags: OpenFlags::empty(), owner: None, unlock_flock: false });
        self.call(&Ask::new("releasedir", node, move |_| Ok(Operation::ReleaseDirectory { handle, op })))?;
        listed
    }

    /// A part of a listing: what fits, after `cursor`.
    pub fn list_part(&mut self, open: Open, cursor: u64, whole: bool) -> Answer<Vec<Seen>> {
        self.list_some(open, cursor, whole, "")
    }

    fn list_some(&mut self, open: Open, cursor: u64, whole: bool, pattern: &str) -> Answer<Vec<Seen>> {
        let Open { node, handle } = open;
        let ask = Ask::new("readdir", node, move |parts| {
            let (op, pattern) = (op::List { cursor }, parts.string()?);
            let pattern = (!pattern.is_empty()).then(|| Pattern::new(pattern));
            Ok(Operation::List { handle, op, size: LIST_BYTES, entries: whole, pattern })
        });
        let seen = lines(&self.call_for_bytes(&ask.string(pattern))?);
        seen.iter().filter_map(|seen| seen.node).for_each(|node| self.saw(node));
        Ok(seen)
    }

    /// Makes a directory.
    pub fn mkdir(&mut self, path: &str) -> Answer<NodeId> {
        let (parent, name) = self.parent(path)?;
        let ask = Ask::new("mkdir", parent, |parts| {
            Ok(Operation::MakeDirectory { op: op::MakeDirectory { new: new(parts, 0o755)? } })
        });
        entry(self.call(&ask.string(name))?).map(|entry| entry.node)
    }

    /// Makes a symbolic link at `path`.
    pub fn symlink(&mut self, target: &str, path: &str) -> Answer<NodeId> {
        let (parent, name) = self.parent(path)?;
        let ask = Ask::new("symlink", parent, |parts| {
            let (new, target) = (new(parts, 0o777)?, parts.string()?);
            Ok(Operation::Symlink { op: op::Symlink { new, target } })
        });
        entry(self.call(&ask.string(name).string(target))?).map(|entry| entry.node)
    }

    /// Reads a symbolic link.
    pub fn readlink(&mut self, path: &str) -> Answer<Vec<u8>> {
        let node = self.walk(path)?;
        self.call_for_bytes(&Ask::new("readlink", node, |_| Ok(Operation::ReadLink)))
    }

    /// Gives something one more name.
    pub fn link(&mut self, path: &str, new_path: &str) -> Answer<NodeId> {
        let node = self.walk(path)?;
        self.link_node(node, new_path)
    }

    /// Gives a node one more name.
    pub fn link_node(&mut self, node: NodeId, new_path: &str) -> Answer<NodeId> {
        let (parent, name) = self.parent(new_path)?;
        let ask = Ask::new("link", parent, move |parts| {
            Ok(Operation::Link { node, op: op::Link { name: parts.name()? } })
        });
        entry(self.call(&ask.string(name))?).map(|entry| entry.node)
    }

    /// Removes a name.
    pub fn unlink(&mut self, path: &str) -> Answer<()> {
        let (parent, name) = self.parent(path)?;
        let ask = Ask::new("unlink", parent, |parts| {
            Ok(Operation::Unlink { op: op::Remove { name: parts.name()? } })
        });
        self.call(&ask.string(name)).map(drop)
    }

    /// Removes a directory.
    pub fn rmdir(&mut self, path: &str) -> Answer<()> {
        let (parent, name) = self.parent(path)?;
        let ask = Ask::new("rmdir", parent, |parts| {
            Ok(Operation::RemoveDirectory { op: op::Remove { name: parts.name()? } })
        });
        self.call(&ask.string(name)).map(drop)
    }

    /// Moves a name.
    pub fn rename(&mut self, from: &str, to: &str, how: op::RenameHow) -> Answer<()> {
        let (parent, from) = self.parent(from)?;
        let (new_parent, to) = self.parent(to)?;
        let ask = Ask::new("rename", parent, move |parts| {
            let op = op::Rename { from: parts.name()?, to: parts.name()?, how };
            Ok(Operation::Rename { new_parent, op })
        });
        self.call(&ask.string(from).string(to)).map(drop)
    }

    /// Sets an extended attribute.
    pub fn setxattr(&mut self, path: &str, name: &str, value: &[u8], how: op::SetXattrHow) -> Answer<()> {
        let node = self.walk(path)?;
        let ask = Ask::new("setxattr", node, move |parts| {
            let (name, value) = (os(parts.string()?), parts.string()?);
            Ok(Operation::SetXattr { op: op::SetXattr { name, value, how, kill_setgid: false } })
        });
        self.call(&ask.string(name).string(value)).map(drop)
    }

    /// Reads an extended attribute: asks for its length first, as programs do.
    pub fn getxattr(&mut self, path: &str, name: &str) -> Answer<Vec<u8>> {
        let node = self.walk(path)?;
        let ask = |size| {
            let ask = Ask::new("getxattr", node, move |parts: &mut Parts<'_>| {
                Ok(Operation::GetXattr { op: op::GetXattr { name: os(parts.string()?) }, size })
            });
            ask.string(name)
        };
        match self.call(&ask(0))? {
            Reply::Length(0) => Ok(Vec::new()),
            Reply::Length(len) => self.call_for_bytes(&ask(len as u32)),
            other => unexpected(&other),
        }
    }

    /// The names of all extended attributes.
    pub fn listxattr(&mut self, path: &str) -> Answer<Vec<String>> {
        let node = self.walk(path)?;
        let ask = |size| Ask::new("listxattr", node, move |_| Ok(Operation::ListXattr { size }));
        let bytes = match self.call(&ask(0))? {
            Reply::Length(0) => return Ok(Vec::new()),
            Reply::Length(len) => self.call_for_bytes(&ask(len as u32))?,
            other => return unexpected(&other),
        };
        let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    /// Removes an extended attribute.
    pub fn removexattr(&mut self, path: &str, name: &str) -> Answer<()> {
        let node = self.walk(path)?;
        let ask = Ask::new("removexattr", node, |parts| {
            Ok(Operation::RemoveXattr { op: op::RemoveXattr { name: os(parts.string()?) } })
        });
        self.call(&ask.string(name)).map(drop)
    }

    /// Brings a file to its store.
    pub fn fsync(&mut self, open: Open) -> Answer<()> {
        let (handle, op) = (open.handle, op::Fsync { data_only: false });
        self.call(&Ask::new("fsync", open.node, move |_| Ok(Operation::Fsync { handle, op }))).map(drop)
    }

    /// How full the volume is.
    pub fn statfs(&mut self) -> Answer<Statfs> {
        match self.call(&Ask::new("statfs", NodeId::ROOT, |_| Ok(Operation::Statfs)))? {
            Reply::Statfs(statfs) => Ok(statfs),
            other => unexpected(&other),
        }
    }

    /// What needs no opening is used as the kernel uses it then: with handle 0.
    fn opened(&mut self, node: NodeId, ask: &Ask) -> Answer<Open> {
        match self.call(ask) {
            Ok(Reply::Opened(open)) => Ok(Open { node, handle: open.handle }),
            Ok(other) => unexpected(&other),
            Err(Errno::ENOSYS) => Ok(Open { node, handle: HandleId(0) }),
            Err(errno) => Err(errno),
        }
    }
}

impl Ask {
    /// A read of an open file.
    pub fn read(open: Open, offset: u64, size: u32) -> Ask {
        let op = op::Read { offset, size, flags: OpenFlags::empty(), owner: None };
        Ask::new("read", open.node, move |_| Ok(Operation::Read { handle: open.handle, op }))
    }

    /// A write to an open file. Its bytes are still to be [added](Self::data).
    pub fn write(open: Open, offset: u64) -> Ask {
        Ask::new("write", open.node, move |parts| {
            let op = op::Write {
                offset,
                data: parts.data()?,
                flags: OpenFlags::WRITE_ONLY,
                owner: None,
                from_cache: false,
                kill_privileges: false,
            };
            Ok(Operation::Write { handle: open.handle, op })
        })
    }
}

fn new<'a>(parts: &mut Parts<'a>, permissions: u16) -> Answer<op::New<'a>> {
    Ok(op::New { name: parts.name()?, permissions, umask: 0o022, security: None, group: None })
}

fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

fn entry(reply: Reply) -> Answer<EntryReply> {
    match reply {
        Reply::Entry(entry) => Ok(entry),
        Reply::Absent(_) => Err(Errno::ENOENT),
        other => unexpected(&other),
    }
}

fn attributes(reply: Reply) -> Answer<Attributes> {
    match reply {
        Reply::Attributes(attributes, _) => Ok(attributes),
        other => unexpected(&other),
    }
}

fn unexpected<T>(reply: &Reply) -> Answer<T> {
    panic!("the session gave the answer of another operation: {reply:?}")
}
