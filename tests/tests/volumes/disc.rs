//! FAT on real devices, through the kernel: one that disappears, and files in many pieces.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use wharf_drivers::fat::{Fat, Options, Part, READ_AHEAD_BYTES};
use wharf_fuse::mount::{Error, Mode, Options as MountOptions};
use wharf_fuse::{Mount, Transport, Volume};

use crate::fixture::{self, TRANSPORTS, until};

/// How long anything may take that asks a volume whose disc has gone.
const AT_ONCE: Duration = Duration::from_secs(5);
const EIO: Option<i32> = Some(5);

/// A block device over an image.
struct Loop {
    device: PathBuf,
    image: File,
}

fn losetup(arguments: &[&str]) -> String {
    let done = Command::new("losetup").args(arguments).output().expect("losetup runs; install mount");
    assert!(done.status.success(), "losetup: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

impl Loop {
    fn over(image: &Path) -> Loop {
        let device = losetup(&["--find", "--show", image.to_str().expect("plain letters")]).into();
        Loop { device, image: File::options().write(true).open(image).expect("open") }
    }

    /// What pulling the plug comes to: nothing can be read or written, and the device has no length any more.
    fn pull(&self) {
        self.image.set_len(0).expect("cut off");
        losetup(&["--set-capacity", self.device.to_str().expect("plain letters")]);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

fn mounted(source: &Path, transport: Transport, at: &Path) -> Volume {
    let options = Options { write: true, flush_after: Duration::from_secs(3600), ..Options::default() };
    let fat = Fat::open(source, Part::Whole, options).expect("a volume");
    let defaults = fat.defaults();
    let options = MountOptions::new("fat", "test:").expect("good names");
    // As the command mounts it.
    let mount = Mount::new(fat, options).transport(transport).defaults(defaults);
    let mount = mount.large_pages(true).read_ahead(READ_AHEAD_BYTES);
    mount.at(at).unwrap_or_else(|error| panic!("{transport}: {error}"))
}

fn end(volume: &Volume) {
    until("a clean unmount", Duration::from_secs(10), || match volume.unmount(Mode::Clean) {
        Ok(()) => true,
        Err(Error::Busy { .. }) => false,
        Err(error) => panic!("unmounting what nobody uses any more: {error}"),
    });
}

fn number<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_device_that_disappears_fails_everything_even_what_was_cached_and_is_unmounted() {
    for transport in TRANSPORTS {
        let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let disc = Loop::over(&fixture::image(room.path()));
        let point = tempfile::tempdir().expect("a mount point");
        let volume = mounted(&disc.device, transport, point.path());
        let [cached, other, fresh] = ["cached", "other", "fresh"].map(|name| point.path().join(name));
        for path in [&cached, &other] {
            fs::write(path, vec![7; 1 << 20]).expect("to write");
            let file = File::open(path).expect("open");
            file.sync_all().expect("synced");
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advised");
        }
        let cached = File::open(&cached).expect("open");
        let mut bytes = vec![0; 1 << 20];
        (&cached).read_exact(&mut bytes).expect("to read");
        let changing = File::create(&fresh).expect("made, and not synced");

        disc.pull();
        let begun = Instant::now();
        assert_eq!(number(fs::read(&other)), EIO, "{transport}");
        // The notices are on their way: soon nothing of it is served from the kernel's cache either.
        until("the cache is empty", AT_ONCE, || number(cached.read_at(&mut [0; 100], 0)) == EIO);
        until("names are asked for", AT_ONCE, || number(fs::metadata(point.path().join("other"))) == EIO);
        assert_eq!(number(changing.write_at(b"x", 0)), EIO);
        assert_eq!(number(changing.sync_all()), EIO);
        assert_eq!(number(File::create(point.path().join("another"))), EIO);
        assert_eq!(number(fs::read_dir(point.path()).and_then(|mut all| all.next().transpose())), EIO);
        assert!(begun.elapsed() < 3 * AT_ONCE, "{:?}", begun.elapsed());
        drop((cached, changing));
        end(&volume);
    }
}

#[test]
fn a_file_in_many_pieces_is_written_and_read_whole_in_large_steps() {
    const PIECES: usize = 300;
    const PIECE: usize = 4096;
    for transport in TRANSPORTS {
        let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let image = fixture::image(room.path());
        let point = tempfile::tempdir().expect("a mount point");
        let volume = mounted(&image, transport, point.path());
        let files = ["one", "other"].map(|name| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(true);
            options.open(point.path().join(name)).expect("made")
        });
        // A cluster for each in turn.
        for at in 0..PIECES {
            for file in &files {
                file.write_all_at(&[1; PIECE], (at * PIECE) as u64).expect("written");
            }
        }
        let bytes: Vec<u8> = (0..PIECES * PIECE).map(|at| (at / 512 * 7 + at) as u8).collect();
        files[0].write_all_at(&bytes, 0).expect("written in one step");
        // Neither begins nor ends with a sector.
        files[0].write_all_at(&bytes[..70_001], 100_003).expect("written");
        files[0].sync_all().expect("synced");
        let mut want = bytes.clone();
        want[100_003..][..70_001].copy_from_slice(&bytes[..70_001]);
        rustix::fs::fadvise(&files[0], 0, None, rustix::fs::Advice::DontNeed).expect("advised");
        let mut got = vec![0; want.len()];
        files[0].read_exact_at(&mut got, 0).expect("read");
        assert!(got == want, "{transport}");
        files[1].read_exact_at(&mut got, 0).expect("read");
        assert!(got.iter().all(|byte| *byte == 1), "{transport}: the other one has changed");
        drop(files);
        end(&volume);
        let checked = Command::new("fsck.fat").arg("-n").arg(&image).output().expect("fsck.fat runs");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }
}
