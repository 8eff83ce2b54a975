//! What the code map promises, checked in the sources: who may know whom, where unsafe code is, how long
//! files are, that every promise has its test.
//!
//! This is no compiler. It looks for names in text without comments and strings, which is enough for code
//! that is formatted and does not try to deceive.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates of ours, and those of ours that each may know.
const CRATES: [(&str, &[&str]); 8] = [
    ("wharf-mem", &[]),
    ("wharf", &["wharf-mem"]),
    ("wharf-queue", &["wharf"]),
    ("wharf-fuse", &["wharf", "wharf-mem", "wharf-queue"]),
    ("wharf-direct", &["wharf", "wharf-mem", "wharf-queue"]),
    ("wharf-drivers", &["wharf"]),
    ("wharf-preload", &["wharf-direct"]),
    // Its tests run programs with the library; the command itself only names its file.
    ("wharf-cli", &["wharf", "wharf-direct", "wharf-drivers", "wharf-fuse", "wharf-preload"]),
];

/// Modules that must not know others of their crate.
const MODULES: [(&str, &str, &[&str]); 17] = [
    ("wharf", "session", &["blocking", "path", "testing"]),
    ("wharf", "blocking", &["path", "testing"]),
    ("wharf", "path", &["testing"]),
    ("wharf", "op", &["session", "context", "fs"]),
    ("wharf-fuse", "mount", &["wire", "dev", "uring", "serve", "volume", "builder"]),
    ("wharf-fuse", "device", &["wire", "mount", "dev", "uring", "serve", "volume", "builder"]),
    ("wharf-fuse", "dev", &["uring", "mount", "serve", "volume", "builder"]),
    ("wharf-fuse", "uring", &["dev", "mount", "serve", "volume", "builder"]),
    ("wharf-drivers", "fat", &["memory", "mirror", "processors", "remote", "zip"]),
    ("wharf-drivers", "memory", &["fat", "mirror", "remote", "zip"]),
    ("wharf-drivers", "mirror", &["fat", "memory", "remote", "zip"]),
    ("wharf-drivers", "remote", &["fat", "memory", "mirror", "processors", "zip"]),
    ("wharf-drivers", "zip", &["fat", "memory", "mirror", "remote"]),
    ("wharf-drivers", "info", &["fat", "memory", "mirror", "remote", "zip"]),
    ("wharf-drivers", "progress", &["fat", "memory", "mirror", "remote", "zip"]),
    ("wharf-drivers", "processors", &["fat", "memory", "mirror", "remote", "zip"]),
    ("wharf-drivers", "desk", &["fat", "memory", "mirror", "remote", "zip"]),
];

/// Modules that know no other of their crate.
const ALONE: [(&str, &str); 1] = [("wharf-fuse", "wire")];

/// How each crate is held to safe code, and its files that are not.
const UNSAFE: [(&str, &str, &[&str]); 8] = [
    (
        "wharf-mem",
        "",
        &[
            "copy.rs",
            "home.rs",
            "mapping.rs",
            "opaque.rs",
            "payload.rs",
            "section/pinned.rs",
            // Only under Miri.
            "system/in_miri.rs",
            "window.rs",
            "words.rs",
        ],
    ),
    ("wharf", "#![forbid(unsafe_code)]", &[]),
    ("wharf-queue", "#![deny(unsafe_code)]", &["io_ring.rs"]),
    ("wharf-fuse", "#![deny(unsafe_code)]", &["device.rs", "uring/entry.rs", "uring/mod.rs"]),
    ("wharf-direct", "#![deny(unsafe_code)]", &["client/ticket.rs"]),
    ("wharf-drivers", "#![deny(unsafe_code)]", &["mirror/syscalls.rs"]),
    (
        "wharf-preload",
        "#![deny(unsafe_code)]",
        &[
            "calls/descriptors.rs",
            "calls/privileges.rs",
            "calls/reads.rs",
            "calls/real.rs",
            "guard.rs",
            "heap.rs",
            "kernel.rs",
            "report.rs",
            "settings.rs",
            "source.rs",
            "start.rs",
            "unwinding.rs",
        ],
    ),
    ("wharf-cli", "#![forbid(unsafe_code)]", &[]),
];

/// A file is read in one sitting. Longer ones say why here.
const LINES_MAX: usize = 600;
const LINES_GOOD: usize = 400;
const LONG: [(&str, &str); 0] = [];

#[test]
fn crates_know_only_those_below_them() {
    for (name, may_know) in CRATES {
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        let known = dependencies(&manifest).filter(|other| CRATES.iter().any(|(ours, _)| ours == other));
        for other in known {
            assert!(may_know.contains(&other), "{name} must not depend on {other}");
        }
    }
    let there: BTreeSet<String> = names_in("crates");
    let listed = CRATES.map(|(name, _)| name.to_owned()).into();
    assert_eq!(there, listed, "every crate has its line in CRATES, and its place in ARCHITECTURE.md");
}

