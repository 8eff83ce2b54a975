//! Directories of this user alone. Whoever else could write there would choose what is uploaded with our credentials.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Makes a directory, if need be, and sees that it is this user's and closed to others, and that they cannot
/// exchange it for another.
pub(super) fn private(directory: &Path) -> io::Result<()> {
    const NOBODY_ELSE_ENTERS: u32 = 0o077;
    const NOBODY_ELSE_WRITES: u32 = 0o022;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let above = directory.parent().map(|above| (above, NOBODY_ELSE_WRITES));
    for (directory, denied) in above.into_iter().chain([(directory, NOBODY_ELSE_ENTERS)]) {
        let told = fs::symlink_metadata(directory)?;
        if !told.is_dir() || told.uid() != rustix::process::geteuid().as_raw() || told.mode() & denied != 0 {
            return Err(io::Error::other("it is open to others"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_directory_that_others_may_enter_or_exchange_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let (above, inner) = (place.path().join("above"), place.path().join("above/inner"));
        private(&inner).unwrap();
        for (directory, mode) in [(&above, 0o720), (&above, 0o702), (&inner, 0o710), (&inner, 0o701)] {
            let open = |mode| fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
            open(mode);
            assert!(private(&inner).unwrap_err().to_string().contains("open to others"), "{mode:o}");
            open(0o700);
        }
        private(&inner).unwrap();
        symlink(&inner, above.join("link")).unwrap();
        assert!(private(&above.join("link")).is_err(), "it may lead anywhere");
    }
}
