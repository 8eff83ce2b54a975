//! Programs that walk and copy trees: find, ls, du; rsync and tar there and back.
//!
//! The tree has one of everything that the file system claims, so a copy that lost something shows.

use std::{
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags},
    io::Errno,
};

use super::{Program, Scene, Tool};
use crate::{
    dir::{Dir, pattern},
    needs::Needs,
};

pub(super) const WALK: Program = Program {
    name: "walk",
    tools: &[("find", "findutils"), ("ls", "coreutils"), ("du", "coreutils"), ("rm", "coreutils")],
    needs: Needs::WRITE,
    deadline_s: 60,
    run: walk,
};

pub(super) const RSYNC: Program = Program {
    name: "rsync",
    tools: &[("rsync", "rsync")],
    needs: Needs::WRITE.union(Needs::PERMISSIONS),
    deadline_s: 120,
    run: rsync,
};

pub(super) const TAR: Program = Program {
    name: "tar",
    tools: &[("tar", "tar")],
    needs: Needs::WRITE.union(Needs::PERMISSIONS),
    deadline_s: 120,
    run: tar,
};

const DIRECTORIES: usize = 20;
const FILES: usize = 50;

fn walk(scene: &Scene) {
    let top = scene.dir.sub("top");
    let mut bytes = 0;
    for directory in 0..DIRECTORIES {
        let below = top.sub(format!("directory {directory}"));
        for file in 0..FILES {
            below.file(format!("file-{file}"), pattern(file as u64, file * 100));
            bytes += file * 100;
        }
    }
    let at = top.path("");
    let count = |tool: Tool| tool.run().lines().count();
    assert_eq!(count(Tool::new(&at, "find").args(&[".", "-type", "f"])), DIRECTORIES * FILES);
    assert_eq!(count(Tool::new(&at, "find").args(&[".", "-type", "d"])), DIRECTORIES + 1);
    assert_eq!(count(Tool::new(&at, "find").args(&[".", "-name", "file-7"])), DIRECTORIES);
    assert_eq!(
        count(Tool::new(&at, "find").args(&[".", "-type", "f", "-mmin", "-60", "-size", "+4k"])),
        DIRECTORIES * 9
    );
    let sizes = Tool::new(&at, "find").args(&[".", "-type", "f", "-printf", "%s\n"]).run();
    assert_eq!(sizes.lines().filter_map(|size| size.parse::<usize>().ok()).sum::<usize>(), bytes);
    let listed = Tool::new(&at, "ls").args(&["-lR", "--time-style=full-iso"]).run();
    assert_eq!(listed.lines().filter(|line| line.starts_with("-rw-r--r--")).count(), DIRECTORIES * FILES);
    assert_eq!(count(Tool::new(&at, "du").args(&["-a", "."])), DIRECTORIES * (FILES + 1) + 1);
    Tool::new(&at, "rm").args(&["-r", "directory 0"]).run_silently();
    assert_eq!(
        count(Tool::new(&at, "find").args(&[".", "-mindepth", "1", "-maxdepth", "1"])),
        DIRECTORIES - 1
    );
}

/// Fills a directory with one of everything that both sides of a copy offer.
fn make_tree(top: &Dir, have: Needs) {
    for number in 0..60 {
        let below = top.path(format!("directory{}/deep", number % 7));
        std::fs::create_dir_all(&below).expect("directories");
        let path = below.join(format!("file {number}"));
        std::fs::write(&path, pattern(number, (number * number * 40) as usize)).expect("a file");
    }
    top.file("empty", "");
    top.file("modes", "bytes");
    top.chmod("modes", 0o4751);
    top.chown("modes", 1234, 5678);
    top.chmod("modes", 0o4751);
    top.sub("shared");
    top.chmod("shared", 0o2775);
    let sparse = top.create("sparse");
    sparse.write_all_at(b"end", 10 << 20).expect("a sparse file");
    if have.contains(Needs::LINKS) {
        top.link("modes", "directory1/linked");
    }
    if have.contains(Needs::SYMLINKS) {
        top.symlink("../modes", "directory2/link");
        top.symlink("nowhere", "dangling");
    }
    if have.contains(Needs::SPECIAL) {
        rustix::fs::mknodat(CWD, top.path("fifo"), FileType::Fifo, Mode::from(0o640), 0).expect("a fifo");
    }
    if have.contains(Needs::DEVICES) {
        let zero = rustix::fs::makedev(1, 5);
        rustix::fs::mknodat(CWD, top.path("zero"), FileType::CharacterDevice, Mode::from(0o666), zero)
            .expect("zero");
    }
    if have.contains(Needs::NAMES_BYTES) {
        use std::os::unix::ffi::OsStrExt;
        top.file(std::ffi::OsStr::from_bytes(b"not utf-8 \xff\xfe"), "bytes");
        top.file("n".repeat(255), "long");
    }
    if have.contains(Needs::XATTRS) {
        set(top, "modes", "user.wharf", b"an attribute");
        set(top, "directory3", "user.wharf", b"of a directory");
        set(top, "modes", "trusted.wharf", b"for root");
    }
    if have.contains(Needs::ACL) {
        // Owner rwx, user 1001 rw, group r-x, mask rwx, others r.
        let list =
            b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x06\0\xe9\x03\0\0\x04\0\x05\0\xff\xff\xff\xff\
                     \x10\0\x07\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
        set(top, "directory4", "system.posix_acl_access", list);
        set(top, "directory4", "system.posix_acl_default", list);
    }
    if have.contains(Needs::TIMES_EXACT) {
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        let times =
            Timestamps { last_access: time(1, 1), last_modification: time(1_234_567_890, 123_456_789) };
        for name in ["empty", "sparse", "directory5"] {
            rustix::fs::utimensat(CWD, top.path(name), &times, AtFlags::empty()).expect("times");
        }
    }
}

