//! What a program may do with descriptors, by the scenes of `probe.c`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use wharf_fuse::Transport;

use crate::fixture::{Driver, Mounted};
use crate::{LENGTH, native, run, run_preloaded, words};

/// The probe, built once.
static PROBE: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preload/probe.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("probe.{}", std::process::id()));
    let mut compiler = Command::new("cc");
    compiler.args(["-O0", "-w", "-D_GNU_SOURCE", "-pthread", "-o"]).arg(&program).arg(source);
    let built = run(compiler);
    assert_eq!(built.code, 0, "cc: {}", built.output);
    program
});

/// Plays a scene both ways in a directory; the library must have answered so many reads at least.
#[track_caller]
fn play(scene: &str, at: &Path, reads_min: u64) {
    let (file, other) = (at.join(format!("{scene}.a")), at.join(format!("{scene}.b")));
    let probe = || {
        let mut probe = Command::new(&*PROBE);
        probe.arg(scene).arg(&file).arg(&other).current_dir("/");
        probe
    };
    let prepare = || {
        fs::write(&file, words(0, LENGTH)).expect("a file");
        fs::write(&other, words(5, LENGTH / 4)).expect("a file");
    };
    prepare();
    let alone = run(probe());
    assert_eq!(alone.code, 0, "{scene}: {}", alone.output);
    prepare();
    let (preloaded, report) = run_preloaded(probe());
    assert_eq!(preloaded.output, alone.output, "{scene}");
    assert_eq!(preloaded.code, alone.code, "{scene}");
    assert!(report.reads >= reads_min, "{scene}: {report:?}");
}

/// The scenes, each with how many reads are answered at least. A program that is killed says nothing of them.
const SCENES: [(&str, u64); 10] = [
    ("reads", 5),
    ("edges", 3),
    ("changes", 10),
    ("sharers", 10),
    ("numbers", 5),
    ("threads", 100),
    ("opens", 10),
    ("signals", 100),
    ("cancels", 10),
    ("confined", 0),
];

#[test]
fn a_program_sees_no_difference_on_a_native_file_system() {
    let room = native();
    for (scene, reads_min) in SCENES {
        play(scene, room.path(), reads_min);
    }
}

fn a_program_sees_no_difference(transport: Transport) {
    let mounted = Mounted::new(Driver::Memory, transport);
    for (scene, reads_min) in SCENES {
        play(scene, mounted.path(), reads_min);
    }
    mounted.end();
}

#[test]
fn a_program_sees_no_difference_on_a_mount_over_dev() {
    a_program_sees_no_difference(Transport::Dev);
}

#[test]
fn a_program_sees_no_difference_on_a_mount_over_uring() {
    a_program_sees_no_difference(Transport::Uring);
}
