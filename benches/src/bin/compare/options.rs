//! What was typed, and the places where things lie.

use std::path::PathBuf;
use std::process::Command;

use wharf_benches::works;

use crate::servers::{Kind, SERVERS, Server};
use crate::{Result, mounts};

const USAGE: &str = "usage: compare [--rounds N] [--seconds S] [--only WORK,…] [--servers NAME,…] [--calm PART] \
                     [--patience S] [--tries N] [--no-idle]";

pub struct Places {
    /// Results, and what is mounted during a run.
    pub out: PathBuf,
    /// Programs built by cargo, and those built by `c/build`.
    pub programs: PathBuf,
    pub programs_c: PathBuf,
}

pub struct Options {
    pub rounds: usize,
    pub seconds: f64,
    /// A sample counts as calm while others used no more than this part of the machine.
    pub calm: f64,
    /// Seconds to wait for a calm moment before a sample.
    pub patience: f64,
    /// How often a sample that was not calm is taken again.
    pub tries: usize,
    pub idle: bool,
    only: Vec<String>,
    servers: Vec<String>,
    pub places: Places,
}

impl Options {
    pub fn parse() -> Result<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let programs = std::env::current_exe()?.parent().ok_or("no directory of programs")?.to_owned();
        let places = Places {
            out: root.join("out"),
            programs_c: programs.parent().ok_or("no target directory")?.join("c"),
            programs,
        };
        let mut options = Self {
            rounds: 5,
            seconds: 1.0,
            calm: 0.1,
            patience: 4.0,
            tries: 3,
            idle: true,
            only: Vec::new(),
            servers: Vec::new(),
            places,
        };
        let mut given = std::env::args().skip(1);
        while let Some(word) = given.next() {
            if word == "--no-idle" {
                options.idle = false;
                continue;
            }
            let value = given.next().ok_or(USAGE)?;
            let list = || value.split(',').map(str::to_owned).collect();
            match word.as_str() {
                "--rounds" => options.rounds = value.parse()?,
                "--seconds" => options.seconds = value.parse()?,
                "--calm" => options.calm = value.parse()?,
                "--patience" => options.patience = value.parse()?,
                "--tries" => options.tries = value.parse()?,
                "--only" => options.only = list(),
                "--servers" => options.servers = list(),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }

    pub fn wants_work(&self, name: &str) -> bool {
        let known = || works::WORKS.iter().map(|work| work.name);
        self.only.is_empty() || self.only.iter().any(|word| means(word, name, known()))
    }

    pub fn wants_server(&self, server: &Server) -> bool {
        let known = || SERVERS.iter().map(|server| server.name);
        if self.servers.is_empty() {
            return server.kind != Kind::Extra;
        }
        self.servers.iter().any(|word| means(word, server.name, known()))
    }
}

/// A name in full means that one; a part means all that begin with it.
fn means(word: &str, name: &str, mut known: impl Iterator<Item = &'static str>) -> bool {
    if known.any(|known| known == word) { name == word } else { name.starts_with(word) }
}

impl Places {
    /// Where this server's volume is mounted.
    pub fn mount(&self, server: &str) -> PathBuf {
        self.out.join("mounts").join(server)
    }

    /// The memory that all servers read, which is also the file that the native limit is measured with.
    pub fn big(&self) -> PathBuf {
        self.mount("tmpfs").join("big")
    }

    /// The directory that is mirrored, on the disc's file system.
    pub fn source(&self) -> PathBuf {
        self.out.join("source")
    }

    pub fn archive(&self) -> PathBuf {
        self.mount("tmpfs").join(works::source::ARCHIVE)
    }

    /// Takes away what an earlier run may have left, and fills the native directories.
    pub fn prepare(&self) -> Result<()> {
        mounts::detach_all_under(&self.out.join("mounts"));
        let tmpfs = self.mount("tmpfs");
        std::fs::create_dir_all(&tmpfs)?;
        mounts::tmpfs(&tmpfs)?;
        let block: Vec<u8> = (0..1u64 << 17).flat_map(u64::to_le_bytes).collect();
        let mut big = std::fs::File::create(self.big())?;
        for _ in 0..tiny::BIG_BYTES / block.len() as u64 {
            std::io::Write::write_all(&mut big, &block)?;
        }
        std::fs::hard_link(self.big(), tmpfs.join("cached"))?;
        for native in [tmpfs, self.mount("ext4")] {
            std::fs::create_dir_all(native.join("many"))?;
            std::fs::create_dir_all(native.join("tmp"))?;
            for number in 0..tiny::MANY_FILES {
                std::fs::File::create(native.join(format!("many/file{number:05}")))?;
            }
        }
        let _ = std::fs::remove_dir_all(self.source());
        std::fs::create_dir_all(self.source())?;
        let mut prepare = Command::new(self.programs.join("client"));
        let done = prepare.arg("prepare").arg(self.source()).arg(self.archive()).status()?;
        if done.success() { Ok(()) } else { Err("the tree to be mirrored was not made".into()) }
    }

    pub fn clean(&self) {
        mounts::detach_all_under(&self.out.join("mounts"));
    }
}
