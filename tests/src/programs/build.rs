//! cargo: a build with everything on the file system, and a second one that must find nothing to do.

use super::{Program, Scene, Tool};
use crate::{needs::Needs, own};

pub(super) const CARGO: Program = Program {
    name: "cargo",
    tools: &[("cargo", "cargo"), ("rustc", "rustc"), ("cc", "gcc")],
    needs: Needs::WRITE,
    deadline_s: 240,
    run: cargo,
};

fn cargo(scene: &Scene) {
    let package = scene.dir.sub("package");
    package.file(
        "Cargo.toml",
        "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\nbuild = \"build.rs\"\n[workspace]\n",
    );
    package.file(
        "build.rs",
        "fn main() {
            let out = std::env::var(\"OUT_DIR\").unwrap();
            std::fs::write(format!(\"{out}/made.rs\"), \"const MADE: u32 = 42;\").unwrap();
            println!(\"cargo::rerun-if-changed=build.rs\");
        }",
    );
    let source = package.sub("src");
    source.file(
        "lib.rs",
        "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));\npub fn made() -> u32 { MADE }\n",
    );
    source.file("main.rs", "fn main() { println!(\"made {}\", tiny::made()); }\n");
    let cargo = |words: &[&str]| {
        let tool = Tool::of(package.path(""), own::cargo());
        tool.env("CARGO_TARGET_DIR", package.path("target")).arg("--color=never").args(words)
    };
    // Messages as JSON tell what was compiled and what was found fresh.
    let build = || cargo(&["build", "--offline", "--message-format=json"]).run();
    let fresh = |messages: &str, fresh: bool| messages.matches(&format!("\"fresh\":{fresh}")).count();
    let first = build();
    assert_eq!((fresh(&first, true), fresh(&first, false)), (0, 3), "{first}");
    assert_eq!(Tool::new(package.path(""), "target/debug/tiny").run(), "made 42\n");
    let second = build();
    assert_eq!((fresh(&second, true), fresh(&second, false)), (3, 0), "built again, for nothing:\n{second}");
    // Cargo goes by times, so a change right after a build is the hard case.
    source.file("main.rs", "fn main() { println!(\"changed {}\", tiny::made()); }\n");
    let third = build();
    assert_eq!((fresh(&third, true), fresh(&third, false)), (2, 1), "{third}");
    assert_eq!(Tool::new(package.path(""), "target/debug/tiny").run(), "changed 42\n");
    cargo(&["clean", "-q", "--offline"]).run();
    assert!(!package.has("target/debug"));
}
