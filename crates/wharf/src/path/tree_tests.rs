//! Paths stay right whatever happens to names, and nobody waits for ever.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::thread;
use std::time::Instant;

use super::*;
use crate::Kind;
use crate::context::Flight;

const LONG: Duration = Duration::from_secs(60);

/// The value of a node.
struct Held {
    tree: Arc<Tree<Held>>,
    id: Id,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tree.forgotten(self.id);
    }
}

fn tree() -> Arc<Held> {
    Tree::with_root(|tree| Arc::new(Held { tree, id: ROOT }))
}

fn name(name: &str) -> Name<'_> {
    Name::new(name.as_bytes()).expect("a name")
}

fn nobody() -> Cancellation {
    Arc::new(Flight::default()).begin()
}

impl Held {
    fn find(self: &Arc<Self>, at: &str, inode: u64, kind: Kind) -> Arc<Held> {
        let told = Told { inode, kind, new: false };
        let make = |id, _| Arc::new(Held { tree: self.tree.clone(), id });
        self.tree.found(Some((self.id, name(at))), told, make)
    }

    fn file(self: &Arc<Self>, at: &str) -> Arc<Held> {
        self.find(at, 0, Kind::File)
    }

    fn directory(self: &Arc<Self>, at: &str) -> Arc<Held> {
        self.find(at, 0, Kind::Directory)
    }

    fn path(&self) -> Result<PathBuf> {
        Ok(self.tree.use_path(self.id, None, false, &nobody())?.path.clone())
    }

    /// Moves a name, as an author's rename does that succeeds at once.
    fn rename(&self, from: &str, to: &Held, new: &str, how: RenameHow) -> Result<()> {
        let names = [(self.id, name(from)), (to.id, name(new))];
        let moving = self.tree.move_names(&names, &nobody())?;
        moving.renamed(names[0], names[1], how);
        Ok(())
    }

    fn remove(&self, at: &str) {
        let names = [(self.id, name(at))];
        self.tree.move_names(&names, &nobody()).expect("nobody is in the way").removed(names[0]);
    }
}

#[track_caller]
fn check(node: &Held, path: &str) {
    assert_eq!(node.path().expect("there is a path"), Path::new(path));
}

#[test]
fn a_path_is_relative_and_the_roots_is_empty() {
    let root = tree();
    check(&root, "");
    check(&root.directory("a").file("b"), "a/b");
}

#[test]
fn what_is_below_moves_along() {
    let root = tree();
    let (a, d) = (root.directory("a"), root.directory("d"));
    let c = a.directory("b").file("c");
    root.rename("a", &d, "new", RenameHow::Replace).unwrap();
    check(&c, "d/new/b/c");
    check(&a, "d/new");
}

#[test]
fn an_exchange_moves_both() {
    let root = tree();
    let (a, b) = (root.directory("a"), root.directory("b"));
    let (below_a, below_b) = (a.file("x"), b.file("x"));
    root.rename("a", &root, "b", RenameHow::Exchange).unwrap();
    check(&below_a, "b/x");
    check(&below_b, "a/x");
}

