//! Volumes that are used without going through their mounts.

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Signal, kill_process};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

use crate::wharf::{Room, command, eventually, wharf};

/// More than some blocks of a section, and no multiple of one.
const FILE_BYTES: usize = 3_333_333;

/// Rooms with something mounted, of each driver over each transport.
fn rooms() -> impl Iterator<Item = Room> {
    let kinds = ["memory", "mirror"].into_iter().flat_map(|driver| ["dev", "uring"].map(|way| (driver, way)));
    kinds.map(|(driver, transport)| {
        let room = Room::new();
        let mount = ["mount", &room.spec(driver), &room.point(), "--daemon", "--transport", transport];
        wharf(&mount).succeeded();
        room
    })
}

fn bytes() -> Vec<u8> {
    (0..FILE_BYTES).map(|at| (at / 7 % 251) as u8).collect()
}

/// What the command prints when it succeeds, whatever bytes they are.
#[track_caller]
fn printed(arguments: &[&str]) -> Vec<u8> {
    let ended = command().args(arguments).output().expect("the command starts");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    ended.stdout
}

/// The names that are left in a directory.
fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is there");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let mut names: Vec<String> = entries.map(|entry| name(entry).expect("plain letters")).collect();
    names.sort();
    names
}

#[test]
fn names_are_listed_sorted_and_by_patterns() {
    for room in rooms() {
        let at = |path: &str| format!("{}:{path}", room.point());
        fs::create_dir(room.at("point/sub")).expect("a directory");
        for (name, bytes) in [("c.txt", 0), ("b.rs", 1234), ("a.rs", 7), (".hidden", 0), ("sub/in", 0)] {
            fs::write(Path::new(&room.point()).join(name), vec![b'x'; bytes]).expect("a file");
        }
        symlink("sub", room.at("point/link")).expect("a link");
        let ls = |arguments: &[&str]| wharf(&[&["ls"], arguments].concat()).succeeded();
        assert_eq!(ls(&[&at("")]), "a.rs\nb.rs\nc.txt\nlink\nsub\n");
        assert_eq!(ls(&["-a", &at("/")]), ".hidden\na.rs\nb.rs\nc.txt\nlink\nsub\n");
        assert_eq!(ls(&[&at("*.rs")]), "a.rs\nb.rs\n");
        assert_eq!(ls(&[&at("[!a]*")]), "b.rs\nc.txt\nlink\nsub\n");
        assert_eq!(ls(&[&at(".h*")]), ".hidden\n");
        assert_eq!(ls(&[&at("sub")]), "in\n");
        assert_eq!(ls(&[&at("link/i?")]), "in\n");
        assert_eq!(ls(&[&at("c.txt")]), "c.txt\n");
        let long = ls(&["-l", &at("")]);
        let lines: Vec<&str> = long.lines().collect();
        assert!(lines[0].starts_with("-rw-r--r--    7 20") && lines[0].ends_with(" a.rs"), "{long}");
        assert!(lines[1].starts_with("-rw-r--r-- 1234 20") && lines[1].ends_with(" b.rs"), "{long}");
        assert!(lines[3].starts_with("lrwxrwxrwx ") && lines[3].ends_with(" link -> sub"), "{long}");
        assert!(lines[4].starts_with("drwx"), "{long}");
        let described = wharf(&["stat", &at("b.rs")]).succeeded();
        for fact in ["kind     file\n", "size     1.2 KiB (1234 bytes)\n", "mode     -rw-r--r-- (0644)\n"] {
            assert!(described.contains(fact), "{fact}: {described}");
        }
        let described = wharf(&["stat", &at("link")]).succeeded();
        assert!(described.contains("symbolic link\n") && described.contains("leads to sub\n"), "{described}");
        let none = wharf(&["ls", &at("sub/*.c")]).failed(1);
        assert_eq!(
            none,
            format!(
                "no name is described by '{}'; see what is there with: wharf ls {}",
                at("sub/*.c"),
                at("sub")
            )
        );
        for verb in ["ls", "cat", "stat"] {
            let missing = wharf(&[verb, &at("sub/none")]).failed(1);
            let way_out = format!("; see what is with: wharf ls {}", at("sub"));
            assert_eq!(missing, format!("{} is not there{way_out}", at("sub/none")));
        }
        let long_name = wharf(&["stat", &at(&"n".repeat(20_000))]).failed(1);
        assert!(long_name.contains("cannot be read (File name too long"), "{long_name}");
        wharf(&["unmount", &room.point()]).succeeded();
    }
}

