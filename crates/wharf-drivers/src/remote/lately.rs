//! Contents that were read lately, by their paths: what the kernel forgets, it may ask for again.

use std::collections::HashMap;
use std::sync::Arc;

use super::content::Content;
use super::meta::Version;
use super::paths::inside;

/// Contents that were read lately, by their paths.
#[derive(Debug, Default)]
pub(super) struct Lately {
    by_path: HashMap<Arc<str>, (Arc<Content>, u64)>,
    uses: u64,
}

/// So many are remembered; each takes some hundred bytes. Their blocks are the cache's.
const LATELY_MAX: usize = 16 << 10;

impl Lately {
    /// This version of what is at a path.
    pub(super) fn get(&mut self, path: &Arc<str>, version: &Version) -> Arc<Content> {
        self.uses += 1;
        if let Some((content, used)) = self.by_path.get_mut(path)
            && content.version.is_same(version)
        {
            *used = self.uses;
            return content.clone();
        }
        if self.by_path.len() >= LATELY_MAX {
            let old = self.uses - LATELY_MAX as u64 / 2;
            // Those in use stay: all that may still bring bytes end with a change that is made here.
            self.by_path.retain(|_, (content, used)| *used > old || Arc::strong_count(content) > 1);
        }
        let content = Content::new(path.clone(), version.clone());
        self.by_path.insert(path.clone(), (content.clone(), self.uses));
        content
    }

    /// What is at a path is changed here.
    pub(super) fn forget(&mut self, path: &str) {
        if let Some((content, _)) = self.by_path.remove(path) {
            content.end();
        }
    }

    /// A directory is moved or replaced here.
    pub(super) fn forget_below(&mut self, directory: &str) {
        let prefix = inside(directory, "");
        for (_, (content, _)) in self.by_path.extract_if(|path, _| path.starts_with(&prefix)) {
            content.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_remembered_by_path_and_version_and_not_without_end() {
        let mut lately = Lately::default();
        let version = |size| Version { size, ..Version::default() };
        let first = lately.get(&"a".into(), &version(1));
        assert!(Arc::ptr_eq(&first, &lately.get(&"a".into(), &version(1))));
        assert!(!Arc::ptr_eq(&first, &lately.get(&"a".into(), &version(2))));
        for number in 0..3 * LATELY_MAX {
            lately.get(&number.to_string().into(), &version(1));
        }
        assert!(lately.by_path.len() <= LATELY_MAX);
    }

    #[test]
    fn a_change_made_here_makes_new_contents_however_alike_their_versions() {
        let mut lately = Lately::default();
        let version = Version { size: 5, ..Version::default() };
        let paths: [Arc<str>; 3] = ["a/x".into(), "a/y".into(), "a".into()];
        let [x, y, a] = paths.clone().map(|path| lately.get(&path, &version));
        lately.forget("a/x");
        assert!(x.is_ended() && !y.is_ended());
        assert_ne!(lately.get(&paths[0], &version).id, x.id);
        lately.forget_below("a");
        assert!(y.is_ended() && !a.is_ended());
        assert_ne!(lately.get(&paths[1], &version).id, y.id);
    }
}
