//! Mounts whose hosts listen for readers past the kernel, so that what the library does is the real thing.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use wharf_direct::client::Resident;
use wharf_direct::server::Server;
use wharf_fuse::Transport;

use crate::fixture::{Driver, Mounted, open_to_all, until};

/// A mount with its host, which is this process.
pub(crate) struct Served {
    mounted: Mounted,
    server: Server,
    /// Of the socket.
    _place: TempDir,
}

impl Served {
    pub(crate) fn new(driver: Driver, transport: Transport) -> Served {
        let mounted = Mounted::new(driver, transport);
        let place = tempfile::tempdir().expect("a directory");
        open_to_all(place.path());
        let server = Server::start(mounted.volume().session(), place.path()).expect("a server");
        Served { mounted, server, _place: place }
    }

    pub(crate) fn path(&self) -> &Path {
        self.mounted.path()
    }

    pub(crate) fn end(&self) {
        self.server.end();
        self.mounted.end();
    }
}

/// The kernel says in its own time that a file has been closed. Waits until the host has heard of all who wrote to this
/// one, so that it is read past the kernel from now on.
#[track_caller]
pub(crate) fn settle(path: &Path) {
    let resident = Resident::attach(File::open(path).expect("a file")).expect("a host");
    until("nobody writes to the file", Duration::from_secs(20), || {
        resident.fetch(0..1);
        resident.is_ready()
    });
}
