//! Archives that other programs have made.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use wharf::Kind;

use super::super::{Options, Owners, Zip};
use super::maker::text;
use super::{CACHE, paths, volume};
use crate::progress::Silent;

fn run(program: &str, arguments: &[&str], dir: &Path) {
    let ended = Command::new(program).args(arguments).current_dir(dir).output();
    let ended = ended.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    assert!(ended.status.success(), "{program}: {}", String::from_utf8_lossy(&ended.stderr));
}

fn opened(path: &Path) -> wharf::testing::Volume<Zip> {
    let options = Options { owners: Owners::Archive { uid: 0, gid: 0 }, cache_bytes_max: CACHE };
    volume(Zip::open(path, options, &Silent).expect("an archive"))
}

#[test]
fn what_zip_packs_is_read_with_links_modes_owners_and_times() {
    let room = tempfile::tempdir().expect("a directory");
    let tree = room.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).expect("made");
    fs::write(tree.join("a/b/größe"), text(200_000)).expect("written");
    fs::write(tree.join("a/large"), text(3 << 20)).expect("written");
    fs::write(tree.join("run"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(tree.join("run"), fs::Permissions::from_mode(0o751)).expect("changed");
    symlink("a/b", tree.join("link")).expect("made");
    run("zip", &["-qry", "../it.zip", "."], &tree);
    run("zip", &["-qry0", "../stored.zip", "."], &tree);
    for archive in ["it.zip", "stored.zip"] {
        let mut volume = opened(&room.path().join(archive));
        assert_eq!(paths(&mut volume, ""), ["a", "a/b", "a/b/größe", "a/large", "link", "run"]);
        for path in paths(&mut volume, "") {
            let (shown, there) = (volume.stat(&path).expect("shown"), tree.join(&path));
            let about = fs::symlink_metadata(&there).expect("there");
            assert_eq!(shown.mode(), about.mode(), "{path}");
            assert_eq!((shown.uid, shown.gid), (about.uid(), about.gid()), "{path}");
            assert_eq!(shown.modified.seconds, about.mtime(), "{path}");
            match shown.kind {
                Kind::File => assert!(volume.read(&path).expect("read") == fs::read(there).expect("read")),
                Kind::Symlink => assert_eq!(volume.readlink(&path).expect("read"), b"a/b"),
                _ => {}
            }
        }
    }
}

#[test]
fn what_python_packs_by_every_method_is_read() {
    let room = tempfile::tempdir().expect("a directory");
    fs::write(room.path().join("text"), text(2 << 20)).expect("written");
    let program = "\
import zipfile
text = open('text', 'rb').read()
with zipfile.ZipFile('it.zip', 'w') as it:
    for method, name in enumerate(['stored', 'deflate', 'bzip2', 'lzma']):
        how = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA][method]
        it.writestr(name + '/small', text[:5000], how)
        # By parts, so that lengths and checksums come behind the bytes.
        with it.open(zipfile.ZipInfo(name + '/large'), 'w', force_zip64=True) as part:
            part._compress_type = how
            part.write(text)
";
    run("python3", &["-c", program], room.path());
    let mut volume = opened(&room.path().join("it.zip"));
    for method in ["stored", "deflate", "bzip2", "lzma"] {
        assert!(volume.read(&format!("{method}/small")).expect(method) == text(5000), "{method}");
        assert!(volume.read(&format!("{method}/large")).expect(method) == text(2 << 20), "{method}");
    }
}

#[test]
fn what_xz_packs_is_read() {
    let room = tempfile::tempdir().expect("a directory");
    let bytes = text(2 << 20);
    fs::write(room.path().join("text"), &bytes).expect("written");
    run("xz", &["-1", "text"], room.path());
    let packed = fs::read(room.path().join("text.xz")).expect("packed");
    let part = super::maker::Part::packed("xz", 95, &bytes, packed);
    let mut volume = volume(super::open(&super::maker::archive(&[part])));
    assert!(volume.read("xz").expect("read") == bytes);
}
