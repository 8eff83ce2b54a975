//! sqlite: byte-range locks, a shared mapping and a log that several processes write.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{Program, Scene};
use crate::needs::Needs;

pub(super) const SQLITE: Program = Program {
    name: "sqlite",
    tools: &[("sqlite3", "sqlite3")],
    needs: Needs::WRITE.union(Needs::LOCKS).union(Needs::MMAP),
    deadline_s: 120,
    run: sqlite,
};

const ROWS: usize = 300;

/// Starts sqlite3 on a database with a script on its standard input.
fn start(database: &Path, script: &str) -> Child {
    let mut command = Command::new("sqlite3");
    command.args(["-batch", "-bail"]).arg(database);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("to start sqlite3");
    let mut input = child.stdin.take().expect("its standard input");
    let script = format!(".timeout 60000\n{script}\n");
    // From another thread, so that neither waits for the other with a full pipe.
    std::thread::spawn(move || input.write_all(script.as_bytes()));
    child
}

#[track_caller]
fn finish(child: Child) -> String {
    let ended = child.wait_with_output().expect("an end of sqlite3");
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && complaint.is_empty(), "sqlite3: {} {complaint}", ended.status);
    String::from_utf8_lossy(&ended.stdout).trim().to_owned()
}

fn sqlite(scene: &Scene) {
    // With a rollback journal first: other locks, and no shared mapping.
    for mode in ["delete", "wal"] {
        let database = scene.dir.path(format!("{mode}.db"));
        let ask = |script: &str| finish(start(&database, script));
        assert_eq!(ask(&format!("PRAGMA journal_mode={mode};")), mode);
        ask("CREATE TABLE rows (writer INTEGER, number INTEGER, bytes BLOB, PRIMARY KEY (writer, number));");
        let writer = |writer: usize| {
            let insert = |number: usize| {
                format!(
                    "BEGIN IMMEDIATE; INSERT INTO rows VALUES ({writer}, {number}, randomblob(700)); COMMIT;\n"
                )
            };
            start(&database, &(0..ROWS).map(insert).collect::<String>())
        };
        let reader = "SELECT CASE WHEN count(*) = max(number) + 1 THEN 'whole' ELSE 'torn' END
                      FROM rows WHERE writer = 1 HAVING count(*) > 0;\n"
            .repeat(40);
        let (one, two, reader) = (writer(1), writer(2), start(&database, &reader));
        assert_eq!(finish(one), "");
        assert_eq!(finish(two), "");
        let read = finish(reader);
        assert!(read.lines().all(|line| line == "whole"), "a reader saw half of a transaction, with {mode}");
        assert_eq!(ask("PRAGMA integrity_check;"), "ok");
        assert_eq!(
            ask("SELECT count(*), sum(number) FROM rows;"),
            format!("{}|{}", 2 * ROWS, ROWS * (ROWS - 1))
        );
        ask("DELETE FROM rows WHERE number % 2; VACUUM;");
        assert_eq!(
            ask("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA integrity_check;").lines().last(),
            Some("ok")
        );
    }
    let left = scene.dir.names();
    assert_eq!(left.len(), 2, "journals were left behind: {left:?}");
}
