//! A directory mirrored by Wharf: `serve-mirror SOURCE DIR [auto|dev|uring] [passthrough]`.
//!
//! Nobody else changes the source meanwhile, so the kernel keeps what it learns, as it does at the peers.

use wharf_drivers::mirror::{Mirror, Options as MirrorOptions};
use wharf_fuse::mount::{Allow, Options};
use wharf_fuse::{Mount, Transport};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [source, dir, words @ ..] = given.as_slice() else {
        return Err("usage: serve-mirror SOURCE DIR [auto|dev|uring] [passthrough]".into());
    };
    let transport = match words.first().map(String::as_str) {
        Some("dev") => Transport::Dev,
        Some("uring") => Transport::Uring,
        _ => Transport::Auto,
    };
    let passthrough = words.iter().any(|word| word == "passthrough");
    let mirror =
        Mirror::new(source, MirrorOptions { exclusive: true, passthrough, ..MirrorOptions::default() })?;
    let defaults = mirror.defaults();
    let mut options = Options::new("mirror", source)?;
    options.allow = Allow::Everyone;
    let mount = Mount::new(mirror, options).defaults(defaults).transport(transport).passthrough(passthrough);
    let volume = mount.at(dir)?;
    tiny::say_ready(&format!("wharf, {}", volume.transport()));
    volume.wait();
    Ok(())
}
