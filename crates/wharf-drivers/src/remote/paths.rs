//! Paths as services have them: relative to the root, without slashes at their ends.

/// The path of a name in a directory.
pub(super) fn inside(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The directory of a path, and its last name.
pub(super) fn apart(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Whether a name can be asked of a service without meaning another: what is trimmed, cut or folded away on
/// the way there is not.
pub(super) fn is_plain(name: &str) -> bool {
    name.trim() == name && !name.contains(['/', '\\', '\0']) && !matches!(name, "" | "." | "..")
}
