//! A volume that is used without a mount: by its owner, and by root.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::layout::{Ask, INBOX_BYTES, Listed, Record, SLOT_BYTES, lines};

use super::Reader;
use super::connection::Connection;
use super::direct::{Direct, counted, named_record, record};
use super::snapshot::{self, Given, Kept, Snapshot};

/// Symbolic links that one path may lead through.
const LINKS_MAX: usize = 40;
/// Bytes of a path: no link leads farther.
const PATH_BYTES_MAX: usize = 4096;
/// Bytes of entries that a listing has at the most, and answers that bring them: two million names or so.
const LISTING_BYTES_MAX: usize = 128 << 20;
const LISTING_ANSWERS_MAX: usize = 1 << 18;
const S_IFMT: u32 = 0o170_000;
const S_IFLNK: u32 = 0o120_000;

/// A connection to a volume's host.
#[derive(Clone, Debug)]
pub struct Volume {
    connection: Arc<Connection>,
}

/// A file, directory or link of a volume. The host knows it until this value is dropped.
#[derive(Debug)]
pub struct Node {
    connection: Arc<Connection>,
    number: u64,
    /// Of a directory.
    kept: Kept,
}

/// The root of every volume.
const ROOT: u64 = 1;

/// The length of a name that comes with a request, if there is room for it.
fn brought(name: &[u8]) -> io::Result<u32> {
    let len = u32::try_from(name.len()).ok().filter(|_| name.len() <= INBOX_BYTES);
    len.ok_or(rustix::io::Errno::NAMETOOLONG.into())
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.number != ROOT {
            // Of a host that has gone there is nothing to give back.
            let _ = self.connection.ask(Ask::Forget { node: self.number, count: 1 }, &[], |_, _| ());
        }
    }
}

