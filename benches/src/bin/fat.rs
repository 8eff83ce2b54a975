//! A FAT volume served by Wharf beside reading its image itself: `fat DIRECTORY [dev|uring]`, as root.
//!
//! Makes an image in DIRECTORY, on the file system that is to be measured, and a second one whose volume begins at
//! an odd sector. Every read goes past the page cache (`O_DIRECT`), on the mount and on the image, in turns, but for those
//! that are said to go through it: they begin with nothing in it. Each figure is the median of its rounds, with the
//! smallest and the largest beside it. Where the kernel has vfat, it is mounted on the image and measured too.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use wharf::io::Buffer;
use wharf_drivers::fat::{Fat, Options, Part, READ_AHEAD_BYTES};
use wharf_fuse::mount::Options as MountOptions;
use wharf_fuse::{Mount, Transport};

const O_DIRECT: i32 = 0o40000;
const MIB: u64 = 1 << 20;
const LARGE: u64 = 192 * MIB;
const SMALL_FILES: u32 = 1000;
const SMALL_BYTES: usize = 4096;
const READS: u64 = 2000;
const ROUNDS: usize = 9;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", image, offset, point, transport, write] => {
            serve(image, offset.parse()?, point, transport, write == "write")
        }
        [directory] => compare(Path::new(directory), "uring"),
        [directory, transport] => compare(Path::new(directory), transport),
        _ => Err("usage: fat DIRECTORY [dev|uring]".into()),
    }
}

/// The host, a process of its own.
fn serve(image: &str, offset: u64, point: &str, transport: &str, write: bool) -> Result<()> {
    let fat = Fat::open(Path::new(image), Part::Offset(offset), Options { write, ..Options::default() })?;
    let transport = if transport == "dev" { Transport::Dev } else { Transport::Uring };
    let defaults = fat.defaults();
    let mount = Mount::new(fat, MountOptions::new("fat", "bench:")?).transport(transport).defaults(defaults);
    mount.large_pages(true).read_ahead(READ_AHEAD_BYTES).at(point)?.wait();
    Ok(())
}

struct Mounted {
    host: Child,
    point: PathBuf,
}

