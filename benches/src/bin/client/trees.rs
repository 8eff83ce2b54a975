//! A source tree: made, unpacked, removed, looked through by programs that people use.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wharf_benches::works::source::{self, NEEDLE, TREE, TREE_FILES};

use crate::Result;
use crate::measure::{Bench, Measured};

const WORDS: [&str; 16] = [
    "fn", "let", "match", "return", "impl", "struct", "buffer", "offset", "length", "result", "error",
    "node", "file", "name", "read", "write",
];

/// Runs a program to its success and returns what it said.
fn program(command: &mut Command) -> Result<Vec<u8>> {
    let done = command.env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::null()).output()?;
    if !done.status.success() {
        let complaint = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        return Err(format!("{:?}: {}: {complaint}", command.get_program(), done.status).into());
    }
    Ok(done.stdout)
}

/// The same files on every machine: 6,000 of 0.2 to 20 KB in 300 directories, most of them small.
fn make_tree(tree: &Path) -> Result<()> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for number in 0..TREE_FILES {
        let dir = tree.join(format!("part{}/module{:02}", number / 600, number / 20 % 30));
        fs::create_dir_all(&dir)?;
        let bytes_max = 1 + random(20_000);
        let bytes = 200 + random(bytes_max) as usize;
        let mut text = String::with_capacity(bytes + 80);
        while text.len() < bytes {
            let word = |at: u64| WORDS[at as usize];
            let (a, b, c) = (word(random(16)), word(random(16)), word(random(16)));
            writeln!(text, "    {a} {b}_{} = {c}({});", random(1000), random(100_000))?;
        }
        if number % 100 == 0 {
            writeln!(text, "// {NEEDLE}")?;
        }
        fs::write(dir.join(format!("file{number}.rs")), text)?;
    }
    Ok(())
}

/// Everything that the mirrored directory needs, and the archive beside it.
pub fn prepare(mirrored: &Path, archive: &Path) -> Result<()> {
    let tree = mirrored.join(TREE);
    fs::create_dir_all(&tree)?;
    make_tree(&tree)?;
    program(Command::new("tar").arg("-C").arg(mirrored).arg("-cf").arg(archive).arg(TREE))?;
    let git = |words: &[&str]| program(Command::new("git").arg("-C").arg(&tree).args(words));
    git(&["init", "-q"])?;
    git(&["add", "."])?;
    git(&["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", "tree"])?;
    // What is as old as the index itself is read again by every status; a second later it is not.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    git(&["update-index", "--force-write-index", "--refresh"])?;
    let block = vec![7u8; 1 << 20];
    let mut file = fs::File::create(mirrored.join(source::FILE))?;
    for _ in 0..source::FILE_BYTES / block.len() as u64 {
        std::io::Write::write_all(&mut file, &block)?;
    }
    file.sync_all()?;
    Ok(())
}

struct Unpacked {
    archive: PathBuf,
    into: PathBuf,
}

impl Unpacked {
    fn new(dir: &Path) -> Result<Self> {
        let archive = std::env::var_os(source::ARCHIVE_AT).ok_or("the archive's place is not given")?.into();
        // A name that no volume can remember as absent.
        let into = dir.join(format!("unpacked-{}", std::process::id()));
        fs::create_dir(&into)?;
        Ok(Self { archive, into })
    }

    fn unpack(&self) -> Result<()> {
        program(Command::new("tar").arg("-C").arg(&self.into).arg("-xf").arg(&self.archive))?;
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        program(Command::new("rm").arg("-rf").arg(self.into.join(TREE)))?;
        Ok(())
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.into);
    }
}

pub fn unpack(dir: &Path, bench: &Bench) -> Result<Measured> {
    let unpacked = Unpacked::new(dir)?;
    bench.passes(false, TREE_FILES as u64, 0, || unpacked.remove(), || unpacked.unpack())
}

pub fn remove(dir: &Path, bench: &Bench) -> Result<Measured> {
    let unpacked = Unpacked::new(dir)?;
    bench.passes(false, TREE_FILES as u64, 0, || unpacked.unpack(), || unpacked.remove())
}

pub fn git_status(dir: &Path, bench: &Bench) -> Result<Measured> {
    let tree = dir.join(TREE);
    bench.passes(
        true,
        1,
        0,
        || Ok(()),
        || {
            let words = ["--no-optional-locks", "status", "--porcelain"];
            let said = program(Command::new("git").arg("-C").arg(&tree).args(words))?;
            if said.is_empty() { Ok(()) } else { Err("git says that the tree was changed".into()) }
        },
    )
}

pub fn search(dir: &Path, bench: &Bench) -> Result<Measured> {
    let tree = dir.join(TREE);
    bench.passes(
        true,
        1,
        0,
        || Ok(()),
        || {
            let found = program(Command::new("rg").args(["--count", NEEDLE]).arg(&tree))?;
            let files = found.iter().filter(|byte| **byte == b'\n').count();
            if files == TREE_FILES / 100 { Ok(()) } else { Err(format!("rg found {files} files").into()) }
        },
    )
}
