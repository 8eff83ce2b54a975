//! The tree's methods on a temporary directory, without a mount.

mod attributes;
mod directory;
mod escape;
mod files;
mod identity;
mod names;
mod session;
mod xattrs;

use std::ffi::{CStr, CString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wharf::Attributes;
use wharf::op::OpenFlags;

use super::credentials::{NewMode, Who};
use super::files::OpenFile;
use super::names::Found;
use super::node::{Inode, Node};
use super::{Options, Result, Tree};

/// A mirror of a new directory that everybody may write to.
struct Mirrored {
    tree: Tree,
    directory: tempfile::TempDir,
}

fn mirrored() -> Mirrored {
    mirrored_with(Options::default())
}

fn mirrored_with(options: Options) -> Mirrored {
    let directory = tempfile::tempdir().unwrap();
    allow_all(directory.path());
    let tree = Tree::new(directory.path(), options).unwrap();
    Mirrored { tree, directory }
}

fn allow_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

impl Mirrored {
    /// The real path of something in it.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn root(&self) -> &Arc<Inode> {
        &self.tree.root.0
    }

    fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
    }

    fn find(&self, name: &str) -> Result<Found> {
        self.tree.lookup(self.root(), &c(name))
    }

    /// The node and attributes of what has this name.
    fn node(&self, name: &str) -> Found {
        self.find(name).unwrap()
    }

    fn attributes(&self, node: &Node) -> Attributes {
        self.tree.stat(&node.0).unwrap().attributes(&node.0)
    }

    fn make_directory(&self, name: &str) -> Node {
        self.tree.make_directory(&me(), self.root(), &c(name), mode(0o755)).unwrap().0
    }

    fn create(&self, who: &Who, name: &str, permissions: u16, flags: OpenFlags) -> Result<(Found, OpenFile)> {
        self.tree.create(who, self.root(), &c(name), mode(permissions), (flags, false))
    }

    fn open(&self, who: &Who, name: &str, flags: OpenFlags) -> Result<OpenFile> {
        self.tree.open(who, &self.node(name).0.0, flags, false)
    }
}

fn c(name: &str) -> CString {
    CString::new(name).unwrap()
}

/// Whoever runs the test.
fn me() -> Who {
    Who::user(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw(), &[])
}

/// A user without rights or friends.
fn stranger() -> Who {
    Who::user(12_345, 23_456, &[])
}

fn mode(permissions: u16) -> NewMode {
    NewMode { permissions, umask: 0, group: None }
}

fn needs_root(what: &str) {
    assert!(rustix::process::geteuid().is_root(), "needs to run as root: {what}");
}

/// What an open file says from its start.
fn contents(file: &OpenFile) -> String {
    let mut buffer = vec![0; 4096];
    let length = rustix::io::pread(&file.descriptor, &mut buffer[..], 0).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn text(name: &CStr) -> &str {
    name.to_str().unwrap()
}