impl Mounted {
    fn new(image: &Path, offset: u64, point: &Path, transport: &str, write: bool) -> Result<Mounted> {
        let here = |path: &Path| Ok::<_, std::io::Error>(rustix::fs::stat(path)?.st_dev);
        let before = here(point)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg(image).arg(offset.to_string()).arg(point).arg(transport);
        let host = command.arg(if write { "write" } else { "read" }).stdin(Stdio::null()).spawn()?;
        let begun = Instant::now();
        while here(point)? == before {
            if begun.elapsed() > Duration::from_secs(20) {
                return Err("the host does not mount".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Mounted { host, point: point.to_owned() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = wharf_fuse::mount::unmount(&self.point, wharf_fuse::mount::Mode::Lazy) {
            eprintln!("unmounting {}: {error}", self.point.display());
        }
        let _ = self.host.wait();
    }
}

/// The kernel's own file system for such volumes, on a loop device over the image.
struct Vfat(PathBuf);

impl Vfat {
    /// # Errors
    /// Where the kernel has none, in mount's words.
    fn mount(image: &Path, point: &Path) -> Result<Vfat> {
        fs::create_dir_all(point)?;
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "vfat", "-o", "ro,loop"]).arg(image).arg(point).output()?;
        if done.status.success() {
            return Ok(Vfat(point.to_owned()));
        }
        fs::remove_dir(point)?;
        Err(String::from_utf8_lossy(&done.stderr).trim().to_owned().into())
    }
}

impl Drop for Vfat {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

fn direct(path: &Path) -> Result<File> {
    Ok(OpenOptions::new().read(true).custom_flags(O_DIRECT).open(path)?)
}

fn compare(directory: &Path, transport: &str) -> Result<()> {
    let (aligned, odd) = (directory.join("fat.img"), directory.join("fat-odd.img"));
    let points = [directory.join("fat.mount"), directory.join("fat-odd.mount")];
    points.iter().try_for_each(fs::create_dir_all)?;
    make(&aligned, &points[0], transport)?;
    let bytes = fs::read(&aligned)?;
    let file = File::create(&odd)?;
    file.write_all_at(&bytes, 512)?;
    file.sync_all()?;
    drop(bytes);

    let plain = Mounted::new(&aligned, 0, &points[0], transport, false)?;
    let shifted = Mounted::new(&odd, 512, &points[1], transport, false)?;
    // In the image the file lies where it lies in the mount, but for a few megabytes before it.
    let image = direct(&aligned)?;
    let large = direct(&plain.point.join("large"))?;
    let large_odd = direct(&shifted.point.join("large"))?;
    let cached = [File::open(&aligned)?, File::open(plain.point.join("large"))?];
    println!("transport {transport}; medians of {ROUNDS} rounds (least, most)");
    let vfat = Vfat::mount(&aligned, &directory.join("fat.vfat"));
    if let Err(error) = &vfat {
        println!("not beside vfat, which this kernel does not mount: {error}");
    }
    let vfat = vfat.ok();
    let mut all = vec![Vec::new(); 15];
    for round in 0..ROUNDS {
        let seed = round as u64;
        for (index, (file, base)) in
            [(&image, 16 * MIB), (&large, 0), (&large_odd, 0)].into_iter().enumerate()
        {
            all[index].push(sequential(file, base)?);
            all[3 + index].push(random(file, base, seed)?);
        }
        all[6].push(list(&plain.point.join("many"))?);
        all[7].push(small(&plain.point.join("many"))?);
        for (index, (file, base)) in cached.iter().zip([16 * MIB, 0]).enumerate() {
            fadvise(file, 0, None, Advice::DontNeed)?;
            all[8 + index].push(sequential(file, base)?);
        }
        let Some(vfat) = &vfat else { continue };
        let (file, through) = (direct(&vfat.0.join("large"))?, File::open(vfat.0.join("large"))?);
        all[10].push(sequential(&file, 0)?);
        all[11].push(random(&file, 0, seed)?);
        all[12].push(list(&vfat.0.join("many"))?);
        all[13].push(small(&vfat.0.join("many"))?);
        fadvise(&through, 0, None, Advice::DontNeed)?;
        all[14].push(sequential(&through, 0)?);
    }
    let mut show = |index: usize, what: &str, unit: &str, beside: Option<usize>| {
        if all[index].is_empty() {
            return;
        }
        all[index].sort_by(f64::total_cmp);
        let of = |all: &[Vec<f64>], index: usize| all[index][ROUNDS / 2];
        let ratio = beside.map_or(String::new(), |other| {
            format!("  {:.2} of the image", of(&all, index) / of(&all, other))
        });
        let (least, most) = (all[index][0], all[index][ROUNDS - 1]);
        println!("{what:34} {:8.1} ({least:.1}, {most:.1}) {unit}{ratio}", of(&all, index));
    };
    show(0, "sequential, image", "MiB/s", None);
    show(1, "sequential, mount", "MiB/s", Some(0));
    show(2, "sequential, mount, odd sector", "MiB/s", Some(0));
    show(3, "random 4 KiB, image", "reads/s", None);
    show(4, "random 4 KiB, mount", "reads/s", Some(3));
    show(5, "random 4 KiB, mount, odd sector", "reads/s", Some(3));
    show(6, "list and stat 1000 files", "ms", None);
    show(7, "open and read 1000 small files", "ms", None);
    show(8, "sequential by the cache, image", "MiB/s", None);
    show(9, "sequential by the cache, mount", "MiB/s", Some(8));
    show(10, "sequential, vfat", "MiB/s", Some(0));
    show(11, "random 4 KiB, vfat", "reads/s", Some(3));
    show(12, "list and stat 1000 files, vfat", "ms", None);
    show(13, "open and read 1000, vfat", "ms", None);
    show(14, "sequential by the cache, vfat", "MiB/s", Some(8));
    drop((image, large, large_odd, cached, vfat));
    drop((plain, shifted));
    fs::remove_file(&aligned)?;
    fs::remove_file(&odd)?;
    Ok(points.iter().try_for_each(fs::remove_dir)?)
}

/// A new volume with one large file and many small ones.
fn make(image: &Path, point: &Path, transport: &str) -> Result<()> {
    let file = File::create(image)?;
    // Written throughout, so that the image has no holes, which would be read without the disc.
    let zeros = vec![0; MIB as usize];
    for at in 0..LARGE / MIB + 64 {
        file.write_all_at(&zeros, at * MIB)?;
    }
    let made =
        Command::new("mkfs.fat").args(["-F", "32", "-s", "8"]).arg(image).stdout(Stdio::null()).status()?;
    if !made.success() {
        return Err("mkfs.fat failed; install dosfstools".into());
    }
    let mounted = Mounted::new(image, 0, point, transport, true)?;
    let large = File::create(point.join("large"))?;
    for at in 0..LARGE / MIB {
        large.write_all_at(&vec![at as u8; MIB as usize], at * MIB)?;
    }
    drop(large);
    fs::create_dir(point.join("many"))?;
    for number in 0..SMALL_FILES {
        fs::write(point.join(format!("many/a small file, number {number}")), [number as u8; SMALL_BYTES])?;
    }
    drop(mounted);
    Ok(file.sync_all()?)
}

/// MiB a second, in reads of 1 MiB.
fn sequential(file: &File, base: u64) -> Result<f64> {
    let mut buffer = Buffer::new(MIB as usize)?;
    let begun = Instant::now();
    for at in 0..LARGE / MIB {
        read(file, &mut buffer, MIB as usize, base + at * MIB)?;
    }
    Ok((LARGE / MIB) as f64 / begun.elapsed().as_secs_f64())
}

/// Reads a second, of 4 KiB, one after the other.
fn random(file: &File, base: u64, seed: u64) -> Result<f64> {
    let mut buffer = Buffer::new(SMALL_BYTES)?;
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let begun = Instant::now();
    for _ in 0..READS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        read(file, &mut buffer, SMALL_BYTES, base + state % (LARGE / 4096) * 4096)?;
    }
    Ok(READS as f64 / begun.elapsed().as_secs_f64())
}

fn read(file: &File, buffer: &mut Buffer, len: usize, at: u64) -> Result<()> {
    Ok(buffer.window(len)?.fill(|bytes| file.read_exact_at(bytes, at))?)
}

/// Milliseconds.
fn list(directory: &Path) -> Result<f64> {
    let begun = Instant::now();
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        bytes += entry?.metadata()?.len();
    }
    assert_eq!(bytes, u64::from(SMALL_FILES) * SMALL_BYTES as u64);
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// Milliseconds. Each file is read past the page cache.
fn small(directory: &Path) -> Result<f64> {
    let mut buffer = Buffer::new(SMALL_BYTES)?;
    let begun = Instant::now();
    for number in 0..SMALL_FILES {
        let file = direct(&directory.join(format!("a small file, number {number}")))?;
        read(&file, &mut buffer, SMALL_BYTES, 0)?;
        black_box(&buffer);
    }
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}