#[test]
fn names_cannot_write_on_a_terminal_and_are_raw_elsewhere() {
    let room = Room::new();
    room.daemon(&[]);
    fs::write(room.at("point/a\x1b[2J\nb"), "").expect("a file");
    let root = format!("{}:", room.point());
    assert_eq!(printed(&["ls", &root]), b"a\x1b[2J\nb\n");
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    unlockpt(&terminal).expect("a terminal");
    let name = ptsname(&terminal, Vec::new()).expect("it has a name").into_string().expect("plain letters");
    let screen = File::options().read(true).write(true).open(name).expect("a terminal");
    let shown = screen.try_clone().expect("a descriptor");
    let ended = command().args(["ls", &root]).stdout(shown).status().expect("the command starts");
    assert!(ended.success());
    let mut seen = [0; 100];
    let count = File::from(terminal).read(&mut seen).expect("something was shown");
    assert_eq!(&seen[..count], b"a\\u{1b}[2J\\nb\r\n");
}

#[test]
fn a_file_is_printed_and_copied_as_the_mount_shows_it() {
    for room in rooms() {
        let at = |path: &str| format!("{}:{path}", room.point());
        fs::write(room.at("point/large"), bytes()).expect("a file");
        fs::write(room.at("point/small"), "small").expect("a file");
        fs::set_permissions(room.at("point/small"), Permissions::from_mode(0o750)).expect("its owner may");
        let shown = fs::read(room.at("point/large")).expect("it can be read");
        assert!(shown == bytes());
        assert!(printed(&["cat", &at("large"), &at("small")]) == [&shown[..], b"small"].concat());
        let out = room.at("out");
        fs::create_dir(&out).expect("a directory");
        assert_eq!(wharf(&["cp", &at("large"), &at("small"), &out]).succeeded(), "");
        assert!(fs::read(room.at("out/large")).expect("a copy") == shown);
        let mode = fs::metadata(room.at("out/small")).expect("a copy").permissions().mode();
        assert_eq!(mode & 0o777, 0o750);
        // Never over what is there, unless that is asked for.
        fs::write(room.at("out/small"), "mine").expect("a file");
        let refused = wharf(&["cp", &at("small"), &out]).failed(1);
        assert_eq!(refused, format!("{} is there already; replace it with: --force", room.at("out/small")));
        assert_eq!(fs::read(room.at("out/small")).expect("it is there"), b"mine");
        wharf(&["cp", "--force", &at("small"), &room.at("out/small")]).succeeded();
        assert_eq!(fs::read(room.at("out/small")).expect("it is there"), b"small");
        assert_eq!(names(&out), ["large", "small"]);
        let several = wharf(&["cp", &at("large"), &at("small"), &room.at("none")]).failed(1);
        assert!(several.contains("is no directory for several copies"), "{several}");
        wharf(&["unmount", &room.point()]).succeeded();
    }
}

#[test]
fn half_a_copy_is_removed() {
    let room = Room::new();
    room.daemon(&[]);
    fs::write(room.at("point/large"), bytes()).expect("a file");
    let small = room.at("small");
    fs::create_dir(&small).expect("a directory");
    wharf(&["mount", "memory:size=1M", &small, "--daemon"]).succeeded();
    let full = wharf(&["cp", &format!("{}:large", room.point()), &small]).failed(1);
    let start = format!("{small}/large cannot be written (No space left on device");
    assert!(full.starts_with(&start) && full.ends_with("; copy it elsewhere"), "{full}");
    assert!(names(&small).is_empty());
}

#[test]
fn a_tree_is_copied_with_its_links_and_modes() {
    for room in rooms() {
        let tree = format!("{}:tree", room.point());
        fs::create_dir_all(room.at("point/tree/deep/er")).expect("directories");
        fs::write(room.at("point/tree/deep/er/file"), bytes()).expect("a file");
        fs::write(room.at("point/tree/empty"), "").expect("a file");
        fs::write(room.at("point/tree/deep/\u{1b} name"), "x").expect("a file");
        symlink("../outside", room.at("point/tree/link")).expect("a link");
        fs::set_permissions(room.at("point/tree/deep"), Permissions::from_mode(0o555))
            .expect("its owner may");
        let refused = wharf(&["cp", &tree, &room.at("copy")]).failed(1);
        assert!(refused.contains(&format!("wharf cp -r {tree} {}", room.at("copy"))), "{refused}");
        wharf(&["cp", "-r", &tree, &room.at("copy")]).succeeded();
        let same = || {
            let (one, other) = (room.at("point/tree"), room.at("copy"));
            let ended = Command::new("diff").args(["-r", "--no-dereference", &one, &other]).output();
            let ended = ended.expect("diff is installed");
            assert!(ended.status.success(), "{ended:?}");
        };
        same();
        let mode = fs::metadata(room.at("copy/deep")).expect("a copy").permissions().mode();
        assert_eq!(mode & 0o777, 0o555);
        // The same again is refused whole, and replaces everything where that is asked for.
        assert!(wharf(&["cp", "-r", &tree, &room.at("copy")]).code == Some(0), "into it, as a part");
        assert!(
            wharf(&["cp", "-r", &tree, &room.at("copy")]).failed(1).contains("copy/tree is there already")
        );
        fs::write(room.at("copy/tree/empty"), "no more").expect("a file");
        wharf(&["cp", "-r", "--force", &tree, &room.at("copy")]).succeeded();
        fs::rename(room.at("copy/tree"), room.at("again")).expect("it can be moved");
        assert_eq!(fs::read(room.at("again/empty")).expect("a copy"), b"");
        same();
        // The root has no name; what is neither file, directory nor link is said and left out.
        mkfifoat(CWD, room.at("point/tree/pipe"), Mode::RUSR).expect("a pipe");
        let root = format!("{}:", room.point());
        let nameless = wharf(&["cp", "-r", &root, &room.at("copy")]).failed(1);
        assert!(nameless.starts_with(&format!("{root} has no name to be copied under")), "{nameless}");
        let left_out = wharf(&["cp", "-r", &root, &room.at("all")]).failed(1);
        assert!(
            left_out.starts_with(&format!("1 of the names were left out, {tree}/pipe first")),
            "{left_out}"
        );
        assert_eq!(names(&room.at("all/tree")), ["deep", "empty", "link"]);
        wharf(&["unmount", &room.point()]).succeeded();
    }
}

