//! What a service's failures mean to a program, and whether asking again may help.

use std::time::Duration;

use opendal::ErrorKind;
use wharf::Error;
use wharf::error::Kind;

/// One failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// Asking again may help: the service was busy, the connection broke.
    pub(super) again: bool,
}

impl Failure {
    /// What went wrong while `doing` something that may be done twice.
    pub(super) fn new(doing: &'static str, told: opendal::Error) -> Failure {
        let kind = kind(told.kind());
        let again = match told.kind() {
            // Answers that end early are not marked by everybody who reports them.
            ErrorKind::Unexpected => told.is_temporary() || told.message().starts_with("reader got too"),
            ErrorKind::RateLimited => true,
            _ => told.is_temporary(),
        };
        Failure { error: Error::new(kind).doing(doing).because(told), again }
    }

    pub(super) fn of(error: Error) -> Failure {
        Failure { error, again: false }
    }

    /// The contents are no longer those that were opened.
    pub(super) fn stale(doing: &'static str) -> Failure {
        Failure::of(Error::new(Kind::Stale).doing(doing))
    }
}

fn kind(kind: ErrorKind) -> Kind {
    match kind {
        ErrorKind::NotFound => Kind::NotFound,
        ErrorKind::PermissionDenied => Kind::PermissionDenied,
        ErrorKind::IsADirectory => Kind::IsADirectory,
        ErrorKind::NotADirectory => Kind::NotADirectory,
        ErrorKind::AlreadyExists => Kind::Exists,
        ErrorKind::Unsupported => Kind::NotSupported,
        // Both mean that what was opened is not there any more.
        ErrorKind::ConditionNotMatch | ErrorKind::RangeNotSatisfied => Kind::Stale,
        ErrorKind::Conflict => Kind::Busy,
        _ => Kind::Io,
    }
}

/// How long to wait before attempt number `attempt` (the second is 1): doubling, and a part of it by
/// chance, so that many who failed together do not come back together.
pub(super) fn pause(attempt: u32, chance: u64) -> Duration {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(3);
    let whole = FIRST.saturating_mul(1 << (attempt.max(1) - 1).min(16)).min(LONGEST);
    whole / 2 + whole.mul_f64((chance % 1000) as f64 / 2000.0)
}

/// A number that is hard to foretell; good enough to scatter pauses.
pub(super) fn chance() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_scatter() {
        for attempt in 1..40 {
            let (least, most) = (pause(attempt, 0), pause(attempt, 999));
            assert!(least < most && most <= Duration::from_secs(3), "{attempt}: {least:?} {most:?}");
            assert!(least >= pause(attempt.saturating_sub(1), 0) || attempt == 1);
        }
        assert!(pause(1, 0) >= Duration::from_millis(25));
    }

    #[test]
    fn what_was_refused_is_not_asked_for_again() {
        for (kind, again) in [
            (ErrorKind::NotFound, false),
            (ErrorKind::PermissionDenied, false),
            (ErrorKind::RateLimited, true),
        ] {
            assert_eq!(Failure::new("asking", opendal::Error::new(kind, "told")).again, again, "{kind:?}");
        }
        let broken = opendal::Error::new(ErrorKind::Unexpected, "connection reset").set_temporary();
        assert!(Failure::new("asking", broken).again);
    }
}
