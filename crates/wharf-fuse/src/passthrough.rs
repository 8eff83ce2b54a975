//! Which files the kernel reads and writes by itself, on a backing file.
//!
//! The kernel's rules: all passthrough opens of a node name the same backing; while one is open, an open
//! through the page cache fails, and the other way round. So the first open of a node decides for all that
//! follow until the last of them is closed. While some are passed through, a file whose bytes are elsewhere
//! is opened beside them: with their backing's number, and asked for directly.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wharf::NodeId;
use wharf::session::{BackingId, Passed};

use crate::device;

/// How a node is open at present.
enum Mode {
    /// Through the page cache, or asked directly.
    Served { opens: u32 },
    /// By the kernel, on this backing; some of them perhaps beside it.
    Passed { id: device::BackingId, file: Option<FileId>, opens: u32 },
}

/// Which file a descriptor is of: device and inode number.
type FileId = (u64, u64);

/// The nodes that are open, and how.
pub(crate) struct Passthrough {
    device: Arc<OwnedFd>,
    nodes: Mutex<HashMap<NodeId, Mode>>,
    /// The kernel said that it never will (no privilege, most often).
    refused: AtomicBool,
}

impl Passthrough {
    pub(crate) fn new(device: Arc<OwnedFd>) -> Passthrough {
        Passthrough { device, nodes: Mutex::default(), refused: AtomicBool::new(false) }
    }

    /// A node is opened that has a backing file: may the kernel use it?
    pub(crate) fn open(&self, node: NodeId, backing: &OwnedFd) -> Passed {
        let mut nodes = self.lock();
        match nodes.entry(node) {
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Mode::Passed { id, file, opens } => {
                    *opens += 1;
                    let number = BackingId(id.get());
                    let same = file.is_some() && *file == file_id(backing);
                    if same { Passed::Yes(number) } else { Passed::Beside(number) }
                }
                Mode::Served { opens } => {
                    *opens += 1;
                    Passed::No
                }
            },
            Entry::Vacant(entry) => match self.register(backing) {
                Some(id) => {
                    let number = BackingId(id.get());
                    entry.insert(Mode::Passed { id, file: file_id(backing), opens: 1 });
                    Passed::Yes(number)
                }
                None => {
                    entry.insert(Mode::Served { opens: 1 });
                    Passed::No
                }
            },
        }
    }

    /// A node is opened whose bytes come from the file system.
    pub(crate) fn open_served(&self, node: NodeId) -> Passed {
        match self.lock().entry(node).or_insert(Mode::Served { opens: 0 }) {
            Mode::Served { opens } => {
                *opens += 1;
                Passed::No
            }
            Mode::Passed { id, opens, .. } => {
                *opens += 1;
                Passed::Beside(BackingId(id.get()))
            }
        }
    }

    /// An open file of this node has gone.
    pub(crate) fn closed(&self, node: NodeId) {
        let mut nodes = self.lock();
        let Entry::Occupied(mut entry) = nodes.entry(node) else { return };
        let (Mode::Served { opens } | Mode::Passed { opens, .. }) = entry.get_mut();
        *opens -= 1;
        if *opens > 0 {
            return;
        }
        if let Mode::Passed { id, .. } = entry.remove()
            && let Err(error) = device::backing_close(self.device.as_fd(), id)
        {
            log::warn!("the kernel did not take a backing file back: {error}");
        }
    }

    fn register(&self, backing: &OwnedFd) -> Option<device::BackingId> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        match device::backing_open(self.device.as_fd(), backing.as_fd()) {
            Ok(id) => Some(id),
            Err(error) => {
                // Without privilege no file will do; anything else is about this file.
                if error.kind() == std::io::ErrorKind::PermissionDenied {
                    self.refused.store(true, Ordering::Relaxed);
                    log::info!("files are read and written by this process, not passed through: {error}");
                } else {
                    log::debug!("a backing file is not passed through: {error}");
                }
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Mode>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file_id(file: &OwnedFd) -> Option<FileId> {
    rustix::fs::fstat(file).ok().map(|stat| (stat.st_dev, stat.st_ino))
}
