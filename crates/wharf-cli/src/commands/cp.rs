//! `wharf cp`: files and directories out of a volume, without going through its mount.
//!
//! Every name that comes from the volume is looked at before it becomes a part of a local path: another user's
//! host may serve it.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, FileType, RenameFlags, renameat_with};
use rustix::io::Errno;
use wharf_direct::client::{Node, Record};

use crate::failure::Failure;
use crate::plan::Cp;
use crate::show::quoted;
use crate::volumes::{self, Place, Spilt, kind, path_of, pour};

/// Copies them, and stops at the first that cannot be.
pub(crate) fn run(plan: &Cp) -> Result<(), Failure> {
    let local = &plan.local;
    let into = fs::metadata(local).is_ok_and(|about| about.is_dir());
    if plan.addresses.len() > 1 && !into {
        let shown = quoted(local);
        return Err(Failure::Operation(format!(
            "{shown} is no directory for several copies; make it with: mkdir {shown}"
        )));
    }
    let mut others = Vec::new();
    for address in &plan.addresses {
        let place = volumes::find(address)?;
        let target = match (into, place.path.file_name()) {
            (false, _) => local.clone(),
            (true, Some(name)) => local.join(name),
            (true, None) => {
                return Err(Failure::Operation(format!(
                    "{} has no name to be copied under; say one that is not there yet, as in {}",
                    place.shown(&place.path),
                    quoted(&local.join("copy"))
                )));
            }
        };
        let (node, record) = place.walk()?;
        if kind(&record) == FileType::Directory && !plan.recursive {
            let shown = place.shown(&place.path);
            return Err(Failure::Operation(format!(
                "{shown} is a directory; copy it with everything in it with: wharf cp -r {shown} {}",
                quoted(local)
            )));
        }
        let mut copy = Copy { place: &place, force: plan.force, todo: Vec::new(), modes: Vec::new(), others };
        copy.one(place.path.clone(), target, node, &record)?;
        copy.all()?;
        others = copy.others;
    }
    match others.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(Failure::Operation(format!(
            "{} of the names were left out, {first} first: they are neither files, directories nor links; see: wharf \
             stat {first}",
            others.len()
        ))),
    }
}

/// A directory that has been made.
struct Directory {
    node: Node,
    path: PathBuf,
    target: PathBuf,
}

/// One thing that was named, with everything in it.
struct Copy<'a> {
    place: &'a Place,
    force: bool,
    /// What is still to be copied. Nodes are looked up one by one: a host lends no client too many.
    todo: Vec<(Rc<Directory>, Vec<u8>)>,
    /// Directories that their owner may not change, once everything is in them.
    modes: Vec<(PathBuf, u32)>,
    /// What is of no kind that is copied.
    others: Vec<String>,
}

