//! What a directory has in it, mapped: listed again without asking anybody, until it changes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use wharf_mem::SnapshotReader;

use crate::layout::{Ask, Listed, SLOT_BYTES, line};

use super::connection::Connection;
use super::direct::counted;

/// All entries of a directory at one moment. The host says in shared memory when they are no longer all.
///
/// A child of fork(2) takes it for over.
#[derive(Debug)]
pub struct Snapshot {
    connection: Arc<Connection>,
    reader: SnapshotReader,
    whole: bool,
}

impl Snapshot {
    pub(super) fn new(connection: Arc<Connection>, reader: SnapshotReader, whole: bool) -> Snapshot {
        Snapshot { connection, reader, whole }
    }

    /// Whether these are the entries of the directory still. Who has seen that an operation changed it, is told so here.
    ///
    /// Costs no request, and a system call every 100 milliseconds at the most: of a host that was killed it is heard
    /// within that time. One that is over stays so: [ask](super::Volume::snapshot) for another.
    pub fn is_current(&self) -> bool {
        !self.connection.is_lost_lately() && self.reader.is_current()
    }

    /// Whether it says what entries are like, as far as the file system said.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The entries, without `.` and `..`, in no order. They are read as they are asked for.
    ///
    /// Where the snapshot is over meanwhile the last item is ESTALE, and where the host says nonsense
    /// [`InvalidData`](io::ErrorKind::InvalidData): what came before may not be all then.
    pub fn entries(&self) -> Entries<'_> {
        self.read(true)
    }

    pub(super) fn read(&self, whole: bool) -> Entries<'_> {
        Entries { snapshot: self, whole, buffer: Vec::new(), first: 0, copied: 0, over: false }
    }
}

/// The entries of a [`Snapshot`].
#[derive(Debug)]
pub struct Entries<'a> {
    snapshot: &'a Snapshot,
    whole: bool,
    /// Lines that were copied: the host may write to where they were.
    buffer: Vec<u8>,
    /// Where the next one begins.
    first: usize,
    /// Bytes of the snapshot that were copied.
    copied: u64,
    over: bool,
}

impl Entries<'_> {
    /// Copies more lines. False at the end.
    fn copy(&mut self) -> io::Result<bool> {
        let left = self.buffer.len() - self.first;
        self.buffer.copy_within(self.first.., 0);
        let behind = self.snapshot.reader.len_bytes().saturating_sub(self.copied);
        // No line is longer than a slot.
        let room = usize::try_from(behind).unwrap_or(usize::MAX).saturating_add(left).min(SLOT_BYTES);
        self.buffer.resize(room, 0);
        self.first = 0;
        let copied = self.snapshot.reader.copy_out(self.copied, &mut self.buffer[left..]);
        let copied = copied.filter(|_| !self.snapshot.connection.is_lost_lately());
        let Some(copied) = copied else { return Err(rustix::io::Errno::STALE.into()) };
        self.copied += copied as u64;
        self.buffer.truncate(left + copied);
        match copied {
            0 if left > 0 => Err(io::ErrorKind::InvalidData.into()),
            copied => Ok(copied > 0),
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = io::Result<Listed>;

    fn next(&mut self) -> Option<io::Result<Listed>> {
        while !self.over {
            if let Ok((line, after)) = line(&self.buffer[self.first..]) {
                self.first = self.buffer.len() - after.len();
                return Some(Ok(line.listed(self.whole)));
            }
            match self.copy() {
                Ok(more) => self.over = !more,
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// What a host says that is asked for a snapshot.
#[derive(Debug)]
pub(super) enum Given {
    Snapshot(Snapshot),
    /// There is none, because the directory changes now.
    NotNow,
    /// There is none, and will be none.
    Never,
}

/// Asks for the snapshot of an open directory.
pub(super) fn ask(connection: &Arc<Connection>, handle: u64) -> io::Result<Given> {
    let made = connection.ask(Ask::Snapshot { handle }, &[], |answered, _| counted(answered.answer))?;
    match made.map_err(|error| (rustix::io::Errno::from_io_error(&error), error)) {
        Ok(_) => {
            let snapshot = connection.snapshot(handle)?;
            Ok(snapshot.map_or(Given::NotNow, |(reader, whole)| {
                Given::Snapshot(Snapshot::new(connection.clone(), reader, whole))
            }))
        }
        Err((Some(rustix::io::Errno::AGAIN), _)) => Ok(Given::NotNow),
        Err((Some(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::FBIG | rustix::io::Errno::NOMEM), _)) => {
            Ok(Given::Never)
        }
        Err((_, error)) => Err(error),
    }
}

/// What is known of a directory that may be listed again and again.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Known>);

#[derive(Clone, Debug, Default)]
enum Known {
    #[default]
    Nothing,
    /// It has been listed by requests. Whoever does so again, is served better by a snapshot.
    Listed,
    Snapshot(Arc<Snapshot>),
    Never,
}

impl Kept {
    /// A snapshot that is current, if it is worth having one: `ask` for it if it has to be made.
    pub(super) fn current(
        &self,
        ask: impl FnOnce() -> io::Result<Given>,
    ) -> io::Result<Option<Arc<Snapshot>>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (now, snapshot) = match known {
            Known::Snapshot(snapshot) if snapshot.is_current() => return Ok(Some(snapshot)),
            Known::Never => return Ok(None),
            // One that has changed since may do so all the time.
            Known::Nothing | Known::Snapshot(_) => (Known::Listed, None),
            Known::Listed => match ask()? {
                Given::Snapshot(snapshot) => {
                    let snapshot = Arc::new(snapshot);
                    (Known::Snapshot(snapshot.clone()), Some(snapshot))
                }
                Given::NotNow => (Known::Nothing, None),
                Given::Never => (Known::Never, None),
            },
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(snapshot)
    }
}
