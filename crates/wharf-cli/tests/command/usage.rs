//! What is typed wrongly, and what needs no mount.

use crate::wharf::wharf;

#[test]
fn what_is_not_understood_ends_with_2_and_one_sentence() {
    for (arguments, sentence) in [
        (&[][..], "say what to do: mount, unmount, list or info; see: wharf --help"),
        (
            &["mount", "memory:"],
            "the following required arguments were not provided: <DIR>; see: wharf mount --help",
        ),
        (
            &["mount", "tar:photos.tar", "/mnt"],
            "`tar:` is no file system known here; use mirror:PATH, fat:IMAGE[@OFFSET|#PARTITION], remote:URL, zip:FILE or memory:[size=BYTES][,inodes=NUMBER]",
        ),
        (
            &["mount", "/srv/data", "/mnt"],
            "`/srv/data` does not say what serves it; to show that directory write mirror:/srv/data",
        ),
        (
            &["mount", "memory:size=big", "/mnt"],
            "`big` is no number of bytes; write it as in 4096, 512M or 1G",
        ),
        (&["man", "fly"], "there is no command `fly` to describe; see those there are with: wharf --help"),
    ] {
        assert_eq!(wharf(arguments).failed(2), sentence);
    }
}

#[test]
fn help_and_version_are_answers_not_errors() {
    for arguments in [&["--help"][..], &["-h"], &["mount", "--help"], &["unmount", "-h"], &["list", "--help"]]
    {
        let text = wharf(arguments).succeeded();
        assert!(text.contains("Usage: wharf"), "{text}");
        for hidden in ["--detached", "completions", "  answers"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
    assert_eq!(wharf(&["--version"]).succeeded(), concat!("wharf ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn every_shell_has_completions_for_every_option() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = wharf(&["completions", shell]).succeeded();
        assert!(text.contains("read-only"), "{shell}: {text}");
    }
}

#[test]
fn the_manual_comes_from_the_same_definitions() {
    let page = wharf(&["man"]).succeeded();
    assert!(page.contains(".TH wharf 1"), "{page}");
    let page = wharf(&["man", "mount"]).succeeded();
    assert!(page.contains(r"\-\-read\-only"), "{page}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    use std::process::Stdio;
    let mut child = crate::wharf::command()
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stdout.take());
    let outcome = child.wait_with_output().expect("it ends");
    assert_eq!((outcome.status.code(), outcome.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_source_is_described_without_mounting_it() {
    let text = wharf(&["info", "memory:", "-o", "size=16M"]).succeeded();
    assert!(text.starts_with("memory:size=16M\n  driver       memory\n"), "{text}");
    assert!(text.contains("  space        16.0 MiB (16777216 bytes)\n"), "{text}");
    let text = wharf(&["info", "mirror:/"]).succeeded();
    assert!(text.starts_with("mirror:/\n  driver       mirror\n") && text.contains("free inodes"), "{text}");
    let sentence = wharf(&["info", "mirror:/missing"]).failed(1);
    assert!(sentence.starts_with("/missing cannot be shown"), "{sentence}");
}

#[test]
fn a_program_is_run_with_the_library_before_it() {
    use crate::wharf::{command, run};
    // What is preloaded must only be loadable: the C library is, wherever it lies.
    let maps = std::fs::read_to_string("/proc/self/maps").expect("what is mapped here");
    let library =
        maps.lines().find_map(|line| line.split(' ').next_back().filter(|path| path.contains("/libc")));
    let library = std::path::Path::new(library.expect("a C library"));
    let wharf = |arguments: &[&str]| {
        let mut command = command();
        run(command.env("WHARF_PRELOAD", library).env_remove("LD_PRELOAD").arg("run").args(arguments))
    };
    let said = wharf(&["--", "sh", "-c", "echo $LD_PRELOAD; echo $0 $1", "a", "--help"]).succeeded();
    assert_eq!(said, format!("{}\na --help\n", library.display()));
    assert_eq!(wharf(&["sh", "-c", "exit 7"]).code, Some(7));
    assert_eq!(
        wharf(&["no-such-program"]).failed(127),
        "there is no program no-such-program; see: wharf run --help"
    );
    let directory = wharf(&["--", "/"]).failed(126);
    assert!(directory.starts_with("/ cannot be run"), "{directory}");
    let lost = run(command().env("WHARF_PRELOAD", "/no/such/library").args(["run", "true"])).failed(1);
    assert!(lost.starts_with("WHARF_PRELOAD names /no/such/library, where there is no file"), "{lost}");
}