#[test]
fn what_is_replaced_or_removed_has_no_path() {
    let root = tree();
    let (a, b, c) = (root.file("a"), root.file("b"), root.file("c"));
    root.rename("a", &root, "b", RenameHow::Replace).unwrap();
    check(&a, "b");
    assert_eq!(b.path().unwrap_err().kind(), ErrorKind::Stale, "the kernel is to look again");
    root.remove("c");
    assert_eq!(c.path().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(root.tree.is_nameless(c.id));
    check(&root.file("c"), "c");
    assert!(root.tree.is_nameless(c.id), "another file has the name now");
}

#[test]
fn a_file_with_two_names_keeps_the_other() {
    let root = tree();
    let a = root.find("a", 7, Kind::File);
    let b = root.find("b", 7, Kind::File);
    assert!(Arc::ptr_eq(&a, &b));
    root.remove("a");
    check(&a, "b");
    root.tree.linked(a.id, root.id, name("c"));
    root.remove("b");
    check(&a, "c");
}

#[test]
fn a_rename_between_two_names_of_one_file_changes_nothing() {
    let root = tree();
    let a = root.find("a", 7, Kind::File);
    root.find("b", 7, Kind::File);
    root.rename("a", &root, "b", RenameHow::Replace).unwrap();
    check(&a, "a");
    root.remove("a");
    check(&a, "b");
}

#[test]
fn what_others_change_is_noticed_at_the_next_lookup() {
    let root = tree();
    let old = root.find("a", 7, Kind::File);
    let new = root.find("a", 8, Kind::File);
    check(&new, "a");
    assert!(root.tree.is_nameless(old.id), "the name leads to another number now");
    let moved = root.find("d", 9, Kind::Directory);
    let again = root.find("e", 9, Kind::Directory);
    assert!(Arc::ptr_eq(&moved, &again));
    check(&moved, "e");
    assert!(root.tree.child(ROOT, name("d")).is_none(), "a directory has one name");
    let file = root.file("x");
    assert!(!Arc::ptr_eq(&file, &root.directory("x")), "a file does not become a directory");
}

#[test]
fn a_number_that_is_used_again_names_another_node() {
    let root = tree();
    let shown = |node: &Held| root.tree.lock().shown(node.id);
    let old = root.find("old", 7, Kind::Directory);
    let moving = root.tree.move_names(&[(ROOT, name("old"))], &nobody()).unwrap();
    // The author has removed it and used its number again, on another thread, before we noted it.
    let told = Told { inode: 7, kind: Kind::Directory, new: true };
    let make = |id, _| Arc::new(Held { tree: root.tree.clone(), id });
    let new = root.tree.found(Some((ROOT, name("new"))), told, make);
    moving.removed((ROOT, name("old")));
    assert!(!Arc::ptr_eq(&old, &new));
    assert_ne!(shown(&old), shown(&new), "the kernel knows both");
    check(&new, "new");
    assert!(root.tree.is_nameless(old.id));
    assert!(Arc::ptr_eq(&root.find("new", 7, Kind::Directory), &new));
    let third = root.find("third", 8, Kind::File);
    root.remove("third");
    assert!(!Arc::ptr_eq(&root.find("again", 8, Kind::File), &third), "it was removed and is not open");
}

#[test]
fn an_open_file_is_still_itself_when_it_gets_a_name_again() {
    let root = tree();
    let file = root.find("file", 7, Kind::File);
    root.tree.opened(file.id);
    root.remove("file");
    assert!(Arc::ptr_eq(&root.find("other", 7, Kind::File), &file), "its number cannot be used again");
    check(&file, "other");
    root.tree.closed(file.id);
}

#[test]
fn numbers_given_twice_make_no_path_without_an_end() {
    let root = tree();
    let a = root.find("a", 7, Kind::Directory);
    let b = a.find("b", 8, Kind::Directory);
    b.find("c", 7, Kind::Directory);
    b.find("d", 8, Kind::Directory);
    assert!(a.path().is_ok() || root.tree.is_nameless(a.id));
    assert!(b.path().is_ok() || root.tree.is_nameless(b.id) || root.tree.is_nameless(a.id));
}

#[test]
fn nothing_moves_to_a_place_below_itself() {
    let root = tree();
    let a = root.directory("a");
    let b = a.directory("b");
    assert_eq!(root.rename("a", &b, "c", RenameHow::Replace).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(a.rename("b", &root, "a", RenameHow::Replace).unwrap_err().kind(), ErrorKind::NotEmpty);
    check(&b, "a/b");
}

#[test]
fn records_live_as_long_as_they_are_needed() {
    let root = tree();
    let (a, outside) = (root.directory("a"), root.directory("outside"));
    let file = a.directory("b").file("c");
    assert_eq!(root.tree.len(), 4, "b is needed for the path of c");
    drop(a);
    assert_eq!(root.tree.len(), 4);
    check(&file, "a/b/c");
    drop(file);
    assert_eq!(root.tree.len(), 1);
    drop(outside);
    assert_eq!(root.tree.len(), 0);
}

#[test]
fn a_path_in_use_is_kept_after_its_node_was_forgotten() {
    let root = tree();
    let a = root.file("a");
    let in_use = root.tree.use_path(ROOT, Some(name("a")), false, &nobody()).unwrap();
    drop(a);
    assert_eq!(root.tree.len(), 1);
    drop(in_use);
    assert_eq!(root.tree.len(), 0);
}

/// Runs `move_it` on another thread, and says when it is done.
fn on_another_thread(move_it: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    let handle = thread::spawn(move_it);
    thread::sleep(Duration::from_millis(5));
    handle
}

fn until_waited_for(tree: &Tree<Held>, id: Id) {
    let deadline = Instant::now() + LONG;
    while tree.lock().at(id).movers_waiting == 0 {
        assert!(Instant::now() < deadline, "nobody waits");
        thread::yield_now();
    }
}

#[test]
fn a_rename_waits_for_paths_through_what_it_moves_and_for_no_others() {
    let root = tree();
    let (a, b) = (root.directory("a"), root.directory("b"));
    let (below, beside) = (a.file("x"), b.file("y"));
    let in_use = root.tree.use_path(below.id, None, false, &nobody()).unwrap();
    let _other = root.tree.use_path(beside.id, None, false, &nobody()).unwrap();
    let mover = root.clone();
    let moved = on_another_thread(move || mover.rename("a", &mover, "c", RenameHow::Replace).unwrap());
    until_waited_for(&root.tree, a.id);
    assert!(!moved.is_finished());
    drop(in_use);
    moved.join().unwrap();
    check(&below, "c/x");
}

#[test]
fn who_comes_later_waits_for_the_mover_unless_it_holds_a_path_already() {
    let root = tree();
    let (a, b) = (root.file("a"), root.file("b"));
    let first = root.tree.use_path(a.id, None, false, &nobody()).unwrap();
    let mover = root.clone();
    let moved = on_another_thread(move || mover.rename("a", &mover, "c", RenameHow::Replace).unwrap());
    until_waited_for(&root.tree, a.id);
    let later = a.clone();
    let late = on_another_thread(move || check(&later, "c"));
    assert!(!late.is_finished(), "a mover that waits is not overtaken for ever");
    // The same thread asks for one more: that must not wait for a mover who waits for it.
    assert_eq!(root.tree.use_path(a.id, None, true, &nobody()).unwrap().path, Path::new("a"));
    check(&b, "b");
    drop(first);
    moved.join().unwrap();
    late.join().unwrap();
}

#[test]
fn who_waits_for_a_path_can_give_up() {
    let root = tree();
    let a = root.file("a");
    let flight = Arc::new(Flight::default());
    let cancellation = flight.begin();
    let moving = root.tree.move_names(&[(ROOT, name("a"))], &nobody()).unwrap();
    flight.cancel();
    let user = root.tree.use_path(a.id, None, false, &cancellation);
    assert_eq!(user.err().unwrap().kind(), ErrorKind::Interrupted);
    let mover = root.tree.move_names(&[(ROOT, name("a"))], &cancellation);
    assert_eq!(mover.err().unwrap().kind(), ErrorKind::Interrupted);
    drop(moving);
    check(&a, "a");
    assert_eq!(root.tree.lock().at(a.id).movers_waiting, 0);
}

#[test]
fn crossed_renames_of_directories_do_not_wait_for_each_other() {
    let root = tree();
    let (a, b) = (root.directory("a"), root.directory("b"));
    let (x, y) = (a.file("x"), b.file("y"));
    thread::scope(|scope| {
        for (from, to, file) in [(&a, &b, "x"), (&b, &a, "y")] {
            scope.spawn(move || {
                for _ in 0..200 {
                    from.rename(file, to, file, RenameHow::Replace).unwrap();
                    to.rename(file, from, file, RenameHow::Replace).unwrap();
                }
            });
        }
        for directory in [&a, &b] {
            let root = &root;
            scope.spawn(move || {
                for _ in 0..200 {
                    let path = directory.path().unwrap();
                    let name = path.to_str().unwrap();
                    let other = format!("other {name}");
                    root.rename(name, root, &other, RenameHow::Replace).unwrap();
                    root.rename(&other, root, name, RenameHow::Replace).unwrap();
                }
            });
        }
    });
    check(&x, "a/x");
    check(&y, "b/y");
}

/// Names and what has them, as a file system would know them.
#[derive(Default)]
struct Model(BTreeMap<PathBuf, (u64, Kind)>);

impl Model {
    fn below(&self, path: &Path) -> Vec<PathBuf> {
        self.0.keys().filter(|other| other.starts_with(path)).cloned().collect()
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        for gone in self.below(to) {
            self.0.remove(&gone);
        }
        for old in self.below(from) {
            let value = self.0.remove(&old).expect("it was listed");
            let rest = old.strip_prefix(from).expect("it is below");
            self.0.insert(if rest.as_os_str().is_empty() { to.into() } else { to.join(rest) }, value);
        }
    }
}

/// A small generator: the same seed, the same history.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn random_histories_leave_every_path_right() {
    for seed in 0..40 {
        history(seed);
    }
}

fn history(seed: u64) {
    let (root, mut random, mut model) = (tree(), Random(seed), Model::default());
    let mut held: Vec<(u64, Arc<Held>)> = Vec::new();
    let mut next_inode = 10;
    let names = ["a", "b", "c"];
    for step in 0..300 {
        // A directory that exists, walked to as the kernel does, and a name in it.
        let directories: Vec<_> = model
            .0
            .iter()
            .filter(|(_, (_, kind))| *kind == Kind::Directory)
            .map(|(path, _)| path.clone())
            .collect();
        let place = |random: &mut Random| {
            let at = random.below(directories.len() + 1);
            let path = directories.get(at).cloned().unwrap_or_default();
            (path, names[random.below(names.len())])
        };
        let walk = |model: &Model, path: &Path| {
            let mut node = root.clone();
            let mut so_far = PathBuf::new();
            for part in path {
                so_far.push(part);
                let (inode, kind) = model.0[&so_far];
                node = node.find(part.to_str().unwrap(), inode, kind);
            }
            node
        };
        let ((parent, at), (new_parent, to)) = (place(&mut random), place(&mut random));
        let (path, new_path) = (parent.join(at), new_parent.join(to));
        match random.below(6) {
            0 | 1 if !model.0.contains_key(&path) => {
                let kind = if random.below(2) == 0 { Kind::File } else { Kind::Directory };
                next_inode += 1;
                model.0.insert(path.clone(), (next_inode, kind));
                held.push((next_inode, walk(&model, &path)));
            }
            2 if model.0.contains_key(&path)
                && !new_path.starts_with(&path)
                && !path.starts_with(&new_path) =>
            {
                let (from, to_node) = (walk(&model, &parent), walk(&model, &new_parent));
                let same = model.0.get(&new_path).is_some_and(|target| target.0 == model.0[&path].0);
                from.rename(at, &to_node, to, RenameHow::Replace).unwrap();
                if !same {
                    model.rename(&path, &new_path);
                }
            }
            3 if model.below(&path).len() == 1 => {
                walk(&model, &parent).remove(at);
                model.0.remove(&path);
            }
            4 if model.0.get(&path).is_some_and(|(_, kind)| *kind == Kind::File)
                && !model.0.contains_key(&new_path) =>
            {
                let (file, directory) = (walk(&model, &path), walk(&model, &new_parent));
                root.tree.linked(file.id, directory.id, name(to));
                model.0.insert(new_path, model.0[&path]);
                held.push((model.0[&path].0, file));
            }
            5 if !held.is_empty() => {
                held.swap_remove(random.below(held.len()));
            }
            _ => {}
        }
        for (inode, node) in &held {
            if let Ok(path) = node.path() {
                let found = model.0.get(&path).map(|(inode, _)| *inode);
                assert_eq!(found, Some(*inode), "seed {seed}, step {step}: {}", path.display());
            }
        }
    }
    held.clear();
    assert_eq!(root.tree.len(), 0, "seed {seed}");
    let tree: Weak<Tree<Held>> = Arc::downgrade(&root.tree);
    drop(root);
    assert!(tree.upgrade().is_none(), "nothing keeps the tree");
}
