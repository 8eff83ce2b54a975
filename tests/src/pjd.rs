//! Somebody else's suite: runs pjdfstest on a directory, and compares two of its runs.
//!
//! The program comes from crates.io and is built once, below the target directory. Its cases for read-only file
//! systems are left out: they remount what the directory lies on, which may be the root.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fmt,
    fs::File,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    own,
    supervise::{self, End},
};

/// The version whose output [`Results::parse`] understands.
const VERSION: &str = "0.2.2";

/// Building takes two minutes where it takes long; running, a few seconds.
const BUILD: Duration = Duration::from_secs(1200);
const RUN: Duration = Duration::from_secs(300);
const STEP: Duration = Duration::from_secs(30);

/// Tests that cannot be tried on every file system where what they test may well hold, with the reason.
///
/// The C library knows the greatest number of links by the type of a file system, and of FUSE it knows nothing.
const NOT_FOR_ALL: &[&str] = &["link::link_count_max"];

/// Who runs the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Root. Cases about users take their ids for a while.
    Root,
    /// The user nobody, all the time. Cases that need root are skipped.
    Nobody,
}

/// What became of each test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Tests that passed.
    pub passed: BTreeSet<String>,
    /// Tests that failed, with what they said.
    pub failed: BTreeMap<String, String>,
    /// Tests that were not run, with the reason.
    pub skipped: BTreeMap<String, String>,
}

impl Results {
    /// Reads what the suite wrote; an error if that is not all of it.
    fn parse(output: &str) -> Result<Self, String> {
        let mut results = Results::default();
        let mut last = None;
        for line in output.lines() {
            if let Some(reason) = line.strip_prefix('\t') {
                let name: &String = last.as_ref().ok_or("a reason without a test")?;
                let said = results.failed.get_mut(name).or(results.skipped.get_mut(name));
                if let Some(said) = said {
                    said.push_str(if said.is_empty() { "" } else { "; " });
                    said.push_str(reason.trim());
                }
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(name), Some(word), None) = (words.next(), words.next(), words.next()) else { continue };
            match word {
                "ok" => drop(results.passed.insert(name.to_owned())),
                "FAILED" => drop(results.failed.insert(name.to_owned(), String::new())),
                "skipped" => drop(results.skipped.insert(name.to_owned(), String::new())),
                _ => continue,
            }
            last = Some(name.to_owned());
        }
        let summary =
            output.lines().find(|line| line.starts_with("Summary: ")).ok_or("there is no summary")?;
        let total = summary.split_whitespace().rev().nth(1).and_then(|total| total.parse::<usize>().ok());
        let read = results.passed.len() + results.failed.len() + results.skipped.len();
        match total {
            Some(total) if total == read && read > 0 => Ok(results),
            _ => Err(format!("{read} tests were read, but the suite says: {summary}")),
        }
    }

    /// Tests that passed in the control and not here: failed, or not even tried though they could have been.
    pub fn worse_than(&self, control: &Results) -> BTreeMap<String, String> {
        let untried = self.skipped.iter().filter(|(name, _)| !NOT_FOR_ALL.contains(&name.as_str()));
        let all = self.failed.iter().chain(untried).filter(|(name, _)| control.passed.contains(*name));
        all.map(|(name, reason)| (name.clone(), reason.clone())).collect()
    }

    /// Panics with a table if a test that passed in the control did not pass here.
    #[track_caller]
    pub fn expect_no_worse_than(&self, control: &Results) {
        let worse = self.worse_than(control);
        assert!(worse.is_empty(), "{} tests that pass in the control:\n{}", worse.len(), Table(&worse));
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Results { passed, failed, skipped } = self;
        writeln!(f, "{} passed, {} failed, {} skipped", passed.len(), failed.len(), skipped.len())?;
        write!(f, "{}", Table(failed))
    }
}

/// Tests and what they said.
#[derive(Debug)]
pub struct Table<'a>(pub &'a BTreeMap<String, String>);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.keys().map(String::len).max().unwrap_or(0);
        self.0.iter().try_for_each(|(name, reason)| writeln!(f, "  {name:width$}  {reason}"))
    }
}

