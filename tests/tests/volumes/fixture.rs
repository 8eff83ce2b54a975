//! Drivers, mounted over a transport for one test.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wharf_drivers::{fat, memory, mirror, remote};
use wharf_fuse::mount::{Allow, Error, Mode, Options};
use wharf_fuse::{Mount, Transport, Volume};
use wharf_tests::needs::Needs;
use wharf_tests::sshd::Sshd;

pub(crate) const TRANSPORTS: [Transport; 2] = [Transport::Dev, Transport::Uring];
pub(crate) const DRIVERS: [Driver; 2] = [Driver::Memory, Driver::Mirror];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Memory,
    Mirror,
    MirrorWithoutPassthrough,
    /// On an image of FAT32.
    Fat,
    /// Of a local directory in the role of a service.
    Remote,
    /// Of a directory behind OpenSSH's server.
    Sftp,
}

impl Driver {
    /// What it must offer. The reasons for what is missing are in docs/SEMANTICS.md.
    pub(crate) fn offers(self) -> Needs {
        // The kernel's FUSE lets nobody collapse or insert ranges, nor set flags of inodes without an ioctl; and
        // no driver claims that a node can be found by its number after it was forgotten.
        let kernel = Needs::COLLAPSE_RANGE | Needs::INODE_FLAGS | Needs::HANDLES;
        match self {
            Driver::Memory => Needs::EXT4 - kernel,
            Driver::Mirror | Driver::MirrorWithoutPassthrough => Needs::EXT4 - kernel,
            Driver::Fat => {
                let locks = Needs::LOCKS | Needs::LOCKS_DEADLOCK | Needs::FLOCK;
                Needs::WRITE | locks | Needs::MMAP | Needs::DIRECT | Needs::RENAME_NOREPLACE
            }
            // What services have in common, and what the kernel keeps by itself.
            Driver::Remote => Driver::Sftp.offers() | Needs::TIMES_FINE,
            // Times are whole seconds, from the moment on when a file has been uploaded.
            Driver::Sftp => {
                let locks = Needs::LOCKS | Needs::LOCKS_DEADLOCK | Needs::FLOCK;
                Needs::WRITE | locks | Needs::MMAP | Needs::MODES
            }
        }
    }
}

impl Driver {
    /// Whether a case makes sense for it at all.
    pub(crate) fn is_asked(self, case: &str) -> bool {
        let not_asked = [
            // Behind the longest path lies the directory that plays the service, whose own path is longer.
            "names::a_path_of_4095_bytes_works",
            // Ten thousand uploads take too long; `programs_read_through_a_mount` lists as many.
            "directories::ten_thousand_entries_are_listed_once_each",
        ];
        !matches!(self, Driver::Remote | Driver::Sftp) || !not_asked.contains(&case)
    }
}

pub(crate) struct Mounted {
    volume: Option<Volume>,
    /// The directory under test.
    point: TempDir,
    /// What a mirror mirrors.
    backing: TempDir,
    /// What a remote has not uploaded yet.
    _spool: TempDir,
    _sshd: Option<Sshd>,
}