impl Copy<'_> {
    fn all(&mut self) -> Result<(), Failure> {
        while let Some((above, name)) = self.todo.pop() {
            let path = above.path.join(path_of(&name));
            match self.place.volume.lookup(&above.node, &name) {
                Ok((node, record)) => self.one(path, above.target.join(path_of(&name)), node, &record)?,
                // It went meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(self.place.failure_at(&path, &error)),
            }
        }
        for (directory, mode) in self.modes.drain(..).rev() {
            let changed = fs::set_permissions(&directory, Permissions::from_mode(mode));
            changed.map_err(|error| unwritten(&directory, &error))?;
        }
        Ok(())
    }

    fn one(&mut self, path: PathBuf, target: PathBuf, node: Node, record: &Record) -> Result<(), Failure> {
        match kind(record) {
            FileType::Directory => self.directory(path, target, node, record),
            FileType::RegularFile => {
                self.free(&target)?;
                self.file(&path, &target, &node, record)
            }
            FileType::Symlink => {
                self.free(&target)?;
                let leads = self.place.volume.read_link(&node);
                let leads = leads.map_err(|error| self.place.failure_at(&path, &error))?;
                let draft = Draft::beside(&target);
                symlink(path_of(&leads), &draft.path).map_err(|error| unwritten(&target, &error))?;
                draft.becomes(&target, self.force)
            }
            _ => {
                self.others.push(self.place.shown(&path));
                Ok(())
            }
        }
    }

    fn directory(
        &mut self,
        path: PathBuf,
        target: PathBuf,
        node: Node,
        record: &Record,
    ) -> Result<(), Failure> {
        let permissions = record.mode & 0o777;
        match DirBuilder::new().mode(permissions | 0o700).create(&target) {
            Ok(()) if permissions & 0o700 != 0o700 => {
                // As the umask left it.
                let made = fs::symlink_metadata(&target).map_err(|error| unwritten(&target, &error))?;
                self.modes.push((target.clone(), made.permissions().mode() & permissions));
            }
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let there = fs::symlink_metadata(&target).is_ok_and(|about| about.is_dir());
                if !(self.force && there) {
                    return Err(taken(&target, there));
                }
            }
            Err(error) => return Err(unwritten(&target, &error)),
        }
        let listed = self.place.volume.list(&node, b"");
        let listed = listed.map_err(|error| self.place.failure_at(&path, &error))?;
        let directory = Rc::new(Directory { node, path, target });
        for entry in listed {
            if !is_name(&entry.name) {
                return Err(Failure::Operation(format!(
                    "the host of {} says a name that is none; see its log",
                    self.place.shown(&directory.path)
                )));
            }
            self.todo.push((directory.clone(), entry.name));
        }
        Ok(())
    }

    fn file(&self, path: &Path, target: &Path, node: &Node, record: &Record) -> Result<(), Failure> {
        let reader = self.place.open(path, node, record)?;
        let draft = Draft::beside(target);
        let file =
            OpenOptions::new().write(true).create_new(true).mode(record.mode & 0o777).open(&draft.path);
        let mut file = file.map_err(|error| unwritten(target, &error))?;
        pour(&reader, |bytes| file.write_all(bytes)).map_err(|spilt| match spilt {
            Spilt::Reading(error) => self.place.failure_at(path, &error),
            Spilt::Writing(error) => unwritten(target, &error),
        })?;
        draft.becomes(target, self.force)
    }

    /// Sees before anything is read whether there is room under this name.
    fn free(&self, target: &Path) -> Result<(), Failure> {
        match fs::symlink_metadata(target) {
            Ok(about) if self.force && (about.is_file() || about.is_symlink()) => Ok(()),
            Ok(about) => Err(taken(target, about.is_file() || about.is_symlink())),
            Err(_) => Ok(()),
        }
    }
}

/// Whether it may be a part of a path that leads nowhere else.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| b"/\0".contains(byte))
}

/// A file under a name for the time being. Gone when dropped, unless it got its own.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn beside(target: &Path) -> Draft {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Draft { path: target.with_file_name(format!(".wharf-cp-{}-{number}", std::process::id())) }
    }

    /// Gives it its name, which nothing has unless that may be replaced.
    fn becomes(self, target: &Path, force: bool) -> Result<(), Failure> {
        let named = if force {
            fs::rename(&self.path, target)
        } else {
            match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
                // The file system cannot do both at once.
                Err(Errno::INVAL | Errno::NOSYS) => OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(target)
                    .and_then(|_| fs::rename(&self.path, target)),
                named => named.map_err(io::Error::from),
            }
        };
        named.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => taken(target, true),
            _ => unwritten(target, &error),
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is not there if it got its name.
        let _ = fs::remove_file(&self.path);
    }
}

fn taken(target: &Path, replaceable: bool) -> Failure {
    let way_out = if replaceable { "replace it with: --force" } else { "say another name" };
    Failure::Operation(format!("{} is there already; {way_out}", quoted(target)))
}

fn unwritten(target: &Path, error: &io::Error) -> Failure {
    Failure::Operation(format!("{} cannot be written ({error}); copy it elsewhere", quoted(target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_volume_leads_nowhere_else() {
        for name in [&b""[..], b".", b"..", b"/", b"a/b", b"../a", b"a\0"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name(b"...") && is_name(b"a b\n") && is_name(b"\xff"));
    }

    #[test]
    fn a_copy_takes_no_name_that_came_meanwhile_and_leaves_no_draft() {
        let room = tempfile::tempdir().expect("a directory");
        let target = room.path().join("a");
        let draft = |bytes: &str| {
            let draft = Draft::beside(&target);
            fs::write(&draft.path, bytes).expect("a file");
            draft
        };
        draft("first").becomes(&target, false).expect("nothing is there");
        let refused = draft("second").becomes(&target, false);
        assert!(matches!(refused, Err(Failure::Operation(sentence)) if sentence.contains("--force")));
        assert_eq!(fs::read_to_string(&target).expect("it is there"), "first");
        draft("third").becomes(&target, true).expect("it may be replaced");
        drop(draft("fourth"));
        assert_eq!(fs::read_to_string(&target).expect("it is there"), "third");
        assert_eq!(fs::read_dir(room.path()).expect("it is there").count(), 1);
    }
}
