//! Real mounts: made, listed, refused and taken away.

use std::fs;
use std::io::ErrorKind;

use rustix::process::{Signal, kill_process};

use crate::wharf::{Room, Running, command, eventually, wharf};

const WAYS: [&str; 2] = ["dev", "uring"];
const DRIVERS: [&str; 2] = ["memory", "mirror"];

#[test]
fn a_daemon_returns_when_the_mount_answers_and_ends_with_it() {
    for way in WAYS {
        for driver in DRIVERS {
            let room = Room::new();
            let (spec, point) = (room.spec(driver), room.point());
            let line = wharf(&["mount", &spec, &point, "--transport", way, "--daemon"]).succeeded();
            assert_eq!(
                line,
                format!("{spec} is mounted at {point} ({way}); end it with: wharf unmount {point}\n")
            );
            fs::write(room.at("point/file"), "some bytes").expect("the mount answers");
            assert_eq!(fs::read_to_string(room.at("point/file")).expect("it is there"), "some bytes");
            let host = room.host();
            assert_eq!(wharf(&["unmount", &point]).succeeded(), "");
            assert!(!room.mounted());
            // Not even as a process that nobody waits for: its parent is gone.
            eventually("the host ends", || rustix::process::test_kill_process(host).is_err());
            assert_eq!(fs::exists(room.at("source/file")).expect("known"), driver == "mirror");
        }
    }
}

#[test]
fn a_mount_says_one_line_when_it_is_ready() {
    for way in WAYS {
        let room = Room::new();
        let (spec, point) = (room.spec("memory"), room.point());
        let host = Running::start(command().args(["mount", &spec, &point, "--transport", way]));
        let line = host.line();
        assert_eq!(
            line,
            format!("{spec} is mounted at {point} ({way}); end it with Ctrl-C or: wharf unmount {point}\n")
        );
        wharf(&["unmount", &point]).succeeded();
        assert_eq!(host.end().succeeded(), "");
    }
}

#[test]
fn a_transport_that_was_not_asked_for_by_name_is_explained() {
    let room = Room::new();
    let line = room.daemon(&[]);
    assert!(line.contains("(uring)") || line.contains("(dev, as "), "{line}");
    wharf(&["unmount", &room.point()]).succeeded();
}

#[test]
#[ignore = "FUSE over io_uring has to be off, for the whole machine; scripts/test switches it off for this"]
fn without_rings_the_same_command_mounts_by_dev_and_says_why() {
    let switch = fs::read_to_string("/sys/module/fuse/parameters/enable_uring").unwrap_or_default();
    assert_ne!(switch, "Y\n", "FUSE over io_uring is on");
    let room = Room::new();
    let line = room.daemon(&[]);
    assert!(line.contains("(dev, as the kernel does not offer FUSE over io_uring)"), "{line}");
    fs::write(room.at("point/file"), "some bytes").expect("the mount answers");
    wharf(&["unmount", &room.point()]).succeeded();
    let sentence = wharf(&["mount", "memory:", &room.point(), "--transport", "uring"]).failed(1);
    assert!(sentence.contains("enable_uring"), "{sentence}");
    assert!(!room.mounted());
}

#[test]
fn what_is_mounted_is_listed() {
    let room = Room::new();
    assert_eq!(room.listed(), None);
    room.daemon(&["--transport", "dev", "--read-only", "--limit", "requests_max=77"]);
    let listed = room.listed().expect("it is listed");
    assert!(listed.starts_with("memory:size=16M  "), "{listed}");
    assert!(listed.contains("  dev, since "), "{listed}");
    let details = room.details();
    for line in [
        "  shows     memory:size=16M\n",
        "  driver    memory\n",
        "  for       reading, by root\n",
        "  state     answers\n",
        "  transport dev (as chosen)\n",
        "requests_max=77\n",
        "payload_bytes_max=1M\n",
    ] {
        assert!(details.contains(line), "{line}: {details}");
    }
    wharf(&["unmount", &room.point()]).succeeded();
    assert_eq!(room.listed(), None);
}

#[test]
fn a_read_only_mount_refuses_changes() {
    for driver in DRIVERS {
        let room = Room::new();
        wharf(&["mount", &room.spec(driver), &room.point(), "--daemon", "--read-only"]).succeeded();
        let error = fs::write(room.at("point/file"), "x").expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{driver}");
        wharf(&["unmount", &room.point()]).succeeded();
    }
}

