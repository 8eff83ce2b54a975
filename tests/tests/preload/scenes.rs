//! What a program may do with descriptors, by the scenes of `probe.c`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use wharf_fuse::Transport;

use crate::fixture::Driver;
use crate::served::{Served, settle};
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

/// The probe, to play a scene.
pub(crate) fn probe(scene: &str, file: &Path, other: &Path) -> Command {
    let mut probe = Command::new(&*PROBE);
    probe.arg(scene).arg(file).arg(other).current_dir("/");
    probe
}

/// Plays a scene both ways in a directory; the library must have answered so many reads at least.
#[track_caller]
fn play(scene: &str, at: &Path, is_served: bool, reads_min: u64) {
    let (file, other) = (at.join(format!("{scene}.a")), at.join(format!("{scene}.b")));
    let probe = || probe(scene, &file, &other);
    let prepare = || {
        fs::write(&file, words(0, LENGTH)).expect("a file");
        fs::write(&other, words(5, LENGTH / 4)).expect("a file");
        if is_served {
            settle(&file);
            settle(&other);
        }
    };
    prepare();
    let alone = run(probe());
    assert_eq!(alone.code, 0, "{scene}: {}", alone.output);
    prepare();
    let (preloaded, report) = run_preloaded(probe());
    assert_eq!(preloaded.output, alone.output, "{scene}");
    assert_eq!(preloaded.code, alone.code, "{scene}");
    let reads = if is_served { report.reads } else { report.stand_ins };
    assert!(reads >= reads_min, "{scene}: {report:?}");
}

/// The scenes, each with how many reads are answered at least: of files of no mount, which the library reads itself, and
/// of a mount's. What of these is not in memory yet is left to the kernel: the busier the machine, the more. A program that
/// is killed says nothing of them, and a file that is being written is the kernel's.
const SCENES: [(&str, u64, u64); 11] = [
    ("reads", 5, 5),
    ("edges", 3, 3),
    ("changes", 10, 0),
    ("sharers", 10, 10),
    ("numbers", 5, 5),
    ("threads", 100, 20),
    ("opens", 10, 10),
    ("signals", 100, 20),
    ("cancels", 10, 10),
    ("confined", 0, 0),
    ("crowd", 5, 5),
];

#[test]
fn a_program_sees_no_difference_on_a_native_file_system() {
    let room = native();
    for (scene, reads_min, _) in SCENES {
        play(scene, room.path(), false, reads_min);
    }
}

fn a_program_sees_no_difference(transport: Transport) {
    let served = Served::new(Driver::Memory, transport);
    for (scene, _, reads_min) in SCENES {
        play(scene, served.path(), true, reads_min);
    }
    served.end();
}

#[test]
fn a_program_sees_no_difference_on_a_mount_over_dev() {
    a_program_sees_no_difference(Transport::Dev);
}

#[test]
fn a_program_sees_no_difference_on_a_mount_over_uring() {
    a_program_sees_no_difference(Transport::Uring);
}
