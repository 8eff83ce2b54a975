//! A server of an archive: started, waited for, ended.

use std::error::Error;
use std::fs;
use std::os::linux::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Wharf,
    FuseZip,
    ArchiveMount,
}

pub const SERVERS: [Kind; 3] = [Kind::Wharf, Kind::FuseZip, Kind::ArchiveMount];
/// So long a server may take for each thing that is asked of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Wharf => "wharf",
            Kind::FuseZip => "fuse-zip",
            Kind::ArchiveMount => "archivemount",
        }
    }
}

pub struct Server {
    child: Child,
    point: PathBuf,
}

impl Server {
    /// Mounts an archive; how long it took until its root was listed.
    pub fn mount(kind: Kind, wharf: &Path, archive: &Path) -> Result<(Server, Duration), Box<dyn Error>> {
        let point = archive.with_extension("mount");
        fs::create_dir_all(&point)?;
        let outside = fs::metadata(&point)?.st_dev();
        let begun = Instant::now();
        let mut command = match kind {
            Kind::Wharf => {
                let mut command = Command::new(wharf);
                command.arg("mount").arg(format!("zip:{}", archive.display())).arg(&point);
                command
            }
            Kind::FuseZip => {
                let mut command = Command::new("fuse-zip");
                command.args(["-r", "-f"]).arg(archive).arg(&point);
                command
            }
            Kind::ArchiveMount => {
                let mut command = Command::new("archivemount");
                command.args(["-f", "-o", "readonly"]).arg(archive).arg(&point);
                command
            }
        };
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let server = Server { child, point };
        while fs::metadata(&server.point)?.st_dev() == outside {
            if begun.elapsed() > PATIENCE {
                return Err(format!("not mounted within {} s", PATIENCE.as_secs()).into());
            }
            sleep(Duration::from_millis(1));
        }
        if fs::read_dir(&server.point)?.count() == 0 {
            return Err(format!("{} shows nothing of {}", kind.name(), archive.display()).into());
        }
        Ok((server, begun.elapsed()))
    }

    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Bytes of memory that are its own, or shared with nobody else: what was given out as memory files included.
    pub fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
    }

    pub fn end(mut self) -> Result<(), Box<dyn Error>> {
        let begun = Instant::now();
        while let Err(error) = unmount(&self.point, UnmountFlags::empty()) {
            if begun.elapsed() > PATIENCE {
                return Err(error.into());
            }
            sleep(Duration::from_millis(5));
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = unmount(&self.point, UnmountFlags::DETACH);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