/// Runs the suite in a fresh directory below `dir`.
pub fn run(dir: &Path, who: Who) -> io::Result<Results> {
    let program = installed()?;
    let users = two_users(&std::fs::read_to_string("/etc/passwd")?, &std::fs::read_to_string("/etc/group")?)?;
    let mut configuration = tempfile::NamedTempFile::new()?;
    configuration.write_all(configuration_for(&users).as_bytes())?;
    // Also whom the suite is run as must be able to read it.
    configuration.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;

    let work = dir.join(directory_name(dir));
    let owner = if who == Who::Nobody { &*users[0].name } else { "root" };
    finish(Command::new("install").args(["-d", "-m", "755", "-o", owner]).arg(&work), STEP)?;
    let mut suite = Command::new(program);
    suite.current_dir("/").env("NO_COLOR", "1").env("RUST_BACKTRACE", "0");
    suite.arg("-c").arg(configuration.path()).arg("-p").arg(&work).arg("-s").arg(another_file_system(dir));
    if who == Who::Nobody {
        // Without root's groups, too: the standard library drops them with the user.
        suite.uid(users[0].uid).gid(users[0].gid);
    }
    let ended = supervise::run(&mut suite, RUN)?;
    let results = match ended.end {
        End::Exited(0 | 1) => Results::parse(&ended.output).map_err(io::Error::other),
        End::Exited(code) => Err(io::Error::other(format!("pjdfstest ended with {code}: {}", ended.output))),
        end => {
            let last = ended.output.lines().rev().find(|line| line.contains("::")).unwrap_or("its start");
            Err(io::Error::other(format!("pjdfstest: {end:?}, some time after: {last}")))
        }
    };
    finish(Command::new("rm").arg("-rf").arg(&work), STEP)?;
    results
}

/// Runs a command that has nothing to say.
fn finish(command: &mut Command, deadline: Duration) -> io::Result<()> {
    let ended = supervise::run(command, deadline)?;
    match ended.end {
        End::Exited(0) => Ok(()),
        end => {
            let said = ended.output.trim();
            let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
            let program = command.get_program().to_string_lossy();
            Err(io::Error::other(format!("{program} {}: {end:?}: {said}", words.join(" "))))
        }
    }
}

/// The program, built now if it never was.
pub fn installed() -> io::Result<PathBuf> {
    let tools = own::target_directory()?.join("tools");
    std::fs::create_dir_all(&tools)?;
    // Tests run side by side; one of them builds.
    let lock = File::create(tools.join("pjdfstest.lock"))?;
    lock.lock()?;
    let program = tools.join("bin/pjdfstest");
    let version = Command::new(&program).arg("--version").output();
    let wanted = format!("pjdfstest {VERSION}\n");
    if !version.is_ok_and(|version| version.stdout == wanted.as_bytes()) {
        let mut cargo = own::cargo();
        cargo.args(["install", "pjdfstest", "--version", VERSION, "--locked", "--root"]).arg(&tools);
        finish(&mut cargo, BUILD).map_err(|error| {
            io::Error::other(format!("{error}\n(pjdfstest needs crates.io, and: apt install libacl1-dev)"))
        })?;
    }
    Ok(program)
}

/// Somebody with an account, whom the suite may act as.
#[derive(Debug)]
struct Account {
    name: String,
    group: String,
    uid: u32,
    gid: u32,
}

/// Two accounts that every Debian has, each with its primary group.
fn two_users(passwd: &str, group: &str) -> io::Result<[Account; 2]> {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let group_of = |gid: &str| {
        let mut groups = group.lines().map(fields);
        groups
            .find(|fields| fields.get(2).is_some_and(|id| id == gid))
            .and_then(|fields| fields.into_iter().next())
    };
    let account = |name: &str| {
        let fields =
            passwd.lines().map(fields).find(|fields| fields.first().is_some_and(|first| first == name))?;
        let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?);
        Some(Account { name: name.to_owned(), group: group_of(gid)?, uid, gid: gid.parse().ok()? })
    };
    let mut accounts = ["nobody", "daemon", "tests", "games"].into_iter().filter_map(account);
    match (accounts.next(), accounts.next()) {
        (Some(one), Some(two)) => Ok([one, two]),
        _ => Err(io::Error::other(
            "pjdfstest needs two accounts with groups, as nobody and daemon are on Debian",
        )),
    }
}

