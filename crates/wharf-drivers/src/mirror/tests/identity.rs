//! Which names lead to which node, and what becomes of nodes without descriptors.

use std::fs;
use std::sync::Arc;

use rustix::io::Errno;
use wharf::op::{OpenFlags, RenameHow};

use super::*;

#[test]
fn hard_links_are_one_node_with_the_backing_inode_number() {
    let m = mirrored();
    m.write("a", "");
    fs::hard_link(m.path("a"), m.path("b")).unwrap();
    let (a, b) = (m.node("a"), m.node("b"));
    assert!(Arc::ptr_eq(&a.0.0, &b.0.0));
    use std::os::unix::fs::MetadataExt;
    assert_eq!(a.1.inode, fs::metadata(m.path("a")).unwrap().ino());
    assert_eq!(b.1.links, 2);
}

#[test]
fn a_number_is_not_used_again_while_its_node_is_known() {
    let m = mirrored();
    m.write("old", "");
    let old = m.node("old").0;
    fs::remove_file(m.path("old")).unwrap();
    for turn in 0..100 {
        let name = format!("new{turn}");
        m.write(&name, "");
        assert_ne!(m.node(&name).1.inode, old.0.number);
    }
    assert_eq!(m.attributes(&old).links, 0, "it is still what it was");
}

#[test]
fn a_node_is_the_same_under_its_new_name() {
    let m = mirrored();
    m.write("a", "x");
    let node = m.node("a").0;
    m.tree.rename(&me(), (m.root(), c"a"), (m.root(), c"b"), RenameHow::Replace).unwrap();
    assert!(Arc::ptr_eq(&node.0, &m.node("b").0.0));
    assert_eq!(m.find("a").unwrap_err(), Errno::NOENT);
}

#[test]
fn nodes_beyond_the_limit_are_found_again_without_their_descriptors() {
    needs_root("to open files by their handles");
    let m = mirrored_with(Options { descriptors_max: 32, ..Options::default() });
    let directory = m.make_directory("directory");
    fs::write(m.path("directory/below"), "").unwrap();
    let nodes: Vec<_> = (0..500)
        .map(|index| {
            m.write(&format!("file{index}"), "");
            m.node(&format!("file{index}")).0
        })
        .collect();
    assert!(m.tree.table.descriptors() <= 64, "{} descriptors", m.tree.table.descriptors());
    fs::rename(m.path("directory"), m.path("moved")).unwrap();
    fs::rename(m.path("file7"), m.path("elsewhere")).unwrap();
    assert_eq!(m.tree.link(&me(), &nodes[9].0, m.root(), c"linked").unwrap().1.links, 2);
    assert!(m.tree.open(&me(), &nodes[11].0, OpenFlags::READ_WRITE, false).is_ok());
    assert!(m.tree.open_directory(&me(), &directory.0).is_ok());
    for (index, node) in nodes.iter().enumerate() {
        assert_eq!(m.attributes(node).inode, node.0.number, "file{index}");
    }
    assert!(Arc::ptr_eq(&m.node("elsewhere").0.0, &nodes[7].0));
    assert!(m.tree.lookup(&directory.0, c"below").is_ok());
    drop((nodes, directory));
    assert_eq!(m.tree.table.descriptors(), 1, "the root's");
}

#[test]
fn a_removed_file_that_gave_its_descriptor_up_is_stale_and_never_another() {
    needs_root("to open files by their handles");
    let m = mirrored();
    m.write("old", "");
    let old = m.node("old").0;
    old.0.was_used();
    assert!(old.0.give_up_descriptor());
    fs::remove_file(m.path("old")).unwrap();
    // Until the number comes again; ext4 takes the lowest free one, tmpfs never repeats one.
    let number = old.0.key.inode;
    for turn in 0..1000 {
        let name = format!("new{turn}");
        m.write(&name, "");
        let new = m.node(&name);
        if new.0.0.key.inode == number {
            assert_ne!(new.1.inode, old.0.number, "the kernel still knows the old one by this number");
            assert!(Arc::ptr_eq(&new.0.0, &m.node(&name).0.0));
            break;
        }
    }
    assert_eq!(m.tree.stat(&old.0).map(drop).unwrap_err(), Errno::STALE);
}

#[test]
fn an_open_file_keeps_its_descriptor() {
    needs_root("to open files by their handles");
    let m = mirrored();
    m.write("a", "");
    let file = m.open(&me(), "a", OpenFlags::empty()).unwrap();
    let node = file.count.inode().clone();
    node.was_used();
    assert!(!node.give_up_descriptor());
    fs::remove_file(m.path("a")).unwrap();
    assert_eq!(m.tree.stat(&node).unwrap().attributes(&node).links, 0);
}

#[test]
fn what_the_kernel_forgot_leaves_nothing_behind() {
    let m = mirrored();
    let before = m.tree.table.descriptors();
    m.write("a", "");
    let node = m.node("a").0;
    assert_eq!(m.tree.table.descriptors(), before + 1);
    m.node("a");
    assert_eq!(m.tree.table.descriptors(), before + 1, "known already");
    drop(node);
    assert_eq!(m.tree.table.descriptors(), before);
}

#[test]
fn what_the_system_knows_by_heart_is_found_without_waiting() {
    let m = mirrored();
    m.write("a", "");
    let node = m.node("a").0;
    let found = m.tree.lookup_at_hand(m.root(), c"a").expect("it was looked up just now").unwrap();
    assert!(Arc::ptr_eq(&found.0.0, &node.0));
    assert!(m.tree.stat_at_hand(&node.0).is_some());
}

#[test]
fn what_is_mounted_below_has_numbers_of_its_own() {
    needs_root("to mount a tmpfs");
    let m = mirrored();
    fs::create_dir(m.path("below")).unwrap();
    let before = m.node("below").1.inode;
    let mounted = Mounted::tmpfs(m.path("below"));
    fs::write(m.path("below/file"), "").unwrap();
    assert!(m.tree.lookup_at_hand(m.root(), c"below").is_none(), "another mount is not looked into at once");
    let (below, attributes) = m.node("below");
    assert_ne!(attributes.inode, before);
    let (file, attributes) = m.tree.lookup(&below.0, c"file").unwrap();
    assert!(attributes.inode >> 48 != 0);
    assert_eq!(
        m.tree.link(&me(), &file.0, m.root(), c"link").unwrap_err(),
        Errno::XDEV,
        "links do not lead from one to the other"
    );
    drop((file, below));
    drop(mounted);
}

/// Something mounted, until dropped: it must be free then.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: PathBuf) -> Mounted {
        let status = std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&at).status();
        assert!(status.unwrap().success());
        Mounted(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount").arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}
