//! The example of the README: that it is the same there, short, and works.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;

const LINES_MAX: usize = 39;

#[test]
fn the_readme_shows_the_hello_that_compiles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let readme = fs::read_to_string(root.join("README.md")).expect("a README");
    let hello = fs::read_to_string(root.join("examples/hello.rs")).expect("the example");
    assert!(
        readme.contains(&format!("```rust\n{hello}```\n")),
        "README.md does not show examples/hello.rs as it is"
    );
    assert!(hello.lines().count() <= LINES_MAX, "hello.rs has become long");
}

/// A running hello, and where it is mounted. Nothing of both is left when it is dropped.
struct Served<'a>(Child, &'a Path);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.1, UnmountFlags::DETACH);
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn hello_says_hello_and_ends_when_it_is_unmounted() {
    let room = tempfile::tempdir().expect("a directory");
    let hello = Command::new(env!("CARGO_BIN_EXE_hello")).arg(room.path()).spawn().expect("it starts");
    let mut hello = Served(hello, room.path());
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut ended = None;
    while !fs::exists(room.path().join("hello")).is_ok_and(|there| there) {
        ended = hello.0.try_wait().expect("it can be waited for");
        assert!(ended.is_none() && Instant::now() < deadline, "it does not mount: {ended:?}");
        thread::sleep(Duration::from_millis(5));
    }
    let names =
        fs::read_dir(room.path()).expect("a listing").map(|entry| entry.map(|entry| entry.file_name()));
    let names = names.collect::<Result<Vec<_>, _>>().expect("names");
    let text = fs::read_to_string(room.path().join("hello"));
    let absent = fs::exists(room.path().join("other"));
    rustix::mount::unmount(room.path(), UnmountFlags::empty()).expect("nobody uses it");
    while ended.is_none() {
        assert!(Instant::now() < deadline, "it does not end");
        thread::sleep(Duration::from_millis(5));
        ended = hello.0.try_wait().expect("it can be waited for");
    }
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    assert_eq!(names, ["hello"]);
    assert_eq!(text.expect("readable"), "Hello, world!\n");
    assert!(!absent.expect("known"));
}