fn configuration_for(users: &[Account; 2]) -> String {
    let [one, two] = users;
    // Its nap must be longer than a tick of the clock for times of files.
    format!(
        "[features]
posix_fallocate = {{}}
rename_ctime = {{}}
stat_st_birthtime = {{}}
utime_now = {{}}
utimensat = {{}}
[settings]
naptime = 0.02
allow_remount = false
[dummy_auth]
entries = [[{:?}, {:?}], [{:?}, {:?}]]
",
        one.name, one.group, two.name, two.group
    )
}

/// A name below `dir` that the suite can live with.
///
/// Its tests of long paths fill a path with pieces of 127 bytes, and panic if nothing is left for the last one.
fn directory_name(dir: &Path) -> &'static str {
    const PIECE: usize = 127;
    // Behind our directory come two of its own, `/.tmpXXXXXX`.
    let left = |name: &str| (4095 - 22_usize).checked_sub(dir.as_os_str().len() + 1 + name.len());
    let fits = |name: &&str| left(name).is_some_and(|left| left % PIECE > 1);
    ["pjdfstest", "pjd"].into_iter().find(fits).unwrap_or("pjdfstest")
}

/// A directory on another file system than `dir`, which is not asked: it may not answer.
fn another_file_system(dir: &Path) -> &'static str {
    if dir.starts_with("/dev/shm") { "/var/tmp" } else { "/dev/shm" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
chmod::changes_mode                                        ok
open::erofs_named                                          skipped
\tremounts are not allowed
chown::clears::regular                                     FAILED
\tassertion `left == right` failed
\tmore of it

Summary: 1 failed, 1 skipped, 1 passed, 0 expected failures, 3 total
Error: Some tests have failed
";

    #[test]
    fn results_are_read_with_their_reasons() {
        let results = Results::parse(OUTPUT).expect("whole output");
        assert!(results.passed.contains("chmod::changes_mode"));
        assert_eq!(results.failed["chown::clears::regular"], "assertion `left == right` failed; more of it");
        assert_eq!(results.skipped["open::erofs_named"], "remounts are not allowed");
    }

    #[test]
    fn output_that_was_cut_is_refused() {
        assert!(Results::parse(&OUTPUT.replace("3 total", "4 total")).is_err());
        assert!(Results::parse(&OUTPUT[..200]).is_err());
        assert!(Results::parse("").is_err());
    }

    #[test]
    fn worse_is_what_passed_before_and_does_not_now() {
        let before = Results::parse(OUTPUT).expect("whole output");
        let now = Results::parse(
            &OUTPUT.replace("changes_mode                                        ok", "changes_mode FAILED"),
        );
        let now = now.expect("whole output");
        assert_eq!(now.worse_than(&before).into_keys().collect::<Vec<_>>(), ["chmod::changes_mode"]);
        assert!(before.worse_than(&now).is_empty());
    }

    #[test]
    fn what_was_tried_before_and_not_now_is_worse_unless_it_cannot_be() {
        let with = |name: &str, word: &str| {
            Results::parse(&OUTPUT.replace("chmod::changes_mode  ", name).replace(" ok", word))
        };
        let (before, now) = (with("chmod::x ", " ok"), with("chmod::x ", " skipped"));
        assert_eq!(now.expect("whole output").worse_than(&before.expect("whole output")).len(), 1);
        let (before, now) = (with("link::link_count_max ", " ok"), with("link::link_count_max ", " skipped"));
        assert!(now.expect("whole output").worse_than(&before.expect("whole output")).is_empty());
    }

    #[test]
    fn users_come_with_their_groups() {
        let passwd = "root:x:0:0::/:\nnobody:x:65534:65534::/:\nalien:x:7:8::/:\ndaemon:x:1:1::/:\n";
        let group = "root:x:0:\nnogroup:x:65534:\ndaemon:x:1:\n";
        let users = two_users(passwd, group).expect("two users");
        assert!(configuration_for(&users).contains(r#"[["nobody", "nogroup"], ["daemon", "daemon"]]"#));
        assert!(two_users("nobody:x:65534:65534::/:\n", group).is_err());
    }

    #[test]
    fn paths_of_any_length_leave_room_for_a_last_piece() {
        for length in 1..400 {
            let dir = PathBuf::from(format!("/{}", "d".repeat(length)));
            let left = 4095 - 22 - (dir.as_os_str().len() + 1 + directory_name(&dir).len());
            assert!(left % 127 > 1, "at {length}");
        }
    }
}
