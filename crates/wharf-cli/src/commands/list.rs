//! `wharf list`: what is mounted, from the kernel's table and from what the hosts have left about it.

use std::thread;

use wharf_fuse::mount::{self, Liveness, Mounted};

use crate::failure::Failure;
use crate::probe::probe;
use crate::show::{moment, plain, print, quoted};
use crate::status::{self, Found, Status};

/// Prints a line per mount, or all that is known of each.
pub(crate) fn run(verbose: bool) -> Result<(), Failure> {
    let mounts = mount::list()?;
    let text = if verbose { details(&mounts) } else { table(&mounts) };
    print(&text)
}

fn table(mounts: &[Mounted]) -> String {
    let rows: Vec<[String; 3]> = mounts
        .iter()
        .map(|mounted| [plain(&mounted.point), plain(&mounted.source), brief(&status::find(mounted))])
        .collect();
    aligned(&rows)
}

fn brief(found: &Found) -> String {
    match found {
        Found::Served(status, _) => format!("{}, since {}", plain(&status.transport), moment(status.since)),
        Found::Ended => "its host is gone".into(),
        Found::Unknown => String::new(),
    }
}

/// Columns with two blanks between them.
fn aligned(rows: &[[String; 3]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let lines =
        rows.iter().map(|[a, b, c]| format!("{a:first$}  {b:second$}  {c}").trim_end().to_owned() + "\n");
    lines.collect()
}

fn details(mounts: &[Mounted]) -> String {
    // Each may take a second to be found silent.
    let states = thread::scope(|scope| {
        let asked: Vec<_> = mounts.iter().map(|mounted| scope.spawn(|| probe(&mounted.point))).collect();
        Vec::from_iter(asked.into_iter().map(|probe| probe.join().unwrap_or(Liveness::Silent)))
    });
    let blocks =
        mounts.iter().zip(states).map(|(mounted, state)| block(mounted, state, &status::find(mounted)));
    Vec::from_iter(blocks).join("\n")
}

fn block(mounted: &Mounted, state: Liveness, found: &Found) -> String {
    let mut text = plain(&mounted.point) + "\n";
    let mut line = |name: &str, value: String| text += &format!("  {name:10}{value}\n");
    line("shows", plain(&mounted.source));
    line("driver", plain(&mounted.driver));
    let access = if mounted.read_only { "reading" } else { "reading and writing" };
    let users =
        if mounted.allow_other { "everybody whom its host lets in".into() } else { owner(mounted.owner_uid) };
    line("for", format!("{access}, by {users}"));
    line("state", state_words(mounted, state));
    line("number", format!("{} in /sys/fs/fuse/connections", mounted.connection));
    match found {
        Found::Served(status, _) => host_lines(&mut line, status),
        Found::Ended => line("host", "gone".into()),
        Found::Unknown => line("host", "has left no word".into()),
    }
    text
}

fn host_lines(line: &mut impl FnMut(&str, String), status: &Status) {
    line("host", format!("process {}, since {}", status.pid, moment(status.since)));
    line("transport", format!("{} ({})", plain(&status.transport), plain(&status.reason)));
    match &status.direct {
        Some(socket) => line("direct", format!("by {}", plain(socket))),
        None => line("direct", "off".into()),
    }
    for (at, (name, value)) in status.limits.iter().enumerate() {
        line(if at == 0 { "limits" } else { "" }, format!("{}={}", plain(name), plain(value)));
    }
}

fn owner(uid: u32) -> String {
    if uid == 0 { "root".into() } else { format!("user {uid}") }
}

fn state_words(mounted: &Mounted, state: Liveness) -> String {
    let point = quoted(&mounted.point);
    match state {
        Liveness::Answers => "answers".into(),
        Liveness::Dead => format!("its server is gone; free the place with: wharf unmount --lazy {point}"),
        Liveness::Silent => format!("does not answer; end it with: wharf unmount --force {point}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(point: &str) -> Mounted {
        Mounted {
            point: point.into(),
            source: "mirror:/srv/data".into(),
            driver: "mirror".into(),
            owner_uid: 1000,
            read_only: true,
            allow_other: false,
            connection: 39,
        }
    }

    #[test]
    fn a_table_is_aligned_and_has_no_blanks_at_its_ends() {
        let row = |a: &str, b: &str, c: &str| [a.to_owned(), b.to_owned(), c.to_owned()];
        let text = aligned(&[row("/mnt/größe", "memory:", "dev"), row("/m", "mirror:/srv", "")]);
        assert_eq!(text, "/mnt/größe  memory:      dev\n/m          mirror:/srv\n");
        assert_eq!(aligned(&[]), "");
    }

    #[test]
    fn all_that_is_known_is_told() {
        let limits = vec![("requests_max".into(), "16384".into()), ("drain_ms".into(), "10000".into())];
        let (transport, reason) = ("dev".into(), "as chosen".into());
        let direct = Some("/run/wharf/7.direct".into());
        let status = Status { pid: 7, since: 0, transport, reason, direct, limits };
        let mut text = block(&mounted("/mnt/data"), Liveness::Answers, &Found::Unknown);
        host_lines(&mut |name, value| text += &format!("{name}: {value}\n"), &status);
        for told in [
            "/mnt/data\n",
            "mirror:/srv/data",
            "reading, by user 1000",
            "answers",
            "39 in /sys/fs/fuse/connections",
            "process 7, since 19",
            "dev (as chosen)",
            "by /run/wharf/7.direct",
            "limits: requests_max=16384\n: drain_ms=10000\n",
        ] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }

    #[test]
    fn a_mount_that_is_dead_or_silent_is_listed_with_the_way_out() {
        for (state, way_out) in [
            (Liveness::Dead, "wharf unmount --lazy '/mnt/my data'"),
            (Liveness::Silent, "wharf unmount --force '/mnt/my data'"),
        ] {
            let text = block(&mounted("/mnt/my data"), state, &Found::Ended);
            assert!(text.contains(way_out), "{text}");
        }
    }
}
