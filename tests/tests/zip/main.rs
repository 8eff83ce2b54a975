//! Archives through the kernel, by both transports: programs find in them what was packed.
//!
//! Needs root, `/dev/fuse`, FUSE over io_uring switched on, and the programs `zip` and `diff`.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wharf_drivers::progress::Silent;
use wharf_drivers::zip::{Options, Owners, Zip};
use wharf_fuse::mount::{Access, Allow, Error, Mode};
use wharf_fuse::{Mount, Transport, Volume};
use wharf_tests::sys::{Mapping, cached_pages};

const TRANSPORTS: [Transport; 2] = [Transport::Dev, Transport::Uring];
const LARGE: usize = 5 << 20;

struct Mounted {
    volume: Volume,
    point: TempDir,
}

impl Mounted {
    fn new(archive: &Path, transport: Transport, cache_bytes_max: u64) -> Mounted {
        let point = tempfile::tempdir().expect("a mount point");
        let options = Options { owners: Owners::Archive { uid: 0, gid: 0 }, cache_bytes_max };
        let zip = Zip::open(archive, options, &Silent).expect("an archive");
        let defaults = zip.defaults();
        let mut options = wharf_fuse::mount::Options::new("zip", "zip:test").expect("good names");
        options.access = Access::Read;
        options.allow = Allow::Everyone;
        options.default_permissions = true;
        let mount = Mount::new(zip, options).transport(transport).defaults(defaults);
        let volume = mount.at(point.path()).unwrap_or_else(|error| panic!("{transport}: {error}"));
        Mounted { volume, point }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.point.path().join(path)
    }

    /// Unmounts, which must work; in a while, if a program elsewhere looks at every mount of the machine just now.
    fn end(self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.volume.unmount(Mode::Clean) {
                Ok(()) => return,
                Err(Error::Busy { .. }) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(2))
                }
                Err(error) => panic!("unmounting what nobody uses any more: {error}"),
            }
        }
    }
}

fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 16);
    let mut number = seed;
    while bytes.len() < len {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(format!("{:06x} and ", number >> 40).as_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn run(program: &str, arguments: &[&str], dir: &Path) {
    let ended = Command::new(program).args(arguments).current_dir(dir).output();
    let ended = ended.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    let told = [ended.stdout, ended.stderr].concat();
    assert!(ended.status.success(), "{program}: {}", String::from_utf8_lossy(&told));
}

/// A tree, and an archive of it.
fn packed() -> (TempDir, PathBuf) {
    let room = tempfile::tempdir().expect("a directory");
    let tree = room.path().join("tree");
    for dir in 0..20u64 {
        let dir_path = tree.join(format!("dir-{dir}/below"));
        fs::create_dir_all(&dir_path).expect("made");
        for file in 0..20u64 {
            let bytes = text((dir * 1000 + file * 37) as usize, dir + file);
            fs::write(dir_path.join(format!("file-{file}")), bytes).expect("written");
        }
    }
    fs::write(tree.join("large"), text(LARGE, 7)).expect("written");
    symlink("dir-1/below/file-1", tree.join("link")).expect("made");
    symlink("loop", tree.join("loop")).expect("made");
    run("zip", &["-qry", "../it.zip", "."], &tree);
    let archive = room.path().join("it.zip");
    (room, archive)
}

#[test]
fn programs_find_in_an_archive_what_was_packed() {
    let (room, archive) = packed();
    run("zip", &["-qry0", "../stored.zip", "."], &room.path().join("tree"));
    for transport in TRANSPORTS {
        for archive in [&archive, &room.path().join("stored.zip")] {
            let mounted = Mounted::new(archive, transport, 64 << 20);
            let shown = mounted.point.path().to_str().expect("plain letters");
            // Twice: from the archive, and from what the kernel keeps.
            for _ in 0..2 {
                run("diff", &["-r", "--no-dereference", "tree", shown], room.path());
            }
            assert_eq!(fs::read(mounted.at("link")).expect("followed"), text(1037, 2));
            let circle = fs::read(mounted.at("loop")).expect_err("a circle");
            assert_eq!(circle.raw_os_error(), Some(40));
            let change = fs::write(mounted.at("large"), "x").expect_err("refused");
            assert_eq!(change.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
            mounted.end();
        }
    }
}

#[test]
fn many_read_one_large_member_at_once_and_anywhere() {
    let (_room, archive) = packed();
    let bytes = text(LARGE, 7);
    for transport in TRANSPORTS {
        let mounted = Mounted::new(&archive, transport, 64 << 20);
        thread::scope(|scope| {
            for reader in 0..8usize {
                let (bytes, path) = (&bytes, mounted.at("large"));
                scope.spawn(move || {
                    let file = File::open(path).expect("open");
                    let mut block = vec![0; 10_000];
                    for step in 0..200usize {
                        let at = (reader * 977 + step * 104_729) * 31 % (LARGE - block.len());
                        file.read_exact_at(&mut block, at as u64).expect("read");
                        assert!(block == bytes[at..at + block.len()], "reader {reader} at {at}");
                    }
                });
            }
        });
        mounted.end();
    }
}

#[test]
fn a_damaged_member_is_an_error_and_the_others_are_not() {
    let (_room, archive) = packed();
    // The large one is the only one that is so long: a byte in the middle of it.
    let about = fs::metadata(&archive).expect("there");
    let whole = fs::read(&archive).expect("read");
    let name = whole.windows(9).position(|at| at[4..] == *b"large").expect("its local header");
    let mut file = File::options().read(true).write(true).open(&archive).expect("open");
    file.seek(SeekFrom::Start(name as u64 + 500_000)).expect("inside");
    let mut byte = [0];
    file.read_exact(&mut byte).expect("read");
    file.seek(SeekFrom::Current(-1)).expect("back");
    file.write_all(&[byte[0] ^ 0x10]).expect("written");
    assert_eq!(file.metadata().expect("there").len(), about.len());
    for transport in TRANSPORTS {
        let mounted = Mounted::new(&archive, transport, 64 << 20);
        for _ in 0..2 {
            let error = fs::read(mounted.at("large")).expect_err("damaged");
            assert_eq!(error.raw_os_error(), Some(5), "{transport}");
        }
        assert_eq!(fs::read(mounted.at("dir-1/below/file-1")).expect("whole"), text(1037, 2));
        mounted.end();
    }
}

#[test]
fn what_is_left_half_read_holds_up_no_unmount() {
    let (_room, archive) = packed();
    for transport in TRANSPORTS {
        let mounted = Mounted::new(&archive, transport, 64 << 20);
        let mut first = [0; 100];
        File::open(mounted.at("large")).expect("open").read_exact(&mut first).expect("read");
        assert_eq!(first, text(100, 7)[..]);
        mounted.end();
    }
}

#[test]
fn what_is_larger_than_the_room_for_it_is_read_all_the_same() {
    let (room, archive) = packed();
    for transport in TRANSPORTS {
        let mounted = Mounted::new(&archive, transport, 1 << 20);
        let shown = mounted.point.path().to_str().expect("plain letters");
        run("diff", &["-r", "--no-dereference", "tree", shown], room.path());
        let file = File::open(mounted.at("large")).expect("open");
        let bytes = text(LARGE, 7);
        let mut block = vec![0; 10_000];
        for at in [LARGE - 10_000, 3, LARGE / 2, LARGE / 2 - 30_000] {
            // Not what the kernel keeps: what is read anew.
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advised");
            file.read_exact_at(&mut block, at as u64).expect("read");
            assert!(block == bytes[at..at + block.len()], "at {at}");
        }
        drop(file);
        mounted.end();
    }
}

#[test]
fn without_any_room_an_open_says_so_and_others_go_on() {
    let (_room, archive) = packed();
    for transport in TRANSPORTS {
        let mounted = Mounted::new(&archive, transport, 100 << 10);
        let error = File::open(mounted.at("large")).expect_err("no room");
        assert_eq!(error.raw_os_error(), Some(12), "{transport}");
        assert_eq!(fs::read(mounted.at("link")).expect("followed"), text(1037, 2));
        mounted.end();
    }
}

#[test]
fn a_whole_member_is_kept_by_the_kernel_and_its_memory_stays_while_it_is_used() {
    let room = tempfile::tempdir().expect("a directory");
    let tree = room.path().join("tree");
    fs::create_dir(&tree).expect("made");
    // Neither ends with a page.
    let members = [("one", text((2 << 20) + 1234, 1)), ("two", text((2 << 20) + 77, 2))];
    for (name, bytes) in &members {
        fs::write(tree.join(name), bytes).expect("written");
    }
    run("zip", &["-qr", "../it.zip", "."], &tree);
    let [(_, one), (_, two)] = &members;
    for transport in TRANSPORTS {
        // Room for one of them.
        let mounted = Mounted::new(&room.path().join("it.zip"), transport, 3 << 20);
        assert!(fs::read(mounted.at("one")).expect("read") == *one, "{transport}");
        let file = File::open(mounted.at("one")).expect("open");
        let pages = one.len().div_ceil(4096) as u64;
        assert_eq!(
            cached_pages(&file).expect("counted"),
            pages,
            "{transport}: kept from one open to the next"
        );
        assert_eq!(file.read_at(&mut [0; 10], one.len() as u64).expect("read"), 0, "{transport}");
        let mapping = Mapping::shared(&file, 0, one.len(), false).expect("mapped");
        assert!(mapping.read(0, one.len()) == *one, "{transport}");
        drop(file);
        // There is no room for the other one, which is unpacked as it is read.
        assert!(fs::read(mounted.at("two")).expect("read") == *two, "{transport}");
        assert!(mapping.read(0, one.len()) == *one, "{transport}: what is mapped stays");
        drop(mapping);
        assert!(fs::read(mounted.at("two")).expect("read") == *two, "{transport}");
        mounted.end();
    }
}
