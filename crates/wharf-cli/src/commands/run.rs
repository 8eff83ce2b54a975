//! `wharf run`: another program, with the library before it that reads past the kernel.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::plan::Run;
use crate::show::{plain, quoted};

/// Its file.
const LIBRARY: &str = "libwharf_preload.so";

/// Names it, wherever it is.
const NAMED_BY: &str = "WHARF_PRELOAD";

/// What the loader of programs reads.
const PRELOAD: &str = "LD_PRELOAD";

/// Becomes the program. Returns only if that fails.
pub(crate) fn run(plan: &Run) -> Result<(), Failure> {
    let library = library(env::var_os(NAMED_BY).as_deref(), env::current_exe().ok().as_deref())?;
    let mut command = Command::new(&plan.program);
    command.args(&plan.arguments);
    command.env(PRELOAD, preloaded(&library, env::var_os(PRELOAD).as_deref())?);
    if plan.eager {
        command.env("WHARF_RUN_EAGER", "1");
    }
    if let Some(report) = &plan.report {
        command.env("WHARF_RUN_REPORT", report);
    }
    let error = command.exec();
    let program = plain(&plan.program);
    Err(match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::NotFound(format!("there is no program {program}; see: wharf run --help"))
        }
        _ => Failure::NotRun(format!("{program} cannot be run ({error}); see: ls -l {program}")),
    })
}

/// Where the library is: where it is said to be, else where it is built or installed with this program.
fn library(named: Option<&OsStr>, program: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        let named = Path::new(named);
        return named.canonicalize().ok().filter(|library| library.is_file()).ok_or_else(|| {
            Failure::Operation(format!(
                "{NAMED_BY} names {}, where there is no file; name {LIBRARY} in it, or unset it",
                quoted(named)
            ))
        });
    }
    let directory = program.and_then(Path::parent).unwrap_or(Path::new("/"));
    let places = [directory.to_owned(), directory.join("../lib/wharf"), directory.join("../lib")];
    let mut found = places.iter().filter_map(|place| place.join(LIBRARY).canonicalize().ok());
    found.find(|library| library.is_file()).ok_or_else(|| {
        Failure::Operation(format!(
            "{LIBRARY} is neither beside this program nor in {}; build it with: cargo build -p wharf-preload, or \
             name it in {NAMED_BY}",
            quoted(&directory.with_file_name("lib/wharf"))
        ))
    })
}

/// The library, before those that the environment asks for already.
fn preloaded(library: &Path, others: Option<&OsStr>) -> Result<OsString, Failure> {
    if library.as_os_str().as_bytes().iter().any(|byte| b" :".contains(byte)) {
        return Err(Failure::Operation(format!(
            "{} has a blank or a colon in its path, which {PRELOAD} cannot name; link it elsewhere and name the \
             link in {NAMED_BY}",
            quoted(library)
        )));
    }
    let mut list = library.as_os_str().to_owned();
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        list.push(":");
        list.push(others);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_library_is_found_beside_the_program_and_where_it_is_installed() {
        let room = tempfile::tempdir().expect("a directory");
        let room = room.path().canonicalize().expect("a path");
        for directory in ["bin", "lib/wharf"] {
            fs::create_dir_all(room.join(directory)).expect("a directory");
        }
        let program = room.join("bin/wharf");
        let find = || library(None, Some(&program));
        assert!(matches!(find(), Err(Failure::Operation(sentence)) if sentence.contains("cargo build")));
        let installed = room.join("lib/wharf").join(LIBRARY);
        fs::write(&installed, "").expect("a file");
        assert_eq!(find(), Ok(installed.clone()));
        let beside = room.join("bin").join(LIBRARY);
        fs::write(&beside, "").expect("a file");
        assert_eq!(find(), Ok(beside));
        assert_eq!(library(Some(installed.as_os_str()), None), Ok(installed));
        let lost = library(Some(OsStr::new("/no/such/file")), Some(&program));
        assert!(matches!(lost, Err(Failure::Operation(sentence)) if sentence.contains("/no/such/file")));
    }

    #[test]
    fn others_are_preloaded_too() {
        let list =
            |library: &str, others: Option<&str>| preloaded(Path::new(library), others.map(OsStr::new));
        assert_eq!(list("/a", None), Ok("/a".into()));
        assert_eq!(list("/a", Some("")), Ok("/a".into()));
        assert_eq!(list("/a", Some("/b c")), Ok("/a:/b c".into()));
        assert!(list("/a b", None).is_err() && list("/a:b", None).is_err());
    }
}
