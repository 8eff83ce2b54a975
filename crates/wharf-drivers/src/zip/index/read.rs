//! Reads an archive's directory, entry by entry.

use std::io::{self, Read as _, Seek as _, SeekFrom};

use jiff::civil;
use jiff::tz::TimeZone;
use wharf::Time;
use zip::unstable::read::ZipIterable;
use zip::{HasZipMetadata as _, System};

use crate::progress::{Progress, Step, Unit};

use super::super::archive::{Archive, Window};
use super::build::{Builder, Entry};
use super::extra::{self, Extra};
use super::{Index, Owners};

/// A central header without name, extra field and comment.
const CENTRAL_BYTES: usize = 46;
const DOS_DIRECTORY: u32 = 1 << 4;
const DOS_READ_ONLY: u32 = 1;

impl Index {
    /// The index of an archive.
    ///
    /// # Errors
    /// When it is no archive, or its directory is damaged.
    pub(in super::super) fn read(
        archive: &Archive,
        owners: Owners,
        progress: &dyn Progress,
    ) -> io::Result<Index> {
        let mut directory = ZipIterable::try_new(archive.window(), zip::read::Config::default())?;
        let total = directory.len();
        let mut builder = Builder::new(owners, total);
        // Asked once: it reads a file.
        let zone = TimeZone::system();
        let entries = directory.files()?;
        let mut raw = Vec::new();
        for done in 0.. {
            let Some(entry) = entries.next() else { break };
            let entry = entry?;
            let name = entry.name()?;
            let about = entry.get_metadata();
            let method = read_raw(entries.reader_mut(), about.central_header_start, &mut raw)?;
            let Extra { modified, uid, gid } = extra::read(&raw);
            let external = about.external_attributes;
            let mode = unix_mode(about.system, external);
            let name = separated(about.system, name.as_bytes());
            let is_dir = name.ends_with(b"/") || mode.is_some_and(|mode| mode & 0o170_000 == 0o040_000);
            builder.add(&Entry {
                name: &name,
                header: about.header_start,
                packed: about.compressed_size,
                size: about.uncompressed_size,
                crc: about.crc32,
                method,
                encrypted: about.is_encrypted(),
                directory: is_dir || mode.is_none() && external & DOS_DIRECTORY != 0,
                symlink: mode.is_some_and(|mode| mode & 0o170_000 == 0o120_000),
                permissions: match mode {
                    Some(mode) => Some(mode as u16 & 0o7777),
                    None if external & DOS_READ_ONLY != 0 => Some(if is_dir { 0o555 } else { 0o444 }),
                    None => None,
                },
                modified: modified.unwrap_or_else(|| local(about.last_modified_time, &zone)),
                uid,
                gid,
            })?;
            if done % 1024 == 0 {
                let (done, total) = (done, Some(total as u64));
                progress.at(Step { doing: "reading the index", done, total, unit: Unit::Items });
            }
        }
        progress.done();
        builder.finish()
    }
}

/// Reads what the library keeps to itself of the header at `at`: the number of the method, and the extra
/// fields into `extra`.
fn read_raw(reader: &mut Window<'_>, at: u64, extra: &mut Vec<u8>) -> io::Result<u16> {
    let mut fixed = [0; CENTRAL_BYTES];
    reader.seek(SeekFrom::Start(at))?;
    reader.read_exact(&mut fixed)?;
    let number_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
    reader.seek(SeekFrom::Current(number_at(28).into()))?;
    extra.resize(number_at(30).into(), 0);
    reader.read_exact(extra)?;
    Ok(number_at(10))
}

/// The mode, if the archive comes from where there are modes. Not the library's, which leaves set-ID bits out.
fn unix_mode(system: System, external: u32) -> Option<u32> {
    let mode = external >> 16;
    (mode != 0 && system != System::Dos).then_some(mode)
}

/// Some programs write names as their system has them.
fn separated(system: System, name: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if system == System::Dos && name.contains(&b'\\') && !name.contains(&b'/') {
        return name.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
    }
    name.into()
}

/// What the clock on a wall said where the archive was made, which we take to be here.
fn local(stamp: Option<zip::DateTime>, zone: &TimeZone) -> Time {
    let told = stamp.and_then(|stamp| {
        let small = |number: u8| number as i8;
        let (year, month, day) = (stamp.year() as i16, small(stamp.month()), small(stamp.day()));
        let time = (small(stamp.hour()), small(stamp.minute()), small(stamp.second()));
        civil::DateTime::new(year, month, day, time.0, time.1, time.2, 0).ok()
    });
    let moment = told.and_then(|told| zone.to_ambiguous_timestamp(told).compatible().ok());
    moment.map_or(Time::default(), |moment| Time { seconds: moment.as_second(), nanoseconds: 0 })
}
