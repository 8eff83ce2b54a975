//! git: many small files, renames over lock files, hard links between packs, and its own checks.

use super::{Program, Scene, Tool};
use crate::{
    dir::{Dir, pattern},
    needs::Needs,
};

pub(super) const GIT: Program =
    Program { name: "git", tools: &[("git", "git")], needs: Needs::WRITE, deadline_s: 180, run: git };

fn git(scene: &Scene) {
    let origin = scene.dir.sub("origin");
    let git = |at: &Dir, words: &[&str]| {
        Tool::new(at.path(""), "git")
            .args(&[
                "-c",
                "core.fsync=all",
                "-c",
                "init.defaultBranch=main",
                "-c",
                "protocol.file.allow=always",
            ])
            .args(words)
            // Nothing of whoever runs this may matter.
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Anna")
            .env("GIT_AUTHOR_EMAIL", "anna@example.org")
            .env("GIT_COMMITTER_NAME", "Anna")
            .env("GIT_COMMITTER_EMAIL", "anna@example.org")
            .env("HOME", at.path(""))
    };
    let clean = |at: &Dir| assert_eq!(git(at, &["status", "--porcelain"]).run(), "");

    git(&origin, &["init", "-q"]).run();
    for number in 0..300_u64 {
        let below = origin.path(format!("directory{}", number % 12));
        std::fs::create_dir_all(&below).expect("a directory");
        let bytes = pattern(number, (number * 37 % 9000) as usize);
        std::fs::write(below.join(format!("file{number}.txt")), bytes).expect("a file");
    }
    let commit = |message: &str| {
        git(&origin, &["add", "--all"]).run();
        git(&origin, &["commit", "-q", "-m", message]).run();
        clean(&origin);
    };
    commit("first");
    for round in 0..4_u64 {
        for number in (round..300).step_by(7) {
            let path = format!("directory{}/file{number}.txt", number % 12);
            if origin.has(&path) {
                origin.file(&path, pattern(number + 1000 * round, (number * 41 % 7000) as usize));
            }
        }
        origin.rename(format!("directory{round}"), format!("renamed{round}"));
        origin.unlink(format!("directory{}/file{}.txt", round + 6, round + 6));
        commit(&format!("round {round}"));
    }
    origin.file("script", "#!/bin/sh\n");
    if scene.have.contains(Needs::PERMISSIONS) {
        origin.chmod("script", 0o755);
    }
    if scene.have.contains(Needs::SYMLINKS) {
        origin.symlink("script", "link");
    }
    commit("a script");
    git(&origin, &["switch", "-q", "-c", "side", "HEAD~2"]).run();
    origin.file("on the side", "bytes");
    commit("side");
    git(&origin, &["switch", "-q", "main"]).run();
    git(&origin, &["merge", "-q", "-m", "merge", "side"]).run();
    clean(&origin);

    git(&scene.dir, &["clone", "-q", "origin", "clone"]).run();
    let clone = Dir::at(scene.dir.path("clone"));
    let head = |at: &Dir| git(at, &["rev-parse", "HEAD^{tree}"]).run();
    assert_eq!(head(&clone), head(&origin));
    clean(&clone);
    for repository in [&origin, &clone] {
        git(repository, &["gc", "-q", "--aggressive", "--prune=now"]).run();
        git(repository, &["fsck", "--full", "--strict", "--no-progress"]).run_silently();
        clean(repository);
    }
    // Back to the first commit and forth again, so that every file is made and removed by git itself.
    git(&clone, &["checkout", "-q", "HEAD~5"]).run();
    clean(&clone);
    git(&clone, &["checkout", "-q", "main"]).run();
    clean(&clone);
    assert!(clone.has("on the side") && clone.has("renamed3") && !clone.has("directory3"));
    // Over a pipe, without links between the two.
    let url = format!("file://{}", origin.path("").display());
    git(&scene.dir, &["clone", "-q", "--bare", &url, "bare.git"]).run();
    git(&Dir::at(scene.dir.path("bare.git")), &["fsck", "--full", "--strict", "--no-progress"])
        .run_silently();
}
