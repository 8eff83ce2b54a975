//! The archives that are measured: made once, the same for everybody.

use std::fs;
use std::io::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// 100,000 entries in 1,000 directories, and 10,000 for who cannot mount as many; 5,000 files of 20 KiB; one of 1 GiB. All
/// deflated.
pub struct Archives {
    many: PathBuf,
    fewer: PathBuf,
    pub files: PathBuf,
    pub large: PathBuf,
}

/// Text of numbers and words, which packs to about a third, as text does.
const PROGRAM: &str = "
import random, zipfile
draw = random.Random(7)
words = [''.join(draw.choice('etaoinshrdlu') for _ in range(draw.randint(2, 9))) for _ in range(4000)]
def text(size):
    parts = []
    while size > 0:
        part = ' '.join(draw.choices(words, k=500)) + ' ' + str(draw.random())
        parts.append(part[:size])
        size -= len(parts[-1])
    return ''.join(parts).encode()
def about(name):
    about = zipfile.ZipInfo(name)
    about.compress_type = zipfile.ZIP_DEFLATED
    # A mode without the sort of file is an I/O error for fuse-zip.
    about.external_attr = 0o100644 << 16
    return about
for name, count in ('many.zip', 100000), ('fewer.zip', 10000):
  with zipfile.ZipFile(name, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as it:
    for at in range(count):
        it.writestr(about('module-%03d/part-of-it-%d.txt' % (at % 1000, at)), b'some bytes %d' % at)
with zipfile.ZipFile('files.zip', 'w', zipfile.ZIP_DEFLATED, compresslevel=6) as it:
    for at in range(5000):
        it.writestr(about('dir-%02d/file-%d.txt' % (at % 50, at)), text(20480))
blocks = [text(1 << 20) for _ in range(64)]
with zipfile.ZipFile('large.zip', 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as it:
    with it.open(about('large'), 'w', force_zip64=True) as part:
        for at in range(1024):
            part.write(blocks[(at * 37 + at // 64) % 64])
";

impl Archives {
    /// Makes them, or takes those of an earlier run.
    pub fn make() -> Result<Archives, Error> {
        let room = std::env::temp_dir().join("wharf-archives-2");
        if !room.exists() {
            let being_made = room.with_extension(std::process::id().to_string());
            fs::create_dir_all(&being_made)?;
            let made = Command::new("python3").args(["-c", PROGRAM]).current_dir(&being_made).status()?;
            if !made.success() {
                return Err(Error::other("the archives could not be made"));
            }
            fs::rename(&being_made, &room)?;
        }
        let archives = Archives {
            many: room.join("many.zip"),
            fewer: room.join("fewer.zip"),
            files: room.join("files.zip"),
            large: room.join("large.zip"),
        };
        for archive in [&archives.many, &archives.fewer, &archives.files, &archives.large] {
            warm(archive)?;
        }
        Ok(archives)
    }

    /// That of so many entries.
    pub fn of(&self, count: u64) -> &Path {
        if count > 10_000 { &self.many } else { &self.fewer }
    }
}

/// All are read from the page cache.
fn warm(path: &Path) -> Result<(), Error> {
    std::io::copy(&mut fs::File::open(path)?, &mut std::io::sink()).map(drop)
}