impl Volume {
    /// Connects to the host that listens at `socket`.
    ///
    /// # Errors
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) for others than the volume's owner and root; else what
    /// connecting says.
    pub fn connect(socket: &Path) -> io::Result<Volume> {
        let connection = Connection::to(socket)?;
        if connection.is_whole() {
            Ok(Volume { connection })
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }

    /// The root directory.
    pub fn root(&self) -> Node {
        self.node(ROOT)
    }

    fn node(&self, number: u64) -> Node {
        Node { connection: self.connection.clone(), number, kept: Kept::default() }
    }

    /// Finds a name in a directory.
    ///
    /// # Errors
    /// What the file system says: [`NotFound`](io::ErrorKind::NotFound) most often.
    pub fn lookup(&self, parent: &Node, name: &[u8]) -> io::Result<(Node, Record)> {
        let ask = Ask::Lookup { node: parent.number, name_bytes: brought(name)? };
        let record = named_record(&self.connection, ask, name)?;
        Ok((self.node(record.node), record))
    }

    /// What a node is like.
    ///
    /// # Errors
    /// What the file system says.
    pub fn attributes(&self, node: &Node) -> io::Result<Record> {
        record(&self.connection, Ask::Attributes { node: node.number })
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// What the file system says; ENAMETOOLONG for more than a path has room for.
    pub fn read_link(&self, node: &Node) -> io::Result<Vec<u8>> {
        self.connection.ask(Ask::ReadLink { node: node.number }, &[], |answered, lane| {
            let count = usize::try_from(counted(answered.answer)?).unwrap_or(usize::MAX);
            if count > PATH_BYTES_MAX {
                return Err(rustix::io::Errno::NAMETOOLONG.into());
            }
            let mut bytes = vec![0; count];
            lane.take(answered, &mut bytes);
            Ok(bytes)
        })?
    }

    /// The entries of a directory whose names `pattern` describes (`*`, `?`, `[a-z]`), or all for an empty one; without
    /// `.` and `..`. The host looks at the names.
    ///
    /// Who lists all of a directory again and again by one [`Node`] has a [`snapshot`](Self::snapshot) of it where there is
    /// one, and asks the host only when something has changed.
    ///
    /// # Errors
    /// What the file system says; [`FileTooLarge`](io::ErrorKind::FileTooLarge) for a listing without an end.
    pub fn list(&self, node: &Node, pattern: &[u8]) -> io::Result<Vec<Listed>> {
        self.list_with(node, pattern, false)
    }

    /// The same with what each entry is like, as far as the file system knows that without a look at each of them.
    ///
    /// # Errors
    /// As for [`list`](Self::list).
    pub fn list_whole(&self, node: &Node, pattern: &[u8]) -> io::Result<Vec<Listed>> {
        self.list_with(node, pattern, true)
    }

    fn list_with(&self, node: &Node, pattern: &[u8], whole: bool) -> io::Result<Vec<Listed>> {
        // What names a pattern describes, the host knows.
        let snapshot = match pattern {
            [] => node
                .kept
                .current(|| self.with_directory(node, |handle| snapshot::ask(&self.connection, handle)))?,
            _ => None,
        };
        if let Some(snapshot) = snapshot.filter(|snapshot| snapshot.is_whole() || !whole)
            && let Ok(listed) = snapshot.read(whole).collect()
        {
            return Ok(listed);
        }
        self.with_directory(node, |handle| self.list_open(handle, pattern, whole))
    }

    /// The snapshot of a directory: all its entries, listed from then on without a request. `None` where the volume gives
    /// none: where others can change the directory unheard, it is too large, or it is changing just now.
    ///
    /// # Errors
    /// What the file system says.
    pub fn snapshot(&self, node: &Node) -> io::Result<Option<Snapshot>> {
        let given = self.with_directory(node, |handle| snapshot::ask(&self.connection, handle))?;
        Ok(match given {
            Given::Snapshot(snapshot) => Some(snapshot),
            Given::NotNow | Given::Never => None,
        })
    }

    fn with_directory<R>(&self, node: &Node, with: impl FnOnce(u64) -> io::Result<R>) -> io::Result<R> {
        let open = Ask::OpenDirectory { node: node.number };
        let handle = self.connection.ask(open, &[], |answered, _| counted(answered.answer))??;
        let result = with(handle);
        let _ = self.connection.ask(Ask::Release { handle }, &[], |_, _| ());
        result
    }

    fn list_open(&self, handle: u64, pattern: &[u8], whole: bool) -> io::Result<Vec<Listed>> {
        let mut all: Vec<Listed> = Vec::new();
        let (mut cursor, mut room) = (0, LISTING_BYTES_MAX);
        let pattern_bytes = brought(pattern)?;
        for _ in 0..LISTING_ANSWERS_MAX {
            let ask = Ask::List { handle, cursor, pattern_bytes, whole };
            let part = self.connection.ask(ask, pattern, |answered, lane| {
                let mut bytes = vec![0; (counted(answered.answer)? as usize).min(SLOT_BYTES)];
                lane.take(answered, &mut bytes);
                lines(&bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
            })??;
            let Some(last) = part.last() else { return Ok(all) };
            cursor = last.cursor;
            let taken = |line: &Listed| {
                let about = line.about.as_ref().map_or(0, |_| size_of::<Record>());
                size_of::<Listed>() + about + line.name.len()
            };
            let taken = part.iter().map(taken).sum();
            let Some(left) = room.checked_sub(taken) else { break };
            room = left;
            all.extend(part.into_iter().filter(|line| line.name != b"." && line.name != b".."));
        }
        Err(io::ErrorKind::FileTooLarge.into())
    }

    /// Opens a file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(&self, node: &Node, writes: bool) -> io::Result<Reader> {
        let ask = Ask::Open { node: node.number, writes };
        let handle = self.connection.ask(ask, &[], |answered, _| counted(answered.answer))??;
        Reader::of(Direct::new(self.connection.clone(), handle, writes, true))
    }

    /// Follows a path from the root, through symbolic links too; those that lead out of the volume lead nowhere.
    ///
    /// # Errors
    /// What the file system says; ELOOP for too many links.
    pub fn walk(&self, path: &Path) -> io::Result<(Node, Record)> {
        let root = self.root();
        let about = self.attributes(&root)?;
        self.walk_from(vec![(root, about)], path, LINKS_MAX)
    }

    /// The same from the last of `trail`, which has all directories on the way there.
    fn walk_from(
        &self,
        mut trail: Vec<(Node, Record)>,
        path: &Path,
        links: usize,
    ) -> io::Result<(Node, Record)> {
        let mut rest: Vec<Component<'_>> = path.components().rev().collect();
        while let Some(component) = rest.pop() {
            match component {
                Component::ParentDir if trail.len() > 1 => _ = trail.pop(),
                Component::Normal(name) => {
                    let Some((parent, _)) = trail.last() else { break };
                    let (node, record) = self.lookup(parent, name.as_bytes())?;
                    if record.mode & S_IFMT == S_IFLNK {
                        if links == 0 {
                            return Err(rustix::io::Errno::LOOP.into());
                        }
                        let target = self.read_link(&node)?;
                        let target = Path::new(std::ffi::OsStr::from_bytes(&target));
                        if target.is_absolute() {
                            return Err(io::ErrorKind::NotFound.into());
                        }
                        let behind: PathBuf = rest.iter().rev().collect();
                        return self.walk_from(trail, &target.join(behind), links - 1);
                    }
                    trail.push((node, record));
                }
                _ => {}
            }
        }
        trail.pop().ok_or(io::ErrorKind::NotFound.into())
    }

    /// Asks for nothing, and waits for the answer.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the host has gone.
    pub fn ping(&self) -> io::Result<()> {
        self.connection.ask(Ask::Ping, &[], |answered, _| counted(answered.answer).map(drop))?
    }
}
