//! The thread that writes, and at first finds what is there.
//!
//! A segment is written once, from its beginning to its end, and never continued by another mount. So whatever a
//! killed mount or a power cut has left is good up to the first record that is not.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

use super::super::content::Content;
use super::super::private::private;
use super::index::Place;
use super::record::{LABEL_BYTES_MAX, Label};
use super::{Shared, Work};

/// So many segments fill the budget: one of them is what eviction takes at once.
const SEGMENTS: u64 = 16;
/// No segment needs to be longer.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// No mount gets as far as this.
const NUMBER_MAX: u64 = 1 << 62;
const LOCK: &str = "lock";
const SUFFIX: &str = ".blocks";

pub(super) struct Writer {
    shared: Arc<Shared>,
    segment_bytes: u64,
    /// The segment that is being written, and how long it is.
    current: Option<(Arc<File>, u64)>,
    /// Its number, or that of the next.
    number: u64,
    /// Held as long as the mount lives.
    _lock: File,
}

impl Writer {
    /// Takes the directory, which is of one mount at a time and closed to others.
    pub(super) fn new(shared: Arc<Shared>) -> io::Result<Writer> {
        let directory = &shared.directory;
        private(directory)?;
        let mut options = File::options();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(directory.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => io::Error::other("another mount uses it"),
            error => error.into(),
        })?;
        let segment_bytes = (shared.bytes_max / SEGMENTS).min(SEGMENT_BYTES_MAX);
        Ok(Writer { shared, segment_bytes, current: None, number: 0, _lock: lock })
    }

    /// Finds what is there, says so by hanging up `found`, and writes what it is told to.
    pub(super) fn run(mut self, found: Sender<()>, works: Receiver<Work>) {
        if let Err(error) = self.find() {
            self.shared.give_up(&error);
        }
        drop(found);
        for work in works {
            let bytes = match &work {
                Work::Block(_, _, bytes) => bytes.len() as u64,
                Work::Gone { .. } => 0,
            };
            if !self.shared.off.load(Ordering::Relaxed)
                && let Err(error) = self.write(work)
            {
                self.shared.give_up(&error);
                // What is torn would only take room.
                if let Some((file, len)) = self.current.take() {
                    let _ = file.set_len(len);
                }
            }
            // Afterwards: what is waiting is not in the index yet, and whoever forgets it relies on that.
            self.shared.waiting_bytes.fetch_sub(bytes, Ordering::SeqCst);
        }
    }

    fn write(&mut self, work: Work) -> io::Result<()> {
        match work {
            Work::Block(content, index, bytes) => self.block(&content, index, &bytes),
            Work::Gone { path, below } => self.gone(path, below),
        }
    }

    fn block(&mut self, content: &Arc<Content>, index: u32, bytes: &Bytes) -> io::Result<()> {
        let (path, version) = (content.path(), content.version.clone());
        let checksum = crc32fast::hash(bytes);
        let len = bytes.len() as u32;
        let label = Label::Block { path: path.clone(), version: version.clone(), index, len, checksum };
        let Some((file, at)) = self.append(&label, bytes)? else { return Ok(()) };
        let place = Place { file, number: self.number, at, len, checksum };
        let mut known = self.shared.lock();
        // If it has been changed here meanwhile, the record that says so is written next.
        if !content.is_ended() {
            known.insert(&path, &version, index, place);
        }
        Ok(())
    }

    fn gone(&mut self, path: Arc<str>, below: bool) -> io::Result<()> {
        self.append(&Label::Gone { path, below }, &[]).map(drop)
    }

    /// Writes a record. Returns where its bytes are, or nothing for one that cannot be written.
    fn append(&mut self, label: &Label, bytes: &[u8]) -> io::Result<Option<(Arc<File>, u64)>> {
        let Some(text) = label.encode() else { return Ok(None) };
        let len = (text.len() + bytes.len()) as u64;
        self.make_room(len)?;
        let Some((file, end)) = &mut self.current else { return Ok(None) };
        file.write_all_at(&text, *end)?;
        let at = *end + text.len() as u64;
        file.write_all_at(bytes, at)?;
        *end += len;
        self.shared.lock().grown(*end);
        Ok(Some((file.clone(), at)))
    }

    /// Sees that there is a segment with room for so many bytes, at the cost of the oldest.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let has_room = self.current.as_ref().is_some_and(|(_, end)| end + bytes <= self.segment_bytes);
        if has_room && !self.shared.lock().is_segment_full() {
            return Ok(());
        }
        self.current = None;
        self.evict(self.segment_bytes)?;
        self.number += 1;
        let mut options = File::options();
        let options = options.read(true).write(true).create_new(true).mode(0o600);
        self.current = Some((Arc::new(options.open(self.path(self.number))?), 0));
        self.shared.lock().open(self.number);
        Ok(())
    }

    /// Removes the oldest segments until there is room for so many bytes more.
    fn evict(&self, bytes: u64) -> io::Result<()> {
        loop {
            let mut known = self.shared.lock();
            if known.bytes() + bytes <= self.shared.bytes_max && known.has_room() {
                return Ok(());
            }
            let Some(oldest) = known.evict() else { return Ok(()) };
            drop(known);
            match fs::remove_file(self.path(oldest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.shared.directory.join(format!("{number}{SUFFIX}"))
    }

    /// Finds what earlier mounts have left; what is none of it is removed.
    fn find(&mut self) -> io::Result<()> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.shared.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = || name.to_str()?.strip_suffix(SUFFIX)?.parse().ok().filter(|it| *it < NUMBER_MAX);
            match number() {
                Some(number) if entry.file_type()?.is_file() && entry.path() == self.path(number) => {
                    numbers.push(number);
                }
                _ if name == LOCK => {}
                _ => {
                    log::debug!("{} does not belong there", entry.path().display());
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        numbers.sort_unstable();
        for number in numbers {
            if self.load(number)? {
                self.number = number;
                self.evict(0)?;
            } else {
                fs::remove_file(self.path(number))?;
            }
        }
        Ok(())
    }

    /// Learns what is in a segment. False if that is nothing.
    fn load(&self, number: u64) -> io::Result<bool> {
        let file = Arc::new(File::options().read(true).write(true).open(self.path(number))?);
        let len = file.metadata()?.len();
        let mut at = 0;
        let mut text = Vec::new();
        while let Some((label, label_bytes)) = read_label(&file, at, len, &mut text)? {
            let from = at + label_bytes as u64;
            let end = from + u64::from(label.bytes());
            if end > len {
                break;
            }
            let mut known = self.shared.lock();
            if at == 0 {
                known.open(number);
            }
            match label {
                Label::Block { path, version, index, len, checksum } => {
                    let place = Place { file: file.clone(), number, at: from, len, checksum };
                    known.insert(&path, &version, index, place);
                }
                Label::Gone { path, below } => known.forget(&path, below),
            }
            at = end;
            known.grown(at);
        }
        if at < len {
            file.set_len(at)?;
        }
        Ok(at > 0)
    }
}

/// The label at a place of a segment, if there is one.
fn read_label(file: &File, at: u64, len: u64, text: &mut Vec<u8>) -> io::Result<Option<(Label, usize)>> {
    /// Enough for nearly every one.
    const FIRST_BYTES: usize = 512;
    for bytes in [FIRST_BYTES, LABEL_BYTES_MAX] {
        text.resize(bytes.min((len - at) as usize), 0);
        file.read_exact_at(text, at)?;
        if let Some(label) = Label::decode(text) {
            return Ok(Some(label));
        }
    }
    Ok(None)
}
