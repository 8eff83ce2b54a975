//! Real programs that read files.

use std::fs;
use std::path::Path;

use wharf_fuse::Transport;
use wharf_tests::cases;

use crate::fixture::{Driver, TRANSPORTS};
use crate::served::{Served, settle};
use crate::{Report, command, library, same};

/// A tree of text and one long file, and a database.
fn plant(at: &Path) {
    let mut seed = 1_u64;
    let mut line = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:016x} {} wharf\n", seed, if seed.is_multiple_of(97) { "needle" } else { "straw" })
    };
    for directory in 0..4 {
        let directory = at.join(format!("tree/{directory}"));
        fs::create_dir_all(&directory).expect("a directory");
        // Longer than what programs read before the library is sure, by their largest buffers.
        let text: String = (0..16_000).map(|_| line()).collect();
        fs::write(directory.join("file.txt"), text).expect("a file");
    }
    let text: String = (0..60_000).map(|_| line()).collect();
    fs::write(at.join("long.txt"), text).expect("a file");
    let rows = "create table t (n integer primary key, s text); with recursive c (n) as (select 1 union all \
                select n + 1 from c where n < 20000) insert into t select n, hex(n * 7919) from c;";
    let made = command("sqlite3", &["made.db", rows], at).status().expect("sqlite3 is installed");
    assert!(made.success());
}

/// Whether a program reads its files itself, so that the library can do something for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// By calls of the C library.
    Itself,
    /// By stdio or mappings, which stay the kernel's.
    Otherwise,
}

const PROGRAMS: [(&str, Reads, &[&str]); 16] = [
    ("cat", Reads::Itself, &["long.txt"]),
    ("grep", Reads::Itself, &["-c", "needle", "long.txt"]),
    ("grep", Reads::Itself, &["-rc", "needle", "tree", "--include=*.txt"]),
    ("rg", Reads::Itself, &["-c", "--no-mmap", "--sort", "path", "needle"]),
    ("rg", Reads::Otherwise, &["-c", "needle", "long.txt"]),
    ("md5sum", Reads::Otherwise, &["long.txt", "made.db"]),
    ("dd", Reads::Itself, &["if=long.txt", "bs=10000", "skip=3", "count=50", "status=none"]),
    ("head", Reads::Itself, &["-c", "200000", "long.txt"]),
    ("tail", Reads::Itself, &["-c", "200000", "long.txt"]),
    ("wc", Reads::Itself, &["long.txt"]),
    ("cmp", Reads::Itself, &["long.txt", "long.txt.copy"]),
    ("tar", Reads::Itself, &["cf", "-", "tree"]),
    (
        "sqlite3",
        Reads::Itself,
        &["-readonly", "made.db", "select count(*), sum(n), max(s) from t where s like '%A%'"],
    ),
    ("python3", Reads::Itself, &["-c", PYTHON]),
    // There is no room for descriptors out of its way.
    ("sh", Reads::Otherwise, &["-c", "ulimit -n 200; cat long.txt; ulimit -n"]),
    (
        "sh",
        Reads::Itself,
        &["-c", "{ head -c 50000 >/dev/null; cat; } <long.txt; cp long.txt copied; cat copied; rm copied"],
    ),
];

const PYTHON: &str = "
import hashlib, subprocess, multiprocessing
def digest(name):
    file = open(name, 'rb', buffering=0)
    return hashlib.sha256(b''.join(iter(lambda: file.read(10000), b''))).hexdigest()
print(digest('long.txt'))
multiprocessing.set_start_method('fork')
with multiprocessing.Pool(2) as pool: print(pool.map(digest, ['long.txt', 'made.db', 'long.txt']))
file = open('long.txt', 'rb')
print(file.read(100), file.seek(500000), file.read(70000)[-10:], file.tell())
print(subprocess.run(['cat'], stdin=open('made.db', 'rb'), capture_output=True).stdout[-20:])
print(sum(1 for line in open('long.txt') if 'needle' in line))
";

fn programs_print_the_same(transport: Transport) {
    let served = Served::new(Driver::Memory, transport);
    plant(served.path());
    fs::copy(served.path().join("long.txt"), served.path().join("long.txt.copy")).expect("a copy");
    for file in ["long.txt", "long.txt.copy", "made.db", "tree/0/file.txt", "tree/3/file.txt"] {
        settle(&served.path().join(file));
    }
    for (program, reads, arguments) in PROGRAMS {
        let report = same(|| command(program, arguments, served.path()));
        if reads == Reads::Itself {
            assert!(report.reads > 0, "{program} {arguments:?}: {report:?}");
        }
    }
    served.end();
}

#[test]
fn programs_print_the_same_over_dev() {
    programs_print_the_same(Transport::Dev);
}

#[test]
fn programs_print_the_same_over_uring() {
    programs_print_the_same(Transport::Uring);
}

#[test]
fn git_is_content() {
    let served = Served::new(Driver::Memory, Transport::Dev);
    plant(served.path());
    let script = "git init -q . && git add . && git -c user.name=a -c user.email=a@b commit -qm one && git gc -q && \
                  git fsck --full && git status --short && git log --stat | tail -3 && rm -rf .git";
    same(|| command("sh", &["-c", script], served.path()));
    served.end();
}

#[test]
fn cases_hold_under_the_library() {
    for transport in TRANSPORTS {
        let served = Served::new(Driver::Memory, transport);
        let room = tempfile::tempdir().expect("a directory");
        let report = room.path().join("report");
        let environment = [
            ("LD_PRELOAD", library().into_os_string()),
            ("WHARF_RUN_EAGER", "1".into()),
            ("WHARF_RUN_REPORT", report.clone().into_os_string()),
        ];
        cases::run_under(served.path(), Driver::Memory.offers(), &environment).expect_clean();
        let report = Report::read(&report);
        assert!(report.reads > 0, "{report:?}");
        served.end();
    }
}
