//! From the entries of a directory, in any order, to a tree.
//!
//! Entries are sorted by their paths, which brings all that is below a directory behind it, and entries with the
//! same path together. One walk over them then makes the directories that are missing, and one more pass
//! brings the entries of each directory together.

use std::cmp::Ordering;
use std::io;

use wharf::Time;

use super::super::archive::damaged;
use super::{Index, Node, Number, Owners, Summary, What, names};

/// Files, directories and links at the most.
const NODES_MAX: usize = 1 << 24;
/// Longest target of a link that Linux takes.
const TARGET_BYTES_MAX: u64 = 4095;

/// One entry of an archive's directory, as its parser understood it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) header: u64,
    pub(super) packed: u64,
    pub(super) size: u64,
    pub(super) crc: u32,
    pub(super) method: u16,
    pub(super) encrypted: bool,
    pub(super) directory: bool,
    pub(super) symlink: bool,
    /// `None` if the archive does not say.
    pub(super) permissions: Option<u16>,
    pub(super) modified: Time,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

/// Collects entries.
#[derive(Debug)]
pub(super) struct Builder {
    owners: Owners,
    nodes: Vec<Node>,
    paths: Vec<u8>,
    summary: Summary,
}

impl Builder {
    /// For about so many entries.
    pub(super) fn new(owners: Owners, entries: usize) -> Builder {
        let nodes = Vec::with_capacity(entries.min(NODES_MAX) + 1);
        Builder { owners, nodes, paths: Vec::new(), summary: Summary::default() }
    }

    /// Takes an entry, or leaves it out if its name has no place.
    ///
    /// # Errors
    /// When there are more than fit.
    pub(super) fn add(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let start = self.paths.len();
        if names::add(entry.name, &mut self.paths).is_none() {
            self.summary.refused += 1;
            log::debug!("zip: {} has no place in a tree", entry.name.escape_ascii());
            return Ok(());
        }
        let what = match entry {
            Entry { directory: true, .. } => What::Directory,
            Entry { encrypted: true, .. } => What::Encrypted,
            Entry { symlink: true, size: 1..=TARGET_BYTES_MAX, .. } => What::Symlink,
            _ => What::File,
        };
        let default = if what == What::Directory { 0o755 } else { 0o644 };
        let node = self.node(start, self.paths.len() - start, what, entry.permissions.unwrap_or(default))?;
        let (uid, gid) = match self.owners {
            Owners::Archive { uid, gid } => (entry.uid.unwrap_or(uid), entry.gid.unwrap_or(gid)),
            Owners::One { uid, gid } => (uid, gid),
        };
        self.push(Node {
            at: entry.header,
            size: entry.size,
            packed: entry.packed,
            modified_seconds: entry.modified.seconds,
            modified_nanoseconds: entry.modified.nanoseconds,
            uid,
            gid,
            crc: entry.crc,
            method: entry.method,
            ..node
        })
    }

    /// The tree of what was added.
    ///
    /// # Errors
    /// When there are more directories than fit.
    pub(super) fn finish(mut self) -> io::Result<Index> {
        self.paths.shrink_to_fit();
        let given = self.nodes.len();
        let mut order: Vec<u32> = (0..given as u32).collect();
        // Stable, so of several with one path the last one stays the last.
        order.sort_by(|a, b| by_path(self.path(*a), self.path(*b)));
        let newest = order.iter().map(|at| &self.nodes[*at as usize]);
        let newest = newest.map(|node| (node.modified_seconds, node.modified_nanoseconds)).max();
        let root = self.node(0, 0, What::Directory, 0o755)?;
        let (modified_seconds, modified_nanoseconds) = newest.unwrap_or_default();
        self.push(Node { modified_seconds, modified_nanoseconds, ..root })?;

        // In the order of paths: what stays, and the directory above it as a place in this list.
        let mut placed: Vec<(u32, u32)> = Vec::with_capacity(given + 1);
        placed.push((given as u32, 0));
        // The directories above the entry that was placed last, and that entry.
        let mut above: Vec<u32> = vec![0];
        for at in order {
            self.place(at, &mut placed, &mut above)?;
        }
        Ok(self.assemble(&placed))
    }

    /// Puts an entry behind what was placed before, and directories between where they are missing.
    fn place(&mut self, at: u32, placed: &mut Vec<(u32, u32)>, above: &mut Vec<u32>) -> io::Result<()> {
        let (start, len) = self.span(at);
        let mut last = *above.last().expect("the root stays");
        // What was placed last is below all those that are above this one, or is one of them.
        let shared = shared(self.path(placed[last as usize].0), self.path(at));
        let mut last_len = self.span(placed[last as usize].0).1;
        while last != 0 && !(last_len <= shared && (last_len == len || self.paths[start + last_len] == b'/'))
        {
            above.pop();
            last = *above.last().expect("the root stays");
            last_len = self.span(placed[last as usize].0).1;
        }
        if last_len == len && last != 0 {
            return self.replace(&mut placed[last as usize].0, at);
        }
        // Above an entry there are only directories, whatever the archive says of them.
        self.make_directory(placed[last as usize].0);
        let below = if last == 0 { 0 } else { last_len + 1 };
        let mut parent = last;
        for end in (below..len).filter(|end| self.paths[start + end] == b'/').collect::<Vec<_>>() {
            let node = self.node(start, end, What::Directory, 0o755)?;
            let Node { modified_seconds, modified_nanoseconds, .. } = self.nodes[at as usize];
            let made = self.nodes.len() as u32;
            self.push(Node { modified_seconds, modified_nanoseconds, ..node })?;
            parent = push(placed, made, parent);
            above.push(parent);
        }
        above.push(push(placed, at, parent));
        Ok(())
    }