#[test]
fn a_volume_is_named_by_its_mount_or_its_socket_and_colons_may_be_in_names() {
    let room = Room::new();
    let odd = room.at("a:b");
    fs::create_dir(&odd).expect("a directory");
    wharf(&["mount", "memory:size=1M", &odd, "--daemon"]).succeeded();
    fs::write(room.at("a:b/c:d"), "bytes").expect("a file");
    assert_eq!(wharf(&["cat", &format!("{odd}:c:d")]).succeeded(), "bytes");
    let mut beside = command();
    beside.current_dir(room.path()).args(["cat", "a:b:/c:d"]);
    assert_eq!(crate::wharf::run(&mut beside).succeeded(), "bytes");
    let listed = wharf(&["list", "-v"]).succeeded();
    let block = listed.split("\n\n").find(|block| block.starts_with(&odd)).expect("it is listed");
    let socket =
        block.lines().find_map(|line| line.trim().strip_prefix("direct    by ")).expect("its socket");
    assert_eq!(wharf(&["cat", &format!("{socket}:c:d")]).succeeded(), "bytes");
    wharf(&["unmount", &odd]).succeeded();
    let gone = wharf(&["cat", &format!("{socket}:c:d")]).failed(1);
    assert!(gone.contains("begins with no volume"), "{gone}");
}

#[test]
fn what_is_no_volume_is_refused_with_those_there_are() {
    let room = Room::new();
    room.daemon(&["--no-direct"]);
    let point = room.point();
    for verb in ["ls", "cat", "stat"] {
        let wrong = wharf(&[verb, &format!("{}:file", room.at("source"))]).failed(1);
        assert!(
            wrong.starts_with(&format!("`{}:file` begins with no volume; there are: ", room.at("source"))),
            "{wrong}"
        );
        let none = wharf(&[verb, "file"]).failed(2);
        assert!(none.starts_with("`file` does not say which volume; write it as DIR:PATH"), "{none}");
        let closed = wharf(&[verb, &format!("{point}:file")]).failed(1);
        assert!(closed.starts_with(&format!("{point} lets nobody past the kernel")), "{closed}");
    }
    let wrong = wharf(&["cp", "here:file", &room.at("out")]).failed(1);
    assert!(wrong.starts_with("`here:file` begins with no volume"), "{wrong}");
}

#[test]
fn a_host_that_is_killed_is_one_sentence_and_a_reader_that_goes_is_none() {
    let room = Room::new();
    room.daemon(&[]);
    let file = format!("{}:file", room.point());
    fs::write(room.at("point/file"), bytes()).expect("a file");
    let start = || {
        let mut started = command();
        started.args(["cat", &file]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = started.spawn().expect("the command starts");
        let mut output = child.stdout.take().expect("piped");
        // It reads and writes, and cannot go on: a pipe has less room than the first piece.
        output.read_exact(&mut [0; 10]).expect("the beginning");
        (child, output)
    };
    let (child, output) = start();
    drop(output);
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
    let (child, mut output) = start();
    let host = room.host();
    kill_process(host, Signal::KILL).expect("it runs");
    eventually("the host has ended", || room.listed().is_some_and(|told| told.contains("its host is gone")));
    // A client that finds everything in shared memory believes in its host for a tenth of a second.
    std::thread::sleep(Duration::from_millis(300));
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).expect("a pipe");
    assert!(rest.len() < FILE_BYTES - 10, "all of it came");
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8(ended.stderr).expect("letters");
    let point = room.point();
    let gone = format!("wharf: the host of {point} has gone; see what is mounted with: wharf list\n");
    assert_eq!((ended.status.code(), said), (Some(1), gone));
    for verb in ["ls", "cat", "stat"] {
        let ended = wharf(&[verb, &file]).failed(1);
        let way_out =
            format!("the host of {point} has gone; free the place with: wharf unmount --lazy {point}");
        assert_eq!(ended, way_out);
    }
    wharf(&["unmount", "--lazy", &point]).succeeded();
}
