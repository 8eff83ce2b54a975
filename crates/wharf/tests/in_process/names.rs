//! Who watches hears of every change of names: before it begins, and when it has ended but nobody was answered yet.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use wharf::notice::Notice;
use wharf::op;
use wharf::session::Watch;
use wharf::testing::Volume;
use wharf::{Attributes, Capabilities, Context, Created, Entry, Error, FileSystem, Result};

#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Watch for Log {
    fn changed(&self, _: u64, _: Range<u64>) {}

    fn written(&self, _: u64, _: bool) {}

    fn names(&self, directory: u64, begins: bool) {
        self.add(format!("{directory} {}", if begins { "begins" } else { "has ended" }));
    }

    fn noticed(&self, notice: &Notice) {
        self.add(format!("{notice:?}"));
    }
}

/// Directories whose inode numbers are their names; what is asked of them fails.
struct Directories(Log);

impl Directories {
    fn fails<T>(&self, what: &str) -> Result<T> {
        self.0.add(what);
        Err(Error::io("changing what cannot be changed"))
    }
}

impl FileSystem for Directories {
    type Node = u64;
    type File = ();

    fn capabilities(&self) -> Capabilities {
        Capabilities::WRITE | Capabilities::SYMLINKS | Capabilities::LINKS | Capabilities::SPECIAL_FILES
    }

    fn root(&self) -> u64 {
        1
    }

    async fn lookup(&self, _: &Context, _: &u64, op: op::Lookup<'_>) -> Result<Entry<u64>> {
        let name = String::from_utf8_lossy(op.name.as_bytes()).into_owned();
        let inode = name.parse().map_err(|_| Error::not_found())?;
        Ok(Entry::new(inode, Attributes::directory(inode)))
    }

    async fn getattr(&self, _: &Context, node: &u64, _: Option<&()>) -> Result<Attributes> {
        Ok(Attributes::directory(*node))
    }

    async fn symlink(&self, _: &Context, _: &u64, _: op::Symlink<'_>) -> Result<Entry<u64>> {
        self.fails("symlink")
    }

    async fn mkdir(&self, _: &Context, _: &u64, _: op::MakeDirectory<'_>) -> Result<Entry<u64>> {
        self.fails("mkdir")
    }

    async fn unlink(&self, _: &Context, _: &u64, _: op::Remove<'_>) -> Result<()> {
        self.fails("unlink")
    }

    async fn rmdir(&self, _: &Context, _: &u64, _: op::Remove<'_>) -> Result<()> {
        self.fails("rmdir")
    }

    async fn rename(&self, _: &Context, _: &u64, _: &u64, _: op::Rename<'_>) -> Result<()> {
        self.fails("rename")
    }

    async fn link(&self, _: &Context, _: &u64, _: &u64, _: op::Link<'_>) -> Result<Entry<u64>> {
        self.fails("link")
    }

    async fn create(&self, _: &Context, _: &u64, _: op::Create<'_>) -> Result<Created<u64, ()>> {
        self.fails("create")
    }
}

#[test]
fn who_watches_hears_of_changes_of_names_before_and_after() {
    let log = Log::default();
    let mut volume = Volume::new(Directories(log.clone()));
    volume.session().watch(Arc::new(log.clone()));
    // The kernel asks for the root's attributes first of all.
    volume.stat("").unwrap();
    let around = |directory: u64, what: &str| {
        [format!("{directory} begins"), what.to_owned(), format!("{directory} has ended")].to_vec()
    };
    volume.create("x").unwrap_err();
    assert_eq!(log.taken(), around(1, "create"));
    volume.mkdir("5/x").unwrap_err();
    assert_eq!(log.taken(), around(5, "mkdir"));
    volume.symlink("to", "5/x").unwrap_err();
    assert_eq!(log.taken(), around(5, "symlink"));
    volume.unlink("5/x").unwrap_err();
    assert_eq!(log.taken(), around(5, "unlink"));
    volume.rmdir("5/x").unwrap_err();
    assert_eq!(log.taken(), around(5, "rmdir"));
    volume.link("7", "5/x").unwrap_err();
    assert_eq!(log.taken(), around(5, "link"));
    volume.rename("5/x", "5/y", op::RenameHow::Replace).unwrap_err();
    assert_eq!(log.taken(), around(5, "rename"));
    volume.rename("5/x", "6/x", op::RenameHow::Replace).unwrap_err();
    assert_eq!(log.taken(), ["5 begins", "6 begins", "rename", "5 has ended", "6 has ended"]);
    volume.notifier().entry_gone(5, "x".as_ref());
    assert_eq!(log.taken(), ["EntryGone { parent: 5, name: \"x\" }"]);
}
