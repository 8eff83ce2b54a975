//! Nothing leads out of the root.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use wharf::Kind;
use wharf::op::OpenFlags;

use super::*;

#[test]
fn a_link_is_found_as_itself_and_never_followed() {
    let m = mirrored();
    symlink("/", m.path("out")).unwrap();
    let (link, attributes) = m.node("out");
    assert_eq!(attributes.kind, Kind::Symlink);
    assert_eq!(m.tree.lookup(&link.0, c"etc").unwrap_err(), Errno::NOTDIR);
    assert_eq!(m.tree.open(&me(), &link.0, OpenFlags::empty(), false).unwrap_err(), Errno::NXIO);
    assert_eq!(m.tree.open_directory(&me(), &link.0).unwrap_err(), Errno::NOTDIR);
}

#[test]
fn creating_through_a_link_that_appeared_meanwhile_makes_nothing_outside() {
    let m = mirrored();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path().join("made"), m.path("a")).unwrap();
    assert_eq!(m.create(&me(), "a", 0o644, OpenFlags::WRITE_ONLY).unwrap_err(), Errno::STALE);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_step_is_one_name() {
    let m = mirrored();
    fs::create_dir(m.path("a")).unwrap();
    let (a, _) = m.node("a");
    // The session refuses such names before they come here; this is the second wall.
    assert_eq!(m.tree.lookup(m.root(), c"..").unwrap_err(), Errno::XDEV);
    assert_eq!(m.tree.lookup(&a.0, c"../..").unwrap_err(), Errno::XDEV);
    assert_eq!(m.tree.lookup(&a.0, c"/etc").unwrap_err(), Errno::XDEV);
}

/// One thread swaps a directory and a link to another place, without pause; others go through the name and
/// make, read and remove things below. What they find must always be ours.
#[test]
fn racing_links_never_lead_outside() {
    let m = mirrored();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "outside").unwrap();
    fs::create_dir(m.path("way")).unwrap();
    fs::write(m.path("way/secret"), "inside").unwrap();
    symlink(outside.path(), m.path("trap")).unwrap();

    let (over, inside, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let (way, trap) = (m.path("way"), m.path("trap"));
                renameat_with(CWD, &way, CWD, &trap, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for walker in 0..2 {
            let (m, inside, refused) = (&m, &inside, &refused);
            scope.spawn(move || {
                for _ in 0..3000 {
                    match walk(m, walker) {
                        Ok(found) => {
                            assert_eq!(found, "inside");
                            inside.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert!(matches!(error, Errno::NOTDIR | Errno::NOENT), "{error}");
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        while inside.load(Ordering::Relaxed) + refused.load(Ordering::Relaxed) < 6000 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(inside.into_inner() > 0, "the directory was never met");
    assert!(refused.into_inner() > 0, "the link was never met");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "something was made outside");
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "outside");
}

fn walk(m: &Mirrored, walker: usize) -> Result<String> {
    let (way, _) = m.find("way")?;
    let (secret, _) = m.tree.lookup(&way.0, c"secret")?;
    let read = contents(&m.tree.open(&me(), &secret.0, OpenFlags::empty(), false)?);
    let mine = c(&format!("made{walker}"));
    m.tree.create(&me(), &way.0, &mine, mode(0o600), (OpenFlags::READ_WRITE, false))?;
    m.tree.remove(&me(), &way.0, &mine, false)?;
    Ok(read)
}