    /// Of two entries with one path the later one stays. But a directory is never replaced by anything else: there
    /// may be something in it.
    fn replace(&mut self, stays: &mut u32, later: u32) -> io::Result<()> {
        self.summary.replaced += 1;
        log::debug!("zip: there are several of {}", self.path(later).escape_ascii());
        let directory = |at: u32| self.nodes[at as usize].what == What::Directory;
        if directory(later) || !directory(*stays) {
            *stays = later;
        }
        Ok(())
    }

    fn make_directory(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        if node.what != What::Directory {
            self.summary.replaced += 1;
            (node.what, node.permissions) = (What::Directory, 0o755);
        }
    }

    /// Brings the entries of each directory together, behind those of the directories before it.
    fn assemble(self, placed: &[(u32, u32)]) -> Index {
        let mut order: Vec<u32> = (1..placed.len() as u32).collect();
        order.sort_by_key(|at| placed[*at as usize].1);
        // From a place in the list to one in the table.
        let mut numbers: Vec<Number> = vec![0; placed.len()];
        let mut nodes = Vec::with_capacity(placed.len());
        nodes.push(self.nodes[placed[0].0 as usize]);
        for at in &order {
            numbers[*at as usize] = nodes.len() as Number;
            nodes.push(self.nodes[placed[*at as usize].0 as usize]);
        }
        for node in nodes.iter_mut().filter(|node| node.what == What::Directory) {
            (node.at, node.size, node.packed) = (0, 0, 0);
        }
        for at in order {
            let parent = &mut nodes[numbers[placed[at as usize].1 as usize] as usize];
            if parent.size == 0 {
                parent.at = numbers[at as usize].into();
            }
            parent.size += 1;
        }
        let summary = summarised(self.summary, &nodes);
        Index { nodes, paths: self.paths, summary }
    }

    fn node(&self, path: usize, len: usize, what: What, permissions: u16) -> io::Result<Node> {
        let name = self.paths[path..path + len].rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let (uid, gid, may_read) = match (self.owners, what) {
            (Owners::Archive { uid, gid }, _) => (uid, gid, 0),
            (Owners::One { uid, gid }, What::Directory) => (uid, gid, 0o500),
            (Owners::One { uid, gid }, _) => (uid, gid, 0o400),
        };
        Ok(Node {
            at: 0,
            size: 0,
            packed: 0,
            modified_seconds: 0,
            modified_nanoseconds: 0,
            uid,
            gid,
            crc: 0,
            path: u32::try_from(path).map_err(|_| damaged("its names take more than 4 GiB"))?,
            path_len: u16::try_from(len).map_err(|_| damaged("a name is too long"))?,
            name_len: u8::try_from(name.len()).map_err(|_| damaged("a name is too long"))?,
            what,
            permissions: permissions & 0o7777 | may_read,
            method: 0,
        })
    }

    fn push(&mut self, node: Node) -> io::Result<()> {
        if self.nodes.len() > NODES_MAX {
            return Err(damaged("it holds more than 16777216 files and directories"));
        }
        self.nodes.push(node);
        Ok(())
    }

    fn span(&self, at: u32) -> (usize, usize) {
        let node = &self.nodes[at as usize];
        (node.path as usize, node.path_len.into())
    }

    fn path(&self, at: u32) -> &[u8] {
        let (start, len) = self.span(at);
        &self.paths[start..start + len]
    }
}

fn push(placed: &mut Vec<(u32, u32)>, node: u32, parent: u32) -> u32 {
    placed.push((node, parent));
    placed.len() as u32 - 1
}

/// How many bytes two paths begin with alike.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// By components: what is below `a` comes before `a-`.
fn by_path(a: &[u8], b: &[u8]) -> Ordering {
    let at = shared(a, b);
    if at == a.len().min(b.len()) {
        return a.len().cmp(&b.len());
    }
    // Names have no NUL, so this keeps everything else apart.
    let order = |byte: u8| if byte == b'/' { 0 } else { byte };
    order(a[at]).cmp(&order(b[at]))
}

fn summarised(mut summary: Summary, nodes: &[Node]) -> Summary {
    for node in &nodes[1..] {
        match node.what {
            What::Directory => summary.directories += 1,
            What::Symlink => summary.links += 1,
            What::File | What::Encrypted => summary.files += 1,
        }
        if node.what == What::Directory {
            continue;
        }
        summary.encrypted += u64::from(node.what == What::Encrypted);
        summary.packed = summary.packed.saturating_add(node.packed);
        summary.size = summary.size.saturating_add(node.size);
        match summary.methods.iter_mut().find(|(method, _)| *method == node.method) {
            Some((_, count)) => *count += 1,
            None => summary.methods.push((node.method, 1)),
        }
    }
    summary.methods.sort_unstable();
    summary
}