#[test]
fn modules_know_only_what_the_code_map_says() {
    let mut wrong = Vec::new();
    for (name, module, others) in MODULES {
        each_use(name, module, |file, other| {
            if others.contains(&other) {
                wrong.push(format!("{file} names crate::{other}"));
            }
        });
    }
    for (name, module) in ALONE {
        each_use(name, module, |file, other| {
            if other != module {
                wrong.push(format!("{file} names crate::{other}"));
            }
        });
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_wire_knows_the_model_and_the_replies_of_a_session_and_nothing_that_runs() {
    for source in sources("crates/wharf-fuse/src/wire") {
        for word in ["io_uring", "rustix::io", "std::fs", "std::net", "std::thread", "std::time::Instant"] {
            assert!(!source.code().contains(word), "{} names {word}, but is pure", source.path);
        }
    }
}

#[test]
fn the_model_does_no_io_and_its_session_reads_no_clock() {
    // The volume for authors' tests plays a kernel.
    let sources = sources("crates/wharf/src").filter(|source| !source.path.contains("/testing/"));
    for source in sources {
        let code = source.code();
        let words: &[&str] = if source.path.contains("/session/") {
            &["std::fs", "std::net", "std::process", "rustix", "Instant::now", "SystemTime::now", "thread::"]
        } else {
            &["std::fs", "std::net", "std::process", "rustix"]
        };
        for word in words {
            assert!(!code.contains(word), "{} names {word}", source.path);
        }
    }
}

#[test]
fn unsafe_code_is_where_the_code_map_says_and_nowhere_else() {
    for (name, attribute, files) in UNSAFE {
        let root = format!("crates/{name}/src");
        let entry = ["lib.rs", "main.rs"].map(|file| format!("{root}/{file}"));
        let entry = entry.iter().find(|file| repository().join(file).exists()).expect("a crate");
        assert!(read(entry).contains(attribute), "{entry} lacks {attribute}");
        let found: BTreeSet<String> = sources(&root)
            .filter(|source| words(&source.code()).any(|word| word == "unsafe"))
            .map(|source| source.path[root.len() + 1..].to_owned())
            .collect();
        assert_eq!(found, files.iter().map(|file| (*file).to_owned()).collect(), "{name}");
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    let mut wrong = Vec::new();
    for source in sources("crates").chain(sources("tests")).chain(sources("examples")) {
        let lines = source.without_tests().lines().count();
        let reason = LONG.iter().find(|(path, _)| *path == source.path);
        if lines > LINES_MAX && reason.is_none() {
            wrong.push(format!("{} has {lines} lines", source.path));
        } else if lines > LINES_GOOD {
            println!("{} has {lines} lines; {LINES_GOOD} are better", source.path);
        }
    }
    assert!(wrong.is_empty(), "no more than {LINES_MAX} lines without the tests: {wrong:#?}");
}

#[test]
fn every_promise_names_its_test() {
    let text = read("docs/SEMANTICS.md");
    let sources: Vec<Source> = ["crates", "tests", "examples"].into_iter().flat_map(sources).collect();
    let exists = |name: &str| {
        let name = name.rsplit("::").next().unwrap_or(name);
        let definition = format!("fn {name}(");
        sources.iter().any(|source| source.text.contains(&definition))
    };
    let mut wrong = Vec::new();
    for promise in items(&text) {
        let Some((_, tests)) = promise.split_once("— test: ") else {
            wrong.push(format!("no test: {promise}"));
            continue;
        };
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        wrong.extend(names.iter().filter(|name| !exists(name)).map(|name| format!("no such test: {name}")));
        if names.is_empty() {
            wrong.push(format!("no test: {promise}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_names_a_place_on_a_developers_machine() {
    let mut wrong = Vec::new();
    let words = [concat!("/wo", "rk/"), concat!("far", "m-")];
    for file in walk(repository()) {
        // What is not text has no words.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for word in words.iter().filter(|word| text.contains(*word)) {
            wrong.push(format!("{} says {word}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A Rust file, by its path in the repository.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Everything but comments, what is between quotes, and tests.
    fn code(&self) -> String {
        plain(self.without_tests())
    }

    /// Everything before the tests at the end.
    fn without_tests(&self) -> &str {
        let of_tests = self.path.split('/').any(|part| part.trim_end_matches(".rs").ends_with("tests"));
        if of_tests {
            return "";
        }
        let begin = ["#[cfg(test)]\nmod ", "#[cfg(all(test,"].map(|mark| self.text.find(mark));
        &self.text[..begin.into_iter().flatten().min().unwrap_or(self.text.len())]
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn names_in(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(repository().join(directory)).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("plain letters")).collect()
}

/// All files that belong to the repository.
fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        if [".git", "target", "out", "corpus", "artifacts"].iter().any(|made| name == *made) {
            continue;
        }
        if entry.file_type().expect("a type").is_dir() {
            files.extend(walk(&entry.path()));
        } else if entry.file_type().expect("a type").is_file() {
            files.push(entry.path());
        }
    }
    files
}

fn sources(directory: &str) -> impl Iterator<Item = Source> {
    let mut files = walk(&repository().join(directory));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    assert!(!files.is_empty(), "no sources in {directory}");
    files.into_iter().map(|file| {
        let path =
            file.strip_prefix(repository()).expect("below").to_str().expect("plain letters").to_owned();
        Source { text: read(&path), path }
    })
}

/// Calls `look` with each file of a module and each module of the same crate that it names.
fn each_use(name: &str, module: &str, mut look: impl FnMut(&str, &str)) {
    let base = format!("crates/{name}/src/{module}");
    let (file, directory) = (format!("{base}.rs"), format!("{base}/"));
    let mut there = false;
    for source in sources(&format!("crates/{name}/src")) {
        if source.path == file || source.path.starts_with(&directory) {
            there = true;
            for other in named_by(&source) {
                look(&source.path, &other);
            }
        }
    }
    assert!(there, "{name} has no module {module}");
}

/// The modules right below the crate's root that a file names, by `crate::` or by `super::`.
fn named_by(source: &Source) -> BTreeSet<String> {
    let code = source.code();
    let mut found = heads(&code, "crate::");
    let below = source.path.split_once("/src/").expect("a source of a crate").1;
    let depth = below.trim_end_matches("/mod.rs").split('/').count();
    // As many steps up as lead to the root.
    found.extend(heads(&code, &"super::".repeat(depth)));
    found
}

/// The first names behind `prefix`, also where several follow in braces.
fn heads(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => found.extend(words(rest).next().map(str::to_owned)),
            Some(list) => found.extend(first_level(list)),
        }
    }
    found
}

/// The first name of each entry of a list in braces that has just been opened.
fn first_level(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut entries = vec![String::new()];
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => entries.push(String::new()),
            _ => {}
        }
        entries.last_mut().expect("never empty").push(letter);
    }
    entries.iter().filter_map(|entry| words(entry).next().map(str::to_owned)).collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// Rust without comments and without what is between quotes.
fn plain(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if letter == '"' {
            quoted(rest)
        } else if letter == '\'' {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(letter);
        }
        rest = &rest[skipped.max(letter.len_utf8())..];
    }
    code
}

/// The length of the string that begins here. Of a raw one, whose quotes escape nothing, its end may be
/// missed by what follows a backslash; none of ours has that.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, letter)| {
        let ends = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The length of the character that begins here; 1 for the mark of a lifetime.
fn character(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = at + escaped.len_utf8();
            text[from..].find('\'').map_or(1, |end| from + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// The crates that a manifest names, in all its lists of dependencies.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            inside = line.trim_end_matches(']').ends_with("dependencies");
            return None;
        }
        inside.then(|| line.split(['.', '=', ' ']).next()).flatten().filter(|name| !name.is_empty())
    })
}

/// The items of a list in Markdown, each in one line.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(item) = line.strip_prefix("- ") {
            items.push(item.to_owned());
            inside = true;
        } else if inside && line.starts_with("  ") {
            let item = items.last_mut().expect("inside one");
            item.push(' ');
            item.push_str(line.trim());
        } else {
            inside = false;
        }
    }
    items
}

#[test]
fn the_reader_of_sources_is_not_deceived() {
    let code = plain("a /* is kept */ // unsafe \"\nb \"unsafe \\\" // c\" '\"' 'x 'static '\\'' d \"\" e");
    assert_eq!(code, "a /* is kept */ \nb   x static  d  e");
    let names = |code: &str| heads(code, "crate::").into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(names("use crate::wire::{self, body}; crate::dev::run(); crate::Error"), "Error dev wire");
    assert_eq!(names("use crate::{a::{b, c}, d, e::f};"), "a d e");
    assert_eq!(names("$crate::x my_crate::y"), "x");
    let manifest = "[package]\nname = \"a\"\n[dependencies]\nb.workspace = true\nc = { path = \"d\" }\n\n[lints]\nd = 1\n\
                    [target.'cfg(loom)'.dev-dependencies]\ne = \"1\"\n";
    assert_eq!(dependencies(manifest).collect::<Vec<_>>(), ["b", "c", "e"]);
    assert_eq!(items("# A\n- b\n  c\n\n  d\ne\n- f\n"), ["b c", "f"]);
}