#[test]
fn a_place_that_cannot_be_mounted_on_is_refused_with_the_way_out() {
    let room = Room::new();
    let missing = room.at("missing");
    for presence in [&[][..], &["--daemon"]] {
        let sentence = wharf(&[&["mount", "memory:", &missing], presence].concat()).failed(1);
        assert_eq!(sentence, format!("{missing} does not exist; create it with: mkdir -p {missing}"));
    }
    let sentence = wharf(&["mount", "memory:", "/dev/null"]).failed(1);
    assert!(sentence.contains("choose another mount point"), "{sentence}");
}

#[test]
fn a_second_mount_names_the_first() {
    let room = Room::new();
    room.daemon(&[]);
    let point = room.point();
    let sentence = wharf(&["mount", &room.spec("mirror"), &point]).failed(1);
    let start = format!("{point} is already a mount of memory:size=16M (since ");
    let end = format!("); unmount it with: wharf unmount {point}");
    assert!(sentence.starts_with(&start) && sentence.ends_with(&end), "{sentence}");
    wharf(&["unmount", &point]).succeeded();
}

#[test]
fn a_source_that_is_missing_is_refused() {
    let room = Room::new();
    let missing = room.at("missing");
    let sentence = wharf(&["mount", &format!("mirror:{missing}"), &room.point()]).failed(1);
    assert!(sentence.starts_with(&format!("{missing} cannot be shown (No such file")), "{sentence}");
}

#[test]
fn a_mirror_cannot_be_mounted_inside_itself() {
    let room = Room::new();
    let sentence = wharf(&["mount", &format!("mirror:{}", room.at("")), &room.point()]).failed(1);
    assert!(sentence.contains("lies inside") && sentence.contains("outside of it"), "{sentence}");
    // Over itself is well: what was there stays reachable through the mirror.
    let source = room.at("point");
    wharf(&["mount", &format!("mirror:{source}"), &source, "--daemon"]).succeeded();
    fs::write(room.at("point/file"), "x").expect("the mount answers");
    wharf(&["unmount", &source]).succeeded();
    assert_eq!(fs::read(room.at("point/file")).expect("beneath"), b"x");
}

#[test]
fn relative_names_mean_the_directory_where_they_were_typed() {
    let room = Room::new();
    let mut typed = command();
    typed.current_dir(room.path()).args([
        "mount",
        "mirror:source",
        "point",
        "--daemon",
        "--log-file",
        "a.log",
    ]);
    crate::wharf::run(&mut typed).succeeded();
    assert!(room.listed().expect("listed").starts_with(&room.spec("mirror")));
    crate::wharf::run(command().current_dir(room.path()).args(["unmount", "point"])).succeeded();
    assert!(fs::exists(room.at("a.log")).expect("known"));
}

#[test]
fn the_log_says_which_transport_and_why() {
    let room = Room::new();
    let log = room.at("log");
    room.daemon(&["--transport", "dev", "--log", "info", "--log-file", &log]);
    wharf(&["unmount", &room.point()]).succeeded();
    let text = fs::read_to_string(&log).expect("a log");
    let told = format!("{}: served over dev: as chosen\n", room.point());
    assert!(text.contains("info  wharf_fuse") && text.contains(&told), "{text}");
    let sentence = wharf(&["mount", "memory:", &room.point(), "--log-file", &room.at("no/log")]).failed(1);
    assert!(sentence.contains("choose another with --log-file"), "{sentence}");
}

#[test]
fn what_is_no_mount_cannot_be_unmounted() {
    let room = Room::new();
    let point = room.point();
    for manner in [&[][..], &["--lazy"], &["--force"]] {
        let sentence = wharf(&[&["unmount", &point], manner].concat()).failed(1);
        assert_eq!(sentence, format!("{point} is no Wharf mount; see those there are with: wharf list"));
    }
    let sentence = wharf(&["unmount", &room.at("missing/deep")]).failed(1);
    assert!(sentence.contains("does not exist"), "{sentence}");
}

#[test]
fn a_busy_mount_stays_until_it_is_free_or_detached() {
    let room = Room::new();
    room.daemon(&[]);
    let point = room.point();
    let open = fs::File::create(room.at("point/file")).expect("the mount answers");
    let sentence = wharf(&["unmount", &point]).failed(1);
    assert!(sentence.starts_with(&format!("{point} is busy: used by ")), "{sentence}");
    assert!(sentence.ends_with(&format!("wharf unmount --lazy {point}")), "{sentence}");
    assert!(room.mounted());
    let host = room.host();
    wharf(&["unmount", "--lazy", &point]).succeeded();
    assert!(!room.mounted());
    assert!(open.metadata().is_ok(), "whoever has it open keeps it");
    drop(open);
    eventually("the host ends with its last user", || rustix::process::test_kill_process(host).is_err());
}

