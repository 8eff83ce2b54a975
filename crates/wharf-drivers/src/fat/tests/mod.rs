//! Volumes made by mkfs.fat, used without a kernel, and looked at by fsck.fat afterwards.

mod damage;
mod loss;
mod model;
mod operations;
mod power;
mod specimens;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::NamedTempFile;
use wharf::testing::Volume;

use super::volume::Shared;
use super::{Fat, Options, Part};

/// An image with an empty volume.
struct Image(NamedTempFile);

impl Image {
    /// `arguments` are mkfs.fat's.
    fn new(bytes: u64, arguments: &[&str]) -> Image {
        let image = Image(NamedTempFile::new().expect("a file"));
        image.0.as_file().set_len(bytes).expect("to make it long");
        let made = tool("mkfs.fat").args(arguments).arg(image.path()).output();
        let made = made.expect("mkfs.fat runs; install dosfstools");
        assert!(made.status.success(), "mkfs.fat: {}", String::from_utf8_lossy(&made.stderr));
        image
    }

    /// One with these bytes.
    fn of(bytes: Vec<u8>) -> Image {
        let image = Image(NamedTempFile::new().expect("a file"));
        std::fs::write(image.path(), bytes).expect("to write it");
        image
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self) -> &File {
        self.0.as_file()
    }

    fn fat(&self, write: bool) -> Fat {
        let options = Options { write, flush_after: Duration::MAX, ..Options::default() };
        Fat::open(self.path(), Part::Whole, options).expect("a volume")
    }

    /// A volume to write to, and what is behind it.
    fn volume(&self) -> (Volume<Fat>, Arc<Shared>) {
        let fat = self.fat(true);
        let shared = fat.shared.clone();
        (Volume::new(fat), shared)
    }

    /// What fsck.fat has to say, line by line, but for the summary.
    fn complaints(&self) -> Vec<String> {
        complaints(self.path())
    }

    #[track_caller]
    fn expect_clean(&self) {
        assert_eq!(self.complaints(), [] as [String; 0]);
    }
}

fn tool(name: &str) -> Command {
    // Where Debian keeps them, for users whose path lacks it.
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn complaints(path: &Path) -> Vec<String> {
    let checked = tool("fsck.fat").arg("-n").arg(path).output().expect("fsck.fat runs; install dosfstools");
    let said =
        String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    let name = path.display().to_string();
    let lines =
        said.lines().skip(1).filter(|line| !line.starts_with(&name)).map(|line| line.trim().to_owned());
    // Small enough for a test is too small for FAT32, it thinks.
    let small = ["Warning: Filesystem is FAT32", "but has only", "This may lead to problems"];
    let is_news = |line: &String| !line.is_empty() && !small.iter().any(|known| line.starts_with(known));
    let lines: Vec<String> = lines.filter(is_news).collect();
    assert!(checked.status.success() || !lines.is_empty(), "fsck.fat failed without a word");
    lines
}

/// Numbers that are the same in every run of a test.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let start = self.below(1 << 40);
        (0..len as u64).map(|at| ((start + at).wrapping_mul(0x9E37_79B9) >> 16) as u8).collect()
    }
}
