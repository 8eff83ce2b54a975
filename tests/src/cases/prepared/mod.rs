//! Cases that only read: for volumes on which nothing can be made.
//!
//! What they read is one tree, made by [`make`] where that can be done and then brought to where it is
//! shown. They change nothing, and try to: every change must be refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, FileTimes, Permissions},
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime},
};

use super::{Case, case};
use crate::{
    dir::{Dir, pattern},
    needs::Needs,
};

mod bytes;
mod changes;
mod names;

/// All of them.
pub fn all() -> impl Iterator<Item = Case> {
    [bytes::CASES, names::CASES, changes::CASES].concat().into_iter()
}

/// Files of the tree and their lengths: around the sizes of sectors and pages, and on both sides of a mebibyte.
const FILES: &[(&str, usize)] = &[
    ("empty", 0),
    ("one", 1),
    ("short", 5000),
    ("page", 4096),
    ("page and one", 4097),
    ("less than a mebibyte", (1 << 20) - 513),
    ("large", (3 << 20) + 17),
    ("text", 20_000),
    ("text that is large", 2_600_000),
    ("below/this/there/is/one", 100),
    ("program", 30),
    ("locked", 40),
];

/// The longest of them: bytes that no packer makes smaller, and some that any does.
const LARGE: [&str; 2] = ["large", "text that is large"];

/// Files in the directory `many`.
const MANY: usize = 300;

/// Links and where they lead.
const LINKS: &[(&str, &str)] = &[
    ("link", "short"),
    ("link to many", "many"),
    ("below/up", "../one"),
    ("dangling", "nowhere"),
    ("circle", "circle"),
];

/// Seconds since 1970 that every time keeps: an even number.
const CHANGED: u64 = 1_000_000_000;

/// The bytes of a file.
fn contents(name: &str) -> Vec<u8> {
    let (_, length) = FILES.iter().find(|(known, _)| *known == name).expect("a file of the tree");
    if !name.starts_with("text") {
        return pattern(*length as u64, *length);
    }
    let line =
        b"a line of a text that packs well, of which there are many, and each has a number of its own: ";
    let mut bytes = Vec::with_capacity(length + line.len() + 4);
    for number in 0u32.. {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(&number.to_le_bytes());
        if bytes.len() >= *length {
            break;
        }
    }
    bytes.truncate(*length);
    bytes
}

/// The names in each directory that is shown, by its path; that of the root is empty.
fn tree(have: Needs) -> BTreeMap<String, BTreeSet<String>> {
    let mut tree = BTreeMap::from([("nothing".to_owned(), BTreeSet::new())]);
    let links = LINKS.iter().filter(|_| have.contains(Needs::SYMLINKS)).map(|(name, _)| (*name).to_owned());
    let files = FILES.iter().map(|(name, _)| (*name).to_owned());
    let many = (0..MANY).map(|at| format!("many/entry-{at}"));
    for path in files.chain(links).chain(many).chain(["nothing".to_owned()]) {
        let mut path = path.as_str();
        // Each of its directories is an entry of another.
        while !path.is_empty() {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            tree.entry(parent.to_owned()).or_insert_with(BTreeSet::new).insert(name.to_owned());
            path = parent;
        }
    }
    tree
}

/// Makes the tree in an empty directory, with what the file system there offers.
///
/// # Panics
/// If it cannot be made.
pub fn make(dir: &Dir, have: Needs) {
    for path in tree(have).into_keys().filter(|path| !path.is_empty()) {
        std::fs::create_dir_all(dir.path(path)).expect("to make a directory");
    }
    for (name, _) in FILES {
        dir.file(name, contents(name));
    }
    (0..MANY).for_each(|at| dir.file(format!("many/entry-{at}"), at.to_string()));
    if have.contains(Needs::SYMLINKS) {
        LINKS.iter().for_each(|(name, target)| dir.symlink(target, name));
    }
    if have.contains(Needs::MODES) {
        dir.chmod("program", 0o755);
        dir.chmod("locked", 0o600);
        dir.chmod("nothing", 0o711);
        // Who is not root must be able to get there.
        std::fs::set_permissions(dir.path(""), Permissions::from_mode(0o755))
            .expect("to open the tree to others");
    }
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(CHANGED);
    for (name, _) in FILES {
        let file = File::options().write(true).open(dir.path(name)).expect("to open a file of the tree");
        file.set_times(FileTimes::new().set_modified(changed).set_accessed(changed))
            .expect("to set its times");
    }
}
