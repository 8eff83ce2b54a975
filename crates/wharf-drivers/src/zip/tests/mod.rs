//! Archives through the trait, without a kernel.

mod contents;
mod hostile;
mod maker;
mod programs;
mod specimens;
mod streamed;
mod tree;

use std::io::Write as _;

use tempfile::NamedTempFile;
use wharf::testing::Volume;

use crate::progress::Silent;

use super::{Options, Owners, Zip};

/// Room for every test that does not say otherwise.
const CACHE: u64 = 64 << 20;

fn options() -> Options {
    Options { owners: Owners::Archive { uid: 1, gid: 2 }, cache_bytes_max: CACHE }
}

/// An archive of these bytes, which lives as long as it is open.
fn open_with(bytes: &[u8], options: Options) -> std::io::Result<Zip> {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("to write an archive");
    Zip::open(file.path(), options, &Silent)
}

fn open(bytes: &[u8]) -> Zip {
    open_with(bytes, options()).expect("an archive")
}

fn volume(zip: Zip) -> Volume<Zip> {
    let setup = wharf::session::Setup { defaults: zip.defaults(), ..wharf::session::Setup::default() };
    let mut volume = Volume::with(zip, setup).expect("it starts");
    volume.patience(std::time::Duration::from_secs(60));
    volume
}

/// All paths below a directory, sorted.
fn paths(volume: &mut Volume<Zip>, below: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in volume.list(below).expect("a directory") {
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if volume.stat(&path).expect("it is there").kind == wharf::Kind::Directory {
            found.extend(paths(volume, &path));
        }
        found.push(path);
    }
    found.sort();
    found
}
