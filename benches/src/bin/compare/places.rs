//! Where things lie.

use std::path::PathBuf;
use std::process::Command;

use wharf_benches::works;

use crate::{Result, mounts};

pub struct Places {
    /// Results, and what is mounted during a run.
    pub out: PathBuf,
    /// Programs built by cargo, and those built by `c/build`.
    pub programs: PathBuf,
    pub programs_c: PathBuf,
}

impl Places {
    /// Those of the build that this program is of.
    pub fn of_this_build() -> Result<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let programs = std::env::current_exe()?.parent().ok_or("no directory of programs")?.to_owned();
        Ok(Self {
            out: root.join("out"),
            programs_c: programs.parent().ok_or("no target directory")?.join("c"),
            programs,
        })
    }

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