impl Mounted {
    pub(crate) fn new(driver: Driver, transport: Transport) -> Mounted {
        let point = tempfile::tempdir().expect("a mount point");
        let place = match driver {
            // Each file that is closed is brought to a disk, which is slow and not what is tested.
            Driver::Remote | Driver::Sftp => "/dev/shm",
            _ => env!("CARGO_TARGET_TMPDIR"),
        };
        let backing = tempfile::tempdir_in(place).expect("a directory to mirror");
        open_to_all(backing.path());
        let spool = tempfile::tempdir_in(place).expect("a directory for uploads");
        let mut options = Options::new(&format!("{driver:?}").to_lowercase(), "test:").expect("good names");
        options.allow = Allow::Everyone;
        options.default_permissions = true;
        options.dev = true;
        options.suid = true;
        let sshd = (driver == Driver::Sftp).then(Sshd::start);
        let mounted = match driver {
            Driver::Memory => {
                let memory = memory::Memory::new(memory::Options::new(4 << 30));
                Mount::new(memory, options).transport(transport).at(point.path())
            }
            Driver::Mirror | Driver::MirrorWithoutPassthrough => {
                let passthrough = driver == Driver::Mirror;
                let wanted = mirror::Options { passthrough, ..mirror::Options::default() };
                let mirror = mirror::Mirror::new(backing.path(), wanted).expect("a mirror");
                let defaults = mirror.defaults();
                let mount = Mount::new(mirror, options).transport(transport).defaults(defaults);
                mount.passthrough(passthrough).at(point.path())
            }
            Driver::Fat => {
                let image = image(backing.path());
                let wanted = fat::Options { write: true, ..fat::Options::default() };
                let fat = fat::Fat::open(&image, fat::Part::Whole, wanted).expect("a volume");
                let defaults = fat.defaults();
                Mount::new(fat, options).transport(transport).defaults(defaults).at(point.path())
            }
            Driver::Remote | Driver::Sftp => {
                let url = match &sshd {
                    Some(sshd) => sshd.url(backing.path()),
                    None => format!("file://{}", backing.path().display()),
                };
                let mut location = remote::Location::parse(&url);
                let location = location.as_mut().expect("a URL");
                location.options.ssh_config = sshd.as_ref().map(Sshd::config);
                location.options.spool = Some(spool.path().to_owned());
                let remote = remote::Remote::new(location).expect("a directory");
                let defaults = remote.defaults();
                Mount::new(remote, options).transport(transport).defaults(defaults).at(point.path())
            }
        };
        let volume = mounted.unwrap_or_else(|error| panic!("{driver:?} over {transport}: {error}"));
        assert_eq!(volume.transport(), transport);
        Mounted { volume: Some(volume), point, backing, _spool: spool, _sshd: sshd }
    }

    pub(crate) fn path(&self) -> &Path {
        self.point.path()
    }

    /// What is mirrored, as it is without the mount.
    pub(crate) fn backing(&self) -> &Path {
        self.backing.path()
    }

    pub(crate) fn volume(&self) -> &Volume {
        self.volume.as_ref().expect("mounted until dropped")
    }

    /// What a program that checks volumes says of the image when the mount has ended.
    pub(crate) fn expect_clean_image(&self) {
        let checked = Command::new("fsck.fat").arg("-n").arg(self.backing.path().join("image")).output();
        let checked = checked.expect("fsck.fat runs; install dosfstools");
        assert!(checked.status.success(), "fsck.fat: {}", String::from_utf8_lossy(&checked.stdout));
    }

    /// Unmounts, which must work; in a while, if a program elsewhere looks at every mount of the machine just now.
    pub(crate) fn end(&self) {
        until("a clean unmount", Duration::from_secs(10), || match self.volume().unmount(Mode::Clean) {
            Ok(()) => true,
            Err(Error::Busy { .. }) => false,
            Err(error) => panic!("unmounting what nobody uses any more: {error}"),
        });
    }
}

/// A new volume of FAT32, in a file that takes only what is written to it.
pub(crate) fn image(directory: &Path) -> PathBuf {
    let image = directory.join("image");
    let file = File::create(&image).expect("a file");
    file.set_len(600 << 20).expect("to make it long");
    let made = Command::new("mkfs.fat").args(["-F", "32", "-s", "8"]).arg(&image).output();
    let made = made.expect("mkfs.fat runs; install dosfstools");
    assert!(made.status.success(), "mkfs.fat: {}", String::from_utf8_lossy(&made.stderr));
    image
}

/// Cases that act as another user must be able to get there.
pub(crate) fn open_to_all(dir: &Path) {
    std::fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("to open a directory to others");
}

pub(crate) fn until(what: &str, at_most: Duration, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + at_most;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {at_most:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
