//! `wharf ls`: names in a volume, without going through its mount.

use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::FileType;
use wharf_direct::client::{Listed, Node, Record};

use crate::failure::Failure;
use crate::plan::Ls;
use crate::show::{date, mode, plain, print_bytes};
use crate::volumes::{self, Place, kind, path_of};

/// Prints a line per name.
pub(crate) fn run(plan: &Ls) -> Result<(), Failure> {
    let place = volumes::find(&plan.address)?;
    let mut lines = match divided(&place.path) {
        Some((parent, pattern)) => {
            let failed = |error| place.failure_at(parent, &error);
            let (directory, _) = place.volume.walk(parent).map_err(failed)?;
            let lines = listed(plan, &place, parent, &directory, pattern)?;
            if lines.is_empty() {
                let shown = place.shown(&place.path);
                let above = place.shown(parent);
                return Err(Failure::Operation(format!(
                    "no name is described by {shown}; see what is there with: wharf ls {above}"
                )));
            }
            lines
        }
        None => {
            let (node, record) = place.walk()?;
            if kind(&record) == FileType::Directory {
                listed(plan, &place, &place.path, &node, b"")?
            } else {
                let name = place.path.file_name().unwrap_or_default().as_bytes().to_vec();
                vec![Line { name, about: plan.long.then_some((record, None)) }]
            }
        }
    };
    lines.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    print_bytes(&text(&lines, io::stdout().is_terminal()))
}

/// One name.
struct Line {
    name: Vec<u8>,
    /// What it is like, and where it leads.
    about: Option<(Record, Option<Vec<u8>>)>,
}

/// The directory and the pattern of a path that ends with one.
fn divided(path: &Path) -> Option<(&Path, &[u8])> {
    let name = path.file_name()?.as_bytes();
    let special = name.iter().any(|byte| b"*?[".contains(byte));
    special.then(|| (path.parent().unwrap_or(Path::new("")), name))
}

fn listed(
    plan: &Ls,
    place: &Place,
    path: &Path,
    directory: &Node,
    pattern: &[u8],
) -> Result<Vec<Line>, Failure> {
    let listed = match plan.long {
        true => place.volume.list_whole(directory, pattern),
        false => place.volume.list(directory, pattern),
    };
    let entries = listed.map_err(|error| place.failure_at(path, &error))?;
    let hidden = plan.all || pattern.starts_with(b".");
    let mut lines = Vec::new();
    for Listed { name, about, .. } in
        entries.into_iter().filter(|entry| hidden || !entry.name.starts_with(b"."))
    {
        // Where a link leads has to be asked all the same.
        let about = about.filter(|about| kind(about) != FileType::Symlink);
        let about = if let Some(about) = about {
            Some((*about, None))
        } else if plan.long {
            match look(place, directory, &name) {
                // It went meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                about => Some(about.map_err(|error| place.failure_at(&path.join(path_of(&name)), &error))?),
            }
        } else {
            None
        };
        lines.push(Line { name, about });
    }
    Ok(lines)
}

fn look(place: &Place, directory: &Node, name: &[u8]) -> io::Result<(Record, Option<Vec<u8>>)> {
    let (node, record) = place.volume.lookup(directory, name)?;
    let target = match kind(&record) {
        FileType::Symlink => Some(place.volume.read_link(&node)?),
        _ => None,
    };
    Ok((record, target))
}

fn text(lines: &[Line], for_people: bool) -> Vec<u8> {
    let about = |line: &Line| line.about.as_ref().map_or(0, |(record, _)| record.size.to_string().len());
    let width = lines.iter().map(about).max().unwrap_or(0);
    let mut text = Vec::new();
    let put = |text: &mut Vec<u8>, name: &[u8]| {
        if for_people {
            text.extend(plain(path_of(name)).into_bytes());
        } else {
            text.extend(name);
        }
    };
    for Line { name, about } in lines {
        if let Some((record, _)) = about {
            let (seconds, _) = record.times[1];
            let (mode, size) = (mode(record.mode), record.size);
            text.extend(format!("{mode} {size:>width$} {} ", date(seconds)).into_bytes());
        }
        put(&mut text, name);
        if let Some((_, Some(target))) = about {
            text.extend(b" -> ");
            put(&mut text, target);
        }
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_name_of_a_path_is_a_pattern() {
        let divided =
            |path| divided(Path::new(path)).map(|(parent, pattern)| (parent.to_str(), pattern.to_vec()));
        assert_eq!(divided("a/*.rs"), Some((Some("a"), b"*.rs".to_vec())));
        assert_eq!(divided("[ab]"), Some((Some(""), b"[ab]".to_vec())));
        assert_eq!(divided("*/a"), None);
        assert_eq!(divided(""), None);
    }

    #[test]
    fn sizes_are_aligned_and_links_say_where_they_lead() {
        let line = |name: &[u8], mode, size, target: Option<&[u8]>| {
            let record = Record { mode, size, ..Record::default() };
            Line { name: name.to_vec(), about: Some((record, target.map(<[u8]>::to_vec))) }
        };
        let lines = [line(b"a\n", 0o100_644, 7, None), line(b"b", 0o120_777, 12, Some(b"a\n"))];
        let told = String::from_utf8(text(&lines, true)).expect("letters");
        let (first, second) = told.split_once('\n').expect("two lines");
        assert!(first.starts_with("-rw-r--r--  7 19") && first.ends_with(" a\\n"), "{told}");
        assert!(second.starts_with("lrwxrwxrwx 12 19") && second.ends_with(" b -> a\\n\n"), "{told}");
        assert!(text(&lines, false).ends_with(b" b -> a\n\n"));
    }
}