#[test]
fn force_ends_a_mount_whoever_uses_it() {
    let room = Room::new();
    room.daemon(&[]);
    let open = fs::File::create(room.at("point/file")).expect("the mount answers");
    wharf(&["unmount", "--force", &room.point()]).succeeded();
    assert!(!room.mounted());
    assert!(open.sync_all().is_err(), "its user is told");
}

#[test]
fn a_mount_whose_host_was_killed_is_listed_and_can_be_freed() {
    let room = Room::new();
    room.daemon(&[]);
    let host = room.host();
    kill_process(host, Signal::KILL).expect("it runs");
    eventually("the kernel notices", || fs::metadata(room.point()).is_err());
    assert_eq!(room.listed().as_deref().map(|text| text.ends_with("its host is gone")), Some(true));
    let details = room.details();
    let way_out = format!("free the place with: wharf unmount --lazy {}", room.point());
    assert!(details.contains(&way_out), "{details}");
    let sentence = wharf(&["mount", "memory:", &room.point()]).failed(1);
    assert!(sentence.contains("is a mount whose server is gone"), "{sentence}");
    wharf(&["unmount", "--lazy", &room.point()]).succeeded();
    assert!(!room.mounted());
}

#[test]
fn auto_unmount_frees_the_place_of_a_host_that_was_killed() {
    let room = Room::new();
    room.daemon(&["--auto-unmount"]);
    kill_process(room.host(), Signal::KILL).expect("it runs");
    eventually("the place is free", || !room.mounted());
}

#[test]
fn an_archive_is_described_and_mounted_for_reading() {
    let room = Room::new();
    fs::write(room.at("source/file"), "some bytes").expect("written");
    let zip = std::process::Command::new("zip")
        .args(["-qr", "../it.zip", "."])
        .current_dir(room.at("source"))
        .status();
    assert!(zip.expect("zip is installed").success());
    let (spec, point) = (format!("zip:{}", room.at("it.zip")), room.point());
    let told = wharf(&["info", &spec]).succeeded();
    assert!(told.starts_with(&format!("{spec}\n  driver       zip\n")), "{told}");
    assert!(told.contains("  files        1\n") && told.contains("  unpacked     10 bytes\n"), "{told}");
    wharf(&["mount", &spec, &point, "--daemon", "--option", "cache=1M"]).succeeded();
    assert_eq!(fs::read_to_string(room.at("point/file")).expect("read"), "some bytes");
    let error = fs::write(room.at("point/file"), "x").expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    assert!(room.details().contains("for       reading"), "{}", room.details());
    wharf(&["unmount", &point]).succeeded();
    let sentence = wharf(&["mount", "zip:/missing.zip", &point]).failed(1);
    assert!(sentence.starts_with("/missing.zip cannot be read (No such file"), "{sentence}");
    let sentence = wharf(&["info", &format!("zip:{}", room.at("source/file"))]).failed(1);
    assert!(
        sentence.contains("is no zip archive that can be shown") && sentence.contains("unzip -t"),
        "{sentence}"
    );
}

#[test]
fn a_fat_image_is_described_read_and_with_the_option_written() {
    let room = Room::new();
    let image = room.at("card.img");
    fs::File::create(&image).and_then(|file| file.set_len(16 << 20)).expect("an image");
    let tool = |name: &str, arguments: &[&str]| {
        let ran = std::process::Command::new(name).args(arguments).arg(&image).output();
        ran.unwrap_or_else(|error| panic!("{name} of dosfstools: {error}"))
    };
    assert!(tool("mkfs.fat", &["-F", "16", "-s", "4", "-n", "MY CARD"]).status.success());
    let (spec, point) = (format!("fat:{image}"), room.point());
    let told = wharf(&["info", &spec]).succeeded();
    assert!(told.starts_with(&format!("{spec}\n  driver      fat\n")), "{told}");
    assert!(told.contains("FAT16\n") && told.contains("MY CARD\n"), "{told}");
    let mount = |more: &[&str]| {
        let arguments = [&["mount", &spec, &point, "--daemon"], more].concat();
        wharf(&arguments).succeeded();
    };
    mount(&["-o", "write"]);
    fs::write(room.at("point/A file.txt"), "some bytes").expect("it can be written");
    wharf(&["unmount", &point]).succeeded();
    assert!(tool("fsck.fat", &["-n"]).status.success());
    mount(&[]);
    assert_eq!(fs::read_to_string(room.at("point/a FILE.txt")).expect("it is there"), "some bytes");
    let refused = fs::write(room.at("point/other"), "").expect_err("it is only read");
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    wharf(&["unmount", &point]).succeeded();
    let sentence = wharf(&["info", "fat:/missing.img"]).failed(1);
    assert!(sentence.starts_with("/missing.img cannot be served (No such file"), "{sentence}");
}