#[track_caller]
fn set(top: &Dir, name: &str, attribute: &str, value: &[u8]) {
    match rustix::fs::setxattr(top.path(name), attribute, value, XattrFlags::empty()) {
        Ok(()) => {}
        Err(Errno::OPNOTSUPP) if !attribute.starts_with("system.") => {
            panic!(
                "{attribute} cannot be kept in {}: set TMPDIR to another file system",
                top.path("").display()
            )
        }
        Err(errno) => panic!("{attribute}: {errno}"),
    }
}

/// The options of rsync for what the file system keeps.
fn rsync_options(have: Needs) -> String {
    let wanted = [('H', Needs::LINKS), ('A', Needs::ACL), ('X', Needs::XATTRS)];
    let more: String =
        wanted.iter().filter(|(_, need)| have.contains(*need)).map(|(letter, _)| letter).collect();
    format!("-a{more}S")
}

/// Copies `from` to `to`, and panics if a second look, at every byte, would copy anything more.
#[track_caller]
fn rsync_over(from: &Path, to: &Path, have: Needs) {
    let options = rsync_options(have);
    let rsync =
        |more: &[&str]| Tool::new("/", "rsync").arg(&options).args(more).arg(slashed(from)).arg(slashed(to));
    rsync(&[]).run_silently();
    rsync(&["-n", "--checksum", "--delete", "--itemize-changes"]).run_silently();
}

/// A path with a slash at its end: to rsync, what is in a directory.
fn slashed(path: &Path) -> String {
    format!("{}/", path.display())
}

fn rsync(scene: &Scene) {
    let origin = scene.native().sub("origin");
    make_tree(&origin, scene.have);
    let (there, back) = (scene.dir.path("there"), scene.native().path("back"));
    rsync_over(&origin.path(""), &there, scene.have);
    rsync_over(&there, &back, scene.have);
    // And once more within the file system, then compared with where it all came from.
    let beside = scene.dir.path("beside");
    rsync_over(&there, &beside, scene.have);
    rsync_over(&beside, &origin.path(""), scene.have);
    // What changed meanwhile is found by time and size alone.
    std::fs::write(there.join("empty"), "no more").expect("to write");
    std::fs::remove_file(there.join("sparse")).expect("to remove");
    let options = rsync_options(scene.have);
    let update = Tool::new("/", "rsync").arg(options).args(&["--delete", "--itemize-changes"]);
    let changed = update.arg(slashed(&there)).arg(slashed(&back)).run();
    assert!(changed.contains("*deleting   sparse"), "{changed}");
    assert_eq!(changed.lines().filter(|line| line.starts_with(">f")).count(), 1, "{changed}");
}

fn tar(scene: &Scene) {
    let origin = scene.native().sub("origin");
    make_tree(&origin, scene.have);
    let options: Vec<&str> =
        [("--acls", Needs::ACL), ("--xattrs", Needs::XATTRS), ("--sparse", Needs::HOLES)]
            .into_iter()
            .filter_map(|(option, need)| scene.have.contains(need).then_some(option))
            .chain(["--xattrs-include=*", "--numeric-owner", "--preserve-permissions"])
            .collect();
    let tar = |at: &Path, words: &[&str]| Tool::new(at, "tar").args(&options).args(words);
    // The archive lies on the file system under test, too.
    let (packed, repacked) = (scene.dir.path("tree.tar"), scene.dir.path("again.tar"));
    let (packed, repacked) = (packed.to_string_lossy(), repacked.to_string_lossy());
    tar(&origin.path(""), &["-cf", &packed, "."]).run_silently();
    let there = scene.dir.sub("there");
    tar(&there.path(""), &["-xf", &packed]).run_silently();
    tar(&there.path(""), &["--compare", "-f", &packed]).run_silently();
    tar(&there.path(""), &["-cf", &repacked, "."]).run_silently();
    tar(&origin.path(""), &["--compare", "-f", &repacked]).run_silently();
    if scene.have.contains(Needs::HOLES) {
        assert!(there.stat("sparse").blocks() < 1000, "a sparse file was filled");
    }
    // What tar does not compare, rsync does.
    let options = rsync_options(scene.have);
    let compare =
        Tool::new("/", "rsync").arg(options).args(&["-n", "--checksum", "--delete", "--itemize-changes"]);
    compare.arg(slashed(&origin.path(""))).arg(slashed(&there.path(""))).run_silently();
}
