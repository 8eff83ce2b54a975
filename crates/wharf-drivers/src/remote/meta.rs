//! What a service tells of a name, and when two answers speak of the same contents.

use std::sync::Arc;
use std::time::SystemTime;

use wharf::{Kind, Time};

/// What a service tells of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// A file or a directory: services have nothing else.
    pub(super) kind: Kind,
    pub(super) version: Version,
}

/// One name of a listing.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Not told by every service.
    pub(super) meta: Option<Meta>,
}

impl Meta {
    pub(super) fn directory() -> Meta {
        Meta { kind: Kind::Directory, version: Version::default() }
    }

    /// `None` for what is neither file nor directory.
    pub(super) fn new(told: &opendal::Metadata) -> Option<Meta> {
        match told.mode() {
            opendal::EntryMode::DIR => {
                let modified = told.last_modified().map(|time| Time::from(SystemTime::from(time)));
                Some(Meta { kind: Kind::Directory, version: Version { modified, ..Version::default() } })
            }
            opendal::EntryMode::FILE => Some(Meta { kind: Kind::File, version: Version::new(told) }),
            _ => None,
        }
    }
}

/// Which contents a file has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) size: u64,
    pub(super) modified: Option<Time>,
    pub(super) etag: Option<Arc<str>>,
}

impl Version {
    pub(super) fn new(told: &opendal::Metadata) -> Version {
        Version {
            size: told.content_length(),
            modified: told.last_modified().map(|time| SystemTime::from(time).into()),
            etag: told.etag().map(Arc::from),
        }
    }

    /// Whether both speak of the same contents, as far as both can tell. Tags decide where both have one;
    /// times only count in seconds, because services keep them so in some answers and finer in others.
    pub(super) fn is_same(&self, other: &Version) -> bool {
        if self.size != other.size {
            return false;
        }
        match (&self.etag, &other.etag) {
            (Some(one), Some(two)) => one.trim_start_matches("W/") == two.trim_start_matches("W/"),
            _ => match (self.modified, other.modified) {
                (Some(one), Some(two)) => one.seconds == two.seconds,
                _ => true,
            },
        }
    }

    /// Whether this for certain speaks of the contents that were `kept`: by a tag or a time, not by the size alone.
    pub(super) fn proves(&self, kept: &Version) -> bool {
        let told = match (&self.etag, &kept.etag) {
            (Some(_), Some(_)) => true,
            _ => self.modified.is_some() && kept.modified.is_some(),
        };
        told && self.is_same(kept)
    }

    /// Whether contents of this version may be known by it some other day. Times, and often tags, count seconds:
    /// what was changed just now may be changed once more and still say the same.
    pub(super) fn lasts(&self, now: Time) -> bool {
        const SECONDS: i64 = 60;
        match self.modified {
            Some(modified) => modified.seconds.saturating_add(SECONDS) < now.seconds,
            None => self.strong_etag().is_some(),
        }
    }

    /// The tag, if the service may be asked for exactly these contents by it. A weak one never matches.
    pub(super) fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|tag| !tag.starts_with("W/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(size: u64, seconds: Option<i64>, etag: Option<&str>) -> Version {
        let modified = seconds.map(|seconds| Time { seconds, nanoseconds: 5 });
        Version { size, modified, etag: etag.map(Arc::from) }
    }

    #[test]
    fn a_tag_decides_where_both_have_one_else_the_time_and_always_the_size() {
        for (one, two, same) in [
            (version(1, None, None), version(1, None, None), true),
            (version(1, None, None), version(2, None, None), false),
            (version(1, Some(4), None), version(1, Some(5), None), false),
            (version(1, Some(4), None), version(1, None, Some("a")), true),
            (version(1, Some(4), Some("a")), version(1, Some(5), Some("a")), true),
            (version(1, Some(4), Some("a")), version(1, Some(4), Some("b")), false),
            (version(1, None, Some("W/\"a\"")), version(1, None, Some("\"a\"")), true),
        ] {
            assert_eq!(one.is_same(&two), same, "{one:?} {two:?}");
            assert_eq!(two.is_same(&one), same, "{two:?} {one:?}");
        }
        assert_eq!(version(1, None, Some("W/\"a\"")).strong_etag(), None);
    }

    #[test]
    fn what_is_kept_for_long_is_known_by_more_than_its_size_and_is_not_of_this_minute() {
        for (one, two, proves) in [
            (version(1, None, None), version(1, None, None), false),
            (version(1, Some(4), None), version(1, None, Some("a")), false),
            (version(1, Some(4), Some("a")), version(1, Some(4), None), true),
            (version(1, None, Some("a")), version(1, None, Some("a")), true),
            (version(1, None, Some("a")), version(1, None, Some("b")), false),
        ] {
            assert_eq!(one.proves(&two), proves, "{one:?} {two:?}");
        }
        let now = Time { seconds: 1000, nanoseconds: 0 };
        for (version, lasts) in [
            (version(1, Some(900), None), true),
            (version(1, Some(999), Some("a")), false),
            (version(1, Some(i64::MAX), None), false),
            (version(1, None, Some("a")), true),
            (version(1, None, Some("W/a")), false),
            (version(1, None, None), false),
        ] {
            assert_eq!(version.lasts(now), lasts, "{version:?}");
        }
    }
}
