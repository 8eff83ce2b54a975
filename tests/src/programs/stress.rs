//! stress-ng's stressors of the class filesystem, one after another, and what the kernel logged meanwhile.

use super::{Program, Scene, Tool};
use crate::{kernel_log::KernelLog, needs::Needs};

pub(super) const STRESS_NG: Program = Program {
    name: "stress-ng",
    tools: &[("stress-ng", "stress-ng")],
    needs: Needs::WRITE,
    deadline_s: 300,
    run: stress_ng,
};

/// Stressors that say nothing about the directory they are given.
const ELSEWHERE: &[&str] = &[
    "bind-mount", // Binds / again and again.
    "binderfs",   // Mounts Android's binder file system.
    "fanotify",   // Watches every mount of the machine, also those of others.
    "procfs",     // Reads all of /proc and /sys, and so writes warnings about them.
    "verity",     // Needs a file system made with fs-verity.
];

fn stress_ng(scene: &Scene) {
    let log = KernelLog::from_now().expect("to read /dev/kmsg");
    Tool::new(scene.dir.path(""), "stress-ng")
        .args(&["--class", "filesystem", "--seq", "1", "--timeout", "1s", "--verify", "--exclude"])
        .arg(ELSEWHERE.join(","))
        .arg("--temp-path")
        .arg(scene.dir.path(""))
        .run();
    let complaints = log.complaints().expect("to read /dev/kmsg");
    assert!(complaints.is_empty(), "the kernel complained:\n{}", complaints.join("\n"));
}
